//! One shard read by enhanced fan-out, as a state machine: when to subscribe, how long to listen, when to let go.
//!
//! The service pushes events over a subscription (`SubscribeToShard`) and ends it after five minutes. A new one then begins
//! after the last event's continuation, which moves on even where the shard is silent, so that nothing is scanned twice.
//! Three rules of the service shape what is here:
//!
//! - Within five seconds of a call that succeeded, another one for the same consumer and shard is refused; later it *takes
//!   over*, and the older subscription ends. So nobody calls sooner, however the subscription ended; and one that ends
//!   because of a call that was not ours tells that somebody else reads with the same consumer. Two that take the shard
//!   from each other get nowhere, so the pauses grow, and it is told at once.
//! - A subscription says something every few seconds, if only that there is nothing. One that is silent for longer is dead,
//!   and neither the service nor the connection tells so.
//! - Subscriptions that begin together end together. Thousands that begin with the run would be renewed within one second
//!   every five minutes, so the first one of each is given up after a random part of its life; from then on the ends stay
//!   apart by themselves, as long as nothing but time ends them. Whatever else ends one may have ended all of them, so the
//!   next is a first one again.
//!
//! ```text
//!      +--> Subscribe --subscribed--> Receive --event--> Receive ... --event without a continuation--> Finished(End)
//!      |        |                        |                          --the run's end reached----------> Finished(CaughtUp)
//!      |      failed        ended, failed, LetGo (silent, renewed, paused for long)
//!      +--------+------------------------+                                          pause ⇄ resume at any time
//! ```

use std::time::Duration;

use crate::cursor::{Cursor, Finish, PageFacts};
use crate::moment::Moment;
use crate::patience::{Patience, Phase, RetryLimits, Spell, Trouble, Verdict};
use crate::shard::{Position, SequenceNumber};

/// Between a call of `SubscribeToShard` that succeeded and the next one (the service's rule).
pub const SUBSCRIBE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a subscription lives (the service's rule).
pub const LIFE: Duration = Duration::from_secs(300);
/// A subscription without any event for this long is dead. The service sends one every five seconds or so.
pub const SILENCE_MAX: Duration = Duration::from_secs(35);
/// A subscription that nobody ends is left this long after its life.
const LIFE_SLACK: Duration = Duration::from_secs(30);
/// One that lived this much less ended early.
const EARLY: Duration = Duration::from_secs(15);
/// One whose end is noticed this much later kept nobody's time: the reader was busy, perhaps with what all were busy with.
const LATE: Duration = Duration::from_secs(5);
/// How long a subscription is held while the reader is paused: what the service has sent meanwhile takes up room on the way,
/// in a connection that others may share.
const PAUSE_HELD: Duration = Duration::from_secs(10);
/// A subscription that lived this long after a takeover is ours again.
const UNDISPUTED: Duration = Duration::from_secs(60);
/// Between two looks at whether a time has come that our clock says has come and the service's says has not.
const TOO_EARLY_PAUSE: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing before [`Subscription::resume`]; a subscription at hand is held until this moment, then asked about again.
    Paused(Option<Moment>),
    /// Subscribe to what comes after `from`; answer with [`Subscription::subscribed`] or [`Subscription::failed`].
    Subscribe {
        /// The cursor, or the continuation behind it.
        from: Position,
    },
    /// Await an event, for as long as [`Subscription::listen`] says; answer with [`Subscription::event`],
    /// [`Subscription::ended`] or [`Subscription::failed`]; if the time is over, ask again.
    Receive,
    /// Drop the subscription and say so: [`Subscription::let_go`].
    LetGo(Why),
    /// Nothing more, ever.
    Finished(Finish),
}

/// Why a subscription is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing was heard for [`SILENCE_MAX`].
    Silent,
    /// To begin another at a time of its own, or because its life is over and nobody ended it.
    Renewed,
    /// The reader has been paused for a while.
    Paused,
}

/// Why a call failed or a subscription broke, of those failures that reading survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What only patience mends.
    Trouble(Trouble),
    /// Somebody is subscribed to this shard with this consumer, or the consumer is being changed
    /// (`ResourceInUseException`).
    InUse,
    /// The time to start at has not come by the service's clock.
    TooEarly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Apart,
    Subscribed {
        since: Moment,
        /// It is let go then at the latest.
        until: Moment,
        /// Since when the next event is awaited; `None` while the last one is being handed on.
        listening: Option<Moment>,
        /// Whether anything was heard.
        heard: bool,
    },
}

/// The reader of one shard.
#[derive(Clone, Debug)]
pub struct Subscription {
    cursor: Cursor,
    /// `ContinuationSequenceNumber` of the last event.
    continuation: Option<SequenceNumber>,
    state: State,
    not_before: Moment,
    /// The last subscription ended by its age alone, and on time.
    in_step: bool,
    /// Takeovers since the subscription was undisputed.
    takeovers: u32,
    patience: Patience,
    paused: Option<Moment>,
}

impl Subscription {
    /// A reader that continues where `cursor` is, at once.
    #[must_use]
    pub const fn new(cursor: Cursor, limits: RetryLimits, now: Moment) -> Self {
        Self {
            cursor,
            continuation: None,
            state: State::Apart,
            not_before: now,
            in_step: false,
            takeovers: 0,
            patience: Patience::new(limits, Phase::Running),
            paused: None,
        }
    }

    /// The same reader at another place, or with another consumer. What struggled struggles on, so that its end is told.
    #[must_use]
    pub fn anew(self, cursor: Cursor, now: Moment) -> Self {
        let fresh = Self::new(cursor, self.patience.limits(), now);
        Self { patience: self.patience, paused: self.paused, ..fresh }
    }

    /// Nothing is asked for before `start`: the moment of a timestamp that lies ahead.
    #[must_use]
    pub fn starting_at(mut self, start: Moment) -> Self {
        self.not_before = self.not_before.max(start);
        self
    }

    /// What to do now. Asking again without an answer in between repeats the action.
    #[must_use]
    pub fn next(&self, now: Moment) -> Action {
        if let Some(finish) = self.cursor.finished() {
            return Action::Finished(finish);
        }
        let held_until = self.paused.map(|since| since + PAUSE_HELD);
        match (self.state, held_until) {
            (State::Apart, Some(_)) => Action::Paused(None),
            (State::Apart, None) if self.not_before > now => Action::Wait(self.not_before),
            (State::Apart, None) => Action::Subscribe { from: self.from() },
            (State::Subscribed { .. }, Some(until)) if until > now => Action::Paused(Some(until)),
            (State::Subscribed { .. }, Some(_)) => Action::LetGo(Why::Paused),
            (State::Subscribed { listening, .. }, None) if is_silent(listening, now) => Action::LetGo(Why::Silent),
            (State::Subscribed { until, .. }, None) if until <= now => Action::LetGo(Why::Renewed),
            (State::Subscribed { .. }, None) => Action::Receive,
        }
    }

    /// The subscription asked for is there. `jitter` is a fresh random number in 0..1.
    pub fn subscribed(&mut self, now: Moment, jitter: f64) {
        // The first one lives for a part of its life, so that it is out of step with its neighbours.
        let part = if self.in_step { 1.0 } else { 0.1 + 0.85 * sane(jitter) };
        let life = if self.in_step { LIFE + LIFE_SLACK } else { LIFE.mul_f64(part) };
        self.not_before = now + SUBSCRIBE_INTERVAL;
        self.state = State::Subscribed { since: now, until: now + life, listening: None, heard: false };
    }

    /// From now on the next event is awaited. Returns until when: then [`Subscription::next`] knows what to do.
    pub fn listen(&mut self, now: Moment) -> Moment {
        let State::Subscribed { until, listening, .. } = &mut self.state else { return now };
        let since = *listening.get_or_insert(now);
        (since + SILENCE_MAX).min(*until)
    }

    /// Something was heard, though no event is here yet.
    pub const fn heard(&mut self) {
        if let State::Subscribed { listening, .. } = &mut self.state {
            *listening = None;
        }
    }

    /// An event came, with its `ContinuationSequenceNumber`. Returns the spell of failures that it ends, if that was told.
    pub fn event(&mut self, now: Moment, facts: &PageFacts, continuation: Option<SequenceNumber>) -> Option<Spell> {
        let State::Subscribed { since, listening, heard, .. } = &mut self.state else { return None };
        (*listening, *heard) = (None, true);
        let age = now.since(*since);
        self.cursor.take(facts);
        self.continuation = continuation.or(self.continuation.take());
        if self.cursor.finished().is_some() {
            self.state = State::Apart;
        }
        // Who takes the shard from us may do so again.
        if self.takeovers > 0 && age < UNDISPUTED {
            self.patience.permitted();
            return None;
        }
        self.takeovers = 0;
        self.patience.succeeded(now)
    }

    /// The service has ended the subscription without an error.
    pub fn ended(&mut self, now: Moment, jitter: f64) -> Verdict {
        let State::Subscribed { since, heard, .. } = self.state else {
            return Verdict::Again { after: Duration::ZERO, struggling: None };
        };
        self.state = State::Apart;
        let age = now.since(since);
        self.in_step = age + EARLY >= LIFE && age <= LIFE + LATE;
        if heard {
            return Verdict::Again { after: self.not_before.since(now), struggling: None };
        }
        self.bear(now, Trouble::Transient, jitter)
    }

    /// The call failed, or the subscription at hand broke and is gone. `jitter` is a fresh random number in 0..1. The pause
    /// that the verdict names is taken by [`Subscription::next`]; what is left to do is to tell of a struggle, and to stop
    /// if told so.
    #[must_use]
    pub fn failed(&mut self, now: Moment, failure: Failure, jitter: f64) -> Verdict {
        let was_subscribed = matches!(self.state, State::Subscribed { .. });
        self.state = State::Apart;
        self.in_step = false;
        match failure {
            Failure::Trouble(trouble) => self.bear(now, trouble, jitter),
            Failure::TooEarly => {
                self.not_before = self.not_before.max(now + TOO_EARLY_PAUSE);
                Verdict::Again { after: TOO_EARLY_PAUSE, struggling: None }
            }
            Failure::InUse if was_subscribed => {
                self.takeovers = self.takeovers.saturating_add(1);
                self.patience.struggle();
                self.bear(now, Trouble::Contended, jitter)
            }
            Failure::InUse => self.bear(now, Trouble::Contended, jitter),
        }
    }

    /// The subscription was dropped, as [`Action::LetGo`] asked for. `jitter` is a fresh random number in 0..1.
    #[must_use]
    pub fn let_go(&mut self, now: Moment, why: Why, jitter: f64) -> Verdict {
        let is_late = match self.state {
            State::Subscribed { until, .. } => now > until + LATE,
            State::Apart => true,
        };
        self.state = State::Apart;
        // Readers that were paused together, or waited for the same sinks, go on together.
        self.in_step = why == Why::Renewed && !is_late;
        match why {
            Why::Silent => self.bear(now, Trouble::Transient, jitter),
            Why::Renewed | Why::Paused => Verdict::Again { after: self.not_before.since(now), struggling: None },
        }
    }

    /// Asks for nothing more until resumed.
    pub fn pause(&mut self, now: Moment) {
        self.paused.get_or_insert(now);
        if let State::Subscribed { listening, .. } = &mut self.state {
            *listening = None;
        }
    }

    /// Reads on where it was.
    pub const fn resume(&mut self) {
        self.paused = None;
    }

    /// How far the shard was read.
    #[must_use]
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The same, to be told of gaps and asked for the tip.
    pub const fn cursor_mut(&mut self) -> &mut Cursor {
        &mut self.cursor
    }

    /// Failures since the last event.
    #[must_use]
    pub const fn consecutive_failures(&self) -> u32 {
        self.patience.attempts()
    }

    /// The continuation where it lies ahead of the last record, else the cursor.
    fn from(&self) -> Position {
        let cursor = self.cursor.position();
        match (&self.continuation, cursor) {
            (Some(continuation), Position::After { sequence, .. }) if continuation <= sequence => cursor.clone(),
            (Some(continuation), _) => Position::after(continuation.clone()),
            (None, _) => cursor.clone(),
        }
    }

    fn bear(&mut self, now: Moment, trouble: Trouble, jitter: f64) -> Verdict {
        let verdict = self.patience.failed(now, trouble, jitter);
        if let Verdict::Again { after, .. } = verdict {
            self.not_before = self.not_before.max(now + after);
        }
        verdict
    }
}

fn is_silent(listening: Option<Moment>, now: Moment) -> bool {
    listening.is_some_and(|since| now.since(since) >= SILENCE_MAX)
}

/// Nonsense is no reason to be in step with others.
const fn sane(jitter: f64) -> f64 {
    if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 }
}

#[cfg(test)]
mod tests;
