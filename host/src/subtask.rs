//! One sequential lane of a pipeline: a thread with a component instance of its own.
//!
//! The component runs here and nowhere else, so that a slow call delays no read, no renewal and no checkpoint. Batches
//! come in the order their shards were read; what the component makes of them goes to the sinks in that order.
//!
//! When the component refuses a record or breaks on a batch, the records before it are delivered first, then the policy
//! decides ([`host_core::delivery`]). A batch on which it breaks is halved until the record that does it stands alone,
//! each half in a fresh instance; the other records are delivered as if nothing had happened.

mod times;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use host_core::coordinator::Receipt;
use host_core::delivery::{Decision, OnError, Outcome};
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::{NO_ARRIVAL, RecordColumns};
use crate::component::deserializer::{self, Deserialized, KinesisDeserializer, RecordError, ShardContext};
use crate::component::error::{ComponentError, ErrorClass, GuestError};
use crate::flow::{Budget, Held};
use crate::pipeline::Totals;
use crate::pipeline::failure::{Failure, sequence_text};
use crate::sink::thread::{Delivery, ToSinks};
use crate::source::reader::position_of;

use self::times::EventTimes;
pub use self::times::Made;

/// Sessions whose event times are kept although nothing of theirs is on its way.
const TIMES_KEPT: usize = 1024;

/// Records of one shard on their way to the component.
#[derive(Debug)]
pub struct Batch {
    /// The shard.
    pub shard: ShardId,
    /// The reader's session.
    pub session: u64,
    /// Ordinal of the first record within the session.
    pub first: u64,
    /// The records; at least one.
    pub records: RecordColumns,
    /// How far behind the tip the shard was (`MillisBehindLatest`).
    pub millis_behind_latest: Option<i64>,
    /// Their share of the byte budget.
    pub held: Held,
}

/// The way into a subtask.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Batches in the order they are worked on.
    pub queue: mpsc::Sender<Batch>,
    /// Room for what is read ahead of it.
    pub room: Budget,
}

/// What makes elements of records: a component in its sandbox, or a stand-in in tests.
pub trait Deserialize: Send {
    /// Makes elements of a batch. After an error the next call finds a fresh instance.
    ///
    /// # Errors
    /// The component trapped, exceeded a limit, returned nonsense or refused the batch.
    fn deserialize(
        &mut self,
        shard: &ShardContext,
        records: &RecordColumns,
        delivery: deserializer::Delivery,
    ) -> Result<Deserialized, ComponentError>;

    /// Drops the instance: the component called its own state suspect.
    fn renew(&mut self);

    /// The last call: nothing follows.
    fn close(self: Box<Self>, time: EpochMillis);
}

impl Deserialize for KinesisDeserializer {
    fn deserialize(
        &mut self,
        shard: &ShardContext,
        records: &RecordColumns,
        delivery: deserializer::Delivery,
    ) -> Result<Deserialized, ComponentError> {
        Self::deserialize(self, shard, records, delivery)
    }

    fn renew(&mut self) {
        Self::renew(self);
    }

    fn close(self: Box<Self>, time: EpochMillis) {
        Self::close(*self, time);
    }
}

/// A stream as components and messages are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLabel {
    /// `StreamARN`.
    pub arn: String,
    /// The stream's name.
    pub name: String,
}

/// What every subtask of a pipeline works with.
#[derive(Clone)]
pub struct Surroundings {
    /// The streams, by their index in the source.
    pub streams: Arc<[StreamLabel]>,
    /// What to do with what cannot be delivered.
    pub policy: OnError,
    /// Set once the run is abandoned: what is held is dropped.
    pub abandoned: Arc<AtomicBool>,
    /// Cancelled together with `abandoned`, to end a pause before its time.
    pub hurry: CancellationToken,
    /// For waiting on tokio's clock.
    pub runtime: Handle,
    /// Time.
    pub clock: Clock,
    /// What the run counts.
    pub totals: Arc<Totals>,
}

impl Surroundings {
    fn stream(&self, shard: &ShardId) -> &StreamLabel {
        let index = usize::try_from(shard.stream()).unwrap_or(usize::MAX);
        self.streams.get(index).or(self.streams.first()).expect("a source has streams")
    }
}

/// A subtask before its thread starts.
pub struct Subtask {
    /// Its index.
    pub index: u32,
    /// What it works with.
    pub around: Surroundings,
    /// Where deliveries go.
    pub sinks: mpsc::Sender<ToSinks>,
}

/// Says that the subtask is lost, unless it ended as it should.
struct Alarm {
    subtask: u32,
    sinks: mpsc::Sender<ToSinks>,
    silent: bool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.silent {
            // Sinks that are gone have failed and said so.
            drop(self.sinks.blocking_send(ToSinks::Lost { subtask: self.subtask }));
        }
    }
}

/// A subtask at work.
struct Worker {
    around: Surroundings,
    sinks: mpsc::Sender<ToSinks>,
    deserializer: Box<dyn Deserialize>,
    /// Event times of sessions, where the component gives any.
    times: BTreeMap<ShardId, (u64, EventTimes)>,
}

/// Records `from..to` of a batch, still to be delivered.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: usize,
    to: usize,
    /// How often the component has had them, this time included.
    attempt: u32,
}

impl Range {
    fn records(self) -> u32 {
        u32::try_from(self.to - self.from).unwrap_or(u32::MAX)
    }
}

impl Subtask {
    /// Starts the thread. It opens the component and ends when the queue's senders are gone.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(
        self,
        name: &str,
        open: impl FnOnce() -> Result<Box<dyn Deserialize>, Failure> + Send + 'static,
        queue: mpsc::Receiver<Batch>,
    ) -> std::io::Result<JoinHandle<()>> {
        let Self { index, around, sinks } = self;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut alarm = Alarm { subtask: index, sinks: sinks.clone(), silent: false };
            let worked = open().and_then(|deserializer| {
                let worker = Worker { around, sinks: sinks.clone(), deserializer, times: BTreeMap::new() };
                worker.work(queue)
            });
            alarm.silent = true;
            if let Err(failure) = worked {
                // Behind what was delivered before, so that the position right before the culprit holds.
                drop(sinks.blocking_send(ToSinks::Failed(failure)));
            }
        })
    }
}

impl Worker {
    /// Event times of a session. Those of sessions that have nothing on its way any more are dropped now and then.
    fn times(&mut self, shard: &ShardId, session: u64) -> EventTimes {
        if self.times.len() > TIMES_KEPT {
            self.times.retain(|_, (_, times)| !times.is_idle());
        }
        match self.times.get(shard) {
            Some((of, times)) if *of == session => times.clone(),
            Some(_) | None => {
                let times = EventTimes::default();
                self.times.insert(shard.clone(), (session, times.clone()));
                times
            }
        }
    }

    fn work(mut self, mut queue: mpsc::Receiver<Batch>) -> Result<(), Failure> {
        while let Some(batch) = queue.blocking_recv() {
            if !self.around.abandoned.load(Ordering::Relaxed) {
                self.deliver(batch)?;
            }
        }
        self.deserializer.close(self.around.clock.wall());
        Ok(())
    }

    fn deliver(&mut self, batch: Batch) -> Result<(), Failure> {
        let context = ShardContext {
            stream_arn: self.around.stream(&batch.shard).arn.clone(),
            shard_id: batch.shard.to_string(),
            millis_behind_latest: batch.millis_behind_latest,
        };
        let whole = Range { from: 0, to: batch.records.len(), attempt: 1 };
        let mut lane = Lane {
            worker: self,
            shard: batch.shard,
            session: batch.session,
            first: batch.first,
            work: vec![whole],
            held: Some(batch.held),
        };
        while let Some(range) = lane.work.pop() {
            let part;
            let records = if range.from == 0 && range.to == batch.records.len() {
                &batch.records
            } else {
                part = batch.records.slice(range.from, range.to);
                &part
            };
            let delivery = deserializer::Delivery { attempt: range.attempt, time: lane.worker.around.clock.wall() };
            let answer = lane.worker.deserializer.deserialize(&context, records, delivery);
            // A component that comes back after the run was given up comes too late: the sinks may be the next run's.
            if lane.worker.around.abandoned.load(Ordering::Relaxed) {
                return Ok(());
            }
            match answer {
                Ok(deserialized) => lane.settle(range, records, deserialized)?,
                Err(error) => lane.broke(range, records, &error)?,
            }
        }
        Ok(())
    }
}

/// A batch on its way through.
struct Lane<'a> {
    worker: &'a mut Worker,
    shard: ShardId,
    session: u64,
    first: u64,
    /// Ranges still to be done; the next one is last.
    work: Vec<Range>,
    held: Option<Held>,
}

impl Lane<'_> {
    /// Delivers what the component made of `range`, up to the first record that needs another attempt or stops the run.
    fn settle(&mut self, range: Range, records: &RecordColumns, mut made: Deserialized) -> Result<(), Failure> {
        let mut skipped = 0;
        for RecordError { input_index, error } in std::mem::take(&mut made.errors) {
            let index = input_index as usize;
            // Attempts count for the record at the front: those behind it have not failed yet.
            let attempt = if index == 0 { range.attempt } else { 1 };
            let left = Range { from: range.from + index, to: range.to, attempt };
            let outcome = match error.class {
                ErrorClass::Poison => Outcome::Poison,
                ErrorClass::Retryable => Outcome::Retryable { attempt },
                // The instance says that it cannot be trusted: as good as a trap on what it has not done.
                ErrorClass::Fatal => Outcome::Trapped { records: left.records(), attempt },
            };
            match self.worker.around.policy.decide(outcome) {
                Decision::Skip => {
                    self.skip(records, index, &error.to_string());
                    skipped += 1;
                    self.renew_if_suspect(&error);
                }
                Decision::Stop => {
                    let poison = self.poison(records, index, error.to_string());
                    self.send(range, records, made, index, skipped);
                    return Err(poison);
                }
                again @ (Decision::RetryAfter(_) | Decision::Split { .. }) => {
                    tracing::debug!(shard = %self.shard, %error, attempt, "a record is tried again");
                    self.again(left, again);
                    self.send(range, records, made, index, skipped);
                    self.renew_if_suspect(&error);
                    self.pause(again);
                    return Ok(());
                }
            }
        }
        let count = records.len();
        self.send(range, records, made, count, skipped);
        Ok(())
    }

    /// The component broke on all of `range`, or refused it as a whole.
    fn broke(&mut self, range: Range, records: &RecordColumns, error: &ComponentError) -> Result<(), Failure> {
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
                tracing::debug!(shard = %self.shard, %error, records = range.records(), "the component broke; what it had is tried again");
                self.again(range, again);
                self.pause(again);
            }
            // No policy for records is meant for what the host lacks.
            Decision::Skip | Decision::Stop if !error.is_components_fault() => {
                return Err(self.no_room(records, error.to_string()));
            }
            // A range that keeps being refused as a whole is refused record by record.
            Decision::Skip if range.records() > 1 => self.again(range, Decision::Split { mid: range.records() / 2 }),
            Decision::Skip => {
                self.skip(records, 0, &error.to_string());
                self.send(range, records, Deserialized::default(), 1, 1);
            }
            Decision::Stop if range.records() == 1 => return Err(self.poison(records, 0, error.to_string())),
            Decision::Stop => return Err(self.trap(records, error.to_string())),
        }
        Ok(())
    }

    /// An instance that says it cannot be trusted sees no other record.
    fn renew_if_suspect(&mut self, error: &GuestError) {
        if error.class == ErrorClass::Fatal {
            self.worker.deserializer.renew();
            self.worker.around.totals.restarts.add(1);
        }
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

    /// Sends the elements of the first `count` records of `range` to the sinks, and word of those records with them.
    fn send(&mut self, range: Range, records: &RecordColumns, made: Deserialized, count: usize, skipped: u64) {
        let Some(last) = count.checked_sub(1).and_then(|index| position_of(records, index)) else { return };
        let Deserialized { mut input_index, mut elements, .. } = made;
        let kept = input_index.partition_point(|&input| (input as usize) < count);
        elements.truncate(kept);
        input_index.truncate(kept);
        input_index.dedup();
        self.worker.around.totals.filtered.add((count as u64).saturating_sub(input_index.len() as u64 + skipped));
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
        let held = if self.work.is_empty() { self.held.take() } else { None };
        let made = if elements.event_time.is_empty() {
            None
        } else {
            self.worker.times(&self.shard, self.session).made(&elements.event_time)
        };
        let delivery = Delivery { receipt, elements, outgoing: Vec::new(), made, held };
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
