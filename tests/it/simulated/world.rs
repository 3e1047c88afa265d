//! A pipeline in process whose stream is behind the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::rig::Rig;
use tests::simulated::{Kinesis, Limits, Setup, SimulatedAws};

/// The stream that the rig's manifest names.
pub(super) const STREAM: &str = "rig";

/// The whole host, and the simulated AWS that it reads from.
pub(super) struct World {
    pub(super) aws: SimulatedAws,
    pub(super) rig: Rig,
    numbers: AtomicUsize,
}

impl World {
    /// At any rate, and at the machine's time.
    pub(super) async fn new(shards: u32) -> Self {
        Self::with(shards, Setup { limits: Limits::any_rate(), ..Setup::default() }).await
    }

    pub(super) async fn with(shards: u32, setup: Setup) -> Self {
        let aws = SimulatedAws::start_with(setup).await;
        aws.kinesis().create(STREAM, shards);
        let mut rig = Rig::new(1);
        rig.api = Arc::new(aws.stream(STREAM).await);
        rig.manifest.aws.retry.max_attempts = u32::MAX;
        Self { aws, rig, numbers: AtomicUsize::new(0) }
    }

    pub(super) fn kinesis(&self) -> &Kinesis {
        self.aws.kinesis()
    }

    /// The shards, in the order they were made.
    pub(super) fn shards(&self) -> Vec<String> {
        self.kinesis().shards(STREAM).into_iter().map(|shard| shard.id).collect()
    }

    fn text(&self, key: &str) -> String {
        format!("{key} {}", self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes `count` records, spread over keys and so over the open shards.
    pub(super) fn write(&self, count: usize) {
        for index in 0..count {
            let key = format!("key-{}", index % 16);
            self.kinesis().put(STREAM, &key, self.text(&key));
        }
    }

    /// Writes `count` records to one open shard.
    pub(super) fn write_to(&self, shard: &str, count: usize) {
        for _ in 0..count {
            self.kinesis().put_to(STREAM, shard, shard, self.text(shard));
        }
    }

    /// Waits until the sink holds as many elements as there are records.
    pub(super) async fn until_all_delivered(&self) {
        self.rig.until_elements(self.kinesis().truth(STREAM).len()).await;
    }

    /// Panics unless the sink holds what was written: nothing missing, nothing twice, each key in order.
    #[track_caller]
    pub(super) fn expect_exact(&self) {
        let elements = self.rig.sink.elements();
        let verdict = self.kinesis().truth(STREAM).compare_data(elements.iter().map(Vec::as_slice));
        assert!(verdict.is_exact(), "{verdict}");
    }

    /// Splits a shard, or merges it with the next one, while records come.
    pub(super) fn reshard(&self) {
        let shards = self.kinesis().open_shards(STREAM);
        self.write(100);
        let [_, upper] = self.kinesis().split(STREAM, &shards[0]);
        self.write(100);
        let [lower, _] = self.kinesis().split(STREAM, &shards[1]);
        self.write(100);
        let merged = self.kinesis().merge(STREAM, &upper, &lower);
        self.write(100);
        self.kinesis().split(STREAM, &merged);
        self.write(100);
    }

    /// Advances the service's time.
    pub(super) fn advance(&self, seconds: u64) {
        self.aws.clock().advance(Duration::from_secs(seconds));
    }
}
