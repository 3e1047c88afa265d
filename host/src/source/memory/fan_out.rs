//! Consumers and subscriptions of a stream in memory.
//!
//! Everything that takes time takes it on tokio's clock: what a silent subscription says every five seconds, its end after
//! five minutes, and the five seconds in which a subscription keeps others out. So a test that pauses the clock sees all
//! of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::registration::ConsumerStatus;
use host_core::shard::{Position, SequenceNumber, ShardId};
use tokio::time::Instant;

use super::state::{Shard, State};
use super::{Call, Children, Lag, LastPage, MemoryStream, own};
use crate::columns::{BATCH_DATA_BYTES_MAX, cut};
use crate::ports::{ConsumerDescription, ConsumerKey, FanOutApi, Pushed, Subscription};
use crate::source::classify::{CallSite, SourceError};

/// How often a subscription that has no records to tell says so.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a subscription lasts.
const SUBSCRIPTION: Duration = Duration::from_secs(300);
/// How long a subscription keeps another one of the same consumer out; later ones take over.
const EXCLUSIVE: Duration = Duration::from_secs(5);
/// What one event brings, unless told otherwise.
const EVENT_RECORDS_MAX: usize = 10_000;
/// What the service allows per stream.
const CONSUMERS_MAX: usize = 20;

/// How many subscriptions there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// Granted and neither ended nor dropped.
    pub open: usize,
    /// Ever granted.
    pub opened: u64,
    /// The most that were open at once.
    pub peak: usize,
}

#[derive(Debug)]
pub(super) struct FanOut {
    consumers: Vec<ConsumerDescription>,
    registered: u64,
    live: BTreeMap<u64, Live>,
    granted: BTreeMap<(String, ShardId), Instant>,
    opened: u64,
    peak: usize,
    pub(super) stalled: BTreeSet<ShardId>,
    event_records: usize,
}

impl Default for FanOut {
    fn default() -> Self {
        Self {
            consumers: Vec::new(),
            registered: 0,
            live: BTreeMap::new(),
            granted: BTreeMap::new(),
            opened: 0,
            peak: 0,
            stalled: BTreeSet::new(),
            event_records: EVENT_RECORDS_MAX,
        }
    }
}

/// A granted subscription, as the service knows it.
#[derive(Debug)]
struct Live {
    consumer: String,
    shard: ShardId,
    fate: Fate,
}

/// What becomes of a subscription at its next look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    GoesOn,
    TakenOver,
    Cut,
    Ended,
}

impl FanOut {
    /// The stream is another one.
    pub(super) fn forget(&mut self) {
        self.consumers.clear();
    }

    fn by_arn(&self, arn: &str) -> Option<&ConsumerDescription> {
        self.consumers.iter().find(|consumer| consumer.arn == arn)
    }

    fn doom(&mut self, shard: &ShardId, fate: Fate) {
        self.live.values_mut().filter(|live| live.shard == *shard).for_each(|live| live.fate = fate);
    }
}

impl MemoryStream {
    /// The subscriptions that there are and were.
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        let state = self.state();
        Subscriptions { open: state.fan_out.live.len(), opened: state.fan_out.opened, peak: state.fan_out.peak }
    }

    /// Waits until exactly `count` subscriptions are open. Cancel-safe.
    pub async fn until_subscribed(&self, count: usize) {
        self.until(|state| state.fan_out.live.len() == count).await;
    }

    /// The consumers that there are.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerDescription> {
        self.state().fan_out.consumers.clone()
    }

    /// Takes a consumer away, whatever subscribes with it: somebody else has deregistered it.
    pub fn remove_consumer(&self, name: &str) {
        self.state().fan_out.consumers.retain(|consumer| consumer.name != name);
        self.changed.notify_waiters();
    }

    /// Sets what a consumer's status is; a new one is active.
    ///
    /// # Panics
    /// There is no such consumer.
    pub fn set_consumer_status(&self, name: &str, status: ConsumerStatus) {
        let mut state = self.state();
        let consumer = state.fan_out.consumers.iter_mut().find(|consumer| consumer.name == name);
        consumer.expect("the test names a consumer that exists").status = status;
    }

    /// Sets how many records one event brings at most.
    pub fn push_at_most(&self, records: usize) {
        self.state().fan_out.event_records = records.max(1);
    }

    /// Lets granted subscriptions to a shard fall silent, without records, heartbeat or end, until [`Self::release`].
    pub fn stall(&self, shard: &ShardId) {
        self.state().fan_out.stalled.insert(shard.clone());
    }

    /// Breaks the connections of all subscriptions to a shard.
    pub fn cut(&self, shard: &ShardId) {
        self.state().fan_out.doom(shard, Fate::Cut);
        self.changed.notify_waiters();
    }

    /// Ends all subscriptions to a shard in good order, as the service does after five minutes.
    pub fn end_subscriptions(&self, shard: &ShardId) {
        self.state().fan_out.doom(shard, Fate::Ended);
        self.changed.notify_waiters();
    }

    fn no_consumer(&self, call: Call, arn: &str) -> SourceError {
        let site = CallSite { place: &self.place, operation: call.operation(), shard: None };
        site.answered(Some("ResourceNotFoundException"), 400, &format!("Consumer {arn} not found."))
    }

    fn grant(&self, consumer: &str, shard: &ShardId, from: &Position) -> Result<MemorySubscription, SourceError> {
        let site = CallSite { place: &self.place, operation: Call::Subscribe.operation(), shard: Some(shard) };
        let in_use = |text: &str| site.answered(Some("ResourceInUseException"), 400, text);
        let mut state = self.state();
        let status = state.fan_out.by_arn(consumer).map(|consumer| consumer.status);
        match status {
            None => return Err(self.no_consumer(Call::Subscribe, consumer)),
            Some(ConsumerStatus::Active) => {}
            Some(ConsumerStatus::Creating | ConsumerStatus::Deleting) => return Err(in_use("Consumer is not ACTIVE.")),
        }
        let index = state.index(shard).ok_or_else(|| self.not_found(Call::Subscribe, shard))?;
        let records = &state.shards[index].records;
        let next = match from {
            Position::TrimHorizon => 0,
            Position::AtTimestamp(at) => records.partition_point(|&record| state.written[record].arrival < *at),
            Position::After { sequence, .. } => {
                records.partition_point(|&record| state.written[record].sequence <= *sequence)
            }
            Position::ShardEnd => {
                return Err(self.invalid(Call::Subscribe, shard, "a shard that has ended is not read"));
            }
        };
        let (now, key) = (Instant::now(), (consumer.to_owned(), shard.clone()));
        let fan_out = &mut state.fan_out;
        if fan_out.granted.get(&key).is_some_and(|granted| now < *granted + EXCLUSIVE) {
            return Err(in_use("Another active subscription exists for this consumer and shard."));
        }
        let taken = fan_out.live.values_mut().filter(|live| live.consumer == consumer && live.shard == *shard);
        taken.for_each(|live| live.fate = Fate::TakenOver);
        fan_out.granted.insert(key, now);
        fan_out.opened += 1;
        let id = fan_out.opened;
        fan_out.live.insert(id, Live { consumer: consumer.to_owned(), shard: shard.clone(), fate: Fate::GoesOn });
        fan_out.peak = fan_out.peak.max(fan_out.live.len());
        self.changed.notify_waiters();
        Ok(MemorySubscription { stream: self.clone(), id, shard: shard.clone(), next, granted: now, told: None })
    }
}

impl FanOutApi for MemoryStream {
    fn describe_consumer<'a>(
        &'a self,
        consumer: ConsumerKey<'a>,
    ) -> BoxFuture<'a, Result<Option<ConsumerDescription>, SourceError>> {
        async move {
            self.begin(Call::DescribeConsumer, None)?;
            let is_meant = |held: &&ConsumerDescription| match consumer {
                ConsumerKey::Name(name) => held.name == name,
                ConsumerKey::Arn(arn) => held.arn == arn,
            };
            Ok(self.state().fan_out.consumers.iter().find(is_meant).cloned())
        }
        .boxed()
    }

    fn list_consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerDescription>, SourceError>> {
        async move {
            self.begin(Call::ListConsumers, None)?;
            Ok(self.consumers())
        }
        .boxed()
    }

    fn register_consumer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ConsumerDescription, SourceError>> {
        async move {
            self.begin(Call::RegisterConsumer, None)?;
            let site = CallSite { place: &self.place, operation: Call::RegisterConsumer.operation(), shard: None };
            let mut state = self.state();
            let fan_out = &mut state.fan_out;
            if fan_out.consumers.iter().any(|consumer| consumer.name == name) {
                return Err(site.answered(Some("ResourceInUseException"), 400, "Consumer already exists."));
            }
            if fan_out.consumers.len() >= CONSUMERS_MAX {
                return Err(site.answered(Some("LimitExceededException"), 400, "Too many consumers."));
            }
            fan_out.registered += 1;
            let arn = format!("{}/consumer/{name}:{}", self.arn(), 1_517_443_200 + fan_out.registered);
            let consumer = ConsumerDescription { name: name.to_owned(), arn, status: ConsumerStatus::Active };
            fan_out.consumers.push(consumer.clone());
            Ok(consumer)
        }
        .boxed()
    }

    fn deregister_consumer<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        async move {
            self.begin(Call::DeregisterConsumer, None)?;
            self.state().fan_out.consumers.retain(|consumer| consumer.arn != arn);
            self.changed.notify_waiters();
            Ok(())
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        from: &'a Position,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>> {
        async move {
            let shard = own(shard);
            self.begin(Call::Subscribe, Some(&shard))?;
            let site = CallSite { place: &self.place, operation: Call::Subscribe.operation(), shard: Some(&shard) };
            let released = self.until(|state| !state.hung.contains(&shard));
            tokio::time::timeout(timeout, released).await.map_err(|_elapsed| site.unanswered())?;
            Ok(Box::new(self.grant(consumer_arn, &shard, from)?) as Box<dyn Subscription>)
        }
        .boxed()
    }
}

struct MemorySubscription {
    stream: MemoryStream,
    id: u64,
    shard: ShardId,
    /// Index of the next record in its shard.
    next: usize,
    granted: Instant,
    /// When the last event was told.
    told: Option<Instant>,
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
                let told = self.look(Instant::now());
                if let Some(told) = told {
                    if !matches!(&told, Ok(Some(pushed)) if !pushed.is_last) {
                        self.close();
                    }
                    return told;
                }
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.due()) => {}
                }
            }
        }
        .boxed()
    }
}

impl MemorySubscription {
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
    fn look(&mut self, now: Instant) -> Option<Result<Option<Pushed>, SourceError>> {
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
        let (pushed, to) = event(&state, &self.shard, index, self.next);
        // The first event comes at once, records or not.
        let is_due = self.told.is_none_or(|told| now >= told + HEARTBEAT);
        if pushed.batches.is_empty() && !pushed.is_last && !is_due {
            return None;
        }
        (self.next, self.told) = (to, Some(now));
        *state.calls.entry(Call::Event).or_default() += 1;
        stream.changed.notify_waiters();
        Some(Ok(Some(pushed)))
    }
}

/// What follows `from` in a shard, and the index of what comes after that.
fn event(state: &State, id: &ShardId, index: usize, from: usize) -> (Pushed, usize) {
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
    };
    (pushed, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::RecordColumns;
    use crate::source::classify::SourceErrorKind;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn stream() -> (MemoryStream, ShardId, String) {
        let stream = MemoryStream::new("quakes", 1);
        let shard = stream.shards()[0].id.clone();
        let consumer = stream.register_consumer("app").await.expect("registered").arn;
        (stream, shard, consumer)
    }

    async fn subscribed() -> (MemoryStream, ShardId, Box<dyn Subscription>) {
        let (stream, shard, consumer) = stream().await;
        let sent = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE).await;
        (stream, shard, sent.expect("granted"))
    }

    fn count(pushed: &Pushed) -> usize {
        pushed.batches.iter().map(RecordColumns::len).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_subscription_beats_every_five_seconds_and_ends_after_five_minutes() {
        let (stream, _, mut subscription) = subscribed().await;
        let begun = Instant::now();
        let mut beats = Vec::new();
        while let Some(pushed) = subscription.next().await.expect("no error") {
            assert!(count(&pushed) == 0 && pushed.continuation.is_some() && !pushed.is_last);
            beats.push(begun.elapsed().as_secs());
        }
        assert_eq!(beats, (0..60).map(|beat| 5 * beat).collect::<Vec<_>>());
        assert_eq!(begun.elapsed().as_secs(), 300);
        assert_eq!(stream.subscriptions(), Subscriptions { open: 0, opened: 1, peak: 1 });
        assert_eq!(subscription.next().await.expect("over"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_wakes_at_once_and_events_are_as_large_as_told() {
        let (stream, shard, mut subscription) = subscribed().await;
        subscription.next().await.expect("no error").expect("the first");
        stream.push_at_most(2);
        let begun = Instant::now();
        let (pushed, ()) = tokio::join!(subscription.next(), async {
            (0..3).for_each(|_| drop(stream.put_to(&shard, "k", b"x")));
        });
        assert_eq!((count(&pushed.expect("no error").expect("an event")), begun.elapsed()), (2, Duration::ZERO));
        let pushed = subscription.next().await.expect("no error").expect("the rest");
        assert_eq!((count(&pushed), pushed.millis_behind_latest), (1, Some(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_scripted_ends_a_subscription_that_waits() {
        for (kind, happens) in [
            (Some(SourceErrorKind::Transient), act(&|stream, shard| stream.cut(shard))),
            (None, act(&|stream, shard| stream.end_subscriptions(shard))),
            (Some(SourceErrorKind::ConsumerGone), act(&|stream, _| stream.remove_consumer("app"))),
            (Some(SourceErrorKind::StreamGone), act(&|stream, _| stream.delete())),
            (Some(SourceErrorKind::ShardGone), act(&|stream, shard| stream.expire_shard(shard))),
            (
                Some(SourceErrorKind::InUse),
                act(&|stream, shard| {
                    stream.fail_next(Call::Event, Some(shard), "ResourceInUseException", 1);
                }),
            ),
        ] {
            let (stream, shard, mut subscription) = subscribed().await;
            subscription.next().await.expect("no error").expect("the first");
            let begun = Instant::now();
            let (told, ()) = tokio::join!(subscription.next(), async { happens(&stream, &shard) });
            assert_eq!(told.map_err(|error| error.kind).err(), kind);
            assert_eq!((begun.elapsed(), stream.subscriptions().open), (Duration::ZERO, 0));
        }
    }

    type Act = &'static dyn Fn(&MemoryStream, &ShardId);

    /// Lets the compiler see what kind of closure it is.
    fn act(act: Act) -> Act {
        act
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_subscription_says_nothing_until_released_and_a_hung_one_is_not_granted() {
        let (stream, shard, mut subscription) = subscribed().await;
        stream.stall(&shard);
        stream.put_to(&shard, "k", b"x");
        let told = tokio::time::timeout(Duration::from_secs(1_000), subscription.next()).await;
        assert!(told.is_err(), "{told:?}");
        stream.release(&shard);
        drop(subscription);
        stream.hang(&shard);
        let consumer = stream.consumers()[0].arn.clone();
        let refused = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE).await;
        assert_eq!(refused.err().expect("hung").kind, SourceErrorKind::Transient);
        stream.release(&shard);
        let granted = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE).await;
        let pushed = granted.expect("granted").next().await.expect("no error").expect("an event");
        assert_eq!(count(&pushed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_that_is_not_active_subscribes_to_nothing() {
        let (stream, shard, consumer) = stream().await;
        for status in [ConsumerStatus::Creating, ConsumerStatus::Deleting] {
            stream.set_consumer_status("app", status);
            let refused = stream.subscribe(&consumer, &shard, &Position::TrimHorizon, PATIENCE).await;
            assert_eq!(refused.err().expect("refused").kind, SourceErrorKind::InUse);
        }
    }
}
