//! One sequential lane of a pipeline: a thread with component instances of its own, a deserializer and a converter for
//! each sink that writes to a service.
//!
//! The components run here and nowhere else, so that a slow call delays no read, no renewal and no checkpoint. Batches
//! come in the order their shards were read; what the components make of them goes to the sinks in that order.
//!
//! When a component refuses a record or breaks on a batch, the records before it are delivered first, then the policy
//! decides ([`host_core::delivery`]). A batch on which one breaks is halved until the record that does it stands alone,
//! each half in a fresh instance; the other records are delivered as if nothing had happened. It makes no difference which
//! of the components it was: a record goes through all of them and then to the sinks, or to no sink at all.

mod times;
mod routing;
mod converting;
mod draft;
mod lane;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use host_core::delivery::OnError;
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::RecordColumns;
use crate::component::deserializer::{self, Deserialized, KinesisDeserializer, ShardContext};
use crate::component::error::ComponentError;
use crate::flow::{Budget, Held};
use crate::pipeline::Totals;
use crate::pipeline::failure::Failure;
use crate::sink::thread::ToSinks;

pub use self::converting::{Components, Converting};
use self::draft::{Draft, Judge};
use self::lane::{Broken, Lane, Range};
pub use self::routing::Routing;
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
    /// Which elements somebody takes.
    pub routing: Arc<Routing>,
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
    /// By their sinks' places in the manifest.
    converters: Vec<Converting>,
    /// Event times of sessions, where the component gives any.
    times: BTreeMap<ShardId, (u64, EventTimes)>,
}

impl Subtask {
    /// Starts the thread. It opens the components and ends when the queue's senders are gone.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(
        self,
        name: &str,
        open: impl FnOnce() -> Result<Components, Failure> + Send + 'static,
        queue: mpsc::Receiver<Batch>,
    ) -> std::io::Result<JoinHandle<()>> {
        let Self { index, around, sinks } = self;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut alarm = Alarm { subtask: index, sinks: sinks.clone(), silent: false };
            let worked = open().and_then(|Components { deserializer, mut converters }| {
                // One error is told of a record, and it shall not hang on the order in which components were opened.
                converters.sort_by_key(|converting| converting.sink);
                let worker = Worker { around, sinks: sinks.clone(), deserializer, converters, times: BTreeMap::new() };
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
            if !self.is_abandoned() {
                self.deliver(batch)?;
            }
        }
        let time = self.around.clock.wall();
        self.deserializer.close(time);
        for converting in self.converters {
            converting.converter.close(time);
        }
        Ok(())
    }

    fn is_abandoned(&self) -> bool {
        self.around.abandoned.load(Ordering::Relaxed)
    }

    fn deliver(&mut self, batch: Batch) -> Result<(), Failure> {
        let context = ShardContext {
            stream_arn: self.around.stream(&batch.shard).arn.clone(),
            shard_id: batch.shard.to_string(),
            millis_behind_latest: batch.millis_behind_latest,
        };
        let mut lane = Lane {
            worker: self,
            shard: batch.shard,
            session: batch.session,
            first: batch.first,
            work: vec![Range { from: 0, to: batch.records.len(), attempt: 1 }],
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
            match lane.worker.make(&context, records, range) {
                Ok(Some(draft)) => lane.settle(range, records, draft)?,
                Ok(None) => return Ok(()),
                Err(broken) => lane.broke(range, records, &broken)?,
            }
        }
        Ok(())
    }

    /// Has the components make of a range what they can, one after the other; `None` if the run was given up meanwhile. A
    /// component that comes back after that comes too late: the sinks may be the next run's.
    fn make(&mut self, shard: &ShardContext, records: &RecordColumns, range: Range) -> Result<Option<Draft>, Broken> {
        let delivery = deserializer::Delivery { attempt: range.attempt, time: self.around.clock.wall() };
        let judge = Judge { policy: self.around.policy, range };
        let answer = self.deserializer.deserialize(shard, records, delivery);
        if self.is_abandoned() {
            return Ok(None);
        }
        let deserialized = answer.map_err(|error| Broken { sink: None, error })?;
        if converting::is_suspect(&deserialized.errors) {
            self.deserializer.renew();
            self.around.totals.restarts.add(1);
        }
        let mut draft = Draft::new(deserialized, records.len(), judge);
        draft.route(&self.around.routing, &self.converters);
        for index in 0..self.converters.len() {
            let converting = &mut self.converters[index];
            let share = draft.share(&converting.when);
            let Some(answer) = draft.convert(converting, &share, records, delivery) else { continue };
            if self.is_abandoned() {
                return Ok(None);
            }
            let converting = &mut self.converters[index];
            let converted = answer.map_err(|error| Broken { sink: Some(converting.name.clone()), error })?;
            if converting::is_suspect(&converted.errors) {
                converting.converter.renew();
                self.around.totals.restarts.add(1);
            }
            draft.take_in(converting, &share, converted, judge);
        }
        draft.take_back();
        Ok(Some(draft))
    }
}

#[cfg(test)]
mod tests;
