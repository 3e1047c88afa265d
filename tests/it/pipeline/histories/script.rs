//! What the service does with a request, by chance.

use std::time::Duration;

use host::sink::batched::WriteError;
use host::sink::memory_target::{Answer, Asked, MemoryTarget, Reply, error};
use host_core::batching::{Outcome, Setback};
use host_core::patience::Trouble;
use tests::moments::Moments;

/// How bad it is, in per cent of requests or entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather {
    slow: u64,
    /// Some entries of a request are refused.
    partial: u64,
    broken: u64,
    /// Written, and not answered in time.
    late: u64,
    silent: u64,
    /// One destination in three is throttled.
    throttled: bool,
    denied: bool,
    pub(super) timeout: Duration,
}

impl Weather {
    pub(super) fn draw(moments: &mut Moments, timeout: Duration) -> Self {
        if moments.happens(20) {
            return Self { timeout, ..Self::default() };
        }
        let mut chance = |most: u64| if moments.happens(40) { 0 } else { 1 + moments.below(most) };
        Self {
            slow: chance(80),
            partial: chance(60),
            broken: chance(20),
            late: chance(20),
            silent: chance(15),
            throttled: chance(2) == 1,
            denied: chance(4) == 1,
            timeout,
        }
    }
}

pub(super) struct Script {
    weather: Weather,
    moments: Moments,
    /// Nobody may write until then.
    denied_until: Duration,
}

impl Script {
    pub(super) fn new(weather: Weather, moments: Moments) -> Self {
        Self { weather, moments, denied_until: Duration::ZERO }
    }

    /// Everything is taken from now on, though not at once.
    pub(super) fn clears_up(&mut self) {
        let Weather { slow, timeout, .. } = self.weather;
        (self.weather, self.denied_until) = (Weather { slow, timeout, ..Weather::default() }, Duration::ZERO);
    }

    pub(super) fn reply(&mut self, asked: &Asked) -> Reply {
        let Weather { slow, partial, broken, late, silent, throttled, denied, timeout } = self.weather.clone();
        let moments = &mut self.moments;
        if asked.at < self.denied_until {
            return Reply::denied();
        }
        if denied && moments.happens(2) {
            self.denied_until = asked.at + moments.milliseconds(1..4_000);
            return Reply::denied();
        }
        let mut after = Duration::ZERO;
        if moments.happens(slow) {
            after = moments.milliseconds(0..250);
        }
        if moments.happens(silent) {
            return Reply::done().never();
        }
        if moments.happens(late) {
            return Reply::done().taking_first().after(timeout + moments.milliseconds(1..500));
        }
        if moments.happens(broken) {
            let trouble = [Trouble::Transient, Trouble::Transient, Trouble::Unreachable, Trouble::Throttled];
            let failure = WriteError::Trouble(trouble[moments.index(trouble.len())], error("InternalFailure"));
            let is_taken = moments.happens(50);
            let answer = if is_taken { Answer::TakeAndFail(failure) } else { Answer::Fail(failure) };
            return Reply::from(answer).after(after);
        }
        let mut outcome = |key: &String| {
            if throttled && MemoryTarget::destination(key).0.is_multiple_of(3) && moments.happens(80) {
                Outcome::Retry(Setback::Throttled)
            } else if moments.happens(partial) {
                Outcome::Retry(if moments.happens(50) { Setback::Throttled } else { Setback::Failed })
            } else {
                Outcome::Done
            }
        };
        Reply::from(Answer::Each(asked.keys.iter().map(&mut outcome).collect())).after(after)
    }
}
