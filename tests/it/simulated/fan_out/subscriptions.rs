//! What a subscription brings, and when.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{EncryptionType, ShardIteratorType, StartingPosition};
use tests::simulated::{Encryption, Fault, Lag, Mishap, Wait};

use super::{BOTH, EPOCH, FIRST, Fan, STREAM, after, at, horizon, latest, texts, try_subscribe};

fn timestamp(millis: i64) -> StartingPosition {
    let position = StartingPosition::builder().r#type(ShardIteratorType::AtTimestamp);
    position.timestamp(DateTime::from_millis(EPOCH + millis)).build().expect("a type is set")
}

#[tokio::test]
async fn a_subscription_begins_at_a_position_of_any_kind() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        let client = &fan.clients[client];
        let mut sequences = Vec::new();
        for number in 0..5 {
            sequences.push(fan.put(number));
            fan.advance(1000);
        }
        let inside = [
            (horizon(), 0),
            (at(ShardIteratorType::AtSequenceNumber, Some(&sequences[2])), 2),
            (after(&sequences[2]), 3),
            (timestamp(-1), 0),
            (timestamp(1000), 1),
            (timestamp(1001), 2),
        ];
        for (position, first) in inside {
            let mut feed = fan.subscribe(client, position.clone()).await;
            assert_eq!(feed.texts().await, ["0", "1", "2", "3", "4"][first..], "{position:?}");
        }
        let mut feeds = Vec::new();
        for (number, position) in [latest(), after(&sequences[4]), timestamp(4001)].into_iter().enumerate() {
            let consumer = fan.aws.kinesis().register_consumer(STREAM, &format!("tip-{number}"));
            feeds.push(try_subscribe(client, &consumer, FIRST, position).await.expect("a subscription"));
        }
        fan.put("later");
        for feed in &mut feeds {
            assert_eq!(feed.texts().await, ["later"]);
        }
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused_as_that_of_an_iterator_is() {
    let fan = Fan::new(2).await;
    let client = &fan.clients[0];
    let other = fan.aws.kinesis().put_to(STREAM, "shardId-000000000001", "key", "0").sequence.to_string();
    for (position, words) in [
        (timestamp(1), "The timestampInMillis parameter cannot be greater"),
        (after("1234"), "StartingSequenceNumber 1234 used in SubscribeToShard on shard shardId-000000000000"),
        (after(&other), "It encodes shardId-000000000001"),
        (at(ShardIteratorType::AtSequenceNumber, None), "Must either specify"),
        (at(ShardIteratorType::AtTimestamp, None), "Must specify timestampInMillis"),
    ] {
        let (code, message) = fan.refused(client, position).await;
        assert_eq!(code, "InvalidArgumentException");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn records_are_pushed_as_they_are_written_however_far_the_next_heartbeat_is() {
    for client in BOTH {
        // The clock stands still, so no heartbeat ever comes.
        let fan = Fan::new(1).await;
        let mut feed = fan.subscribe(&fan.clients[client], horizon()).await;
        for number in 0..100 {
            let sequence = fan.put(number);
            let event = feed.event().await;
            assert_eq!(texts(&event), [number.to_string()]);
            assert_eq!(event.continuation_sequence_number(), sequence);
            assert_eq!((event.millis_behind_latest(), event.child_shards.as_deref()), (0, None));
        }
        let counted = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST));
        assert_eq!((counted.events, counted.opened), (100, 1));
    }
}

#[tokio::test]
async fn silence_is_broken_by_empty_events_whose_number_grows_and_can_be_gone_on_from() {
    let fan = Fan::new(1).await;
    let client = &fan.clients[0];
    let mut feed = fan.subscribe(client, latest()).await;
    let mut last = String::new();
    for _ in 0..3 {
        let silent = fan.aws.counted(|counted| counted.subscribed().events);
        // One millisecond short of a heartbeat nothing is due, however often the service gets to look.
        fan.advance(4999);
        for _ in 0..10 {
            client.list_streams().send().await.expect("listed");
        }
        assert_eq!(fan.aws.counted(|counted| counted.subscribed().events), silent);
        fan.advance(1);
        let event = feed.event().await;
        assert!(event.records().is_empty() && *event.continuation_sequence_number() > *last);
        assert_eq!(fan.aws.counted(|counted| counted.subscribed().events), silent + 1);
        last = event.continuation_sequence_number().to_owned();
    }
    let written = fan.put("0");
    assert!(written > last);
    assert_eq!(feed.texts().await, ["0"]);
    fan.put("1");
    let mut feed = fan.subscribe(client, after(&last)).await;
    assert_eq!(feed.texts().await, ["0", "1"]);
}

#[tokio::test]
async fn a_heartbeat_can_be_as_short_as_a_test_likes_in_real_time() {
    let fan = Fan::new(1).await;
    fan.limit(|limits| limits.heartbeat = Wait::Real(Duration::from_millis(20)));
    let begun = Instant::now();
    let mut feed = fan.subscribe(&fan.clients[1], latest()).await;
    for _ in 0..5 {
        assert!(feed.texts().await.is_empty());
    }
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn heartbeats_and_lives_go_by_the_services_clock_which_may_be_set_going_and_run_fast() {
    let fan = Fan::new(1).await;
    let mut feed = fan.subscribe(&fan.clients[1], latest()).await;
    fan.aws.clock().set_speed(300.0);
    let begun = Instant::now();
    let mut heartbeats = 0;
    while let Some(event) = feed.next().await.expect("no failure") {
        assert!(event.records().is_empty());
        heartbeats += 1;
    }
    // Five minutes of the service in one second, and at most one event in each five seconds of it.
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
    assert!((1..60).contains(&heartbeats), "{heartbeats}");
}

#[tokio::test]
async fn an_event_is_no_larger_than_the_limit_and_tells_how_far_behind_it_is() {
    let fan = Fan::new(1).await;
    fan.limit(|limits| (limits.event_records, limits.event_bytes) = (3, 40));
    for number in 0..7 {
        fan.put(number);
        fan.advance(1000);
    }
    fan.put("x".repeat(100));
    fan.put("y".repeat(30));
    let mut feed = fan.subscribe(&fan.clients[0], horizon()).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = feed.event().await;
        seen.push((event.records().len(), event.millis_behind_latest()));
    }
    assert_eq!(seen, [(3, 5000), (3, 2000), (1, 1000), (1, 0), (1, 0)]);
    fan.aws.kinesis().habits(STREAM, |habits| habits.lag = Lag::Zero);
    let mut feed = fan.subscribe(&fan.clients[0], horizon()).await;
    assert_eq!(feed.event().await.millis_behind_latest(), 0);
}

#[tokio::test]
async fn a_subscription_whose_place_was_trimmed_goes_on_at_the_horizon_without_a_word() {
    let fan = Fan::new(1).await;
    fan.limit(|limits| limits.event_records = 1);
    let first = fan.put(0);
    for number in 1..6 {
        fan.put(number);
    }
    fan.aws.kinesis().trim(STREAM, FIRST, 3);
    let mut feed = fan.subscribe(&fan.clients[0], after(&first)).await;
    assert_eq!(feed.texts().await, ["3"]);
    // One that is open passes over what is trimmed before its next event was made.
    let rule = fan.aws.faults().on("SubscribeToShard").inject(Fault::after(1, Mishap::Stall));
    let mut feed = fan.subscribe(&fan.clients[0], horizon()).await;
    assert_eq!(feed.texts().await, ["3"]);
    fan.aws.until_stalled(1).await;
    fan.aws.kinesis().trim(STREAM, FIRST, 2);
    fan.aws.faults().lift(rule);
    assert_eq!(feed.texts().await, ["5"]);
}

#[tokio::test]
async fn records_say_whether_they_were_encrypted() {
    let fan = Fan::new(1).await;
    fan.aws.kinesis().encrypt(STREAM, Encryption::Kms);
    fan.put("secret");
    let event = fan.subscribe(&fan.clients[0], horizon()).await.event().await;
    assert_eq!(event.records()[0].encryption_type(), Some(&EncryptionType::Kms));
    assert_eq!(event.records()[0].approximate_arrival_timestamp(), Some(&DateTime::from_millis(EPOCH)));
    assert_eq!(event.records()[0].partition_key(), Some("key"));
}
