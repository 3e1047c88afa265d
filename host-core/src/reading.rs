//! One shard's reader, as a state machine: what to call next, and when.
//!
//! The cursor lives here and nowhere else: it says how far the shard was *read*, and moves with pages. It never becomes
//! a position; only receipts do that ([`crate::ledger`]).
//!
//! A shard allows five calls and two megabytes a second. Calls are spaced; bytes are paid for after the page that brought
//! them, because a page's size is known only then: a large page buys a longer silence. A throttle in spite of that means
//! that somebody else reads the same shard, and only waiting helps: how long, [`crate::patience`] decides.
//!
//! Two things are known here alone and asked for by others. How complete the shard is *read* ([`Reading::complete_until`]):
//! the service skips trimmed records without a word, so time is the only evidence of a gap. And that the shard is at its
//! tip ([`Reading::tip`]), so that a shard without records is as complete as a busy one.
//!
//! A run that ends by itself must not leave behind what was written before it began, and stamps are no proof of when that
//! was: the service promises nothing of their accuracy, and emulators stamp what arrives in a new shard ahead of the
//! clock, a second more with each generation. So an open shard is caught up where an empty page says that it is at its
//! tip, and otherwise only where a record arrived a good while after the run began: a shard that others write to without
//! a pause has no empty page. A shard that was closed when the run began holds nothing from after that, whatever its
//! stamps say, and what comes next in time is in its children: it is read to its end ([`Reading::to_its_end`]).
//!
//! ```text
//! OpenIterator --opened--> Read --page--> Read ... --page without a next iterator--> Finished(End)
//!      ^                    |                      --the run's end reached---------> Finished(CaughtUp)
//!      +--expired iterator--+        pause ⇄ resume at any time
//! ```

use std::time::Duration;

use crate::moment::{EpochMillis, Moment};
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
/// Time between two words about the tip.
const TIP_INTERVAL: Duration = Duration::from_secs(10);

/// How far ahead of the clock the stamp of a record may be that was written before the run began. Emulators are a second
/// ahead after one change of shards. A shard that is never silent is read for as much longer; no other is.
const STAMPS_AHEAD_MAX: Duration = Duration::from_secs(5);

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
    /// `ApproximateArrivalTimestamp` of its last record.
    pub last_arrival: Option<EpochMillis>,
    /// The service's time when the page was asked for, or any earlier time; `None` if nobody knows.
    pub asked_at: Option<EpochMillis>,
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
    cursor: Position,
    pace: Pace,
    /// A record that arrived later was written after the run began; `None` if the reader goes on to the shard's end.
    caught_up_after: Option<EpochMillis>,
    state: State,
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
    complete_until: Option<EpochMillis>,
    /// The service's time of a page at the tip that nobody asked about yet.
    tip: Option<EpochMillis>,
    tip_told: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NoIterator,
    HasIterator,
    Finished(Finish),
}

impl Reading {
    /// A reader that continues after `from`, at once. `stop_at` is the end fixed when the run started (with
    /// `--until-caught-up`), in the service's arrival time. A shard that starts well behind that end has caught up already.
    #[must_use]
    pub fn new(from: Position, pace: Pace, stop_at: Option<EpochMillis>, now: Moment) -> Self {
        let caught_up_after = stop_at.map(|stop_at| stop_at + STAMPS_AHEAD_MAX);
        let state = match &from {
            Position::ShardEnd => State::Finished(Finish::End),
            Position::AtTimestamp(at) if caught_up_after.is_some_and(|end| *at > end) => {
                State::Finished(Finish::CaughtUp)
            }
            Position::TrimHorizon | Position::AtTimestamp(_) | Position::After { .. } => State::NoIterator,
        };
        Self {
            cursor: from,
            pace,
            caught_up_after,
            state,
            not_before: now,
            called_at: now,
            next_call: now,
            bytes_paid: now,
            patience: Patience::new(RetryLimits::default(), Phase::Running),
            expired: false,
            paused: false,
            iterator_since: now,
            empty_at: None,
            complete_until: None,
            tip: None,
            tip_told: None,
        }
    }

    /// Another patience with failed calls.
    #[must_use]
    pub const fn with_retry(mut self, limits: RetryLimits) -> Self {
        self.patience = Patience::new(limits, Phase::Running);
        self
    }

    /// Nothing is asked for before `start`: the moment of a timestamp that lies ahead.
    #[must_use]
    pub fn starting_at(mut self, start: Moment) -> Self {
        self.not_before = self.not_before.max(start);
        self
    }

    /// Whether the shard was closed when the run began: then the run's end is not looked for in it.
    #[must_use]
    pub const fn to_its_end(mut self, was_closed: bool) -> Self {
        if was_closed {
            self.caught_up_after = None;
        }
        self
    }

    /// What earlier sessions made of the shard: every record that arrived before is with the sinks.
    #[must_use]
    pub const fn with_complete_until(mut self, complete_until: Option<EpochMillis>) -> Self {
        self.complete_until = complete_until;
        self
    }

    /// What to do now. Asking again without an answer in between repeats the action.
    pub fn next(&mut self, now: Moment) -> Action {
        if self.state == State::HasIterator && now.since(self.iterator_since) >= ITERATOR_LIFE {
            self.state = State::NoIterator;
        }
        match self.state {
            State::Finished(finish) => Action::Finished(finish),
            State::NoIterator | State::HasIterator if self.paused => Action::Paused,
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
    pub fn opened(&mut self, now: Moment) {
        if self.state == State::NoIterator {
            self.state = State::HasIterator;
            self.iterator_since = now;
        }
    }

    /// The page asked for is there. Returns the spell of failures that it ends, if that was told.
    pub fn page(&mut self, now: Moment, facts: PageFacts) -> Option<Spell> {
        self.expired = false;
        self.iterator_since = now;
        self.charge(now, facts.bytes);
        if !self.leads_on(&facts) {
            self.not_before = now + self.pace.empty_interval;
        }
        self.empty_at = facts.millis_behind.filter(|_| facts.records == 0);
        self.note_completeness(&facts);
        if let Some(finish) = self.finish(&facts) {
            self.state = State::Finished(finish);
        }
        if let Some(last) = facts.last {
            self.cursor = last;
        }
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
                self.state = if let State::Finished(_) = self.state { self.state } else { State::NoIterator };
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

    /// Every record that arrived earlier was read, as far as the pages tell. Where the service has trimmed since, compare
    /// it with the retention before the next page is handed on.
    #[must_use]
    pub const fn complete_until(&self) -> Option<EpochMillis> {
        self.complete_until
    }

    /// The service's time of the last page, if the shard was at its tip: everything that arrived before has been read.
    /// Every 10 s at most, and once for each page.
    pub fn tip(&mut self, now: Moment) -> Option<EpochMillis> {
        let at = self.tip.take()?;
        if self.tip_told.is_some_and(|told| now.since(told) < TIP_INTERVAL) {
            return None;
        }
        self.tip_told = Some(now);
        Some(at)
    }

    /// How its calls fare.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.patience.health()
    }

    /// How far the shard was read.
    #[must_use]
    pub const fn cursor(&self) -> &Position {
        &self.cursor
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

    fn finish(&self, facts: &PageFacts) -> Option<Finish> {
        if !facts.has_next {
            return Some(Finish::End);
        }
        let end = self.caught_up_after?;
        // "0 ms behind" counts only together with an empty page: emulators say it while there is more to read.
        let at_tip = facts.records == 0 && facts.millis_behind.unwrap_or(0) <= 0;
        let beyond = facts.newest_arrival.is_some_and(|arrival| arrival > end);
        (at_tip || beyond).then_some(Finish::CaughtUp)
    }

    /// Whether the next page may be asked for at once, as far as this one tells. The service walks through stretches
    /// without records in pages that are empty and behind: a pause after each would make hours of them, and the rate of
    /// calls is kept all the same. A page that is behind and no less so than the one before it leads nowhere.
    fn leads_on(&self, facts: &PageFacts) -> bool {
        let is_walking = |behind: i64| behind > 0 && self.empty_at.is_none_or(|before| behind < before);
        facts.records > 0 || facts.millis_behind.is_some_and(is_walking)
    }

    /// "0 ms behind" counts only together with an empty page: emulators say it while there is more to read. And only while
    /// the shard is open: its children take over its completeness, and from its end on what arrives is theirs.
    fn note_completeness(&mut self, facts: &PageFacts) {
        let reached = if facts.records > 0 {
            facts.last_arrival
        } else if !facts.has_next {
            None
        } else {
            let behind = facts.millis_behind.map(|behind| behind.max(0));
            facts.asked_at.zip(behind).map(|(at, behind)| EpochMillis(at.0.saturating_sub(behind)))
        };
        self.complete_until = self.complete_until.max(reached);
        let at_tip = facts.records == 0 && facts.has_next && facts.millis_behind.is_some_and(|behind| behind <= 0);
        self.tip = facts.asked_at.filter(|_| at_tip);
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
