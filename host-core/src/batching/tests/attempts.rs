//! DEL-1: what an attempt is, how long one waits for the next, and when there is none.

use super::*;

fn hasty() -> Options {
    Options { max_age: Duration::ZERO, ..options() }
}

/// An entry that is thrown back whenever it is tried; returns the pauses.
fn pauses(setback: Setback, jitter: f64, attempts: usize) -> Vec<u128> {
    let mut batcher = batcher(hasty());
    push_all(&mut batcher, at(0), 0..1);
    let mut now = at(0);
    (0..attempts)
        .map(|_| {
            let (request, _) = sent(&mut batcher, now);
            batcher.answered(now, request, [Outcome::Retry(setback)], jitter);
            let Action::Wait(until) = batcher.next(now) else { panic!("no pause") };
            let pause = until.since(now);
            now = until;
            pause.as_millis()
        })
        .collect()
}

#[test]
fn pauses_grow_and_are_drawn_from_the_whole_range() {
    assert_eq!(pauses(Setback::Throttled, 1.0, 4), [300, 600, 1_000, 1_000], "the destination is slower anyway");
    assert_eq!(pauses(Setback::Failed, 1.0, 7), [300, 600, 1_200, 2_400, 4_800, 9_600, 10_000]);
    assert_eq!(pauses(Setback::Failed, 0.5, 3), [150, 300, 600]);
}

#[test]
fn what_was_thrown_back_together_comes_back_together_in_order_and_first() {
    let mut batcher = batcher(Options { order: Order::Free, ..hasty() });
    push_all(&mut batcher, at(0), 0..5);
    let (request, _) = sent(&mut batcher, at(0));
    let outcomes = [Outcome::Done, throttled(), throttled(), Outcome::Done, Outcome::Retry(Setback::Failed)];
    batcher.answered(at(10), request, outcomes, 1.0);
    push_all(&mut batcher, at(310), 5..7);
    assert_eq!(sent(&mut batcher, at(310)).1, [1, 2, 4, 5, 6]);
    assert_eq!(batcher.counts().repeated, 3);
    assert_eq!(batcher.counts().sent, 10);
}

#[test]
fn attempts_end_where_options_say_and_not_before() {
    let mut batcher = batcher(Options { max_attempts: Some(3), ..hasty() });
    push_all(&mut batcher, at(0), 0..1);
    for now in [0, 1, 2] {
        assert_eq!(settled(&mut batcher), []);
        let (request, _) = sent(&mut batcher, at(now));
        batcher.answered(at(now), request, [throttled()], 0.0);
    }
    let cause = Cause::Exhausted { attempts: 3, fate: Fate::NotWritten };
    assert_eq!(settled(&mut batcher), [Settled::DeadLetter(0, cause)]);
    assert_eq!(batcher.counts().buffered, 0);
}

#[test]
fn an_entry_that_is_too_old_is_tried_once_and_no_more() {
    let mut batcher = batcher(Options { max_entry_age: Some(Duration::from_secs(60)), ..hasty() });
    push_all(&mut batcher, at(0), 0..1);
    let (request, _) = sent(&mut batcher, at(90_000));
    batcher.answered(at(90_000), request, [throttled()], 0.0);
    let cause = Cause::Exhausted { attempts: 1, fate: Fate::NotWritten };
    assert_eq!(settled(&mut batcher), [Settled::DeadLetter(0, cause)]);
}

#[test]
fn without_limits_an_entry_is_tried_for_ever() {
    assert_eq!(pauses(Setback::Failed, 1.0, 1_000).last(), Some(&10_000));
}

#[test]
fn an_outage_kills_no_entry_and_one_request_tries() {
    let mut batcher = batcher(Options { max_attempts: Some(2), max_count: 1, max_in_flight: 8, ..hasty() });
    push_all(&mut batcher, at(0), 0..20);
    let (mut now, mut told, mut calls) = (at(0), 0, 0);
    while now < at(120_000) {
        match batcher.next(now) {
            Action::Send { request, .. } => {
                calls += 1;
                let failure = Failure::Trouble(Trouble::Unreachable);
                let Verdict::Again { struggling, .. } = batcher.failed(now, request, failure, 0.5) else {
                    panic!("given up")
                };
                told += u32::from(struggling.is_some());
            }
            Action::Wait(until) => now = until,
            Action::Idle => panic!("nothing under way, and nothing to wait for"),
        }
    }
    assert_eq!(settled(&mut batcher), []);
    assert!(calls < 120, "{calls} calls in two minutes");
    assert_eq!(told, 1);
    assert!(matches!(batcher.patience().health(), Health::Struggling { .. }));
    let (request, entries) = sent(&mut batcher, now);
    assert_eq!(entries, [0]);
    assert_eq!(batcher.next(now), Action::Idle, "one request tries");
    assert!(batcher.answered(now, request, [Outcome::Done], 0.5).is_some(), "and tells that it is over");
    assert_eq!((0..8).map(|_| sent(&mut batcher, now).1[0]).collect::<Vec<_>>(), (1..9).collect::<Vec<_>>());
}

#[test]
fn denials_end_it_after_a_few() {
    let mut batcher = batcher(hasty());
    push_all(&mut batcher, at(0), 0..1);
    let mut now = at(0);
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        let (request, _) = sent(&mut batcher, now);
        let verdict = batcher.failed(now, request, Failure::Trouble(Trouble::Denied), 0.0);
        verdicts.push(verdict == Verdict::GiveUp);
        let Action::Wait(until) = batcher.next(now) else { panic!("no pause") };
        now = until;
    }
    assert_eq!(verdicts, [false, false, true]);
    assert_eq!(settled(&mut batcher), [], "whoever stops has the entries back unsettled");
}

#[test]
fn a_request_that_is_thrown_back_as_a_whole_is_thrown_back_entry_by_entry() {
    let mut batcher = batcher(hasty());
    push_all(&mut batcher, at(0), 0..3);
    let (request, _) = sent(&mut batcher, at(0));
    again(batcher.failed(at(5), request, Failure::Trouble(Trouble::Throttled), 1.0));
    assert_eq!(batcher.next(at(5)), Action::Wait(at(305)));
    assert_eq!(sent(&mut batcher, at(305)).1, [0, 1, 2]);
}

#[test]
fn a_timeout_now_and_then_stalls_nobody_else() {
    let mut batcher = batcher(Options { max_count: 1, ..hasty() });
    push_all(&mut batcher, at(0), 0..9);
    let (slow, _) = sent(&mut batcher, at(0));
    again(batcher.timed_out(at(1_000), slow, 1.0));
    assert_eq!(sent(&mut batcher, at(1_000)).1, [1]);
    assert_eq!(sent(&mut batcher, at(1_000)).1, [2]);
    assert_eq!(batcher.next(at(1_000)), Action::Idle, "half as many, until one is answered");
}

#[test]
fn a_rejected_request_is_halved_until_the_culprit_is_alone() {
    let mut batcher = batcher(hasty());
    push_all(&mut batcher, at(0), 0..10);
    let mut requests = 0;
    loop {
        match batcher.next(at(0)) {
            Action::Send { request, entries, .. } => {
                requests += 1;
                if entries.contains(&6) {
                    again(batcher.failed(at(0), request, Failure::Rejected("an empty set".into()), 0.5));
                } else {
                    batcher.answered(at(0), request, all(Outcome::Done), 0.5);
                }
            }
            Action::Wait(until) => panic!("until {until:?}"),
            Action::Idle => break,
        }
    }
    let settled = settled(&mut batcher);
    assert_eq!(settled.len(), 10);
    assert!(settled.contains(&Settled::DeadLetter(6, Cause::Poison("an empty set".into()))));
    assert_eq!(settled.iter().filter(|settled| matches!(settled, Settled::Confirmed(_))).count(), 9);
    assert!(requests <= 9, "{requests} requests");
}

#[test]
fn an_entry_without_an_outcome_is_not_lost() {
    let mut batcher = batcher(hasty());
    push_all(&mut batcher, at(0), 0..3);
    let (request, _) = sent(&mut batcher, at(0));
    batcher.answered(at(0), request, [Outcome::Done], 0.0);
    assert_eq!(settled(&mut batcher), confirmed([0]));
    assert_eq!(sent(&mut batcher, at(0)).1, [1, 2]);
}
