//! What the port of enhanced fan-out does not show, asked of each service with the SDK's own client: how a subscription to
//! a shard ends that closes.

use std::time::Duration;

use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use host::ports::StreamApi as _;
use tests::deviations::{Difference, judge};
use tests::remote::{Provider, stream_name};
use tests::service::Service;

use crate::on;

/// How long a subscription may be silent, and a consumer may take to become active.
const PATIENCE: Duration = Duration::from_secs(20);

/// Registers a consumer, which no other stream has, and waits until it is active.
async fn register(service: &Service, stream_arn: &str) -> String {
    let client = &service.client;
    let request = client.register_stream_consumer().stream_arn(stream_arn).consumer_name(stream_name("reader"));
    let arn = request.send().await.expect("registered").consumer.expect("a consumer").consumer_arn;
    let active = async {
        loop {
            let described = client.describe_stream_consumer().consumer_arn(&arn).send().await.expect("described");
            if described.consumer_description.expect("a description").consumer_status == ConsumerStatus::Active {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, active).await.expect("an active consumer");
    arn
}

/// The last event tells the children, and nothing to go on with.
async fn a_subscription_ends_with_the_children_of_its_shard<P: Provider>() {
    let (service, _held) = P::serve().await;
    let name = stream_name("pushed");
    service.create(&name, 1).await;
    let stream = service.stream(&name).await;
    let shard = stream.list_shards(None).await.expect("a listing").remove(0);
    let consumer = register(&service, &stream.describe().await.expect("a description").arn).await;
    service.put(&name, Some(0), &[("key".to_owned(), b"0".to_vec())]).await;
    let horizon = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().expect("the type is set");
    let request = service.client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard.id.as_str());
    let mut events = request.starting_position(horizon).send().await.expect("granted").event_stream;
    let mut next = async || -> Option<SubscribeToShardEvent> {
        match tokio::time::timeout(PATIENCE, events.recv()).await.expect("no silence").expect("no error") {
            Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => Some(event),
            Some(other) => panic!("an unknown event: {other:?}"),
            None => None,
        }
    };
    while next().await.expect("not the end").records.is_empty() {}
    service.halve(&name, &shard).await;
    let (mut last, mut count) = (None, 0);
    // One event can be under way when the shard closes.
    while count < 4 {
        let Some(event) = next().await else { break };
        last = Some(event);
        count += 1;
    }
    judge(P::NAME, Difference::PushesPastTheEnd, count == 4, &last);
    if count == 4 {
        return;
    }
    let last = last.expect("an event before the end");
    let mut children: Vec<_> = last.child_shards().iter().map(|child| child.shard_id.clone()).collect();
    children.sort();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(last.child_shards().iter().all(|child| child.parent_shards == [shard.id.as_str()]), "{last:?}");
    let continues = !last.continuation_sequence_number.is_empty();
    judge(P::NAME, Difference::ContinuesPastTheEnd, continues, &last);
}

on! { embedded = crate::Embedded: a_subscription_ends_with_the_children_of_its_shard }
on! { kinesis_local = crate::npm_server::KinesisLocal: a_subscription_ends_with_the_children_of_its_shard }
on! { ministack = crate::pypi_server::Ministack: a_subscription_ends_with_the_children_of_its_shard }
