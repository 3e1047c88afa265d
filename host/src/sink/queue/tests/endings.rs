//! How it ends: with everything settled, or cut off.

use super::*;

#[tokio::test(start_paused = true)]
async fn when_nothing_more_comes_what_is_left_is_sent_at_once_and_everything_ends() {
    let mut bench = Bench::new(settings());
    bench.target.does(|_| Reply::done().after(SECOND));
    bench.deliver(&["a", "b", "c", "d", "e"]).await;
    bench.deliver(&[]).await;
    let started = bench.started;
    assert_eq!(bench.rest().await, [0, 1]);
    assert_eq!(started.elapsed().as_secs(), 1);
}

/// CKP-1: what is cut off is confirmed to nobody, and no request goes on behind the run's back.
#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_not_confirmed_and_its_requests_are_cancelled() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| if asked.number == 0 { Reply::done() } else { Reply::done().never() });
    bench.deliver(&["a", "b", "c", "d"]).await;
    bench.deliver(&["e", "f", "g", "h"]).await;
    bench.deliver(&["i"]).await;
    assert_eq!(bench.confirmed().await, 0);
    bench.close();
    calm().await;
    assert_eq!(bench.requests().len(), 3, "what is left is tried");
    bench.cut.cancel();
    assert!(bench.input().await.is_none());
    bench.target.until(|target| target.dropped() == 2).await;
    assert_eq!(bench.elapsed().as_secs(), 0);
}

/// LIM-1: receipts that wait are bounded, too.
#[tokio::test(start_paused = true)]
async fn deliveries_that_are_not_confirmed_are_bounded_and_none_begins_after_a_failure() {
    let mut bench = Bench::new(Settings { fail_on_error: true, ..settings() });
    bench.target.does(|_| Reply::throttled().after(SECOND));
    let permits = Arc::clone(&bench.confirmations.as_ref().expect("open").permits);
    let most = permits.available_permits();
    bench.deliver(&["a", "b", "c", "d"]).await;
    assert_eq!(permits.available_permits(), most - 1);
    let all = u32::try_from(most - 1).expect("some thousands");
    let others = Arc::clone(&permits).acquire_many_owned(all).await.expect("open");
    let next = Arc::clone(&permits).acquire_owned();
    let waiting = tokio::spawn(next);
    bench.failure().await;
    assert!(waiting.await.expect("no panic").is_err(), "who waits for a permit hears of it");
    drop(others);
}
