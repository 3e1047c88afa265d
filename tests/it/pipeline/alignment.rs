//! Alignment: a shard that is far ahead in event time waits for the others, and for no longer than they have something to
//! say.
//!
//! Listings come at their interval whatever the readers do; they are the clock by which a silence is measured.

use std::time::Duration;

use host::source::memory::Call;
use host_core::shard::ShardId;
use tests::rig::{Rig, Run, Verdict};

/// Listings after which a reader that is not paused would long have read on.
const SILENCE: u64 = 10;
pub(super) const LATE: i64 = 10_000_000;

/// The two shards of a rig, each with a subtask of its own, whose records carry their event times: `… at=MILLIS`.
pub(super) fn timed(rig: Rig) -> (Rig, ShardId, ShardId) {
    let mut rig = rig.scripted(|asked| {
        let text = String::from_utf8_lossy(asked.data);
        let time = text.rsplit_once("at=").and_then(|(_, time)| time.parse().ok());
        Verdict::PassAt(time.expect("every record has its time"))
    });
    rig.manifest.parallelism = 2;
    rig.manifest.source.max_drift = Some(Duration::from_secs(1));
    rig.manifest.source.idle_after = Duration::from_secs(36_000);
    let [ahead, behind] = rig.shards().try_into().expect("two shards");
    (rig, ahead, behind)
}

pub(super) fn say_at(rig: &Rig, shard: &ShardId, times: impl IntoIterator<Item = i64>) {
    for time in times {
        rig.say(shard, &format!("at={time}"));
    }
}

/// Waits until nobody but a reader that hangs has been asking for records for a while.
async fn until_silent(rig: &Rig) {
    let silence = async {
        loop {
            let (reads, listings) = (rig.stream.calls(Call::Read), rig.stream.calls(Call::ListShards));
            rig.stream.until_calls(Call::ListShards, listings + SILENCE).await;
            if rig.stream.calls(Call::Read) == reads {
                return;
            }
        }
    };
    tests::rig::soon("a silence", silence).await;
}

/// Starts with the first record of each delivered, so that one is ahead.
async fn start_apart(rig: &Rig, ahead: &ShardId, behind: &ShardId) -> Run {
    say_at(rig, behind, [0]);
    say_at(rig, ahead, [LATE]);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    run
}

/// WMK-1: by the event times that the component gives, not by arrival.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_ahead_asks_for_nothing_until_the_other_has_caught_up() {
    let (rig, ahead, behind) = timed(Rig::new(2));
    let run = start_apart(&rig, &ahead, &behind).await;
    // The one behind hangs: whatever is asked for now is asked for by the one ahead.
    rig.stream.hang(&behind);
    until_silent(&rig).await;
    say_at(&rig, &ahead, LATE + 1..LATE + 50);
    say_at(&rig, &behind, 1..50);
    until_silent(&rig).await;
    assert_eq!(rig.elements().len(), 2, "the one ahead is paused");
    rig.stream.release(&behind);
    // Nothing of it brings the one ahead back, as long as it is that far behind.
    rig.until_elements(2 + 49).await;
    assert!(rig.elements()[2..].iter().all(|element| element.starts_with(behind.as_str())));
    say_at(&rig, &behind, [LATE]);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_falls_idle_holds_nobody() {
    let (mut rig, ahead, behind) = timed(Rig::new(2));
    rig.manifest.source.idle_after = Duration::from_millis(300);
    let run = start_apart(&rig, &ahead, &behind).await;
    for round in 1..5 {
        say_at(&rig, &ahead, [LATE + round]);
        rig.until_all_delivered().await;
    }
    run.drained().await.expect_success();
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_records_holds_nobody_once_it_was_seen_to_be_empty() {
    let (rig, ahead, _) = timed(Rig::new(2));
    say_at(&rig, &ahead, [0]);
    let run = rig.start().await;
    for round in 1..5 {
        say_at(&rig, &ahead, [round * LATE]);
        rig.until_all_delivered().await;
    }
    run.drained().await.expect_success();
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_drift_nobody_pauses() {
    let (mut rig, ahead, behind) = timed(Rig::new(2));
    rig.manifest.source.max_drift = None;
    say_at(&rig, &behind, [0]);
    rig.stream.hang(&behind);
    let run = rig.start().await;
    for round in 1..5 {
        let listings = rig.stream.calls(Call::ListShards);
        rig.stream.until_calls(Call::ListShards, listings + SILENCE).await;
        say_at(&rig, &ahead, [round * LATE]);
        rig.until_elements(usize::try_from(round).expect("small")).await;
    }
    rig.stream.release(&behind);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// A paused shard can be stopped, split and lost like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_a_paused_shard_drains_and_the_next_one_reads_on() {
    let (rig, ahead, behind) = timed(Rig::new(2));
    let run = start_apart(&rig, &ahead, &behind).await;
    rig.stream.hang(&behind);
    until_silent(&rig).await;
    say_at(&rig, &ahead, [LATE + 1]);
    rig.stream.split(&ahead);
    run.drained().await.expect_success();
    rig.stream.release(&behind);
    say_at(&rig, &behind, [1]);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// Caught up is caught up: the end that was fixed at the start is reached though shards are far apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_ends_with_shards_far_apart() {
    let (mut rig, ahead, behind) = timed(Rig::new(2));
    rig.polling().max_records = 5;
    say_at(&rig, &ahead, (0..200).map(|step| LATE + step * 1_000));
    say_at(&rig, &behind, (0..200).map(|step| step * 1_000));
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}
