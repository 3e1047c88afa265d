//! Converters for streams.

use std::sync::Arc;

use host_core::moment::EpochMillis;
use wasmtime::Store;
use wasmtime::component::Instance as Exported;

use super::{Converter, lower, origins, route_names};
use crate::columns::ElementBatch;
use crate::component::bindings::elements::kinesis_element_converter::{EntryBatch, Guest};
use crate::component::cache::Digest;
use crate::component::deserializer::{Delivery, OpenContext};
use crate::component::error::ComponentError;
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::{Exports, Instance, guest_error, none_is_fatal, own, record_errors};
use crate::component::limits::Limits;
use crate::component::load::{Loaded, Program, RoleIndices};
use crate::component::state::State;
use crate::component::validate::entries::KinesisEntries;
use crate::convert::Convert;
use crate::convert::flaw::{Flaw, gather};
use crate::convert::stream_entry::{explicit_hash_key, partition_key};
use crate::entry::{Converted, Entries, KinesisEntry};

/// A converter for streams: one sink's and one subtask's. Its methods block, and spend CPU on the calling thread.
#[derive(Debug)]
pub struct KinesisConverter(Converter<Guest>);

impl KinesisConverter {
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
        Converter::open(loaded, context, limits, metrics, time).map(Self)
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.maker.digest()
    }

    /// How many instances there were, the present one included.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.0.maker.made()
    }
}

impl Convert for KinesisConverter {
    fn convert(&mut self, elements: &ElementBatch, delivery: Delivery) -> Result<Converted, ComponentError> {
        self.0.call(delivery.time, |instance, limits| instance.convert(limits, elements, delivery.time))
    }

    fn renew(&mut self) {
        self.0.instance = None;
    }

    fn close(self: Box<Self>, time: EpochMillis) {
        self.0.close(time);
    }
}

impl Exports for Guest {
    fn find(program: &Program, store: &mut Store<State>, instance: &Exported) -> Option<wasmtime::Result<Self>> {
        let RoleIndices::KinesisElementConverter(indices) = &program.role else { return None };
        Some(indices.load(store, instance))
    }
}

impl Instance<Guest> {
    fn convert(
        &mut self,
        limits: &Limits,
        elements: &ElementBatch,
        time: EpochMillis,
    ) -> Result<Converted, ComponentError> {
        let bytes = limits.output_bytes(elements.size());
        let routes = route_names(elements);
        let batch = lower(elements, &routes);
        let answer =
            self.run("convert", time, limits.batch(), bytes, |_, role, store| role.call_convert(store, batch))?;
        let answer =
            answer.map_err(|error| ComponentError::Refused { during: "convert", error: guest_error(error) })?;
        accept(entries(answer), elements, limits)
    }
}

/// What came back, moved.
fn entries(answer: EntryBatch) -> KinesisEntries {
    let EntryBatch { input_index, partition_key, explicit_hash_key, data, errors } = answer;
    KinesisEntries {
        input_index,
        partition_key: own(partition_key),
        explicit_hash_key: own(explicit_hash_key),
        data: own(data),
        errors: record_errors(errors),
    }
}

/// Checks what came back, and makes entries of it.
fn accept(answer: KinesisEntries, elements: &ElementBatch, limits: &Limits) -> Result<Converted, ComponentError> {
    answer.check(elements.len(), limits.elements(elements.len()))?;
    none_is_fatal("convert", &answer.errors)?;
    let KinesisEntries { input_index, partition_key: keys, explicit_hash_key: hash_keys, data, errors } = answer;
    let entry = |at: usize, element: u32| -> Result<KinesisEntry, Flaw> {
        let key = if keys.is_empty() { elements.key.get(element as usize) } else { keys.get(at) };
        let partition_key = partition_key(key)?;
        let explicit_hash_key = if hash_keys.is_empty() { None } else { explicit_hash_key(hash_keys.get(at))? };
        Ok(KinesisEntry { partition_key, explicit_hash_key, data: data.get(at).to_vec() })
    };
    let origins = origins(input_index, data.len());
    let made = gather(origins.into_iter().enumerate().map(|(at, element)| (element, entry(at, element))), errors);
    Ok(Converted { input_index: made.input_index, entries: Entries::Kinesis(made.entries), errors: made.errors })
}

#[cfg(test)]
mod tests;
