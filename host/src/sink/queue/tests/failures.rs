//! What is not taken: repeated, buried, or told as the reason to stop.

use host_core::batching::{Outcome, Setback};
use host_core::patience::Trouble;

use super::*;

fn retry(setback: Setback) -> Outcome {
    Outcome::Retry(setback)
}

/// AS-10: a checkpoint needs nothing but receipts, and those of what is confirmed do not wait for what is not.
#[tokio::test(start_paused = true)]
async fn what_is_thrown_back_is_sent_again_before_what_is_newer_and_holds_up_only_its_own_delivery() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| match asked.number {
        0 => Says::Each(vec![Outcome::Done, retry(Setback::Throttled), Outcome::Done, retry(Setback::Failed)]).into(),
        _ => Reply::done(),
    });
    bench.deliver_of("shard-0", &["a", "b"]).await;
    bench.deliver_of("shard-1", &["c"]).await;
    bench.deliver_of("shard-2", &["d"]).await;
    assert_eq!(bench.confirmed().await, 1);
    bench.deliver_of("shard-3", &["e"]).await;
    let mut rest = [bench.confirmed().await, bench.confirmed().await, bench.confirmed().await];
    rest.sort_unstable();
    assert_eq!(rest, [0, 2, 3]);
    let sink = bench.sink();
    assert_eq!((sink.confirmed.get(), sink.sent.get(), sink.repeated.get()), (5, 7, 2));
    assert_eq!(sink.refusals(), BTreeMap::from([("Throttled".to_owned(), 2)]));
}

/// AS-16.
#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_over_is_cancelled_and_made_again() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| match asked.number {
        0 => Reply::done().after(Duration::from_secs(9)),
        1 => Reply::done().after(Duration::from_secs(11)),
        _ => Reply::done(),
    });
    bench.deliver(&["a", "b", "c", "d"]).await;
    assert_eq!((bench.confirmed().await, bench.target.dropped()), (0, 0), "just in time");
    bench.deliver(&["e", "f", "g", "h"]).await;
    assert_eq!((bench.confirmed().await, bench.target.dropped()), (1, 1));
    assert_eq!(bench.elapsed().as_secs(), 19);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(bench.target.taken().len(), 8, "the late answer never comes");
    assert_eq!((bench.sink().timeouts.get(), bench.sink().repeated.get()), (1, 4));
}

/// AS-16.
#[tokio::test(start_paused = true)]
async fn a_timeout_stops_the_pipeline_if_the_manifest_says_so_and_names_the_milliseconds() {
    let mut bench = Bench::new(Settings { fail_on_timeout: true, ..settings() });
    bench.target.does(|_| Reply::done().never());
    bench.deliver(&["a", "b", "c", "d"]).await;
    let failure = bench.failure().await;
    assert!(failure.contains("\"memory\"") && failure.contains("within 10000 ms"), "{failure}");
    bench.close();
    assert!(bench.input().await.is_none(), "once, and everything ends");
}

/// AS-14.
#[tokio::test(start_paused = true)]
async fn code_that_panics_ends_the_pipeline_and_what_was_delivered_stays_delivered() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| if asked.number == 0 { Reply::done() } else { Says::Panic.into() });
    bench.deliver(&["a", "b", "c", "d"]).await;
    assert_eq!(bench.confirmed().await, 0);
    bench.deliver(&["e", "f", "g", "h"]).await;
    let failure = bench.failure().await;
    assert!(failure.starts_with("the task of a sink of the pipeline ended unexpectedly"), "{failure}");
    bench.close();
    assert!(bench.input().await.is_none());
}

/// AS-14, AS-16: what is under way is waited for; nothing new is sent.
#[tokio::test(start_paused = true)]
async fn a_fatal_error_stops_the_pipeline_at_once_and_what_is_under_way_is_still_confirmed() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| match asked.number {
        0 => Reply::done().after(2 * SECOND),
        _ => Reply::from(Says::Fail(WriteError::Fatal(error("ResourceNotFoundException")))).after(SECOND),
    });
    bench.deliver_of("shard-0", &["a", "b", "c", "d"]).await;
    bench.deliver_of("shard-1", &["e", "f", "g", "h"]).await;
    bench.deliver_of("shard-2", &["i"]).await;
    let failure = bench.failure().await;
    assert!(failure.starts_with("sink \"memory\": ") && failure.contains("ResourceNotFoundException"), "{failure}");
    assert_eq!(bench.elapsed().as_secs(), 1);
    assert_eq!(bench.rest().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_credentials_is_borne_twice_and_stops_the_pipeline_then() {
    let mut bench = Bench::new(settings());
    bench.target.does(|_| Reply::trouble(Trouble::Denied, "AccessDeniedException"));
    bench.deliver(&["a", "b", "c", "d"]).await;
    let failure = bench.failure().await;
    assert!(failure.contains("AccessDeniedException"), "{failure}");
    assert_eq!(bench.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_stops_the_pipeline_if_the_manifest_says_so() {
    let rejected = || Says::Fail(WriteError::Rejected(error("ValidationException"))).into();
    let replies: [(Reply, &str, &str); 4] = [
        (
            Says::Each(vec![Outcome::Done, retry(Setback::Throttled), Outcome::Done, Outcome::Done]).into(),
            "entry b",
            "(Throttled)",
        ),
        (Reply::trouble(Trouble::Throttled, "LimitExceededException"), "entry a", "LimitExceededException"),
        (rejected(), "entry a", "ValidationException"),
        (Says::Each(vec![Outcome::Poison("too odd".to_owned())]).into(), "entry a", "(too odd)"),
    ];
    for (reply, entry, code) in replies {
        let settings = Settings { fail_on_error: true, ..settings() };
        let mut bench = Bench::with(MemoryTarget::default(), settings, PoisonPolicy::Skip);
        bench.target.does(move |_| reply.clone());
        bench.deliver(&["a", "b", "c", "d"]).await;
        let failure = bench.failure().await;
        let told = ["sink \"memory\"", entry, code, "fail_on_error"];
        assert!(told.iter().all(|part| failure.contains(part)), "{failure}");
        assert_eq!(bench.requests().len(), 1);
    }
}

fn unwritable(asked: &[String]) -> Reply {
    let outcome = |key: &String| if key == "c" { Outcome::Poison("too odd".to_owned()) } else { Outcome::Done };
    Says::Each(asked.iter().map(outcome).collect()).into()
}

/// DEL-1.
#[tokio::test(start_paused = true)]
async fn an_entry_that_will_never_be_written_stops_the_pipeline_and_what_came_before_it_is_confirmed() {
    let mut bench = Bench::new(settings());
    bench.target.does(|asked| unwritable(&asked.keys));
    bench.deliver(&["a"]).await;
    bench.deliver(&["b", "c", "d"]).await;
    assert_eq!(bench.confirmed().await, 0);
    let failure = bench.failure().await;
    let told =
        ["sink \"memory\"", "entry c", "record 2001 of shard shard-0 in stream quakes", "too odd", "on_error.poison"];
    assert!(told.iter().all(|part| failure.contains(part)), "{failure}");
    bench.close();
    assert!(bench.input().await.is_none(), "its delivery is not confirmed");
    assert_eq!(bench.sink().dead_letters.get(), 1);
}

/// DEL-1: whatever makes an entry unwritable, it is counted, and its delivery is confirmed without it.
#[tokio::test(start_paused = true)]
async fn an_entry_that_will_never_be_written_is_passed_over_if_the_manifest_says_so() {
    let mut settings = settings();
    settings.options.max_record_bytes = 10;
    settings.options.max_attempts = Some(2);
    let mut bench = Bench::with(MemoryTarget::default(), settings, PoisonPolicy::Skip);
    bench.target.does(|asked| {
        if asked.keys.iter().any(|key| key == "stuck") { Reply::throttled() } else { unwritable(&asked.keys) }
    });
    let keys = ["a", "a key that is too long", "unwritable", "c"];
    bench.deliver(&keys).await;
    assert_eq!(bench.confirmed().await, 0);
    assert_eq!(bench.sink().dead_letters.get(), 3);
    bench.deliver(&["stuck"]).await;
    assert_eq!(bench.confirmed().await, 1);
    assert_eq!((bench.sink().dead_letters.get(), bench.sink().confirmed.get()), (4, 1));
    assert_eq!(bench.target.taken(), [("a".to_owned(), b"0".to_vec())]);
}

/// An outage is told once, and so is its end, whether requests fail or are answered with refusals.
#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_nothing_for_long_struggles_until_it_takes_something() {
    let replies = [
        Reply::throttled(),
        Reply::trouble(Trouble::Throttled, "LimitExceededException"),
        Reply::trouble(Trouble::Unreachable, "UnknownOperationException"),
        Reply::done().never(),
    ];
    for reply in replies {
        let mut bench = Bench::new(settings());
        bench.target.does(move |_| reply.clone());
        bench.deliver(&["a", "b", "c", "d"]).await;
        let health = Arc::clone(&bench.totals.health);
        tokio::time::sleep(20 * SECOND).await;
        assert!(bench.sink().requests.get() > 1);
        tokio::time::sleep(60 * SECOND).await;
        let (count, first) = health.struggling().expect("it struggles");
        assert!(count == 1 && first.starts_with("writing to sink \"memory\" ("), "{first}");
        bench.target.does(|_| Reply::done());
        assert_eq!(bench.confirmed().await, 0);
        assert!(health.struggling().is_none());
    }
}
