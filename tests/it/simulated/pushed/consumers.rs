//! The consumer of a pipeline: registered, waited for, used again, removed, missed.

use std::time::Duration;

use host::config::{ConsumerArn, Consumers, Efo, Lifecycle, Reader};
use tests::simulated::ConsumerStatus;

use super::{Over, expect_nothing_open, world};
use crate::simulated::world::{STREAM, World};

/// What the rig calls its consumer.
const NAME: &str = "rig";
/// What it takes to create and to delete one.
const TRANSITION: Duration = Duration::from_millis(300);

fn consumers(world: &World) -> Vec<(String, ConsumerStatus)> {
    world.kinesis().consumers(STREAM).into_iter().map(|consumer| (consumer.name, consumer.status)).collect()
}

fn calls(world: &World, operation: &str) -> u64 {
    world.aws.counted(|counted| counted.calls(operation))
}

fn efo(world: &mut World) -> &mut Efo {
    let Reader::Efo(efo) = &mut world.rig.manifest.source.reader else { panic!("it reads by fan-out") };
    efo
}

fn keep(world: &mut World) {
    let Lifecycle::Managed { keep, .. } = &mut efo(world).lifecycle else { panic!("it manages its consumer") };
    *keep = true;
}

/// A run over some records, from its start to its graceful end.
async fn run(world: &World) {
    world.write(50);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    expect_nothing_open(world).await;
    world.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_registered_waited_for_and_deregistered_by_a_graceful_stop() {
    let mut world = world(2, Over::Http1).await;
    world.kinesis().take_time(TRANSITION);
    efo(&mut world).describe_retry.max_attempts = 10_000;
    run(&world).await;
    assert!(calls(&world, "DescribeStreamConsumer") > 3, "it was waited for");
    assert_eq!(consumers(&world), [(NAME.to_owned(), ConsumerStatus::Deleting)]);
    // The next start finds it on its way out, and registers another.
    run(&world).await;
    assert_eq!((calls(&world, "RegisterStreamConsumer"), calls(&world, "DeregisterStreamConsumer")), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_kept_is_used_again_and_goes_with_the_first_stop_that_does_not_keep_it() {
    let mut world = world(2, Over::Http2).await;
    keep(&mut world);
    run(&world).await;
    let first = world.kinesis().consumers(STREAM);
    run(&world).await;
    assert_eq!(world.kinesis().consumers(STREAM), first);
    assert_eq!(calls(&world, "RegisterStreamConsumer"), 1);
    world.rig.read_by_fan_out();
    run(&world).await;
    assert_eq!(consumers(&world), []);
}

/// It was there before, so others may read with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_somebody_else_registered_is_used_and_left_alone() {
    let mut world = world(1, Over::Http1).await;
    let arn = world.kinesis().register_consumer(STREAM, NAME);
    run(&world).await;
    for consumer in
        [Consumers::Named(NAME.to_owned()), Consumers::Arns(vec![ConsumerArn::parse(&arn).expect("an ARN")])]
    {
        efo(&mut world).lifecycle = Lifecycle::SelfManaged(consumer);
        run(&world).await;
    }
    assert_eq!(consumers(&world), [(NAME.to_owned(), ConsumerStatus::Active)]);
    assert_eq!((calls(&world, "RegisterStreamConsumer"), calls(&world, "DeregisterStreamConsumer")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_self_managed_consumer_that_is_not_there_ends_the_start_with_the_command_that_makes_it() {
    let mut world = world(1, Over::Http1).await;
    efo(&mut world).lifecycle = Lifecycle::SelfManaged(Consumers::Named("theirs".to_owned()));
    let Err(failure) = world.rig.try_start(false).await else { panic!("nobody registered it") };
    assert_eq!(
        failure.to_string(),
        "consumer \"theirs\" of stream \"rig\" is not registered in us-east-1, and source.efo.lifecycle = \"self-managed\" leaves \
         that to you; register it with `aws kinesis register-stream-consumer --stream-arn \
         arn:aws:kinesis:us-east-1:000000000000:stream/rig --consumer-name theirs --region us-east-1 --endpoint-url memory:`, or \
         set source.efo.lifecycle = \"managed\" and the pipeline does that itself"
    );
    assert_eq!(calls(&world, "RegisterStreamConsumer"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_removed_under_a_run_is_registered_again_once() {
    for over in super::BOTH {
        let world = world(20, over).await;
        world.write(200);
        let run = world.rig.start().await;
        world.aws.until_subscribed(20).await;
        world.kinesis().remove_consumer(STREAM, NAME);
        world.write(200);
        world.until_all_delivered().await;
        world.aws.until_subscribed(20).await;
        assert_eq!(calls(&world, "RegisterStreamConsumer"), 2);
        run.drained().await.expect_success();
        world.expect_exact();
        assert_eq!(consumers(&world), []);
    }
}

/// A stream that has twenty consumers already.
async fn full(over: Over) -> World {
    let world = world(2, over).await;
    for number in 1..=20 {
        world.kinesis().register_consumer(STREAM, &format!("audit-{number:02}"));
    }
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_all_the_consumers_it_may_have_is_told_with_their_names() {
    let world = full(Over::Http1).await;
    let Err(failure) = world.rig.try_start(false).await else { panic!("there is no room") };
    assert_eq!(
        failure.to_string(),
        "consumer \"rig\" could not be registered: stream \"rig\" has 20 consumers, which is all that it may have (\"audit-01\", \
         \"audit-02\", \"audit-03\", \"audit-04\", \"audit-05\" and 15 more); deregister one that nobody reads with (`aws kinesis \
         deregister-stream-consumer --stream-arn arn:aws:kinesis:us-east-1:000000000000:stream/rig --consumer-name NAME --region \
         us-east-1 --endpoint-url memory:`), or choose source.reader = \"auto\" or \"polling\""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_reads_by_fan_out_where_there_is_a_consumer_and_polls_where_there_is_none() {
    for (mut world, has_room) in [(world(2, Over::Http2).await, true), (full(Over::Http2).await, false)] {
        let polling = tests::rig::Rig::new(1).polling().clone();
        world.rig.manifest.source.reader = Reader::Auto(efo(&mut world).clone(), polling);
        run(&world).await;
        run(&world).await;
        assert_eq!((calls(&world, "SubscribeToShard") > 0, calls(&world, "GetRecords") > 0), (has_room, !has_room));
    }
}

/// The positions are the same, whoever read what lies before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_changes_between_polling_and_fan_out_goes_on_where_it_was() {
    let mut world = world(2, Over::Http2).await;
    let fan_out = world.rig.manifest.source.reader.clone();
    let polling = Reader::Polling(tests::rig::Rig::new(1).polling().clone());
    for reader in [&polling, &fan_out, &polling, &fan_out] {
        world.rig.manifest.source.reader = reader.clone();
        run(&world).await;
        world.reshard();
        world.kinesis().scale(STREAM, 2);
    }
    assert_eq!(calls(&world, "RegisterStreamConsumer"), 2);
}
