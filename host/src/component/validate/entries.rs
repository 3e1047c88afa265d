//! Checks of what element converters return: that entries can be told apart and belong to elements that were there. What
//! is inside of an entry is not looked at here: a value that a service would refuse is a matter of its own element, which
//! must not cost the others their batch.

use crate::columns::Column;
use crate::component::deserializer::RecordError;
use crate::component::values::ValueTable;

use super::{Step, Violation, column, exact_length, forest, length, origins};

/// What the columns of an entry batch describe.
const ENTRIES: &str = "entries";

/// Entries for a stream, as they came (`entry-batch`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KinesisEntries {
    /// The element that each entry came from; empty if they are the elements one by one.
    pub input_index: Vec<u32>,
    /// Empty: the elements' keys.
    pub partition_key: Column,
    /// Empty: none at all.
    pub explicit_hash_key: Column,
    /// As many as there are entries.
    pub data: Column,
    /// Elements that failed.
    pub errors: Vec<RecordError>,
}

/// Requests for a table, as they came (`request-batch`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamodbRequests {
    /// The element that each request came from; empty if they are the elements one by one.
    pub input_index: Vec<u32>,
    /// 0 put, 1 delete, 2 add. As many as there are requests.
    pub request: Vec<u8>,
    /// The item of each request: a root of `values`.
    pub root: Vec<u32>,
    /// All items.
    pub values: ValueTable,
    /// Elements that failed.
    pub errors: Vec<RecordError>,
}

impl KinesisEntries {
    /// Checks what came of `elements` elements: at most `max` entries.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, elements: usize, max: usize) -> Result<(), Violation> {
        let count = self.data.len();
        not_too_many(count, max)?;
        column("data", &self.data)?;
        for (name, values) in [("partition-key", &self.partition_key), ("explicit-hash-key", &self.explicit_hash_key)] {
            column(name, values)?;
            length(name, values.len(), count, ENTRIES)?;
        }
        origins(Step::Convert, &self.input_index, &self.errors, count, elements)
    }
}

impl DynamodbRequests {
    /// Checks what came of `elements` elements: at most `max` requests.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, elements: usize, max: usize) -> Result<(), Violation> {
        let count = self.request.len();
        not_too_many(count, max)?;
        exact_length("root", self.root.len(), count, ENTRIES)?;
        if let Some(at) = self.request.iter().position(|request| *request > 2) {
            return Err(Violation::UnknownRequest { at, request: self.request[at] });
        }
        origins(Step::Convert, &self.input_index, &self.errors, count, elements)?;
        let columns = &self.values;
        let nodes = columns.kind.len();
        for (name, found) in [
            ("values.first-child", columns.first_child.len()),
            ("values.child-count", columns.child_count.len()),
            ("values.name", columns.name.len()),
            ("values.scalar", columns.scalar.len()),
        ] {
            exact_length(name, found, nodes, "nodes")?;
        }
        exact_length("values.root-count", columns.root_count.len(), columns.root_first.len(), "roots")?;
        column("values.name", &columns.name)?;
        column("values.scalar", &columns.scalar)?;
        Ok(forest::check(columns, &self.root)?)
    }
}

fn not_too_many(found: usize, max: usize) -> Result<(), Violation> {
    if found > max { Err(Violation::TooMany { step: Step::Convert, found, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
