//! When requests leave, and what is told of them.

use super::*;

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
