//! What goes into which transaction, and what waits for what.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_record_and_its_position_are_written_together() {
    let mut bench = Bench::new(settings());
    bench.deliver(&[(1, vec![add("a"), request(Doing::Put, "b", "7")]), (2, vec![add("c")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts(), counts(&[("a", "1"), ("b", "7"), ("c", "1")]));
    assert_eq!(bench.transactions().len(), 1, "what fits goes together");
    let row = bench.row("shard-0").expect("a row");
    assert_eq!(row.get("sequence"), Some(&Value::Text("2".to_owned())));
    assert_eq!(row.get("generation"), Some(&Value::Number("1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_company_as_long_as_it_may() {
    let mut bench = Bench::new(settings());
    bench.deliver(&[(1, vec![add("a")])]).await;
    sleep(SECOND / 2).await;
    bench.deliver(&[(2, vec![add("b")])]).await;
    assert_eq!(bench.confirmed().await, 0);
    assert!((SECOND..SECOND * 11 / 10).contains(&bench.started.elapsed()), "{:?}", bench.started.elapsed());
    assert_eq!(bench.confirmed().await, 1);
    assert_eq!(bench.transactions(), [["a", "b"]]);
}

#[tokio::test(start_paused = true)]
async fn additions_to_one_item_are_transactions_of_their_own_and_in_order() {
    let mut bench = Bench::new(settings());
    let put = request(Doing::Put, "a", "40");
    bench.deliver(&[(1, vec![add("a")]), (2, vec![add("a")]), (3, vec![put]), (4, vec![add("a")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts(), counts(&[("a", "41")]));
}

#[tokio::test(start_paused = true)]
async fn a_newer_put_takes_the_place_of_an_older_one() {
    let mut bench = Bench::new(settings());
    let put = |n| request(Doing::Put, "a", n);
    bench.deliver(&[(1, vec![put("1")]), (2, vec![put("2")]), (3, vec![put("3")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!((bench.transactions().len(), bench.sink().confirmed.get()), (1, 3));
    assert_eq!(bench.counts(), counts(&[("a", "3")]));
}

#[tokio::test(start_paused = true)]
async fn shards_are_written_side_by_side_and_each_in_its_order() {
    let mut bench = Bench::new(settings());
    bench.table.seen(|seen| seen.always = SECOND);
    let shards: Vec<String> = (0..6).map(|shard| format!("shard-{shard}")).collect();
    for sequence in 1..=3 {
        for shard in &shards {
            bench.deliver_of(shard, 1, &[(sequence, vec![add(shard)])]).await;
        }
    }
    assert_eq!(bench.rest().await.len(), 18);
    assert_eq!(bench.table.seen(|seen| seen.most), 6, "a shard has one transaction under way");
    assert!(bench.counts().values().all(|count| count == "3"), "{:?}", bench.counts());
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_under_way_than_allowed() {
    let mut bench = Bench::new(Settings { max_in_flight: 2, ..settings() });
    bench.table.seen(|seen| seen.always = SECOND);
    for shard in 0..6 {
        bench.deliver_of(&format!("shard-{shard}"), 1, &[(1, vec![add("a")])]).await;
    }
    assert_eq!(bench.rest().await.len(), 6);
    assert_eq!(bench.table.seen(|seen| seen.most), 2);
    assert_eq!(bench.counts(), counts(&[("a", "6")]));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_is_written_before_its_time_and_holds_no_more() {
    let limits = Settings { max_buffered: 3, ..settings() };
    let mut bench = Bench::new(Settings { options: Options { max_age: 3_600 * SECOND, ..limits.options }, ..limits });
    let records: Vec<_> = (1..=10).map(|sequence| (sequence, vec![add(&format!("k{sequence}"))])).collect();
    bench.deliver(&records).await;
    sleep(SECOND).await;
    assert!((1..=3).contains(&bench.sink().load().buffered), "the last ones wait for company");
    assert_eq!(bench.counts().len() + bench.sink().load().buffered, 10);
    assert!(bench.transactions().iter().all(|keys| keys.len() <= 3));
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_more_requests_than_the_buffer_holds_still_goes() {
    let mut bench = Bench::new(Settings { max_buffered: 3, ..settings() });
    bench.deliver(&[(1, (0..50).map(|key| add(&format!("k{key}"))).collect())]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts().len(), 50);
}
