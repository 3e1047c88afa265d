//! The life of a subscription: five minutes, and then the next.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::overheard::Overheard;
use tests::still::still;
use tokio::time::Instant;

use super::{pass, paused, rig};

/// Between two grants for one shard (the service's rule).
const INTERVAL: Duration = Duration::from_secs(5);

/// ORD-1, DEL-1: what is pushed arrives whole and in order, and the next run goes on after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_is_delivered_whole_and_in_order_and_a_restart_resumes() {
    let rig = rig(3);
    rig.write(300);
    let run = rig.start().await;
    rig.until_elements(300).await;
    rig.write(200);
    rig.until_elements(500).await;
    run.drained().await.expect_success();
    rig.write(100);
    let run = rig.start().await;
    rig.until_elements(600).await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// ORD-1, DEL-1: an hour of renewals, with a write to every shard in each minute.
#[tokio::test(start_paused = true)]
async fn fifty_subscriptions_are_renewed_for_an_hour_without_a_gap_a_repetition_or_a_crowd() {
    let mut rig = paused(50);
    let overheard = Overheard::over(&mut rig);
    let shards = rig.shards();
    let begun = Instant::now();
    let run = rig.start().await;
    still(rig.stream.until_subscribed(50)).await;
    for _ in 0..60 {
        pass(60).await;
        for shard in &shards {
            rig.write_to(shard, 1);
        }
        still(rig.until_all_delivered()).await;
    }
    let totals = still(run.drained()).await.expect_success();
    rig.expect_exact();
    assert_eq!(totals.records_in.get(), 3_000, "nothing was read twice");
    assert_eq!((totals.health.retries.get(), totals.silences.get(), totals.takeovers.get()), (0, 0, 0));
    assert_eq!(rig.stream.subscriptions().peak, 50, "one for each shard at any time");
    let mut renewals = Vec::new();
    for shard in &shards {
        let granted = overheard.granted(shard);
        assert!((12..=14).contains(&granted.len()), "{shard}: {}", granted.len());
        assert!(granted.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL), "{shard}: {granted:?}");
        renewals.extend(granted[1..].iter().map(|at| (*at - begun).as_secs()));
    }
    // Fifty that are spread over five minutes: by chance alone, a dozen within five seconds happen once in an age.
    for &second in &renewals {
        let together = renewals.iter().filter(|other| (second..second + 5).contains(other)).count();
        assert!(together < 15, "{together} within five seconds of {second}");
    }
    // Grants, not failures in between, are what the calls are.
    assert!(overheard.asked().iter().all(|asked| asked.granted));
}

/// DEL-1: a subscription that the service ends at any moment is followed by one that goes on where it ended.
#[tokio::test(start_paused = true)]
async fn subscriptions_that_end_or_break_at_any_moment_lose_and_repeat_nothing() {
    let mut rig = paused(2);
    rig.stream.push_at_most(3);
    let overheard = Overheard::over(&mut rig);
    let shards = rig.shards();
    let run = rig.start().await;
    still(rig.stream.until_subscribed(2)).await;
    for round in 0..40 {
        rig.write(20);
        for shard in &shards {
            if round % 2 == 0 { rig.stream.end_subscriptions(shard) } else { rig.stream.cut(shard) }
        }
        rig.write(20);
        rig.until_all_delivered().await;
    }
    let totals = still(run.drained()).await.expect_success();
    assert_eq!(totals.records_in.get(), 1_600, "nothing was read twice");
    rig.expect_exact();
    for shard in &shards {
        let granted = overheard.granted(shard);
        assert!(granted.len() > 20 && granted.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL), "{granted:?}");
    }
    assert!(overheard.asked().iter().all(|asked| asked.granted), "nobody came too early");
}

/// An event wakes its shard's task: there is no interval on its way, at the tip or after a quiet hour.
#[tokio::test(start_paused = true)]
async fn no_time_passes_between_a_record_and_its_element() {
    let rig = paused(3);
    let run = rig.start().await;
    still(rig.stream.until_subscribed(3)).await;
    let shards = rig.shards();
    for quiet in [0, 1, 4, 7, 60, 250, 3_600] {
        pass(quiet).await;
        for shard in &shards {
            let before = Instant::now();
            rig.write_to(shard, 1);
            still(rig.until_all_delivered()).await;
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
    }
    still(run.drained()).await.expect_success();
    rig.expect_exact();
}

/// Ends that are in step with one another are those of the service's clock; ours are not.
#[tokio::test(start_paused = true)]
async fn first_lives_are_of_different_lengths() {
    let mut rig = paused(30);
    let overheard = Overheard::over(&mut rig);
    let run = rig.start().await;
    still(rig.stream.until_subscribed(30)).await;
    pass(600).await;
    still(run.drained()).await.expect_success();
    let second: BTreeSet<_> = rig.shards().iter().map(|shard| overheard.granted(shard)[1]).collect();
    assert!(second.len() > 25, "{second:?}");
    let (first, last) = (second.first().expect("some"), second.last().expect("some"));
    assert!(*last - *first > Duration::from_secs(60));
}
