//! The packing of elements into columns.
//!
//! The problem: payloads should be written once, into the very column that goes to the host, and the three optional
//! columns should not exist unless they are used; yet a record that fails must leave nothing behind. The rule: a column
//! is either absent or complete up to the element being made. It comes into being at the first element that sets it, and
//! what was emitted before is filled in with the values that these elements would have inherited, so setting a column
//! for one element never changes another. A record that fails truncates every column to where the record found it.

use std::convert::Infallible;

use crate::Error;
use crate::bindings::kinesis::sluicebox::pipeline::elements::{Deserialized, ElementBatch};
use crate::columns::{self, BytesColumn, append, number, shrunk, value};
use crate::origins::Origins;

const ROUTES_MAX: usize = 256;
const ROUTE_BYTES_MAX: usize = 64;

/// Where a deserializer puts what it makes of a record: any number of elements, or none to filter the record.
#[derive(Debug)]
pub struct Elements<'a> {
    arrivals: &'a [i64],
    partition_keys: &'a BytesColumn,
    origins: Origins,
    /// What was there before the record that is being deserialized.
    found: Mark,
    batch: ElementBatch,
}

/// How long each column is.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    elements: usize,
    payload_bytes: usize,
    event_times: usize,
    keys: usize,
    key_bytes: usize,
    route: usize,
    routes: usize,
}

impl<'a> Elements<'a> {
    /// Room for one element a record, of the record's size.
    pub(crate) fn new(arrivals: &'a [i64], partition_keys: &'a BytesColumn, data: &BytesColumn) -> Self {
        let payload =
            BytesColumn { ends: Vec::with_capacity(data.ends.len()), bytes: Vec::with_capacity(data.bytes.len()) };
        Self {
            arrivals,
            partition_keys,
            origins: Origins::with_capacity(data.ends.len()),
            found: Mark::default(),
            batch: ElementBatch {
                event_time: Vec::new(),
                key: columns::empty(),
                route: Vec::new(),
                routes: Vec::new(),
                payload,
            },
        }
    }

    /// Emits an element that inherits event time and key from its record and goes to every sink.
    pub fn push(&mut self, payload: &[u8]) {
        self.element().push(payload);
    }

    /// As [`push`](Self::push), with a payload that `write` appends in place: no copy follows.
    ///
    /// `write` may only append. What lies before belongs to other elements, and taking it away makes the whole batch
    /// fail.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.element().write(write);
    }

    /// As [`write`](Self::write), but a `write` that fails leaves no element.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_write<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.element().try_write(write)
    }

    /// Begins an element with an event time, a key or a route of its own.
    #[must_use = "an element is emitted by `push`, `write` or `try_write`"]
    pub fn element<'e>(&'e mut self) -> ElementBuilder<'e, 'a> {
        ElementBuilder { out: self, event_time: None, key: None, route: None }
    }

    /// Begins the next record.
    pub(crate) fn begin(&mut self, input: u32) {
        self.origins.begin(input);
        self.found = self.mark();
    }

    /// Ends the record: with an error it leaves nothing but that.
    pub(crate) fn end(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if self.batch.payload.bytes.len() < self.found.payload_bytes {
            return Err(shrunk());
        }
        if self.origins.end(result) {
            self.roll_back();
        }
        Ok(())
    }

    /// The columns for the host.
    pub(crate) fn finish(mut self) -> Deserialized {
        let elements = self.origins.len();
        if !self.batch.event_time.is_empty() {
            self.fill_event_times(elements);
        }
        if !self.batch.key.ends.is_empty() {
            self.fill_keys(elements);
        }
        if !self.batch.route.is_empty() {
            self.batch.route.resize(elements, 0);
        }
        let (input_index, errors) = self.origins.finish(self.arrivals.len());
        Deserialized { input_index, elements: self.batch, errors }
    }

    fn mark(&self) -> Mark {
        Mark {
            elements: self.origins.len(),
            payload_bytes: self.batch.payload.bytes.len(),
            event_times: self.batch.event_time.len(),
            keys: self.batch.key.ends.len(),
            key_bytes: self.batch.key.bytes.len(),
            route: self.batch.route.len(),
            routes: self.batch.routes.len(),
        }
    }

    fn roll_back(&mut self) {
        let found = self.found;
        self.batch.payload.ends.truncate(found.elements);
        self.batch.payload.bytes.truncate(found.payload_bytes);
        self.batch.event_time.truncate(found.event_times);
        self.batch.key.ends.truncate(found.keys);
        self.batch.key.bytes.truncate(found.key_bytes);
        self.batch.route.truncate(found.route);
        self.batch.routes.truncate(found.routes);
    }

    /// Event times up to element `elements`: those not set are the arrival of their record.
    fn fill_event_times(&mut self, elements: usize) {
        let missing = &self.origins.index()[self.batch.event_time.len()..elements];
        self.batch.event_time.extend(missing.iter().map(|input| self.arrivals[*input as usize]));
    }

    /// Keys up to element `elements`: those not set are the partition key of their record.
    fn fill_keys(&mut self, elements: usize) {
        for input in &self.origins.index()[self.batch.key.ends.len()..elements] {
            append(&mut self.batch.key, value(self.partition_keys, *input as usize));
        }
    }

    /// The number of a route, counted from 1 in `routes`.
    fn route_number(&mut self, name: &str) -> u32 {
        if let Some(index) = self.batch.routes.iter().position(|known| known == name) {
            return number(index + 1);
        }
        if name.is_empty() || name.len() > ROUTE_BYTES_MAX {
            let problem = format_args!("the route {name:?} must have 1 to {ROUTE_BYTES_MAX} bytes").to_string();
            self.origins.fail(|| Error::poison("invalid-route", problem));
            return 0;
        }
        if self.batch.routes.len() == ROUTES_MAX {
            self.origins.fail(|| {
                Error::poison("too-many-routes", format_args!("a batch has at most {ROUTES_MAX} different routes"))
            });
            return 0;
        }
        self.batch.routes.push(name.to_owned());
        number(self.batch.routes.len())
    }

    /// Completes the element whose payload now ends the payload column.
    fn complete(&mut self, event_time: Option<i64>, key: Option<&[u8]>, route: Option<&str>) {
        let element = self.origins.len();
        if let Some(event_time) = event_time {
            self.fill_event_times(element);
            self.batch.event_time.push(event_time);
        }
        if let Some(key) = key {
            self.fill_keys(element);
            append(&mut self.batch.key, key);
        }
        if let Some(name) = route {
            let route = self.route_number(name);
            self.batch.route.resize(element, 0);
            self.batch.route.push(route);
        }
        columns::end(&mut self.batch.payload);
        self.origins.output();
    }
}

/// An element in the making. It is emitted by [`push`](Self::push), [`write`](Self::write) or
/// [`try_write`](Self::try_write); dropped before that, it leaves nothing.
#[derive(Debug)]
#[must_use = "an element is emitted by `push`, `write` or `try_write`"]
pub struct ElementBuilder<'e, 'a> {
    out: &'e mut Elements<'a>,
    event_time: Option<i64>,
    key: Option<&'e [u8]>,
    route: Option<&'e str>,
}

impl<'e> ElementBuilder<'e, '_> {
    /// When the event happened, in milliseconds since the epoch. Not set: the arrival time of the record.
    pub fn event_time(mut self, millis: i64) -> Self {
        self.event_time = Some(millis);
        self
    }

    /// What keeps elements in order and spreads them over a sink's shards: at most 2,048 bytes. Not set: the partition
    /// key of the record.
    pub fn key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'e K) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Only to the sinks whose `when` names this route (1 to 64 bytes; at most 256 different ones in a batch, the record
    /// fails beyond that) and to those without `when`. Not set: every sink.
    pub fn route(mut self, name: &'e str) -> Self {
        self.route = Some(name);
        self
    }

    /// Emits the element with this payload.
    pub fn push(self, payload: &[u8]) {
        self.write(|column| column.extend_from_slice(payload));
    }

    /// Emits the element with a payload that `write` appends in place. See [`Elements::write`].
    pub fn write(self, write: impl FnOnce(&mut Vec<u8>)) {
        let Ok(()) = self.try_write(|column| {
            write(column);
            Ok::<(), Infallible>(())
        });
    }

    /// Emits the element with a payload that `write` appends in place, unless that fails.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_write<E>(self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let start = self.out.batch.payload.bytes.len();
        let result = write(&mut self.out.batch.payload.bytes);
        if self.out.batch.payload.bytes.len() < start {
            self.out.origins.fail(shrunk);
        } else if result.is_ok() {
            self.out.complete(self.event_time, self.key, self.route);
        } else {
            self.out.batch.payload.bytes.truncate(start);
        }
        result
    }
}

#[cfg(test)]
mod tests;
