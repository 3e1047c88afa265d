//! What AWS documents of enhanced fan-out, asked for with the SDK's own client, over HTTP/1.1 and over HTTP/2.

mod consumers;
mod subscriptions;
mod endings;
mod mishaps;
mod transport;

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream};
use tests::simulated::{Clock, Limits, Setup, SimulatedAws};

const STREAM: &str = "quakes";
const FIRST: &str = "shardId-000000000000";
const CONSUMER: &str = "reader";
/// A full second, so that whole seconds mean what they say.
const EPOCH: i64 = 1_800_000_000_000;
/// Far beyond what anything needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Both protocols, as numbers of a fan's clients.
const BOTH: [usize; 2] = [0, 1];

/// A stream with a consumer, at a time that stands still, at any rate; and a client for each protocol.
struct Fan {
    aws: SimulatedAws,
    /// Over HTTP/1.1, and over HTTP/2.
    clients: [Client; 2],
    /// The consumer's ARN.
    consumer: String,
}

impl Fan {
    async fn new(shards: u32) -> Self {
        let clock = Clock::frozen_at(EPOCH);
        let aws = SimulatedAws::start_with(Setup { clock, limits: Limits::any_rate(), seed: 1 }).await;
        aws.kinesis().create(STREAM, shards);
        let consumer = aws.kinesis().register_consumer(STREAM, CONSUMER);
        let clients = [aws.client().await, aws.h2c_client().await];
        Self { aws, clients, consumer }
    }

    fn put(&self, text: impl ToString) -> String {
        self.aws.kinesis().put_to(STREAM, FIRST, "key", text.to_string()).sequence.to_string()
    }

    fn limit(&self, change: impl FnOnce(&mut Limits)) {
        let mut limits = Limits::any_rate();
        change(&mut limits);
        self.aws.kinesis().limit(limits);
    }

    fn advance(&self, millis: u64) {
        self.aws.clock().advance(Duration::from_millis(millis));
    }

    /// Subscribes to the first shard.
    async fn subscribe(&self, client: &Client, position: StartingPosition) -> Feed {
        try_subscribe(client, &self.consumer, FIRST, position).await.expect("a subscription")
    }

    /// The code and message of the refusal to subscribe to the first shard.
    async fn refused(&self, client: &Client, position: StartingPosition) -> (String, String) {
        let refusal = try_subscribe(client, &self.consumer, FIRST, position).await.err().expect("a refusal");
        (refusal.code().unwrap_or_default().to_owned(), refusal.message().unwrap_or_default().to_owned())
    }
}

async fn try_subscribe(
    client: &Client,
    consumer: &str,
    shard: &str,
    position: StartingPosition,
) -> Result<Feed, SdkError<SubscribeToShardError>> {
    let request = client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard).starting_position(position);
    tokio::time::timeout(PATIENCE, request.send()).await.expect("an answer").map(Feed)
}

fn at(kind: ShardIteratorType, sequence: Option<&str>) -> StartingPosition {
    let position = StartingPosition::builder().r#type(kind).set_sequence_number(sequence.map(str::to_owned));
    position.build().expect("a type is set")
}

fn horizon() -> StartingPosition {
    at(ShardIteratorType::TrimHorizon, None)
}

fn latest() -> StartingPosition {
    at(ShardIteratorType::Latest, None)
}

fn after(sequence: &str) -> StartingPosition {
    at(ShardIteratorType::AfterSequenceNumber, Some(sequence))
}

/// The events of one subscription.
struct Feed(SubscribeToShardOutput);

impl Feed {
    /// The next event, the end, or what went wrong: the code of an exception, or the kind of failure.
    async fn next(&mut self) -> Result<Option<SubscribeToShardEvent>, String> {
        match tokio::time::timeout(PATIENCE, self.0.event_stream.recv()).await.expect("something comes") {
            Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
            Ok(Some(other)) => panic!("an unknown event {other:?}"),
            Ok(None) => Ok(None),
            Err(SdkError::ServiceError(error)) => Err(error.err().code().unwrap_or_default().to_owned()),
            Err(SdkError::ResponseError(_)) => Err("response".to_owned()),
            Err(SdkError::DispatchFailure(_)) => Err("dispatch".to_owned()),
            Err(other) => panic!("an unexpected failure {other:?}"),
        }
    }

    async fn event(&mut self) -> SubscribeToShardEvent {
        self.next().await.expect("no failure").expect("an event")
    }

    async fn texts(&mut self) -> Vec<String> {
        texts(&self.event().await)
    }

    async fn expect_end(&mut self) {
        assert_eq!(self.next().await, Ok(None));
    }

    async fn failure(&mut self) -> String {
        self.next().await.expect_err("a failure")
    }
}

fn texts(event: &SubscribeToShardEvent) -> Vec<String> {
    event.records().iter().map(|record| String::from_utf8_lossy(record.data().as_ref()).into_owned()).collect()
}
