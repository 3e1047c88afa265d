//! A subscription that died without a word, and what only looks like one.

use std::time::Duration;

use host::source::memory::Call;
use tests::overheard::Overheard;
use tests::rig::{Gate, Rig, Verdict, soon};
use tests::still::still;
use tests::told::Told;
use tokio::time::Instant;

use super::{pass, paused};

async fn until_another_call(rig: &Rig) {
    let made = rig.stream.calls(Call::Subscribe);
    soon("another call", rig.stream.until_calls(Call::Subscribe, made + 1)).await;
}

/// DEL-1: found in time, told when it happens again, and nothing is lost over it.
#[tokio::test(start_paused = true)]
async fn a_silent_stall_is_found_within_35_seconds_and_told_when_it_happens_again() {
    let told = Told::listen();
    let mut rig = paused(2);
    let overheard = Overheard::over(&mut rig);
    let [stalled, other] = rig.shards().try_into().expect("two shards");
    rig.write_to(&stalled, 10);
    let run = rig.start().await;
    still(rig.until_all_delivered()).await;
    // The first subscriptions live for a random part of their time; the second one of the shard has just begun.
    while overheard.granted(&stalled).len() < 2 {
        until_another_call(&rig).await;
    }
    pass(8).await;
    let since = Instant::now();
    let calls = overheard.granted(&stalled).len();
    rig.stream.stall(&stalled);
    rig.write_to(&stalled, 10);
    rig.write_to(&other, 10);
    still(rig.until_elements(20)).await;
    let silences = || run.totals.silences.get();
    while overheard.granted(&stalled).len() == calls {
        until_another_call(&rig).await;
    }
    let found = overheard.granted(&stalled)[calls] - since;
    assert!(found <= Duration::from_millis(35_100), "{found:?}");
    assert_eq!((silences(), run.totals.health.struggling()), (1, None));
    assert!(told.with("failed for a while").is_empty(), "once may happen");
    pass(36).await;
    assert_eq!(silences(), 2);
    let struggling = run.totals.health.struggling().expect("told").1;
    assert!(struggling.contains(stalled.as_str()), "{struggling}");
    let lines = told.with("failed for a while");
    assert!(lines.len() == 1 && lines[0].contains(stalled.as_str()), "{lines:?}");
    rig.stream.release(&stalled);
    rig.until_all_delivered().await;
    pass(10).await;
    assert_eq!(run.totals.health.struggling(), None);
    let totals = still(run.drained()).await.expect_success();
    assert_eq!(totals.records_in.get(), 30, "nothing was read twice");
    rig.expect_exact();
}

#[tokio::test(start_paused = true)]
async fn heartbeats_alone_are_no_silence() {
    let rig = paused(2);
    let run = rig.start().await;
    still(rig.stream.until_subscribed(2)).await;
    pass(3_600).await;
    rig.write(10);
    still(rig.until_all_delivered()).await;
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.silences.get(), totals.health.retries.get()), (0, 0));
    assert!(totals.subscriptions.get() <= 28, "{}", totals.subscriptions.get());
}

/// LIM-1: who waits for room, or for the component, hears nothing and is told nothing.
#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_room_or_for_a_slow_component_is_not_taken_for_silent() {
    let gate = Gate::default();
    let passed = gate.clone();
    let mut rig = paused(4).scripted(move |_| {
        passed.pass();
        Verdict::Pass
    });
    rig.manifest.source.read_ahead = 1 << 20;
    rig.stream.push_at_most(20);
    let filling = "x".repeat(20_000);
    for shard in rig.shards() {
        (0..100).for_each(|_| drop(rig.say(&shard, &filling)));
    }
    let run = rig.start().await;
    gate.until_waiting().await;
    pass(900).await;
    let events = rig.stream.calls(Call::Event);
    pass(900).await;
    assert_eq!(rig.stream.calls(Call::Event), events, "nothing is pulled for which there is no room");
    assert_eq!((run.totals.silences.get(), run.totals.health.struggling()), (0, None));
    gate.open();
    rig.until_all_delivered().await;
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.silences.get(), totals.health.retries.get()), (0, 0));
    rig.expect_exact();
}
