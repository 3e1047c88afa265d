//! Connections, windows, and what is counted of them.

use super::{BOTH, FIRST, Fan, STREAM, horizon, latest, try_subscribe};

/// With the bytes of each, far more than sockets and windows hold.
const RECORDS: usize = 400;
const RECORD_BYTES: usize = 60_000;
const WINDOW: u32 = 200_000;

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
        let client = if client == 1 { &fan.aws.h2c_client_of_window(WINDOW).await } else { &fan.clients[0] };
        for number in 0..RECORDS {
            fan.put(format!("{number:0RECORD_BYTES$}"));
        }
        let mut feed = fan.subscribe(client, horizon()).await;
        fan.aws.until("the first event", |counted| counted.subscribed().events > 0).await;
        // Whatever could be pushed is, while these go to and fro on the same thread, by another connection.
        let idle = fan.aws.client().await;
        for _ in 0..100 {
            idle.list_streams().send().await.expect("listed");
        }
        let pushed = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST));
        assert!(pushed.events < RECORDS as u64 / 2, "{} events", pushed.events);
        if pushed.over_http2 == 1 {
            // What the window takes, and one event that waits for it.
            assert!(pushed.bytes <= u64::from(WINDOW) + 2 * 90_000, "{} bytes", pushed.bytes);
        }
        for number in 0..RECORDS {
            assert_eq!(feed.texts().await, [format!("{number:0RECORD_BYTES$}")]);
        }
        let pushed = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST));
        assert_eq!(pushed.events, RECORDS as u64);
        assert!(pushed.bytes > (RECORDS * RECORD_BYTES) as u64);
    }
}

#[tokio::test]
async fn a_subscription_that_is_not_read_holds_up_no_other_as_long_as_the_connections_window_is_open() {
    let fan = Fan::new(2).await;
    fan.limit(|limits| limits.event_records = 1);
    // Its streams have room for 2 MiB each, all of them together for more.
    let client = &fan.clients[1];
    for number in 0..RECORDS {
        fan.put(format!("{number:0RECORD_BYTES$}"));
    }
    let _unread = fan.subscribe(client, horizon()).await;
    let second = "shardId-000000000001";
    let mut other = try_subscribe(client, &fan.consumer, second, latest()).await.expect("a subscription");
    for number in 0..100 {
        fan.aws.kinesis().put_to(STREAM, second, "key", number.to_string());
        assert_eq!(other.texts().await, [number.to_string()]);
    }
    let pushed = fan.aws.counted(|counted| counted.subscribed_to(STREAM, FIRST));
    assert!(pushed.events < RECORDS as u64 / 2, "{} events", pushed.events);
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
async fn every_connection_can_be_cut_at_any_moment() {
    let fan = Fan::new(2).await;
    let mut first = fan.subscribe(&fan.clients[0], latest()).await;
    let second = try_subscribe(&fan.clients[1], &fan.consumer, "shardId-000000000001", latest()).await;
    let mut second = second.expect("a subscription");
    fan.aws.cut_connections();
    assert_eq!(first.failure().await, "dispatch");
    assert_eq!(second.failure().await, "dispatch");
    fan.aws.until("no connections", |counted| counted.connections == 0).await;
    for client in BOTH {
        let mut feed = fan.subscribe(&fan.clients[client], latest()).await;
        fan.put("after all");
        assert_eq!(feed.texts().await, ["after all"]);
    }
}

#[tokio::test]
async fn a_dropped_simulation_ends_its_streams() {
    for client in BOTH {
        let fan = Fan::new(1).await;
        let mut feed = fan.subscribe(&fan.clients[client], latest()).await;
        let Fan { aws, .. } = fan;
        drop(aws);
        assert_eq!(feed.failure().await, "dispatch");
    }
}
