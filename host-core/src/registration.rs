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
mod tests;
