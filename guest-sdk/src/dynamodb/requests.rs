use crate::Error;
use crate::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter::RequestBatch;
use crate::columns::number;
use crate::dynamodb::Item;
use crate::dynamodb::forest::{Forest, Mark};
use crate::origins::Origins;

/// What to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write it over whatever is there.
    Put,
    /// Delete what has its key.
    Delete,
    /// Add its numbers to those of what has its key.
    Add,
}

/// Where a converter puts the requests it makes of an element: any number, or none to filter the element.
///
/// What the service would refuse fails the element as poison: an empty set (`empty-set`), values that lie deeper than 32
/// levels (`too-deep`), a name beyond 65,535 bytes (`invalid-name`). That a key is complete and an item small enough (400 KB)
/// is judged by the host, which knows the table.
#[derive(Debug)]
pub struct Requests {
    elements: usize,
    origins: Origins,
    /// What was there before the element that is being converted.
    found: Mark,
    request: Vec<u8>,
    values: Forest,
}

impl Requests {
    /// Room for one request an element.
    pub(crate) fn new(elements: usize) -> Self {
        Self {
            elements,
            origins: Origins::with_capacity(elements),
            found: Mark::default(),
            request: Vec::with_capacity(elements),
            values: Forest::new(),
        }
    }

    /// Writes the item over whatever has its key.
    pub fn put(&mut self, item: &Item<'_>) {
        self.request(Action::Put, item);
    }

    /// Deletes the item that has this key, if there is one. Attributes beside the key are not looked at.
    pub fn delete(&mut self, key: &Item<'_>) {
        self.request(Action::Delete, key);
    }

    /// Adds numbers to those of the item that has this key: every number beside the key's attributes, to the attribute of the
    /// same name. What is not there yet, item or attribute, counts from zero. Repeating it counts twice, so only a sink with
    /// `guarantee = "exactly-once"` takes it.
    pub fn add(&mut self, key_and_numbers: &Item<'_>) {
        self.request(Action::Add, key_and_numbers);
    }

    fn request(&mut self, action: Action, item: &Item<'_>) {
        if let Err(error) = self.values.add(item) {
            self.origins.fail(|| error);
        }
        self.request.push(match action {
            Action::Put => 0,
            Action::Delete => 1,
            Action::Add => 2,
        });
        self.origins.output();
    }

    /// Begins the next element.
    pub(crate) fn begin(&mut self, input: u32) {
        self.origins.begin(input);
        self.found = self.values.mark();
    }

    /// Ends the element: with an error it leaves nothing but that.
    pub(crate) fn end(&mut self, result: Result<(), Error>) {
        if self.origins.end(result) {
            self.request.truncate(self.origins.len());
            self.values.roll_back(self.found);
        }
    }

    /// The columns for the host.
    pub(crate) fn finish(self) -> RequestBatch {
        let (input_index, errors) = self.origins.finish(self.elements);
        let root = (0..number(self.request.len())).collect();
        RequestBatch { input_index, request: self.request, root, values: self.values.finish(), errors }
    }
}

#[cfg(test)]
mod tests;
