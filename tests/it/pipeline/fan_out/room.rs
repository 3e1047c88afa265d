//! What shards that are far behind may hold: the budget, and no event beyond it.

use host::source::memory::Call;
use tests::overheard::Overheard;
use tests::rig::{Gate, Verdict, soon};

use super::rig;

const MIB: usize = 1 << 20;

/// LIM-1: forty shards, each with more than the whole budget to bring, while the component stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_are_behind_hold_no_more_than_the_budget() {
    let gate = Gate::default();
    let passed = gate.clone();
    let mut rig = rig(40).scripted(move |_| {
        passed.pass();
        Verdict::Pass
    });
    rig.manifest.source.read_ahead = MIB as u64;
    rig.stream.push_at_most(10);
    let overheard = Overheard::over(&mut rig);
    let filling = "x".repeat(10_000);
    for shard in rig.shards() {
        (0..120).for_each(|_| drop(rig.say(&shard, &filling)));
    }
    let run = rig.start().await;
    gate.until_waiting().await;
    rig.stream.until_subscribed(40).await;
    // An event is about 100 KB: ten of them fit.
    soon("ten events", rig.stream.until_calls(Call::Event, 9)).await;
    // Listings come every 20 ms, whatever readers do.
    let listings = rig.stream.calls(Call::ListShards);
    soon("listings", rig.stream.until_calls(Call::ListShards, listings + 10)).await;
    let events = rig.stream.calls(Call::Event);
    assert!((9..=10).contains(&events), "{events} events are held");
    assert!(overheard.held_most() > 9 * MIB as u64 / 10, "{}", overheard.held_most());
    gate.open();
    rig.until_all_delivered().await;
    let totals = run.drained().await.expect_success();
    assert!(overheard.held_most() <= MIB as u64, "{} are more than the budget", overheard.held_most());
    assert_eq!((totals.records_in.get(), totals.health.retries.get()), (4_800, 0));
    rig.expect_exact();
}

/// LIM-1: an event larger than the budget comes alone, and comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_larger_than_the_whole_budget_get_through_one_by_one() {
    let mut rig = rig(6);
    rig.manifest.source.read_ahead = 1 << 16;
    rig.stream.push_at_most(10);
    let overheard = Overheard::over(&mut rig);
    let filling = "x".repeat(20_000);
    for shard in rig.shards() {
        (0..50).for_each(|_| drop(rig.say(&shard, &filling)));
    }
    rig.catch_up().await.expect_success();
    rig.expect_exact();
    // The budget is full with the first, and nobody else gets in before it is paid.
    assert!(overheard.held_most() <= 210_000, "{} is more than one event", overheard.held_most());
}
