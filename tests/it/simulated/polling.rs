//! What the host asks for, and how it takes the answers. Scenarios K-PX and K-RD are those that the field's connectors
//! assert of theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use host::config::InitialPosition;
use host::ports::StreamApi as _;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use tests::rig::{Gate, Verdict};
use tests::simulated::{Clock, Fault, Limits, Setup, SimulatedAws};

use super::world::{STREAM, World};

/// K-PX-1, K-PX-3: and no page of 10,000 shards is short of one.
#[tokio::test]
async fn a_stream_is_asked_for_by_arn_and_following_pages_by_token_alone() {
    let aws = SimulatedAws::start().await;
    aws.kinesis().create(STREAM, 10_500);
    let stream = aws.stream(STREAM).await;
    let description = stream.describe().await.expect("described");
    assert_eq!(description.arn, aws.kinesis().arn(STREAM));
    assert_eq!(stream.list_shards(None).await.expect("a listing").len(), 10_500);
    let described = aws.counted(|counted| counted.requests("DescribeStreamSummary"));
    assert_eq!(described[0].input["StreamARN"], aws.kinesis().arn(STREAM));
    assert!(described[0].input.get("StreamName").is_none());
    let listings = aws.counted(|counted| counted.requests("ListShards"));
    assert_eq!(listings.len(), 2);
    let members: Vec<&String> = listings[1].input.as_object().expect("members").keys().collect();
    assert_eq!(members, ["NextToken"]);
}

/// K-PX-4, K-PX-5, K-RD-5, K-RD-10: one iterator, then the one that each page brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_is_opened_once_and_read_on_with_each_pages_iterator_and_the_limit_asked_for() {
    let mut world = World::new(1).await;
    world.rig.polling().max_records = 7;
    world.write(100);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
    let opened = world.aws.counted(|counted| counted.requests("GetShardIterator"));
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].input["ShardIteratorType"], "TRIM_HORIZON");
    let reads = world.aws.counted(|counted| counted.requests("GetRecords"));
    assert!(reads.len() >= 15 && reads.iter().all(|read| read.input["Limit"] == 7));
}

/// K-PX-4: from a timestamp, and after the last record of the run before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_iterator_is_of_the_configured_timestamp_and_later_ones_of_the_stored_position() {
    let mut world = World::new(1).await;
    let now = world.aws.clock().now();
    let at = now - now.rem_euclid(1000);
    world.rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(at));
    world.write(10);
    for _ in 0..2 {
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        run.drained().await.expect_success();
        world.write(10);
    }
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
    let opened = world.aws.counted(|counted| counted.requests("GetShardIterator"));
    let kinds: Vec<_> = opened.iter().map(|request| request.input["ShardIteratorType"].clone()).collect();
    assert_eq!(kinds, ["AT_TIMESTAMP", "AFTER_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]);
    assert_eq!(opened[0].input["Timestamp"].as_f64(), Some(at as f64 / 1000.0));
    let truth = world.kinesis().truth(STREAM);
    let (tenth, _) = truth.records().nth(9).expect("30 records");
    assert_eq!(opened[1].input["StartingSequenceNumber"], tenth.sequence.to_string());
}

/// K-PX-6, peers 5.1: the reader is held up by its component for longer than an iterator lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_iterator_that_expires_during_a_long_component_call_costs_no_record_and_repeats_none() {
    let mut world = World::new(1).await;
    let gate = Gate::default();
    let passed = gate.clone();
    world.rig = world.rig.scripted(move |_| {
        passed.pass();
        Verdict::Pass
    });
    world.rig.polling().max_records = 1;
    world.write(300);
    let run = world.rig.start().await;
    gate.until_waiting().await;
    // More pages than the subtask's queue takes, so the reader stands still with an iterator in its hand.
    world.aws.until_called("GetRecords", 60).await;
    world.advance(301);
    gate.open();
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
    let (reads, opened) =
        world.aws.counted(|counted| (counted.operation("GetRecords"), counted.requests("GetShardIterator")));
    assert_eq!(reads.refused.get("ExpiredIteratorException"), Some(&1));
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[1].input["ShardIteratorType"], "AFTER_SEQUENCE_NUMBER");
}

/// K-PX-7, K-RD-6: a shard that was closed empty is finished by its first page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_closed_shard_is_finished_at_once() {
    let world = World::new(1).await;
    let parent = world.shards()[0].clone();
    world.kinesis().split(STREAM, &parent);
    world.write(20);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    let shard = ShardId::new(&parent);
    world.rig.until_durable("the parent's end", |durable| durable.get(&shard) == Some(&Position::ShardEnd)).await;
    run.drained().await.expect_success();
    world.expect_exact();
    assert_eq!(world.aws.counted(|counted| counted.calls_of("GetRecords", STREAM, &parent)), 1);
}

/// K-RD-7, LIN-1: the last page brings records and the end together; the end counts once the records are delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_ends_with_records_is_finished_only_when_the_last_of_them_is_delivered() {
    let mut world = World::new(1).await;
    let gate = Gate::default();
    let passed = gate.clone();
    world.rig = world.rig.scripted(move |_| {
        passed.pass();
        Verdict::Pass
    });
    let parent = world.shards()[0].clone();
    world.write(20);
    let children = world.kinesis().split(STREAM, &parent);
    world.write(20);
    let run = world.rig.start().await;
    gate.until_waiting().await;
    world.aws.until_called_again("ListShards", 3).await;
    for child in &children {
        assert_eq!(world.aws.counted(|counted| counted.calls_of("GetShardIterator", STREAM, child)), 0);
    }
    let shard = ShardId::new(&parent);
    assert_ne!(world.rig.durable().get(&shard), Some(&Position::ShardEnd));
    gate.open();
    world.until_all_delivered().await;
    world.rig.until_durable("the parent's end", |durable| durable.get(&shard) == Some(&Position::ShardEnd)).await;
    run.drained().await.expect_success();
    world.expect_exact();
}

/// K-RD-1, K-RD-2, K-RD-3: idle shards are looked at in turn, each no sooner than asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_shards_are_polled_at_their_interval_and_none_starves() {
    for shards in [1, 8, 64] {
        let mut world = World::new(shards).await;
        world.rig.polling().empty_interval = Duration::from_millis(100);
        let run = world.rig.start().await;
        let ids = world.shards();
        let each = |calls| {
            move |counted: &tests::simulated::Tallies| {
                ids.iter().all(|id| counted.calls_of("GetRecords", STREAM, id) >= calls)
            }
        };
        world.aws.until("4 calls of each shard", each(4)).await;
        run.drained().await.expect_success();
        let mut last: BTreeMap<Option<String>, i64> = BTreeMap::new();
        for read in world.aws.counted(|counted| counted.requests("GetRecords")) {
            if let Some(before) = last.insert(read.subject.shard, read.at) {
                assert!(read.at - before >= 99, "{} ms", read.at - before);
            }
        }
        assert_eq!(last.len(), shards as usize);
        assert!(world.rig.elements().is_empty());
    }
}

/// K-RD-4, turned round: the field takes a shard that is not found for one that is finished. It is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_not_found_is_never_taken_for_finished() {
    let world = World::new(2).await;
    world.write(50);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    let shard = world.shards()[1].clone();
    // Listings show the shard all the while, so it is opened again and again.
    world.aws.faults().on("GetRecords").shard(&shard).times(2).inject(Fault::not_found());
    world.write(50);
    world.until_all_delivered().await;
    assert_ne!(world.rig.durable().get(&ShardId::new(&shard)), Some(&Position::ShardEnd));
    run.drained().await.expect_success();
    world.expect_exact();
}

/// The pace that is the default keeps within what a shard gives: no throttle is ever provoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paced_reader_never_asks_for_more_than_a_shard_gives() {
    let mut world = World::with(2, Setup::default()).await;
    world.rig.polling().max_calls_per_second = Some(5.0);
    world.rig.polling().max_records = 10;
    world.write(50);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    world.aws.until_called("GetRecords", 16).await;
    run.drained().await.expect_success();
    world.expect_exact();
    assert_eq!(world.aws.counted(|counted| counted.operation("GetRecords")).refused, BTreeMap::new());
}

/// Peers 5.1: the shard gives 10 MB at once, and then nothing for five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silence_after_a_page_of_ten_megabytes_is_waited_out() {
    // Five seconds are one: a busy machine, too, asks again within them.
    let setup = Setup { clock: Clock::sped_up(5.0), limits: Limits::aws(), seed: 0 };
    let world = World::with(1, setup).await;
    let shard = world.shards()[0].clone();
    for number in 0_u8..24 {
        world.kinesis().put_to(STREAM, &shard, &shard, vec![number; 500_000]);
    }
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
    let reads = world.aws.counted(|counted| counted.operation("GetRecords"));
    assert!(reads.refused["ProvisionedThroughputExceededException"] >= 1);
}
