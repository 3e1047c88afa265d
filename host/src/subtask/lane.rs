//! A batch on its way through a subtask: what is still to be done of it, and what becomes of what was made.

use std::fmt;

use host_core::coordinator::Receipt;
use host_core::delivery::{Decision, Outcome};
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;

use crate::columns::{NO_ARRIVAL, RecordColumns};
use crate::component::error::ComponentError;
use crate::flow::Held;
use crate::pipeline::failure::{Failure, sequence_text};
use crate::sink::service::Stations;
use crate::sink::thread::{Delivery, ToSinks};
use crate::source::reader::position_of;
use crate::subtask::Worker;
use crate::subtask::draft::{Draft, End, Skipped};

/// Records `from..to` of a batch, still to be delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) from: usize,
    pub(super) to: usize,
    /// How often the components have had them, this time included.
    pub(super) attempt: u32,
}

impl Range {
    pub(super) fn records(self) -> u32 {
        u32::try_from(self.to - self.from).unwrap_or(u32::MAX)
    }

    /// What is left from record `index` on. Attempts count for the record at the front: those behind it have not failed yet.
    pub(super) fn starting(self, index: usize) -> Self {
        Self { from: self.from + index, to: self.to, attempt: if index == 0 { self.attempt } else { 1 } }
    }
}

/// A component that broke on a range, or refused it as a whole.
#[derive(Debug)]
pub(super) struct Broken {
    /// The sink whose converter it is; `None`: it is the deserializer.
    pub(super) sink: Option<String>,
    pub(super) error: ComponentError,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sink {
            Some(sink) => write!(f, "sink {sink:?}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

/// A batch on its way through.
pub(super) struct Lane<'a> {
    pub(super) worker: &'a mut Worker,
    pub(super) shard: ShardId,
    pub(super) session: u64,
    pub(super) first: u64,
    /// Ranges still to be done; the next one is last.
    pub(super) work: Vec<Range>,
    pub(super) held: Option<Held>,
}

impl Lane<'_> {
    /// Delivers what the components made of `range`, up to the first record that needs another attempt or stops the run.
    pub(super) fn settle(&mut self, range: Range, records: &RecordColumns, mut draft: Draft) -> Result<(), Failure> {
        for Skipped { record, reason } in &draft.skipped {
            self.skip(records, *record as usize, reason);
        }
        let around = &self.worker.around;
        around.totals.unrouted.add(draft.unrouted());
        draft.routes_dropped().for_each(|route| around.routing.tell(route));
        let (count, end) = (draft.count, draft.end.take());
        match end {
            None => self.send(range, records, draft),
            Some(End::Refused { reason }) => {
                self.send(range, records, draft);
                return Err(self.poison(records, count, reason));
            }
            Some(End::Unrouted { route }) => {
                self.send(range, records, draft);
                return Err(Failure::Route { route, shard: self.shard.clone() });
            }
            Some(End::Again { decision, reason }) => {
                let left = range.starting(count);
                tracing::debug!(shard = %self.shard, reason, attempt = left.attempt, "a record is tried again");
                self.again(left, decision);
                self.send(range, records, draft);
                self.pause(decision);
            }
        }
        Ok(())
    }

    /// A component broke on all of `range`, or refused it as a whole.
    pub(super) fn broke(&mut self, range: Range, records: &RecordColumns, broken: &Broken) -> Result<(), Failure> {
        let Broken { error, .. } = broken;
        if !error.leaves_the_instance_usable() && error.is_components_fault() {
            self.worker.around.totals.restarts.add(1);
        }
        let outcome = if error.is_retryable() || !error.is_components_fault() {
            Outcome::Retryable { attempt: range.attempt }
        } else {
            Outcome::Trapped { records: range.records(), attempt: range.attempt }
        };
        match self.worker.around.policy.decide(outcome) {
            again @ (Decision::RetryAfter(_) | Decision::Split { .. }) => {
                tracing::debug!(shard = %self.shard, %broken, records = range.records(), "a component broke; what it had is tried again");
                self.again(range, again);
                self.pause(again);
            }
            // No policy for records is meant for what the host lacks.
            Decision::Skip | Decision::Stop if !error.is_components_fault() => {
                return Err(self.no_room(records, broken.to_string()));
            }
            // A range that keeps being refused as a whole is refused record by record.
            Decision::Skip if range.records() > 1 => self.again(range, Decision::Split { mid: range.records() / 2 }),
            Decision::Skip => self.settle(range, records, Draft::skipping(broken.to_string()))?,
            Decision::Stop if range.records() == 1 => return Err(self.poison(records, 0, broken.to_string())),
            Decision::Stop => return Err(self.trap(records, broken.to_string())),
        }
        Ok(())
    }

    fn again(&mut self, range: Range, decision: Decision) {
        match decision {
            Decision::Split { mid } => {
                let middle = range.from + mid as usize;
                self.work.push(Range { from: middle, to: range.to, attempt: 1 });
                self.work.push(Range { from: range.from, to: middle, attempt: 1 });
            }
            Decision::RetryAfter(_) | Decision::Skip | Decision::Stop => {
                self.work.push(Range { attempt: range.attempt + 1, ..range });
            }
        }
    }

    /// Sends what was made of the draft's records to the sinks, and word of those records with it.
    fn send(&mut self, range: Range, records: &RecordColumns, draft: Draft) {
        let count = draft.count;
        let Some(last) = count.checked_sub(1).and_then(|index| position_of(records, index)) else { return };
        let filtered = draft.filtered(&self.worker.around.routing, &self.worker.converters);
        self.worker.around.totals.filtered.add(filtered);
        let mut outgoing = draft.outgoing;
        outgoing.retain(|outgoing| !outgoing.entries.is_empty());
        for outgoing in &mut outgoing {
            outgoing.stations = Stations::of(records, &outgoing.record);
        }
        let elements = draft.elements;
        let arrived = records.arrival[..count].iter().copied().filter(|arrival| *arrival != NO_ARRIVAL).max();
        let receipt = Receipt {
            shard: self.shard.clone(),
            session: self.session,
            first: self.first + range.from as u64,
            count: count as u64,
            last,
            event_time: None,
            arrived: arrived.map(EpochMillis),
            marks: Vec::new(),
        };
        // What converters made of the records is here beside them, and larger: readers wait for its room, too.
        let made_bytes: u64 = outgoing.iter().map(|outgoing| outgoing.entries.footprint()).sum();
        if let Some(held) = &mut self.held {
            held.grow(usize::try_from(made_bytes).unwrap_or(usize::MAX));
        }
        let held = if self.work.is_empty() { self.held.take() } else { None };
        let made = if elements.event_time.is_empty() {
            None
        } else {
            self.worker.times(&self.shard, self.session).made(&elements.event_time)
        };
        let delivery = Delivery { receipt, elements, outgoing, made, held };
        // Sinks that are gone have failed and said so.
        drop(self.worker.sinks.blocking_send(ToSinks::Deliver(Box::new(delivery))));
    }

    fn skip(&self, records: &RecordColumns, index: usize, reason: &str) {
        self.worker.around.totals.skipped.add(1);
        let sequence = sequence_text(position_of(records, index).as_ref());
        tracing::warn!(stream = %self.stream_name(), shard = %self.shard, sequence, reason, "skipped a record");
    }

    fn poison(&self, records: &RecordColumns, index: usize, reason: String) -> Failure {
        Failure::Poison {
            stream: self.stream_name(),
            shard: self.shard.clone(),
            sequence: sequence_text(position_of(records, index).as_ref()),
            reason,
        }
    }

    fn trap(&self, records: &RecordColumns, reason: String) -> Failure {
        let sequence = |index| sequence_text(position_of(records, index).as_ref());
        Failure::Trap {
            stream: self.stream_name(),
            shard: self.shard.clone(),
            first: sequence(0),
            last: sequence(records.len().saturating_sub(1)),
            reason,
        }
    }

    fn no_room(&self, records: &RecordColumns, reason: String) -> Failure {
        Failure::NoRoom {
            stream: self.stream_name(),
            shard: self.shard.clone(),
            first: sequence_text(position_of(records, 0).as_ref()),
            reason,
        }
    }

    fn stream_name(&self) -> String {
        self.worker.around.stream(&self.shard).name.clone()
    }

    fn pause(&self, decision: Decision) {
        if let Decision::RetryAfter(pause) = decision
            && !pause.is_zero()
        {
            let hurry = self.worker.around.hurry.clone();
            let waited = async move { hurry.run_until_cancelled(tokio::time::sleep(pause)).await };
            // Cut short or not: what follows looks whether the run was abandoned.
            let _whole: Option<()> = self.worker.around.runtime.block_on(waited);
        }
    }
}
