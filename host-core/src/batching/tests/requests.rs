//! When a request leaves, and what is in it.

use super::*;

/// BAT-1: by count.
#[test]
fn a_full_request_leaves_at_once_and_the_rest_waits() {
    let mut batcher = batcher(options());
    push_all(&mut batcher, at(0), 0..23);
    assert_eq!(sent(&mut batcher, at(0)).1, (0..10).collect::<Vec<_>>());
    assert_eq!(sent(&mut batcher, at(0)).1, (10..20).collect::<Vec<_>>());
    assert_eq!(batcher.next(at(0)), Action::Wait(at(5_000)));
    assert_eq!(batcher.counts().buffered, 23, "what is under way is held too");
}

/// BAT-1: by bytes.
#[test]
fn a_request_is_filled_to_the_last_byte_and_no_further() {
    let mut batcher = batcher(Options { max_bytes: 30, max_record_bytes: 15, ..options() });
    push_all(&mut batcher, at(0), 0..7);
    assert_eq!(batcher.next(at(0)), Action::Wait(at(5_000)), "28 bytes of 30");
    push_all(&mut batcher, at(0), 7..9);
    assert_eq!(sent(&mut batcher, at(0)).1, (0..7).collect::<Vec<_>>());
    batcher.push(at(0), Entry { bytes: 15, ..entry(9, "nine", at(0)) }).expect("room");
    batcher.push(at(0), Entry { bytes: 7, ..entry(10, "ten", at(0)) }).expect("room");
    let Action::Send { entries, bytes, .. } = batcher.next(at(0)) else { panic!("30 bytes are there") };
    assert_eq!((entries, bytes), (vec![7, 8, 9, 10], 30), "exactly as many bytes as the service takes");
}

/// BAT-1: what is larger is refused before it is held.
#[test]
fn the_size_of_an_entry_is_bounded_to_the_byte() {
    let mut batcher = batcher(options());
    let sized = |bytes| Entry { bytes, ..entry(1, "a", at(0)) };
    batcher.push(at(0), sized(100)).expect("exactly the largest");
    let refused = batcher.push(at(0), sized(101)).expect_err("one byte more");
    assert_eq!(refused, Refused { ticket: 1, why: Refusal::TooLarge { bytes: 101, max: 100 } });
    assert_eq!(refused.why.to_string(), "an entry of 101 bytes is larger than the 100 bytes that the service takes");
    assert_eq!(batcher.counts().buffered, 1);
}

/// BAT-1: by age.
#[test]
fn an_entry_waits_for_company_until_it_is_of_age() {
    let mut batcher = batcher(Options { max_age: Duration::from_millis(100), ..options() });
    assert_eq!(batcher.next(at(0)), Action::Idle);
    push_all(&mut batcher, at(0), 0..1);
    push_all(&mut batcher, at(60), 1..3);
    assert_eq!(batcher.next(at(99)), Action::Wait(at(100)));
    assert_eq!(sent(&mut batcher, at(100)).1, [0, 1, 2], "all that wait go with it");
    assert_eq!(batcher.next(at(100)), Action::Idle);
    push_all(&mut batcher, at(130), 3..4);
    assert_eq!(batcher.next(at(130)), Action::Wait(at(230)), "the next one has its own age");
    batcher.push(at(130), entry(4, "earlier", at(50))).expect("room");
    assert_eq!(batcher.next(at(130)), Action::Wait(at(150)), "age counts from arrival, not from when it was taken");
}

#[test]
fn a_closed_sink_sends_what_is_left_without_waiting_and_takes_nothing_more() {
    let mut batcher = batcher(options());
    push_all(&mut batcher, at(0), 0..3);
    batcher.close();
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [0, 1, 2]);
    assert_eq!(batcher.push(at(0), entry(4, "a", at(0))).expect_err("closed").why, Refusal::Closed);
    batcher.answered(at(10), request, all(Outcome::Done), 0.5);
    assert_eq!(settled(&mut batcher), confirmed(0..3));
    assert_eq!((batcher.next(at(10)), batcher.counts().buffered), (Action::Idle, 0));
}

#[test]
fn a_sink_in_a_hurry_sends_what_is_there_and_takes_more() {
    let mut batcher = batcher(options());
    push_all(&mut batcher, at(0), 0..3);
    assert_eq!(batcher.next(at(0)), Action::Wait(at(5_000)));
    batcher.hurry(true);
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!((entries, batcher.next(at(0))), (vec![0, 1, 2], Action::Idle));
    push_all(&mut batcher, at(1), 3..4);
    assert_eq!(sent(&mut batcher, at(1)).1, [3]);
    batcher.answered(at(2), request, all(throttled()), 1.0);
    let Action::Wait(until) = batcher.next(at(2)) else { panic!("a pause is no company to wait for") };
    assert!(until > at(2));
    assert_eq!(sent(&mut batcher, until).1, [0, 1, 2]);
    batcher.hurry(false);
    push_all(&mut batcher, until, 4..5);
    assert!(matches!(batcher.next(until), Action::Wait(_)), "the hurry is over");
}

/// LIM-1: by count.
#[test]
fn a_full_buffer_takes_nothing_and_sends_what_it_can() {
    let mut batcher = batcher(Options { max_buffered: 10, ..options() });
    for ticket in 0..10 {
        assert!(batcher.has_room(4));
        push(&mut batcher, at(0), ticket, if ticket < 8 { "hot" } else { "cold" });
    }
    assert!(!batcher.has_room(4));
    assert_eq!(
        batcher.push(at(0), entry(10, "z", at(0))).expect_err("full"),
        Refused { ticket: 10, why: Refusal::Full }
    );
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [0, 8], "waiting for company that cannot come is of no use");
    batcher.answered(at(1), request, all(Outcome::Done), 0.5);
    assert!(batcher.has_room(4));
}

/// LIM-1: by bytes.
#[test]
fn bytes_bound_the_buffer_as_entries_do() {
    let mut batcher = batcher(Options { max_buffered_bytes: 1_000, ..options() });
    for ticket in 0..10 {
        batcher.push(at(0), Entry { bytes: 99, ..entry(ticket, &ticket.to_string(), at(0)) }).expect("room");
    }
    assert!(batcher.has_room(10) && !batcher.has_room(11));
    assert_eq!(batcher.counts().bytes, 990);
}

#[test]
fn no_more_requests_are_under_way_than_may_be() {
    let mut batcher = batcher(Options { max_in_flight: 2, ..options() });
    push_all(&mut batcher, at(0), 0..30);
    let (first, _) = sent(&mut batcher, at(0));
    let (second, _) = sent(&mut batcher, at(0));
    assert_eq!(batcher.next(at(0)), Action::Idle);
    batcher.answered(at(9), second, all(Outcome::Done), 0.5);
    assert_eq!(sent(&mut batcher, at(9)).1, (20..30).collect::<Vec<_>>());
    batcher.answered(at(9), first, all(Outcome::Done), 0.5);
    assert_eq!(settled(&mut batcher), confirmed((10..20).chain(0..10)), "in the order in which they were settled");
}

/// BAT-1: such a request would be refused as a whole.
#[test]
fn a_key_is_not_twice_in_a_request_where_the_service_forbids_it() {
    let mut batcher = batcher(Options { order: Order::Distinct, ..options() });
    for (ticket, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "a")] {
        push(&mut batcher, at(0), ticket, key);
    }
    batcher.close();
    assert_eq!(sent(&mut batcher, at(0)).1, [0, 2]);
    assert_eq!(sent(&mut batcher, at(0)).1, [1]);
    assert_eq!(sent(&mut batcher, at(0)).1, [3]);
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    let told = |options: Options| options.check().expect_err("a contradiction").to_string();
    assert!(Options::default().check().is_ok());
    assert!(told(Options { max_bytes: 99, ..options() }).ends_with("or the largest record fits in no request"));
    assert!(told(Options { max_buffered: 9, ..options() }).contains("max_buffered is at least max_count"));
    assert!(told(Options { max_buffered_bytes: 999, ..options() }).contains("max_buffered_bytes"));
    assert!(told(Options { max_count: 0, ..options() }).contains("at least 1"));
    assert!(told(Options { max_attempts: Some(0), ..options() }).contains("max_attempts"));
    let nothing = Quota { records_per_second: 0.0, bytes_per_second: 1.0 };
    assert!(told(Options { quota: Some(nothing), ..options() }).contains("quota"));
}
