//! Trouble that passes is waited out; one shard's trouble is no sibling's.

use std::time::Duration;

use tests::simulated::{Clock, Encryption, Fault, Limits, Setup};

use super::world::{STREAM, World};

/// Peers 5.1: ten minutes, 300 times as fast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_of_throttling_are_survived_alone() {
    let setup = Setup { clock: Clock::sped_up(300.0), limits: Limits::any_rate(), seed: 0 };
    let world = World::with(2, setup).await;
    world.write(50);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    world.aws.faults().on_any().lasting(Duration::from_secs(600)).inject(Fault::throttled());
    world.aws.until("a throttle", |counted| !counted.operation("GetRecords").refused.is_empty()).await;
    world.write(50);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
}

/// One call of each kind of trouble, at every operation, again and again, while shards change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenth_of_all_calls_in_trouble_costs_no_record_and_repeats_none() {
    let world = World::new(2).await;
    let troubles = [
        Fault::internal(),
        Fault::unavailable(),
        Fault::throttled(),
        Fault::Disconnect,
        Fault::Cut { after: 20 },
        Fault::Garble,
    ];
    for fault in troubles {
        world.aws.faults().on("GetRecords").probability(0.02).inject(fault.clone());
        world.aws.faults().on("GetShardIterator").probability(0.02).inject(fault.clone());
        world.aws.faults().on("ListShards").probability(0.02).inject(fault);
    }
    world.aws.faults().on("GetRecords").probability(0.02).inject(Fault::expired_iterator());
    let run = world.rig.start().await;
    for _ in 0..5 {
        world.reshard();
        world.until_all_delivered().await;
        world.kinesis().scale(STREAM, 2);
    }
    // The readers ask on, so every kind of refusal comes in the end.
    world.aws.until("every kind of refusal", |counted| counted.operation("GetRecords").refused.len() >= 4).await;
    run.drained().await.expect_success();
    world.expect_exact();
}

/// The others go on at full speed: what they deliver is the measure of time, not a clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_shard_leaves_the_others_at_speed_and_goes_on_when_released() {
    let mut world = World::new(4).await;
    world.rig.manifest.parallelism = 2;
    let shards = world.shards();
    let rule = world.aws.faults().on("GetRecords").shard(&shards[0]).inject(Fault::Hang);
    world.write_to(&shards[0], 50);
    let run = world.rig.start().await;
    world.aws.until_hung(1).await;
    let mut delivered = 0;
    for _ in 0..20 {
        for shard in &shards[1..] {
            world.write_to(shard, 10);
        }
        delivered += 30;
        world.rig.until_elements(delivered).await;
    }
    assert!(!world.rig.elements().iter().any(|element| element.starts_with(&shards[0])));
    assert_eq!(world.aws.counted(|counted| counted.hung), 1);
    world.aws.faults().lift(rule);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_whose_pages_trickle_leaves_the_others_at_speed() {
    let world = World::new(3).await;
    let shards = world.shards();
    let trickle = Fault::Trickle { bytes: 1024, pause: Duration::from_millis(20) };
    let rule = world.aws.faults().on("GetRecords").shard(&shards[0]).inject(trickle);
    world.write_to(&shards[0], 200);
    let run = world.rig.start().await;
    for shard in &shards[1..] {
        world.write_to(shard, 200);
    }
    world.rig.until_elements(400).await;
    assert!(!world.rig.elements().iter().any(|element| element.starts_with(&shards[0])));
    world.aws.faults().lift(rule);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
}

/// What waiting cannot mend stops the run at the place it has reached, and the next one goes on there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_taken_away_stops_the_run_and_one_that_is_slow_does_not() {
    let world = World::new(1).await;
    world.kinesis().encrypt(STREAM, Encryption::Kms);
    world.write(20);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    world.kinesis().encrypt(STREAM, Encryption::KmsThrottling);
    world.aws.until("a throttle", |counted| !counted.operation("GetRecords").refused.is_empty()).await;
    world.kinesis().encrypt(STREAM, Encryption::Kms);
    world.write(20);
    world.until_all_delivered().await;
    world.kinesis().encrypt(STREAM, Encryption::KmsDisabled);
    let failure = run.ended().await.expect_failure().to_string();
    assert!(failure.contains("KMS") || failure.contains("decrypted"), "{failure}");
    world.kinesis().encrypt(STREAM, Encryption::Kms);
    world.write(20);
    world.rig.catch_up().await.expect_success();
    world.expect_exact();
}

/// A listing that is late, or leaves a shard out for a while, costs time and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_that_lag_behind_lose_no_child() {
    let world = World::new(2).await;
    world.kinesis().habits(STREAM, |habits| habits.listing_lag = Duration::from_millis(150));
    let run = world.rig.start().await;
    for _ in 0..3 {
        world.reshard();
        world.until_all_delivered().await;
        world.kinesis().scale(STREAM, 2);
    }
    world.write(50);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
}
