//! One sequential lane of a pipeline: a thread with a component instance of its own.
//!
//! The component runs here and nowhere else, so that a slow call delays no read, no renewal and no checkpoint. Batches
//! come in the order their shards were read; what the component makes of them goes to the sinks in that order.
//!
//! When the component refuses a record or breaks on a batch, the records before it are delivered first, then the policy
//! decides ([`host_core::delivery`]). A batch on which it breaks is halved until the record that does it stands alone,
//! each half in a fresh instance; the other records are delivered as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use host_core::delivery::{Breakage, OnBreakage, OnRefusal, Policy, Refusal};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::columns::RecordColumns;
use crate::component::deserializer::{Deserialized, ShardContext};
use crate::component::error::{ComponentError, ErrorClass, GuestError};
use crate::flow::Held;
use crate::pipeline::Totals;
use crate::pipeline::failure::{Failure, sequence_text};
use crate::sink::thread::{Delivery, ToSinks};
use crate::source::polling::position_of;

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
        time: EpochMillis,
    ) -> Result<Deserialized, ComponentError>;

    /// Drops the instance: the component called its own state suspect.
    fn renew(&mut self);

    /// The last call: nothing follows.
    fn close(&mut self);
}

/// What a subtask's thread works with.
pub struct Subtask {
    /// The stream's ARN and name.
    pub stream: (String, String),
    /// The component.
    pub deserializer: Box<dyn Deserialize>,
    /// What to do with what cannot be delivered.
    pub policy: Policy,
    /// Where deliveries go.
    pub sinks: mpsc::Sender<ToSinks>,
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

/// Records `from..to` of a batch, still to be delivered.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: usize,
    to: usize,
    /// How often the component has had them, this time included.
    attempt: u32,
}

impl Subtask {
    /// Starts the thread. It ends when the queue's senders are gone.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(mut self, name: &str, mut queue: mpsc::Receiver<Batch>) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(batch) = queue.blocking_recv() {
                if self.abandoned.load(Ordering::Relaxed) {
                    continue;
                }
                if let Err(failure) = self.deliver(batch) {
                    // Behind what was delivered before, so that the position right before the culprit holds.
                    drop(self.sinks.blocking_send(ToSinks::Failed(failure)));
                    return;
                }
            }
            self.deserializer.close();
        })
    }

    fn deliver(&mut self, batch: Batch) -> Result<(), Failure> {
        let context = ShardContext {
            stream_arn: self.stream.0.clone(),
            shard_id: batch.shard.to_string(),
            millis_behind_latest: batch.millis_behind_latest,
        };
        let mut held = Some(batch.held);
        let whole = Range { from: 0, to: batch.records.len(), attempt: 1 };
        let mut lane = Lane { subtask: self, shard: batch.shard, session: batch.session, first: batch.first, work: vec![whole] };
        while let Some(range) = lane.work.pop() {
            if lane.subtask.abandoned.load(Ordering::Relaxed) {
                return Ok(());
            }
            let part;
            let records = if range.from == 0 && range.to == batch.records.len() {
                &batch.records
            } else {
                part = batch.records.slice(range.from, range.to);
                &part
            };
            let time = lane.subtask.clock.wall();
            match lane.subtask.deserializer.deserialize(&context, records, time) {
                Ok(deserialized) => lane.settle(range, records, deserialized, &mut held)?,
                Err(error) => lane.broke(range, records, &error)?,
            }
        }
        Ok(())
    }
}

/// A batch on its way through.
struct Lane<'a> {
    subtask: &'a mut Subtask,
    shard: ShardId,
    session: u64,
    first: u64,
    /// Ranges still to be done; the next one is last.
    work: Vec<Range>,
}

impl Lane<'_> {
    /// Delivers what the component made of `range`, up to the first record that needs another attempt or stops the run.
    fn settle(
        &mut self,
        range: Range,
        records: &RecordColumns,
        mut made: Deserialized,
        held: &mut Option<Held>,
    ) -> Result<(), Failure> {
        for error in std::mem::take(&mut made.errors) {
            let index = error.input_index as usize;
            // Attempts count for the record at the front: those behind it have not failed yet.
            let attempt = if index == 0 { range.attempt } else { 1 };
            let refusal = refusal(error.error.class);
            match self.subtask.policy.on_refusal(refusal, attempt) {
                OnRefusal::Skip => self.skip(records, index, &error.error.to_string()),
                OnRefusal::Stop => {
                    self.send_prefix(range, records, made, index, held);
                    return Err(self.poison(records, index, error.error.to_string()));
                }
                OnRefusal::Retry { after } => {
                    tracing::debug!(shard = %self.shard, error = %error.error, attempt, "a record is tried again");
                    if refusal == Refusal::Fatal {
                        self.subtask.deserializer.renew();
                        self.subtask.totals.restarts.add(1);
                    }
                    self.send_prefix(range, records, made, index, held);
                    self.pause(after);
                    self.work.push(Range { from: range.from + index, to: range.to, attempt: attempt + 1 });
                    return Ok(());
                }
            }
        }
        let count = records.len();
        self.send_prefix(range, records, made, count, held);
        Ok(())
    }

    /// The component broke on all of `range`, or refused it as a whole.
    fn broke(&mut self, range: Range, records: &RecordColumns, error: &ComponentError) -> Result<(), Failure> {
        self.subtask.totals.restarts.add(1);
        let breakage = match error {
            ComponentError::Refused(GuestError { class, .. }) => match class {
                ErrorClass::Retryable => Breakage::Retryable,
                ErrorClass::Poison => Breakage::Refused,
                ErrorClass::Fatal => Breakage::Broke,
            },
            _ => Breakage::Broke,
        };
        let count = records.len() as u64;
        match self.subtask.policy.on_breakage(breakage, count, range.attempt) {
            OnBreakage::Retry { after } => {
                tracing::warn!(shard = %self.shard, %error, records = count, "the component broke; its batch is tried again in a fresh instance");
                self.pause(after);
                self.work.push(Range { attempt: range.attempt + 1, ..range });
            }
            OnBreakage::Split { first } => {
                let middle = range.from + usize::try_from(first).unwrap_or(usize::MAX).min(range.to - range.from - 1);
                self.work.push(Range { from: middle, ..range });
                self.work.push(Range { to: middle, ..range });
            }
            OnBreakage::Skip => {
                self.skip(records, 0, &error.to_string());
                self.send_prefix(range, records, Deserialized::default(), 1, &mut None);
            }
            OnBreakage::Stop if count == 1 => return Err(self.poison(records, 0, error.to_string())),
            OnBreakage::Stop => return Err(self.trap(records, error.to_string())),
        }
        Ok(())
    }

    /// Sends the elements of the first `count` records of `range` to the sinks, and word of those records with them.
    fn send_prefix(
        &mut self,
        range: Range,
        records: &RecordColumns,
        made: Deserialized,
        count: usize,
        held: &mut Option<Held>,
    ) {
        let Some(last) = count.checked_sub(1).and_then(|index| position_of(records, index)) else { return };
        let mut elements = made.elements;
        let kept = made.input_index.partition_point(|&input| (input as usize) < count);
        elements.truncate(kept);
        let mut with_elements = made.input_index;
        with_elements.truncate(kept);
        with_elements.dedup();
        let skipped = std::mem::take(&mut self.skipped_here());
        self.subtask.totals.filtered.add((count - with_elements.len()) as u64 - skipped);
        let times = if elements.event_time.is_empty() { &records.arrival[..count] } else { &elements.event_time[..] };
        let latest = times.iter().max().copied().map(EpochMillis);
        let done = range.from + count == range.to && self.work.is_empty();
        let delivery = Delivery {
            shard: self.shard.clone(),
            session: self.session,
            first: self.first + range.from as u64,
            count: count as u64,
            last,
            latest,
            elements,
            held: if done { held.take() } else { None },
        };
        // Sinks that are gone have failed and said so.
        drop(self.subtask.sinks.blocking_send(ToSinks::Deliver(Box::new(delivery))));
    }

    fn pause(&self, pause: Duration) {
        let hurry = self.subtask.hurry.clone();
        let waited = async move { hurry.run_until_cancelled(tokio::time::sleep(pause)).await };
        let _: Option<()> = self.subtask.runtime.block_on(waited);
    }
}
