//! Trouble at the call and inside a subscription: each kind at a shard of its own, then all by chance.

use std::time::Duration;

use host::config::Reader;
use tests::simulated::{Encryption, Fault, Mishap, Setup};

use super::{BOTH, EVENT_RECORDS, Over, expect_nothing_open, limits, subscribed, with, world};
use crate::simulated::world::{STREAM, World};

/// Several events each.
const RECORDS: usize = 4 * EVENT_RECORDS;

/// Gives each shard a fault of its own, once or twice, and expects every record and no failure.
async fn each_is_survived(over: Over, faults: Vec<Fault>) -> World {
    let count = u32::try_from(faults.len()).expect("few faults");
    let mut world = world(count, over).await;
    world.rig.manifest.parallelism = 2;
    let Reader::Efo(efo) = &mut world.rig.manifest.source.reader else { panic!("it reads by fan-out") };
    efo.subscription_timeout = Duration::from_secs(2);
    let shards = world.shards();
    for (shard, fault) in shards.iter().zip(faults) {
        world.aws.faults().on("SubscribeToShard").shard(shard).times(1).inject(fault);
        world.write_to(shard, RECORDS);
    }
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    for shard in &shards {
        world.write_to(shard, RECORDS);
    }
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    expect_nothing_open(&world).await;
    world.expect_exact();
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_the_call_is_survived() {
    let faults = vec![
        Fault::internal(),
        Fault::unavailable(),
        Fault::throttled(),
        Fault::limit_exceeded(),
        Fault::client("ResourceInUseException"),
        Fault::client("KMSThrottlingException"),
        Fault::client("AccessDeniedException"),
        Fault::expired_token(),
        Fault::not_found(),
        Fault::Disconnect,
        Fault::Hang,
        Fault::Delay(Duration::from_millis(300)),
        Fault::Trickle { bytes: 64, pause: Duration::from_millis(1) },
        Fault::Cut { after: 20 },
        Fault::Cut { after: 2_000 },
        Fault::Garble,
    ];
    let count = faults.len();
    let survived = |over| each_is_survived(over, faults.clone());
    let (http1, http2) = tokio::join!(survived(Over::Http1), survived(Over::Http2));
    for world in [http1, http2] {
        let again = world.shards().iter().filter(|shard| subscribed(&world, shard) > 1).count();
        assert!(again >= count - 2, "{again}: all but those that are only slow are subscribed to again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mishap_inside_a_subscription_is_survived_after_any_number_of_events() {
    let mut faults = Vec::new();
    for mishap in [
        Mishap::Cut,
        Mishap::Reset,
        Mishap::End,
        Mishap::Garble,
        Mishap::exception("InternalFailureException"),
        Mishap::exception("KMSThrottlingException"),
        Mishap::exception("LimitExceededException"),
        Mishap::exception("ResourceInUseException"),
        Mishap::exception("ResourceNotFoundException"),
        Mishap::exception("AccessDeniedException"),
    ] {
        for events in [0, 1, 3] {
            faults.push(Fault::after(events, mishap.clone()));
        }
    }
    let survived = |over| each_is_survived(over, faults.clone());
    let (http1, http2) = tokio::join!(survived(Over::Http1), survived(Over::Http2));
    for world in [http1, http2] {
        for shard in world.shards() {
            assert!(subscribed(&world, &shard) > 1, "{shard} met its mishap");
        }
    }
}

/// What waiting cannot mend stops the run at the place it has reached, and the next one goes on there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_taken_away_stops_the_run_and_the_next_one_goes_on_there() {
    for over in BOTH {
        let world = world(1, over).await;
        world.kinesis().encrypt(STREAM, Encryption::Kms);
        world.write(20);
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        world.kinesis().encrypt(STREAM, Encryption::KmsDisabled);
        let failure = run.ended().await.expect_failure().to_string();
        assert!(failure.contains("SubscribeToShard") && failure.contains("KMSDisabledException"), "{failure}");
        world.kinesis().encrypt(STREAM, Encryption::Kms);
        world.write(20);
        world.rig.catch_up().await.expect_success();
        world.expect_exact();
    }
}

/// One connection of HTTP/2 carries sixteen subscriptions: cut, it takes them all, and all come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_cost_no_record_and_repeat_none() {
    let survived = |over| async move {
        let world = world(20, over).await;
        let run = world.rig.start().await;
        for _ in 0..2 {
            world.aws.until_subscribed(20).await;
            world.write(500);
            world.aws.cut_connections();
            world.write(500);
            world.until_all_delivered().await;
        }
        run.drained().await.expect_success();
        expect_nothing_open(&world).await;
        world.expect_exact();
    };
    tokio::join!(survived(Over::Http1), survived(Over::Http2));
}

/// All kinds at once, by chance, at every operation, while shards change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weather_costs_no_record_and_repeats_none() {
    let survived = |over, seed| async move {
        let setup = Setup { limits: limits(), seed, ..Setup::default() };
        let mut world = with(16, over, setup).await;
        world.rig.manifest.parallelism = 2;
        let on = |operation, fault| world.aws.faults().on(operation).probability(0.03).inject(fault);
        for fault in
            [Fault::internal(), Fault::throttled(), Fault::Disconnect, Fault::Garble, Fault::Cut { after: 900 }]
        {
            on("SubscribeToShard", fault.clone());
            on("ListShards", fault);
        }
        for mishap in [
            Mishap::Cut,
            Mishap::Reset,
            Mishap::End,
            Mishap::Garble,
            Mishap::exception("InternalFailureException"),
            Mishap::exception("ResourceInUseException"),
        ] {
            on("SubscribeToShard", Fault::after(2, mishap));
        }
        let run = world.rig.start().await;
        for _ in 0..3 {
            world.reshard();
            world.kinesis().scale(STREAM, 12);
            world.write(500);
            world.until_all_delivered().await;
        }
        run.drained().await.expect_success();
        expect_nothing_open(&world).await;
        world.expect_exact();
        let refused = world.aws.counted(|counted| counted.operation("SubscribeToShard").refused);
        assert!(refused.len() >= 2, "{refused:?}");
    };
    tokio::join!(survived(Over::Http1, 7), survived(Over::Http2, 8));
}
