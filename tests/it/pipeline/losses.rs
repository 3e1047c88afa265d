//! A subtask that is lost: it alone starts again, and what it held is read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use host::pipeline::failure::Failure;
use host_core::shard::ShardId;
use tests::rig::{Gate, Rig, Verdict};

/// Two shards, each with a subtask of its own.
fn two_subtasks() -> (Rig, ShardId, ShardId) {
    let mut rig = Rig::new(2);
    rig.manifest.parallelism = 2;
    let shards = rig.shards();
    (rig, shards[0].clone(), shards[1].clone())
}

/// Breaks the thread, not only the component.
fn panics(often: u32) -> impl Fn(tests::rig::Asked<'_>) -> Verdict + Send + Sync {
    let panics = AtomicU32::new(0);
    move |asked| {
        let bad = asked.says("boom") && panics.fetch_add(1, Ordering::Relaxed) < often;
        assert!(!bad, "as the test says");
        Verdict::Pass
    }
}

/// DEL-1, ORD-1: nothing is missing, no key goes back, and the sibling does not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_subtask_starts_again_alone_while_the_other_delivers() {
    let (rig, lost, other) = two_subtasks();
    let mut rig = rig.scripted(panics(1));
    rig.polling().max_records = 10;
    // Its new component takes as long as the test wants.
    let (gate, inner, made) = (Gate::default(), Arc::clone(&rig.component), AtomicU32::new(0));
    let passed = gate.clone();
    rig.component = Arc::new(move |subtask| {
        if made.fetch_add(1, Ordering::Relaxed) >= 2 {
            passed.pass();
        }
        inner(subtask)
    });
    rig.write_to(&lost, 50);
    rig.say(&lost, "boom");
    rig.write_to(&lost, 50);
    rig.write_to(&other, 50);
    let run = rig.start().await;
    gate.until_waiting().await;
    rig.write_to(&other, 200);
    let name = other.to_string();
    let of_other = |elements: &[Vec<u8>]| elements.iter().filter(|text| text.starts_with(name.as_bytes())).count();
    tests::rig::soon("the other subtask", rig.sink.until(|elements| of_other(elements) == 250)).await;
    gate.open();
    rig.until_all_delivered().await;
    let totals = run.drained().await.expect_success();
    assert_eq!(totals.lost_subtasks.get(), 1);
    rig.expect_exact();
    let mut starts: BTreeMap<u32, u32> = BTreeMap::new();
    for subtask in &rig.log.lock().expect("whole").made {
        *starts.entry(*subtask).or_default() += 1;
    }
    assert_eq!(starts.values().sum::<u32>(), 3, "{starts:?}");
}

/// DEL-1: several losses, and children that wait for the shard that was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_survives_losses_in_the_middle_of_a_family() {
    let rig = Rig::new(2).scripted(panics(3));
    let parent = rig.shards()[0].clone();
    rig.write(100);
    rig.say(&parent, "boom");
    let [child, _] = rig.stream.split(&parent);
    rig.say(&child, "boom");
    rig.write(100);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.lost_subtasks.get(), 3);
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subtask_that_is_lost_again_and_again_ends_the_run_at_the_place_before_what_does_it() {
    let (rig, lost, other) = two_subtasks();
    let rig = rig.scripted(panics(u32::MAX));
    rig.write_to(&lost, 20);
    rig.write_to(&other, 20);
    let run = rig.start().await;
    rig.until_elements(40).await;
    rig.say(&lost, "boom");
    let outcome = run.ended().await;
    assert_eq!(outcome.totals.lost_subtasks.get(), 3, "it was started again that often");
    let failure = outcome.expect_failure();
    assert!(matches!(failure, Failure::Vanished { part: "subtask" }), "{failure}");
    assert_eq!(failure.exit_code(), 1);
    let rig = rig.scripted(|_| Verdict::Pass);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// DEL-1: what a lost subtask held when the run was stopping is the next run's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_during_a_drain_ends_it() {
    let (rig, lost, other) = two_subtasks();
    let (gate, breaks) = (Gate::default(), Arc::new(AtomicBool::new(true)));
    let (passed, broken) = (gate.clone(), Arc::clone(&breaks));
    let rig = rig.scripted(move |asked| {
        if asked.says("boom") {
            passed.pass();
            assert!(!broken.load(Ordering::Relaxed), "as the test says");
        }
        Verdict::Pass
    });
    rig.write_to(&other, 20);
    rig.say(&lost, "boom");
    let run = rig.start().await;
    gate.until_waiting().await;
    run.stop();
    gate.open();
    run.ended().await.expect_success();
    breaks.store(false, Ordering::Relaxed);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}
