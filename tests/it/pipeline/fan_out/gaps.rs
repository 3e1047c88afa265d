//! Records that were gone before they were pushed.

use host::config::OnGap;
use host_core::gap::GapReason;
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use tests::rig::{Rig, wall};

use super::super::gaps::{HOUR, after, expect_trimmed_after_five, gap_of, move_ahead};
use super::paused;

fn one_shard(on_gap: OnGap) -> (Rig, ShardId) {
    let mut rig = paused(1);
    rig.manifest.source.on_gap = on_gap;
    let shard = rig.shards()[0].clone();
    (rig, shard)
}

/// GAP-1, POS-1: found at a restart; nothing behind it is delivered unless the manifest says so, and then it is counted once.
#[tokio::test(start_paused = true)]
async fn a_position_older_than_retention_is_a_gap_at_a_restart() {
    let (mut rig, shard) = one_shard(OnGap::Fail);
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    rig.write_to(&shard, 10);
    rig.stream.trim(&shard, 15);
    move_ahead(&rig, 26 * HOUR);
    rig.write_to(&shard, 10);
    for _ in 0..2 {
        let outcome = rig.start().await.ended().await;
        assert_eq!(outcome.totals.gaps.get(), 0, "none was passed over");
        let failure = outcome.expect_failure();
        let gap = gap_of(&failure);
        assert_eq!((&gap.shard, gap.reason, &gap.from), (&shard, GapReason::StalePosition, &after(&rig, 9)));
        assert_eq!((rig.elements().len(), &rig.durable()[&shard]), (10, &after(&rig, 9)));
    }
    rig.manifest.source.on_gap = OnGap::Continue;
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (1, 15));
    rig.write_to(&shard, 10);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.gaps.get(), totals.elements_out.get()), (0, 10));
}

/// GAP-1: a reader that is slower than the trimming, in the middle of a subscription.
#[tokio::test(start_paused = true)]
async fn what_is_trimmed_before_a_slow_reader_comes_to_it_is_a_gap() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let (rig, shard) = one_shard(on_gap);
        rig.stream.push_at_most(5);
        expect_trimmed_after_five(&rig, &shard).await;
    }
}

/// GAP-1: what is quiet lacks nothing: its last record may be as old as it likes.
#[tokio::test(start_paused = true)]
async fn a_quiet_shard_raises_no_alarm_after_a_stop_shorter_than_retention() {
    let (rig, shard) = one_shard(OnGap::Fail);
    rig.stream.set_now(EpochMillis(wall().0 - 20 * HOUR));
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    // The records are 42 hours old then.
    move_ahead(&rig, 22 * HOUR);
    rig.write_to(&shard, 10);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// GAP-1: and an hour after hour of heartbeats keeps the position young.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_quiet_for_days_while_it_is_subscribed_to_lacks_nothing() {
    let (rig, shard) = one_shard(OnGap::Fail);
    rig.write_to(&shard, 10);
    let run = rig.start().await;
    tests::still::still(rig.until_all_delivered()).await;
    super::pass(30 * 3_600).await;
    rig.stream.trim(&shard, 10);
    rig.stream.set_now(EpochMillis(wall().0 + 29 * HOUR));
    rig.write_to(&shard, 10);
    tests::still::still(rig.until_all_delivered()).await;
    tests::still::still(run.drained()).await.expect_success();
    rig.expect_exact();
}
