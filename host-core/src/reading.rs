//! One shard read by polling, as a state machine: what to call next, and when.
//!
//! How far the shard was read, and what that proves, is in its [`Cursor`]; here is the pace. A shard allows five calls and
//! two megabytes a second. Calls are spaced; bytes are paid for after the page that brought them, because a page's size is
//! known only then: a large page buys a longer silence. A throttle in spite of that means that somebody else reads the
//! same shard, and only waiting helps: how long, [`crate::patience`] decides.
//!
//! ```text
//! OpenIterator --opened--> Read --page--> Read ... --page without a next iterator--> Finished(End)
//!      ^                    |                      --the run's end reached---------> Finished(CaughtUp)
//!      +--expired iterator--+        pause ⇄ resume at any time
//! ```

use std::time::Duration;

use crate::cursor::{Cursor, Finish, PageFacts};
use crate::moment::Moment;
use crate::patience::{Health, Patience, Phase, RetryLimits, Spell, Trouble, Verdict};
use crate::shard::Position;

/// Longest time between two calls that a rate may ask for.
const SPACING_MAX: Duration = Duration::from_secs(10);
/// An iterator is used no longer than this. It lives for five minutes; a little less saves a call that would fail.
const ITERATOR_LIFE: Duration = Duration::from_secs(290);
/// The service counts the bytes of a page when it serves it, somewhere between request and answer. A page that costs this
/// much or more is counted as late as that can be, so that the next call is not refused for coming early.
const LARGE_PAGE_COST: Duration = Duration::from_secs(1);
/// How late that is at most: what an answer takes beyond it, it spent on the way.
const SERVING_MAX: Duration = Duration::from_millis(500);
/// Time between two looks at whether a time has come that our clock says has come and the service's says has not.
const TOO_EARLY_PAUSE: Duration = Duration::from_secs(1);
/// How fast one shard may be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Calls of `GetRecords` a second (the service allows 5 per shard, shared by all readers); `None` does not limit.
    pub max_calls_per_second: Option<f64>,
    /// Bytes a second (the service allows 2 MB per shard); `None` does not limit.
    pub max_bytes_per_second: Option<u64>,
    /// Pause after a page without records.
    pub empty_interval: Duration,
    /// `Limit` of a call, 1 to 10,000.
    pub max_records: u32,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing before this moment.
    Wait(Moment),
    /// Nothing before [`Reading::resume`].
    Paused,
    /// Get an iterator to what comes after `from`; answer with [`Reading::opened`] or [`Reading::failed`].
    OpenIterator {
        /// The cursor.
        from: Position,
    },
    /// Read a page with the iterator at hand; answer with [`Reading::page`] or [`Reading::failed`].
    Read,
    /// Nothing more, ever.
    Finished(Finish),
}

/// Why a call failed, of those failures that reading survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service asks for patience (`ProvisionedThroughputExceededException`, `LimitExceededException`).
    Throttled,
    /// A timeout, a broken connection, a 5xx.
    Transient,
    /// Nothing answers there.
    Unreachable,
    /// The caller may not.
    Denied,
    /// The iterator is older than five minutes (`ExpiredIteratorException`).
    ExpiredIterator,
    /// The time to start at has not come by the service's clock.
    TooEarly,
}

/// The reader of one shard.
#[derive(Clone, Debug)]
pub struct Reading {
    cursor: Cursor,
    pace: Pace,
    has_iterator: bool,
    /// Pauses that failures and empty pages imposed.
    not_before: Moment,
    /// When the last page was asked for; spacing counts from the start of a call.
    called_at: Moment,
    /// When the next call is within the rate of calls.
    next_call: Moment,
    /// When the bytes of all pages so far are paid for.
    bytes_paid: Moment,
    patience: Patience,
    /// An iterator expired and no page came since.
    expired: bool,
    paused: bool,
    /// When the iterator at hand was given.
    iterator_since: Moment,
    /// How far behind the last page was, if it was empty.
    empty_at: Option<i64>,
}

impl Reading {
    /// A reader that continues where `cursor` is, at once.
    #[must_use]
    pub fn new(cursor: Cursor, pace: Pace, now: Moment) -> Self {
        Self {
            cursor,
            pace,
            has_iterator: false,
            not_before: now,
            called_at: now,
            next_call: now,
            bytes_paid: now,
            patience: Patience::new(RetryLimits::default(), Phase::Running),
            expired: false,
            paused: false,
            iterator_since: now,
            empty_at: None,
        }
    }

    /// Another patience with failed calls.
    #[must_use]
    pub const fn with_retry(mut self, limits: RetryLimits) -> Self {
        self.patience = Patience::new(limits, Phase::Running);
        self
    }

    /// The same reader at another place: what comes after the old one is gone. What struggled struggles on, so that its end is
    /// told.
    #[must_use]
    pub fn anew(self, cursor: Cursor, now: Moment) -> Self {
        let fresh = Self::new(cursor, self.pace, now);
        Self { patience: self.patience, paused: self.paused, ..fresh }
    }

    /// Nothing is asked for before `start`: the moment of a timestamp that lies ahead.
    #[must_use]
    pub fn starting_at(mut self, start: Moment) -> Self {
        self.not_before = self.not_before.max(start);
        self
    }

    /// What to do now. Asking again without an answer in between repeats the action.
    pub fn next(&mut self, now: Moment) -> Action {
        if let Some(finish) = self.cursor.finished() {
            return Action::Finished(finish);
        }
        if self.paused {
            return Action::Paused;
        }
        self.has_iterator &= now.since(self.iterator_since) < ITERATOR_LIFE;
        if !self.has_iterator {
            return if self.not_before > now {
                Action::Wait(self.not_before)
            } else {
                Action::OpenIterator { from: self.cursor.position().clone() }
            };
        }
        let ready = self.not_before.max(self.next_call).max(self.bytes_paid);
        if ready > now {
            return Action::Wait(ready);
        }
        self.called_at = now;
        Action::Read
    }

    /// The iterator asked for is there.
    pub const fn opened(&mut self, now: Moment) {
        if !self.has_iterator {
            self.has_iterator = true;
            self.iterator_since = now;
        }
    }

    /// The page asked for is there. Returns the spell of failures that it ends, if that was told.
    pub fn page(&mut self, now: Moment, facts: &PageFacts) -> Option<Spell> {
        self.expired = false;
        self.iterator_since = now;
        self.charge(now, facts.bytes);
        if !self.leads_on(facts) {
            self.not_before = now + self.pace.empty_interval;
        }
        self.empty_at = facts.millis_behind.filter(|_| facts.records == 0);
        self.cursor.take(facts);
        self.patience.succeeded(now)
    }

    /// The call asked for failed. `jitter` is a fresh random number in 0..1. The pause that the verdict names is taken by
    /// [`Reading::next`]; what is left to do is to tell of a struggle, and to stop if told so.
    #[must_use]
    pub fn failed(&mut self, now: Moment, failure: Failure, jitter: f64) -> Verdict {
        self.charge(now, 0);
        let trouble = match failure {
            Failure::Throttled => Trouble::Throttled,
            Failure::Transient => Trouble::Transient,
            Failure::Unreachable => Trouble::Unreachable,
            Failure::Denied => Trouble::Denied,
            Failure::TooEarly => return self.wait(now, TOO_EARLY_PAUSE),
            Failure::ExpiredIterator => {
                self.has_iterator = false;
                // An iterator that expires although it is fresh is no accident of waiting: such a loop must be slow.
                if !std::mem::replace(&mut self.expired, true) {
                    return self.wait(now, Duration::ZERO);
                }
                Trouble::Transient
            }
        };
        let verdict = self.patience.failed(now, trouble, jitter);
        if let Verdict::Again { after, .. } = verdict {
            self.not_before = now + after;
        }
        verdict
    }

    /// Asks for nothing more until resumed. What is under way may be answered.
    pub const fn pause(&mut self) {
        self.paused = true;
    }

    /// Reads on where it was, with a new iterator if the old one has expired meanwhile.
    pub const fn resume(&mut self) {
        self.paused = false;
    }

    /// How its calls fare.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.patience.health()
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

    /// Failed calls since the last page.
    #[must_use]
    pub const fn consecutive_failures(&self) -> u32 {
        self.patience.attempts()
    }

    /// `Limit` of a call.
    #[must_use]
    pub const fn max_records(&self) -> u32 {
        self.pace.max_records
    }

    /// Whether the next page may be asked for at once, as far as this one tells. The service walks through stretches
    /// without records in pages that are empty and behind: a pause after each would make hours of them, and the rate of
    /// calls is kept all the same. A page that is behind and no less so than the one before it leads nowhere.
    fn leads_on(&self, facts: &PageFacts) -> bool {
        let is_walking = |behind: i64| behind > 0 && self.empty_at.is_none_or(|before| behind < before);
        facts.records > 0 || facts.millis_behind.is_some_and(is_walking)
    }

    /// Accounts for one call that started at `called_at` and is over.
    fn charge(&mut self, now: Moment, bytes: u64) {
        if let Some(rate) = self.pace.max_calls_per_second.filter(|rate| *rate > 0.0) {
            self.next_call = self.called_at + Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SPACING_MAX);
        }
        if let Some(rate) = self.pace.max_bytes_per_second.filter(|rate| *rate > 0) {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let serving =
                if cost >= LARGE_PAGE_COST { now.since(self.called_at).min(SERVING_MAX) } else { Duration::ZERO };
            self.bytes_paid = self.bytes_paid.max(self.called_at + serving) + cost;
        }
    }

    fn wait(&mut self, now: Moment, after: Duration) -> Verdict {
        self.not_before = now + after;
        Verdict::Again { after, struggling: None }
    }
}

#[cfg(test)]
mod tests;
