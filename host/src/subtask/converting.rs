//! The components of a subtask.

use crate::columns::ElementBatch;
use crate::component::deserializer::{Delivery, RecordError};
use crate::component::error::{ComponentError, ErrorClass};
use crate::convert::Convert;
use crate::entry::Converted;
use crate::subtask::Deserialize;

/// What a subtask works with: opened together, at the start and again if the subtask is lost.
pub struct Components {
    /// Makes elements of records.
    pub deserializer: Box<dyn Deserialize>,
    /// Make entries of elements: one for each sink that writes to a service.
    pub converters: Vec<Converting>,
}

/// A converter and the sink it works for.
pub struct Converting {
    /// Index of the sink in the manifest.
    pub sink: u32,
    /// The sink's name.
    pub name: String,
    /// The routes that the sink takes; empty = every element.
    pub when: Vec<String>,
    /// Makes the entries.
    pub converter: Box<dyn Convert>,
}

/// What a sink takes of a batch of elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// No element.
    Nothing,
    /// All of them.
    All,
    /// Those with these indices.
    Part(Vec<u32>),
}

impl Share {
    /// The element of the whole batch that is element `index` of this share.
    pub(super) fn element(&self, index: u32) -> u32 {
        match self {
            Self::Nothing | Self::All => index,
            Self::Part(chosen) => chosen[index as usize],
        }
    }
}

impl Converting {
    /// Has entries made of a share, without copying what is taken whole; `None` if there is nothing to make them of.
    pub(super) fn convert(
        &mut self,
        share: &Share,
        elements: &ElementBatch,
        delivery: Delivery,
    ) -> Option<Result<Converted, ComponentError>> {
        match share {
            Share::Nothing => None,
            Share::All => Some(self.converter.convert(elements, delivery)),
            Share::Part(chosen) => Some(self.converter.convert(&elements.select(chosen), delivery)),
        }
    }
}

/// Whether an instance says that it cannot be trusted: then it sees no other record.
pub(super) fn is_suspect(errors: &[RecordError]) -> bool {
    errors.iter().any(|error| error.error.class == ErrorClass::Fatal)
}
