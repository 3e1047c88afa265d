//! Records that were gone before anybody read them: the service says nothing of them, so the host must.
//!
//! The stream's clock is moved ahead of the machine's between two runs, as if the pipeline had stood still that long.

use std::time::Duration;

use host::config::OnGap;
use host::pipeline::failure::Failure;
use host_core::gap::{Gap, GapReason};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use tests::rig::{Rig, wall};

pub(super) const HOUR: i64 = 3_600_000;

/// From now on the service's clock is that far ahead.
pub(super) fn move_ahead(rig: &Rig, millis: i64) {
    let now = EpochMillis(wall().0 + millis);
    rig.stream.tell_service_time(Some(now));
    rig.stream.set_now(EpochMillis(now.0 - HOUR));
}

fn one_shard(on_gap: OnGap) -> (Rig, ShardId) {
    let mut rig = Rig::new(1);
    rig.manifest.source.on_gap = on_gap;
    let shard = rig.shards()[0].clone();
    (rig, shard)
}

pub(super) fn after(rig: &Rig, index: usize) -> Position {
    Position::After { sequence: rig.stream.written()[index].sequence.clone(), sub_sequence: 0 }
}

/// Ten delivered, ten written and in part trimmed while nobody ran, ten more.
async fn long_stop(rig: &Rig, shard: &ShardId) {
    rig.write_to(shard, 10);
    rig.catch_up().await.expect_success();
    rig.write_to(shard, 10);
    rig.stream.trim(shard, 15);
    move_ahead(rig, 26 * HOUR);
    rig.write_to(shard, 10);
}

#[track_caller]
pub(super) fn gap_of(failure: &Failure) -> &Gap {
    let Failure::Gap { stream, gap } = failure else { panic!("expected a gap, got: {failure}") };
    assert_eq!(stream, "rig");
    assert_eq!(failure.exit_code(), 1);
    gap
}

/// Reads ten records, five at a time, of which whatever follows the first five may be gone when it is read.
pub(super) async fn expect_trimmed_after_five(rig: &Rig, shard: &ShardId) {
    rig.stream.set_now(EpochMillis(wall().0 - 25 * HOUR));
    rig.write_to(shard, 10);
    let outcome = rig.start_to_catch_up().await.ended().await;
    if rig.manifest.source.on_gap == OnGap::Continue {
        assert!(outcome.expect_success().gaps.get() >= 1);
        rig.expect_exact();
    } else {
        let failure = outcome.expect_failure();
        let gap = gap_of(&failure);
        assert_eq!((gap.reason, &gap.from), (GapReason::Trimmed, &after(rig, 4)));
        assert_eq!(gap.to.as_ref(), Some(&rig.stream.written()[5].sequence));
        assert_eq!((rig.elements().len(), &rig.durable()[shard]), (5, &after(rig, 4)));
    }
}

/// GAP-1, POS-1: nothing behind the gap is delivered, and the position stays, however often it is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_older_than_retention_stops_the_run_before_anything_behind_the_gap() {
    let (rig, shard) = one_shard(OnGap::Fail);
    long_stop(&rig, &shard).await;
    for _ in 0..2 {
        let outcome = rig.start().await.ended().await;
        assert_eq!(outcome.totals.gaps.get(), 0, "none was passed over");
        let failure = outcome.expect_failure();
        let gap = gap_of(&failure);
        assert_eq!((&gap.shard, gap.reason, &gap.from), (&shard, GapReason::StalePosition, &after(&rig, 9)));
        let (since, until) = (gap.since.expect("known"), gap.until.expect("known"));
        assert!(since <= wall() && until > wall() && until < EpochMillis(wall().0 + 3 * HOUR), "{gap:?}");
        let text = failure.to_string();
        for word in ["rig", shard.as_str(), rig.stream.written()[9].sequence.as_str(), "on_gap = \"continue\""] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(rig.elements().len(), 10);
        assert_eq!(rig.durable()[&shard], after(&rig, 9));
    }
}

/// GAP-1: told once, counted once, and what is left is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_passed_over_once_where_the_manifest_says_so() {
    let (rig, shard) = one_shard(OnGap::Continue);
    long_stop(&rig, &shard).await;
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (1, 15));
    let left = rig.stream.written()[15..].iter().map(|record| record.data.clone()).collect::<Vec<_>>();
    assert_eq!(rig.sink.elements()[10..], left);
    rig.write_to(&shard, 10);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (0, 10));
}

/// GAP-1: the run stops for the first of them, and the others are no reason to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gaps_at_once_stop_the_run_once_and_none_is_passed_over() {
    let mut rig = Rig::new(8);
    rig.manifest.parallelism = 2;
    rig.write(200);
    rig.catch_up().await.expect_success();
    let durable = rig.durable();
    move_ahead(&rig, 26 * HOUR);
    rig.write(200);
    let outcome = rig.start().await.ended().await;
    assert_eq!(outcome.totals.gaps.get(), 0);
    gap_of(&outcome.expect_failure());
    assert_eq!((rig.elements().len(), rig.durable()), (200, durable));
    rig.manifest.source.on_gap = OnGap::Continue;
    assert_eq!(rig.catch_up().await.expect_success().gaps.get(), 8);
    rig.expect_exact();
}

/// GAP-1: what is quiet lacks nothing: its last record may be as old as it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_shard_raises_no_alarm_after_a_stop_shorter_than_retention() {
    let (rig, shard) = one_shard(OnGap::Fail);
    rig.stream.set_now(EpochMillis(wall().0 - 20 * HOUR));
    rig.write_to(&shard, 10);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    // An empty page that was asked for after them: the reader is at the tip.
    let reads = rig.stream.calls(host::source::memory::Call::Read);
    rig.stream.until_calls(host::source::memory::Call::Read, reads + 3).await;
    run.drained().await.expect_success();
    // The records are 42 hours old then.
    move_ahead(&rig, 22 * HOUR);
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// GAP-1: so is what nobody ever wrote to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_never_had_a_record_raises_no_alarm() {
    let (rig, shard) = one_shard(OnGap::Fail);
    rig.catch_up().await.expect_success();
    move_ahead(&rig, 22 * HOUR);
    rig.catch_up().await.expect_success();
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// GAP-1: a reader that is slower than the trimming, in the middle of a run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_trimmed_before_a_slow_reader_comes_to_it_is_a_gap() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let (mut rig, shard) = one_shard(on_gap);
        rig.polling().max_records = 5;
        expect_trimmed_after_five(&rig, &shard).await;
    }
}

/// GAP-1: a component that never comes back does not keep a run that a gap stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_gap_stops_ends_when_draining_takes_too_long() {
    let gate = tests::rig::Gate::default();
    let passed = gate.clone();
    let mut rig = Rig::new(1).scripted(move |_| {
        passed.pass();
        tests::rig::Verdict::Pass
    });
    rig.manifest.shutdown_timeout = Duration::from_millis(100);
    rig.polling().max_records = 5;
    let shard = rig.shards()[0].clone();
    rig.stream.set_now(EpochMillis(wall().0 - 25 * HOUR));
    rig.write_to(&shard, 10);
    // The first page is stuck in the component when the second one is found to be behind a gap.
    gap_of(&rig.start().await.ended().await.expect_failure());
    gate.open();
}

/// GAP-1: a shard that expires while it is read takes what was unread with it; its siblings do not mind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_gone_is_told_after_several_listings_that_lack_it() {
    let gone = async |on_gap| {
        let mut rig = Rig::new(2);
        rig.manifest.source.on_gap = on_gap;
        rig.manifest.parallelism = 2;
        let [shard, other] = [0, 1].map(|index| rig.shards()[index].clone());
        rig.write_to(&shard, 10);
        rig.write_to(&other, 10);
        let run = rig.start().await;
        rig.until_all_delivered().await;
        let last = after(&rig, 9);
        rig.stream.hang(&shard);
        rig.write_to(&shard, 10);
        rig.stream.expire_shard(&shard);
        rig.stream.release(&shard);
        rig.write_to(&other, 10);
        rig.until_elements(30).await;
        (rig, run, shard, last)
    };
    let ((failing, failed, shard, last), (going, run, other_shard, _)) =
        tokio::join!(gone(OnGap::Fail), gone(OnGap::Continue));
    let failure = failed.ended().await.expect_failure();
    let gap = gap_of(&failure);
    assert_eq!((&gap.shard, gap.reason, &gap.from, gap.until), (&shard, GapReason::ShardGone, &last, None));
    assert_eq!(failing.durable()[&shard], last);
    let ended = |durable: &std::collections::BTreeMap<_, _>| durable.get(&other_shard) == Some(&Position::ShardEnd);
    going.until_durable("the lost shard's end", ended).await;
    let totals = run.drained().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (1, 30));
}

/// GAP-1, POS-1: positions of a stream say nothing of another one with its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_created_anew_is_refused_at_the_start_or_read_from_its_oldest_record() {
    let (mut rig, shard) = one_shard(OnGap::Fail);
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    rig.stream.recreate();
    rig.write_to(&shard, 10);
    for _ in 0..2 {
        let refused = rig.try_start(false).await.map(|_| ()).expect_err("the stream is another one");
        assert!(matches!(refused, Failure::Recreated { .. }), "{refused}");
        assert!(refused.to_string().contains("created anew"), "{refused}");
    }
    rig.manifest.source.on_gap = OnGap::Continue;
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (1, 10));
    rig.write_to(&shard, 10);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (0, 10));
    rig.expect_exact();
}

/// GAP-1: and while it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_created_anew_while_it_is_read_ends_the_run() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let (mut rig, shard) = one_shard(on_gap);
        rig.manifest.source.audit_interval = Duration::from_millis(50);
        rig.write_to(&shard, 10);
        let run = rig.start().await;
        rig.until_all_delivered().await;
        rig.until_durable("the last record's position", |durable| durable.get(&shard) == Some(&after(&rig, 9))).await;
        rig.stream.recreate();
        let failure = run.ended().await.expect_failure();
        assert!(matches!(failure, Failure::Recreated { .. }), "{failure}");
        assert_eq!(rig.durable()[&shard], after(&rig, 9));
        rig.write_to(&shard, 10);
        if on_gap == OnGap::Continue {
            assert_eq!(rig.catch_up().await.expect_success().gaps.get(), 1);
            rig.expect_exact();
        }
    }
}

/// GAP-1, LIN-1: what a child brings comes after its parents' end, so it owes nothing from before; what came between the
/// end and the next run may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_suspected_by_the_time_its_parents_are_complete_up_to() {
    for (stopped, is_lost) in [(20, false), (26, true)] {
        let (rig, parent) = one_shard(OnGap::Fail);
        rig.stream.set_now(EpochMillis(wall().0 - HOUR));
        rig.write_to(&parent, 10);
        let [child, other] = rig.stream.split(&parent);
        rig.stream.hang(&child);
        rig.stream.hang(&other);
        let run = rig.start().await;
        rig.until_durable("the parent's end", |durable| durable.get(&parent) == Some(&Position::ShardEnd)).await;
        run.drained().await.expect_success();
        rig.stream.release(&child);
        rig.stream.release(&other);
        rig.write_to(&child, 10);
        move_ahead(&rig, stopped * HOUR);
        rig.write_to(&other, 10);
        let outcome = rig.catch_up().await;
        if is_lost {
            let failure = outcome.expect_failure();
            let gap = gap_of(&failure);
            assert_eq!(gap.from, Position::TrimHorizon);
            assert!(gap.shard == child || gap.shard == other, "{gap:?}");
        } else {
            outcome.expect_success();
            rig.expect_exact();
        }
    }
}
