//! Parents and children: the order between them, and how they are found.

use std::collections::BTreeMap;

use host::config::InitialPosition;
use host::source::memory::{Children, LastPage, ListingOrder};
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use tests::rig::Rig;

/// Panics if an element of a child reached the sink before the last one of a parent.
#[track_caller]
pub(super) fn expect_parents_first(rig: &Rig) {
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

/// A split, a merge, a merge of two that came from splits, with so many records in every generation.
pub(super) fn reshard(rig: &Rig, records: usize) {
    let shards = rig.shards();
    rig.write(records);
    let [_, upper] = rig.stream.split(&shards[0]);
    rig.write(records);
    let [lower, _] = rig.stream.split(&shards[1]);
    rig.write(records);
    let merged = rig.stream.merge(&upper, &lower);
    rig.write(records);
    rig.stream.split(&merged);
    rig.write(records);
}

/// LIN-1, ORD-1: whatever the end of a shard tells, and in whichever order shards are listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_come_before_children_across_splits_and_merges_that_happened_before_the_start() {
    for children in [Children::Told, Children::Omitted] {
        for last_page in [LastPage::WithRecords, LastPage::Empty] {
            for order in [ListingOrder::Creation, ListingOrder::Reverse, ListingOrder::Shuffled(7)] {
                let mut rig = Rig::new(2);
                rig.manifest.parallelism = 3;
                rig.polling().max_records = 10;
                rig.stream.tell_children(children);
                rig.stream.end_with(last_page);
                rig.stream.list_in(order);
                reshard(&rig, 200);
                rig.catch_up().await.expect_success();
                rig.expect_exact();
                expect_parents_first(&rig);
            }
        }
    }
}

/// LIN-1, ORD-1: children that appear while the pipeline runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_discovered_while_running_and_come_after_their_parents() {
    for children in [Children::Told, Children::Omitted] {
        let mut rig = Rig::new(2);
        rig.manifest.parallelism = 3;
        rig.stream.tell_children(children);
        let run = rig.start().await;
        rig.write(200);
        rig.until_elements(50).await;
        reshard(&rig, 200);
        rig.until_all_delivered().await;
        run.drained().await.expect_success();
        rig.expect_exact();
        expect_parents_first(&rig);
    }
}

/// LIN-1: a run that stops between a parent and its children leaves a state from which the next goes on in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_across_a_reshard_survives_restarts() {
    let mut rig = Rig::new(2);
    rig.manifest.parallelism = 3;
    rig.polling().max_records = 10;
    reshard(&rig, 200);
    let mut delivered = 0;
    while rig.sink.elements().len() < rig.stream.written().len() {
        let run = rig.start().await;
        rig.until_elements(delivered + 1).await;
        run.drained().await.expect_success();
        delivered = rig.sink.elements().len();
    }
    rig.expect_exact();
    expect_parents_first(&rig);
}

/// LIN-1: one parent of a merge is enough to wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merged_child_waits_for_the_parent_that_hangs() {
    let mut rig = Rig::new(3);
    rig.manifest.parallelism = 3;
    let shards = rig.shards();
    for shard in &shards {
        rig.write_to(shard, 50);
    }
    let child = rig.stream.merge(&shards[0], &shards[1]);
    rig.write_to(&child, 50);
    rig.stream.hang(&shards[1]);
    let run = rig.start().await;
    rig.until_elements(100).await;
    // The third shard's progress is the measure of time: the child has had its chance.
    for _ in 0..20 {
        let before = rig.sink.elements().len();
        rig.write_to(&shards[2], 1);
        rig.until_elements(before + 1).await;
    }
    assert!(!rig.elements().iter().any(|element| element.starts_with(child.as_str())));
    rig.stream.release(&shards[1]);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
    expect_parents_first(&rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_run_beside_their_parents_if_order_is_not_asked_for() {
    let mut rig = Rig::new(1);
    rig.manifest.source.preserve_shard_order = false;
    let parent = rig.shards()[0].clone();
    rig.write_to(&parent, 50);
    let children = rig.stream.split(&parent);
    for child in &children {
        rig.write_to(child, 50);
    }
    rig.stream.hang(&parent);
    let run = rig.start().await;
    rig.until_elements(100).await;
    assert!(!rig.elements().iter().any(|element| element.starts_with(parent.as_str())));
    rig.stream.release(&parent);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// LIN-3: the configured timestamp is for the shards of the first listing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_found_later_is_read_from_its_beginning_whatever_the_timestamp_says() {
    // Told with the parent's end, or found by a listing.
    for children in [Children::Told, Children::Omitted] {
        let mut rig = Rig::new(1);
        rig.stream.tell_children(children);
        let parent = rig.shards()[0].clone();
        let early = rig.say(&parent, "early").arrival;
        rig.stream.set_now(EpochMillis(early.0 + 10_500));
        rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(early.0 + 10_400));
        rig.say(&parent, "late");
        let run = rig.start().await;
        rig.until_elements(1).await;
        // A clock that is behind: the child's records look older than the timestamp.
        rig.stream.set_now(EpochMillis(early.0 + 500));
        let [child, _] = rig.stream.split(&parent);
        rig.say(&child, "child");
        rig.until_elements(2).await;
        run.drained().await.expect_success();
        let said: Vec<_> = rig.elements().iter().filter_map(|text| Some(text.rsplit_once(' ')?.1.to_owned())).collect();
        assert_eq!(said, ["late", "child"]);
    }
}
