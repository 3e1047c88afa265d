use super::*;
use crate::shard::SequenceNumber;

pub(crate) fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

pub(crate) fn after(sequence: u64) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

pub(crate) fn page(records: u64) -> PageFacts {
    PageFacts {
        records,
        bytes: records * 100,
        last: (records > 0).then(|| after(records)),
        newest_arrival: (records > 0).then_some(EpochMillis(1_000)),
        last_arrival: (records > 0).then_some(EpochMillis(1_000)),
        asked_at: Some(EpochMillis(5_000)),
        has_next: true,
        millis_behind: Some(0),
    }
}

fn begun(stop_at: Option<EpochMillis>) -> Cursor {
    Cursor::new(Position::TrimHorizon, stop_at)
}

#[test]
fn what_was_read_is_complete_as_far_as_answers_tell_and_never_less_than_before() {
    let mut cursor = begun(None).with_complete_until(Some(EpochMillis(700)));
    let facts = |records, last: Option<i64>, asked: Option<i64>, behind| PageFacts {
        last_arrival: last.map(EpochMillis),
        asked_at: asked.map(EpochMillis),
        millis_behind: behind,
        ..page(records)
    };
    let mut after = |facts| {
        cursor.take(&facts);
        cursor.complete_until().map(|at| at.0)
    };
    assert_eq!(after(facts(0, None, Some(5_000), Some(4_600))), Some(700), "never less");
    assert_eq!(after(facts(0, None, Some(5_000), Some(4_000))), Some(1_000));
    assert_eq!(
        after(facts(3, Some(2_000), Some(5_000), Some(0))),
        Some(2_000),
        "emulators say 0 while they are behind"
    );
    assert_eq!(after(facts(3, None, Some(5_000), Some(0))), Some(2_000));
    assert_eq!(after(facts(0, None, Some(5_000), None)), Some(2_000), "an empty answer alone proves nothing");
    assert_eq!(after(facts(0, None, None, Some(0))), Some(2_000));
    assert_eq!(after(facts(0, None, Some(5_000), Some(0))), Some(5_000));
    assert_eq!(after(facts(0, None, Some(5_500), Some(-3))), Some(5_500));
}

#[test]
fn the_tip_is_told_every_ten_seconds_at_most() {
    let mut cursor = begun(None);
    let empty = |at: i64, behind| PageFacts { asked_at: Some(EpochMillis(at)), millis_behind: behind, ..page(0) };
    assert_eq!(cursor.tip(at(0)), None, "no answer, no tip");
    let mut told = |now, facts| {
        cursor.take(&facts);
        let first = cursor.tip(at(now));
        assert_eq!(cursor.tip(at(now + 60_000)), None, "once for each answer");
        first.map(|at| at.0)
    };
    assert_eq!(told(0, empty(50_000, Some(9))), None);
    assert_eq!(told(0, page(3)), None);
    assert_eq!(told(0, empty(50_000, None)), None);
    assert_eq!(told(0, empty(50_000, Some(0))), Some(50_000));
    assert_eq!(told(9_999, empty(59_999, Some(0))), None);
    assert_eq!(told(10_000, empty(60_000, Some(0))), Some(60_000));
}

#[test]
fn the_last_records_of_a_closed_shard_move_the_cursor_and_end_it() {
    let mut cursor = begun(Some(EpochMillis(0)));
    cursor.take(&PageFacts { has_next: false, ..page(3) });
    assert_eq!((cursor.position(), cursor.finished()), (&after(3), Some(Finish::End)));
}

#[test]
fn caught_up_needs_an_empty_answer_at_the_tip_or_a_record_beyond_the_end() {
    let caught_up = |facts: PageFacts| {
        let mut cursor = begun(Some(EpochMillis(1_000)));
        cursor.take(&facts);
        cursor.finished() == Some(Finish::CaughtUp)
    };
    assert!(caught_up(page(0)));
    assert!(caught_up(PageFacts { millis_behind: None, ..page(0) }));
    assert!(!caught_up(PageFacts { millis_behind: Some(70), ..page(0) }), "an empty answer far from the tip");
    assert!(!caught_up(page(4)), "emulators are 0 ms behind while they are behind");
    assert!(
        !caught_up(PageFacts { newest_arrival: Some(EpochMillis(6_000)), ..page(4) }),
        "stamped ahead, for all we know"
    );
    assert!(caught_up(PageFacts { newest_arrival: Some(EpochMillis(6_001)), ..page(4) }));
}

/// A tip is none where the shard is closed: behind it are the children.
#[test]
fn a_shard_that_was_closed_at_the_start_is_read_to_its_end_whatever_stamps_and_answers_say() {
    let mut cursor = begun(Some(EpochMillis(1_000))).to_its_end(true);
    for facts in [PageFacts { newest_arrival: Some(EpochMillis(90_000)), ..page(4) }, page(0)] {
        cursor.take(&facts);
        assert_eq!(cursor.finished(), None);
    }
    cursor.take(&PageFacts { has_next: false, ..page(0) });
    assert_eq!(cursor.finished(), Some(Finish::End));
}

#[test]
fn a_start_behind_the_runs_end_is_caught_up_at_once() {
    let finished = |start| Cursor::new(Position::AtTimestamp(EpochMillis(start)), Some(EpochMillis(1_000))).finished();
    assert_eq!(finished(6_001), Some(Finish::CaughtUp));
    assert_eq!(finished(6_000), None);
}
