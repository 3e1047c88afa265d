//! What has been made of a range of records, on its way from the deserializer through the converters.
//!
//! A record is delivered whole or not at all. Each component may refuse some of the records that came through those before
//! it; the draft then forgets everything that was made of them, so that no later component sees them and no sink has a part
//! of one. A record that is to be tried again, or that stops the run, ends the draft: what follows it is made anew, if at
//! all, and no component is bothered with it now. So a record has one error at most, that of the first component which
//! failed on it, and nothing of what happens here is told before the last component has answered: one that breaks on the
//! batch has all of it made anew.

use host_core::delivery::{Decision, OnError, Outcome};
use host_core::moment::EpochMillis;

use crate::columns::{Column, ElementBatch, NO_ARRIVAL, RecordColumns, keep};
use crate::component::deserializer::{Delivery, Deserialized};
use crate::component::error::{ComponentError, ErrorClass, GuestError};
use crate::config::Unrouted;
use crate::entry::Converted;
use crate::sink::service::Stations;
use crate::sink::thread::Outgoing;
use crate::subtask::converting::{Converting, Share};
use crate::subtask::lane::Range;
use crate::subtask::routing::Routing;

/// Decides what becomes of the records of a range.
#[derive(Clone, Copy)]
pub(super) struct Judge {
    pub(super) policy: OnError,
    pub(super) range: Range,
}

impl Judge {
    /// What to do about an error of record `index`.
    fn decide(self, index: usize, class: ErrorClass) -> Decision {
        let left = self.range.starting(index);
        self.policy.decide(match class {
            ErrorClass::Poison => Outcome::Poison,
            ErrorClass::Retryable => Outcome::Retryable { attempt: left.attempt },
            // The instance says that it cannot be trusted: as good as a trap on what it has not done.
            ErrorClass::Fatal => Outcome::Trapped { records: left.records(), attempt: left.attempt },
        })
    }
}

/// Why a draft ends before its range does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next record is tried again, and all that follow with it.
    Again {
        /// How.
        decision: Decision,
        /// What was wrong with it.
        reason: String,
    },
    /// The next record stops the run.
    Refused {
        /// What was wrong with it.
        reason: String,
    },
    /// The next record has an element on a route that no sink takes, and that stops the run.
    Unrouted {
        /// The route.
        route: String,
    },
}

/// A record that is passed over.
#[derive(Debug)]
pub(super) struct Skipped {
    pub(super) record: u32,
    pub(super) reason: String,
}

/// An element that no sink takes.
#[derive(Debug)]
struct Dropped {
    record: u32,
    /// Counted from 1 in the batch's routes.
    route: u32,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// How many records it speaks of: the first ones of the range.
    pub(super) count: usize,
    /// What is with the record after them, if there is one.
    pub(super) end: Option<End>,
    /// Records that are passed over.
    pub(super) skipped: Vec<Skipped>,
    /// What sinks take as it is, and what entries are made of.
    pub(super) elements: ElementBatch,
    /// Entries, and the records that they came from.
    pub(super) outgoing: Vec<Outgoing>,
    /// The record that each element came from.
    origin: Vec<u32>,
    dropped: Vec<Dropped>,
    /// Whether event times were filled in for converters.
    lent_times: bool,
    /// Whether keys were.
    lent_keys: bool,
}

impl Draft {
    /// What the deserializer made of `records` records.
    pub(super) fn new(deserialized: Deserialized, records: usize, judge: Judge) -> Self {
        let Deserialized { input_index, elements, errors } = deserialized;
        let mut draft = Self { count: records, origin: input_index, elements, ..Self::default() };
        draft.take_errors(None, errors.into_iter().map(|error| (error.input_index, error.error)), judge);
        draft
    }

    /// A record alone that is passed over.
    pub(super) fn skipping(reason: String) -> Self {
        Self { count: 1, skipped: vec![Skipped { record: 0, reason }], ..Self::default() }
    }

    /// Looks for elements on routes that no sink takes, and drops them or ends before the first.
    pub(super) fn route(&mut self, routing: &Routing, converters: &[Converting]) {
        let is_taken =
            |route: &String| routing.is_taken(route, converters.iter().map(|converting| converting.when.as_slice()));
        let Self { elements, origin, .. } = &*self;
        if elements.route.is_empty() || elements.routes.iter().all(is_taken) {
            return;
        }
        let taken: Vec<bool> = elements.routes.iter().map(is_taken).collect();
        let is_untaken = |route: u32| route > 0 && !taken[route as usize - 1];
        match routing.unrouted() {
            Unrouted::Fail => {
                if let Some(at) = elements.route.iter().position(|route| is_untaken(*route)) {
                    let route = elements.routes[elements.route[at] as usize - 1].clone();
                    self.end_before(origin[at] as usize, End::Unrouted { route });
                }
            }
            Unrouted::Drop => {
                let places = origin.iter().zip(&elements.route).filter(|(_, route)| is_untaken(**route));
                let dropped = places.map(|(&record, &route)| Dropped { record, route }).collect();
                let is_kept: Vec<bool> = elements.route.iter().map(|route| !is_untaken(*route)).collect();
                self.dropped = dropped;
                self.retain_elements(|element| is_kept[element]);
            }
        }
    }

    /// What a sink with this `when` takes.
    pub(super) fn share(&self, when: &[String]) -> Share {
        let elements = &self.elements;
        if elements.is_empty() {
            return Share::Nothing;
        }
        if when.is_empty() || elements.route.is_empty() {
            return Share::All;
        }
        let takes: Vec<bool> = elements.routes.iter().map(|route| when.contains(route)).collect();
        let is_taken = |route: u32| route == 0 || takes[route as usize - 1];
        let chosen = (0_u32..).zip(&elements.route).filter(|(_, route)| is_taken(**route));
        let chosen: Vec<u32> = chosen.map(|(element, _)| element).collect();
        match chosen.len() {
            0 => Share::Nothing,
            all if all == elements.len() => Share::All,
            _ => Share::Part(chosen),
        }
    }

    /// Has a converter make entries of its share; `None` if that is nothing.
    pub(super) fn convert(
        &mut self,
        converting: &mut Converting,
        share: &Share,
        records: &RecordColumns,
        delivery: Delivery,
    ) -> Option<Result<Converted, ComponentError>> {
        if *share != Share::Nothing {
            self.lend(records, delivery.time);
        }
        converting.convert(share, &self.elements, delivery)
    }

    /// Fills in what the deserializer left to the records, for converters.
    fn lend(&mut self, records: &RecordColumns, time: EpochMillis) {
        if self.elements.event_time.is_empty() {
            let arrival = |&record: &u32| match records.arrival[record as usize] {
                NO_ARRIVAL => time.0,
                arrival => arrival,
            };
            self.elements.event_time = self.origin.iter().map(arrival).collect();
            self.lent_times = true;
        }
        if self.elements.key.is_empty() {
            let key = |record: &u32| records.partition_key.get(*record as usize);
            let bytes = self.origin.iter().map(|record| key(record).len()).sum();
            self.elements.key = Column::with_capacity(self.origin.len(), bytes);
            for record in &self.origin {
                self.elements.key.push(key(record));
            }
            self.lent_keys = true;
        }
    }

    /// Takes away what was filled in for converters: sinks and watermarks know of it what the deserializer said.
    pub(super) fn take_back(&mut self) {
        if std::mem::take(&mut self.lent_times) {
            self.elements.event_time = Vec::new();
        }
        if std::mem::take(&mut self.lent_keys) {
            self.elements.key = Column::default();
        }
    }

    /// Takes in what a converter made of its share.
    pub(super) fn take_in(&mut self, converting: &Converting, share: &Share, converted: Converted, judge: Judge) {
        let Converted { input_index, entries, errors } = converted;
        let record_of = |element: u32| self.origin[share.element(element) as usize];
        let record = input_index.iter().map(|element| record_of(*element)).collect();
        let errors: Vec<_> = errors.into_iter().map(|error| (record_of(error.input_index), error.error)).collect();
        if !entries.is_empty() {
            self.outgoing.push(Outgoing { sink: converting.sink, entries, record, stations: Stations::default() });
        }
        self.take_errors(Some(&converting.name), errors.into_iter(), judge);
    }

    /// Takes in errors of records, which never decrease. The first error of a record is the one that counts.
    fn take_errors(&mut self, sink: Option<&str>, errors: impl Iterator<Item = (u32, GuestError)>, judge: Judge) {
        let mut failed: Vec<u32> = Vec::new();
        for (record, error) in errors {
            if failed.last() == Some(&record) || record as usize >= self.count {
                continue;
            }
            let reason = match sink {
                None => error.to_string(),
                Some(sink) => format!("sink {sink:?}: {}: {}", error.code, error.message),
            };
            match judge.decide(record as usize, error.class) {
                Decision::Skip => {
                    failed.push(record);
                    self.skipped.push(Skipped { record, reason });
                }
                Decision::Stop => self.end_before(record as usize, End::Refused { reason }),
                decision @ (Decision::RetryAfter(_) | Decision::Split { .. }) => {
                    self.end_before(record as usize, End::Again { decision, reason });
                }
            }
        }
        if !failed.is_empty() {
            self.leave_out(&failed);
        }
    }

    /// Forgets what was made of these records.
    fn leave_out(&mut self, records: &[u32]) {
        let is_kept: Vec<bool> = self.origin.iter().map(|record| records.binary_search(record).is_err()).collect();
        self.retain_elements(|element| is_kept[element]);
        for Outgoing { entries, record, .. } in &mut self.outgoing {
            entries.retain(|entry| records.binary_search(&record[entry]).is_err());
            record.retain(|record| records.binary_search(record).is_err());
        }
        self.dropped.retain(|dropped| records.binary_search(&dropped.record).is_err());
    }

    fn retain_elements(&mut self, is_kept: impl Fn(usize) -> bool) {
        self.elements.retain(&is_kept);
        keep(&mut self.origin, is_kept);
    }

    /// Forgets what was made of record `count` and those that follow.
    fn end_before(&mut self, count: usize, end: End) {
        (self.count, self.end) = (count, Some(end));
        let is_before = |record: &u32| (*record as usize) < count;
        let kept = self.origin.partition_point(is_before);
        self.origin.truncate(kept);
        self.elements.truncate(kept);
        for Outgoing { entries, record, .. } in &mut self.outgoing {
            let kept = record.partition_point(is_before);
            entries.retain(|entry| entry < kept);
            record.truncate(kept);
        }
        self.skipped.retain(|skipped| is_before(&skipped.record));
        self.dropped.retain(|dropped| is_before(&dropped.record));
    }

    /// How many elements no sink takes.
    pub(super) fn unrouted(&self) -> u64 {
        self.dropped.len() as u64
    }

    /// The routes that they were on, some of them more than once.
    pub(super) fn routes_dropped(&self) -> impl Iterator<Item = &str> {
        self.dropped.iter().map(|dropped| self.elements.routes[dropped.route as usize - 1].as_str())
    }

    /// How many records nothing came of: nothing goes to any sink, and nobody says why.
    pub(super) fn filtered(&self, routing: &Routing, converters: &[Converting]) -> u64 {
        let told = |went: &dyn Fn(u32) -> bool| {
            let dropped = self.dropped.chunk_by(|one, other| one.record == other.record);
            self.skipped.len() + dropped.filter(|elements| !went(elements[0].record)).count()
        };
        let accounted = if converters.is_empty() {
            // Every element that is left goes to some sink as it is.
            let went = self.origin.chunk_by(|one, other| one == other).count();
            went + told(&|record| self.origin.binary_search(&record).is_ok())
        } else {
            let went = self.went(routing);
            went.iter().filter(|went| **went).count() + told(&|record| went[record as usize])
        };
        (self.count - accounted) as u64
    }

    /// For each record whether anything goes to a sink.
    fn went(&self, routing: &Routing) -> Vec<bool> {
        let mut went = vec![false; self.count];
        let plain: Vec<bool> = self.elements.routes.iter().map(|route| routing.is_plain(route)).collect();
        for (element, &record) in self.origin.iter().enumerate() {
            let route = self.elements.route.get(element).copied().unwrap_or(0);
            went[record as usize] |= if route == 0 { routing.has_plain() } else { plain[route as usize - 1] };
        }
        for record in self.outgoing.iter().flat_map(|outgoing| &outgoing.record) {
            went[*record as usize] = true;
        }
        went
    }
}
