//! Answers, and what they make of entries.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lanes::Place;
use super::queues::{Key, Next};
use super::vocabulary::{Cause, Destination, Failure, Fate, Outcome, RequestId, Setback, Settled};
use super::{Batcher, Out, Request, Timer};
use crate::moment::Moment;
use crate::patience::{Spell, Trouble, Verdict, sane};

/// How far beyond `max_delay` the pauses of an entry grow that fails for no reason that only time mends.
const FAILED_FACTOR: u32 = 10;
/// From this many requests in a row that nobody answers, all others wait too.
const SILENT_MAX: u32 = 3;

/// What the answers to one request say of a destination.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    taken: u32,
    throttled: u32,
}

/// An attempt that was none.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    now: Moment,
    setback: Setback,
    fate: Fate,
    jitter: f64,
}

impl<T: Clone> Batcher<T> {
    /// The service answered `request`: an outcome for each entry, in the order of the request. An entry without one counts
    /// as failed. `jitter` is a fresh random number in 0..1. Returns the spell of failures that this ends, if that was told.
    ///
    /// A request that is not under way any more is answered too late, and nothing comes of it.
    pub fn answered(
        &mut self,
        now: Moment,
        request: RequestId,
        outcomes: impl IntoIterator<Item = Outcome>,
        jitter: f64,
    ) -> Option<Spell> {
        let Request { outs, sent_at } = self.requests.remove(&request)?;
        self.failures = 0;
        self.resume_at = now;
        let mut tallies: BTreeMap<Destination, Tally> = BTreeMap::new();
        let mut outcomes = outcomes.into_iter();
        let mut any_taken = false;
        for out in outs {
            let tally = tallies.entry(self.destination(out.turn)).or_default();
            match outcomes.next().unwrap_or(Outcome::Retry(Setback::Failed)) {
                Outcome::Done => {
                    tally.taken += 1;
                    any_taken = true;
                    self.confirm(now, out);
                }
                Outcome::Retry(setback) => {
                    tally.throttled += u32::from(setback == Setback::Throttled);
                    self.try_again(out, Attempt { now, setback, fate: Fate::NotWritten, jitter });
                }
                Outcome::Poison(reason) => {
                    tally.taken += 1;
                    any_taken = true;
                    self.bury(now, out, reason);
                }
            }
        }
        for (destination, Tally { taken, throttled }) in tallies {
            if throttled > 0 {
                let part = f64::from(throttled) / f64::from(throttled + taken);
                self.lanes.throttled(now, destination, sent_at, part);
            } else if taken > 0 {
                self.lanes.taken(now, destination, sent_at);
            }
        }
        if any_taken { self.patience.succeeded(now) } else { None }
    }

    /// `request` failed as a whole. `jitter` is a fresh random number in 0..1. The pause that the verdict names is taken by
    /// [`Batcher::next`]; what is left to do is to tell of a struggle, and to stop if told so.
    #[must_use]
    pub fn failed(&mut self, now: Moment, request: RequestId, failure: Failure, jitter: f64) -> Verdict {
        let Some(Request { outs, sent_at }) = self.requests.remove(&request) else { return NOTHING };
        let trouble = match failure {
            Failure::Trouble(trouble) => trouble,
            Failure::Rejected(reason) => {
                // It answers, after all.
                self.failures = 0;
                self.halve(now, outs, reason);
                return NOTHING;
            }
        };
        let verdict = self.patience.failed(now, trouble, jitter);
        let pause = match verdict {
            Verdict::Again { after, .. } => after,
            Verdict::GiveUp => self.options.retry.max_delay,
        };
        let attempt = |setback, fate| Attempt { now, setback, fate, jitter };
        match trouble {
            Trouble::Throttled => {
                let destinations = outs.iter().map(|out| (self.destination(out.turn), ())).collect::<BTreeMap<_, _>>();
                for destination in destinations.into_keys() {
                    self.lanes.throttled(now, destination, sent_at, 1.0);
                }
                outs.into_iter().for_each(|out| self.try_again(out, attempt(Setback::Throttled, Fate::NotWritten)));
            }
            Trouble::Transient => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= SILENT_MAX {
                    self.resume_at = now + pause;
                }
                outs.into_iter().for_each(|out| self.try_again(out, attempt(Setback::Failed, Fate::Unknown)));
            }
            Trouble::Unreachable | Trouble::Denied | Trouble::Contended => {
                self.failures = self.failures.saturating_add(1);
                self.resume_at = now + pause;
                outs.into_iter().for_each(|out| self.put_back(now, out, now));
            }
        }
        verdict
    }

    /// `request` was not answered in time and is cancelled. The service may carry it out all the same, within `late_after`.
    #[must_use]
    pub fn timed_out(&mut self, now: Moment, request: RequestId, jitter: f64) -> Verdict {
        self.failed(now, request, Failure::Trouble(Trouble::Transient), jitter)
    }

    fn destination(&self, place: Place) -> Destination {
        self.held.get(&place).map_or(Destination::default(), |held| held.destination)
    }

    /// The service has it, and so all that it stands for.
    fn confirm(&mut self, now: Moment, out: Out) {
        self.end(now, out, Settled::Confirmed);
    }

    /// The service will never take it. Those that it stood for may yet be taken.
    fn bury(&mut self, now: Moment, out: Out, reason: String) {
        let Some((ticket, key, bytes)) = self.let_go(out.sent) else { return };
        self.settled.push_back(Settled::DeadLetter(ticket, Cause::Poison(reason)));
        if self.options.order.is_kept() {
            self.queues.remove(&key, out.sent);
            self.release(now, &key, now, bytes);
        }
    }

    /// The attempt came to nothing: another one follows after a pause, or none at all.
    fn try_again(&mut self, out: Out, attempt: Attempt) {
        let Attempt { now, setback, fate, jitter } = attempt;
        let (max_age, max_attempts) = (self.options.max_entry_age, self.options.max_attempts);
        if fate == Fate::Unknown
            && let Some(held) = self.held.get_mut(&out.sent)
        {
            held.fate = Fate::Unknown;
            if self.options.order.is_kept() {
                self.queues.haunt(&held.key, out.sent, now + self.options.late_after);
            }
        }
        let held = self.held.get_mut(&out.turn).expect("what is under way is held");
        held.attempts = held.attempts.saturating_add(1);
        let attempts = held.attempts;
        let is_spent = max_attempts.is_some_and(|max| attempts >= max);
        let is_old = max_age.is_some_and(|max| now.since(held.arrived) >= max);
        if is_spent || is_old {
            let dead = |ticket, fate| Settled::DeadLetter(ticket, Cause::Exhausted { attempts, fate });
            self.end_with_fate(now, out, dead);
            return;
        }
        let pause = self.pause(attempts, setback).mul_f64(sane(jitter));
        self.put_back(now, out, now + pause);
    }

    /// Its turn comes again at `at`.
    fn put_back(&mut self, now: Moment, out: Out, at: Moment) {
        let held = self.held.get_mut(&out.turn).expect("what is under way is held");
        held.due = at;
        if self.options.order.is_kept() {
            let key = Key::clone(&held.key);
            self.release(now, &key, at, 0);
        } else {
            self.schedule(now, out.turn, at);
        }
    }

    /// Sends each half of a rejected request by itself; what is alone is the culprit.
    fn halve(&mut self, now: Moment, mut outs: Vec<Out>, reason: String) {
        self.visits += u64::try_from(outs.len()).unwrap_or(u64::MAX);
        if let [alone] = outs[..] {
            self.bury(now, alone, reason);
            return;
        }
        let second = outs.split_off(outs.len() / 2);
        self.suspects.extend([outs, second]);
    }

    /// The bound of the pause after so many attempts.
    fn pause(&self, attempts: u32, setback: Setback) -> Duration {
        let retry = self.options.retry;
        let longest = match setback {
            Setback::Throttled => retry.max_delay,
            Setback::Failed => retry.max_delay.saturating_mul(FAILED_FACTOR),
        };
        retry.min_delay.saturating_mul(1 << (attempts - 1).min(16)).min(longest)
    }

    fn end(&mut self, now: Moment, out: Out, settled: impl Fn(T) -> Settled<T>) {
        self.end_with_fate(now, out, |ticket, _| settled(ticket));
    }

    /// Settles what was sent and all that it stands for.
    fn end_with_fate(&mut self, now: Moment, out: Out, settled: impl Fn(T, Fate) -> Settled<T>) {
        let fate_of = |batcher: &Self, place| batcher.held.get(&place).map_or(Fate::NotWritten, |held| held.fate);
        if !self.options.order.is_kept() {
            let fate = fate_of(self, out.sent);
            if let Some((ticket, ..)) = self.let_go(out.sent) {
                self.settled.push_back(settled(ticket, fate));
            }
            return;
        }
        let Some(key) = self.held.get(&out.sent).map(|held| Key::clone(&held.key)) else { return };
        let mut freed = 0;
        while let Some(place) = self.queues.pop_up_to(&key, out.sent) {
            let fate = fate_of(self, place);
            if let Some((ticket, _, bytes)) = self.let_go(place) {
                self.settled.push_back(settled(ticket, fate));
                freed = bytes;
            }
        }
        self.release(now, &key, now, freed);
    }

    fn let_go(&mut self, place: Place) -> Option<(T, Key, u64)> {
        self.visits += 1;
        let held = self.held.remove(&place)?;
        self.bytes -= held.bytes;
        Some((held.ticket, held.key, held.bytes))
    }

    fn release(&mut self, now: Moment, key: &Key, not_before: Moment, bytes: u64) {
        match self.queues.release(now, key, not_before, bytes) {
            Next::Turn(place, at) => self.schedule(now, place, at),
            Next::Haunted(until) => {
                self.timers.insert((until, Timer::Forget(Key::clone(key))));
            }
            Next::Gone => {}
        }
    }
}

/// The verdict on a request that is not under way, or that failed for no reason to wait.
const NOTHING: Verdict = Verdict::Again { after: Duration::ZERO, struggling: None };
