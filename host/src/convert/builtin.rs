//! The converters that the host brings along.

mod json;

use host_core::moment::EpochMillis;

use crate::columns::ElementBatch;
use crate::component::{ComponentError, Delivery};
use crate::convert::Convert;
use crate::convert::flaw::{Flaw, gather};
use crate::convert::stream_entry::key_of_bytes;
use crate::entry::{Action, Converted, Entries, ItemRequest, KinesisEntry};

/// For streams (`builtin = "passthrough"`): an element's payload under the element's key. A key that is not UTF-8 is
/// written in lower-case hexadecimal; one that is empty or longer than 256 characters then is an error of its element.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passthrough;

/// For tables (`builtin = "json-to-item"`): an element that is a JSON object becomes an item to put.
///
/// Strings become `S`, numbers `N` with every digit that was written, `true` and `false` `BOOL`, `null` `NULL`, arrays `L`
/// and objects `M`. An element that is no JSON object, that has a name twice in one object, or that holds what no table
/// takes (a number of more than 38 digits, say) is an error of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonToItem;

impl Convert for Passthrough {
    fn convert(&mut self, elements: &ElementBatch, _delivery: Delivery) -> Result<Converted, ComponentError> {
        let entry = |element: usize| {
            let partition_key = key_of_bytes(elements.key.get(element))?;
            Ok(KinesisEntry { partition_key, explicit_hash_key: None, data: elements.payload.get(element).to_vec() })
        };
        Ok(each(elements, entry, Entries::Kinesis))
    }

    fn renew(&mut self) {}

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

impl Convert for JsonToItem {
    fn convert(&mut self, elements: &ElementBatch, _delivery: Delivery) -> Result<Converted, ComponentError> {
        let request = |element: usize| {
            let item = json::item(elements.payload.get(element))?;
            Ok(ItemRequest { action: Action::Put, item })
        };
        Ok(each(elements, request, Entries::Dynamodb))
    }

    fn renew(&mut self) {}

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

/// Makes one entry of each element.
fn each<E>(
    elements: &ElementBatch,
    entry: impl FnMut(usize) -> Result<E, Flaw>,
    entries: impl FnOnce(Vec<E>) -> Entries,
) -> Converted {
    let made = gather((0_u32..).zip((0..elements.len()).map(entry)), Vec::new());
    Converted { input_index: made.input_index, entries: entries(made.entries), errors: made.errors }
}

#[cfg(test)]
mod tests;
