//! A service that writes batches: what it takes, what it throws back, and what it has.

use std::collections::BTreeMap;

use host_core::batching::{Destination, Outcome, Quota, Setback};

/// What the service is told of an entry, and what it knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) ticket: u32,
    pub(crate) key: u32,
    pub(crate) destination: Destination,
    pub(crate) bytes: u64,
}

/// A token bucket as the service has one for each shard: what it takes in a second, and as much at once.
#[derive(Clone, Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled_at: u64,
}

impl Bucket {
    const fn new(rate: f64) -> Self {
        Self { rate, tokens: rate, filled_at: 0 }
    }

    fn has(&mut self, now: u64, cost: f64, part: f64) -> bool {
        let seconds = f64::from(u32::try_from(now - self.filled_at).expect("hours")) / 1_000.0;
        self.tokens = (self.tokens + seconds * self.rate * part).min(self.rate * part);
        self.filled_at = now;
        // A record larger than a second's worth is taken from a full bucket.
        self.tokens >= cost.min(self.rate * part)
    }
}

/// The tables or shards, and in which order they got what they have.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    buckets: BTreeMap<Destination, (Bucket, Bucket)>,
    quota: Quota,
    /// What is left of the quota while others write too.
    pub(crate) part: f64,
    /// The tickets written to each key, and when.
    pub(crate) written: BTreeMap<u32, Vec<(u64, u32)>>,
    pub(crate) throttled: u64,
    pub(crate) accepted: u64,
}

impl Service {
    pub(crate) const fn new(quota: Quota) -> Self {
        Self { buckets: BTreeMap::new(), quota, part: 1.0, written: BTreeMap::new(), throttled: 0, accepted: 0 }
    }

    /// Carries out the write of a record.
    pub(crate) fn write(&mut self, now: u64, record: &Record) -> Outcome {
        let quota = self.quota;
        let (records, bytes) = self
            .buckets
            .entry(record.destination)
            .or_insert_with(|| (Bucket::new(quota.records_per_second), Bucket::new(quota.bytes_per_second)));
        let size = f64::from(u32::try_from(record.bytes).expect("small"));
        if !(records.has(now, 1.0, self.part) && bytes.has(now, size, self.part)) {
            self.throttled += 1;
            return Outcome::Retry(Setback::Throttled);
        }
        records.tokens -= 1.0;
        bytes.tokens -= size;
        self.accepted += 1;
        self.written.entry(record.key).or_default().push((now, record.ticket));
        Outcome::Done
    }
}
