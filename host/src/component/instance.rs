//! One instance of a component in a store of its own: how a call is made, measured and explained when it fails, and how
//! values cross. What goes in is lowered straight from the host's columns, what comes out is moved, not copied, into
//! columns again and validated.

use host_core::moment::EpochMillis;
use wasmtime::component::Instance as Exported;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::columns::{Column, ElementBatch, RecordColumns};
use crate::component::bindings::Base;
use crate::component::bindings::assigner::ShardAssignerRole;
use crate::component::bindings::elements::kinesis_deserializer::Guest as KinesisDeserializerRole;
use crate::component::bindings::elements::sluicebox::pipeline::{columns, elements, kinesis_source};
use crate::component::bindings::sluicebox::pipeline::types;
use crate::component::deserializer::{
    ConfigValue, Delivery, Deserialized, ElementFormat, ElementSchema, OpenContext, RecordError, ShardContext,
};
use crate::component::error::{ComponentError, ErrorClass, GuestError};
use crate::component::imports::log::escape;
use crate::component::limits::{Allowance, Limits, Stop};
use crate::component::load::{Loaded, Program, RoleIndices};
use crate::component::state::State;
use crate::component::{load, validate, wasi};

/// Handles that one instance may hold at once.
const HANDLES_MAX: usize = 1_000;
/// Bytes that a call of the instance's life may hand over, log lines included.
const LIFECYCLE_BYTES_MAX: usize = 1 << 20;
/// Bytes of an error's message that are kept.
const MESSAGE_BYTES: usize = 1_024;

/// The exports of the role that an instance plays.
pub(super) trait Exports: Sized {
    /// Finds them in an instance of `program`; `None` if that was loaded for another role.
    fn find(program: &Program, store: &mut Store<State>, instance: &Exported) -> Option<wasmtime::Result<Self>>;
}

impl Exports for KinesisDeserializerRole {
    fn find(program: &Program, store: &mut Store<State>, instance: &Exported) -> Option<wasmtime::Result<Self>> {
        let RoleIndices::KinesisDeserializer(indices) = &program.role else { return None };
        Some(indices.load(store, instance))
    }
}

impl Exports for ShardAssignerRole {
    fn find(program: &Program, store: &mut Store<State>, instance: &Exported) -> Option<wasmtime::Result<Self>> {
        let RoleIndices::ShardAssigner(indices) = &program.role else { return None };
        Some(indices.load(store, instance))
    }
}

/// One store and the instance in it, which plays the role `R`.
pub(super) struct Instance<R> {
    loaded: Loaded,
    store: Store<State>,
    lifecycle: Base,
    role: R,
}

impl<R: Exports> Instance<R> {
    /// Makes a store with `state` and instantiates the component in it.
    pub(super) fn start(loaded: &Loaded, state: State, time: EpochMillis) -> Result<Self, ComponentError> {
        let loaded = loaded.clone();
        let mut store = Store::new(loaded.engine().wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(HANDLES_MAX);
        store.epoch_deadline_callback(|context| match context.data().meter.check() {
            Ok(()) => Ok(UpdateDeadline::Continue(1)),
            Err(stop) => Err(stop.into()),
        });
        let limit = prepare(&mut store, time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX);
        let program = loaded.program();
        let ticking = loaded.engine().ticking();
        let started = wasi::with_runtime(|| {
            let instance = program.instance.instantiate(&mut store)?;
            let lifecycle = program.lifecycle.load(&mut store, &instance)?;
            let role =
                R::find(program, &mut store, &instance).expect("a component is run in the role it is loaded for")?;
            Ok((lifecycle, role))
        });
        drop(ticking);
        let (lifecycle, role) = started.map_err(|error| classify(&error, store.data(), "start", limit))?;
        Ok(Self { loaded, store, lifecycle, role })
    }

    /// Runs `call` on this thread under `allowance`, with at most `bytes` handed over.
    pub(super) fn run<T>(
        &mut self,
        during: &'static str,
        time: EpochMillis,
        allowance: Allowance,
        bytes: usize,
        call: impl FnOnce(&Base, &R, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, ComponentError> {
        let limit = prepare(&mut self.store, time, allowance, bytes);
        let ticking = self.loaded.engine().ticking();
        let answer = wasi::with_runtime(|| call(&self.lifecycle, &self.role, &mut self.store));
        drop(ticking);
        answer.map_err(|error| classify(&error, self.store.data(), during, limit))
    }

    /// Tells the component who it is.
    pub(super) fn open(
        &mut self,
        context: &OpenContext,
        attempt: u32,
        time: EpochMillis,
    ) -> Result<(), ComponentError> {
        let config: Vec<_> = context
            .config
            .iter()
            .map(|(key, value)| types::ConfigEntry { key: key.clone(), value: lower(value) })
            .collect();
        let context = types::OpenContext {
            tenant: context.tenant.clone(),
            pipeline: context.pipeline.clone(),
            stage: context.stage.clone(),
            subtask: context.subtask,
            parallelism: context.parallelism,
            attempt,
            config,
            shadow: context.shadow,
        };
        let answer = self.run("open", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |lifecycle, _, store| {
            lifecycle.sluicebox_pipeline_lifecycle().call_open(store, &context)
        })?;
        answer.map_err(|error| ComponentError::Refused { during: "open", error: guest_error(error) })
    }

    /// Tells it that no more comes.
    pub(super) fn close(&mut self, time: EpochMillis) -> Result<(), ComponentError> {
        let answer = self.run("close", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |lifecycle, _, store| {
            lifecycle.sluicebox_pipeline_lifecycle().call_close(store)
        })?;
        match answer {
            Ok(_snapshot) => Ok(()),
            Err(error) => Err(ComponentError::Refused { during: "close", error: guest_error(error) }),
        }
    }
}

impl Instance<KinesisDeserializerRole> {
    /// Asks what it produces.
    pub(super) fn produced(&mut self, time: EpochMillis) -> Result<ElementSchema, ComponentError> {
        let schema = self.run("produced", time, Allowance::LIFECYCLE, LIFECYCLE_BYTES_MAX, |_, role, store| {
            role.call_produced(store)
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

    /// Hands one batch over and takes what came of it.
    pub(super) fn deserialize(
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
        let answer = self.run("deserialize", delivery.time, limits.batch(), bytes, |_, role, store| {
            role.call_deserialize(store, batch)
        })?;
        let answer =
            answer.map_err(|error| ComponentError::Refused { during: "deserialize", error: guest_error(error) })?;
        accept(answer, records.len(), limits)
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
    let elements = ElementBatch {
        event_time: batch.event_time,
        key: own(batch.key),
        route: batch.route,
        routes: batch.routes,
        payload: own(batch.payload),
    };
    let errors = record_errors(errors);
    validate::deserialized(&input_index, &elements, &errors, records, limits.elements(records))?;
    none_is_fatal("deserialize", &errors)?;
    let count = u32::try_from(elements.payload.len()).expect("the elements came in 32-bit memory");
    let input_index = if input_index.is_empty() { (0..count).collect() } else { input_index };
    Ok(Deserialized { input_index, elements, errors })
}

/// A column as an argument: lowered straight from the host's.
pub(super) fn borrow(column: &Column) -> columns::BytesColumnParam<'_> {
    columns::BytesColumnParam { ends: &column.ends, bytes: &column.bytes }
}

/// A column that came back, moved.
pub(super) fn own(column: columns::BytesColumnResult) -> Column {
    Column { ends: column.ends, bytes: column.bytes }
}

/// Errors of single inputs.
pub(super) fn record_errors(errors: Vec<types::RecordError>) -> Vec<RecordError> {
    let own =
        |error: types::RecordError| RecordError { input_index: error.input_index, error: guest_error(error.error) };
    errors.into_iter().map(own).collect()
}

/// Refuses a batch of which one input broke the instance: what else such an instance says is as suspect.
pub(super) fn none_is_fatal(during: &'static str, errors: &[RecordError]) -> Result<(), ComponentError> {
    match errors.iter().find(|error| error.error.class == ErrorClass::Fatal) {
        Some(fatal) => Err(ComponentError::Refused { during, error: fatal.error.clone() }),
        None => Ok(()),
    }
}

fn lower(value: &ConfigValue) -> types::ConfigValue {
    match value {
        ConfigValue::Text(text) => types::ConfigValue::Text(text.clone()),
        ConfigValue::Integer(number) => types::ConfigValue::Integer(*number),
        ConfigValue::Float(number) => types::ConfigValue::Float(*number),
        ConfigValue::Boolean(truth) => types::ConfigValue::Boolean(*truth),
        ConfigValue::Bytes(bytes) => types::ConfigValue::Bytes(bytes.clone()),
    }
}

/// An error's message as it is kept: without control characters, and not longer than the contract says.
pub(crate) fn message(text: &str) -> String {
    escape(text, MESSAGE_BYTES)
}

/// A component's error with everything bounded that goes into logs, labels and dead letters.
pub(super) fn guest_error(error: types::GuestError) -> GuestError {
    let class = match error.class {
        types::ErrorClass::Poison => ErrorClass::Poison,
        types::ErrorClass::Retryable => ErrorClass::Retryable,
        types::ErrorClass::Fatal => ErrorClass::Fatal,
    };
    let is_code_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let is_code = (1..=64).contains(&error.code.len()) && error.code.bytes().all(is_code_byte);
    let code = if is_code { error.code } else { "invalid-code".to_owned() };
    GuestError { class, code, message: message(&error.message) }
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
