//! What every [`FanOutApi`] owes its readers, in the way of the [contract of streams](crate::stream_contract).
//! [`crate::fan_out_contract!`] makes a test of each claim.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host::columns::RecordColumns;
use host::flow::Budget;
use host::ports::{ConsumerDescription, ConsumerKey, FanOutApi, Pushed, Subscription};
use host::source::classify::{SourceError, SourceErrorKind};
use host_core::moment::EpochMillis;
use host_core::registration::ConsumerStatus;
use host_core::shard::{Position, SequenceNumber, ShardDescription, ShardId};

use crate::deviations::{Difference, is_listed, judge};
use crate::remote::stream_name;
use crate::stream_contract::{Backend, numbered, open_shards, range, records_in, sequences, shards};

/// A service that has not granted a subscription by then does not; and one that has not told an event by then is silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// No shard of these tests takes more events than this to read to its end.
const EVENTS_MAX: usize = 200;
/// For so long a subscription keeps others of its consumer out, with a little more than the service's five seconds.
const EXCLUSIVE: Duration = Duration::from_millis(5_100);
/// How often a consumer's status is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// A stream under test that can be subscribed to.
pub trait FanOutBackend: Backend {
    /// The stream as the host sees it.
    fn fan_out(&self) -> &dyn FanOutApi;

    /// Told before anything takes time: a backend that lives on tokio's clock alone pauses it.
    fn let_time_fly(&self) {}
}

async fn start<B: FanOutBackend>(shards: u32) -> B {
    let backend = B::start(shards).await;
    backend.let_time_fly();
    backend
}

/// A stream of one shard, that shard, and an active consumer.
async fn subscribable<B: FanOutBackend>() -> (B, ShardDescription, String) {
    let backend = start::<B>(1).await;
    let shard = shards(&backend).await.remove(0);
    // Some take consumers of the same name, though of two streams, for the same one.
    let consumer = active(&backend, &stream_name("app")).await;
    (backend, shard, consumer.arn)
}

async fn active(backend: &impl FanOutBackend, name: &str) -> ConsumerDescription {
    let registered = backend.fan_out().register_consumer(name).await.expect("registered");
    loop {
        let consumer = backend.fan_out().describe_consumer(ConsumerKey::Arn(&registered.arn)).await.expect("described");
        let consumer = consumer.expect("registered");
        if consumer.status == ConsumerStatus::Active {
            return consumer;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for a subscription; of a service that refuses in an event, with its first event.
async fn ask<B: FanOutBackend>(
    backend: &B,
    consumer: &str,
    shard: &ShardId,
    from: &Position,
) -> Result<Box<dyn Subscription>, SourceError> {
    let budget = Budget::new(64 << 20);
    let mut granted = backend.fan_out().subscribe(consumer, shard, from, PATIENCE, &budget).await?;
    if !is_listed(B::NAME, Difference::RefusesInAnEvent) {
        return Ok(granted);
    }
    let first = tokio::time::timeout(PATIENCE, granted.next()).await.expect("a sign of life")?;
    Ok(Box::new(Begun { first, rest: granted }))
}

/// A subscription whose first event was looked at.
struct Begun {
    first: Option<Pushed>,
    rest: Box<dyn Subscription>,
}

impl Subscription for Begun {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>> {
        match self.first.take() {
            Some(first) => async { Ok(Some(first)) }.boxed(),
            None => self.rest.next(),
        }
    }

    fn awaits_room(&self) -> bool {
        self.rest.awaits_room()
    }

    fn silence(&self, lasted: Duration) -> SourceError {
        self.rest.silence(lasted)
    }
}

/// Subscribes, as soon as the subscription before lets it.
async fn subscribe(
    backend: &impl FanOutBackend,
    consumer: &str,
    shard: &ShardId,
    from: &Position,
) -> Box<dyn Subscription> {
    for _ in 0..3 {
        match ask(backend, consumer, shard, from).await {
            Ok(subscription) => return subscription,
            Err(error) => assert_eq!(error.kind, SourceErrorKind::InUse, "{error}"),
        }
        tokio::time::sleep(EXCLUSIVE).await;
    }
    panic!("not granted")
}

async fn event(subscription: &mut dyn Subscription) -> Pushed {
    let told = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a sign of life");
    told.expect("no error").expect("not the end")
}

/// Takes events until there are `count` records or the shard ends.
async fn take(subscription: &mut dyn Subscription, count: usize) -> Vec<Pushed> {
    let (mut events, mut records) = (Vec::new(), 0);
    while records < count && events.len() < EVENTS_MAX {
        let pushed = event(subscription).await;
        records += pushed.batches.iter().map(RecordColumns::len).sum::<usize>();
        let is_last = pushed.is_last;
        events.push(pushed);
        if is_last {
            break;
        }
    }
    events
}

fn batches(events: &[Pushed]) -> Vec<RecordColumns> {
    events.iter().flat_map(|pushed| pushed.batches.clone()).collect()
}

fn continuation(events: &[Pushed]) -> Position {
    Position::after(events.last().and_then(|pushed| pushed.continuation.clone()).expect("every event continues"))
}

/// Claims that a consumer is found under its name and its ARN until it is deregistered.
///
/// # Panics
/// It does not hold.
pub async fn a_consumer_is_found_under_its_name_and_its_arn_until_it_is_deregistered<B: FanOutBackend>() {
    let backend = start::<B>(1).await;
    let api = backend.fan_out();
    let name = &*stream_name("app");
    assert_eq!(api.describe_consumer(ConsumerKey::Name(name)).await.expect("told"), None);
    assert_eq!(api.list_consumers().await.expect("listed"), []);
    let consumer = active(&backend, name).await;
    assert_eq!(consumer.name, name);
    assert!(consumer.arn.contains(&format!(":stream/{}/consumer/{name}", backend.stream())), "{consumer:?}");
    for key in [ConsumerKey::Name(name), ConsumerKey::Arn(&consumer.arn)] {
        assert_eq!(api.describe_consumer(key).await.expect("told"), Some(consumer.clone()));
    }
    assert_eq!(api.list_consumers().await.expect("listed"), std::slice::from_ref(&consumer));
    let error = api.register_consumer(name).await.expect_err("there is one of this name");
    assert_eq!(error.kind, SourceErrorKind::InUse, "{error}");
    api.deregister_consumer(&consumer.arn).await.expect("deregistered");
    while let Some(leaving) = api.describe_consumer(ConsumerKey::Name(name)).await.expect("told") {
        assert_eq!(leaving.status, ConsumerStatus::Deleting);
        tokio::time::sleep(LOOK).await;
    }
    api.deregister_consumer(&consumer.arn).await.expect("gone already");
}

/// Claims that everything comes from the horizon on in order and whole.
///
/// # Panics
/// It does not hold.
pub async fn everything_comes_from_the_horizon_on_in_order_and_whole<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let mut written = numbered(50, 300);
    written.push(("grüße 🌋".to_owned(), (0..=255).collect()));
    backend.put(range(&shard), &written).await;
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let read = batches(&take(&mut *subscription, written.len()).await);
    assert_eq!(records_in(&read), written);
    assert!(sequences(&read).windows(2).all(|pair| pair[0] < pair[1]));
}

/// Claims that a write reaches a subscription that waits.
///
/// # Panics
/// It does not hold.
pub async fn a_write_reaches_a_subscription_that_waits<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    for round in 1..4 {
        let written = numbered(round, 8);
        let (taken, ()) = tokio::join!(take(&mut *subscription, round), backend.put(range(&shard), &written));
        assert_eq!(records_in(&batches(&taken)), written);
    }
}

/// Claims that a continuation goes on without gap or repeat.
///
/// # Panics
/// It does not hold.
pub async fn a_continuation_goes_on_without_gap_or_repeat<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    // Of a shard that was never written to.
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let mut from = continuation(&[event(&mut *subscription).await]);
    for round in 1..4 {
        drop(subscription);
        let written = numbered(3 * round, 8);
        backend.put(range(&shard), &written).await;
        subscription = subscribe(&backend, &consumer, &shard.id, &from).await;
        let taken = take(&mut *subscription, written.len()).await;
        assert_eq!(records_in(&batches(&taken)), written, "round {round}");
        // Of an event with records in one round, of one without in the next.
        from = continuation(&taken);
        if round == 2 {
            let silent = event(&mut *subscription).await;
            assert!(silent.batches.is_empty(), "{silent:?}");
            from = continuation(&[silent]);
        }
    }
}

/// Claims that a subscription after a record begins with the next.
///
/// # Panics
/// It does not hold.
pub async fn a_subscription_after_a_record_begins_with_the_next<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let written = numbered(20, 8);
    backend.put(range(&shard), &written).await;
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let first = sequences(&batches(&take(&mut *subscription, 20).await));
    for index in [0, 9, 18] {
        drop(subscription);
        let from = Position::after(first[index].clone());
        subscription = subscribe(&backend, &consumer, &shard.id, &from).await;
        let rest = take(&mut *subscription, 19 - index).await;
        assert_eq!(records_in(&batches(&rest)), written[index + 1..]);
    }
}

/// Claims that a subscription at a timestamp misses no record that arrived then or later.
///
/// # Panics
/// It does not hold.
pub async fn a_subscription_at_a_timestamp_misses_no_record_that_arrived_then_or_later<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    backend.put(range(&shard), &numbered(20, 8)).await;
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let all = batches(&take(&mut *subscription, 20).await);
    let arrivals: Vec<i64> = all.iter().flat_map(|batch| batch.arrival.clone()).collect();
    let numbers: Vec<SequenceNumber> = sequences(&all);
    for at in [arrivals[0] - 5_000, arrivals[0], arrivals[10], arrivals[19]] {
        drop(subscription);
        let first = arrivals.iter().position(|arrival| *arrival >= at).expect("the last one did");
        subscription = subscribe(&backend, &consumer, &shard.id, &Position::AtTimestamp(EpochMillis(at))).await;
        let mut found = Vec::new();
        while found.last() != numbers.last() {
            found.extend(sequences(&event(&mut *subscription).await.batches));
        }
        assert!(found.ends_with(&numbers[first..]), "{at}: {found:?}");
    }
}

/// Claims that a closed shard ends once, with its last record or after it.
///
/// # Panics
/// It does not hold.
pub async fn a_closed_shard_ends_once_with_its_last_record_or_after_it<B: FanOutBackend>() {
    let (backend, parent, consumer) = subscribable::<B>().await;
    let written = numbered(10, 8);
    backend.put(range(&parent), &written).await;
    let mut subscription = subscribe(&backend, &consumer, &parent.id, &Position::TrimHorizon).await;
    let mut events = take(&mut *subscription, 4).await;
    backend.split(&parent).await;
    if !events.last().is_some_and(|pushed| pushed.is_last) {
        events.extend(take(&mut *subscription, usize::MAX).await);
    }
    assert_eq!(records_in(&batches(&events)), written);
    assert!(events.last().is_some_and(|pushed| pushed.is_last), "{events:?}");
    assert!(events[..events.len() - 1].iter().all(|pushed| !pushed.is_last && pushed.children.is_empty()));
    let after = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("an answer").expect("no error");
    assert!(after.is_none());

    let mut children: Vec<_> = events.last().expect("events").children.iter().map(|child| child.id.clone()).collect();
    children.sort();
    let mut real: Vec<_> = open_shards(&backend).await.into_iter().map(|child| child.id).collect();
    real.sort();
    assert_eq!(children, real);

    // Whoever subscribes to what is closed and read already is told the same.
    drop(subscription);
    let last = sequences(&batches(&events)).pop().expect("ten records");
    let mut again = subscribe(&backend, &consumer, &parent.id, &Position::after(last)).await;
    let events = take(&mut *again, usize::MAX).await;
    assert_eq!((batches(&events).len(), events.last().map(|pushed| pushed.is_last)), (0, Some(true)));
}

/// Claims that a subscription without a consumer or a shard is refused as such.
///
/// # Panics
/// It does not hold.
pub async fn a_subscription_without_a_consumer_or_a_shard_is_refused_as_such<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let missing = consumer.replace("/consumer/app", "/consumer/nobody");
    let (horizon, budget) = (Position::TrimHorizon, Budget::new(64 << 20));
    let sent = backend.fan_out().subscribe(&missing, &shard.id, &horizon, PATIENCE, &budget).await.map(drop);
    judge(B::NAME, Difference::RefusesInAnEvent, sent.is_ok(), &sent);
    let error = ask(&backend, &missing, &shard.id, &horizon).await.err().expect("refused");
    assert_eq!(error.kind, SourceErrorKind::ConsumerGone, "{error}");
    let sent = ask(&backend, &consumer, &ShardId::new("shardId-000000000099"), &horizon).await.map(drop);
    judge(B::NAME, Difference::SubscribesToNoShard, sent.is_ok(), &sent);
    if let Err(error) = sent {
        assert_eq!(error.kind, SourceErrorKind::ShardGone, "{error}");
    }
}

/// Claims that what is dropped can be subscribed to again, also by another consumer.
///
/// # Panics
/// It does not hold.
pub async fn what_is_dropped_can_be_subscribed_to_again<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let other = active(&backend, &stream_name("other")).await;
    let written = numbered(5, 8);
    backend.put(range(&shard), &written).await;
    let mut beside = subscribe(&backend, &other.arn, &shard.id, &Position::TrimHorizon).await;
    for _ in 0..3 {
        let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
        assert_eq!(records_in(&batches(&take(&mut *subscription, 5).await)), written);
    }
    assert_eq!(records_in(&batches(&take(&mut *beside, 5).await)), written);
}

/// Claims that a second subscription is refused at first and takes over later.
///
/// # Panics
/// It does not hold.
pub async fn a_second_subscription_is_refused_at_first_and_takes_over_later<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let mut first = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let second = ask(&backend, &consumer, &shard.id, &Position::TrimHorizon).await.map(drop);
    judge(B::NAME, Difference::ServesTwoSubscriptions, second.is_ok(), &second);
    let Err(error) = second else { return };
    assert_eq!(error.kind, SourceErrorKind::InUse, "{error}");
    tokio::time::sleep(EXCLUSIVE).await;
    let second = ask(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let refusal = second.as_ref().err().map(|error| error.kind);
    judge(B::NAME, Difference::NeverTakesOver, refusal == Some(SourceErrorKind::InUse), &refusal);
    let Ok(mut second) = second else { return };
    let end = loop {
        match tokio::time::timeout(PATIENCE, first.next()).await.expect("an end") {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error.kind),
        }
    };
    assert!(matches!(end, None | Some(SourceErrorKind::InUse)), "{end:?}");
    backend.put(range(&shard), &numbered(1, 8)).await;
    assert_eq!(records_in(&batches(&take(&mut *second, 1).await)), numbered(1, 8));
}

/// Claims that nothing is lost with a future that is dropped.
///
/// # Panics
/// It does not hold.
pub async fn nothing_is_lost_with_a_future_that_is_dropped<B: FanOutBackend>() {
    let (backend, shard, consumer) = subscribable::<B>().await;
    let mut subscription = subscribe(&backend, &consumer, &shard.id, &Position::TrimHorizon).await;
    let written = numbered(300, 1_000);
    let mut read = Vec::new();
    for part in written.chunks(30) {
        backend.put(range(&shard), part).await;
        // Asked once and let go, now and then with success.
        for _ in 0..20 {
            if let Some(told) = subscription.next().now_or_never() {
                read.extend(told.expect("no error").expect("not the end").batches);
            }
            tokio::task::yield_now().await;
        }
    }
    while records_in(&read).len() < written.len() {
        read.extend(event(&mut *subscription).await.batches);
    }
    assert_eq!(records_in(&read), written);
}

/// Makes a test of one claim each, in a module that is named after the backend.
#[macro_export]
macro_rules! fan_out_contract_claims {
    ($module:ident, $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test]
            async fn $claim() {
                $crate::fan_out_contract::$claim::<$backend>().await;
            })+
        }
    };
}

/// The contract as tests, for services that forget or never end a shard that splits.
#[macro_export]
macro_rules! fan_out_contract_of_fixed_shards {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $($crate::fan_out_contract_claims! { $module, $backend:
            a_consumer_is_found_under_its_name_and_its_arn_until_it_is_deregistered,
            everything_comes_from_the_horizon_on_in_order_and_whole,
            a_write_reaches_a_subscription_that_waits,
            a_continuation_goes_on_without_gap_or_repeat,
            a_subscription_after_a_record_begins_with_the_next,
            a_subscription_at_a_timestamp_misses_no_record_that_arrived_then_or_later,
            a_subscription_without_a_consumer_or_a_shard_is_refused_as_such,
            what_is_dropped_can_be_subscribed_to_again,
            a_second_subscription_is_refused_at_first_and_takes_over_later,
            nothing_is_lost_with_a_future_that_is_dropped,
        })+
    };
}

/// The whole contract as tests: `fan_out_contract! { in_memory = super::Memory }`.
#[macro_export]
macro_rules! fan_out_contract {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $crate::fan_out_contract_of_fixed_shards! { $($module = $backend),+ }
        mod ends_of_shards {
            use super::*;
            $($crate::fan_out_contract_claims! { $module, $backend:
                a_closed_shard_ends_once_with_its_last_record_or_after_it,
            })+
        }
    };
}
