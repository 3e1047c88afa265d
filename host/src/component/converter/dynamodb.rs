//! Converters for tables.

use std::sync::Arc;

use host_core::moment::EpochMillis;
use wasmtime::Store;
use wasmtime::component::Instance as Exported;

use super::{Converter, lower, origins, route_names};
use crate::columns::ElementBatch;
use crate::component::bindings::elements::dynamodb_element_converter::{Guest, RequestBatch};
use crate::component::cache::Digest;
use crate::component::deserializer::{Delivery, OpenContext};
use crate::component::error::ComponentError;
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::{Exports, Instance, guest_error, none_is_fatal, own, record_errors};
use crate::component::limits::Limits;
use crate::component::load::{Loaded, Program, RoleIndices};
use crate::component::state::State;
use crate::component::validate::entries::DynamodbRequests;
use crate::component::values::ValueTable;
use crate::convert::Convert;
use crate::convert::flaw::{Flaw, gather};
use crate::entry::{Action, Converted, Entries, ItemRequest};

/// A converter for tables: one sink's and one subtask's. Its methods block, and spend CPU on the calling thread.
#[derive(Debug)]
pub struct DynamodbConverter(Converter<Guest>);

impl DynamodbConverter {
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

impl Convert for DynamodbConverter {
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
        let RoleIndices::DynamodbElementConverter(indices) = &program.role else { return None };
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
        accept(requests(answer), elements, limits)
    }
}

/// What came back, moved.
fn requests(answer: RequestBatch) -> DynamodbRequests {
    let RequestBatch { input_index, request, root, values, errors } = answer;
    let values = ValueTable {
        kind: values.kind,
        first_child: values.first_child,
        child_count: values.child_count,
        name: own(values.name),
        scalar: own(values.scalar),
        root_first: values.root_first,
        root_count: values.root_count,
    };
    DynamodbRequests { input_index, request, root, values, errors: record_errors(errors) }
}

/// Checks what came back, and makes requests of it.
fn accept(answer: DynamodbRequests, elements: &ElementBatch, limits: &Limits) -> Result<Converted, ComponentError> {
    answer.check(elements.len(), limits.elements(elements.len()))?;
    none_is_fatal("convert", &answer.errors)?;
    let DynamodbRequests { input_index, request, root, values, errors } = answer;
    let item_request = |at: usize| -> Result<ItemRequest, Flaw> {
        let action = match request[at] {
            0 => Action::Put,
            1 => Action::Delete,
            _ => Action::Add,
        };
        Ok(ItemRequest { action, item: values.item(root[at])? })
    };
    let origins = origins(input_index, request.len());
    let made = gather(origins.into_iter().enumerate().map(|(at, element)| (element, item_request(at))), errors);
    Ok(Converted { input_index: made.input_index, entries: Entries::Dynamodb(made.entries), errors: made.errors })
}

#[cfg(test)]
mod tests;
