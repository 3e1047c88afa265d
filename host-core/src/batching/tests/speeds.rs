//! How fast destinations are written to.

use super::*;

const SHARD: Quota = Quota { records_per_second: 1_000.0, bytes_per_second: 1_000_000.0 };

fn paced() -> Options {
    Options {
        max_count: 500,
        max_bytes: 5_000_000,
        max_record_bytes: 1_000_000,
        max_in_flight: 50,
        max_buffered: 1_000,
        max_buffered_bytes: 64_000_000,
        max_age: Duration::ZERO,
        order: Order::Free,
        quota: Some(SHARD),
        ..Options::default()
    }
}

/// Writes to each destination as much as it takes from `from` to `to`; each request is answered at once by `answer`.
/// Returns the entries taken in all, by destination.
fn run(
    batcher: &mut Batcher<u32>,
    (from, to): (u64, u64),
    (destinations, bytes): (u32, u64),
    answer: impl Fn(u64, u32) -> Outcome,
) -> Vec<u32> {
    let mut taken = vec![0; usize::try_from(destinations).expect("small")];
    let mut next = 0;
    for millis in from..to {
        let now = at(millis);
        while batcher.has_room(bytes) {
            let entry = Entry {
                ticket: next % destinations,
                key: Vec::new(),
                destination: Destination(next % destinations),
                bytes,
                arrived: now,
            };
            batcher.push(now, entry).expect("room");
            next += 1;
        }
        while let Action::Send { request, entries, .. } = batcher.next(now) {
            let outcomes: Vec<_> = entries.iter().map(|to| answer(millis, *to)).collect();
            for (to, outcome) in entries.iter().zip(&outcomes) {
                taken[usize::try_from(*to).expect("small")] += u32::from(*outcome == Outcome::Done);
            }
            batcher.answered(now, request, outcomes, 0.5);
            batcher.settled().for_each(drop);
        }
    }
    taken
}

#[test]
fn a_start_is_at_full_speed_within_two_seconds_and_never_above_it() {
    let mut batcher = batcher(paced());
    let first = run(&mut batcher, (0, 2_000), (1, 100), |_, _| Outcome::Done)[0];
    assert!(first < 2_000, "{first} in the first two seconds");
    let then = run(&mut batcher, (2_000, 12_000), (1, 100), |_, _| Outcome::Done)[0];
    assert!((9_900..=10_100).contains(&then), "{then} in ten seconds");
}

#[test]
fn bytes_are_a_limit_like_records() {
    let mut batcher = batcher(paced());
    run(&mut batcher, (0, 2_000), (1, 50_000), |_, _| Outcome::Done);
    let taken = run(&mut batcher, (2_000, 12_000), (1, 50_000), |_, _| Outcome::Done)[0];
    assert!((195..=205).contains(&taken), "{taken} records of 50 kB in ten seconds");
}

#[test]
fn a_record_larger_than_what_is_saved_up_is_sent_all_the_same() {
    let mut batcher = batcher(paced());
    let taken = run(&mut batcher, (0, 20_000), (1, 1_000_000), |_, _| Outcome::Done)[0];
    assert!((15..=24).contains(&taken), "{taken} records of 1 MB in twenty seconds");
}

#[test]
fn a_throttled_destination_is_slowed_and_slows_no_other() {
    let mut batcher = batcher(Options { max_buffered: 10_000, ..paced() });
    let answer = |_, to| if to == 1 { throttled() } else { Outcome::Done };
    // Twenty destinations, 100 records a second each; one takes nothing at all.
    let mut taken = [0; 20];
    for millis in 0..10_000 {
        let now = at(millis);
        if millis % 10 == 0 {
            for to in 0..20_u32 {
                let entry =
                    Entry { ticket: to, key: Vec::new(), destination: Destination(to), bytes: 10, arrived: now };
                batcher.push(now, entry).expect("a throttled destination leaves room for 10,000");
            }
        }
        while let Action::Send { request, entries, .. } = batcher.next(now) {
            let outcomes: Vec<_> = entries.iter().map(|to| answer(millis, *to)).collect();
            for to in entries.iter().filter(|to| **to != 1) {
                taken[usize::try_from(*to).expect("small")] += 1;
            }
            batcher.answered(now, request, outcomes, 0.5);
            batcher.settled().for_each(drop);
        }
    }
    assert_eq!(taken, std::array::from_fn(|to| if to == 1 { 0 } else { 1_000 }));
    let wasted = batcher.counts().repeated;
    assert!(wasted < 500, "{wasted} attempts at what is throttled");
}

#[test]
fn full_speed_is_back_within_five_seconds_after_a_throttle() {
    let mut batcher = batcher(Options { max_buffered: 10_000, ..paced() });
    let answer = |millis, _| if (5_000..65_000).contains(&millis) { throttled() } else { Outcome::Done };
    run(&mut batcher, (0, 65_000), (1, 100), answer);
    let recovering = run(&mut batcher, (65_000, 70_000), (1, 100), answer)[0];
    let then = run(&mut batcher, (70_000, 75_000), (1, 100), answer)[0];
    assert!(then >= 4_500, "{then} in five seconds, after {recovering} in the first five");
}

#[test]
fn a_destination_of_unknown_quota_is_found_out() {
    let mut batcher = batcher(Options { quota: None, max_buffered: 2_000, ..paced() });
    let first = run(&mut batcher, (0, 100), (1, 10), |_, _| Outcome::Done)[0];
    assert!(first < 200, "{first} at first");
    run(&mut batcher, (100, 1_400), (1, 10), |_, _| Outcome::Done);
    let taken = run(&mut batcher, (1_400, 1_500), (1, 10), |_, _| Outcome::Done)[0];
    assert!(taken > 500, "{taken} in a tenth of a second");
    batcher.set_quota(at(1_500), Destination(0), SHARD);
    run(&mut batcher, (1_500, 2_500), (1, 10), |_, _| Outcome::Done);
    let taken = run(&mut batcher, (2_500, 3_500), (1, 10), |_, _| Outcome::Done)[0];
    assert!((950..=1_050).contains(&taken), "{taken} in a second");
}

#[test]
fn a_little_throttling_slows_a_little() {
    // What is taken in a second after one entry of so many of a request was thrown back.
    let taken_after = |one_of: usize| {
        let mut batcher = batcher(paced());
        run(&mut batcher, (0, 3_000), (1, 100), |_, _| Outcome::Done);
        let Action::Send { request, entries, .. } = batcher.next(at(3_050)) else { panic!("nothing to send") };
        let outcomes = (0..entries.len()).map(|index| if index % one_of == 0 { throttled() } else { Outcome::Done });
        batcher.answered(at(3_050), request, outcomes, 1.0);
        batcher.settled().for_each(drop);
        run(&mut batcher, (3_051, 4_051), (1, 100), |_, _| Outcome::Done)[0]
    };
    let (little, much) = (taken_after(50), taken_after(1));
    assert!(little >= 900 && much <= 700, "{little} and {much} in a second");
}

/// Eight requests left at one speed and all came back: that tells of that speed once, not eight times.
#[test]
fn requests_that_left_before_a_cut_do_not_cut_again() {
    let mut batcher = batcher(Options { max_count: 10, ..paced() });
    run(&mut batcher, (0, 3_000), (1, 100), |_, _| Outcome::Done);
    let requests: Vec<_> = (0..8).map(|_| sent(&mut batcher, at(3_300)).0).collect();
    for (after, request) in (0..).zip(requests) {
        batcher.answered(at(3_310 + after), request, all(throttled()), 1.0);
    }
    let taken = run(&mut batcher, (3_320, 3_720), (1, 100), |_, _| Outcome::Done)[0];
    assert!((150..=350).contains(&taken), "{taken} in 400 ms at half of the speed");
}
