//! A component that makes elements of Kinesis records, as the host sees it: one value for each subtask, which owns an
//! instance and replaces it when the component broke it.
//!
//! The instance lives across batches, so that a component may keep what is dear to make (a parsed schema, a compiled
//! pattern). It does not outlive a mistake: after a trap, a spent budget, a broken rule or a `fatal` error its memory is
//! suspect, and the next call opens a fresh one. How long to wait before that call is the caller's decision.

use std::sync::Arc;

use host_core::moment::EpochMillis;

use crate::columns::{ElementBatch, RecordColumns};
use crate::component::bindings::elements::kinesis_deserializer::Guest as KinesisDeserializerRole;
use crate::component::cache::Digest;
use crate::component::error::{ComponentError, GuestError};
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::Instance;
use crate::component::limits::Limits;
use crate::component::load::Loaded;
use crate::component::maker::Maker;

/// A configured value.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigValue {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// Octets.
    Bytes(Vec<u8>),
}

/// Who an instance is and what it works for (`open-context` of the contract).
#[derive(Clone, Debug, PartialEq)]
pub struct OpenContext {
    /// `tenant` of the manifest.
    pub tenant: String,
    /// `name` of the manifest.
    pub pipeline: String,
    /// Where the manifest names the component: `deserializer` or `assigner`.
    pub stage: String,
    /// The subtask that owns the instance; 0 for an assigner.
    pub subtask: u32,
    /// `parallelism` of the manifest.
    pub parallelism: u32,
    /// The component's `config` table: nested keys joined with dots, ordered by key.
    pub config: Vec<(String, ConfigValue)>,
    /// Outputs are compared with another's and never emitted.
    pub shadow: bool,
}

/// Where the records of a batch come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardContext {
    /// `StreamARN`.
    pub stream_arn: String,
    /// `ShardId`.
    pub shard_id: String,
    /// `MillisBehindLatest` of the answer that held the records.
    pub millis_behind_latest: Option<i64>,
}

/// When and how often a batch is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// 1 the first time, one more at each replay.
    pub attempt: u32,
    /// The only time that the component sees.
    pub time: EpochMillis,
}

/// A record that could not be deserialized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Which record of the batch.
    pub input_index: u32,
    /// What the component said.
    pub error: GuestError,
}

/// What came of a batch, validated. A record with neither an element nor an error was filtered by the component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deserialized {
    /// The record that each element came from: never decreasing, as long as there are elements.
    pub input_index: Vec<u32>,
    /// The elements.
    pub elements: ElementBatch,
    /// Records that failed, poison or retryable, by increasing index; none of them has an element.
    pub errors: Vec<RecordError>,
}

/// How to read payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementFormat {
    /// Bytes that only the component and its users understand.
    Opaque,
    /// One JSON text.
    Json,
    /// One CBOR item.
    Cbor,
    /// One Arrow IPC stream.
    ArrowIpc,
    /// Avro's binary encoding, with the schema.
    Avro(Vec<u8>),
    /// A protobuf message, with a `FileDescriptorSet`.
    Protobuf(Vec<u8>),
}

/// What a deserializer says that it produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementSchema {
    /// How to read payloads.
    pub format: ElementFormat,
    /// Changes when the meaning of payloads changes; 0 if the component makes no statement.
    pub fingerprint: u64,
}

/// A deserializer of Kinesis records: one subtask's. Its methods block, and spend CPU on the calling thread.
pub struct KinesisDeserializer {
    maker: Maker,
    produced: ElementSchema,
    instance: Option<Instance<KinesisDeserializerRole>>,
}

impl std::fmt::Debug for KinesisDeserializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KinesisDeserializer").field("maker", &self.maker).finish_non_exhaustive()
    }
}

impl KinesisDeserializer {
    /// Makes the first instance and opens it at `time`.
    ///
    /// # Errors
    /// The component traps, overspends or refuses; [`ComponentError::Refused`] of class retryable may be tried again.
    ///
    /// # Panics
    /// `loaded` was loaded for another role.
    pub fn open(
        loaded: &Loaded,
        context: OpenContext,
        limits: Limits,
        metrics: Arc<ComponentMetrics>,
        time: EpochMillis,
    ) -> Result<Self, ComponentError> {
        let produced = ElementSchema { format: ElementFormat::Opaque, fingerprint: 0 };
        let maker = Maker::new(loaded.clone(), context, limits, metrics);
        let mut this = Self { maker, produced, instance: None };
        this.instance = Some(this.fresh(time)?);
        Ok(this)
    }

    /// What it produces.
    #[must_use]
    pub fn produced(&self) -> &ElementSchema {
        &self.produced
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.maker.digest()
    }

    /// How many instances there were, the present one included.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.maker.made()
    }

    /// Makes elements of one batch of one shard, in a fresh instance if the last one broke.
    ///
    /// # Errors
    /// Nothing of the batch was used. See [`ComponentError`]: the instance survives only a refusal that is not fatal. A
    /// fatal error of one record is one of the whole batch.
    pub fn deserialize(
        &mut self,
        shard: &ShardContext,
        records: &RecordColumns,
        delivery: Delivery,
    ) -> Result<Deserialized, ComponentError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.fresh(delivery.time)?,
        };
        let answer = instance.deserialize(self.maker.limits(), shard, records, delivery);
        if answer.as_ref().err().is_none_or(ComponentError::leaves_the_instance_usable) {
            self.instance = Some(instance);
        }
        answer
    }

    /// Drops the instance, as after a trap: it called its own state suspect. The next call makes a fresh one.
    pub fn renew(&mut self) {
        self.instance = None;
    }

    /// Ends the instance in order, if there is one. What it says is of no consequence: nothing may depend on it.
    pub fn close(self, time: EpochMillis) {
        self.maker.close(self.instance, time);
    }

    /// A new instance, opened.
    fn fresh(&mut self, time: EpochMillis) -> Result<Instance<KinesisDeserializerRole>, ComponentError> {
        let mut instance = self.maker.fresh(time)?;
        self.produced = instance.produced(time)?;
        Ok(instance)
    }
}
