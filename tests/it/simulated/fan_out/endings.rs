//! How a subscription ends, and who may have one.

use std::time::{Duration, Instant};

use tests::simulated::{Children, ConsumerStatus, Encryption, LastPage, Limits, TakeOver, Wait};

use super::{BOTH, CONSUMER, EPOCH, FIRST, Fan, STREAM, after, horizon, latest, texts, try_subscribe};

#[tokio::test]
async fn a_subscription_ends_in_order_after_five_minutes_and_the_next_goes_on_where_it_was() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        let client = &fan.clients[client];
        let mut feed = fan.subscribe(client, horizon()).await;
        fan.put(0);
        assert_eq!(feed.texts().await, ["0"]);
        fan.advance(299_999);
        let reached = feed.event().await.continuation_sequence_number().to_owned();
        fan.advance(1);
        feed.expect_end().await;
        fan.aws.until_subscribed(0).await;
        fan.put(1);
        let mut feed = fan.subscribe(client, after(&reached)).await;
        assert_eq!(feed.texts().await, ["1"]);
    }
}

#[tokio::test]
async fn a_life_can_be_so_short_that_renewals_can_be_counted_by_the_hundred() {
    let fan = Fan::new(1).await;
    fan.limit(|limits| limits.subscription_life = Wait::Real(Duration::from_millis(5)));
    let begun = Instant::now();
    for _ in 0..100 {
        fan.subscribe(&fan.clients[1], latest()).await.expect_end().await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(fan.aws.counted(|counted| counted.subscribed()).opened, 100);
}

#[tokio::test]
async fn within_five_seconds_a_second_subscription_is_refused_and_later_it_takes_over() {
    for (client, take_over) in [(0, TakeOver::Refused), (1, TakeOver::Refused), (1, TakeOver::Orderly)] {
        let fan = Fan::new(2).await;
        let client = &fan.clients[client];
        fan.aws.kinesis().limit(Limits::aws());
        fan.aws.kinesis().habits(STREAM, |habits| habits.take_over = take_over);
        let mut older = fan.subscribe(client, latest()).await;
        fan.advance(4999);
        let (code, message) = fan.refused(client, latest()).await;
        assert_eq!(code, "ResourceInUseException");
        assert_eq!(
            message,
            format!("Another active subscription exists for this consumer: 000000000000:{STREAM}:{CONSUMER}:{FIRST}")
        );
        // Neither another shard nor another consumer is concerned.
        try_subscribe(client, &fan.consumer, "shardId-000000000001", latest()).await.expect("a subscription");
        let other = fan.aws.kinesis().register_consumer(STREAM, "other");
        try_subscribe(client, &other, FIRST, latest()).await.expect("a subscription");
        // A refused call does not begin the time anew, and the older subscription lives.
        fan.put("older");
        assert_eq!(older.texts().await, ["older"]);
        fan.advance(1);
        let mut younger = fan.subscribe(client, latest()).await;
        match take_over {
            TakeOver::Refused => assert_eq!(older.failure().await, "ResourceInUseException"),
            TakeOver::Orderly => older.expect_end().await,
        }
        fan.put("younger");
        assert_eq!(younger.texts().await, ["younger"]);
    }
}

#[tokio::test]
async fn the_five_seconds_count_from_the_call_even_if_its_stream_is_long_over() {
    let fan = Fan::new(1).await;
    fan.aws.kinesis().limit(Limits::aws());
    drop(fan.subscribe(&fan.clients[1], latest()).await);
    fan.aws.until_subscribed(0).await;
    assert_eq!(fan.refused(&fan.clients[1], latest()).await.0, "ResourceInUseException");
    fan.advance(5000);
    fan.subscribe(&fan.clients[1], latest()).await;
}

#[tokio::test]
async fn a_shard_ends_with_its_last_records_and_its_children() {
    for (client, children, last_page) in [
        (0, Children::Told, LastPage::WithRecords),
        (1, Children::Told, LastPage::WithRecords),
        (0, Children::Told, LastPage::Empty),
        (0, Children::Omitted, LastPage::WithRecords),
    ] {
        let fan = Fan::new(1).await;
        fan.aws.kinesis().habits(STREAM, |habits| (habits.children, habits.last_page) = (children, last_page));
        fan.put("last");
        let split = fan.aws.kinesis().split(STREAM, FIRST);
        let mut feed = fan.subscribe(&fan.clients[client], horizon()).await;
        let mut event = feed.event().await;
        assert_eq!(texts(&event), ["last"]);
        if last_page == LastPage::Empty {
            assert!(!event.continuation_sequence_number().is_empty() && event.child_shards.is_none());
            event = feed.event().await;
            assert!(event.records().is_empty());
        }
        assert_eq!((event.continuation_sequence_number(), event.millis_behind_latest()), ("", 0));
        let told: Vec<&str> = event.child_shards().iter().map(|child| child.shard_id()).collect();
        match children {
            Children::Told => assert_eq!(told, split.each_ref().map(String::as_str)),
            Children::Omitted => assert_eq!(event.child_shards, None),
        }
        for child in event.child_shards() {
            assert_eq!(child.parent_shards(), [FIRST]);
        }
        feed.expect_end().await;
        fan.aws.until_subscribed(0).await;
    }
}

#[tokio::test]
async fn a_shard_that_is_closed_under_a_subscription_ends_at_once_and_with_an_empty_event() {
    for client in BOTH {
        let fan = Fan::new(2).await;
        let mut feed = fan.subscribe(&fan.clients[client], horizon()).await;
        fan.put("last");
        assert_eq!(feed.texts().await, ["last"]);
        let merged = fan.aws.kinesis().merge(STREAM, FIRST, "shardId-000000000001");
        let event = feed.event().await;
        assert!(event.records().is_empty() && event.continuation_sequence_number().is_empty());
        assert_eq!(event.child_shards().len(), 1);
        assert_eq!(event.child_shards()[0].shard_id(), merged);
        assert_eq!(event.child_shards()[0].parent_shards(), [FIRST, "shardId-000000000001"]);
        feed.expect_end().await;
    }
}

#[tokio::test]
async fn only_a_consumer_that_is_active_may_subscribe_and_only_to_a_shard_that_there_is() {
    let fan = Fan::new(1).await;
    let client = &fan.clients[0];
    fan.aws.kinesis().take_time(Duration::from_secs(30));
    let register = client.register_stream_consumer().stream_arn(fan.aws.kinesis().arn(STREAM)).consumer_name("new");
    let new = register.send().await.expect("registered").consumer.expect("a consumer").consumer_arn;
    let refused = async |consumer: &str, shard: &str| {
        let error = try_subscribe(client, consumer, shard, latest()).await.err().expect("a refusal");
        let error = error.into_service_error();
        (error.meta().code().unwrap_or_default().to_owned(), error.meta().message().unwrap_or_default().to_owned())
    };
    let (code, message) = refused(&new, FIRST).await;
    assert_eq!(code, "ResourceInUseException");
    let created = EPOCH / 1000;
    assert_eq!(
        message,
        format!(
            "Consumer new with creation timestamp {created} under stream: {STREAM}, account 000000000000 is not in ACTIVE status."
        )
    );
    fan.advance(30_000);
    try_subscribe(client, &new, FIRST, latest()).await.expect("a subscription");
    let unknown = format!("{}0", fan.consumer);
    let (code, message) = refused(&unknown, FIRST).await;
    assert_eq!((code.as_str(), message), ("ResourceNotFoundException", format!("Consumer {unknown} not found.")));
    for shard in ["shardId-000000000009", "no shard"] {
        let (code, message) = refused(&new, shard).await;
        assert_eq!(code, "ResourceNotFoundException");
        assert_eq!(message, format!("Could not find shard {shard} in stream {STREAM} under account 000000000000."));
    }
}

#[tokio::test]
async fn a_subscription_ends_with_its_consumer_its_shard_or_its_stream() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        let client = &fan.clients[client];
        let kinesis = fan.aws.kinesis();
        let mut feed = fan.subscribe(client, latest()).await;
        kinesis.remove_consumer(STREAM, CONSUMER);
        assert_eq!(feed.failure().await, "ResourceNotFoundException");
        assert_eq!(fan.refused(client, latest()).await.0, "ResourceNotFoundException");
        let again = kinesis.register_consumer(STREAM, CONSUMER);
        assert_ne!(again, fan.consumer);
        assert_eq!(fan.refused(client, latest()).await.0, "ResourceNotFoundException");
        let mut feed = try_subscribe(client, &again, FIRST, latest()).await.expect("a subscription");
        // It is there for a while after that, but reads no more.
        kinesis.take_time(Duration::from_secs(30));
        client.deregister_stream_consumer().consumer_arn(&again).send().await.expect("deregistered");
        assert_eq!(feed.failure().await, "ResourceNotFoundException");
        assert_eq!(kinesis.consumers(STREAM)[0].status, ConsumerStatus::Deleting);
        fan.advance(30_000);
        kinesis.take_time(Duration::ZERO);
        let last = kinesis.register_consumer(STREAM, CONSUMER);
        let mut feed = try_subscribe(client, &last, FIRST, latest()).await.expect("a subscription");
        kinesis.delete(STREAM);
        assert_eq!(feed.failure().await, "ResourceNotFoundException");
        kinesis.create(STREAM, 1);
        let last = kinesis.register_consumer(STREAM, CONSUMER);
        let mut feed = try_subscribe(client, &last, FIRST, latest()).await.expect("a subscription");
        kinesis.expire(STREAM, FIRST);
        assert_eq!(feed.failure().await, "ResourceNotFoundException");
        fan.aws.until_subscribed(0).await;
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_refuses_a_subscription_or_ends_it() {
    let fan = Fan::new(1).await;
    for (encryption, expected) in [
        (Encryption::KmsAccessDenied, "KMSAccessDeniedException"),
        (Encryption::KmsDisabled, "KMSDisabledException"),
        (Encryption::KmsInvalidState, "KMSInvalidStateException"),
        (Encryption::KmsNotFound, "KMSNotFoundException"),
        (Encryption::KmsOptInRequired, "KMSOptInRequired"),
        (Encryption::KmsThrottling, "KMSThrottlingException"),
    ] {
        let mut feed = fan.subscribe(&fan.clients[0], latest()).await;
        fan.aws.kinesis().encrypt(STREAM, encryption);
        assert_eq!(feed.failure().await, expected);
        feed.expect_end().await;
        assert_eq!(fan.refused(&fan.clients[0], latest()).await.0, expected);
        fan.aws.kinesis().encrypt(STREAM, Encryption::Kms);
    }
}
