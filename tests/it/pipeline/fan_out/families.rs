//! Parents and children that are pushed: the order between them, and where runs end.

use std::collections::BTreeMap;

use host::source::memory::{Children, Lag, LastPage, ListingOrder};
use host_core::shard::{Position, ShardId};
use tests::rig::Rig;

use super::paused;

/// Panics if an element of a child reached the sink before the last one of a parent.
#[track_caller]
fn expect_parents_first(rig: &Rig) {
    let shard_of: BTreeMap<Vec<u8>, ShardId> =
        rig.stream.written().into_iter().map(|record| (record.data, record.shard)).collect();
    let mut places: BTreeMap<&ShardId, (usize, usize)> = BTreeMap::new();
    let elements = rig.sink.elements();
    for (place, element) in elements.iter().enumerate() {
        places.entry(&shard_of[element]).or_insert((place, place)).1 = place;
    }
    for child in rig.stream.shards() {
        for parent in &child.parents {
            if let (Some((first, _)), Some((_, last))) = (places.get(&child.id), places.get(parent)) {
                assert!(last < first, "{} came before the end of its parent {parent}", child.id);
            }
        }
    }
}

/// A split, a merge, a merge of two that came from splits, with records in every generation.
fn reshard(rig: &Rig) {
    let shards = rig.shards();
    rig.write(100);
    let [_, upper] = rig.stream.split(&shards[0]);
    rig.write(100);
    let [lower, _] = rig.stream.split(&shards[1]);
    rig.write(100);
    let merged = rig.stream.merge(&upper, &lower);
    rig.write(100);
    rig.stream.split(&merged);
    rig.write(100);
}

/// LIN-1, ORD-1: whatever the last event of a shard tells, and with or without records in it.
#[tokio::test(start_paused = true)]
async fn parents_come_before_children_whatever_the_last_event_holds() {
    for children in [Children::Told, Children::Omitted] {
        for last_page in [LastPage::WithRecords, LastPage::Empty] {
            for order in [ListingOrder::Creation, ListingOrder::Reverse] {
                let mut rig = paused(2);
                rig.manifest.parallelism = 3;
                rig.stream.push_at_most(10);
                rig.stream.tell_children(children);
                rig.stream.end_with(last_page);
                rig.stream.list_in(order);
                reshard(&rig);
                let totals = rig.catch_up().await.expect_success();
                rig.expect_exact();
                expect_parents_first(&rig);
                // One for each shard, and none after its end.
                assert_eq!(totals.subscriptions.get(), rig.shards().len() as u64);
                let closed = rig.stream.shards().into_iter().filter(|shard| shard.closed);
                closed.for_each(|shard| assert_eq!(rig.durable()[&shard.id], Position::ShardEnd));
                assert_eq!(rig.catch_up().await.expect_success().records_in.get(), 0);
            }
        }
    }
}

/// LIN-1, ORD-1: children that appear while the pipeline runs.
#[tokio::test(start_paused = true)]
async fn children_are_found_while_running_and_come_after_their_parents() {
    for children in [Children::Told, Children::Omitted] {
        for last_page in [LastPage::WithRecords, LastPage::Empty] {
            let mut rig = paused(2);
            rig.manifest.parallelism = 3;
            rig.stream.tell_children(children);
            rig.stream.end_with(last_page);
            let run = rig.start().await;
            rig.write(100);
            rig.until_elements(50).await;
            reshard(&rig);
            rig.until_all_delivered().await;
            run.drained().await.expect_success();
            rig.expect_exact();
            expect_parents_first(&rig);
            rig.catch_up().await.expect_success();
        }
    }
}

/// LIN-1, ORD-1: stopped in the middle of a family, again and again.
#[tokio::test(start_paused = true)]
async fn order_across_a_reshard_survives_restarts() {
    let mut rig = paused(2);
    rig.manifest.parallelism = 3;
    rig.stream.push_at_most(10);
    reshard(&rig);
    while rig.sink.elements().len() < rig.stream.written().len() {
        let delivered = rig.sink.elements().len();
        let run = rig.start().await;
        rig.until_elements(delivered + 1).await;
        run.drained().await.expect_success();
    }
    rig.expect_exact();
    expect_parents_first(&rig);
}

/// DEL-1: whatever events say of the distance to the end, also over a stream without any record.
#[tokio::test(start_paused = true)]
async fn a_run_until_caught_up_delivers_all_and_ends() {
    for lag in [Lag::Told, Lag::Zero, Lag::Omitted] {
        for records in [0, 300] {
            let rig = paused(3);
            rig.stream.push_at_most(5);
            rig.stream.tell_lag(lag);
            rig.write(records);
            rig.catch_up().await.expect_success();
            rig.expect_exact();
        }
    }
}

/// DEL-1: closed shards without children end the run at their ends.
#[tokio::test(start_paused = true)]
async fn a_run_until_caught_up_over_closed_shards_ends_at_their_ends() {
    for last_page in [LastPage::WithRecords, LastPage::Empty] {
        let rig = paused(2);
        rig.stream.end_with(last_page);
        rig.write(100);
        rig.shards().iter().for_each(|shard| rig.stream.close(shard));
        rig.catch_up().await.expect_success();
        rig.expect_exact();
        assert!(rig.durable().values().all(Position::is_end));
        assert_eq!(rig.catch_up().await.expect_success().records_in.get(), 0, "a finished shard is not read again");
    }
}
