//! The consumer that a stream is read with: registered, used, lost, left behind, deregistered.

use std::time::Duration;

use host::config::{Consumers, Efo, Lifecycle, OnGap, Reader};
use host::pipeline::failure::Failure;
use host::ports::FanOutApi as _;
use host::source::consumer::ConsumerError;
use host::source::memory::Call;
use host::state::memory as store;
use host_core::registration::ConsumerStatus;
use host_core::shard::Position;
use tests::rig::{Rig, soon};
use tests::still::still;
use tests::told::Told;

use super::{pass, paused, rig};

/// The names of the stream's consumers.
fn names(rig: &Rig) -> Vec<String> {
    rig.stream.consumers().into_iter().map(|consumer| consumer.name).collect()
}

fn efo(rig: &mut Rig) -> &mut Efo {
    match &mut rig.manifest.source.reader {
        Reader::Efo(efo) => efo,
        Reader::Polling(_) | Reader::Auto(..) => panic!("this rig reads by fan-out"),
    }
}

fn self_managed(rig: &mut Rig) {
    efo(rig).lifecycle = Lifecycle::SelfManaged(Consumers::Named("shared".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_pipelines_own_consumer_is_noted_and_gone_after_a_stop_and_after_a_run_until_caught_up() {
    let rig = paused(2);
    for round in 1..=3 {
        rig.write(20);
        if round == 2 {
            rig.catch_up().await.expect_success();
        } else {
            let run = rig.start().await;
            assert_eq!(names(&rig), ["rig"]);
            rig.until_all_delivered().await;
            run.drained().await.expect_success();
        }
        assert_eq!((names(&rig), rig.noted_consumer()), (Vec::new(), None));
        assert_eq!(rig.stream.calls(Call::RegisterConsumer), round);
        assert_eq!(rig.stream.calls(Call::DeregisterConsumer), round);
    }
    rig.expect_exact();
}

/// The next start reads on with it; the stop after that takes it away.
#[tokio::test(start_paused = true)]
async fn a_run_that_fails_leaves_its_consumer_to_the_next_one() {
    let rig = paused(2);
    rig.write(20);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    rig.stream.fail_next(Call::Event, None, "ValidationException", 1);
    drop(run.ended().await.expect_failure());
    assert_eq!((names(&rig).len(), rig.stream.calls(Call::DeregisterConsumer)), (1, 0));
    let arn = rig.stream.consumers()[0].arn.clone();
    assert_eq!(rig.noted_consumer().expect("noted").arn, Some(arn));
    rig.write(20);
    rig.catch_up().await.expect_success();
    assert_eq!((names(&rig).len(), rig.stream.calls(Call::RegisterConsumer)), (0, 1));
    rig.expect_exact();
}

/// A process that dies has no time for anything: what it noted tells the next one whose the consumer is.
#[test]
fn a_consumer_of_a_crashed_run_is_deregistered_by_the_stop_of_the_next() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let rig = rig(2);
    rig.write(20);
    let first = runtime();
    first.block_on(async {
        let _run = rig.start().await;
        rig.until_all_delivered().await;
    });
    first.shutdown_background();
    rig.store.break_lock(&rig.pipeline());
    assert_eq!((names(&rig).len(), rig.stream.calls(Call::DeregisterConsumer)), (1, 0));
    rig.write(20);
    let second = runtime();
    second.block_on(async {
        rig.catch_up().await.expect_success();
    });
    assert_eq!((names(&rig).len(), rig.noted_consumer()), (0, None));
    assert_eq!(rig.stream.calls(Call::RegisterConsumer), 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_to_be_kept_or_was_there_before_or_is_somebody_elses_stays() {
    for whose in ["kept", "there before", "self-managed"] {
        let mut rig = paused(2);
        match whose {
            "kept" => {
                let deregister_timeout = Duration::from_secs(10);
                efo(&mut rig).lifecycle = Lifecycle::Managed { name: "rig".to_owned(), keep: true, deregister_timeout };
            }
            "there before" => drop(rig.stream.register_consumer("rig").await),
            _ => {
                self_managed(&mut rig);
                drop(rig.stream.register_consumer("shared").await);
            }
        }
        for _ in 0..2 {
            rig.write(20);
            rig.catch_up().await.expect_success();
            assert_eq!((names(&rig).len(), rig.stream.calls(Call::DeregisterConsumer)), (1, 0), "{whose}");
        }
        assert_eq!(rig.stream.calls(Call::RegisterConsumer), 1, "{whose}");
        rig.expect_exact();
    }
}

/// A consumer that is on its way out is waited for, and the next one is the pipeline's own.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_being_deleted_at_the_start_is_waited_for_and_replaced() {
    let mut rig = paused(2);
    efo(&mut rig).describe_retry.max_delay = Duration::from_secs(5);
    drop(rig.stream.register_consumer("rig").await);
    rig.stream.set_consumer_status("rig", ConsumerStatus::Deleting);
    rig.write(20);
    let (run, ()) = tokio::join!(rig.start(), async {
        soon("looks", rig.stream.until_calls(Call::DescribeConsumer, 5)).await;
        assert_eq!(rig.stream.calls(Call::Subscribe), 0);
        rig.stream.remove_consumer("rig");
    });
    rig.until_all_delivered().await;
    still(run.drained()).await.expect_success();
    assert_eq!((names(&rig).len(), rig.stream.calls(Call::RegisterConsumer)), (0, 2));
    rig.expect_exact();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_being_created_at_the_start_is_waited_for_and_left_alone() {
    let rig = paused(2);
    drop(rig.stream.register_consumer("rig").await);
    rig.stream.set_consumer_status("rig", ConsumerStatus::Creating);
    rig.write(20);
    let (run, ()) = tokio::join!(rig.start(), async {
        soon("looks", rig.stream.until_calls(Call::DescribeConsumer, 5)).await;
        assert_eq!(rig.stream.calls(Call::Subscribe), 0);
        rig.stream.set_consumer_status("rig", ConsumerStatus::Active);
    });
    rig.until_all_delivered().await;
    still(run.drained()).await.expect_success();
    assert_eq!((names(&rig), rig.stream.calls(Call::RegisterConsumer)), (vec!["rig".to_owned()], 1));
    rig.expect_exact();
}

/// DEL-1, ORD-1: somebody deregisters the consumer under the pipeline's feet, with eight shards in the middle of reading.
#[tokio::test(start_paused = true)]
async fn a_consumer_removed_while_running_is_registered_again_told_once_and_nothing_is_lost() {
    let told = Told::listen();
    let rig = paused(8);
    rig.stream.push_at_most(2);
    rig.write(80);
    let run = rig.start().await;
    for round in 1..=3 {
        rig.stream.remove_consumer("rig");
        rig.write(80);
        rig.until_all_delivered().await;
        pass(20).await;
        assert_eq!(rig.stream.calls(Call::RegisterConsumer), 1 + round);
        let warnings = told.with("registered again").len();
        assert_eq!(warnings as u64, round, "{:?}", told.with(""));
    }
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.records_in.get(), totals.gaps.get()), (320, 0), "nothing was read twice");
    assert_eq!((names(&rig).len(), rig.noted_consumer()), (0, None), "it is ours as well");
    rig.expect_exact();
    assert!(rig.durable().values().all(|position| !position.is_end()), "no shard counts as finished");
}

/// POS-1, DEL-1: who manages consumers elsewhere is told what is missing, and when it is there again everything follows.
#[tokio::test(start_paused = true)]
async fn a_self_managed_consumer_that_vanishes_ends_the_run_in_words_and_positions_stay() {
    let mut rig = paused(3);
    self_managed(&mut rig);
    efo(&mut rig).describe_retry.max_attempts = 5;
    let refused = rig.try_start(false).await.map(|_| ()).expect_err("it is not there");
    assert!(matches!(refused, Failure::Consumer(ConsumerError::NotFound { .. })), "{refused}");
    drop(rig.stream.register_consumer("shared").await);
    rig.write(30);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    rig.stream.remove_consumer("shared");
    rig.write(30);
    let failure = run.ended().await.expect_failure();
    assert!(matches!(failure, Failure::Consumer(ConsumerError::NotFound { .. })), "{failure}");
    let text = failure.to_string();
    for word in ["shared", "register-stream-consumer", "self-managed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(rig.durable().values().all(|position| !position.is_end()));
    drop(rig.stream.register_consumer("shared").await);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
    assert_eq!(names(&rig), ["shared"]);
}

/// DEL-1: it comes back while it is waited for.
#[tokio::test(start_paused = true)]
async fn a_self_managed_consumer_that_comes_back_in_time_is_read_with_again() {
    let mut rig = paused(3);
    self_managed(&mut rig);
    let pause = Duration::from_secs(2);
    (efo(&mut rig).describe_retry.min_delay, efo(&mut rig).describe_retry.max_delay) = (pause, pause);
    drop(rig.stream.register_consumer("shared").await);
    rig.write(30);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    rig.stream.remove_consumer("shared");
    rig.write(30);
    pass(60).await;
    assert_eq!(rig.elements().len(), 30);
    drop(rig.stream.register_consumer("shared").await);
    rig.until_all_delivered().await;
    let totals = still(run.drained()).await.expect_success();
    assert_eq!(totals.records_in.get(), 60, "nothing was read twice");
    rig.expect_exact();
}

/// GAP-1, POS-1: the consumer is there, so it is the shard that is not: a loss, never an end.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_gone_while_the_consumer_is_there_is_a_gap() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let mut rig = paused(2);
        rig.manifest.source.on_gap = on_gap;
        let [shard, other] = rig.shards().try_into().expect("two shards");
        rig.write_to(&shard, 10);
        rig.write_to(&other, 10);
        let run = rig.start().await;
        rig.until_all_delivered().await;
        rig.stream.expire_shard(&shard);
        rig.write_to(&other, 10);
        if on_gap == OnGap::Fail {
            let failure = run.ended().await.expect_failure();
            assert!(matches!(&failure, Failure::Gap { gap, .. } if gap.shard == shard), "{failure}");
            assert!(!rig.durable()[&shard].is_end());
            assert_eq!(names(&rig), ["rig"], "a run that failed leaves it");
        } else {
            let ended = |durable: &std::collections::BTreeMap<_, _>| durable.get(&shard) == Some(&Position::ShardEnd);
            rig.until_durable("the lost shard's end", ended).await;
            rig.until_elements(30).await;
            assert_eq!(run.drained().await.expect_success().gaps.get(), 1);
        }
        assert_eq!(rig.stream.calls(Call::RegisterConsumer), 1, "the consumer was never missing");
    }
}

/// A registration that could not be noted does not happen.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_consumer_is_noted_ends_the_start_and_the_next_one_cleans_up() {
    for (writes, failure) in [(1, store::Failure::Before), (1, store::Failure::After), (2, store::Failure::Before)] {
        let rig = paused(1);
        rig.write(10);
        rig.store.fail_after(writes, failure);
        let first = rig.try_start(false).await;
        assert!(first.is_err(), "{writes} {failure:?}");
        drop(first);
        rig.catch_up().await.expect_success();
        assert_eq!((names(&rig).len(), rig.noted_consumer()), (0, None), "{writes} {failure:?}");
        rig.expect_exact();
    }
}
