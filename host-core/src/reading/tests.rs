use super::*;
use crate::shard::SequenceNumber;

const PACE: Pace = Pace {
    max_calls_per_second: Some(5.0),
    max_bytes_per_second: Some(2_000_000),
    empty_interval: Duration::from_millis(250),
    max_records: 10_000,
};

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn after(sequence: u64) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

fn page(records: u64) -> PageFacts {
    PageFacts {
        records,
        bytes: records * 100,
        last: (records > 0).then(|| after(records)),
        newest_arrival: (records > 0).then_some(EpochMillis(1_000)),
        has_next: true,
        millis_behind: Some(0),
    }
}

/// A reader that has an iterator and has just been told to read.
fn reading(pace: Pace, stop_at: Option<EpochMillis>) -> Reading {
    let mut reading = Reading::new(Position::TrimHorizon, pace, stop_at, at(0));
    assert_eq!(reading.next(at(0)), Action::OpenIterator { from: Position::TrimHorizon });
    reading.opened(at(0));
    assert_eq!(reading.next(at(0)), Action::Read);
    reading
}

#[test]
fn calls_are_spaced_from_the_start_of_each() {
    let mut reading = reading(PACE, None);
    reading.page(at(150), page(7));
    assert_eq!(reading.next(at(150)), Action::Wait(at(200)));
    assert_eq!(reading.next(at(200)), Action::Read);
    reading.page(at(900), page(7));
    assert_eq!(reading.next(at(900)), Action::Read, "a slow call has waited enough");
}

#[test]
fn a_large_page_is_paid_for_by_a_longer_silence() {
    let mut reading = reading(PACE, None);
    reading.page(at(100), PageFacts { bytes: 10_000_000, ..page(9) });
    assert_eq!(reading.next(at(100)), Action::Wait(at(5_000)));
    assert_eq!(reading.next(at(5_000)), Action::Read);
}

#[test]
fn without_limits_only_empty_pages_make_a_pause() {
    let pace = Pace { max_calls_per_second: None, max_bytes_per_second: None, ..PACE };
    let mut reading = reading(pace, None);
    reading.page(at(1), page(9));
    assert_eq!(reading.next(at(1)), Action::Read);
    reading.page(at(2), page(0));
    assert_eq!(reading.next(at(2)), Action::Wait(at(252)));
}

#[test]
fn failures_back_off_and_a_page_forgives_them() {
    let mut reading = reading(Pace { max_calls_per_second: None, ..PACE }, None);
    let mut now = 0;
    for (failures, pause) in
        [(1, 300), (2, 600), (3, 1_200), (4, 2_400), (5, 4_800), (6, 9_600), (7, 10_000), (8, 10_000)]
    {
        reading.failed(at(now), if failures % 2 == 0 { Failure::Throttled } else { Failure::Transient }, 1.0);
        assert_eq!(reading.consecutive_failures(), failures);
        assert_eq!(reading.next(at(now)), Action::Wait(at(now + pause)));
        now += pause;
        assert_eq!(reading.next(at(now)), Action::Read);
    }
    reading.page(at(now), page(1));
    assert_eq!(reading.consecutive_failures(), 0);
    assert_eq!(reading.next(at(now + 1)), Action::Read);
}

#[test]
fn jitter_draws_from_the_whole_range() {
    let mut reading = reading(Pace { max_calls_per_second: None, ..PACE }, None);
    reading.failed(at(0), Failure::Throttled, 0.0);
    assert_eq!(reading.next(at(0)), Action::Read);
    reading.failed(at(0), Failure::Throttled, 0.5);
    assert_eq!(reading.next(at(0)), Action::Wait(at(300)));
    reading.failed(at(0), Failure::Throttled, f64::NAN);
    assert_eq!(reading.next(at(0)), Action::Wait(at(1_200)), "nonsense is no reason to hurry");
}

#[test]
fn an_expired_iterator_is_replaced_at_once_but_only_once_without_progress() {
    let mut reading = reading(Pace { max_calls_per_second: None, ..PACE }, None);
    reading.page(at(0), PageFacts { bytes: 0, ..page(5) });
    assert_eq!(reading.next(at(0)), Action::Read);
    reading.failed(at(0), Failure::ExpiredIterator, 1.0);
    assert_eq!(reading.next(at(0)), Action::OpenIterator { from: after(5) });
    reading.opened(at(0));
    assert_eq!(reading.next(at(0)), Action::Read);
    reading.failed(at(0), Failure::ExpiredIterator, 1.0);
    assert_eq!(reading.next(at(0)), Action::Wait(at(600)));
    assert_eq!(reading.next(at(600)), Action::OpenIterator { from: after(5) });
}

#[test]
fn the_last_page_of_a_closed_shard_moves_the_cursor_and_ends_it() {
    let mut reading = reading(PACE, Some(EpochMillis(0)));
    reading.page(at(0), PageFacts { has_next: false, ..page(3) });
    assert_eq!(reading.cursor(), &after(3));
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End), "the end of the shard says more than the run's end");
    reading.failed(at(0), Failure::ExpiredIterator, 0.0);
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End));
}

#[test]
fn caught_up_needs_an_empty_page_at_the_tip_or_a_record_beyond_the_end() {
    let caught_up = |facts: PageFacts| {
        let mut reading = reading(PACE, Some(EpochMillis(1_000)));
        reading.page(at(0), facts);
        reading.next(at(60_000)) == Action::Finished(Finish::CaughtUp)
    };
    assert!(caught_up(page(0)));
    assert!(caught_up(PageFacts { millis_behind: None, ..page(0) }));
    assert!(!caught_up(PageFacts { millis_behind: Some(70), ..page(0) }), "an empty page far from the tip");
    assert!(!caught_up(page(4)), "emulators are 0 ms behind while they are behind");
    assert!(caught_up(PageFacts { newest_arrival: Some(EpochMillis(1_001)), ..page(4) }));
}

#[test]
fn a_run_without_an_end_never_catches_up() {
    let mut reading = reading(PACE, None);
    reading.page(at(0), page(0));
    assert_eq!(reading.next(at(250)), Action::Read);
}

#[test]
fn a_finished_shard_is_not_opened() {
    let mut reading = Reading::new(Position::ShardEnd, PACE, None, at(0));
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End));
}
