//! Parents and children that are pushed: the order between them, and where runs end.

use host::source::memory::{Children, Lag, LastPage, ListingOrder};
use host_core::shard::Position;

use super::super::families::{expect_parents_first, reshard};
use super::paused;

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
                reshard(&rig, 100);
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
            reshard(&rig, 100);
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
    reshard(&rig, 100);
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
