//! What goes wrong on demand, at the call and inside a stream.

use std::time::{Duration, Instant};

use tests::simulated::{Fault, Mishap, Wait};

use super::{BOTH, FIRST, Fan, STREAM, horizon, latest, try_subscribe};

#[tokio::test]
async fn faults_at_the_call_hit_subscriptions_as_they_hit_any_call() {
    for client in BOTH {
        let fan = Fan::new(2).await;
        let client = &fan.clients[client];
        let rule = |fault| fan.aws.faults().on("SubscribeToShard").stream(STREAM).shard(FIRST).times(1).inject(fault);
        for (fault, code) in [
            (Fault::internal(), "InternalFailure"),
            (Fault::unavailable(), "ServiceUnavailable"),
            (Fault::limit_exceeded(), "LimitExceededException"),
        ] {
            rule(fault);
            try_subscribe(client, &fan.consumer, "shardId-000000000001", latest()).await.expect("another shard");
            assert_eq!(fan.refused(client, latest()).await.0, code);
        }
        rule(Fault::Disconnect);
        assert!(try_subscribe(client, &fan.consumer, FIRST, latest()).await.is_err());
        let delay = Duration::from_millis(30);
        rule(Fault::Delay(delay));
        let begun = Instant::now();
        fan.subscribe(client, latest()).await;
        assert!(begun.elapsed() >= delay);
        let rule = fan.aws.faults().on("SubscribeToShard").inject(Fault::Hang);
        let mut hung = std::pin::pin!(fan.subscribe(client, latest()));
        tokio::select! {
            _ = &mut hung => panic!("it does not hang"),
            () = fan.aws.until_hung(1) => {}
        }
        fan.aws.faults().lift(rule);
        let mut feed = hung.await;
        fan.put("after all");
        assert_eq!(feed.texts().await, ["after all"]);
    }
}

#[tokio::test]
async fn a_stream_can_break_off_after_any_number_of_events() {
    for client in BOTH {
        for (mishap, expected) in [
            (Mishap::Cut, Some("dispatch")),
            (Mishap::Reset, Some("dispatch")),
            (Mishap::Garble, Some("response")),
            (Mishap::End, None),
            (Mishap::exception("InternalFailureException"), Some("InternalFailureException")),
            (Mishap::exception("KMSDisabledException"), Some("KMSDisabledException")),
            (Mishap::exception("ResourceNotFoundException"), Some("ResourceNotFoundException")),
        ] {
            for events in [0, 1, 3] {
                let fan = Fan::new(1).await;
                fan.limit(|limits| limits.event_records = 1);
                for number in 0..5 {
                    fan.put(number);
                }
                let fault = Fault::after(events, mishap.clone());
                fan.aws.faults().on("SubscribeToShard").times(1).inject(fault);
                let mut feed = fan.subscribe(&fan.clients[client], horizon()).await;
                for number in 0..events {
                    assert_eq!(feed.texts().await, [number.to_string()], "{mishap:?}");
                }
                match expected {
                    Some(expected) => assert_eq!(feed.failure().await, expected, "{mishap:?}"),
                    None => feed.expect_end().await,
                }
                drop(feed);
                fan.aws.until_subscribed(0).await;
                // The next one is well.
                assert_eq!(fan.subscribe(&fan.clients[client], horizon()).await.texts().await, ["0"]);
            }
        }
    }
}

#[tokio::test]
async fn a_cut_takes_every_stream_of_the_connection_and_a_reset_only_its_own() {
    for (mishap, spares) in [(Mishap::Cut, false), (Mishap::Reset, true)] {
        let fan = Fan::new(2).await;
        let client = &fan.clients[1];
        let second = "shardId-000000000001";
        let mut other = try_subscribe(client, &fan.consumer, second, latest()).await.expect("a subscription");
        fan.aws.faults().on("SubscribeToShard").shard(FIRST).inject(Fault::after(0, mishap));
        let mut feed = fan.subscribe(client, horizon()).await;
        assert_eq!(feed.failure().await, "dispatch");
        fan.aws.kinesis().put_to(STREAM, second, "key", "other");
        if spares {
            assert_eq!(other.texts().await, ["other"]);
        } else {
            assert_eq!(other.failure().await, "dispatch");
        }
    }
}

#[tokio::test]
async fn a_stalled_stream_is_silent_for_ever_or_until_its_rule_is_lifted() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        fan.limit(|limits| limits.heartbeat = Wait::Real(Duration::from_millis(1)));
        let rule = fan.aws.faults().on("SubscribeToShard").inject(Fault::after(2, Mishap::Stall));
        let mut feed = fan.subscribe(&fan.clients[client], latest()).await;
        assert!(feed.texts().await.is_empty() && feed.texts().await.is_empty());
        fan.aws.until_stalled(1).await;
        fan.put("unheard");
        fan.advance(3_600_000);
        let counted = fan.aws.counted(|counted| counted.subscribed());
        assert_eq!((counted.open, counted.events), (1, 2));
        {
            let mut next = std::pin::pin!(feed.next());
            let silence = tokio::time::timeout(Duration::from_millis(50), &mut next).await;
            assert!(silence.is_err(), "{silence:?}");
        }
        // A reader that gives up ends it.
        drop(feed);
        fan.aws.until("no stream to stall", |counted| counted.stalled == 0 && counted.subscribed().open == 0).await;
        let mut feed = fan.subscribe(&fan.clients[client], horizon()).await;
        assert_eq!(feed.texts().await, ["unheard"]);
        feed.texts().await;
        fan.aws.until_stalled(1).await;
        fan.aws.faults().lift(rule);
        feed.texts().await;
    }
}

#[tokio::test]
async fn members_can_be_left_out_of_events_and_bytes_be_cut_or_trickle() {
    let fan = Fan::new(1).await;
    let client = &fan.clients[0];
    fan.put("x".repeat(1000));
    let rule = |fault| fan.aws.faults().on("SubscribeToShard").times(1).inject(fault);
    rule(Fault::Without("ContinuationSequenceNumber"));
    let event = fan.subscribe(client, horizon()).await.event().await;
    assert_eq!((event.continuation_sequence_number(), event.records().len()), ("", 1));
    rule(Fault::Cut { after: 700 });
    assert_eq!(fan.subscribe(client, horizon()).await.failure().await, "dispatch");
    let pause = Duration::from_millis(1);
    rule(Fault::Trickle { bytes: 50, pause });
    let begun = Instant::now();
    assert_eq!(fan.subscribe(client, horizon()).await.texts().await, ["x".repeat(1000)]);
    assert!(begun.elapsed() >= 20 * pause);
    rule(Fault::Garble);
    assert_eq!(fan.subscribe(client, horizon()).await.failure().await, "response");
}
