//! Positions and what the sink has, when either fails: a restart delivers the rest, and with the sink's marks nothing twice.

use std::time::Duration;

use host::pipeline::failure::Failure;
use host::ports::SinkError;
use host::state::memory::Failure as Strike;
use host::state::{LeaseStore, Owner, StoreError};
use host_core::moment::EpochMillis;
use host_core::shard::Position;
use tests::rig::Rig;
use tests::served::Served;

/// Writes of a run until caught up: the claim, the start, the rows, the last positions.
const WRITES: u64 = 4;

/// CKP-1: whichever write fails, before or after it is durable, the next run goes on exactly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_stops_the_run_and_the_next_one_delivers_the_rest() {
    for strike in [Strike::Before, Strike::After] {
        for writes in 0..WRITES {
            let mut rig = Rig::new(2);
            rig.polling().max_records = 10;
            rig.write(100);
            rig.store.fail_after(writes, strike);
            let failure = match rig.try_start(true).await {
                Ok(run) => run.ended().await.expect_failure(),
                Err(failure) => failure,
            };
            assert!(matches!(failure, Failure::Store(StoreError::Io { .. })), "{strike:?} {writes}: {failure}");
            rig.write(100);
            rig.catch_up().await.expect_success();
            rig.expect_exact();
        }
    }
}

/// CKP-1: the same in the midst of a run that goes on and on, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_every_few_commits_costs_restarts_and_nothing_else() {
    let mut rig = Rig::new(3);
    rig.manifest.parallelism = 2;
    rig.manifest.checkpoint.interval = Duration::ZERO;
    rig.polling().max_records = 3;
    for life in 0..20 {
        let strike = if life % 2 == 0 { Strike::Before } else { Strike::After };
        // Claimed, and a few commits further.
        rig.store.fail_after(3 + life % 4, strike);
        let run = match rig.try_start(false).await {
            Ok(run) => run,
            Err(failure) => panic!("{failure}"),
        };
        let ended = tokio::spawn(run.ended());
        while !ended.is_finished() {
            let before = rig.sink.elements().len();
            rig.write(5);
            tests::rig::soon("an element or the end", async {
                while !ended.is_finished() && rig.sink.elements().len() <= before {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        let failure = ended.await.expect("no panic").expect_failure();
        assert!(matches!(failure, Failure::Store(StoreError::Io { .. })), "{failure}");
    }
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// CKP-2: a run whose pipeline was claimed by another stops at its next commit and moves no position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_fenced_stops_at_its_next_commit() {
    let rig = Rig::new(2);
    rig.write(50);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    rig.store.break_lock(&rig.pipeline());
    let mut second = rig.store.open(&rig.pipeline());
    let owner = Owner { name: "elsewhere:7".to_owned(), since: EpochMillis(0) };
    let claimed = second.claim(&owner, &[]).expect("the lock is broken");
    rig.write(50);
    let failure = run.ended().await.expect_failure();
    assert!(matches!(failure, Failure::Store(StoreError::Fenced { .. })), "{failure}");
    assert!(failure.to_string().contains("elsewhere:7"), "{failure}");
    let again = second.claim(&owner, &[]).expect("still ours");
    assert_eq!(again.streams, claimed.streams, "a fenced run moved a position");
    drop(second);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// CKP-2: whoever comes second is told, and the first goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_is_owned_is_not_started_again() {
    let rig = Rig::new(1);
    let run = rig.start().await;
    let Err(failure) = rig.try_start(false).await else { panic!("two owners") };
    assert!(matches!(failure, Failure::Store(StoreError::OwnedByAnother { .. })), "{failure}");
    rig.write(50);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// CKP-1: positions cover what the sink confirmed, and not a record more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_refuses_stops_the_run_at_what_it_took() {
    let mut rig = Rig::new(1);
    rig.polling().max_records = 10;
    let shard = rig.shards()[0].clone();
    rig.write_to(&shard, 100);
    rig.sink.refuse_after(Some(40));
    let failure = rig.catch_up().await.expect_failure();
    assert!(matches!(failure, Failure::Sink(SinkError::Write { .. })), "{failure}");
    assert_eq!(rig.sink.elements().len(), 40);
    let confirmed = rig.stream.written()[39].sequence.clone();
    assert_eq!(rig.durable()[&shard], Position::After { sequence: confirmed, sub_sequence: 0 });
    rig.sink.refuse_after(None);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.records_in.get(), 60);
    rig.expect_exact();
}

/// CKP-1: a failure on top of a failure ends the run all the same, with the first as the cause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_after_the_sink_did_still_ends_the_run() {
    let mut rig = Rig::new(1);
    rig.manifest.checkpoint.interval = Duration::from_secs(3_600);
    rig.polling().max_records = 10;
    rig.write(100);
    rig.sink.refuse_after(Some(40));
    // The claim, the start and the rows succeed; the last commit does not.
    rig.store.fail_after(3, Strike::Before);
    let failure = rig.start().await.ended().await.expect_failure();
    assert!(matches!(failure, Failure::Sink(SinkError::Write { .. })), "{failure}");
    rig.sink.refuse_after(None);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// CKP-1: a sink that is new to a pipeline has a place to come back to before anything is written to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_joins_later_is_exact_from_its_first_record_on() {
    let mut rig = Rig::new(1);
    rig.has_sink = false;
    rig.services.push(Served::default());
    rig.write(10);
    rig.catch_up().await.expect_success();
    let before = rig.stream.written().len();
    rig.has_sink = true;
    rig.manifest.checkpoint.interval = Duration::from_secs(3_600);
    rig.write(10);
    let run = rig.start().await;
    rig.until_elements(10).await;
    rig.store.fail_after(0, Strike::Before);
    drop(run.drained().await.expect_failure());
    rig.catch_up().await.expect_success();
    assert_eq!(rig.elements().len(), rig.stream.written().len() - before, "nothing twice");
}
