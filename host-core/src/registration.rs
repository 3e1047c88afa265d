//! How a consumer of enhanced fan-out is found or registered.
//!
//! Look first, always. A consumer that is there is used, whoever registered it; one that is on its way in or out is waited
//! for; only where there is none is one registered, and only if that is ours to do. Registering first instead would spend
//! one of five calls a second of the whole account on every start, and end at a consumer that is being deleted. Every wait
//! is followed by another look, because whatever was true before it need not be true any more.
//!
//! | the service says | managed | self-managed |
//! |---|---|---|
//! | active | ready | ready |
//! | creating, deleting | wait | wait |
//! | none | register | at a start: give up; in a run: wait |
//!
//! *Too many* is what the service says both when a stream has all the consumers that it may have and when it is asked too
//! often: the number of consumers tells which. A registration without an answer may have happened, and then the consumer
//! that shows up is ours; one that was refused has not.
//!
//! Patience is for what the service says of the consumer. A run does not stop because a call gets no answer, however often
//! ([`crate::patience`]): such a wait uses up nothing, and only a refusal of rights ends it.

use std::time::Duration;

use crate::moment::Moment;
use crate::patience::{DENIED_ATTEMPTS, Phase, RetryLimits, Trouble, UNREACHABLE_ATTEMPTS, sane};

/// Consumers that a stream may have.
pub const CONSUMERS_MAX: usize = 20;
/// Consumers that a stream of an account with On-demand Advantage may have.
pub const CONSUMERS_MAX_ADVANTAGE: usize = 50;

/// Longest pause before the first look at a consumer that was just registered: emulators make it active at once.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// What the service says of a consumer (`ConsumerStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// `CREATING`.
    Creating,
    /// `ACTIVE`: subscriptions are possible.
    Active,
    /// `DELETING`: its name is free once it is gone.
    Deleting,
}

/// What became of the call that a [`Step`] asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `DescribeStreamConsumer`: the consumer, or that there is none.
    Described(Option<ConsumerStatus>),
    /// `RegisterStreamConsumer`: done.
    Registered(ConsumerStatus),
    /// `RegisterStreamConsumer`: there is one of that name (`ResourceInUse`).
    Exists,
    /// `RegisterStreamConsumer`: too many, of consumers or of calls (`LimitExceeded`).
    TooMany,
    /// `ListStreamConsumers`: how many there are.
    Counted {
        /// All of them.
        registered: usize,
        /// Those among them that are being deleted.
        deleting: usize,
    },
    /// The call failed in a way that another attempt may mend.
    Failed(Trouble),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `DescribeStreamConsumer`.
    Describe,
    /// `RegisterStreamConsumer`.
    Register,
    /// `ListStreamConsumers`.
    CountConsumers,
    /// Wait until then, and then [`Step::Describe`].
    Wait(Moment),
    /// The consumer is active.
    Ready {
        /// Whether it was registered on the way here.
        registered_by_us: bool,
    },
    /// Stop.
    GiveUp(Reason),
}

/// Why there is no consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not registered, and that is not ours to do.
    NotFound,
    /// The stream has all the consumers that it may have.
    LimitReached,
    /// It was being created for as long as patience lasted.
    StillCreating,
    /// It was being deleted for as long as patience lasted.
    StillDeleting,
    /// The calls failed: the last one tells.
    Failed,
}

/// One attempt at having an active consumer. It begins with [`Step::Describe`], and ends after at most `max_attempts` waits;
/// in a run, those are not counted that follow a call without an answer.
#[derive(Clone, Debug)]
pub struct Registration {
    limits: RetryLimits,
    phase: Phase,
    is_managed: bool,
    may_be_ours: bool,
    /// The answer that is due is that of a registration.
    is_registering: bool,
    has_registered: bool,
    has_looked: bool,
    waits: u32,
    doublings: u32,
    /// Failures in a row.
    unreachable: u32,
    denied: u32,
}

impl Registration {
    /// A consumer that nobody has looked for yet. `is_intended`: an earlier attempt may have registered it and never
    /// learned of it, so that one which turns out to be there is ours.
    #[must_use]
    pub const fn new(limits: RetryLimits, phase: Phase, is_managed: bool, is_intended: bool) -> Self {
        Self {
            limits,
            phase,
            is_managed,
            may_be_ours: is_managed && is_intended,
            is_registering: false,
            has_registered: false,
            has_looked: false,
            waits: 0,
            doublings: 0,
            unreachable: 0,
            denied: 0,
        }
    }

    /// Whether a consumer that shows up from now on may be one that was registered here, or by the intention before.
    #[must_use]
    pub const fn may_be_ours(&self) -> bool {
        self.may_be_ours
    }

    /// The call that was asked for ended so. `jitter` is a fresh random number in 0..1.
    #[must_use]
    pub fn answered(&mut self, now: Moment, answer: Answer, jitter: f64) -> Step {
        let was_registering = std::mem::take(&mut self.is_registering);
        if !matches!(answer, Answer::Failed(_)) {
            (self.unreachable, self.denied) = (0, 0);
        }
        match answer {
            Answer::Described(None) if self.is_managed => {
                // An intention from before the first look came to nothing. A registration that was just made may not show yet.
                self.may_be_ours &= self.has_registered;
                (self.is_registering, self.has_registered) = (true, true);
                Step::Register
            }
            Answer::Described(None) => match self.phase {
                Phase::Starting => Step::GiveUp(Reason::NotFound),
                Phase::Running => self.wait(now, Reason::NotFound, jitter),
            },
            Answer::Described(Some(status)) => self.found(now, status, jitter),
            Answer::Registered(status) => {
                self.may_be_ours = true;
                match status {
                    ConsumerStatus::Creating if !self.has_looked => self.look_soon(now),
                    ConsumerStatus::Creating | ConsumerStatus::Active | ConsumerStatus::Deleting => {
                        self.found(now, status, jitter)
                    }
                }
            }
            Answer::Exists => self.wait(now, Reason::Failed, jitter),
            Answer::TooMany => Step::CountConsumers,
            Answer::Counted { registered, deleting } => {
                let is_full = is_limit(registered);
                match (is_full, deleting) {
                    (true, 0) => Step::GiveUp(Reason::LimitReached),
                    // One of them makes room soon.
                    (true, _) => self.wait(now, Reason::LimitReached, jitter),
                    (false, _) => self.failed(now, Trouble::Throttled, jitter),
                }
            }
            Answer::Failed(trouble) => {
                self.may_be_ours |= was_registering && trouble == Trouble::Transient;
                self.failed(now, trouble, jitter)
            }
        }
    }

    fn found(&mut self, now: Moment, status: ConsumerStatus, jitter: f64) -> Step {
        match status {
            ConsumerStatus::Active => Step::Ready { registered_by_us: self.may_be_ours },
            ConsumerStatus::Creating => self.wait(now, Reason::StillCreating, jitter),
            ConsumerStatus::Deleting => {
                // Ours or not, it goes, and the next one of its name is another one.
                self.may_be_ours = false;
                self.wait(now, Reason::StillDeleting, jitter)
            }
        }
    }

    fn failed(&mut self, now: Moment, trouble: Trouble, jitter: f64) -> Step {
        let is_hopeless = match (trouble, self.phase) {
            (Trouble::Throttled | Trouble::Transient | Trouble::Contended, _) => false,
            (Trouble::Unreachable, phase) => {
                self.unreachable += 1;
                phase == Phase::Starting && self.unreachable >= UNREACHABLE_ATTEMPTS
            }
            (Trouble::Denied, phase) => {
                self.denied += 1;
                phase == Phase::Starting || self.denied >= DENIED_ATTEMPTS
            }
        };
        match (is_hopeless, self.phase) {
            (true, _) => Step::GiveUp(Reason::Failed),
            (false, Phase::Starting) => self.wait(now, Reason::Failed, jitter),
            (false, Phase::Running) => Step::Wait(now + self.pause(jitter)),
        }
    }

    /// Waits, or gives up for `reason` once patience is at its end.
    fn wait(&mut self, now: Moment, reason: Reason, jitter: f64) -> Step {
        if self.waits >= self.limits.max_attempts {
            return Step::GiveUp(reason);
        }
        self.waits += 1;
        Step::Wait(now + self.pause(jitter))
    }

    fn pause(&mut self, jitter: f64) -> Duration {
        let bound = self.limits.min_delay.saturating_mul(1 << self.doublings.min(16)).min(self.limits.max_delay);
        self.doublings = self.doublings.saturating_add(1);
        // From half the bound on: a consumer takes its time, and who looks sooner only spends calls.
        bound.mul_f64(0.5 + 0.5 * sane(jitter))
    }

    fn look_soon(&mut self, now: Moment) -> Step {
        self.has_looked = true;
        if self.waits >= self.limits.max_attempts {
            return Step::GiveUp(Reason::StillCreating);
        }
        self.waits += 1;
        Step::Wait(now + FIRST_LOOK.min(self.limits.min_delay))
    }
}

/// Whether a stream that has so many consumers has all that it may have. Between the two limits it must be a stream that
/// may have more.
const fn is_limit(registered: usize) -> bool {
    registered == CONSUMERS_MAX || registered >= CONSUMERS_MAX_ADVANTAGE
}

#[cfg(test)]
mod tests {
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
            let mut ends =
                |_: &u32| matches!(registration.answered(NOW, Answer::Failed(trouble), 1.0), Step::GiveUp(_));
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
}
