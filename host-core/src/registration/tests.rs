use proptest::prelude::*;

use super::ConsumerStatus::{Active, Creating, Deleting};
use super::*;

const LIMITS: RetryLimits =
    RetryLimits { max_attempts: 100, min_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };
const NOW: Moment = Moment::from_millis(1_000);

fn managed() -> Registration {
    Registration::new(LIMITS, Phase::Starting, true, false)
}

fn self_managed(phase: Phase) -> Registration {
    Registration::new(LIMITS, phase, false, false)
}

/// What `registration` answers to each, with all of every pause.
fn steps(mut registration: Registration, answers: &[Answer]) -> Vec<Step> {
    answers.iter().map(|answer| registration.answered(NOW, *answer, 1.0)).collect()
}

/// The step that follows the last of them.
fn steps_of(registration: &mut Registration, answers: &[Answer]) -> Step {
    answers.iter().map(|answer| registration.answered(NOW, *answer, 1.0)).last().expect("some")
}

fn wait(seconds: u64) -> Step {
    Step::Wait(NOW + Duration::from_secs(seconds))
}

const READY: Step = Step::Ready { registered_by_us: false };
const OURS: Step = Step::Ready { registered_by_us: true };
const NONE: Answer = Answer::Described(None);
const SOON: Step = Step::Wait(Moment::from_millis(1_250));

const fn is(status: ConsumerStatus) -> Answer {
    Answer::Described(Some(status))
}

#[test]
fn a_consumer_that_is_there_is_used_by_both_and_is_nobody_elses_to_deregister() {
    for registration in [managed(), self_managed(Phase::Starting), self_managed(Phase::Running)] {
        assert_eq!(steps(registration, &[is(Active)]), [READY]);
    }
}

#[test]
fn a_consumer_that_is_being_created_is_waited_for() {
    for registration in [managed(), self_managed(Phase::Starting)] {
        assert_eq!(steps(registration, &[is(Creating), is(Creating), is(Active)]), [wait(2), wait(4), READY]);
    }
}

#[test]
fn a_managed_consumer_is_registered_only_where_there_is_none_and_then_awaited() {
    let answers = [NONE, Answer::Registered(Creating), is(Creating), is(Active)];
    assert_eq!(steps(managed(), &answers), [Step::Register, SOON, wait(2), OURS]);
    assert_eq!(steps(managed(), &[NONE, Answer::Registered(Active)]), [Step::Register, OURS]);
}

#[test]
fn a_consumer_that_is_being_deleted_is_waited_for_and_then_registered() {
    let answers = [is(Deleting), is(Deleting), NONE, Answer::Registered(Active)];
    assert_eq!(steps(managed(), &answers), [wait(2), wait(4), Step::Register, OURS]);
}

#[test]
fn a_self_managed_consumer_is_never_registered_and_missed_at_once_by_a_start_only() {
    assert_eq!(steps(self_managed(Phase::Starting), &[NONE]), [Step::GiveUp(Reason::NotFound)]);
    assert_eq!(steps(self_managed(Phase::Running), &[NONE, NONE, is(Active)]), [wait(2), wait(4), READY]);
}

#[test]
fn too_many_consumers_are_told_from_too_many_calls() {
    let counted = |registered, deleting| {
        steps(managed(), &[NONE, Answer::TooMany, Answer::Counted { registered, deleting }])[1..].to_vec()
    };
    let full = [Step::CountConsumers, Step::GiveUp(Reason::LimitReached)];
    let throttled = [Step::CountConsumers, wait(2)];
    for (registered, expected) in
        [(0, throttled), (5, throttled), (19, throttled), (20, full), (21, throttled), (49, throttled), (50, full)]
    {
        assert_eq!(counted(registered, 0), expected, "{registered}");
    }
    assert_eq!(counted(20, 1), throttled, "one of them makes room");
}

#[test]
fn a_consumer_that_somebody_else_registered_meanwhile_is_theirs() {
    assert_eq!(steps(managed(), &[NONE, Answer::Exists, is(Active)]), [Step::Register, wait(2), READY]);
}

#[test]
fn a_registration_without_an_answer_may_have_happened() {
    let lost = Answer::Failed(Trouble::Transient);
    assert_eq!(steps(managed(), &[NONE, lost, is(Active)]), [Step::Register, wait(2), OURS]);
    let answers = [NONE, lost, NONE, Answer::Exists, is(Active)];
    assert_eq!(*steps(managed(), &answers).last().expect("five"), OURS);
    for refused in [Trouble::Throttled, Trouble::Contended, Trouble::Unreachable] {
        assert_eq!(steps(managed(), &[NONE, Answer::Failed(refused), is(Active)])[2], READY, "{refused:?}");
    }
    assert_eq!(steps(managed(), &[lost, is(Active)])[1], READY, "a description registers nothing");
}

#[test]
fn an_earlier_intention_makes_what_is_found_ours_unless_that_goes() {
    let intended = || Registration::new(LIMITS, Phase::Starting, true, true);
    assert_eq!(steps(intended(), &[is(Active)]), [OURS]);
    assert_eq!(steps(intended(), &[is(Deleting), is(Active)])[1], READY);
    assert_eq!(steps(intended(), &[NONE, Answer::Exists, is(Active)])[2], READY);
    assert_eq!(steps(Registration::new(LIMITS, Phase::Starting, false, true), &[is(Active)]), [READY]);
}

#[test]
fn what_a_start_may_not_or_cannot_reach_ends_it_and_a_run_bears_it_longer() {
    let failures = |phase, trouble| {
        let mut registration = Registration::new(LIMITS, phase, true, false);
        let mut ends = |_: &u32| matches!(registration.answered(NOW, Answer::Failed(trouble), 1.0), Step::GiveUp(_));
        (1..10_000).find(&mut ends)
    };
    for (trouble, starting, running) in [
        (Trouble::Denied, 1, Some(DENIED_ATTEMPTS)),
        (Trouble::Unreachable, UNREACHABLE_ATTEMPTS, None),
        (Trouble::Throttled, 101, None),
        (Trouble::Transient, 101, None),
        (Trouble::Contended, 101, None),
    ] {
        let found = (failures(Phase::Starting, trouble), failures(Phase::Running, trouble));
        assert_eq!(found, (Some(starting), running), "{trouble:?}");
    }
}

#[test]
fn an_outage_uses_up_none_of_a_runs_patience_and_all_of_a_starts() {
    let outage = [Trouble::Throttled, Trouble::Transient, Trouble::Unreachable, Trouble::Contended];
    for is_managed in [true, false] {
        let mut registration = Registration::new(LIMITS, Phase::Running, is_managed, false);
        for trouble in outage.repeat(100) {
            let step = registration.answered(NOW, Answer::Failed(trouble), 1.0);
            assert!(matches!(step, Step::Wait(until) if until <= NOW + LIMITS.max_delay), "{trouble:?}: {step:?}");
        }
        assert_eq!(
            steps(registration.clone(), &[is(Creating); 101])[99..],
            [wait(60), Step::GiveUp(Reason::StillCreating)]
        );
        assert_eq!(steps(registration, &[is(Active)]), [READY]);
    }
    let mut starting = managed();
    for _ in 0..100 {
        assert!(matches!(starting.answered(NOW, Answer::Failed(Trouble::Throttled), 1.0), Step::Wait(_)));
    }
    assert_eq!(steps(starting, &[is(Creating)]), [Step::GiveUp(Reason::StillCreating)]);
}

#[test]
fn too_many_calls_are_a_throttle_like_any_other() {
    let throttled = [NONE, Answer::TooMany, Answer::Counted { registered: 3, deleting: 0 }];
    let mut running = Registration::new(LIMITS, Phase::Running, true, false);
    let mut starting = managed();
    for _ in 0..100 {
        assert!(matches!(steps_of(&mut running, &throttled), Step::Wait(_)));
        assert!(matches!(steps_of(&mut starting, &throttled), Step::Wait(_)));
    }
    assert!(matches!(steps_of(&mut running, &throttled), Step::Wait(_)));
    assert_eq!(steps_of(&mut starting, &throttled), Step::GiveUp(Reason::Failed));
}

#[test]
fn failures_in_a_row_are_forgotten_once_the_service_answers() {
    let mut registration = Registration::new(LIMITS, Phase::Running, true, false);
    for _ in 0..20 {
        assert!(matches!(registration.answered(NOW, Answer::Failed(Trouble::Denied), 1.0), Step::Wait(_)));
        assert!(matches!(registration.answered(NOW, is(Creating), 1.0), Step::Wait(_)));
    }
}

#[test]
fn patience_ends_with_what_it_waited_for() {
    for (registration, answer, reason) in [
        (managed(), is(Creating), Reason::StillCreating),
        (managed(), is(Deleting), Reason::StillDeleting),
        (self_managed(Phase::Running), NONE, Reason::NotFound),
    ] {
        let steps = steps(registration, &[answer; 101]);
        assert_eq!(steps[100], Step::GiveUp(reason));
        assert!(steps[5..100].iter().all(|step| *step == wait(60)), "{steps:?}");
    }
}

#[test]
fn pauses_are_drawn_from_the_upper_half() {
    for (jitter, expected) in [(0.0, 1_000), (0.5, 1_500), (1.0, 2_000), (f64::NAN, 2_000)] {
        let step = managed().answered(NOW, is(Creating), jitter);
        assert_eq!(step, Step::Wait(NOW + Duration::from_millis(expected)), "{jitter}");
    }
}

fn status() -> impl Strategy<Value = ConsumerStatus> {
    prop_oneof![Just(Creating), Just(Deleting), Just(Active)]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Throttled),
        Just(Trouble::Transient),
        Just(Trouble::Unreachable),
        Just(Trouble::Denied),
        Just(Trouble::Contended),
    ]
}

/// Calls after which the service answers.
const OUTAGE_CALLS: usize = 60;

/// Answers to each of the three calls, the last of them for as long as that lasts.
type Script = (Vec<Answer>, Vec<Answer>, Vec<Answer>);

fn script() -> impl Strategy<Value = Script> {
    let failed = || trouble().prop_map(Answer::Failed);
    let described = prop_oneof![3 => prop::option::of(status()).prop_map(Answer::Described), 1 => failed()];
    let registered =
        prop_oneof![status().prop_map(Answer::Registered), Just(Answer::Exists), Just(Answer::TooMany), failed(),];
    let counted = prop_oneof![
        3 => (0_usize..60, 0_usize..2).prop_map(|(registered, deleting)| Answer::Counted { registered, deleting }),
        1 => failed(),
    ];
    let some = 1..6;
    (
        prop::collection::vec(described, some.clone()),
        prop::collection::vec(registered, some.clone()),
        prop::collection::vec(counted, some),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn whatever_the_service_answers_it_ends_and_registers_only_what_was_just_missed(
        (described, registered, counted) in script(),
        is_managed: bool,
        is_running: bool,
        is_intended: bool,
        max_attempts in 1_u32..8,
        jitter in 0.0..1.0,
    ) {
        let phase = if is_running { Phase::Running } else { Phase::Starting };
        let limits = RetryLimits { max_attempts, ..LIMITS };
        let mut registration = Registration::new(limits, phase, is_managed, is_intended);
        let (mut step, mut now, mut calls) = (Step::Describe, NOW, [0_usize; 3]);
        let (mut all_waits, mut waits) = (0, 0);
        let (mut is_missed, mut is_failing, mut is_denied) = (false, false, false);
        loop {
            // Nothing fails for ever.
            let is_over = calls.iter().sum::<usize>() >= OUTAGE_CALLS;
            let mut next = |which: usize, answers: &[Answer], in_the_end: Answer| {
                calls[which] += 1;
                if is_over { in_the_end } else { answers[(calls[which] - 1).min(answers.len() - 1)] }
            };
            let answer = match step {
                Step::Describe => next(0, &described, is(Creating)),
                Step::Register => {
                    prop_assert!(is_managed && is_missed, "once for each time that it was missed");
                    next(1, &registered, Answer::Registered(Creating))
                }
                Step::CountConsumers => next(2, &counted, Answer::Counted { registered: CONSUMERS_MAX, deleting: 0 }),
                Step::Wait(until) => {
                    prop_assert!(until > now && until <= now + LIMITS.max_delay);
                    now = until;
                    all_waits += 1;
                    waits += u32::from(!(is_running && is_failing));
                    step = Step::Describe;
                    continue;
                }
                Step::Ready { registered_by_us } => {
                    prop_assert!(is_managed || !registered_by_us);
                    break;
                }
                Step::GiveUp(_) => {
                    prop_assert!(!(is_running && is_failing) || is_denied, "a run stops over what may pass");
                    break;
                }
            };
            is_missed = answer == NONE;
            is_denied = answer == Answer::Failed(Trouble::Denied);
            is_failing = match answer {
                Answer::Failed(_) => true,
                Answer::Counted { registered, .. } => !is_limit(registered),
                Answer::Described(_) | Answer::Registered(_) | Answer::Exists | Answer::TooMany => false,
            };
            step = registration.answered(now, answer, jitter);
            prop_assert!(waits <= max_attempts);
            prop_assert!(is_running || all_waits == waits);
            prop_assert!(calls.iter().sum::<usize>() <= OUTAGE_CALLS + 3 * (max_attempts as usize + 1));
        }
    }
}
