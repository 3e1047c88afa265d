//! Work is counted in visits to entries, keys and timers, never in time.

use super::*;

/// Visits an entry, with a buffer of so many entries, of which three quarters wait for a destination that is throttled or
/// for an older entry of their key.
fn visits_an_entry(order: Order, buffered: usize) -> u64 {
    let options = Options {
        order,
        max_count: 25,
        max_buffered: buffered,
        max_buffered_bytes: 1 << 40,
        max_age: Duration::ZERO,
        ..options()
    };
    let mut batcher = batcher(options);
    let (mut now, mut next, mut settled) = (0, 0_u32, 0_u64);
    let wanted = u64::try_from(buffered).expect("small") * 2;
    while settled < wanted {
        while batcher.has_room(4) {
            let slot = next % 4;
            let key = if slot == 0 { "hot".into() } else { next.to_string() };
            let destination = Destination(u32::from(slot == 1));
            let entry = Entry { destination, ..entry(next, &key, at(now)) };
            batcher.push(at(now), entry).expect("room");
            next += 1;
        }
        now += 1;
        while let Action::Send { request, entries, .. } = batcher.next(at(now)) {
            let outcomes =
                entries.iter().map(|ticket| if ticket % 4 == 1 && now % 50 != 0 { throttled() } else { Outcome::Done });
            batcher.answered(at(now), request, outcomes.collect::<Vec<_>>(), 0.5);
        }
        settled += u64::try_from(batcher.settled().count()).expect("small");
    }
    let counts = batcher.counts();
    counts.visits / (settled + counts.sent)
}

#[test]
fn work_per_entry_does_not_grow_with_the_buffer() {
    for order in [Order::Free, Order::PerKey, Order::Newest] {
        let (small, large) = (visits_an_entry(order, 500), visits_an_entry(order, 20_000));
        assert!(small <= 4 && large <= 4, "{order:?}: {small} visits an entry, then {large}");
    }
}

/// Looking for entries of other keys is bounded by the request, not by the buffer.
#[test]
fn one_hot_key_makes_no_request_look_through_the_buffer() {
    for order in [Order::Distinct, Order::PerKey, Order::Newest] {
        let mut batcher = batcher(Options { order, max_buffered: 20_000, max_buffered_bytes: 1 << 20, ..options() });
        for ticket in 0..20_000 {
            push(&mut batcher, at(0), ticket, "hot");
        }
        let before = batcher.counts().visits;
        let (request, entries) = sent(&mut batcher, at(0));
        assert_eq!(entries.len(), 1);
        assert!(batcher.counts().visits - before <= 20, "{order:?}");
        batcher.answered(at(1), request, all(Outcome::Done), 0.0);
    }
}

#[test]
fn asking_again_looks_at_nothing() {
    let mut batcher = batcher(Options { max_buffered: 20_000, max_buffered_bytes: 1 << 20, ..options() });
    push_all(&mut batcher, at(0), 0..9_999);
    while let Action::Send { .. } = batcher.next(at(0)) {}
    let before = batcher.counts().visits;
    for millis in 0..1_000 {
        assert_eq!(batcher.next(at(millis)), Action::Idle, "as many requests are under way as may be");
    }
    assert_eq!(batcher.counts().visits, before);
}
