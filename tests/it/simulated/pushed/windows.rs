//! A reader that is held up takes what it has room for, and the service keeps the rest.

use std::time::Duration;

use tests::rig::{Gate, Verdict};
use tests::simulated::{Limits, Setup};

use super::{BOTH, Over, limits, with, world};
use crate::simulated::world::{STREAM, World};

const MIB: u64 = 1 << 20;
/// Of each of two subtasks half.
const READ_AHEAD: u64 = 2 * MIB;
/// With the bytes of each, far more than budget, sockets and windows hold.
const RECORDS: usize = 800;
const RECORD_BYTES: usize = 60_000;
/// What a stream of HTTP/2 has room for, that nobody has read.
const WINDOW: u64 = 2 * MIB;

/// Waits until the service has pushed all that it can: calls go to and fro meanwhile, and nothing changes.
async fn until_pushing_stops(world: &World, shard: &str) -> u64 {
    let client = world.aws.h2c_client().await;
    let pushed = || world.aws.counted(|counted| counted.subscribed_to(STREAM, shard).bytes);
    let (mut before, mut same) = (pushed(), 0);
    while same < 10 {
        for _ in 0..50 {
            client.list_streams().send().await.expect("listed");
        }
        let now = pushed();
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    before
}

/// LIM-1: by the counts of the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_held_up_closes_the_window_and_no_neighbour_waits() {
    for over in BOTH {
        let limits = Limits { event_records: 1, ..limits() };
        let mut world = with(2, over, Setup { limits, ..Setup::default() }).await;
        let [held, other] = [world.shards()[0].clone(), world.shards()[1].clone()];
        let gate = Gate::default();
        let (passed, at) = (gate.clone(), held.clone());
        world.rig = world.rig.scripted(move |asked| {
            if asked.shard == at {
                passed.pass();
            }
            Verdict::Pass
        });
        world.rig.manifest.parallelism = 2;
        world.rig.manifest.source.read_ahead = READ_AHEAD;
        for number in 0..RECORDS {
            world.kinesis().put_to(STREAM, &held, &held, format!("{held} {number:0RECORD_BYTES$}"));
        }
        let run = world.rig.start().await;
        gate.until_waiting().await;
        let pushed = until_pushing_stops(&world, &held).await;
        let all = (RECORDS * RECORD_BYTES) as u64;
        if over == Over::Http2 {
            // The budget holds records as they are, the wire has them in Base64. One event has begun to be read, another
            // has begun to be sent.
            let taken = READ_AHEAD / 2 * 4 / 3;
            assert!(pushed <= taken + WINDOW + 2 * 90_000, "{pushed} bytes");
        }
        assert!(pushed < all / 2, "{pushed} bytes of {all}");
        assert_eq!(world.aws.counted(|counted| counted.subscribed().open), 2, "none is given up");
        for count in 1..=50 {
            world.write_to(&other, 1);
            world.rig.until_elements(count).await;
        }
        gate.open();
        world.until_all_delivered().await;
        let pushed = world.aws.counted(|counted| counted.subscribed_to(STREAM, &held));
        assert!(pushed.bytes > all && pushed.opened == 1, "{pushed:?}");
        run.drained().await.expect_success();
        world.expect_exact();
    }
}

/// LIM-1: there is room for it once everything else is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_larger_than_the_whole_budget_pass() {
    for over in BOTH {
        let mut world = world(2, over).await;
        world.rig.manifest.source.read_ahead = MIB / 4;
        for number in 0..40 {
            let shard = world.shards()[number % 2].clone();
            world.kinesis().put_to(STREAM, &shard, &shard, format!("{shard} {number:0RECORD_BYTES$}"));
        }
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        run.drained().await.expect_success();
        world.expect_exact();
        let pushed = world.aws.counted(|counted| counted.subscribed());
        assert!(pushed.bytes / pushed.events.clamp(1, 4) > MIB / 2, "{pushed:?}");
    }
}

/// A stop does not wait for who is held up behind a window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_with_closed_windows_drains_what_was_taken_and_the_next_run_takes_the_rest() {
    for over in BOTH {
        let mut world = world(4, over).await;
        let gate = Gate::default();
        let passed = gate.clone();
        world.rig = world.rig.scripted(move |_| {
            passed.pass();
            Verdict::Pass
        });
        world.rig.manifest.source.read_ahead = MIB / 2;
        world.rig.manifest.shutdown_timeout = Duration::from_secs(60);
        for shard in world.shards() {
            for number in 0..200 {
                world.kinesis().put_to(STREAM, &shard, &shard, format!("{shard} {number:020000}"));
            }
        }
        let run = world.rig.start().await;
        gate.until_waiting().await;
        let first = world.shards()[0].clone();
        until_pushing_stops(&world, &first).await;
        run.stop();
        gate.open();
        run.ended().await.expect_success();
        assert!(world.rig.elements().len() < 800);
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        run.drained().await.expect_success();
        world.expect_exact();
    }
}
