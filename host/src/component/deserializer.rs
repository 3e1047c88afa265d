//! A component that makes elements of Kinesis records, as the host sees it: one value for each subtask, which owns an
//! instance and replaces it when the component broke it.
//!
//! The instance lives across batches, so that a component may keep what is dear to make (a parsed schema, a compiled
//! pattern). It does not outlive a mistake: after a trap, a spent budget, a broken rule or a `fatal` error its memory is
//! suspect, and the next call opens a fresh one. How long to wait before that call is the caller's decision.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use host_core::moment::EpochMillis;
use tracing::warn;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::columns::{Column, RecordColumns};
use crate::component::bindings::KinesisDeserializerGuest;
use crate::component::bindings::sluicebox::pipeline::{columns, elements, kinesis_source, types};
use crate::component::cache::Digest;
use crate::component::error::{ComponentError, ErrorClass, GuestError};
use crate::component::imports::log::{Author, GuestLog, escape};
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::limits::{Allowance, Limits, MemoryLimiter, Meter, Stop};
use crate::component::load::Loaded;
use crate::component::state::State;
use crate::component::wasi::{self, Random};
use crate::component::{load, validate};

/// Handles that one instance may hold at once.
const HANDLES_MAX: usize = 1_000;
/// Bytes that a call of the instance's life may hand over, log lines included.
const LIFECYCLE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an error's message that are kept.
const MESSAGE_BYTES: usize = 1_024;

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
    /// Where the manifest names the component: `deserializer`.
    pub stage: String,
    /// The subtask that owns the instance.
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

/// Elements as columns (`element-batch` of the contract), validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementBatch {
    /// Milliseconds since the epoch. Empty: each element inherits the arrival of its record.
    pub event_time: Vec<i64>,
    /// At most 2,048 bytes each. Empty: each element inherits the partition key of its record.
    pub key: Column,
    /// 0 for every sink without `when`; `n` for `routes[n-1]` too. Empty: 0 for all.
    pub route: Vec<u32>,
    /// Distinct names of 1 to 64 bytes, at most 256.
    pub routes: Vec<String>,
    /// What the elements hold; as many values as there are elements.
    pub payload: Column,
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
    loaded: Loaded,
    context: OpenContext,
    config: Arc<[(String, ConfigValue)]>,
    limits: Limits,
    metrics: Arc<ComponentMetrics>,
    attempt: u32,
    produced: ElementSchema,
    instance: Option<Instance>,
}

impl std::fmt::Debug for KinesisDeserializer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { loaded, context, attempt, .. } = self;
        f.debug_struct("KinesisDeserializer")
            .field("loaded", loaded)
            .field("stage", &context.stage)
            .field("subtask", &context.subtask)
            .field("attempt", attempt)
            .finish_non_exhaustive()
    }
}

impl KinesisDeserializer {
    /// Makes the first instance and opens it at `time`.
    ///
    /// # Errors
    /// The component traps, overspends or refuses; [`ComponentError::Refused`] of class retryable may be tried again.
    pub fn open(
        loaded: &Loaded,
        context: OpenContext,
        limits: Limits,
        metrics: Arc<ComponentMetrics>,
        time: EpochMillis,
    ) -> Result<Self, ComponentError> {
        let config = context.config.clone().into();
        let produced = ElementSchema { format: ElementFormat::Opaque, fingerprint: 0 };
        let loaded = loaded.clone();
        let mut this = Self { loaded, context, config, limits, metrics, attempt: 0, produced, instance: None };
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
        self.loaded.digest()
    }

    /// How many instances there were, the present one included.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.attempt
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
        let answer = instance.deserialize(&self.limits, shard, records, delivery);
        if answer.as_ref().err().is_none_or(ComponentError::leaves_the_instance_usable) {
            self.instance = Some(instance);
        }
        answer
    }

    /// Ends the instance in order, if there is one. What it says is of no consequence: nothing may depend on it.
    pub fn close(self, time: EpochMillis) {
        if let Some(mut instance) = self.instance
            && let Err(error) = instance.close(time)
        {
            let OpenContext { tenant, pipeline, stage, subtask, .. } = &self.context;
            warn!(tenant, pipeline, stage, subtask, %error, "a component did not close in order");
        }
    }

    /// A new instance, opened.
    fn fresh(&mut self, time: EpochMillis) -> Result<Instance, ComponentError> {
        self.attempt = self.attempt.saturating_add(1);
        let mut instance = Instance::start(self, time)?;
        instance.open(&self.context, self.attempt, time)?;
        self.produced = instance.produced(time)?;
        Ok(instance)
    }

    fn state(&self, time: EpochMillis) -> State {
        let OpenContext { tenant, pipeline, stage, subtask, .. } = &self.context;
        let seed = Digest::of(format!("{tenant}\n{pipeline}\n{stage}\n{subtask}").as_bytes()).leading_number();
        let (tenant, pipeline, stage, subtask) = (tenant.clone(), pipeline.clone(), stage.clone(), *subtask);
        let author = Author { tenant, pipeline, stage, subtask };
        let log = GuestLog::new(author, self.limits.log_bytes_per_second, Instant::now());
        let log = Arc::new(Mutex::new(log));
        State {
            table: ResourceTable::new(),
            wasi: wasi::context(&log),
            random: Random::new(seed),
            time,
            monotonic: 0,
            memory: MemoryLimiter::new(self.limits.memory),
            meter: Meter::start(Allowance::LIFECYCLE),
            log,
            metrics: Arc::clone(&self.metrics),
            metric_handles: 0,
            metric_refused: false,
            config: Arc::clone(&self.config),
        }
    }
}

/// One store and the instance in it.
struct Instance {
    loaded: Loaded,
    store: Store<State>,
    exports: KinesisDeserializerGuest,
}

impl Instance {
    fn start(of: &KinesisDeserializer, time: EpochMillis) -> Result<Self, ComponentError> {
        let loaded = of.loaded.clone();
        let mut store = Store::new(loaded.engine().wasmtime(), of.state(time));
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_MAX);
        store.epoch_deadline_callback(|context| match context.data().meter.check() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(stop) => Err(stop.into()),
        });
        let limit = prepare(&mut store, time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX);
        let ticking = loaded.engine().ticking();
        let exports = wasi::with_runtime(|| loaded.program().instantiate(&mut store));
        drop(ticking);
        let exports = exports.map_err(|error| classify(&error, store.data(), "start", limit))?;
        Ok(Self { loaded, store, exports })
    }

    /// Runs `call` on this thread under `allowance`, with at most `bytes` handed over.
    fn run<R>(
        &mut self,
        during: &'static str,
        time: EpochMillis,
        allowance: Allowance,
        bytes: usize,
        call: impl FnOnce(&KinesisDeserializerGuest, &mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, ComponentError> {
        let limit = prepare(&mut self.store, time, allowance, bytes);
        let ticking = self.loaded.engine().ticking();
        let answer = wasi::with_runtime(|| call(&self.exports, &mut self.store));
        drop(ticking);
        answer.map_err(|error| classify(&error, self.store.data(), during, limit))
    }

    fn open(&mut self, context: &OpenContext, attempt: u32, time: EpochMillis) -> Result<(), ComponentError> {
        let config: Vec<_> =
            context.config.iter().map(|(key, value)| types::ConfigEntry { key, value: lower(value) }).collect();
        let context = types::OpenContext {
            tenant: &context.tenant,
            pipeline: &context.pipeline,
            stage: &context.stage,
            subtask: context.subtask,
            parallelism: context.parallelism,
            attempt,
            config: &config,
            shadow: context.shadow,
        };
        let answer = self.run("open", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |exports, store| {
            exports.sluicebox_pipeline_lifecycle().call_open(store, context)
        })?;
        answer.map_err(|error| ComponentError::Refused { during: "open", error: guest_error(error) })
    }

    fn produced(&mut self, time: EpochMillis) -> Result<ElementSchema, ComponentError> {
        let schema = self.run("produced", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |exports, store| {
            exports.sluicebox_pipeline_kinesis_deserializer().call_produced(store)
        })?;
        let format = match schema.format {
            elements::ElementFormat::Opaque => ElementFormat::Opaque,
            elements::ElementFormat::Json => ElementFormat::Json,
            elements::ElementFormat::Cbor => ElementFormat::Cbor,
            elements::ElementFormat::ArrowIpc => ElementFormat::ArrowIpc,
            elements::ElementFormat::Avro(schema) => ElementFormat::Avro(schema),
            elements::ElementFormat::Protobuf(set) => ElementFormat::Protobuf(set),
        };
        Ok(ElementSchema { format, fingerprint: schema.fingerprint })
    }

    fn deserialize(
        &mut self,
        limits: &Limits,
        shard: &ShardContext,
        records: &RecordColumns,
        delivery: Delivery,
    ) -> Result<Deserialized, ComponentError> {
        let batch = kinesis_source::RecordBatch {
            shard: kinesis_source::ShardContext {
                stream_arn: &shard.stream_arn,
                shard_id: &shard.shard_id,
                millis_behind_latest: shard.millis_behind_latest,
            },
            attempt: delivery.attempt,
            sequence_number: borrow(&records.sequence_number),
            sub_sequence: &records.sub_sequence,
            approximate_arrival: &records.arrival,
            partition_key: borrow(&records.partition_key),
            explicit_hash_key: columns::BytesColumnParam { ends: &[], bytes: &[] },
            encryption: &records.encryption,
            data: borrow(&records.data),
        };
        let bytes = limits.output_bytes(records.size());
        let answer = self.run("deserialize", delivery.time, limits.batch(), bytes, |exports, store| {
            exports.sluicebox_pipeline_kinesis_deserializer().call_deserialize(store, batch)
        })?;
        let answer =
            answer.map_err(|error| ComponentError::Refused { during: "deserialize", error: guest_error(error) })?;
        accept(answer, records.len(), limits)
    }

    fn close(&mut self, time: EpochMillis) -> Result<(), ComponentError> {
        let answer = self.run("close", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |exports, store| {
            exports.sluicebox_pipeline_lifecycle().call_close(store)
        })?;
        match answer {
            Ok(_snapshot) => Ok(()),
            Err(error) => Err(ComponentError::Refused { during: "close", error: guest_error(error) }),
        }
    }
}

/// Gets a store ready for one call; returns the bytes that it may hand over.
fn prepare(store: &mut Store<State>, time: EpochMillis, allowance: Allowance, bytes: usize) -> usize {
    store.set_hostcall_fuel(bytes);
    store.set_epoch_deadline(1);
    store.data_mut().begin(time, allowance);
    bytes
}

/// Moves what came back into the host's types and checks it.
fn accept(answer: elements::Deserialized, records: usize, limits: &Limits) -> Result<Deserialized, ComponentError> {
    let elements::Deserialized { input_index, elements: batch, errors } = answer;
    let own = |column: columns::BytesColumnResult| Column { ends: column.ends, bytes: column.bytes };
    let elements = ElementBatch {
        event_time: batch.event_time,
        key: own(batch.key),
        route: batch.route,
        routes: batch.routes,
        payload: own(batch.payload),
    };
    let errors: Vec<_> = errors
        .into_iter()
        .map(|error| RecordError { input_index: error.input_index, error: guest_error(error.error) })
        .collect();
    validate::deserialized(&input_index, &elements, &errors, records, limits.elements(records))?;
    // What else such an instance says is as suspect as the record it failed on.
    if let Some(fatal) = errors.iter().find(|error| error.error.class == ErrorClass::Fatal) {
        return Err(ComponentError::Refused { during: "deserialize", error: fatal.error.clone() });
    }
    let count = u32::try_from(elements.payload.len()).expect("the elements came in 32-bit memory");
    let input_index = if input_index.is_empty() { (0..count).collect() } else { input_index };
    Ok(Deserialized { input_index, elements, errors })
}

fn borrow(column: &Column) -> columns::BytesColumnParam<'_> {
    columns::BytesColumnParam { ends: &column.ends, bytes: &column.bytes }
}

fn lower(value: &ConfigValue) -> types::ConfigValue<'_> {
    match value {
        ConfigValue::Text(text) => types::ConfigValue::Text(text),
        ConfigValue::Integer(number) => types::ConfigValue::Integer(*number),
        ConfigValue::Float(number) => types::ConfigValue::Float(*number),
        ConfigValue::Boolean(truth) => types::ConfigValue::Boolean(*truth),
        ConfigValue::Bytes(bytes) => types::ConfigValue::Bytes(bytes),
    }
}

/// A component's error with everything bounded that goes into logs, labels and dead letters.
fn guest_error(error: types::GuestError) -> GuestError {
    let class = match error.class {
        types::ErrorClass::Poison => ErrorClass::Poison,
        types::ErrorClass::Retryable => ErrorClass::Retryable,
        types::ErrorClass::Fatal => ErrorClass::Fatal,
    };
    let is_code_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let is_code = (1..=64).contains(&error.code.len()) && error.code.bytes().all(is_code_byte);
    let code = if is_code { error.code } else { "invalid-code".to_owned() };
    GuestError { class, code, message: escape(&error.message, MESSAGE_BYTES) }
}

/// What an error out of a call means. `limit` is what the call might hand over.
fn classify(error: &wasmtime::Error, state: &State, during: &'static str, limit: usize) -> ComponentError {
    let allowance = state.meter.allowance();
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Cpu { used } => ComponentError::CpuBudgetExceeded { during, used: *used, budget: allowance.cpu },
            Stop::Wall => ComponentError::TimedOut { during, budget: allowance.wall },
        };
    }
    if let Some(full) = error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>() {
        return ComponentError::NoRoom { reason: full.to_string() };
    }
    if state.memory.denied() {
        return ComponentError::OutOfMemory { during, limit: state.memory.limit() };
    }
    let root = error.root_cause().to_string();
    // The engine's type for this is private; a test holds the words.
    if root.contains("fuel allocated for hostcalls has been exhausted") {
        return ComponentError::OutputTooLarge { during, limit };
    }
    let reason = if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        format!("it exited with code {}", exit.0)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        trap.to_string().trim_start_matches("wasm trap: ").to_owned()
    } else {
        load::one_line(&wasmtime::Error::msg(root))
    };
    ComponentError::Trapped { during, reason, last_words: state.log().last_words() }
}
