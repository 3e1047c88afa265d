//! The sink that writes to a stream of Kinesis Data Streams.
//!
//! A shard takes 1,000 records and 1 MiB a second and throws back what is more, so what is paced is the shard: an entry's
//! destination is the shard whose range holds its hash key ([`shards`]). What is ordered is the partition key, even of an
//! entry with an explicit hash key that sends it to another shard: readers know records by their partition key.
//!
//! Everything is counted as the service counts it, partition keys included, so that no request is refused for its size.

mod shards;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::batching::{Destination, Options, Order, Quota};
use host_core::patience::RetryLimits;

use self::shards::{ANYWHERE, Change, Kept, ShardMap};
use crate::clock::Clock;
use crate::config::{KinesisSink, SinkOrder};
use crate::entry::KinesisEntry;
use crate::ports::{Put, PutApi, SinkError, StreamApi, StreamDescription, StreamStatus};
use crate::sink::batched::{Batched, Facts, WriteError, Written};
use crate::source::health::{Health, PatientCall, Purpose, Subject};

/// Entries of a request at most (`PutRecords`).
pub const REQUEST_ENTRIES_MAX: usize = 500;
/// Bytes of a request at most, partition keys included: "up to a limit of 10 MiB for the entire request, including partition
/// keys" (`PutRecords` in the API reference as of 2026; it was 5 MiB, which is still the default of `max_bytes`).
pub const REQUEST_BYTES_MAX: u64 = 10 * 1_048_576;
/// Bytes of data and partition key of a record at most, whatever the stream (`UpdateMaxRecordSize`).
pub const RECORD_BYTES_MAX: u64 = 10 * 1_048_576;
/// The same for a stream that was never told otherwise.
pub const RECORD_BYTES_USUAL: u64 = 1_048_576;
/// Characters of a partition key at most: Unicode code points, not bytes.
pub const PARTITION_KEY_CHARS_MAX: usize = 256;
/// A rate that limits nothing.
const UNLIMITED: f64 = 1e15;
/// Characters of a partition key in messages.
const NAME_CHARS_MAX: usize = 64;

/// What opening a target needs beside the manifest.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The sink's name in the manifest.
    pub sink: String,
    /// `[aws.retry]`.
    pub retry: RetryLimits,
    /// Where calls that fail are told.
    pub health: Arc<Health>,
    /// Time.
    pub clock: Clock,
}

/// A stream that a sink writes to.
pub struct KinesisTarget {
    put: Arc<dyn PutApi>,
    /// `None` if the service places records by itself.
    shards: Option<Kept>,
    /// What each shard takes; `None`: it is found out.
    quota: Option<Quota>,
    max_record_bytes: u64,
}

impl fmt::Debug for KinesisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisTarget").field("max_record_bytes", &self.max_record_bytes).finish_non_exhaustive()
    }
}

impl KinesisTarget {
    /// Finds the stream, with the patience of a start, and lists its shards if that is permitted. Returns the limits of its
    /// requests, too. Must be called within a runtime, which then carries the task that keeps the list up to date.
    ///
    /// # Errors
    /// The stream does not exist, may not be described, cannot be reached, or is being created or deleted.
    pub async fn open(
        stream: Arc<dyn StreamApi>,
        put: Arc<dyn PutApi>,
        config: &KinesisSink,
        opening: Opening,
    ) -> Result<(Self, Options), SinkError> {
        let Opening { sink, retry, health, clock } = opening;
        let name = config.stream.name();
        let subject = Subject { stream: name.to_owned(), purpose: Purpose::Describing };
        let described = PatientCall::starting(subject, retry, health, clock).repeat(|| stream.describe()).await;
        let description =
            described.map_err(|source| SinkError::Service { sink: sink.clone(), source: Box::new(source) })?;
        match description.status {
            StreamStatus::Creating | StreamStatus::Deleting => {
                return Err(SinkError::NotWritable { sink, target: format!("stream {}", description.arn) });
            }
            StreamStatus::Active | StreamStatus::Updating => {}
        }
        let options = options(config, &description, retry);
        let shards = if description.places_by_key {
            let map = ShardMap::new(stream, name);
            map.look().await;
            Some(map.keep())
        } else {
            tracing::warn!(sink, stream = name, "the stream places records by itself: it keeps no order of keys");
            None
        };
        let (quota, max_record_bytes) = (quota(config), options.max_record_bytes);
        Ok((Self { put, shards, quota, max_record_bytes }, options))
    }
}

/// What a shard takes, as the manifest says it.
fn quota(config: &KinesisSink) -> Option<Quota> {
    let (records, bytes) = (config.max_records_per_second, config.max_bytes_per_second);
    (records.is_some() || bytes.is_some()).then(|| Quota {
        records_per_second: records.unwrap_or(UNLIMITED),
        #[expect(clippy::cast_precision_loss, reason = "a rate is no better than its sixteen digits")]
        bytes_per_second: bytes.map_or(UNLIMITED, |bytes| bytes as f64),
    })
}

/// The limits of requests: what the manifest says, within what the service takes, and at least one record to a request.
#[must_use]
pub fn options(config: &KinesisSink, description: &StreamDescription, retry: RetryLimits) -> Options {
    let batch = &config.batch;
    let of_stream = description.max_record_bytes.unwrap_or(RECORD_BYTES_USUAL);
    let max_record_bytes = batch.max_record_bytes.unwrap_or(of_stream).min(RECORD_BYTES_MAX);
    Options {
        max_count: batch.max_count.min(REQUEST_ENTRIES_MAX),
        max_bytes: batch.max_bytes.max(max_record_bytes).min(REQUEST_BYTES_MAX),
        max_record_bytes,
        max_age: batch.max_age,
        max_in_flight: batch.max_in_flight,
        max_buffered: batch.max_buffered,
        max_buffered_bytes: batch.max_buffered_bytes,
        max_attempts: batch.max_attempts,
        max_entry_age: batch.max_entry_age,
        order: match config.order {
            SinkOrder::PerKey => Order::PerKey,
            SinkOrder::None => Order::Free,
        },
        // Shards are told one by one, as they become known.
        quota: None,
        retry,
        ..Options::default()
    }
}

impl Batched for KinesisTarget {
    type Entry = KinesisEntry;

    fn facts(&self, entry: &KinesisEntry) -> Result<Facts, String> {
        let key = &entry.partition_key;
        // Counting is for keys that are not short in bytes already.
        let characters = if key.len() <= PARTITION_KEY_CHARS_MAX { key.len().min(1) } else { key.chars().count() };
        if characters == 0 {
            return Err("its partition key is empty, and a stream takes 1 to 256 characters".to_owned());
        }
        if characters > PARTITION_KEY_CHARS_MAX {
            return Err(format!("its partition key has {characters} characters, and a stream takes 1 to 256"));
        }
        let (bytes, max) = (entry.bytes(), self.max_record_bytes);
        if bytes > max {
            return Err(format!(
                "its data and partition key are {bytes} bytes, and the limit is {max} (max_record_bytes)"
            ));
        }
        let destination = self.shards.as_ref().map_or(ANYWHERE, |map| map.destination(entry.hash_key()));
        Ok(Facts { key: key.as_bytes().to_vec(), destination, bytes })
    }

    fn name(&self, entry: &KinesisEntry) -> String {
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let mut characters = entry.partition_key.chars().map(shown);
        let mut name: String = characters.by_ref().take(NAME_CHARS_MAX).collect();
        if characters.next().is_some() {
            name.pop();
            name.push('…');
        }
        name
    }

    fn write(&self, entries: Vec<Arc<KinesisEntry>>) -> BoxFuture<'_, Result<Written, WriteError>> {
        async move {
            let puts = self.put.put_records(&entries).await.map_err(WriteError::of)?;
            if let Some(map) = &self.shards {
                map.told(&puts);
            }
            let mut codes: BTreeMap<String, u64> = BTreeMap::new();
            let outcome = |Put { outcome, code, shard: _ }| {
                if let Some(code) = code {
                    *codes.entry(code).or_default() += 1;
                }
                outcome
            };
            Ok(Written { outcomes: puts.into_iter().map(outcome).collect(), codes: codes.into_iter().collect() })
        }
        .boxed()
    }

    fn news(&self) -> Vec<(Destination, Option<Quota>)> {
        let news = |(destination, change)| match change {
            // Without a quota there is nothing to tell of a shard that opens.
            Change::Opened => self.quota.map(|quota| (destination, Some(quota))),
            Change::Closed => Some((destination, None)),
        };
        let changes = self.shards.as_ref().map(|map| map.changes()).unwrap_or_default();
        changes.into_iter().filter_map(news).collect()
    }
}

#[cfg(test)]
mod tests;
