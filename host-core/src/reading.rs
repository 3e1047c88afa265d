//! One shard's reader, as a state machine: what to call next, and when.
//!
//! The cursor lives here and nowhere else: it says how far the shard was *read*, and moves with pages. It never becomes
//! a position; only receipts do that ([`crate::ledger`]).
//!
//! A shard allows five calls and two megabytes a second. Calls are spaced; bytes are paid for after the page that brought
//! them, because a page's size is known only then: a large page buys a longer silence. A throttle in spite of that means
//! that somebody else reads the same shard, and only waiting helps.
//!
//! ```text
//! OpenIterator --opened--> Read --page--> Read ... --page without a next iterator--> Finished(End)
//!      ^                    |                      --the run's end reached---------> Finished(CaughtUp)
//!      +--expired iterator--+
//! ```

use std::time::Duration;

use crate::moment::{EpochMillis, Moment};
use crate::shard::Position;

/// First pause after a failed call; doubles with every further one.
const BACKOFF_BASE: Duration = Duration::from_millis(300);
/// Longest pause between attempts.
const BACKOFF_CAP: Duration = Duration::from_secs(10);

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

/// Why a reader stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The shard is closed and was read to its end.
    End,
    /// The end that was fixed when the run started is reached.
    CaughtUp,
}

/// What a page was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFacts {
    /// Records in it.
    pub records: u64,
    /// Bytes in it, as the service counts them (data and partition keys).
    pub bytes: u64,
    /// The position after its last record; `None` in an empty page.
    pub last: Option<Position>,
    /// Latest `ApproximateArrivalTimestamp` in it.
    pub newest_arrival: Option<EpochMillis>,
    /// Whether there is a `NextShardIterator`; without one the shard is closed and exhausted.
    pub has_next: bool,
    /// `MillisBehindLatest`. Emulators say 0 while they are behind.
    pub millis_behind: Option<i64>,
}

/// Why a call failed, of those failures that reading survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service asks for patience (`ProvisionedThroughputExceededException`, `LimitExceededException`).
    Throttled,
    /// A timeout, a broken connection, a 5xx.
    Transient,
    /// The iterator is older than five minutes (`ExpiredIteratorException`).
    ExpiredIterator,
}

/// The reader of one shard.
#[derive(Clone, Debug)]
pub struct Reading {
    cursor: Position,
    pace: Pace,
    stop_at: Option<EpochMillis>,
    state: State,
    /// Pauses that failures and empty pages imposed.
    not_before: Moment,
    /// When the last page was asked for; spacing counts from the start of a call.
    called_at: Moment,
    /// When the next call is within the rate of calls.
    next_call: Moment,
    /// When the bytes of all pages so far are paid for.
    bytes_paid: Moment,
    /// First and longest pause after failed calls.
    backoff: (Duration, Duration),
    failures: u32,
    /// An iterator expired and no page came since.
    expired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NoIterator,
    HasIterator,
    Finished(Finish),
}

impl Reading {
    /// A reader that continues after `from`, at once. `stop_at` is the end fixed when the run started (with
    /// `--until-caught-up`), in the service's arrival time.
    #[must_use]
    pub fn new(from: Position, pace: Pace, stop_at: Option<EpochMillis>, now: Moment) -> Self {
        let state = if from.is_end() { State::Finished(Finish::End) } else { State::NoIterator };
        Self {
            cursor: from,
            pace,
            stop_at,
            state,
            not_before: now,
            called_at: now,
            next_call: now,
            bytes_paid: now,
            backoff: (BACKOFF_BASE, BACKOFF_CAP),
            failures: 0,
            expired: false,
        }
    }

    /// Other pauses after failed calls: `first` doubles with every further failure, up to `longest`.
    #[must_use]
    pub const fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// What to do now. Asking again without an answer in between repeats the action.
    pub fn next(&mut self, now: Moment) -> Action {
        match self.state {
            State::Finished(finish) => Action::Finished(finish),
            State::NoIterator if self.not_before > now => Action::Wait(self.not_before),
            State::NoIterator => Action::OpenIterator { from: self.cursor.clone() },
            State::HasIterator => {
                let ready = self.not_before.max(self.next_call).max(self.bytes_paid);
                if ready > now {
                    return Action::Wait(ready);
                }
                self.called_at = now;
                Action::Read
            }
        }
    }

    /// The iterator asked for is there.
    pub fn opened(&mut self, _now: Moment) {
        if self.state == State::NoIterator {
            self.state = State::HasIterator;
        }
    }

    /// The page asked for is there.
    pub fn page(&mut self, now: Moment, facts: PageFacts) {
        self.failures = 0;
        self.expired = false;
        self.charge(facts.bytes);
        let finish = self.finish(&facts);
        if let Some(last) = facts.last {
            self.cursor = last;
        }
        if facts.records == 0 {
            self.not_before = now + self.pace.empty_interval;
        }
        if let Some(finish) = finish {
            self.state = State::Finished(finish);
        }
    }

    /// The call asked for failed. `jitter` is a fresh random number in 0..1: pauses are drawn from the whole range up to
    /// the current bound, so that readers that were throttled together do not come back together.
    pub fn failed(&mut self, now: Moment, failure: Failure, jitter: f64) {
        self.charge(0);
        match failure {
            Failure::Throttled | Failure::Transient => self.back_off(now, jitter),
            Failure::ExpiredIterator => {
                self.state = if let State::Finished(_) = self.state { self.state } else { State::NoIterator };
                // An iterator that expires although it is fresh is no accident of waiting: such a loop must be slow.
                if self.expired {
                    self.back_off(now, jitter);
                } else {
                    self.failures = self.failures.saturating_add(1);
                }
                self.expired = true;
            }
        }
    }

    /// How far the shard was read.
    #[must_use]
    pub const fn cursor(&self) -> &Position {
        &self.cursor
    }

    /// Failed calls since the last page.
    #[must_use]
    pub const fn consecutive_failures(&self) -> u32 {
        self.failures
    }

    /// `Limit` of a call.
    #[must_use]
    pub const fn max_records(&self) -> u32 {
        self.pace.max_records
    }

    fn finish(&self, facts: &PageFacts) -> Option<Finish> {
        if !facts.has_next {
            return Some(Finish::End);
        }
        let stop_at = self.stop_at?;
        // "0 ms behind" counts only together with an empty page: emulators say it while there is more to read.
        let at_tip = facts.records == 0 && facts.millis_behind.unwrap_or(0) <= 0;
        let beyond = facts.newest_arrival.is_some_and(|arrival| arrival > stop_at);
        (at_tip || beyond).then_some(Finish::CaughtUp)
    }

    /// Accounts for one call that started at `called_at`.
    fn charge(&mut self, bytes: u64) {
        if let Some(rate) = self.pace.max_calls_per_second.filter(|rate| *rate > 0.0) {
            self.next_call = self.called_at + Duration::try_from_secs_f64(1.0 / rate).unwrap_or(BACKOFF_CAP);
        }
        if let Some(rate) = self.pace.max_bytes_per_second.filter(|rate| *rate > 0) {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.bytes_paid = self.bytes_paid.max(self.called_at) + cost;
        }
    }

    fn back_off(&mut self, now: Moment, jitter: f64) {
        let (first, longest) = self.backoff;
        let bound = first.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        self.not_before = now + bound.mul_f64(jitter);
    }
}

#[cfg(test)]
mod tests;
