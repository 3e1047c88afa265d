//! What makes entries of elements, between the deserializer and a sink that writes to a service.

pub mod builtin;
pub(crate) mod flaw;
pub(crate) mod stream_entry;

use host_core::moment::EpochMillis;

use crate::columns::ElementBatch;
use crate::component::{ComponentError, Delivery};
use crate::entry::Converted;

/// Makes entries of elements: a component in its sandbox, one that the host brings along, or a stand-in in tests. A subtask
/// has one for each of its sinks that write to services.
pub trait Convert: Send {
    /// Makes entries of a batch, whose `event_time` and `key` are never empty. After an error the next call finds a fresh
    /// instance.
    ///
    /// # Errors
    /// The component trapped, exceeded a limit, returned nonsense or refused the batch.
    fn convert(&mut self, elements: &ElementBatch, delivery: Delivery) -> Result<Converted, ComponentError>;

    /// Drops the instance: the component called its own state suspect.
    fn renew(&mut self);

    /// Ends the instance in order, before the last call: nothing follows.
    fn close(self: Box<Self>, time: EpochMillis);
}
