//! When requests leave, how many at a time, and what is told of them.

use super::*;
use crate::flow::Budget;

/// BAT-1: with real requests, in paused time.
#[tokio::test(start_paused = true)]
async fn a_full_request_leaves_at_once_and_the_rest_when_it_is_of_age() {
    let mut bench = Bench::new(settings());
    bench.deliver(&["a", "b", "c"]).await;
    bench.deliver(&["d", "e"]).await;
    assert_eq!(bench.confirmed().await, 0);
    assert_eq!(bench.elapsed(), Duration::ZERO);
    assert_eq!(bench.confirmed().await, 1);
    assert_eq!(bench.elapsed().as_secs(), 5);
    assert_eq!(bench.requests(), [vec!["a", "b", "c", "d"], vec!["e"]]);
    let sink = bench.sink();
    assert_eq!((sink.confirmed.get(), sink.sent.get(), sink.repeated.get(), sink.requests.get()), (5, 5, 0, 2));
    assert_eq!(bench.totals.elements_out.get(), 5);
    assert_eq!(bench.rest().await, Vec::<u64>::new());
}

/// AS-12.
#[tokio::test(start_paused = true)]
async fn the_timer_takes_all_that_is_there_and_runs_anew_for_what_comes_later() {
    let mut settings = settings();
    settings.options.max_age = Duration::from_millis(100);
    let mut bench = Bench::new(settings);
    bench.target.does(|asked| if asked.number == 1 { Reply::throttled() } else { Reply::done() });
    bench.deliver(&["a"]).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    bench.deliver(&["b"]).await;
    tokio::time::sleep(Duration::from_millis(39)).await;
    assert_eq!(bench.requests().len(), 0, "not after 99 ms");
    assert_eq!((bench.confirmed().await, bench.confirmed().await), (0, 1));
    bench.deliver(&["c"]).await;
    tokio::time::sleep(Duration::from_millis(110)).await;
    bench.deliver(&["d"]).await;
    assert_eq!((bench.confirmed().await, bench.confirmed().await), (2, 3));
    let requests = bench.target.requests();
    let millis: Vec<_> = requests.iter().map(|asked| asked.at.as_millis()).collect();
    assert!(millis[0] >= 100 && millis[0] <= 102 && millis[1] >= 200 && millis[1] <= 204, "{millis:?}");
    assert_eq!(requests[0].keys, ["a", "b"]);
    assert_eq!(requests[1].keys, ["c"]);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(bench.requests().len(), requests.len(), "an empty buffer has no timer");
}

/// AS-13.
#[tokio::test(start_paused = true)]
async fn no_more_requests_are_under_way_than_may_be_and_a_later_one_may_be_answered_first() {
    for (max_in_flight, seconds) in [(1, 4), (2, 3)] {
        let mut settings = settings();
        settings.options.max_in_flight = max_in_flight;
        let mut bench = Bench::new(settings);
        bench.target.does(|asked| Reply::done().after([3, 1][asked.number] * SECOND));
        bench.deliver_of("shard-0", &["a", "b", "c", "d"]).await;
        bench.deliver_of("shard-1", &["e", "f", "g", "h"]).await;
        let order = [bench.confirmed().await, bench.confirmed().await];
        assert_eq!(order, if max_in_flight == 1 { [0, 1] } else { [1, 0] });
        assert_eq!((bench.elapsed().as_secs(), bench.target.in_flight_most()), (seconds, max_in_flight));
    }
}

/// AS-15.
#[tokio::test(start_paused = true)]
async fn what_a_sink_holds_and_how_long_its_last_request_took_can_be_seen() {
    let mut bench = Bench::new(settings());
    bench.target.does(|_| Reply::done().after(Duration::from_millis(730)));
    assert_eq!(bench.sink().load().last_request, None);
    bench.deliver(&["a", "b", "c", "d"]).await;
    bench.deliver(&["e"]).await;
    calm().await;
    let load = bench.sink().load();
    assert_eq!((load.buffered, load.in_flight), (5, 1));
    assert!((5 * 256..5 * 512).contains(&load.bytes), "what five entries take here, not what the service counts");
    assert!(load.oldest.is_some());
    assert_eq!(bench.confirmed().await, 0);
    calm().await;
    let load = bench.sink().load();
    let took = load.last_request.expect("there was one");
    assert!(took >= Duration::from_millis(730) && took < Duration::from_millis(733), "{took:?}");
    assert_eq!((load.buffered, load.in_flight), (1, 0));
}

/// LIM-1: the buffer bounds what is taken; what waits keeps its share of the budget of what is read.
#[tokio::test(start_paused = true)]
async fn a_full_buffer_takes_nothing_and_what_waits_keeps_its_share_of_the_readers_budget() {
    let mut settings = settings();
    settings.options.max_buffered = 4;
    let mut bench = Bench::new(settings);
    bench.target.does(|_| Reply::done().after(3 * SECOND));
    let budget = Budget::new(64 << 10);
    for keys in [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]] {
        let held = budget.reserve(1 << 10).await;
        bench.deliver_held(&keys, Some(Arc::new(held))).await;
    }
    calm().await;
    assert_eq!((bench.sink().load().buffered, budget.held()), (4, 2 << 10), "the second found room for one of three");
    assert_eq!(bench.confirmed().await, 0);
    calm().await;
    assert_eq!(budget.held(), 1 << 10, "the third found room for two of three");
    assert_eq!((bench.confirmed().await, bench.elapsed().as_secs()), (1, 6));
    calm().await;
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn entries_do_not_wait_for_company_while_others_wait_for_them() {
    let mut bench = Bench::new(settings());
    bench.deliver(&["a"]).await;
    calm().await;
    assert_eq!(bench.requests().len(), 0);
    bench.eager.send_replace(true);
    assert_eq!(bench.confirmed().await, 0);
    bench.deliver(&["b"]).await;
    assert_eq!(bench.confirmed().await, 1);
    assert_eq!(bench.elapsed().as_secs(), 0);
    bench.eager.send_replace(false);
    calm().await;
    bench.deliver(&["c"]).await;
    assert_eq!((bench.confirmed().await, bench.elapsed().as_secs()), (2, 5));
}

#[tokio::test(start_paused = true)]
async fn quotas_that_become_known_hold() {
    let mut bench = Bench::new(settings());
    let quota = batching::Quota { records_per_second: 1.0, bytes_per_second: 1e6 };
    for key in ["a", "b", "c", "d"] {
        bench.target.tell(MemoryTarget::destination(key), Some(quota));
    }
    for _ in 0..5 {
        bench.deliver(&["a", "b", "c", "d"]).await;
    }
    for delivery in 0..5 {
        assert_eq!(bench.confirmed().await, delivery);
    }
    assert!(bench.elapsed() >= 3 * SECOND, "{:?}", bench.elapsed());
}
