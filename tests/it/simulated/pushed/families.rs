//! Whatever happens to shards, every record is pushed once and in order for its key.

use host::config::InitialPosition;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use tests::rig::{Gate, Verdict};
use tests::simulated::{Children, LastPage};

use super::{BOTH, Over, expect_nothing_open, subscribed, world};
use crate::simulated::world::STREAM;

/// ORD-1, DEL-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_pushed_whole_and_in_order_and_a_restart_goes_on_where_it_was() {
    for over in BOTH {
        let world = world(3, over).await;
        for _ in 0..3 {
            world.write(200);
            let run = world.rig.start().await;
            world.until_all_delivered().await;
            world.write(200);
            world.until_all_delivered().await;
            world.aws.until_subscribed(3).await;
            let open = world.aws.counted(|counted| counted.subscribed());
            assert_eq!((open.over_http1, open.over_http2), if over == Over::Http1 { (3, 0) } else { (0, 3) });
            run.drained().await.expect_success();
            expect_nothing_open(&world).await;
        }
        world.expect_exact();
        assert_eq!(world.aws.counted(|counted| counted.calls("GetRecords")), 0);
    }
}

/// POS-1: the first run begins at the time of the manifest, each other one where the last one was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_subscription_is_from_the_configured_timestamp_and_later_ones_after_the_stored_position() {
    let mut world = world(1, Over::Http2).await;
    let now = world.aws.clock().now();
    let at = now - now.rem_euclid(1000);
    world.rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(at));
    for _ in 0..3 {
        world.write(30);
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        run.drained().await.expect_success();
    }
    world.expect_exact();
    let requests = world.aws.counted(|counted| counted.requests("SubscribeToShard"));
    let positions: Vec<_> = requests.iter().map(|request| request.input["StartingPosition"].clone()).collect();
    let kinds: Vec<_> = positions.iter().map(|position| position["Type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["AT_TIMESTAMP", "AFTER_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]);
    assert_eq!(positions[0]["Timestamp"].as_f64(), Some(at as f64 / 1000.0));
    let truth = world.kinesis().truth(STREAM);
    for (position, read) in positions[1..].iter().zip([30, 60]) {
        let (last, _) = truth.records().nth(read - 1).expect("90 records");
        assert_eq!(position["SequenceNumber"], last.sequence.to_string());
    }
}

/// LIN-1: closed before the first start, in every way that a shard may end; twice during one downtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_were_closed_before_the_start_are_pushed_whole_and_in_order() {
    for over in BOTH {
        for children in [Children::Told, Children::Omitted] {
            for last_page in [LastPage::WithRecords, LastPage::Empty] {
                let mut world = world(2, over).await;
                world.rig.manifest.parallelism = 2;
                world.kinesis().habits(STREAM, |habits| (habits.children, habits.last_page) = (children, last_page));
                world.reshard();
                world.rig.catch_up().await.expect_success();
                expect_nothing_open(&world).await;
                world.expect_exact();
            }
        }
    }
}

/// LIN-1: split and merged under load, while running and between two runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_are_split_and_merged_under_load_are_pushed_whole_and_in_order() {
    for over in BOTH {
        for children in [Children::Told, Children::Omitted] {
            let mut world = world(2, over).await;
            world.rig.manifest.parallelism = 2;
            world.kinesis().habits(STREAM, |habits| habits.children = children);
            let run = world.rig.start().await;
            world.write(100);
            world.rig.until_elements(50).await;
            world.reshard();
            world.until_all_delivered().await;
            world.kinesis().scale(STREAM, 3);
            world.write(100);
            world.until_all_delivered().await;
            run.drained().await.expect_success();
            world.reshard();
            let run = world.rig.start().await;
            world.until_all_delivered().await;
            run.drained().await.expect_success();
            expect_nothing_open(&world).await;
            world.expect_exact();
        }
    }
}

/// LIN-1: the last event brings records and the children; these are subscribed to once its records are delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_ends_with_records_is_finished_only_when_the_last_of_them_is_delivered() {
    for over in BOTH {
        let mut world = world(1, over).await;
        let gate = Gate::default();
        let passed = gate.clone();
        world.rig = world.rig.scripted(move |_| {
            passed.pass();
            Verdict::Pass
        });
        let parent = world.shards()[0].clone();
        world.write(EVENTS * super::EVENT_RECORDS);
        let children = world.kinesis().split(STREAM, &parent);
        world.write(20);
        let run = world.rig.start().await;
        gate.until_waiting().await;
        let events = move |counted: &tests::simulated::Tallies| counted.subscribed().events == EVENTS as u64;
        world.aws.until("all of the parent's events", events).await;
        world.aws.until_called_again("ListShards", 3).await;
        for child in &children {
            assert_eq!(subscribed(&world, child), 0);
        }
        let shard = ShardId::new(&parent);
        assert_ne!(world.rig.durable().get(&shard), Some(&Position::ShardEnd));
        gate.open();
        world.until_all_delivered().await;
        world.rig.until_durable("the parent's end", |durable| durable.get(&shard) == Some(&Position::ShardEnd)).await;
        run.drained().await.expect_success();
        assert_eq!(subscribed(&world, &parent), 1);
        world.expect_exact();
    }
}

/// Of the parent, the last one with its end.
const EVENTS: usize = 2;

/// Over HTTP/2 sixteen share a connection, and calls of other kinds have one of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_shards_take_three_connections_of_http2_and_forty_of_http1() {
    for (over, connections) in [(Over::Http1, 40), (Over::Http2, 3)] {
        let world = world(40, over).await;
        let run = world.rig.start().await;
        world.aws.until_subscribed(40).await;
        world.write(400);
        world.until_all_delivered().await;
        let (http1, http2) = world.aws.counted(|counted| (counted.http1, counted.http2));
        match over {
            Over::Http1 => assert!(http1 > connections && http1 <= connections + 4 && http2 == 0, "{http1}, {http2}"),
            Over::Http2 => assert_eq!((http1, http2), (0, connections + 1)),
        }
        run.drained().await.expect_success();
        expect_nothing_open(&world).await;
        world.expect_exact();
        drop(world.rig);
        world.aws.until("no connection", |counted| counted.connections == 0).await;
    }
}
