//! A shard that is ahead in event time waits for the others: it lets go of its subscription and takes another one later.

use host::source::memory::Call;
use tests::rig::{Rig, soon};
use tests::still::still;

use super::super::alignment::{LATE, say_at, timed};
use super::{pass, paused};

/// Waits until one of two subscriptions is let go and no other is taken: a renewal takes its place within seconds.
async fn until_let_go(rig: &Rig) {
    loop {
        rig.stream.until_subscribed(1).await;
        pass(15).await;
        if rig.stream.subscriptions().open == 1 {
            return;
        }
    }
}

/// WMK-1, DEL-1: paused for an hour, without a subscription, and without being taken for silent; then exact.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_ahead_lets_go_of_its_subscription_and_resumes_where_it_was() {
    let (rig, ahead, behind) = timed(paused(2));
    say_at(&rig, &behind, [0]);
    say_at(&rig, &ahead, [LATE]);
    let run = rig.start().await;
    still(rig.until_all_delivered()).await;
    still(rig.stream.until_subscribed(2)).await;
    // Watermarks are compared at the next heartbeat, and the subscription is held for ten seconds.
    soon("the pause", until_let_go(&rig)).await;
    say_at(&rig, &ahead, LATE + 1..LATE + 50);
    say_at(&rig, &behind, 1..50);
    still(rig.until_elements(51)).await;
    pass(3_600).await;
    assert_eq!((rig.elements().len(), rig.stream.subscriptions().open), (51, 1), "the one ahead is paused");
    assert_eq!((run.totals.silences.get(), run.totals.health.retries.get()), (0, 0));
    // Where the second of them is, word of the first one has reached whoever decides.
    say_at(&rig, &behind, [LATE]);
    still(rig.until_elements(52)).await;
    say_at(&rig, &behind, [LATE]);
    still(rig.until_elements(53)).await;
    pass(1).await;
    still(rig.until_all_delivered()).await;
    assert_eq!(rig.stream.subscriptions().open, 2);
    let totals = still(run.drained()).await.expect_success();
    assert_eq!((totals.silences.get(), totals.records_in.get()), (0, 102));
    rig.expect_exact();
}

/// WMK-1, DEL-1: a pause shorter than that costs no subscription.
#[tokio::test(start_paused = true)]
async fn a_short_pause_keeps_the_subscription() {
    let (rig, ahead, behind) = timed(paused(2));
    say_at(&rig, &behind, [0]);
    say_at(&rig, &ahead, [LATE]);
    let run = rig.start().await;
    still(rig.until_all_delivered()).await;
    pass(6).await;
    let calls = rig.stream.calls(Call::Subscribe);
    say_at(&rig, &ahead, [LATE + 1]);
    say_at(&rig, &behind, [LATE]);
    still(rig.until_elements(3)).await;
    say_at(&rig, &behind, [LATE]);
    still(rig.until_elements(4)).await;
    assert_eq!(rig.elements().len(), 4, "the one ahead is paused");
    pass(1).await;
    still(rig.until_all_delivered()).await;
    assert_eq!(rig.stream.calls(Call::Subscribe), calls);
    still(run.drained()).await.expect_success();
    rig.expect_exact();
}

/// A paused shard can be stopped like any other, and a run until caught up ends however far shards are apart.
#[tokio::test(start_paused = true)]
async fn runs_with_paused_shards_drain_and_catch_up() {
    let (rig, ahead, behind) = timed(paused(2));
    rig.stream.push_at_most(5);
    say_at(&rig, &behind, [0]);
    say_at(&rig, &ahead, [LATE]);
    let run = rig.start().await;
    still(rig.until_all_delivered()).await;
    pass(60).await;
    say_at(&rig, &ahead, (1..100).map(|step| LATE + step * 1_000));
    still(run.drained()).await.expect_success();
    say_at(&rig, &behind, (1..100).map(|step| step * 1_000));
    let run = rig.start_to_catch_up().await;
    rig.until_all_delivered().await;
    run.ended().await.expect_success();
    rig.expect_exact();
}
