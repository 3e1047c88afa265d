//! A sink that writes to a table of DynamoDB: puts and deletes, in batches.
//!
//! What the table's key is, the table tells; nobody repeats it in a manifest and gets it wrong. A delete is sent as its key,
//! whatever else its item has. Everything that the service would refuse for what is in an entry alone is refused before it is
//! sent, with the reason: one such entry makes the service refuse the request with all its neighbours in it.

pub mod api;
pub mod key;
pub mod transactions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::batching::{Destination, Options, Order, Outcome, Quota};
use host_core::patience::{Patience, Phase, RetryLimits, Trouble, Verdict};
use host_core::transacting;

use self::key::KeySchema;
use super::batched::{Batched, Facts, WriteError, Written};
use super::exactly_once;
use crate::clock::Clock;
use crate::config::{DynamodbSink, Retry, SinkOrder};
use crate::entry::{Action, ItemRequest};
use crate::item::{DEPTH_MAX, ITEM_BYTES_MAX, Item, Value};
use crate::ports::{SinkError, TableApi, TableDescription};

/// Requests on items in one `BatchWriteItem`.
pub const BATCH_COUNT_MAX: usize = 25;
/// Bytes in one: 16 MB.
pub const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Requests on items in one `TransactWriteItems`, beside the position.
pub const TRANSACTION_COUNT_MAX: usize = 99;
/// Bytes in one: 4 MB.
pub const TRANSACTION_BYTES_MAX: u64 = 4_000_000;
/// What of them is left for the position: a key has at most 2,048 bytes.
const POSITION_BYTES: u64 = 4_096;
/// What one write unit writes each second: an item of this many bytes.
const WRITE_UNIT_BYTES: u64 = 1024;
/// There is one table.
const TABLE: Destination = Destination(0);

/// How entries of this sink share requests, as the manifest says it.
#[must_use]
pub fn options(sink: &DynamodbSink, retry: &Retry) -> Options {
    let batch = &sink.batch;
    Options {
        max_count: batch.max_count.min(BATCH_COUNT_MAX),
        max_bytes: batch.max_bytes.min(BATCH_BYTES_MAX),
        max_record_bytes: batch.max_record_bytes.unwrap_or(ITEM_BYTES_MAX).min(ITEM_BYTES_MAX),
        max_age: batch.max_age,
        max_in_flight: batch.max_in_flight,
        max_buffered: batch.max_buffered,
        max_buffered_bytes: batch.max_buffered_bytes,
        max_attempts: batch.max_attempts,
        max_entry_age: batch.max_entry_age,
        order: match sink.order {
            SinkOrder::PerKey => Order::Newest,
            SinkOrder::None => Order::Distinct,
        },
        retry: RetryLimits::from(retry),
        ..Options::default()
    }
}

/// How a sink with `guarantee = "exactly-once"` writes, as the manifest says it.
#[must_use]
pub fn exactly_once_settings(sink: &DynamodbSink, retry: &Retry) -> exactly_once::Settings {
    let batch = &sink.batch;
    exactly_once::Settings {
        options: transacting::Options {
            max_count: batch.max_count.min(TRANSACTION_COUNT_MAX),
            max_bytes: batch.max_bytes.min(TRANSACTION_BYTES_MAX - POSITION_BYTES),
            max_age: batch.max_age,
            retry: RetryLimits::from(retry),
        },
        max_record_bytes: batch.max_record_bytes.unwrap_or(ITEM_BYTES_MAX).min(ITEM_BYTES_MAX),
        max_in_flight: batch.max_in_flight,
        max_buffered: batch.max_buffered,
        max_buffered_bytes: batch.max_buffered_bytes,
        request_timeout: batch.request_timeout,
        fail_on_timeout: batch.fail_on_timeout,
        fail_on_error: sink.fail_on_error,
    }
}

/// A table that takes batches.
pub struct DynamodbTarget {
    api: Arc<dyn TableApi>,
    schema: KeySchema,
    write_units: Option<u64>,
    is_quota_told: AtomicBool,
}

impl DynamodbTarget {
    /// Learns what the table is, with the patience of a start. `sink` is the sink's name in the manifest.
    ///
    /// # Errors
    /// There is no such table there, it may not be described, or it takes no writes.
    pub async fn open(api: Arc<dyn TableApi>, sink: &str, retry: RetryLimits, clock: Clock) -> Result<Self, SinkError> {
        let table = describe(&*api, sink, retry, clock).await?;
        Ok(Self {
            schema: KeySchema::of(&table),
            write_units: table.write_units,
            is_quota_told: AtomicBool::new(false),
            api,
        })
    }

    /// The table's key.
    #[must_use]
    pub const fn schema(&self) -> &KeySchema {
        &self.schema
    }
}

/// Describes the table until it takes writes or patience ends: a table that is being created takes them soon.
///
/// # Errors
/// There is no such table there, it may not be described, or it takes no writes.
pub async fn describe(
    api: &dyn TableApi,
    sink: &str,
    retry: RetryLimits,
    clock: Clock,
) -> Result<TableDescription, SinkError> {
    let mut patience = Patience::new(retry, Phase::Starting);
    loop {
        let (trouble, error) = match api.describe().await {
            Ok(table) if table.is_writable => return Ok(table),
            Ok(table) => {
                let target = format!("table {}", table.arn);
                (Some(Trouble::Transient), SinkError::NotWritable { sink: sink.to_owned(), target })
            }
            Err(source) => {
                (source.kind.trouble(), SinkError::Service { sink: sink.to_owned(), source: Box::new(source) })
            }
        };
        let Some(trouble) = trouble else { return Err(error) };
        match patience.failed(clock.now(), trouble, fastrand::f64()) {
            Verdict::Again { after, struggling } => {
                if struggling.is_some() {
                    tracing::warn!(%error, "the table cannot be described; trying again");
                }
                tokio::time::sleep(after).await;
            }
            Verdict::GiveUp => return Err(error),
        }
    }
}

/// What the service would not take, whatever table this is.
///
/// # Errors
/// Why: a clause that names no payload.
pub fn check_put(request: &ItemRequest) -> Result<u64, String> {
    if request.item.is_too_deep() {
        return Err(format!("the item has a value of more than {DEPTH_MAX} levels of lists and maps"));
    }
    let bytes = request.item.size();
    if bytes > ITEM_BYTES_MAX {
        return Err(format!("the item has {bytes} bytes, more than the {ITEM_BYTES_MAX} that a table takes"));
    }
    Ok(bytes)
}

/// What no table adds to an item.
///
/// # Errors
/// Why: a clause that names no payload.
pub fn check_add(schema: &KeySchema, item: &Item) -> Result<(), String> {
    let mut added = item.0.iter().filter(|(name, _)| !schema.contains(name)).peekable();
    if added.peek().is_none() {
        return Err("an Add has no number beside its key".to_owned());
    }
    match added.find(|(_, value)| !matches!(value, Value::Number(_))) {
        Some((name, value)) => {
            Err(format!("an Add takes numbers, and attribute {name:?} is of type {}", value.type_name()))
        }
        None => Ok(()),
    }
}

impl Batched for DynamodbTarget {
    type Entry = ItemRequest;

    fn facts(&self, entry: &ItemRequest) -> Result<Facts, String> {
        let key = self.schema.canonical(&entry.item)?;
        let bytes = match entry.action {
            Action::Put => check_put(entry)?,
            Action::Delete => self.schema.project(&entry.item).size(),
            Action::Add => {
                return Err("an Add counts twice when it is repeated, so only a sink with guarantee = \"exactly-once\" takes it"
                    .to_owned());
            }
        };
        Ok(Facts { key, destination: TABLE, bytes })
    }

    fn name(&self, entry: &ItemRequest) -> String {
        self.schema.shown(&entry.item)
    }

    fn write(&self, entries: Vec<Arc<ItemRequest>>) -> BoxFuture<'_, Result<Written, WriteError>> {
        async move {
            let outcomes = self.api.batch_write(&entries).await.map_err(WriteError::of)?;
            let unprocessed = outcomes.iter().filter(|outcome| **outcome != Outcome::Done).count() as u64;
            let codes = if unprocessed > 0 { vec![("UnprocessedItems".to_owned(), unprocessed)] } else { Vec::new() };
            Ok(Written { outcomes, codes })
        }
        .boxed()
    }

    fn news(&self) -> Vec<(Destination, Option<Quota>)> {
        let Some(units) = self.write_units else { return Vec::new() };
        if self.is_quota_told.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        #[expect(clippy::cast_precision_loss, reason = "no table has 2^53 write units")]
        let quota =
            Quota { records_per_second: units as f64, bytes_per_second: units.saturating_mul(WRITE_UNIT_BYTES) as f64 };
        vec![(TABLE, Some(quota))]
    }
}

#[cfg(test)]
mod tests;
