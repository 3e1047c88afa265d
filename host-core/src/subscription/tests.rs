use super::*;
use crate::moment::EpochMillis;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber::parse(&number.to_string()).expect("decimal")
}

fn after(number: u64) -> Position {
    Position::after(sequence(number))
}

fn facts(last: Option<u64>) -> PageFacts {
    PageFacts {
        records: u64::from(last.is_some()),
        bytes: 100,
        last: last.map(after),
        newest_arrival: last.map(|_| EpochMillis(1_000)),
        last_arrival: last.map(|_| EpochMillis(1_000)),
        asked_at: Some(EpochMillis(5_000)),
        has_next: true,
        millis_behind: Some(0),
    }
}

fn begun() -> Subscription {
    Subscription::new(Cursor::new(Position::TrimHorizon, None), RetryLimits::default(), at(0))
}

/// One that has been granted at second 0, for its whole life if the jitter is 1 and an earlier one came of age.
fn subscribed() -> Subscription {
    let mut subscription = begun();
    assert_eq!(subscription.next(at(0)), Action::Subscribe { from: Position::TrimHorizon });
    subscription.subscribed(at(0), 1.0);
    assert_eq!(subscription.next(at(0)), Action::Receive);
    subscription
}

fn again(verdict: Verdict) -> Option<Spell> {
    let Verdict::Again { struggling, .. } = verdict else { panic!("gave up") };
    struggling
}

#[test]
fn a_renewal_begins_after_the_continuation_so_that_nothing_is_scanned_or_read_twice() {
    let mut subscription = subscribed();
    subscription.event(at(1), &facts(Some(7)), Some(sequence(7)));
    subscription.event(at(290), &facts(None), Some(sequence(90)));
    assert_eq!(subscription.cursor().position(), &after(7), "a position is a record's, nothing else is durable");
    again(subscription.ended(at(300), 0.5));
    assert_eq!(subscription.next(at(300)), Action::Subscribe { from: after(90) }, "at once: its time was over");
}

#[test]
fn a_continuation_that_lags_behind_the_last_record_is_not_gone_back_to() {
    let mut subscription = subscribed();
    subscription.event(at(1), &facts(Some(100)), Some(sequence(9)));
    again(subscription.ended(at(300), 0.5));
    assert_eq!(subscription.next(at(300)), Action::Subscribe { from: after(100) });
}

#[test]
fn an_event_that_tells_no_continuation_keeps_the_last_one() {
    let mut subscription = subscribed();
    subscription.event(at(1), &facts(None), Some(sequence(50)));
    subscription.event(at(2), &facts(None), None);
    again(subscription.ended(at(300), 0.5));
    assert_eq!(subscription.next(at(300)), Action::Subscribe { from: after(50) });
}

#[test]
fn nobody_subscribes_within_five_seconds_of_a_call_that_succeeded_however_it_ended() {
    type End = fn(&mut Subscription);
    let ends: [End; 4] = [
        |subscription| {
            again(subscription.failed(at(1), Failure::Trouble(Trouble::Transient), 0.0));
        },
        |subscription| {
            subscription.event(at(0), &facts(None), None);
            again(subscription.ended(at(1), 0.0));
        },
        |subscription| {
            again(subscription.let_go(at(1), Why::Renewed, 0.0));
        },
        |subscription| {
            again(subscription.failed(at(1), Failure::TooEarly, 0.0));
        },
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let mut subscription = subscribed();
        end(&mut subscription);
        assert_eq!(subscription.next(at(1)), Action::Wait(at(5)), "{index}");
        assert!(matches!(subscription.next(at(5)), Action::Subscribe { .. }), "{index}");
    }
}

#[test]
fn a_call_that_is_refused_because_the_shard_is_in_use_is_repeated_after_five_seconds_and_told_when_it_lasts() {
    let mut subscription = begun();
    let (mut now, mut told_after) = (at(0), None);
    for attempt in 1..=20_u32 {
        assert!(matches!(subscription.next(now), Action::Subscribe { .. }));
        let spell = again(subscription.failed(now, Failure::InUse, 0.0));
        if let Some(spell) = spell {
            assert_eq!(told_after.replace(spell.lasted), None, "once");
        }
        let Action::Wait(until) = subscription.next(now) else { panic!("{attempt}: no pause") };
        assert!(until.since(now) >= SUBSCRIBE_INTERVAL && until.since(now) <= Duration::from_secs(90), "{attempt}");
        now = until;
    }
    assert!(told_after.expect("told") <= Duration::from_secs(60));
}

#[test]
fn a_takeover_is_told_at_once_and_answered_ever_more_slowly() {
    let mut subscription = subscribed();
    let mut now = at(100);
    let mut pauses = Vec::new();
    for takeover in 0..6 {
        subscription.event(now, &facts(None), Some(sequence(9)));
        let told = again(subscription.failed(now, Failure::InUse, 0.0));
        assert_eq!(told.is_some(), takeover == 0, "once, as long as it goes on");
        let Action::Wait(until) = subscription.next(now) else { panic!("no pause") };
        pauses.push(until.since(now).as_secs());
        now = until;
        assert!(matches!(subscription.next(now), Action::Subscribe { .. }));
        subscription.subscribed(now, 1.0);
        now = now + Duration::from_secs(1);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    let since = now;
    let early = subscription.event(since + Duration::from_secs(30), &facts(None), None);
    assert_eq!(early, None, "who has taken it six times may take it again");
    let end = subscription.event(since + Duration::from_secs(60), &facts(None), None);
    assert_eq!(end.expect("undisputed for a minute").attempts, 6);
}

#[test]
fn silence_ends_a_subscription_after_thirty_five_seconds_and_not_sooner() {
    let mut subscription = subscribed();
    assert_eq!(subscription.listen(at(10)), at(45));
    assert_eq!(subscription.listen(at(20)), at(45), "looking up from the line does not make it any less silent");
    assert_eq!(subscription.next(at(44)), Action::Receive);
    assert_eq!(subscription.next(at(45)), Action::LetGo(Why::Silent));
    again(subscription.let_go(at(45), Why::Silent, 0.0));
    assert!(matches!(subscription.next(at(46)), Action::Subscribe { .. }));
}

#[test]
fn a_reader_that_is_busy_with_the_last_event_hears_no_silence() {
    let mut subscription = subscribed();
    subscription.listen(at(10));
    subscription.event(at(12), &facts(Some(1)), None);
    assert_eq!(subscription.next(at(200)), Action::Receive, "the sinks were slow for minutes");
    assert_eq!(subscription.listen(at(200)), at(235));
    subscription.heard();
    assert_eq!(subscription.next(at(240)), Action::Receive, "what waits for room is no silence");
}

#[test]
fn the_first_subscriptions_end_apart_and_later_ones_live_until_the_service_ends_them() {
    let ends = |jitter| {
        let mut subscription = begun();
        subscription.subscribed(at(0), jitter);
        let mut now = at(0);
        while subscription.next(now) == Action::Receive {
            subscription.event(now, &facts(None), None);
            now = now + Duration::from_secs(1);
        }
        assert_eq!(subscription.next(now), Action::LetGo(Why::Renewed));
        again(subscription.let_go(now, Why::Renewed, jitter));
        subscription.subscribed(now, jitter);
        subscription.event(now, &facts(None), None);
        assert_eq!(subscription.next(now + LIFE), Action::Receive, "the second one is left to the service");
        assert_eq!(subscription.next(now + LIFE + LIFE_SLACK), Action::LetGo(Why::Renewed), "which may forget it");
        now.0.as_secs()
    };
    assert_eq!((ends(0.0), ends(0.5), ends(1.0), ends(f64::NAN)), (30, 158, 285, 158));
}

#[test]
fn one_that_broke_lives_for_a_part_again_because_its_neighbours_broke_with_it() {
    let mut subscription = subscribed();
    subscription.event(at(1), &facts(None), None);
    again(subscription.ended(at(300), 0.5));
    subscription.subscribed(at(300), 0.0);
    again(subscription.failed(at(310), Failure::Trouble(Trouble::Transient), 0.0));
    subscription.subscribed(at(310), 0.0);
    assert_eq!(subscription.next(at(340)), Action::LetGo(Why::Renewed));
}

#[test]
fn one_that_was_let_go_while_paused_or_noticed_late_lives_for_a_part_again() {
    type End = fn(&mut Subscription);
    let ends: [End; 3] = [
        |subscription| again(subscription.let_go(at(590), Why::Paused, 0.0)).map_or((), drop),
        |subscription| again(subscription.ended(at(620), 0.0)).map_or((), drop),
        |subscription| again(subscription.let_go(at(640), Why::Renewed, 0.0)).map_or((), drop),
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let mut subscription = subscribed();
        subscription.event(at(1), &facts(None), None);
        again(subscription.ended(at(300), 0.5));
        subscription.subscribed(at(300), 0.0);
        subscription.event(at(301), &facts(None), None);
        end(&mut subscription);
        subscription.subscribed(at(700), 0.0);
        assert_eq!(subscription.next(at(730)), Action::LetGo(Why::Renewed), "{index}");
    }
}

#[test]
fn an_end_without_an_event_is_a_failure_so_that_a_loop_of_them_slows_down_and_is_told() {
    let mut subscription = begun();
    let (mut now, mut told) = (at(0), 0);
    for _ in 0..60 {
        subscription.subscribed(now, 1.0);
        told += u32::from(again(subscription.ended(now, 1.0)).is_some());
        let Action::Wait(until) = subscription.next(now) else { panic!("no pause") };
        assert!(until.since(now) >= SUBSCRIBE_INTERVAL);
        now = until;
    }
    assert_eq!(told, 1);
    subscription.subscribed(now, 1.0);
    assert!(subscription.event(now, &facts(None), None).is_some(), "and so is its end");
}

#[test]
fn the_end_of_a_shard_may_come_with_its_last_records() {
    let mut subscription = subscribed();
    subscription.event(at(1), &PageFacts { has_next: false, ..facts(Some(8)) }, None);
    assert_eq!(subscription.next(at(1)), Action::Finished(Finish::End));
    assert_eq!(subscription.cursor().position(), &after(8));
    again(subscription.ended(at(2), 0.0));
    again(subscription.failed(at(2), Failure::InUse, 0.0));
    assert_eq!(subscription.next(at(400)), Action::Finished(Finish::End), "for good");
}

#[test]
fn a_paused_reader_holds_its_subscription_for_a_while_and_then_lets_it_go() {
    let mut subscription = subscribed();
    subscription.listen(at(0));
    subscription.pause(at(20));
    assert_eq!(subscription.next(at(20)), Action::Paused(Some(at(30))));
    subscription.pause(at(25));
    assert_eq!(subscription.next(at(29)), Action::Paused(Some(at(30))));
    let mut resumed = subscription.clone();
    resumed.resume();
    assert_eq!(resumed.next(at(29)), Action::Receive);
    assert_eq!(resumed.listen(at(29)), at(64), "nobody listened before");
    assert_eq!(subscription.next(at(30)), Action::LetGo(Why::Paused));
    again(subscription.let_go(at(30), Why::Paused, 0.0));
    assert_eq!(subscription.next(at(900)), Action::Paused(None));
    subscription.resume();
    assert!(matches!(subscription.next(at(900)), Action::Subscribe { .. }));
}

#[test]
fn a_struggle_outlives_another_place_and_another_consumer_and_its_end_is_told() {
    let mut subscription = begun();
    for second in 0..60 {
        again(subscription.failed(at(second), Failure::Trouble(Trouble::Throttled), 0.0));
    }
    let mut elsewhere = subscription.clone().anew(Cursor::new(Position::TrimHorizon, None), at(60));
    assert!(matches!(elsewhere.next(at(60)), Action::Subscribe { .. }), "at once all the same");
    elsewhere.subscribed(at(60), 0.5);
    assert!(elsewhere.event(at(60), &facts(None), None).is_some());
}

#[test]
fn a_refusal_of_rights_is_borne_for_a_few_attempts_and_then_ends_the_run() {
    let mut subscription = subscribed();
    let denied = Failure::Trouble(Trouble::Denied);
    again(subscription.failed(at(10), denied, 0.0));
    again(subscription.failed(at(20), denied, 0.0));
    assert_eq!(subscription.failed(at(30), denied, 0.0), Verdict::GiveUp);
}

#[test]
fn refusals_of_rights_do_not_add_up_over_a_quarrel_about_the_shard() {
    let mut subscription = subscribed();
    let mut now = at(100);
    for _ in 0..5 {
        subscription.event(now, &facts(None), None);
        again(subscription.failed(now, Failure::InUse, 0.0));
        again(subscription.failed(now, Failure::Trouble(Trouble::Denied), 0.0));
        now = now + Duration::from_secs(100);
        subscription.subscribed(now, 1.0);
    }
}

#[test]
fn a_start_that_lies_ahead_is_waited_for() {
    let from = Position::AtTimestamp(EpochMillis(90_000));
    let cursor = Cursor::new(from.clone(), None);
    let mut subscription = Subscription::new(cursor, RetryLimits::default(), at(0)).starting_at(at(60));
    assert_eq!(subscription.next(at(0)), Action::Wait(at(60)));
    again(subscription.failed(at(60), Failure::TooEarly, 0.0));
    assert_eq!(subscription.next(at(60)), Action::Wait(at(61)), "the service's clock is behind ours");
    assert_eq!(subscription.next(at(61)), Action::Subscribe { from });
}

#[test]
fn an_answer_that_comes_after_the_subscription_was_let_go_changes_nothing() {
    let mut subscription = subscribed();
    again(subscription.let_go(at(50), Why::Renewed, 0.0));
    assert_eq!(subscription.event(at(51), &facts(Some(99)), Some(sequence(99))), None);
    assert_eq!(subscription.next(at(51)), Action::Subscribe { from: Position::TrimHorizon });
}

/// The calls of one shard whose first is at second 0: the service ends what is of age, and says something every five
/// seconds. `jitter` is what chance gives it.
fn calls_in_an_hour(jitter: f64) -> Vec<u64> {
    let (mut subscription, mut now, mut granted) = (begun(), at(0), at(0));
    let mut calls = Vec::new();
    while now < at(3_600) {
        match subscription.next(now) {
            Action::Subscribe { .. } => {
                calls.push(now.0.as_secs());
                subscription.subscribed(now, jitter);
                granted = now;
            }
            Action::Receive => {
                now = subscription.listen(now).min(now + Duration::from_secs(5)).min(granted + LIFE);
                if now.since(granted) >= LIFE {
                    again(subscription.ended(now, jitter));
                } else {
                    subscription.event(now, &facts(None), None);
                }
            }
            Action::LetGo(why) => {
                again(subscription.let_go(now, why, jitter));
            }
            Action::Wait(until) => now = until,
            other @ (Action::Paused(_) | Action::Finished(_)) => panic!("{other:?}"),
        }
    }
    calls
}

#[test]
fn thousands_that_begin_together_are_not_renewed_together() {
    const SHARDS: u32 = 10_000;
    let mut calls = vec![0_u32; 3_600];
    for shard in 0..SHARDS {
        let mine = calls_in_an_hour(f64::from(shard) / f64::from(SHARDS));
        assert!(mine.len() <= 14, "hardly more calls than lives: {mine:?}");
        mine.into_iter().for_each(|second| calls[usize::try_from(second).expect("an hour")] += 1);
    }
    let (most, share) = (calls.iter().skip(1).max().copied().expect("an hour"), f64::from(SHARDS) / 300.0);
    assert!(f64::from(most) < 2.0 * share, "{most} calls in one second, where {share} would be even");
}
