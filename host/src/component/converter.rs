//! Components that make entries of elements for a sink, as the host sees them: one value for each sink and subtask, which
//! owns an instance and replaces it when the component broke it, as a deserializer does
//! ([`super::deserializer`]).
//!
//! What a converter returns is checked in two ways. Columns that do not fit together break the contract, and nothing of
//! them is used. A value that no service would take (a number of 50 digits, an empty partition key, a set without members)
//! says nothing of the component's state: it becomes the error of its own element, as if the component had told it, so
//! that one bad element does not cost the others their batch.

mod dynamodb;
mod kinesis;

use std::fmt;
use std::sync::Arc;

use host_core::moment::EpochMillis;

use crate::columns::ElementBatch;
use crate::component::bindings::elements::sluicebox::pipeline::elements::ElementBatchParam;
use crate::component::deserializer::OpenContext;
use crate::component::error::ComponentError;
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::{Exports, Instance, borrow};
use crate::component::limits::Limits;
use crate::component::load::Loaded;
use crate::component::maker::Maker;

pub use dynamodb::DynamodbConverter;
pub use kinesis::KinesisConverter;

/// The instances of one component in one place, one after the other.
struct Converter<R> {
    maker: Maker,
    instance: Option<Instance<R>>,
}

impl<R> fmt::Debug for Converter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter").field("maker", &self.maker).finish_non_exhaustive()
    }
}

impl<R: Exports> Converter<R> {
    fn open(
        loaded: &Loaded,
        context: OpenContext,
        limits: Limits,
        metrics: Arc<ComponentMetrics>,
        time: EpochMillis,
    ) -> Result<Self, ComponentError> {
        let mut maker = Maker::new(loaded.clone(), context, limits, metrics);
        let instance = Some(maker.fresh(time)?);
        Ok(Self { maker, instance })
    }

    /// Calls the instance, or a fresh one if the last one broke.
    fn call<T>(
        &mut self,
        time: EpochMillis,
        call: impl FnOnce(&mut Instance<R>, &Limits) -> Result<T, ComponentError>,
    ) -> Result<T, ComponentError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.maker.fresh(time)?,
        };
        let answer = call(&mut instance, self.maker.limits());
        if answer.as_ref().err().is_none_or(ComponentError::leaves_the_instance_usable) {
            self.instance = Some(instance);
        }
        answer
    }

    fn close(self, time: EpochMillis) {
        self.maker.close(self.instance, time);
    }
}

/// The elements one by one, if the component did not say where its entries come from.
fn origins(input_index: Vec<u32>, entries: usize) -> Vec<u32> {
    let all = u32::try_from(entries).expect("the entries came in 32-bit memory");
    if input_index.is_empty() { (0..all).collect() } else { input_index }
}

/// The names that elements' routes refer to, as an argument wants them.
fn route_names(elements: &ElementBatch) -> Vec<&str> {
    elements.routes.iter().map(String::as_str).collect()
}

/// Elements as an argument: lowered straight from the host's columns.
fn lower<'a>(elements: &'a ElementBatch, routes: &'a [&'a str]) -> ElementBatchParam<'a> {
    ElementBatchParam {
        event_time: &elements.event_time,
        key: borrow(&elements.key),
        route: &elements.route,
        routes,
        payload: borrow(&elements.payload),
    }
}
