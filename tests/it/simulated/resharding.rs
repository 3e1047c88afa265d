//! Lineage over the wire: whatever happens to shards, no record is lost, repeated or out of order for its key.

use host::config::InitialPosition;
use tests::simulated::{Children, LastPage, Limits, Setup};

use super::world::{STREAM, World};

/// Peers 5.1: closed before the first start, in every way that a shard may end; twice during one downtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_were_closed_before_the_first_start_are_read_whole_and_in_order() {
    for children in [Children::Told, Children::Omitted] {
        for last_page in [LastPage::WithRecords, LastPage::Empty] {
            let mut world = World::new(2).await;
            world.rig.manifest.parallelism = 2;
            world.rig.polling().max_records = 10;
            world.kinesis().habits(STREAM, |habits| (habits.children, habits.last_page) = (children, last_page));
            world.reshard();
            world.rig.catch_up().await.expect_success();
            world.expect_exact();
        }
    }
}

/// Peers 5.1: split and merged while running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_are_split_and_merged_in_a_run_are_read_whole_and_in_order() {
    for children in [Children::Told, Children::Omitted] {
        let mut world = World::new(2).await;
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
        world.expect_exact();
    }
}

/// Peers 5.1: split and merged while stopped, twice during one downtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_that_came_and_went_while_nobody_read_are_read_in_order() {
    let mut world = World::new(2).await;
    world.rig.manifest.parallelism = 2;
    world.write(100);
    for count in [5, 1, 4] {
        world.rig.catch_up().await.expect_success();
        world.reshard();
        world.kinesis().scale(STREAM, count);
        world.write(100);
        // The next round splits the first two of those that are open.
        world.kinesis().scale(STREAM, 2);
        world.write(100);
    }
    world.rig.catch_up().await.expect_success();
    world.expect_exact();
}

/// Peers 5.1: more shards than one page of a listing, closed ones among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_of_a_listing_of_many_pages_is_read() {
    let limits = Limits { listing_page_max: 4, ..Limits::any_rate() };
    let mut world = World::with(9, Setup { limits, ..Setup::default() }).await;
    world.rig.manifest.parallelism = 2;
    world.write(200);
    world.reshard();
    world.rig.catch_up().await.expect_success();
    world.expect_exact();
}

/// Peers 5.1, LIN-1: one parent of a merge is past retention before anybody read it; the other is read first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_of_a_merge_is_read_when_one_parent_is_gone() {
    let world = World::new(2).await;
    let parents = world.shards();
    world.write_to(&parents[1], 20);
    let child = world.kinesis().merge(STREAM, &parents[0], &parents[1]);
    world.write_to(&child, 20);
    world.kinesis().expire(STREAM, &parents[0]);
    world.rig.catch_up().await.expect_success();
    world.expect_exact();
    let elements = world.rig.elements();
    let first_of_child = elements.iter().position(|element| element.starts_with(&child)).expect("20 records");
    assert_eq!(first_of_child, 20, "the parent that is left comes first");
}

/// Peers 5.1, LIN-3, POS-1: `latest` is for the shards of the start; a child is read from its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_of_a_child_found_after_a_start_at_latest_is_lost() {
    for children in [Children::Told, Children::Omitted] {
        let mut world = World::new(1).await;
        world.rig.manifest.source.initial_position = InitialPosition::Latest;
        world.kinesis().habits(STREAM, |habits| habits.children = children);
        let run = world.rig.start().await;
        world.aws.until_called("GetRecords", 1).await;
        world.write(50);
        let parent = world.shards()[0].clone();
        let [lower, upper] = world.kinesis().split(STREAM, &parent);
        world.write(50);
        let merged = world.kinesis().merge(STREAM, &lower, &upper);
        world.write_to(&merged, 50);
        world.until_all_delivered().await;
        run.drained().await.expect_success();
        world.expect_exact();
    }
}
