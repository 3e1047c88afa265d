//! What a subscription tells, and when.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::shard::{SequenceNumber, ShardId};
use tokio::time::Instant;

use super::super::state::{Shard, State};
use super::super::{Call, Children, Lag, LastPage, MemoryStream};
use super::Fate;
use crate::columns::{BATCH_DATA_BYTES_MAX, RecordColumns, cut};
use crate::flow::{Budget, Held};
use crate::ports::{Pushed, Subscription};
use crate::source::classify::{CallSite, SourceError};

/// How often a subscription that has no records to tell says so.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a subscription lasts.
const SUBSCRIPTION: Duration = Duration::from_secs(300);

/// A subscription that was granted.
pub(super) struct MemorySubscription {
    pub(super) stream: MemoryStream,
    pub(super) id: u64,
    pub(super) shard: ShardId,
    /// Index of the next record in its shard.
    pub(super) next: usize,
    pub(super) granted: Instant,
    /// When the last event was told.
    pub(super) told: Option<Instant>,
    pub(super) budget: Budget,
    pub(super) awaits_room: bool,
}

/// Something to tell, that is not told yet.
struct Due {
    pushed: Pushed,
    /// Index of the record after its last one.
    to: usize,
    size: usize,
}

impl Drop for MemorySubscription {
    fn drop(&mut self) {
        self.close();
    }
}

impl Subscription for MemorySubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>> {
        async {
            let changes = Arc::clone(&self.stream.changed);
            loop {
                let changed = changes.notified();
                tokio::pin!(changed);
                // Registered before the look, so that no change falls between the two.
                changed.as_mut().enable();
                match self.look(Instant::now()) {
                    Some(Ok(Some(due))) => return Ok(Some(self.tell(due).await)),
                    Some(told) => {
                        self.close();
                        return told.map(|_end| None);
                    }
                    None => {}
                }
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.due()) => {}
                }
            }
        }
        .boxed()
    }

    fn awaits_room(&self) -> bool {
        self.awaits_room
    }

    fn silence(&self, lasted: Duration) -> SourceError {
        let site = CallSite { place: &self.stream.place, operation: Call::Event.operation(), shard: Some(&self.shard) };
        site.silent(lasted)
    }
}

impl MemorySubscription {
    /// Once there is room for it, and not before, the event counts as told.
    async fn tell(&mut self, due: Due) -> Pushed {
        self.awaits_room = true;
        let held = self.budget.reserve(due.size).await;
        self.awaits_room = false;
        (self.next, self.told) = (due.to, Some(Instant::now()));
        *self.stream.state().calls.entry(Call::Event).or_default() += 1;
        self.stream.changed.notify_waiters();
        if due.pushed.is_last {
            self.close();
        }
        Pushed { held, ..due.pushed }
    }

    fn close(&self) {
        self.stream.state().fan_out.live.remove(&self.id);
        self.stream.changed.notify_waiters();
    }

    /// When something is to be told if nothing happens until then.
    fn due(&self) -> Instant {
        let end = self.granted + SUBSCRIPTION;
        match self.stream.state().fan_out.stalled.contains(&self.shard) {
            // A change will tell; far ahead.
            true => Instant::now() + SUBSCRIPTION,
            false => end.min(self.told.map_or(end, |told| told + HEARTBEAT)),
        }
    }

    /// What there is to tell now.
    fn look(&self, now: Instant) -> Option<Result<Option<Due>, SourceError>> {
        let stream = self.stream.clone();
        let site = CallSite { place: &stream.place, operation: Call::Event.operation(), shard: Some(&self.shard) };
        let mut state = stream.state();
        let Some(live) = state.fan_out.live.get(&self.id) else { return Some(Ok(None)) };
        let consumer = live.consumer.clone();
        match live.fate {
            Fate::GoesOn => {}
            Fate::TakenOver => {
                let text = "Another subscription of the same consumer has taken over.";
                return Some(Err(site.answered(Some("ResourceInUseException"), 400, text)));
            }
            Fate::Cut => return Some(Err(site.unanswered())),
            Fate::Ended => return Some(Ok(None)),
        }
        if state.fan_out.stalled.contains(&self.shard) {
            return None;
        }
        if let Some(code) = state.scripted_failure(Call::Event, Some(&self.shard)) {
            return Some(Err(site.answered(Some(&code), 500, "scripted")));
        }
        if !state.exists {
            return Some(Err(site.answered(Some("ResourceNotFoundException"), 400, "Stream not found.")));
        }
        if state.fan_out.by_arn(&consumer).is_none() {
            return Some(Err(stream.no_consumer(Call::Event, &consumer)));
        }
        let Some(index) = state.index(&self.shard) else {
            return Some(Err(stream.not_found(Call::Event, &self.shard)));
        };
        if now >= self.granted + SUBSCRIPTION {
            return Some(Ok(None));
        }
        let (pushed, to) = event(&state, &self.shard, index, self.next, self.budget.nothing());
        // The first event comes at once, records or not.
        let is_due = self.told.is_none_or(|told| now >= told + HEARTBEAT);
        if pushed.batches.is_empty() && !pushed.is_last && !is_due {
            return None;
        }
        let size = pushed.batches.iter().map(RecordColumns::size).sum();
        Some(Ok(Some(Due { pushed, to, size })))
    }
}

/// What follows `from` in a shard, and the index of what comes after that.
fn event(state: &State, id: &ShardId, index: usize, from: usize, held: Held) -> (Pushed, usize) {
    let Shard { description, records, trimmed } = &state.shards[index];
    let from = from.max(*trimmed).min(records.len());
    let taken: Vec<_> = records[from..].iter().take(state.fan_out.event_records).map(|&r| &state.written[r]).collect();
    let to = from + taken.len();
    let is_caught_up = to == records.len();
    let is_last = description.closed
        && is_caught_up
        && match state.last_page {
            LastPage::WithRecords => true,
            LastPage::Empty => taken.is_empty(),
        };
    let children = match state.children {
        Children::Told if is_last => state.children_of(id),
        Children::Told | Children::Omitted => Vec::new(),
    };
    let continuation: Option<SequenceNumber> = match taken.last() {
        _ if is_last => None,
        Some(last) if !is_caught_up => Some(last.sequence.clone()),
        _ => Some(state.sequence_of_now()),
    };
    let pushed = Pushed {
        batches: cut(&taken, BATCH_DATA_BYTES_MAX, |record| record.view()),
        continuation,
        is_last,
        millis_behind_latest: match state.lag {
            Lag::Told => Some(i64::try_from(records.len() - to).unwrap_or(i64::MAX)),
            Lag::Zero => Some(0),
            Lag::Omitted => None,
        },
        children,
        held,
    };
    (pushed, to)
}
