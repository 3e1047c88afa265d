//! The stream: what is written to it, and how its shards change meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use axum::middleware::from_fn_with_state;
use host::ports::StreamApi as _;
use host_core::shard::ShardDescription;
use tests::ferro::Ferro;
use tests::ledger::Written;
use tests::moments::Moments;
use tests::numbers::Numbers;
use tests::service::Service;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::faults::{Faults, meddle};
use crate::report::Counts;

const KEYS: u64 = 200;
/// A round of one record a key: 1,000 records a second.
const ROUND_INTERVAL: Duration = Duration::from_millis(200);
/// Open shards never get more.
const SHARDS_MAX: usize = 8;

/// The service, which outlives every host.
pub(crate) struct World {
    /// For those who are spared.
    pub(crate) service: Service,
    /// For the host.
    pub(crate) endpoint: String,
    pub(crate) faults: Arc<Faults>,
    _held: Ferro,
}

impl World {
    pub(crate) async fn start(stream: &str, shards: i32, moments: Moments) -> Self {
        let mut ferro = Ferro::start().await;
        ferro.create(stream, shards).await;
        let faults = Arc::new(Faults::new(moments));
        let meddled = from_fn_with_state(Arc::clone(&faults), meddle);
        let endpoint = ferro.through(|app| app.layer(meddled)).await;
        Self { service: (*ferro).clone(), endpoint, faults, _held: ferro }
    }
}

/// Writes until the end comes, and returns what was written.
pub(crate) async fn write(service: Service, stream: &str, end: Instant, counts: Arc<Counts>) -> Written {
    let mut numbers = Numbers::new(&service, stream, KEYS);
    let mut due = interval(ROUND_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        due.tick().await;
        numbers.round().await;
        counts.written.store(numbers.count(), Relaxed);
    }
    numbers.written()
}

/// Splits and merges until the end comes.
pub(crate) async fn reshard(service: Service, stream: &str, end: Instant, mut moments: Moments, counts: Arc<Counts>) {
    while Instant::now() < end {
        // Some follow each other closely, so that a family of three generations is open to be read at once.
        sleep(if moments.happens(25) { moments.milliseconds(0..300) } else { moments.milliseconds(1_000..6_000) })
            .await;
        let open = open_shards(&service, stream).await;
        let chosen = moments.index(open.len());
        let is_merge = open.len() > 1 && (open.len() >= SHARDS_MAX || moments.happens(45));
        if is_merge {
            let first = chosen.min(open.len() - 2);
            service.merge(stream, open[first].id.as_str(), open[first + 1].id.as_str()).await;
        } else {
            service.halve(stream, &open[chosen]).await;
        }
        counts.reshards.fetch_add(1, Relaxed);
    }
}

/// In the order of the key space, where neighbours can be merged.
async fn open_shards(service: &Service, stream: &str) -> Vec<ShardDescription> {
    let listed = service.stream(stream).await.list_shards().await.expect("a listing");
    let mut open: Vec<_> = listed.into_iter().filter(|shard| !shard.closed).collect();
    open.sort_by_key(|shard| shard.range.map(|range| range.start));
    open
}
