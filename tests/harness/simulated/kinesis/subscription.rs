//! One subscription: a place in a shard that moves on by itself. It holds no records and no queue: each event is made when
//! the transport asks for it, so a reader that takes nothing is given nothing.
//!
//! Like an iterator it points to a place, not to a record. Between two events it waits for the bell of its shard, for the
//! next heartbeat, or for the end of its time, whichever comes first.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::Notify;

use super::habits::{Habits, TakeOver};
use super::sequence::Sequence;
use super::shard::{Record, ShardView, shard_id};
use super::{Kinesis, Model, answers};
use crate::simulated::clock::{Deadline, Millis};
use crate::simulated::service::{Event, Events, Refusal};

/// What one event tells.
pub(crate) struct Push {
    pub(crate) records: Vec<Arc<Record>>,
    pub(crate) continuation: Option<Sequence>,
    pub(crate) behind: Option<Millis>,
    pub(crate) children: Option<Vec<ShardView>>,
}

/// What a look at the shard comes to.
enum Look {
    Push(Push),
    Refused(Refusal),
    /// Nothing yet.
    Nothing,
    /// Time is up, or another subscription has the shard.
    Over,
}

pub(crate) struct Subscription {
    pub(crate) kinesis: Kinesis,
    pub(crate) stream: String,
    /// The stream's incarnation.
    pub(crate) created: Millis,
    pub(crate) consumer: String,
    pub(crate) arn: String,
    pub(crate) shard: u32,
    pub(crate) token: u64,
    /// The ordinal that comes next.
    pub(crate) next: u64,
    pub(crate) bell: Arc<Notify>,
    /// When its time is up.
    pub(crate) until: Deadline,
    /// When an empty event is due.
    pub(crate) silent_until: Deadline,
    pub(crate) is_over: bool,
}

impl Subscription {
    pub(crate) fn events(self) -> Events {
        let next = |mut subscription: Self| async move { subscription.next().await.map(|event| (event, subscription)) };
        stream::unfold(self, next).boxed()
    }

    async fn next(&mut self) -> Option<Result<Event, Refusal>> {
        let bell = Arc::clone(&self.bell);
        while !self.is_over {
            let rung = bell.notified();
            tokio::pin!(rung);
            // Registered before the look, so that no change falls between the two.
            rung.as_mut().enable();
            match self.look() {
                Look::Push(push) => {
                    self.is_over = push.continuation.is_none();
                    return Some(Ok(Event { name: "SubscribeToShardEvent", payload: answers::push(&push) }));
                }
                Look::Refused(refusal) => {
                    self.is_over = true;
                    return Some(Err(refusal));
                }
                Look::Over => self.is_over = true,
                Look::Nothing => tokio::select! {
                    () = rung => {}
                    () = self.until.passes(&self.kinesis.clock) => {}
                    () = self.silent_until.passes(&self.kinesis.clock) => {}
                },
            }
        }
        None
    }

    fn look(&mut self) -> Look {
        let kinesis = self.kinesis.clone();
        kinesis.with(|model, now| self.look_at(model, now).unwrap_or_else(Look::Refused))
    }

    fn look_at(&mut self, model: &mut Model, now: Millis) -> Result<Look, Refusal> {
        let (limits, clock) = (model.limits, &self.kinesis.clock);
        let stream = model.stream(&self.stream, now)?;
        if stream.created != self.created {
            return Err(Model::not_found(&self.stream));
        }
        let Habits { take_over, .. } = stream.habits;
        if !stream.check_reading(&self.consumer, &self.arn, now)?.holds(self.shard, self.token) {
            return match take_over {
                TakeOver::Refused => Err(stream.taken(&self.consumer, self.shard)),
                TakeOver::Orderly => Ok(Look::Over),
            };
        }
        if self.until.has_passed(clock) {
            return Ok(Look::Over);
        }
        stream.check_key()?;
        let habits = stream.habits;
        let shard = stream.shard(&shard_id(self.shard), now)?;
        let (records, next) = shard.page(self.next, limits.event_records, limits.event_bytes);
        let is_last = next == shard.next();
        let has_ended = shard.has_ended(habits, &records, is_last);
        if records.is_empty() && !has_ended && !self.silent_until.has_passed(clock) {
            return Ok(Look::Nothing);
        }
        // An empty event tells of progress, too: its number is that of no record, and grows with time.
        let reached = records.last().map_or_else(|| shard.reached(next, now), |record| record.sequence);
        let behind = habits.lag.of(&records, is_last, now);
        let continuation = (!has_ended).then_some(reached);
        let children = if has_ended { stream.children_told(self.shard, now) } else { None };
        self.next = next;
        self.silent_until = limits.heartbeat.begin(clock);
        Ok(Look::Push(Push { records, continuation, behind, children }))
    }
}
