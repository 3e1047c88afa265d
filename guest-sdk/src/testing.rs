//! Runs a deserializer on records in memory, a converter on elements or an assigner on shards, natively and without a
//! sandbox, through the same packing as in production.
//!
//! The clock, late-bound values, the log and metrics are a stand-in for the host that belongs to the current thread.
//! Limits are not: a test here tells whether the logic is right, not whether it is fast enough.

use std::collections::BTreeMap;

use crate::bindings::kinesis::sluicebox::pipeline::elements::Deserialized;
use crate::bindings::kinesis::sluicebox::pipeline::kinesis_source::{RecordBatch, ShardContext};
use crate::bindings::sluicebox::pipeline::types::{ConfigEntry, ConfigValue, OpenContext};
use crate::columns::{self, BytesColumn, append, value};
use crate::host::native::with_world;
use crate::kinesis::Deserializer;
use crate::{Config, Error, kinesis};

mod assigner;
mod converter;

pub use crate::host::native::Line;
pub use assigner::{AssignerInstance, TestShard, readers};
#[cfg(test)]
pub(crate) use converter::element_batch;
pub use converter::{
    DynamodbConverterInstance, EntryOutcome, KinesisConverterInstance, RequestOutcome, TestElement, TestEntry,
    TestRequest,
};

/// Where test records and shards are, unless they say otherwise.
const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/test";

/// A record to deserialize.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRecord {
    /// `Data`.
    pub data: Vec<u8>,
    /// `PartitionKey`; `key` unless set.
    pub partition_key: String,
    /// `SequenceNumber`; numbered within the batch unless set.
    pub sequence_number: Option<String>,
    /// The index within an aggregated record.
    pub sub_sequence: Option<u64>,
    /// `ApproximateArrivalTimestamp` in milliseconds since the epoch; 0 unless set.
    pub arrival_ms: i64,
}

impl TestRecord {
    /// A record with this data.
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        Self {
            data: data.into(),
            partition_key: "key".into(),
            sequence_number: None,
            sub_sequence: None,
            arrival_ms: 0,
        }
    }

    /// With this partition key.
    #[must_use]
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.partition_key = key.into();
        self
    }

    /// Arrived at this time, in milliseconds since the epoch.
    #[must_use]
    pub fn arrival_ms(mut self, millis: i64) -> Self {
        self.arrival_ms = millis;
        self
    }
}

/// An element as a sink sees it: what it did not set itself is inherited from its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The record it came from, counted from 0 in the batch.
    pub input: usize,
    /// The payload.
    pub payload: Vec<u8>,
    /// Milliseconds since the epoch.
    pub event_time: i64,
    /// The key.
    pub key: Vec<u8>,
    /// The route, `None` for every sink.
    pub route: Option<String>,
}

/// What became of a batch. A record in neither list was filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In the order they were emitted.
    pub elements: Vec<Emitted>,
    /// Records that failed, counted from 0 in the batch.
    pub errors: Vec<(usize, Error)>,
}

/// An opened deserializer.
#[derive(Debug)]
pub struct Instance<D> {
    deserializer: D,
}

impl<D: Deserializer> Instance<D> {
    /// Opens a deserializer with this configuration.
    ///
    /// # Errors
    /// Those of the deserializer's `open`.
    pub fn open<'k>(entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Result<Self, Error> {
        Ok(Self { deserializer: D::open(&config(entries))? })
    }

    /// Deserializes one batch of one shard.
    ///
    /// # Panics
    /// The batch as a whole failed, which only a payload written by taking away earlier ones can bring about.
    pub fn deserialize(&mut self, records: &[TestRecord]) -> Outcome {
        let batch = batch(records);
        let packed = kinesis::deserialize(&mut self.deserializer, &batch).expect("payloads are only appended to");
        unpack(&batch, packed)
    }

    /// The deserializer itself, to look at its state.
    #[must_use]
    pub fn deserializer(&self) -> &D {
        &self.deserializer
    }

    /// The deserializer itself, to call `close` or `restore`.
    pub fn deserializer_mut(&mut self) -> &mut D {
        &mut self.deserializer
    }
}

/// A configuration as the host hands it to `open` of a deserializer.
pub fn config<'k>(entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Config {
    config_of("deserializer", entries)
}

fn config_of<'k>(stage: &str, entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Config {
    let sorted: BTreeMap<_, _> = entries.into_iter().collect();
    Config::from(OpenContext {
        tenant: "default".into(),
        pipeline: "test".into(),
        stage: stage.into(),
        subtask: 0,
        parallelism: 1,
        attempt: 1,
        config: sorted.into_iter().map(|(key, value)| ConfigEntry { key: key.into(), value }).collect(),
        shadow: false,
    })
}

/// Sets what [`time::now`](crate::time::now) tells, in milliseconds since the epoch; 0 at first.
pub fn set_now(millis: i64) {
    with_world(|world| world.now = millis);
}

/// Sets what [`config::get`](crate::config::get) finds under a key.
pub fn set_value(key: &str, value: &str) {
    with_world(|world| world.values.insert(key.into(), value.into()));
}

/// Grants a secret.
pub fn set_secret(name: &str, secret: &[u8]) {
    with_world(|world| world.secrets.insert(name.into(), secret.into()));
}

/// Takes the lines that were logged so far.
#[must_use]
pub fn take_log() -> Vec<Line> {
    with_world(|world| std::mem::take(&mut world.lines))
}

/// A metric by its name, `name{label=value}` with labels: the sum of a counter or a histogram, the last value of a gauge.
#[must_use]
pub fn metric(series: &str) -> Option<f64> {
    with_world(|world| world.metrics.get(series).copied())
}

fn batch(records: &[TestRecord]) -> RecordBatch {
    let aggregated = records.iter().any(|record| record.sub_sequence.is_some());
    let numbers: Vec<_> = (1..)
        .zip(records)
        .map(|(number, record): (u32, _)| record.sequence_number.clone().unwrap_or_else(|| number.to_string()))
        .collect();
    RecordBatch {
        shard: ShardContext {
            stream_arn: STREAM.into(),
            shard_id: "shardId-000000000000".into(),
            millis_behind_latest: None,
        },
        attempt: 1,
        sequence_number: column(numbers.iter().map(String::as_bytes)),
        sub_sequence: if aggregated {
            records.iter().map(|record| record.sub_sequence.unwrap_or_default()).collect()
        } else {
            Vec::new()
        },
        approximate_arrival: records.iter().map(|record| record.arrival_ms).collect(),
        partition_key: column(records.iter().map(|record| record.partition_key.as_bytes())),
        explicit_hash_key: column(std::iter::empty()),
        encryption: Vec::new(),
        data: column(records.iter().map(|record| record.data.as_slice())),
    }
}

fn column<'v>(values: impl Iterator<Item = &'v [u8]>) -> BytesColumn {
    let mut column = columns::empty();
    values.for_each(|value| append(&mut column, value));
    column
}

/// Reads the columns as the host does.
fn unpack(batch: &RecordBatch, packed: Deserialized) -> Outcome {
    let columns = &packed.elements;
    let elements = (0..columns.payload.ends.len())
        .map(|index| {
            let input = packed.input_index.get(index).map_or(index, |input| *input as usize);
            let own_key = !columns.key.ends.is_empty();
            let route = columns.route.get(index).and_then(|route| route.checked_sub(1));
            Emitted {
                input,
                payload: value(&columns.payload, index).to_vec(),
                event_time: columns.event_time.get(index).copied().unwrap_or(batch.approximate_arrival[input]),
                key: if own_key { value(&columns.key, index) } else { value(&batch.partition_key, input) }.to_vec(),
                route: route.map(|route| columns.routes[route as usize].clone()),
            }
        })
        .collect();
    let errors = packed.errors.into_iter().map(|error| (error.input_index as usize, error.error.into())).collect();
    Outcome { elements, errors }
}
