//! What a reader by enhanced fan-out relies on, asked of each service with the SDK's own client.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as StreamError;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use host::ports::StreamApi as _;
use host_core::shard::ShardDescription;
use tests::deviations::{Difference, judge};
use tests::remote::{Provider, stream_name};
use tests::service::Service;

use crate::on;

/// How long a subscription may be silent, and a consumer may take to become active.
const PATIENCE: Duration = Duration::from_secs(20);
/// For this long after a call that was granted, Kinesis refuses another one for the same consumer and shard.
const REFUSED: Duration = Duration::from_secs(5);
/// What ferrokinesis and kinesis-local put into one event at most; they count records, where Kinesis counts bytes.
const EVENT_RECORDS_MAX: usize = 10_000;
/// A shard that no stream of these tests has.
const NO_SHARD: &str = "shardId-000000000099";

/// A stream of one shard and a consumer of it.
struct Stream {
    service: Service,
    name: String,
    arn: String,
    shard: ShardDescription,
    /// The name and the ARN of its first consumer.
    consumer: (String, String),
}

/// What a subscription says next.
#[derive(Debug)]
enum Next {
    Event(SubscribeToShardEvent),
    /// It ended in good order.
    End,
    /// `ResourceNotFoundException`.
    NotFound,
    /// `ResourceInUseException`.
    InUse,
}

fn numbered(from: usize, count: usize) -> Vec<(String, Vec<u8>)> {
    (from..from + count).map(|number| ("key".to_owned(), number.to_string().into_bytes())).collect()
}

fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the year 292 billion")
}

fn position(kind: ShardIteratorType) -> StartingPosition {
    StartingPosition::builder().r#type(kind).build().expect("the type is set")
}

fn after(sequence: &str) -> StartingPosition {
    let builder = StartingPosition::builder().r#type(ShardIteratorType::AfterSequenceNumber);
    builder.sequence_number(sequence).build().expect("the type is set")
}

fn at(seconds: i64) -> StartingPosition {
    let builder = StartingPosition::builder().r#type(ShardIteratorType::AtTimestamp);
    builder.timestamp(DateTime::from_secs(seconds)).build().expect("the type is set")
}

/// The numbers of the records, in order.
fn numbers(event: &SubscribeToShardEvent) -> Vec<usize> {
    let number = |data: &[u8]| std::str::from_utf8(data).ok().and_then(|text| text.parse().ok()).expect("a number");
    event.records.iter().map(|record| number(record.data.as_ref())).collect()
}

/// The SDK names an error that comes as an event by its variant only: it has no code.
async fn next(subscription: &mut SubscribeToShardOutput) -> Next {
    let told = tokio::time::timeout(PATIENCE, subscription.event_stream.recv()).await.expect("no silence");
    match told.map_err(|error| error.into_service_error()) {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Next::Event(event),
        Ok(Some(other)) => panic!("an unknown event: {other:?}"),
        Ok(None) => Next::End,
        Err(StreamError::ResourceNotFoundException(_)) => Next::NotFound,
        Err(StreamError::ResourceInUseException(_)) => Next::InUse,
        Err(error) => panic!("an unknown error: {error:?}"),
    }
}

/// Its next event.
async fn event(subscription: &mut SubscribeToShardOutput) -> SubscribeToShardEvent {
    match next(subscription).await {
        Next::Event(event) => event,
        other @ (Next::End | Next::NotFound | Next::InUse) => panic!("no event: {other:?}"),
    }
}

/// Its next event that has records.
async fn records(subscription: &mut SubscribeToShardOutput) -> SubscribeToShardEvent {
    loop {
        let event = event(subscription).await;
        if !event.records.is_empty() {
            return event;
        }
    }
}

impl Stream {
    async fn start<P: Provider>() -> (Self, P::Held) {
        let (service, held) = P::serve().await;
        let name = stream_name("pushed");
        service.create(&name, 1).await;
        let stream = service.stream(&name).await;
        let shard = stream.list_shards(None).await.expect("a listing").remove(0);
        let arn = stream.describe().await.expect("a description").arn;
        // kinesis-local takes consumers of the same name, though of two streams, for the same one when one of them goes.
        let consumer = (stream_name("first"), String::new());
        let mut stream = Self { service, name, arn, shard, consumer };
        stream.consumer.1 = stream.register(&stream.consumer.0).await;
        (stream, held)
    }

    async fn put(&self, from: usize, count: usize) {
        self.service.put(&self.name, Some(0), &numbered(from, count)).await;
    }

    /// Registers a consumer and waits until it is active.
    async fn register(&self, name: &str) -> String {
        let client = &self.service.client;
        let request = client.register_stream_consumer().stream_arn(&self.arn).consumer_name(name);
        let arn = request.send().await.expect("registered").consumer.expect("a consumer").consumer_arn;
        let active = async {
            loop {
                let described = client.describe_stream_consumer().consumer_arn(&arn).send().await.expect("described");
                let description = described.consumer_description.expect("a description");
                assert_eq!((&description.consumer_arn, description.consumer_name.as_str()), (&arn, name));
                if description.consumer_status == ConsumerStatus::Active {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, active).await.expect("an active consumer");
        arn
    }

    /// The names of all consumers, whatever becomes of them.
    async fn consumers(&self) -> Vec<String> {
        let request = self.service.client.list_stream_consumers().stream_arn(&self.arn);
        let pages = request.into_paginator().send().try_collect().await.expect("a listing");
        let mut names: Vec<_> =
            pages.iter().flat_map(|page| page.consumers()).map(|c| c.consumer_name.clone()).collect();
        names.sort();
        names
    }

    /// A subscription, or why the service refuses in its answer.
    async fn subscribe(
        &self,
        consumer: &str,
        shard: &str,
        from: StartingPosition,
    ) -> Result<SubscribeToShardOutput, Next> {
        let request = self.service.client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
        match request.starting_position(from).send().await.map_err(|error| error.into_service_error()) {
            Ok(subscription) => Ok(subscription),
            Err(SubscribeToShardError::ResourceNotFoundException(_)) => Err(Next::NotFound),
            Err(SubscribeToShardError::ResourceInUseException(_)) => Err(Next::InUse),
            Err(error) => panic!("an unknown error: {error:?}"),
        }
    }

    /// What is said first, be it in the answer or as an event, and whether it is the answer.
    async fn first(&self, consumer: &str, shard: &str) -> (Next, bool) {
        match self.subscribe(consumer, shard, position(ShardIteratorType::TrimHorizon)).await {
            Ok(mut subscription) => (next(&mut subscription).await, false),
            Err(refusal) => (refusal, true),
        }
    }

    /// A subscription of the first consumer to all of the shard.
    async fn all_of_first(&self) -> SubscribeToShardOutput {
        let from = position(ShardIteratorType::TrimHorizon);
        self.subscribe(&self.consumer.1, self.shard.id.as_str(), from).await.expect("granted")
    }

    /// A subscription of a new consumer, since nobody waits for the end of another one.
    async fn subscribed(&self, from: StartingPosition) -> SubscribeToShardOutput {
        let consumer = self.register(&stream_name("consumer")).await;
        self.subscribe(&consumer, self.shard.id.as_str(), from).await.expect("granted")
    }

    /// A subscription to all of the shard.
    async fn all(&self) -> SubscribeToShardOutput {
        self.subscribed(position(ShardIteratorType::TrimHorizon)).await
    }
}

/// A name is registered once, is found by itself and by its ARN, is listed, and is gone when it is deregistered.
async fn a_consumer_is_found_from_when_it_is_registered_until_it_is_deregistered<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    let client = &stream.service.client;
    let (first, arn) = &stream.consumer;
    let second = stream_name("second");
    let again = client.register_stream_consumer().stream_arn(&stream.arn).consumer_name(first).send().await;
    assert!(again.expect_err("registered before").into_service_error().is_resource_in_use_exception());
    let describe = |name: &str| client.describe_stream_consumer().stream_arn(&stream.arn).consumer_name(name).send();
    let found = describe(first).await.expect("described").consumer_description.expect("a description");
    assert_eq!(&found.consumer_arn, arn);
    let unknown = describe(&second).await.expect_err("never registered").into_service_error();
    assert!(unknown.is_resource_not_found_exception(), "{unknown:?}");
    stream.register(&second).await;
    assert_eq!(stream.consumers().await, [first.clone(), second.clone()]);

    let deregister = || client.deregister_stream_consumer().consumer_arn(arn).send();
    deregister().await.expect("deregistered");
    let gone = async {
        loop {
            match client.describe_stream_consumer().consumer_arn(arn).send().await {
                Ok(described) => {
                    let status = described.consumer_description.expect("a description").consumer_status;
                    assert_eq!(status, ConsumerStatus::Deleting);
                }
                Err(error) => return error.into_service_error(),
            }
        }
    };
    let gone = tokio::time::timeout(PATIENCE, gone).await.expect("gone in the end");
    assert!(gone.is_resource_not_found_exception(), "{gone:?}");
    let again = deregister().await.expect_err("gone").into_service_error();
    assert!(again.is_resource_not_found_exception(), "{again:?}");
    assert_eq!(stream.consumers().await, [second]);
    let (told, _) = stream.first(arn, stream.shard.id.as_str()).await;
    assert!(matches!(told, Next::NotFound), "{told:?}");
}

/// From the oldest record, after a record, after what an event tells for going on, at a time past the last record.
async fn a_subscription_begins_where_it_is_told<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    let mut empty = stream.all().await;
    let before_all = event(&mut empty).await.continuation_sequence_number;
    stream.put(0, 5).await;
    let all = records(&mut stream.all().await).await;
    assert_eq!(numbers(&all), [0, 1, 2, 3, 4]);
    assert!(all.records.windows(2).all(|pair| pair[0].sequence_number < pair[1].sequence_number));
    assert_eq!(numbers(&records(&mut stream.subscribed(after(&before_all)).await).await), [0, 1, 2, 3, 4]);

    // No event tells that a second of the wall clock has passed, and no service takes a timestamp of the future.
    let written = wall_clock();
    while wall_clock() < written + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = &all.records[4].sequence_number;
    let mut tips = [
        stream.subscribed(after(last)).await,
        stream.subscribed(after(&all.continuation_sequence_number)).await,
        stream.subscribed(at(written + 1)).await,
    ];
    let mut middle = stream.subscribed(after(&all.records[2].sequence_number)).await;
    let mut found = vec![numbers(&records(&mut middle).await)];
    stream.put(5, 2).await;
    for subscription in &mut tips {
        found.push(numbers(&records(subscription).await));
    }
    let oldest = found.iter().any(|numbers| numbers[0] == 0);
    judge(P::NAME, Difference::SubscribesFromTheOldest, oldest, &found);
    if !oldest {
        assert_eq!(found, [vec![3, 4], vec![5, 6], vec![5, 6], vec![5, 6]]);
    }
}

/// Without records there are events, and each tells where to go on.
async fn a_subscription_tells_where_to_go_on_while_nothing_arrives<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    stream.put(0, 3).await;
    let mut subscription = stream.all().await;
    let last = records(&mut subscription).await;
    for _ in 0..2 {
        let event = event(&mut subscription).await;
        assert!(event.records.is_empty() && event.child_shards().is_empty(), "{event:?}");
        assert_eq!(event.continuation_sequence_number, last.continuation_sequence_number);
    }
    stream.put(3, 1).await;
    assert_eq!(numbers(&records(&mut subscription).await), [3]);
}

/// The last event tells the children, and nothing to go on with.
async fn a_subscription_ends_with_the_children_of_its_shard<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    stream.put(0, 3).await;
    let mut subscription = stream.all().await;
    assert_eq!(numbers(&records(&mut subscription).await), [0, 1, 2]);
    stream.service.halve(&stream.name, &stream.shard).await;
    let (mut last, mut events) = (None, 0);
    // One event can be under way when the shard closes.
    while events < 4 {
        match next(&mut subscription).await {
            Next::Event(event) => last = Some(event),
            Next::End => break,
            other @ (Next::NotFound | Next::InUse) => panic!("no end: {other:?}"),
        }
        events += 1;
    }
    judge(P::NAME, Difference::PushesPastTheEnd, events == 4, &last);
    if events == 4 {
        return;
    }
    let last = last.expect("an event before the end");
    let mut children: Vec<_> = last.child_shards().iter().map(|child| child.shard_id.clone()).collect();
    children.sort();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(last.child_shards().iter().all(|child| child.parent_shards == [stream.shard.id.as_str()]), "{last:?}");
    let continues = !last.continuation_sequence_number.is_empty();
    judge(P::NAME, Difference::ContinuesPastTheEnd, continues, &last);
}

/// An event that tells children has the last records.
async fn children_are_told_with_the_last_records<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    let count = EVENT_RECORDS_MAX + 500;
    stream.put(0, count).await;
    stream.service.halve(&stream.name, &stream.shard).await;
    let mut subscription = stream.all().await;
    let mut found = Vec::new();
    let mut told_after = None;
    while let Next::Event(event) = next(&mut subscription).await {
        found.extend(numbers(&event));
        if !event.child_shards().is_empty() && told_after.is_none() {
            told_after = Some(found.len());
        }
    }
    assert!(found.iter().copied().eq(0..count), "{} of {count} records", found.len());
    judge(P::NAME, Difference::TellsChildrenEarly, told_after != Some(count), &told_after);
}

/// Within five seconds a second call is refused; then it takes over, and the older subscription ends.
async fn a_second_subscription_is_refused_at_first_and_takes_over_later<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    stream.put(0, 1).await;
    let begun = Instant::now();
    let mut first = stream.all_of_first().await;
    assert_eq!(numbers(&records(&mut first).await), [0]);
    let (second, _) = stream.first(&stream.consumer.1, stream.shard.id.as_str()).await;
    judge(P::NAME, Difference::ServesTwoSubscriptions, matches!(second, Next::Event(_)), &second);
    if matches!(second, Next::Event(_)) {
        return;
    }
    assert!(matches!(second, Next::InUse), "{second:?}");
    while begun.elapsed() <= REFUSED {
        event(&mut first).await;
    }
    let mut second = stream.all_of_first().await;
    let told = next(&mut second).await;
    judge(P::NAME, Difference::NeverTakesOver, matches!(told, Next::InUse), &told);
    if matches!(told, Next::InUse) {
        return;
    }
    assert!(matches!(&told, Next::Event(event) if numbers(event) == [0]), "{told:?}");
    let ended = loop {
        match next(&mut first).await {
            Next::Event(_) => {}
            ended @ (Next::End | Next::InUse | Next::NotFound) => break ended,
        }
    };
    assert!(matches!(ended, Next::End | Next::InUse), "{ended:?}");
    stream.put(1, 1).await;
    assert_eq!(numbers(&records(&mut second).await), [1]);
}

/// `ResourceNotFoundException`, whichever of the two does not exist.
async fn what_does_not_exist_cannot_be_subscribed_to<P: Provider>() {
    let (stream, _held) = Stream::start::<P>().await;
    let nobody = format!("{}/consumer/nobody:1700000000", stream.arn);
    let (told, answered) = stream.first(&nobody, stream.shard.id.as_str()).await;
    assert!(matches!(told, Next::NotFound), "{told:?}");
    judge(P::NAME, Difference::RefusesInAnEvent, !answered, &told);
    let (told, _) = stream.first(&stream.consumer.1, NO_SHARD).await;
    judge(P::NAME, Difference::SubscribesToNoShard, matches!(told, Next::Event(_)), &told);
    if !matches!(told, Next::Event(_)) {
        assert!(matches!(told, Next::NotFound), "{told:?}");
    }
}

/// The same on each backend that has enhanced fan-out.
macro_rules! on_every_backend_that_pushes {
    ($($claim:ident),+ $(,)?) => {
        on! { embedded = crate::Embedded: $($claim),+, children_are_told_with_the_last_records }
        on! { kinesis_local = crate::npm_server::KinesisLocal: $($claim),+ }
        on! { ministack = crate::pypi_server::Ministack: $($claim),+ }
    };
}

on_every_backend_that_pushes! {
    a_consumer_is_found_from_when_it_is_registered_until_it_is_deregistered,
    a_subscription_begins_where_it_is_told,
    a_subscription_tells_where_to_go_on_while_nothing_arrives,
    a_subscription_ends_with_the_children_of_its_shard,
    a_second_subscription_is_refused_at_first_and_takes_over_later,
    what_does_not_exist_cannot_be_subscribed_to,
}
