//! ORD-1: what may be under way together, and what takes the place of what.

use super::*;

fn ordered(order: Order) -> Batcher<u32> {
    batcher(Options { order, max_age: Duration::ZERO, late_after: Duration::from_secs(8), ..options() })
}

fn late(mut batcher: Batcher<u32>) -> (Batcher<u32>, RequestId) {
    push(&mut batcher, at(0), 0, "a");
    push(&mut batcher, at(0), 1, "a");
    push(&mut batcher, at(0), 2, "b");
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries.len(), 2);
    again(batcher.timed_out(at(1_000), request, 0.0));
    (batcher, request)
}

/// ORD-1: of requests that race each other none has the same key.
#[test]
fn a_key_has_one_entry_under_way_and_other_keys_flow() {
    let mut batcher = ordered(Order::PerKey);
    for (ticket, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "b")] {
        push(&mut batcher, at(0), ticket, key);
    }
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [0, 2]);
    assert_eq!(batcher.next(at(0)), Action::Idle);
    batcher.answered(at(5), request, [throttled(), Outcome::Done], 0.0);
    let (request, entries) = sent(&mut batcher, at(5));
    assert_eq!(entries, [0, 4], "what was thrown back goes before what came later");
    batcher.answered(at(9), request, all(Outcome::Done), 0.0);
    assert_eq!(sent(&mut batcher, at(9)).1, [1]);
    assert_eq!(settled(&mut batcher), confirmed([2, 0, 4]));
}

/// ORD-1: what is thrown back keeps its place.
#[test]
fn nothing_newer_overtakes_an_entry_that_waits_for_another_attempt() {
    let mut batcher = ordered(Order::PerKey);
    push(&mut batcher, at(0), 0, "a");
    let (request, _) = sent(&mut batcher, at(0));
    batcher.answered(at(10), request, [throttled()], 1.0);
    push(&mut batcher, at(20), 1, "a");
    push(&mut batcher, at(20), 2, "b");
    assert_eq!(sent(&mut batcher, at(20)).1, [2]);
    assert_eq!(batcher.next(at(20)), Action::Wait(at(310)));
    assert_eq!(sent(&mut batcher, at(310)).1, [0]);
}

#[test]
fn a_dead_entry_lets_the_next_of_its_key_go() {
    let mut batcher = ordered(Order::PerKey);
    push(&mut batcher, at(0), 0, "a");
    push(&mut batcher, at(0), 1, "a");
    let (request, _) = sent(&mut batcher, at(0));
    batcher.answered(at(10), request, [Outcome::Poison("empty".into())], 1.0);
    assert_eq!(settled(&mut batcher), [Settled::DeadLetter(0, Cause::Poison("empty".into()))]);
    assert_eq!(sent(&mut batcher, at(10)).1, [1]);
}

#[test]
fn without_order_what_is_thrown_back_holds_nobody() {
    let mut batcher = ordered(Order::Free);
    push(&mut batcher, at(0), 0, "a");
    push(&mut batcher, at(0), 1, "a");
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [0, 1]);
    batcher.answered(at(10), request, [throttled(), Outcome::Done], 1.0);
    push(&mut batcher, at(10), 2, "a");
    assert_eq!(sent(&mut batcher, at(10)).1, [2]);
}

/// ORD-1: a request that was given up may be carried out all the same.
#[test]
fn after_a_timeout_only_the_same_entry_is_sent_until_a_late_landing_is_over() {
    let (mut batcher, first) = late(ordered(Order::PerKey));
    let (second, entries) = sent(&mut batcher, at(1_000));
    assert_eq!(entries, [0, 2], "a late landing of the first try repeats what is there");
    batcher.answered(at(1_010), second, all(Outcome::Done), 0.5);
    assert_eq!(settled(&mut batcher), confirmed([0, 2]));
    push(&mut batcher, at(1_010), 3, "b");
    push(&mut batcher, at(1_010), 4, "c");
    assert_eq!(sent(&mut batcher, at(1_010)).1, [4], "keys that were in no cancelled request flow");
    assert_eq!(batcher.next(at(8_999)), Action::Wait(at(9_000)));
    assert_eq!(sent(&mut batcher, at(9_000)).1, [1, 3]);
    assert_eq!(batcher.answered(at(9_001), first, all(Outcome::Done), 0.5), None);
    assert_eq!(settled(&mut batcher), [], "a late answer is none");
}

/// ORD-1: even if nobody tries it again.
#[test]
fn an_entry_that_died_of_timeouts_still_haunts_its_key() {
    let options = Options { max_attempts: Some(1), max_age: Duration::ZERO, ..options() };
    let (mut batcher, _) = late(batcher(options));
    let dead = |ticket| Settled::DeadLetter(ticket, Cause::Exhausted { attempts: 1, fate: Fate::Unknown });
    assert_eq!(settled(&mut batcher), [dead(0), dead(2)], "it may have been written, and that is told");
    assert_eq!(batcher.next(at(1_000)), Action::Wait(at(11_000)));
    assert_eq!(batcher.counts().buffered, 2, "an entry, and a key that is remembered");
    assert_eq!(sent(&mut batcher, at(11_000)).1, [1]);
    assert_eq!(batcher.counts().buffered, 1, "what is over is forgotten");
}

/// LIM-1: what is remembered counts as what is held.
#[test]
fn keys_that_are_remembered_take_up_room() {
    let mut batcher = batcher(Options { max_buffered: 10, max_age: Duration::ZERO, ..options() });
    push_all(&mut batcher, at(0), 0..10);
    let (first, _) = sent(&mut batcher, at(0));
    again(batcher.timed_out(at(100), first, 0.0));
    let (second, _) = sent(&mut batcher, at(100));
    batcher.answered(at(200), second, all(Outcome::Done), 0.0);
    assert_eq!(settled(&mut batcher).len(), 10);
    assert!(!batcher.has_room(4), "ten keys, although no entry");
    assert_eq!(batcher.next(at(200)), Action::Wait(at(10_100)), "whoever waits for room hears when");
    assert_eq!(batcher.next(at(10_100)), Action::Idle);
    assert!(batcher.has_room(4));
    assert_eq!((batcher.counts().buffered, batcher.counts().bytes), (0, 0));
}

#[test]
fn a_connection_that_broke_haunts_and_one_that_never_was_does_not() {
    for (trouble, next) in [(Trouble::Transient, at(10_000)), (Trouble::Unreachable, at(0))] {
        let mut batcher = ordered(Order::PerKey);
        push(&mut batcher, at(0), 0, "a");
        push(&mut batcher, at(0), 1, "a");
        let (request, _) = sent(&mut batcher, at(0));
        again(batcher.failed(at(0), request, Failure::Trouble(trouble), 0.0));
        let (request, entries) = sent(&mut batcher, at(0));
        assert_eq!(entries, [0]);
        batcher.answered(at(0), request, [Outcome::Done], 0.0);
        assert_eq!(matches!(batcher.next(at(0)), Action::Send { .. }), next == at(0));
    }
}

#[test]
fn of_writes_that_replace_each_other_the_newest_is_sent_and_settles_them_all() {
    let mut batcher = ordered(Order::Newest);
    for (ticket, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "a")] {
        push(&mut batcher, at(0), ticket, key);
    }
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [3, 2], "in the place of the oldest that it stands for");
    push(&mut batcher, at(1), 4, "a");
    assert_eq!(batcher.next(at(1)), Action::Idle, "one of a key at a time");
    batcher.answered(at(5), request, all(Outcome::Done), 0.0);
    assert_eq!(settled(&mut batcher), confirmed([0, 1, 3, 2]));
    let (request, entries) = sent(&mut batcher, at(5));
    assert_eq!(entries, [4]);
    push(&mut batcher, at(6), 5, "a");
    batcher.answered(at(7), request, [throttled()], 0.0);
    assert_eq!(sent(&mut batcher, at(7)).1, [5], "what was thrown back is replaced too");
}

#[test]
fn poison_kills_only_itself_and_what_it_would_have_replaced_is_written() {
    let mut batcher = ordered(Order::Newest);
    push(&mut batcher, at(0), 0, "a");
    push(&mut batcher, at(0), 1, "a");
    let (request, entries) = sent(&mut batcher, at(0));
    assert_eq!(entries, [1]);
    batcher.answered(at(1), request, [Outcome::Poison("bad".into())], 0.0);
    assert_eq!(settled(&mut batcher), [Settled::DeadLetter(1, Cause::Poison("bad".into()))]);
    let (request, entries) = sent(&mut batcher, at(1));
    assert_eq!(entries, [0]);
    batcher.answered(at(2), request, [Outcome::Done], 0.0);
    assert_eq!(settled(&mut batcher), confirmed([0]));
}

#[test]
fn a_write_that_may_land_late_is_not_replaced_before_that() {
    let (mut batcher, _) = late(ordered(Order::Newest));
    // The newest of `a` was sent, and a newer one comes.
    push(&mut batcher, at(1_000), 3, "a");
    let (request, entries) = sent(&mut batcher, at(1_000));
    assert_eq!(entries, [1, 2]);
    batcher.answered(at(1_001), request, all(Outcome::Done), 0.0);
    assert_eq!(settled(&mut batcher), confirmed([0, 1, 2]));
    assert_eq!(batcher.next(at(1_001)), Action::Wait(at(9_000)));
    assert_eq!(sent(&mut batcher, at(9_000)).1, [3]);
}

/// ORD-1: a partition key is one key, whichever shard holds it now.
#[test]
fn equal_keys_of_two_tables_are_two_items_and_of_two_shards_one_key() {
    for (order, together) in [(Order::Newest, true), (Order::Distinct, true), (Order::PerKey, false)] {
        let mut batcher = ordered(order);
        push(&mut batcher, at(0), 0, "a");
        batcher.push(at(0), Entry { destination: Destination(1), ..entry(1, "a", at(0)) }).expect("room");
        let (request, entries) = sent(&mut batcher, at(0));
        assert_eq!(entries, if together { vec![0, 1] } else { vec![0] });
        batcher.answered(at(1), request, all(Outcome::Done), 0.0);
        assert_eq!(settled(&mut batcher).len(), entries.len());
    }
}

/// A timed-out write that would have replaced others, then poison after it: the older ones never come back.
#[test]
fn nothing_older_is_sent_than_what_may_have_been_written() {
    let (mut batcher, _) = late(ordered(Order::Newest));
    let (request, entries) = sent(&mut batcher, at(1_000));
    assert_eq!(entries, [1, 2]);
    batcher.answered(at(1_010), request, [throttled(), Outcome::Done], 0.0);
    push(&mut batcher, at(9_000), 3, "a");
    let (request, entries) = sent(&mut batcher, at(9_000));
    assert_eq!(entries, [3]);
    batcher.answered(at(9_010), request, [Outcome::Poison("bad".into())], 0.0);
    assert_eq!(sent(&mut batcher, at(9_010)).1, [1], "and not 0");
}

#[test]
fn a_hot_key_keeps_the_place_and_the_age_of_its_oldest() {
    let mut batcher = batcher(Options { order: Order::Newest, max_count: 2, ..options() });
    push(&mut batcher, at(0), 0, "hot");
    for ticket in 1..40 {
        push(&mut batcher, at(u64::from(ticket) * 100), ticket, "hot");
    }
    assert_eq!(batcher.next(at(4_000)), Action::Wait(at(5_000)), "news of the same key make no company");
    push(&mut batcher, at(4_000), 40, "b");
    assert_eq!(sent(&mut batcher, at(4_000)).1, [39, 40]);
}
