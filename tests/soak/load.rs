//! The streams: what is written to them, and how their shards change meanwhile. Both happen behind the service, so that no
//! fault makes it doubtful what was written.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::ledger::Written;
use tests::moments::Moments;
use tests::simulated::{Limits, Setup, ShardView, SimulatedAws, Wait};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::report::Counts;
use crate::services::{self, Sinks};

/// What one source reads; a key is in one of them.
pub(crate) const STREAMS: [&str; 2] = ["soak-a", "soak-b"];
/// Open shards of a stream at the start.
const SHARDS: u32 = 2;
/// Open shards of a stream never get more.
const SHARDS_MAX: usize = 5;
const KEYS: u64 = 200;
/// What else a record holds.
const FILLER: &str = "------------------------------";
/// A round of one record a key: 1,000 records a second, or 400 where each goes to three services as well.
const fn round_interval(sinks: Sinks) -> Duration {
    if sinks.are_services() { Duration::from_millis(500) } else { Duration::from_millis(200) }
}
/// So short that a reader that was held up meets it.
const ITERATOR_LIFE: Duration = Duration::from_secs(3);
/// So short that most lives of the host meet its end.
const SUBSCRIPTION_LIFE: Duration = Duration::from_secs(4);
/// A life that follows another one closely is refused at first.
const SUBSCRIPTION_GAP: Duration = Duration::from_secs(1);

/// The service, which outlives every host.
pub(crate) async fn service(seed: u64, sinks: Sinks) -> Arc<SimulatedAws> {
    let limits = Limits {
        iterator_life: ITERATOR_LIFE,
        subscription_life: Wait::Real(SUBSCRIPTION_LIFE),
        subscription_gap: SUBSCRIPTION_GAP,
        ..Limits::any_rate()
    };
    let aws = SimulatedAws::start_with(Setup { limits, seed, ..Setup::default() }).await;
    STREAMS.iter().for_each(|stream| aws.kinesis().create(stream, SHARDS));
    if sinks.are_services() {
        services::create(&aws);
    }
    Arc::new(aws)
}

/// Writes until the end comes, and returns what was written.
pub(crate) async fn write(aws: Arc<SimulatedAws>, end: Instant, sinks: Sinks, counts: Arc<Counts>) -> Written {
    let mut due = interval(round_interval(sinks));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = 0;
    while Instant::now() < end {
        due.tick().await;
        round(&aws, rounds);
        rounds += 1;
        counts.written.store(rounds * KEYS, Relaxed);
    }
    (0..KEYS).map(|key| (name(key), rounds)).collect()
}

/// Writes the next number of every key.
pub(crate) fn write_last(aws: &SimulatedAws, written: &mut Written) {
    round(aws, written.values().next().copied().unwrap_or_default());
    written.values_mut().for_each(|count| *count += 1);
}

fn round(aws: &SimulatedAws, number: u64) {
    for (key, stream) in (0..KEYS).zip(STREAMS.into_iter().cycle()) {
        let key = name(key);
        let data = json!({ "key": key, "number": number, "filler": FILLER }).to_string();
        aws.kinesis().put(stream, &key, data);
    }
}

fn name(key: u64) -> String {
    format!("key-{key}")
}

/// Key and number of a record that was written here.
pub(crate) fn number(data: &[u8]) -> Option<(String, u64)> {
    let record: Value = serde_json::from_slice(data).ok()?;
    Some((record["key"].as_str()?.to_owned(), record["number"].as_u64()?))
}

/// Splits and merges until the end comes.
pub(crate) async fn reshard(
    aws: Arc<SimulatedAws>,
    stream: &str,
    end: Instant,
    mut moments: Moments,
    counts: Arc<Counts>,
) {
    while Instant::now() < end {
        // Some follow each other closely, so that a family of three generations is open to be read at once.
        sleep(if moments.happens(25) { moments.milliseconds(0..300) } else { moments.milliseconds(1_000..6_000) })
            .await;
        let open = open_shards(&aws, stream);
        let chosen = moments.index(open.len());
        let is_merge = open.len() > 1 && (open.len() >= SHARDS_MAX || moments.happens(45));
        if is_merge {
            let first = chosen.min(open.len() - 2);
            aws.kinesis().merge(stream, &open[first].id, &open[first + 1].id);
        } else {
            aws.kinesis().split(stream, &open[chosen].id);
        }
        counts.reshards.fetch_add(1, Relaxed);
    }
}

/// In the order of the key space, where neighbours can be merged.
fn open_shards(aws: &SimulatedAws, stream: &str) -> Vec<ShardView> {
    let mut open = aws.kinesis().shards(stream);
    open.retain(|shard| !shard.is_closed());
    open.sort_by_key(|shard| shard.range.start);
    open
}
