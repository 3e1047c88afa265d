//! Many shards, some of which do not answer.

use tests::simulated::Fault;

use super::world::{STREAM, World};

/// ISO-1 of shards: no record of another waits for one that hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_shard_of_a_hundred_hung_the_records_of_all_others_arrive() {
    let world = World::new(100).await;
    let shards = world.shards();
    let hang = world.aws.faults().on("GetRecords").shard(&shards[0]).inject(Fault::Hang);
    world.write_to(&shards[0], 10);
    let run = world.rig.start().await;
    for round in 1..=3 {
        shards[1..].iter().for_each(|shard| world.write_to(shard, 10));
        world.rig.until_elements(round * 990).await;
    }
    assert_eq!(world.aws.counted(|counted| counted.calls_of("GetRecords", STREAM, &shards[0])), 1);
    world.aws.faults().lift(hang);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
}

/// A page that nobody has seen is reserved room for, and a call that hangs keeps it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_the_shards_may_hang_without_taking_the_room_of_the_other_half() {
    let mut world = World::new(16).await;
    world.rig.manifest.source.read_ahead = 1 << 20;
    let shards = world.shards();
    let (hung, healthy) = shards.split_at(8);
    for shard in hung {
        world.aws.faults().on("GetRecords").shard(shard).inject(Fault::Hang);
    }
    healthy.iter().for_each(|shard| world.write_to(shard, 50));
    let run = world.rig.start().await;
    world.aws.until_hung(8).await;
    world.until_all_delivered().await;
    healthy.iter().for_each(|shard| world.write_to(shard, 50));
    world.until_all_delivered().await;
    assert_eq!(world.aws.counted(|counted| counted.hung), 8);
    world.aws.faults().mend();
    run.drained().await.expect_success();
    world.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_start_together_do_not_open_a_connection_each() {
    const SHARDS: u32 = 3_000;
    let world = World::new(SHARDS).await;
    world.aws.faults().on("GetShardIterator").inject(Fault::Hang);
    let run = world.rig.start().await;
    world.aws.until_hung(90).await;
    // While the shards are listed again and again, every reader has long had its turn.
    world.aws.until_called_again("ListShards", 5).await;
    let hung = world.aws.counted(|counted| counted.hung);
    assert!(hung <= 1_024, "{hung} calls are under way for {SHARDS} readers");
    world.aws.faults().mend();
    world.aws.until("every shard to be read", |counted| counted.calls("GetShardIterator") >= u64::from(SHARDS)).await;
    world.write(100);
    world.until_all_delivered().await;
    run.drained().await.expect_success();
    world.expect_exact();
    // A call that finds no idle connection begins one, and may be overtaken by one that becomes idle: hence somewhat more.
    let connected = world.aws.counted(|counted| counted.connected);
    assert!(connected < 2_048, "{connected} connections for {SHARDS} readers");
}
