//! Stopping on request: what was read is delivered and checkpointed, or it is said what was not.

use std::time::Duration;

use host::pipeline::failure::Failure;
use host::source::memory::Call;
use host_core::shard::Position;
use tests::rig::{Gate, Rig, Verdict, soon};

/// CKP-1, DEL-1: whatever moment a stop comes at, the next run repeats nothing and misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_any_moment_delivers_what_was_read_and_the_next_run_repeats_nothing() {
    let mut rig = Rig::new(3);
    rig.manifest.parallelism = 2;
    // Only the last commit tells how far a run came.
    rig.manifest.checkpoint.interval = Duration::from_secs(3_600);
    rig.polling().max_records = 7;
    let mut read = 0;
    for life in 0..20 {
        rig.write(200);
        let run = rig.start().await;
        let reads = rig.stream.calls(Call::Read);
        soon("some reads", rig.stream.until_calls(Call::Read, reads + life)).await;
        let totals = run.drained().await.expect_success();
        assert_eq!(totals.records_in.get(), totals.elements_out.get(), "what is read is delivered");
        read += totals.records_in.get();
    }
    read += rig.catch_up().await.expect_success().records_in.get();
    assert_eq!(read, rig.stream.written().len() as u64, "each record is read once");
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_anything_was_read_leaves_a_state_to_start_from() {
    let rig = Rig::new(2);
    rig.write(100);
    let run = rig.start().await;
    run.drained().await.expect_success();
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_read_that_hangs() {
    let mut rig = Rig::new(2);
    rig.manifest.shutdown_timeout = Duration::from_secs(3_600);
    let hung = rig.shards()[0].clone();
    rig.write(100);
    rig.stream.hang(&hung);
    let run = rig.start().await;
    let reads = rig.stream.calls(Call::Read);
    soon("reads of both", rig.stream.until_calls(Call::Read, reads + 10)).await;
    run.drained().await.expect_success();
    rig.stream.release(&hung);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// A pipeline whose component stands still on records that say "stop", with 30 records before the first of those.
fn with_a_gate() -> (Rig, Gate) {
    let gate = Gate::default();
    let inside = gate.clone();
    let mut rig = Rig::new(1).scripted(move |asked| {
        if asked.says("stop") {
            inside.pass();
        }
        Verdict::Pass
    });
    rig.polling().max_records = 10;
    let shard = rig.shards()[0].clone();
    rig.write_to(&shard, 30);
    for _ in 0..20 {
        rig.say(&shard, "stop");
    }
    (rig, gate)
}

/// DEL-1: a component that is only slow is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_a_component_that_comes_back_in_time() {
    let (rig, gate) = with_a_gate();
    let run = rig.start().await;
    gate.until_waiting().await;
    run.stop();
    gate.open();
    let totals = run.ended().await.expect_success();
    assert_eq!(totals.records_in.get(), totals.elements_out.get());
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// CKP-1: a component that does not come back is left behind; what is confirmed is committed, the rest is said and comes
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_takes_too_long_says_what_is_left_and_commits_what_is_confirmed() {
    let (mut rig, gate) = with_a_gate();
    rig.manifest.shutdown_timeout = Duration::from_millis(50);
    rig.manifest.checkpoint.interval = Duration::from_secs(3_600);
    let shard = rig.shards()[0].clone();
    let run = rig.start().await;
    gate.until_waiting().await;
    rig.until_elements(30).await;
    // Five pages: three delivered, one in the component, one behind it; then a page without records.
    soon("all pages", rig.stream.until_calls(Call::Read, 6)).await;
    let outcome = run.drained().await;
    let totals = std::sync::Arc::clone(&outcome.totals);
    let failure = outcome.expect_failure();
    let Failure::DrainTimedOut { undelivered } = failure else { panic!("{failure}") };
    assert_eq!((undelivered, totals.records_in.get(), totals.elements_out.get()), (20, 50, 30));
    let confirmed = rig.stream.written()[29].sequence.clone();
    assert_eq!(rig.durable()[&shard], Position::After { sequence: confirmed, sub_sequence: 0 });
    // The component comes back after all: too late, the sink is the next run's.
    gate.open();
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}
