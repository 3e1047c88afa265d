//! Consumers and subscriptions of a stream in memory.
//!
//! Everything that takes time takes it on tokio's clock: what a silent subscription says every five seconds, its end after
//! five minutes, and the five seconds in which a subscription keeps others out. So a test that pauses the clock sees all
//! of it at once.

mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::registration::ConsumerStatus;
use host_core::shard::{Position, ShardId};
use tokio::time::Instant;

use self::subscription::MemorySubscription;
use super::{Call, MemoryStream, own};
use crate::flow::Budget;
use crate::ports::{ConsumerDescription, ConsumerKey, FanOutApi, Subscription};
use crate::source::classify::{CallSite, SourceError};

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

    fn grant(
        &self,
        consumer: &str,
        shard: &ShardId,
        from: &Position,
        budget: &Budget,
    ) -> Result<MemorySubscription, SourceError> {
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
        Ok(MemorySubscription {
            stream: self.clone(),
            id,
            shard: shard.clone(),
            next,
            granted: now,
            told: None,
            budget: budget.clone(),
            awaits_room: false,
        })
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
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>> {
        async move {
            let shard = own(shard);
            self.begin(Call::Subscribe, Some(&shard))?;
            let site = CallSite { place: &self.place, operation: Call::Subscribe.operation(), shard: Some(&shard) };
            let released = self.until(|state| !state.hung.contains(&shard));
            tokio::time::timeout(timeout, released).await.map_err(|_elapsed| site.unanswered())?;
            Ok(Box::new(self.grant(consumer_arn, &shard, from, budget)?) as Box<dyn Subscription>)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
