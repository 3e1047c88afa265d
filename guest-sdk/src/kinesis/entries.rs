//! The packing of entries into columns, by the rules of [`elements`](crate::elements): data is written once and in place,
//! a column is either absent or complete, and an element that fails leaves nothing but its error.

use std::convert::Infallible;

use crate::Error;
use crate::bindings::kinesis::sluicebox::pipeline::elements::ElementBatch;
use crate::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter::EntryBatch;
use crate::columns::{self, BytesColumn, append, shrunk, value};
use crate::origins::Origins;

const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Where a converter puts the entries it makes of an element: any number, or none to filter the element.
#[derive(Debug)]
pub struct Entries<'a> {
    elements: &'a ElementBatch,
    origins: Origins,
    /// What was there before the element that is being converted.
    found: Mark,
    partition_key: BytesColumn,
    explicit_hash_key: BytesColumn,
    data: BytesColumn,
}

/// How long each column is: values and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    partition_key: (usize, usize),
    explicit_hash_key: (usize, usize),
    data: (usize, usize),
}

impl<'a> Entries<'a> {
    /// Room for one entry an element, of the element's size.
    pub(crate) fn new(elements: &'a ElementBatch) -> Self {
        let (count, bytes) = columns::length(&elements.payload);
        Self {
            elements,
            origins: Origins::with_capacity(count),
            found: Mark::default(),
            partition_key: columns::empty(),
            explicit_hash_key: columns::empty(),
            data: BytesColumn { ends: Vec::with_capacity(count), bytes: Vec::with_capacity(bytes) },
        }
    }

    /// Makes an entry with this `PartitionKey` (1 to 256 characters, the element fails otherwise) and `Data`.
    pub fn put(&mut self, partition_key: &str, data: &[u8]) {
        self.entry().partition_key(partition_key).push(data);
    }

    /// Makes an entry under the key of its element.
    pub fn push(&mut self, data: &[u8]) {
        self.entry().push(data);
    }

    /// Begins an entry with keys of its own, or one whose data is written in place.
    #[must_use = "an entry is made by `push`, `write` or `try_write`"]
    pub fn entry<'e>(&'e mut self) -> EntryBuilder<'e, 'a> {
        EntryBuilder { out: self, partition_key: None, hash_key: None }
    }

    /// Begins the next element.
    pub(crate) fn begin(&mut self, input: u32) {
        self.origins.begin(input);
        self.found = Mark {
            partition_key: columns::length(&self.partition_key),
            explicit_hash_key: columns::length(&self.explicit_hash_key),
            data: columns::length(&self.data),
        };
    }

    /// Ends the element: with an error it leaves nothing but that.
    pub(crate) fn end(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        let found = self.found;
        if columns::length(&self.data).1 < found.data.1 {
            return Err(shrunk());
        }
        if self.origins.end(result) {
            columns::truncate(&mut self.partition_key, found.partition_key);
            columns::truncate(&mut self.explicit_hash_key, found.explicit_hash_key);
            columns::truncate(&mut self.data, found.data);
        }
        Ok(())
    }

    /// The columns for the host.
    pub(crate) fn finish(mut self) -> EntryBatch {
        let entries = self.origins.len();
        if !self.partition_key.ends.is_empty() {
            self.fill_partition_keys(entries);
        }
        if !self.explicit_hash_key.ends.is_empty() {
            self.fill_hash_keys(entries);
        }
        let (input_index, errors) = self.origins.finish(self.elements.payload.ends.len());
        EntryBatch {
            input_index,
            partition_key: self.partition_key,
            explicit_hash_key: self.explicit_hash_key,
            data: self.data,
            errors,
        }
    }

    /// Partition keys up to entry `entries`: those not set are the key of their element.
    fn fill_partition_keys(&mut self, entries: usize) {
        for input in &self.origins.index()[self.partition_key.ends.len()..entries] {
            append(&mut self.partition_key, value(&self.elements.key, *input as usize));
        }
    }

    /// Hash keys up to entry `entries`: those not set are none.
    fn fill_hash_keys(&mut self, entries: usize) {
        let end = columns::number(self.explicit_hash_key.bytes.len());
        self.explicit_hash_key.ends.resize(entries, end);
    }

    /// Completes the entry whose data now ends the data column.
    fn complete(&mut self, partition_key: Option<&str>, hash_key: Option<u128>) {
        let entry = self.origins.len();
        if let Some(key) = partition_key {
            let chars = key.chars().count();
            if chars == 0 || chars > PARTITION_KEY_CHARS_MAX {
                let problem = format!("a partition key has 1 to {PARTITION_KEY_CHARS_MAX} characters, not {chars}");
                self.origins.fail(|| Error::poison("invalid-partition-key", problem));
            }
            self.fill_partition_keys(entry);
            append(&mut self.partition_key, key.as_bytes());
        }
        if let Some(key) = hash_key {
            self.fill_hash_keys(entry);
            append(&mut self.explicit_hash_key, key.to_string().as_bytes());
        }
        columns::end(&mut self.data);
        self.origins.output();
    }
}

/// An entry in the making. It is made by [`push`](Self::push), [`write`](Self::write) or
/// [`try_write`](Self::try_write); dropped before that, it leaves nothing.
#[derive(Debug)]
#[must_use = "an entry is made by `push`, `write` or `try_write`"]
pub struct EntryBuilder<'e, 'a> {
    out: &'e mut Entries<'a>,
    partition_key: Option<&'e str>,
    hash_key: Option<u128>,
}

impl<'e> EntryBuilder<'e, '_> {
    /// `PartitionKey`: 1 to 256 characters, the element fails otherwise. Not set: the key of the element.
    pub fn partition_key(mut self, key: &'e str) -> Self {
        self.partition_key = Some(key);
        self
    }

    /// `ExplicitHashKey`: the shard whose range holds it gets the entry, whatever the partition key says. Order is kept by
    /// partition key, so entries of one partition key should have one hash key.
    pub fn hash_key(mut self, key: u128) -> Self {
        self.hash_key = Some(key);
        self
    }

    /// Makes the entry with this `Data`.
    pub fn push(self, data: &[u8]) {
        self.write(|column| column.extend_from_slice(data));
    }

    /// Makes the entry with data that `write` appends in place: no copy follows.
    ///
    /// `write` may only append. What lies before belongs to other entries, and taking it away makes the whole batch fail.
    pub fn write(self, write: impl FnOnce(&mut Vec<u8>)) {
        let Ok(()) = self.try_write(|column| {
            write(column);
            Ok::<(), Infallible>(())
        });
    }

    /// As [`write`](Self::write), but a `write` that fails leaves no entry.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_write<E>(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.out.data.bytes.len();
        let result = write(&mut self.out.data.bytes);
        if self.out.data.bytes.len() < start {
            self.out.origins.fail(shrunk);
        } else if result.is_ok() {
            self.out.complete(self.partition_key, self.hash_key);
        } else {
            self.out.data.bytes.truncate(start);
        }
        result
    }
}

#[cfg(test)]
mod tests;
