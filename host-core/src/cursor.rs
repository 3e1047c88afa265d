//! How far one shard was *read*, and what that proves.
//!
//! A cursor moves with what arrives, however it is fetched: pages that were asked for ([`crate::reading`]) or events that
//! were pushed ([`crate::subscription`]). It never becomes a position; only receipts do that ([`crate::ledger`]).
//!
//! Two things are known here alone and asked for by others. How complete the shard is *read*
//! ([`Cursor::complete_until`]): the service skips trimmed records without a word, so time is the only evidence of a gap.
//! And that the shard is at its tip ([`Cursor::tip`]), so that a shard without records is as complete as a busy one.
//!
//! A run that ends by itself must not leave behind what was written before it began, and stamps are no proof of when that
//! was: the service promises nothing of their accuracy, and emulators stamp what arrives in a new shard ahead of the
//! clock, a second more with each generation. So an open shard is caught up where an empty answer says that it is at its
//! tip, and otherwise only where a record arrived a good while after the run began: a shard that others write to without
//! a pause has no empty answer. A shard that was closed when the run began holds nothing from after that, whatever its
//! stamps say, and what comes next in time is in its children: it is read to its end ([`Cursor::to_its_end`]).

use std::time::Duration;

use crate::moment::{EpochMillis, Moment};
use crate::shard::Position;

/// Time between two words about the tip.
const TIP_INTERVAL: Duration = Duration::from_secs(10);
/// How far ahead of the clock the stamp of a record may be that was written before the run began. Emulators are a second
/// ahead after one change of shards. A shard that is never silent is read for as much longer; no other is.
const STAMPS_AHEAD_MAX: Duration = Duration::from_secs(5);

/// What a page or an event was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFacts {
    /// Records in it.
    pub records: u64,
    /// Bytes in it, as the service counts them (data and partition keys).
    pub bytes: u64,
    /// The position after its last record; `None` if it is empty.
    pub last: Option<Position>,
    /// Latest `ApproximateArrivalTimestamp` in it.
    pub newest_arrival: Option<EpochMillis>,
    /// `ApproximateArrivalTimestamp` of its last record.
    pub last_arrival: Option<EpochMillis>,
    /// The service's time when it was asked for or made, or any earlier time; `None` if nobody knows.
    pub asked_at: Option<EpochMillis>,
    /// Whether more can follow; otherwise the shard is closed and exhausted.
    pub has_next: bool,
    /// `MillisBehindLatest`. Emulators say 0 while they are behind.
    pub millis_behind: Option<i64>,
}

/// Why a reader stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The shard is closed and was read to its end.
    End,
    /// The end that was fixed when the run started is reached.
    CaughtUp,
}

/// How far one shard was read.
#[derive(Clone, Debug)]
pub struct Cursor {
    position: Position,
    /// A record that arrived later was written after the run began; `None` if the shard is read to its end.
    caught_up_after: Option<EpochMillis>,
    finished: Option<Finish>,
    complete_until: Option<EpochMillis>,
    /// The service's time of an answer at the tip that nobody asked about yet.
    tip: Option<EpochMillis>,
    tip_told: Option<Moment>,
}

impl Cursor {
    /// A shard that is read after `from`. `stop_at` is the end fixed when the run started (with `--until-caught-up`), in the
    /// service's arrival time. A shard that starts well behind that end has caught up already.
    #[must_use]
    pub fn new(from: Position, stop_at: Option<EpochMillis>) -> Self {
        let caught_up_after = stop_at.map(|stop_at| stop_at + STAMPS_AHEAD_MAX);
        let finished = match &from {
            Position::ShardEnd => Some(Finish::End),
            Position::AtTimestamp(at) if caught_up_after.is_some_and(|end| *at > end) => Some(Finish::CaughtUp),
            Position::TrimHorizon | Position::AtTimestamp(_) | Position::After { .. } => None,
        };
        Self { position: from, caught_up_after, finished, complete_until: None, tip: None, tip_told: None }
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

    /// What comes next was passed over up to this time: the gap has been told.
    pub const fn passed_over(&mut self, until: EpochMillis) {
        self.complete_until = Some(until);
    }

    /// A page or an event was read.
    pub fn take(&mut self, facts: &PageFacts) {
        self.note_completeness(facts);
        self.finished = self.finished.or(self.finish(facts));
        if let Some(last) = &facts.last {
            self.position = last.clone();
        }
    }

    /// Set once there is nothing more to read, ever.
    #[must_use]
    pub const fn finished(&self) -> Option<Finish> {
        self.finished
    }

    /// How far the shard was read.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// Every record that arrived earlier was read, as far as the answers tell. Where the service has trimmed since, compare
    /// it with the retention before the next answer is handed on.
    #[must_use]
    pub const fn complete_until(&self) -> Option<EpochMillis> {
        self.complete_until
    }

    /// The service's time of the last answer, if the shard was at its tip: everything that arrived before has been read.
    /// Every 10 s at most, and once for each answer.
    pub fn tip(&mut self, now: Moment) -> Option<EpochMillis> {
        let at = self.tip.take()?;
        if self.tip_told.is_some_and(|told| now.since(told) < TIP_INTERVAL) {
            return None;
        }
        self.tip_told = Some(now);
        Some(at)
    }

    fn finish(&self, facts: &PageFacts) -> Option<Finish> {
        if !facts.has_next {
            return Some(Finish::End);
        }
        let end = self.caught_up_after?;
        // "0 ms behind" counts only together with an empty answer: emulators say it while there is more to read.
        let at_tip = facts.records == 0 && facts.millis_behind.unwrap_or(0) <= 0;
        let beyond = facts.newest_arrival.is_some_and(|arrival| arrival > end);
        (at_tip || beyond).then_some(Finish::CaughtUp)
    }

    /// "0 ms behind" counts only together with an empty answer: emulators say it while there is more to read. And only while
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
}

#[cfg(test)]
pub(crate) mod tests;
