//! What goes wrong on the call, and in the middle of the stream.

use host::pipeline::failure::Failure;
use host::source::classify::{SourceError, SourceErrorKind};
use host::source::memory::Call;
use host_core::shard::{Position, ShardId};
use tests::rig::{Gate, Rig, Verdict, soon, until_true};
use tests::still::still;
use tests::told::Told;

use super::{pass, paused};

#[track_caller]
fn source_error(failure: Failure) -> SourceError {
    let Failure::Source(error) = failure else { panic!("expected an error of the source, got: {failure}") };
    error
}

fn after(rig: &Rig, index: usize) -> Position {
    Position::After { sequence: rig.stream.written()[index].sequence.clone(), sub_sequence: 0 }
}

async fn until_durable(rig: &Rig, shard: &ShardId, index: usize) {
    let position = after(rig, index);
    rig.until_durable("the position", |durable| durable.get(shard) == Some(&position)).await;
}

/// DEL-1, ORD-1: on the call or in the stream, throttles and outages cost time and nothing else.
#[tokio::test(start_paused = true)]
async fn what_may_pass_is_borne_on_the_call_and_in_the_stream() {
    for code in [
        "LimitExceededException",
        "KMSThrottlingException",
        "InternalFailureException",
        "InternalFailure",
        "ServiceUnavailable",
    ] {
        for call in [Call::Subscribe, Call::Event] {
            let rig = paused(2);
            rig.stream.push_at_most(4);
            rig.write(40);
            rig.stream.fail_next(call, None, code, 9);
            let run = rig.start().await;
            rig.until_all_delivered().await;
            rig.stream.fail_next(call, None, code, 9);
            rig.shards().iter().for_each(|shard| rig.stream.end_subscriptions(shard));
            rig.write(40);
            rig.until_all_delivered().await;
            pass(120).await;
            assert_eq!(run.totals.health.struggling(), None);
            let totals = still(run.drained()).await.expect_success();
            assert_eq!((totals.health.retries.get(), totals.records_in.get()), (18, 80), "{code} of {call:?}");
            rig.expect_exact();
        }
    }
}

/// DEL-1: for hours if need be; it is told once, and so is its end.
#[tokio::test(start_paused = true)]
async fn an_outage_of_hours_is_told_once_and_ends_no_run() {
    for call in [Call::Subscribe, Call::Event] {
        let told = Told::listen();
        let rig = paused(1);
        let shard = rig.shards()[0].clone();
        let run = rig.start().await;
        still(rig.stream.until_subscribed(1)).await;
        rig.stream.fail_next(call, None, "InternalFailureException", u32::MAX);
        rig.stream.cut(&shard);
        rig.write(10);
        pass(7_200).await;
        assert_eq!(told.with("failed for a while").len(), 1, "{call:?}");
        rig.stream.mend();
        rig.until_all_delivered().await;
        still(run.drained()).await.expect_success();
        rig.expect_exact();
    }
}

/// POS-1, DEL-1: what nobody but its owner can mend ends the run after three attempts, in words, and the position stays.
#[tokio::test(start_paused = true)]
async fn a_denial_ends_the_run_after_three_attempts_wherever_it_comes_from() {
    for (code, word) in [
        ("AccessDeniedException", "grant kinesis:"),
        ("KMSDisabledException", "KMS key"),
        ("KMSAccessDeniedException", "KMS key"),
        ("KMSInvalidStateException", "KMS key"),
        ("KMSNotFoundException", "KMS key"),
        ("ExpiredTokenException", "credentials"),
    ] {
        for call in [Call::Subscribe, Call::Event] {
            let rig = paused(1);
            let shard = rig.shards()[0].clone();
            rig.write(10);
            let run = rig.start().await;
            still(rig.until_all_delivered()).await;
            until_durable(&rig, &shard, 9).await;
            rig.stream.fail_next(call, None, code, u32::MAX);
            let calls = rig.stream.calls(Call::Subscribe) + 3;
            rig.stream.cut(&shard);
            rig.write(10);
            soon("the last attempt", rig.stream.until_calls(Call::Subscribe, calls)).await;
            let error = source_error(still(run.ended()).await.expect_failure());
            assert_eq!((error.kind, error.operation), (SourceErrorKind::Denied, "SubscribeToShard"), "{code}");
            let text = error.to_string();
            assert!(text.contains(word) && text.contains(code), "{word}: {text}");
            assert_eq!(rig.stream.calls(Call::Subscribe), calls, "{code} of {call:?}");
            assert_eq!((rig.elements().len(), &rig.durable()[&shard]), (10, &after(&rig, 9)));
            rig.stream.mend();
            let run = rig.start().await;
            rig.until_all_delivered().await;
            still(run.drained()).await.expect_success();
            rig.expect_exact();
        }
    }
}

/// POS-1: a request that the service finds wrong is wrong the second time as well.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_as_invalid_ends_the_run_at_once() {
    for call in [Call::Subscribe, Call::Event] {
        let rig = paused(1);
        let shard = rig.shards()[0].clone();
        rig.write(10);
        if call == Call::Event {
            let run = rig.start().await;
            still(rig.until_all_delivered()).await;
            until_durable(&rig, &shard, 9).await;
            let calls = rig.stream.calls(Call::Subscribe);
            rig.stream.fail_next(call, None, "ValidationException", u32::MAX);
            let outcome = run.ended().await;
            assert_eq!(outcome.totals.health.retries.get(), 0);
            assert_eq!(source_error(outcome.expect_failure()).kind, SourceErrorKind::Invalid);
            assert_eq!(rig.stream.calls(Call::Subscribe), calls);
        } else {
            rig.stream.fail_next(call, None, "ValidationException", u32::MAX);
            let error = source_error(rig.start().await.ended().await.expect_failure());
            assert_eq!(error.kind, SourceErrorKind::Invalid);
            assert_eq!(rig.stream.calls(Call::Subscribe), 1);
        }
        rig.stream.mend();
        rig.write(10);
        rig.catch_up().await.expect_success();
        rig.expect_exact();
    }
}

/// DEL-1: what has arrived is not discarded over an error that comes after it, though the component is still busy with what
/// came before.
#[tokio::test(start_paused = true)]
async fn events_that_came_before_an_error_are_delivered_and_not_asked_for_again() {
    for code in ["InternalFailureException", "ResourceInUseException", "LimitExceededException"] {
        let gate = Gate::default();
        let passed = gate.clone();
        let rig = paused(1).scripted(move |_| {
            passed.pass();
            Verdict::Pass
        });
        rig.stream.push_at_most(1);
        let run = rig.start().await;
        still(rig.stream.until_subscribed(1)).await;
        let shard = rig.shards()[0].clone();
        rig.write_to(&shard, 1);
        gate.until_waiting().await;
        rig.write_to(&shard, 1);
        // The second event is with the reader or its subtask.
        until_true("the second event", || run.totals.records_in.get() >= 2).await;
        rig.stream.fail_next(Call::Event, None, code, 1);
        rig.write_to(&shard, 5);
        pass(1).await;
        gate.open();
        rig.until_all_delivered().await;
        let totals = still(run.drained()).await.expect_success();
        assert_eq!((totals.records_in.get(), totals.health.retries.get()), (7, 1), "{code}");
        rig.expect_exact();
    }
}

/// POS-1: a stream that is deleted, or created anew under its name, is no shard that has ended.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_deleted_ends_the_run_in_words() {
    let rig = paused(2);
    let run = rig.start().await;
    still(rig.stream.until_subscribed(2)).await;
    rig.stream.delete();
    let error = source_error(still(run.ended()).await.expect_failure());
    assert_eq!(error.kind, SourceErrorKind::StreamGone, "{error}");
    assert!(rig.durable().values().all(|position| !position.is_end()));
}
