//! The whole host in process, reading by enhanced fan-out.
//!
//! Where a claim speaks of seconds and minutes, the test's time is paused and an hour passes at once ([`tests::still`]).

mod alignment;
mod choosing;
mod consumers;
mod errors;
mod families;
mod gaps;
mod life;
mod room;
mod silence;
mod takeover;

use std::time::Duration;

use tests::rig::Rig;

/// A stream of so many shards.
fn rig(shards: u32) -> Rig {
    let mut rig = Rig::new(shards);
    rig.read_by_fan_out();
    rig
}

/// The same for tests whose time is paused: listings come seldom enough for an hour to pass
/// quickly, and time may run away while something ends.
fn paused(shards: u32) -> Rig {
    let mut rig = rig(shards);
    rig.manifest.source.discovery_interval = Duration::from_secs(60);
    rig.manifest.shutdown_timeout = Duration::from_secs(86_400);
    rig
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
