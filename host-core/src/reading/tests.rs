use super::*;
use crate::cursor::tests::{after, at, page};
use crate::moment::EpochMillis;

const PACE: Pace = Pace {
    max_calls_per_second: Some(5.0),
    max_bytes_per_second: Some(2_000_000),
    empty_interval: Duration::from_millis(250),
    max_records: 10_000,
};

/// A reader that has an iterator and has just been told to read.
fn reading(pace: Pace, stop_at: Option<EpochMillis>) -> Reading {
    let mut reading = Reading::new(Cursor::new(Position::TrimHorizon, stop_at), pace, at(0));
    assert_eq!(reading.next(at(0)), Action::OpenIterator { from: Position::TrimHorizon });
    reading.opened(at(0));
    assert_eq!(reading.next(at(0)), Action::Read);
    reading
}

#[test]
fn calls_are_spaced_from_the_start_of_each() {
    let mut reading = reading(PACE, None);
    reading.page(at(150), &page(7));
    assert_eq!(reading.next(at(150)), Action::Wait(at(200)));
    assert_eq!(reading.next(at(200)), Action::Read);
    reading.page(at(900), &page(7));
    assert_eq!(reading.next(at(900)), Action::Read, "a slow call has waited enough");
}

#[test]
fn a_large_page_is_paid_for_by_a_longer_silence() {
    let mut reading = reading(PACE, None);
    reading.page(at(100), &PageFacts { bytes: 1_000_000, ..page(9) });
    assert_eq!(reading.next(at(100)), Action::Wait(at(500)));
    assert_eq!(reading.next(at(500)), Action::Read);
    reading.page(at(600), &PageFacts { bytes: 500_000, ..page(9) });
    assert_eq!(reading.next(at(600)), Action::Wait(at(750)));
}

/// The service refuses every call within five seconds of serving a page of 10 MB. It may serve it at any time between
/// request and answer.
#[test]
fn after_a_page_of_ten_megabytes_no_call_comes_within_five_seconds_of_its_serving() {
    let mut reading = reading(PACE, None);
    let (mut called, mut served_last) = (0, 0);
    for (serving, answer) in [(0, 40), (250, 300), (490, 500), (20, 30), (499, 700), (3, 4)] {
        let served = called + serving;
        reading.page(at(called + answer), &PageFacts { bytes: 10_000_000, ..page(9) });
        let Action::Wait(until) = reading.next(at(called + answer)) else { panic!("no silence") };
        assert!(until >= at(served + 5_000), "called at {until:?} after a page served at {served}");
        assert!(until <= at(called + 5_500), "the silence is longer than it must be");
        assert_eq!(reading.next(until), Action::Read);
        (called, served_last) = (u64::try_from(until.0.as_millis()).expect("small"), served);
    }
    assert!(served_last > 25_000);
}

#[test]
fn without_limits_only_empty_pages_make_a_pause() {
    let pace = Pace { max_calls_per_second: None, max_bytes_per_second: None, ..PACE };
    let mut reading = reading(pace, None);
    reading.page(at(1), &page(9));
    assert_eq!(reading.next(at(1)), Action::Read);
    reading.page(at(2), &page(0));
    assert_eq!(reading.next(at(2)), Action::Wait(at(252)));
}

const UNPACED: Pace = Pace { max_calls_per_second: None, ..PACE };

fn again(verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Again { .. }), "given up");
}

#[test]
fn failures_back_off_and_a_page_forgives_them() {
    let limits =
        RetryLimits { max_attempts: 50, min_delay: Duration::from_millis(300), max_delay: Duration::from_secs(1) };
    let mut reading = reading(UNPACED, None).with_retry(limits);
    let mut now = 0;
    for (failures, pause) in [(1, 300), (2, 600), (3, 1_000), (4, 1_000)] {
        again(reading.failed(at(now), if failures % 2 == 0 { Failure::Throttled } else { Failure::Transient }, 1.0));
        assert_eq!(reading.consecutive_failures(), failures);
        assert_eq!(reading.next(at(now)), Action::Wait(at(now + pause)));
        now += pause;
        assert_eq!(reading.next(at(now)), Action::Read);
    }
    assert_eq!(reading.page(at(now), &page(1)), None, "nothing was told, so nothing is taken back");
    assert_eq!(reading.consecutive_failures(), 0);
    assert_eq!(reading.next(at(now + 1)), Action::Read);
}

/// Ten minutes of throttles: told once, borne, over with the first page, and not a record asked for twice.
#[test]
fn a_throttle_of_ten_minutes_is_borne_and_told_once() {
    let mut reading = reading(PACE, None);
    reading.page(at(10), &page(5));
    let (mut now, mut told, mut calls) = (at(10), Vec::new(), 0);
    while now < at(600_000) {
        match reading.next(now) {
            Action::Wait(until) => now = until,
            Action::Read => {
                calls += 1;
                let Verdict::Again { struggling, .. } =
                    reading.failed(now + Duration::from_millis(5), Failure::Throttled, 0.5)
                else {
                    panic!("given up")
                };
                told.extend(struggling);
            }
            Action::OpenIterator { from } => {
                assert_eq!(from, after(5));
                reading.opened(now);
            }
            Action::Paused | Action::Finished(_) => panic!("nobody asked for that"),
        }
    }
    assert_eq!(told.len(), 1);
    assert!((60..400).contains(&calls), "{calls} calls in ten minutes");
    assert!(matches!(reading.health(), Health::Struggling { .. }));
    assert!(reading.page(at(600_100), &page(6)).expect("told").lasted > Duration::from_secs(590));
    assert_eq!(reading.health(), Health::Healthy);
}

#[test]
fn denials_are_borne_twice_and_then_end_it() {
    let mut reading = reading(UNPACED, None);
    again(reading.failed(at(0), Failure::Denied, 0.0));
    assert_eq!(reading.next(at(0)), Action::Wait(at(1_000)));
    again(reading.failed(at(1_000), Failure::Denied, 0.0));
    assert_eq!(reading.failed(at(3_000), Failure::Denied, 0.0), Verdict::GiveUp);
}

/// K-PX-6: what was read is not asked for again.
#[test]
fn an_expired_iterator_is_replaced_at_once_but_only_once_without_progress() {
    let mut reading = reading(UNPACED, None);
    reading.page(at(0), &PageFacts { bytes: 0, ..page(5) });
    assert_eq!(reading.next(at(0)), Action::Read);
    again(reading.failed(at(0), Failure::ExpiredIterator, 1.0));
    assert_eq!(reading.consecutive_failures(), 0, "it belongs to normal operation");
    assert_eq!(reading.next(at(0)), Action::OpenIterator { from: after(5) });
    reading.opened(at(0));
    assert_eq!(reading.next(at(0)), Action::Read);
    again(reading.failed(at(0), Failure::ExpiredIterator, 1.0));
    assert_eq!(reading.next(at(0)), Action::Wait(at(300)));
    assert_eq!(reading.next(at(300)), Action::OpenIterator { from: after(5) });
}

#[test]
fn an_iterator_too_old_to_be_used_is_replaced_without_a_failure() {
    let mut reading = reading(UNPACED, None);
    reading.page(at(1_000), &PageFacts { bytes: 0, ..page(5) });
    assert_eq!(reading.next(at(290_999)), Action::Read);
    assert_eq!(reading.next(at(291_000)), Action::OpenIterator { from: after(5) });
    reading.opened(at(291_000));
    assert_eq!(reading.next(at(291_000)), Action::Read);
}

#[test]
fn a_paused_reader_asks_for_nothing_and_goes_on_behind_the_last_record() {
    let mut reading = reading(UNPACED, None);
    reading.pause();
    assert_eq!(reading.next(at(0)), Action::Paused);
    reading.page(at(50), &PageFacts { bytes: 0, ..page(5) });
    assert_eq!(reading.next(at(60)), Action::Paused, "the page under way was answered, and no other is asked for");
    reading.resume();
    assert_eq!(reading.next(at(60)), Action::Read);
    reading.pause();
    assert_eq!(reading.next(at(400_000)), Action::Paused);
    reading.resume();
    assert_eq!(reading.next(at(400_000)), Action::OpenIterator { from: after(5) }, "it outlived its iterator");
}

#[test]
fn a_pause_before_the_first_iterator_holds_too_and_never_hides_an_end() {
    let mut reading = Reading::new(Cursor::new(Position::TrimHorizon, None), PACE, at(0));
    reading.pause();
    assert_eq!(reading.next(at(0)), Action::Paused);
    reading.resume();
    assert_eq!(reading.next(at(0)), Action::OpenIterator { from: Position::TrimHorizon });
    reading.opened(at(0));
    reading.pause();
    reading.page(at(0), &PageFacts { has_next: false, ..page(1) });
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End));
}

#[test]
fn a_start_that_lies_ahead_is_waited_for() {
    let from = Position::AtTimestamp(EpochMillis(90_000));
    let mut reading = Reading::new(Cursor::new(from.clone(), None), PACE, at(0)).starting_at(at(60_000));
    assert_eq!(reading.next(at(0)), Action::Wait(at(60_000)));
    assert_eq!(reading.next(at(60_000)), Action::OpenIterator { from: from.clone() });
    again(reading.failed(at(60_000), Failure::TooEarly, 0.0));
    assert_eq!(reading.next(at(60_000)), Action::Wait(at(61_000)), "the service's clock is behind ours");
    assert_eq!(reading.next(at(61_000)), Action::OpenIterator { from });
    assert_eq!(reading.consecutive_failures(), 0);
}

#[test]
fn a_start_behind_the_runs_end_is_caught_up_at_once() {
    let finish = |start: i64| {
        let from = Position::AtTimestamp(EpochMillis(start));
        Reading::new(Cursor::new(from, Some(EpochMillis(1_000))), PACE, at(0)).starting_at(at(9_000)).next(at(0))
    };
    assert_eq!(finish(6_001), Action::Finished(Finish::CaughtUp));
    assert_eq!(finish(6_000), Action::Wait(at(9_000)));
}

#[test]
fn empty_pages_on_the_way_to_the_tip_make_no_pause_beyond_the_rate_of_calls() {
    let mut reading = reading(PACE, None);
    let empty = |behind| PageFacts { millis_behind: Some(behind), ..page(0) };
    reading.page(at(20), &empty(7_200_000));
    assert_eq!(reading.next(at(20)), Action::Wait(at(200)), "five calls a second, and no longer pause");
    assert_eq!(reading.next(at(200)), Action::Read);
    reading.page(at(220), &empty(3_600_000));
    assert_eq!(reading.next(at(220)), Action::Wait(at(400)));
    assert_eq!(reading.next(at(400)), Action::Read);
    reading.page(at(420), &empty(3_600_000));
    assert_eq!(reading.next(at(420)), Action::Wait(at(670)), "it does not get nearer: no reason to hurry");
    assert_eq!(reading.next(at(670)), Action::Read);
    reading.page(at(690), &empty(0));
    assert_eq!(reading.next(at(690)), Action::Wait(at(940)), "the tip");
    assert_eq!(reading.next(at(940)), Action::Read);
    reading.page(at(960), &PageFacts { millis_behind: None, ..page(0) });
    assert_eq!(reading.next(at(960)), Action::Wait(at(1_210)), "nobody says how far it is");
}

#[test]
fn the_last_page_of_a_closed_shard_ends_it() {
    let mut reading = reading(PACE, Some(EpochMillis(0)));
    reading.page(at(0), &PageFacts { has_next: false, ..page(3) });
    assert_eq!(reading.cursor().position(), &after(3));
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End), "the end of the shard says more than the run's end");
    again(reading.failed(at(0), Failure::ExpiredIterator, 0.0));
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End));
}

#[test]
fn a_run_without_an_end_never_catches_up() {
    let mut reading = reading(PACE, None);
    reading.page(at(0), &page(0));
    assert_eq!(reading.next(at(250)), Action::Read);
}

#[test]
fn a_finished_shard_is_not_opened() {
    let mut reading = Reading::new(Cursor::new(Position::ShardEnd, None), PACE, at(0));
    assert_eq!(reading.next(at(0)), Action::Finished(Finish::End));
}
