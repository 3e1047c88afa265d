//! Each shard is read for itself: one that hangs, is throttled or fails is no sibling's concern, and comes back.

use host::pipeline::failure::Failure;
use host::source::classify::{SourceError, SourceErrorKind};
use host::source::memory::Call;
use host_core::shard::Position;
use tests::rig::Rig;

const THROTTLE: &str = "ProvisionedThroughputExceededException";
const BROKEN: &str = "InternalFailure";
const DENIED: &str = "AccessDeniedException";

#[track_caller]
fn source_error(failure: Failure) -> SourceError {
    let Failure::Source(error) = failure else { panic!("expected an error of the stream, got: {failure}") };
    error
}

/// Four shards with 200 records each, on two subtasks.
fn four_shards() -> Rig {
    let mut rig = Rig::new(4);
    rig.manifest.parallelism = 2;
    for shard in rig.shards() {
        rig.write_to(&shard, 200);
    }
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_shard_leaves_its_siblings_at_full_delivery_and_goes_on_when_released() {
    let rig = four_shards();
    let hung = rig.shards()[0].clone();
    rig.stream.hang(&hung);
    let run = rig.start().await;
    rig.until_elements(600).await;
    assert!(!rig.elements().iter().any(|element| element.starts_with(hung.as_str())));
    // And on: what comes now is delivered as well.
    for shard in &rig.shards()[1..] {
        rig.write_to(shard, 200);
    }
    rig.until_elements(1200).await;
    rig.stream.release(&hung);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_shard_leaves_its_siblings_at_full_delivery_and_goes_on_when_it_may() {
    let mut rig = four_shards();
    rig.manifest.aws.retry.max_attempts = u32::MAX;
    let throttled = rig.shards()[3].clone();
    rig.stream.fail_next(Call::Read, Some(&throttled), THROTTLE, u32::MAX);
    let run = rig.start().await;
    rig.until_elements(600).await;
    assert!(!rig.elements().iter().any(|element| element.starts_with(throttled.as_str())));
    rig.stream.mend();
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// DEL-1: nothing is lost and nothing repeated where an iterator dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_iterator_is_replaced_by_one_right_after_the_cursor() {
    let mut rig = Rig::new(2);
    rig.polling().max_records = 7;
    rig.write(100);
    let run = rig.start().await;
    for _ in 0..5 {
        // In the middle of reading, and at the tip.
        rig.until_elements(rig.stream.written().len() - 50).await;
        rig.stream.expire_iterators();
        rig.until_all_delivered().await;
        rig.stream.expire_iterators();
        rig.write(100);
    }
    rig.until_all_delivered().await;
    let totals = run.drained().await.expect_success();
    assert_eq!(totals.elements_out.get(), 600, "nothing was read twice");
    assert!(totals.health.retries.get() >= 5);
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_pass_are_waited_out_and_counted() {
    let rig = Rig::new(1);
    rig.write(100);
    rig.stream.fail_next(Call::Read, None, BROKEN, 3);
    rig.stream.fail_next(Call::Read, None, THROTTLE, 4);
    rig.stream.fail_next(Call::Open, None, BROKEN, 2);
    rig.stream.fail_next(Call::ListShards, None, THROTTLE, 1);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.health.retries.get(), 10);
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_denied_for_good_stops_the_run_with_the_services_error_and_positions_are_kept() {
    for call in [Call::Read, Call::Open] {
        let rig = Rig::new(1);
        rig.write(30);
        let shard = rig.shards()[0].clone();
        let run = rig.start().await;
        rig.until_all_delivered().await;
        let last = rig.stream.written()[29].sequence.clone();
        let at_last = Position::After { sequence: last, sub_sequence: 0 };
        rig.until_durable("the last record's position", |durable| durable.get(&shard) == Some(&at_last)).await;
        rig.stream.fail_next(call, None, DENIED, u32::MAX);
        // An expired iterator is how a reader comes to open another.
        rig.stream.expire_iterators();
        let error = source_error(run.ended().await.expect_failure());
        assert_eq!(error.kind, SourceErrorKind::Denied, "{error}");
        assert_eq!(rig.durable()[&shard], at_last);
        rig.stream.mend();
        rig.write(30);
        rig.catch_up().await.expect_success();
        rig.expect_exact();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_call_is_made_three_times_and_not_once_more() {
    for call in [Call::Read, Call::Open] {
        let rig = Rig::new(1);
        rig.stream.fail_next(call, None, DENIED, u32::MAX);
        let outcome = rig.start().await.ended().await;
        assert_eq!((rig.stream.calls(call), outcome.totals.health.retries.get()), (3, 2));
        assert_eq!(source_error(outcome.expect_failure()).kind, SourceErrorKind::Denied);
    }
}

/// DEL-1: a throttle or an outage ends no run, however long it lasts, and nothing is lost or repeated over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_of_failures_that_may_pass_stops_a_run() {
    for (call, code) in [(Call::Read, THROTTLE), (Call::Open, BROKEN)] {
        let mut rig = Rig::new(1);
        rig.manifest.aws.retry.max_attempts = 2;
        rig.write(30);
        let run = rig.start().await;
        rig.until_all_delivered().await;
        rig.stream.fail_next(call, None, code, 50);
        rig.stream.expire_iterators();
        rig.write(30);
        rig.until_all_delivered().await;
        let totals = run.drained().await.expect_success();
        assert!(totals.health.retries.get() >= 50);
        assert!(totals.health.struggling().is_none(), "what succeeds again struggles no more");
        rig.expect_exact();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_keeps_failing_stops_the_run() {
    let mut rig = Rig::new(1);
    rig.manifest.aws.retry.max_attempts = 2;
    rig.stream.fail_next(Call::ListShards, None, THROTTLE, u32::MAX);
    let error = source_error(rig.start().await.ended().await.expect_failure());
    assert_eq!((error.kind, error.operation), (SourceErrorKind::Throttled, "ListShards"));
    assert_eq!(rig.stream.calls(Call::ListShards), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waiting_cannot_mend_stops_the_run_at_once() {
    let rig = Rig::new(2);
    rig.write(10);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    rig.stream.fail_next(Call::Read, Some(&rig.shards()[1]), "ValidationException", u32::MAX);
    let outcome = run.ended().await;
    assert_eq!(outcome.totals.health.retries.get(), 0);
    assert_eq!(source_error(outcome.expect_failure()).kind, SourceErrorKind::Invalid);
    rig.stream.mend();
    let run = rig.start().await;
    rig.stream.delete();
    assert_eq!(source_error(run.ended().await.expect_failure()).kind, SourceErrorKind::StreamGone);
    rig.expect_exact();
}
