//! What comes of failures, and of what is never taken.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_repeated_under_its_token() {
    let mut bench = Bench::new(settings());
    bench.table.table.script([Fault::Unanswered, Fault::Code("ThrottlingException")]);
    bench.deliver(&[(1, vec![add("a")]), (2, vec![add("b")])]).await;
    assert_eq!(bench.rest().await, [0]);
    let tokens = bench.tokens();
    assert_eq!(tokens.len(), 3, "{tokens:?}");
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(bench.counts(), counts(&[("a", "1"), ("b", "1")]));
    let totals = bench.sink();
    assert_eq!((totals.sent.get(), totals.repeated.get(), totals.confirmed.get()), (6, 4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_cancelled_and_repeated_under_its_token() {
    let mut bench = Bench::new(settings());
    bench.table.seen(|seen| seen.before = [Duration::ZERO, 3_600 * SECOND].into());
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert_eq!(bench.rest().await, [0]);
    let tokens = bench.tokens();
    assert_eq!((tokens.len(), &tokens[0]), (2, &tokens[1]));
    assert_eq!((bench.counts(), bench.sink().timeouts.get()), (counts(&[("a", "1")]), 1));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_takes_too_long_is_repeated() {
    let mut bench = Bench::new(settings());
    bench.table.seen(|seen| seen.before = [3_600 * SECOND, 3_600 * SECOND].into());
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.table.seen(|seen| seen.claims), 3);
    assert_eq!(bench.counts(), counts(&[("a", "1")]));
}

#[tokio::test(start_paused = true)]
async fn throttles_and_conflicts_are_borne_without_end() {
    let mut bench = Bench::new(settings());
    let codes = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    bench.table.table.script((0..90).map(|turn| Fault::Cancelled(codes[turn % 3], 0)));
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts(), counts(&[("a", "1")]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_leaves_its_transaction_and_the_others_go() {
    let mut bench = Bench::on(table(), settings(), PoisonPolicy::Skip, 1);
    bench.table.table.script([Fault::Cancelled("ValidationError", 1)]);
    bench.deliver(&[(1, vec![add("a")]), (2, vec![add("b"), add("c")]), (3, vec![add("d")])]).await;
    assert_eq!(bench.rest().await, [0]);
    assert_eq!(bench.counts(), counts(&[("a", "1"), ("c", "1"), ("d", "1")]));
    let tokens = bench.tokens();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "another transaction has another token: {tokens:?}");
    assert_eq!(bench.sink().dead_letters.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_behind_a_dead_letter_is_written_where_the_manifest_stops_for_it() {
    let mut bench = Bench::new(settings());
    bench.table.table.script([Fault::Cancelled("ValidationError", 1)]);
    bench.deliver(&[(1, vec![add("a")]), (2, vec![add("b")]), (3, vec![add("c")])]).await;
    let told = bench.failure().await;
    assert!(told.contains("p=\"b\""), "{told}");
    bench.end().await;
    assert_eq!(bench.counts(), counts(&[]), "neither it nor its neighbours, which the next run meets again");
}

#[tokio::test(start_paused = true)]
async fn nothing_behind_a_record_that_fits_nowhere_is_written_where_the_manifest_stops_for_it() {
    let now = settings();
    let mut bench = Bench::new(Settings { options: Options { max_age: Duration::ZERO, ..now.options }, ..now });
    let large = (0..100).map(|key| add(&format!("k{key}"))).collect();
    bench.deliver(&[(1, vec![add("a")]), (2, large), (3, vec![add("c")])]).await;
    let told = bench.failure().await;
    assert!(told.contains("100 items are more than the 99 of a transaction"), "{told}");
    bench.end().await;
    assert_eq!(bench.counts(), counts(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fits_nowhere_is_passed_over_as_a_whole() {
    let mut bench = Bench::on(table(), settings(), PoisonPolicy::Skip, 1);
    let large = (0..100).map(|key| add(&format!("k{key}"))).collect();
    let no_number = ItemRequest { action: Doing::Add, item: Item(vec![("p".to_owned(), Value::Text("d".to_owned()))]) };
    bench.deliver(&[(1, vec![add("a")]), (2, large), (3, vec![add("c"), no_number])]).await;
    bench.deliver(&[(4, vec![request(Doing::Put, &"long".repeat(500), "1")])]).await;
    assert_eq!(bench.rest().await, [0, 1]);
    assert_eq!(bench.sink().dead_letters.get(), 102);
    assert_eq!(bench.counts(), counts(&[("a", "1"), ("c", "1")]));
}

#[tokio::test(start_paused = true)]
async fn a_newer_generation_stops_the_run_and_it_writes_nothing_more() {
    let mut bench = Bench::new(settings());
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert_eq!(bench.confirmed().await, 0);
    let key = applied_key("counts", &stream(), "shard-0");
    bench.table.table.claim(&key, 2).await.expect("a newer one");
    bench.deliver(&[(2, vec![add("a")])]).await;
    let told = bench.failure().await;
    assert!(told.contains("another process has taken this pipeline over"), "{told}");
    bench.end().await;
    assert_eq!(bench.counts(), counts(&[("a", "1")]));
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_is_refused_at_its_first_claim() {
    let mut bench = Bench::new(settings());
    bench.table.table.claim(&applied_key("counts", &stream(), "shard-0"), 2).await.expect("a newer one");
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert!(bench.failure().await.contains("another process has taken this pipeline over"));
    bench.end().await;
    assert_eq!(bench.counts(), counts(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_position_that_somebody_else_moved_stops_the_run() {
    let mut bench = Bench::new(settings());
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert_eq!(bench.confirmed().await, 0);
    let (from, to) = (row::applied(&after(1)), row::applied(&after(9)).expect("a record"));
    let moved = row::moved(&applied_key("counts", &stream(), "shard-0"), 1, from.as_ref(), &to);
    bench.table.table.transact("foreign", &moved, &[]).await.expect("moved");
    bench.deliver(&[(2, vec![add("a")])]).await;
    let told = bench.failure().await;
    assert!(told.contains("somebody else has moved it"), "{told}");
    bench.end().await;
    assert_eq!(bench.counts(), counts(&[("a", "1")]));
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_stops_a_run_that_wants_it_so() {
    let mut bench = Bench::new(Settings { fail_on_error: true, ..settings() });
    bench.table.table.script([Fault::Cancelled("TransactionConflict", 0)]);
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert!(bench.failure().await.contains("fail_on_error"));
    let mut bench = Bench::new(Settings { fail_on_timeout: true, ..settings() });
    bench.table.seen(|seen| seen.before = [Duration::ZERO, 3_600 * SECOND].into());
    bench.deliver(&[(1, vec![add("a")])]).await;
    assert!(bench.failure().await.contains("fail_on_timeout"));
}

#[tokio::test(start_paused = true)]
async fn tables_of_two_accounts_are_told_before_anything_is_written() {
    let table = table();
    let elsewhere = "arn:aws:dynamodb:us-east-1:999999999999:table/counts";
    table.table.alter(|description| elsewhere.clone_into(&mut description.arn));
    let mut bench = Bench::on(table, settings(), PoisonPolicy::Skip, 1);
    assert!(bench.failure().await.contains("cannot span regions or accounts"));
    bench.end().await;
    assert_eq!(bench.table.seen(|seen| seen.claims), 0);
}
