//! Enhanced fan-out of the whole host over the wire: its consumer, its subscriptions, its connections.
//!
//! A shard is subscribed to once in five seconds at most, whatever became of the subscription before, and these are seconds
//! of the machine. So what breaks a subscription breaks one of each of many shards at the same time.

mod families;
mod renewals;
mod windows;
mod troubles;
mod consumers;
mod binary;

use std::sync::Arc;
use std::time::Duration;

use host::ports::{FanOutApi, StreamApi};
use tests::simulated::{Limits, Setup, Wait};

use super::world::{STREAM, World};

/// What subscriptions travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// A connection for each.
    Http1,
    /// Sixteen to a connection.
    Http2,
}

const BOTH: [Over; 2] = [Over::Http1, Over::Http2];
/// Short, so that no test waits for the end of a shard that has nothing to say.
const HEARTBEAT: Duration = Duration::from_millis(20);
/// With the records that tests write, several events a shard.
const EVENT_RECORDS: usize = 10;

/// At any rate, in small events.
fn limits() -> Limits {
    Limits { heartbeat: Wait::Real(HEARTBEAT), event_records: EVENT_RECORDS, ..Limits::any_rate() }
}

async fn world(shards: u32, over: Over) -> World {
    with(shards, over, Setup { limits: limits(), ..Setup::default() }).await
}

async fn with(shards: u32, over: Over, setup: Setup) -> World {
    let mut world = World::with(shards, setup).await;
    let stream = Arc::new(match over {
        Over::Http1 => world.aws.stream(STREAM).await,
        Over::Http2 => world.aws.h2c_stream(STREAM).await,
    });
    world.rig.api = Arc::clone(&stream) as Arc<dyn StreamApi>;
    world.rig.fan_out = vec![stream as Arc<dyn FanOutApi>];
    world.rig.read_by_fan_out();
    world
}

/// How often a shard was subscribed to.
fn subscribed(world: &World, shard: &str) -> u64 {
    world.aws.counted(|counted| counted.calls_of("SubscribeToShard", STREAM, shard))
}

/// Panics unless nothing of a run is left on the wire.
async fn expect_nothing_open(world: &World) {
    world.aws.until_subscribed(0).await;
    world.aws.until("no stream of HTTP/2", |counted| counted.http2_streams == 0).await;
}
