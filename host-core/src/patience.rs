//! How long a failing call is borne: when to try again, when to say so, when to give up.
//!
//! One rule for every call to the service. What a caller may not (credentials, permissions) and what only waiting mends
//! (throttles, outages) are two things, and so are a start and a run:
//!
//! | | starting | running |
//! |---|---|---|
//! | throttled, transient, contended | gives up after `max_attempts` | never gives up |
//! | unreachable | gives up after 5 attempts: the endpoint is wrong | never gives up |
//! | denied | gives up at once | gives up after 3 attempts |
//!
//! A run does not stop over a throttle: a restart would read more, not less, and positions stay where they are meanwhile.
//! But neither does it wait in silence: after `max_attempts` failures in a row, or half a minute of them, the call is
//! *struggling*, which is told once, as is its recovery. A run bears a refusal of credentials for a few seconds, because
//! keys are changed and sessions renewed under its feet; no longer, because nobody else will mend it.
//!
//! Pauses double up to `max_delay`, and are drawn from the whole range up to that bound, so that calls that were refused
//! together do not come back together. While a call struggles the bound grows on to ten times `max_delay`: ten thousand
//! shards that all ask twice a second are no help to a service that is getting up.

use std::time::Duration;

use crate::moment::Moment;

/// A call that failed for this long is struggling, however few attempts fit into it.
const STRUGGLING_AFTER: Duration = Duration::from_secs(30);
/// How far beyond `max_delay` pauses grow while a call struggles.
const STRUGGLING_FACTOR: u32 = 10;
/// Attempts of a start at something that does not answer at all.
pub const UNREACHABLE_ATTEMPTS: u32 = 5;
/// Attempts of a run at something that it may not.
pub const DENIED_ATTEMPTS: u32 = 3;
/// Shortest pause where somebody else has what is asked for: within five seconds the service gives it to nobody else.
const CONTENDED_DELAY: Duration = Duration::from_secs(5);
/// The longest one.
const CONTENDED_DELAY_MAX: Duration = Duration::from_secs(60);
/// Longest pause after a refusal of credentials: long enough for them to be renewed, short enough to be told soon.
const DENIED_DELAY: Duration = Duration::from_secs(5);

/// `[aws.retry]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Failures in a row after which a call counts as failing; at least 1.
    pub max_attempts: u32,
    /// Bound of the pause after the first failure; doubles with each further one.
    pub min_delay: Duration,
    /// The highest bound while the call does not struggle.
    pub max_delay: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self { max_attempts: 50, min_delay: Duration::from_millis(300), max_delay: Duration::from_secs(1) }
    }
}

/// Why a call failed, of those failures that another attempt may mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The service asks for patience.
    Throttled,
    /// The service or the way to it failed.
    Transient,
    /// Nothing answers there.
    Unreachable,
    /// The caller may not.
    Denied,
    /// Somebody else has what is asked for, and the service gives it to one at a time.
    Contended,
}

/// What the call is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing runs yet: what fails now was probably never right.
    Starting,
    /// It worked before.
    Running,
}

/// How a call fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It succeeds, or has failed a few times only.
    Healthy,
    /// It has failed for long; tried again all the while.
    Struggling {
        /// When it failed first.
        since: Moment,
        /// Failures in a row.
        attempts: u32,
    },
    /// Given up.
    Failed,
}

/// A spell of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// Failures in a row.
    pub attempts: u32,
    /// Time since the first of them.
    pub lasted: Duration,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this pause. With a spell: the call is struggling from now on, and somebody should be told.
    Again {
        /// The pause.
        after: Duration,
        /// Set once, at the beginning of a struggle.
        struggling: Option<Spell>,
    },
    /// Stop.
    GiveUp,
}

/// The patience with one call.
#[derive(Clone, Debug)]
pub struct Patience {
    limits: RetryLimits,
    phase: Phase,
    health: Health,
    /// First failure since the last success.
    since: Moment,
    attempts: u32,
    denied: u32,
    /// Pauses since the struggle began.
    struggles: u32,
    is_told_at_once: bool,
}

impl Patience {
    /// Patience with a call that has not failed yet.
    #[must_use]
    pub const fn new(limits: RetryLimits, phase: Phase) -> Self {
        let since = Moment(Duration::ZERO);
        Self {
            limits,
            phase,
            health: Health::Healthy,
            since,
            attempts: 0,
            denied: 0,
            struggles: 0,
            is_told_at_once: false,
        }
    }

    /// From now on the call is one of a run.
    pub fn run(&mut self) {
        self.phase = Phase::Running;
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> RetryLimits {
        self.limits
    }

    /// How the call fares.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Failures in a row.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The call failed. `jitter` is a fresh random number in 0..1.
    #[must_use]
    pub fn failed(&mut self, now: Moment, trouble: Trouble, jitter: f64) -> Verdict {
        if self.attempts == 0 {
            self.since = now;
        }
        let before = self.attempts;
        self.attempts = self.attempts.saturating_add(1);
        self.denied += u32::from(trouble == Trouble::Denied);
        if self.health == Health::Failed || self.is_hopeless(trouble) {
            self.health = Health::Failed;
            return Verdict::GiveUp;
        }
        let was_struggling = self.health != Health::Healthy;
        let lasted = now.since(self.since);
        let at_once = std::mem::take(&mut self.is_told_at_once);
        let struggles =
            was_struggling || at_once || self.attempts >= self.limits.max_attempts || lasted >= STRUGGLING_AFTER;
        if struggles {
            self.health = Health::Struggling { since: self.since, attempts: self.attempts };
        }
        let after = match trouble {
            // All of the pause: time is what renewed credentials need.
            Trouble::Denied => self.limits.max_delay.min(DENIED_DELAY).saturating_mul(self.denied),
            Trouble::Throttled | Trouble::Transient | Trouble::Unreachable => self.bound(before).mul_f64(sane(jitter)),
            // From the whole pause to half as much again: sooner is never of use.
            Trouble::Contended => {
                let pause = CONTENDED_DELAY.saturating_mul(1 << before.min(16)).min(CONTENDED_DELAY_MAX);
                pause.mul_f64(1.0 + 0.5 * sane(jitter))
            }
        };
        let spell = Spell { attempts: self.attempts, lasted };
        Verdict::Again { after, struggling: (struggles && !was_struggling).then_some(spell) }
    }

    /// The next failure begins a struggle, however few there were: what somebody else does to us does not mend itself.
    pub const fn struggle(&mut self) {
        self.is_told_at_once = true;
    }

    /// What is called may be called, whatever else became of it: earlier refusals are over.
    pub const fn permitted(&mut self) {
        self.denied = 0;
    }

    /// The call succeeded. Returns the spell of failures that it ends, if that was told.
    pub fn succeeded(&mut self, now: Moment) -> Option<Spell> {
        let spell = Spell { attempts: self.attempts, lasted: now.since(self.since) };
        let was_told = matches!(self.health, Health::Struggling { .. });
        (self.attempts, self.denied, self.struggles) = (0, 0, 0);
        self.health = Health::Healthy;
        was_told.then_some(spell)
    }

    const fn is_hopeless(&self, trouble: Trouble) -> bool {
        match (self.phase, trouble) {
            (Phase::Starting, Trouble::Throttled | Trouble::Transient | Trouble::Contended) => {
                self.attempts >= self.limits.max_attempts
            }
            (Phase::Starting, Trouble::Unreachable) => {
                self.attempts >= self.limits.max_attempts || self.attempts >= UNREACHABLE_ATTEMPTS
            }
            (Phase::Starting, Trouble::Denied) => true,
            (Phase::Running, Trouble::Throttled | Trouble::Transient | Trouble::Unreachable | Trouble::Contended) => {
                false
            }
            (Phase::Running, Trouble::Denied) => self.denied >= DENIED_ATTEMPTS,
        }
    }

    /// The bound of a pause after `before` earlier failures.
    fn bound(&mut self, before: u32) -> Duration {
        let RetryLimits { min_delay, max_delay, .. } = self.limits;
        if self.health == Health::Healthy {
            return min_delay.saturating_mul(1 << before.min(16)).min(max_delay);
        }
        let bound = max_delay.saturating_mul((1 << self.struggles.min(16)).min(STRUGGLING_FACTOR));
        self.struggles = self.struggles.saturating_add(1);
        bound
    }
}

/// Nonsense is no reason to hurry.
pub(crate) const fn sane(jitter: f64) -> f64 {
    if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests;
