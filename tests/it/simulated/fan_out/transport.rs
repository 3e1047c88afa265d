//! Connections, windows, and what is counted of them.

use super::{BOTH, FIRST, Fan, STREAM, horizon, latest, try_subscribe};

/// Far more than sockets and windows hold.
const RECORDS: usize = 600;
const RECORD_BYTES: usize = 100_000;

fn shards(fan: &Fan) -> Vec<String> {
    fan.aws.kinesis().open_shards(STREAM)
}

#[tokio::test]
async fn every_subscription_is_counted_by_shard_and_by_protocol() {
    let fan = Fan::new(3).await;
    let mut feeds = Vec::new();
    for (index, shard) in shards(&fan).iter().enumerate() {
        let client = &fan.clients[usize::from(index > 0)];
        feeds.push(try_subscribe(client, &fan.consumer, shard, latest()).await.expect("a subscription"));
    }
    fan.aws.until_subscribed(3).await;
    let counted = fan.aws.counted(|counted| counted.clone());
    let all = counted.subscribed();
    assert_eq!((all.over_http1, all.over_http2, all.opened, all.most), (1, 2, 3, 3));
    assert_eq!(counted.subscribed_to(STREAM, FIRST).over_http1, 1);
    assert_eq!((counted.http1, counted.http2, counted.http2_streams), (1, 1, 2));
    assert_eq!(counted.calls_of("SubscribeToShard", STREAM, FIRST), 1);
    feeds.pop();
    fan.aws.until("one stream fewer", |counted| counted.http2_streams == 1).await;
    feeds.clear();
    fan.aws.until_subscribed(0).await;
    fan.aws.until("no streams", |counted| counted.http2_streams == 0 && counted.http1 == 0).await;
    let all = fan.aws.counted(|counted| counted.subscribed());
    assert_eq!((all.open, all.over_http1, all.over_http2, all.opened, all.most), (0, 0, 0, 3, 3));
}

#[tokio::test]
async fn a_thousand_subscriptions_share_one_connection_of_http2() {
    let fan = Fan::new(1000).await;
    let mut feeds = Vec::new();
    for shard in shards(&fan) {
        feeds.push(try_subscribe(&fan.clients[1], &fan.consumer, &shard, latest()).await.expect("a subscription"));
    }
    let counted = fan.aws.counted(|counted| (counted.connected, counted.http2, counted.http2_streams));
    assert_eq!(counted, (1, 1, 1000));
    for shard in shards(&fan) {
        fan.aws.kinesis().put_to(STREAM, &shard, "key", shard.clone());
    }
    for (feed, shard) in feeds.iter_mut().zip(shards(&fan)) {
        assert_eq!(feed.texts().await, [shard]);
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_pushed_no_more_than_the_connection_holds() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        fan.limit(|limits| limits.event_records = 1);
        let client = if client == 1 { &fan.aws.h2c_client_of_window(200_000).await } else { &fan.clients[0] };
        for number in 0..RECORDS {
            fan.put(format!("{number:0RECORD_BYTES$}"));
        }
        let mut feed = fan.subscribe(client, horizon()).await;
        fan.aws.until("the first event", |counted| counted.subscribed().events > 0).await;
        // Whatever else the connection could take, it takes while other calls on this machine go to and fro.
        let mut before = 0;
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let events = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST).events);
            if events == before {
                break;
            }
            before = events;
        }
        assert!(before < RECORDS as u64 / 2, "{before} events");
        for _ in 0..RECORDS {
            assert_eq!(feed.event().await.records().len(), 1);
        }
        let counted = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST));
        assert_eq!(counted.events, RECORDS as u64);
        assert!(counted.bytes > (RECORDS * RECORD_BYTES) as u64);
    }
}

#[tokio::test]
async fn a_connection_that_was_cut_is_opened_anew_by_the_next_call() {
    let fan = Fan::new(1).await;
    let client = &fan.clients[1];
    fan.aws.faults().on("ListStreams").times(1).inject(tests::simulated::Fault::Disconnect);
    client.list_streams().send().await.expect_err("cut");
    client.list_streams().send().await.expect("listed");
    assert_eq!(fan.aws.counted(|counted| counted.connected), 2);
}

#[tokio::test]
async fn a_dropped_simulation_ends_its_streams() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        let mut feed = fan.subscribe(&fan.clients[client], latest()).await;
        let Fan { aws, .. } = fan;
        drop(aws);
        assert_eq!(feed.failure().await, "response");
    }
}
