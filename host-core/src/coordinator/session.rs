//! One shard within a run, and its reader's session.

use std::mem;
use std::time::Duration;

use super::ShardState;
use crate::checkpoint::ShardRow;
use crate::ledger::Ledger;
use crate::moment::{EpochMillis, Moment};
use crate::shard::Position;
use crate::watermark::ShardWatermark;

/// The number of a session that is over; those of readers start at 1.
const NOBODY: u64 = 0;

/// A known shard.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    /// Where it starts, until its row is durable and says so.
    pub(super) start: Position,
    /// Since when it waits to be opened for the first time.
    pub(super) known_at: Moment,
    pub(super) stage: Stage,
    /// How often its reader did not find it since it was last read.
    pub(super) attempts: u32,
}

/// How far a shard has come in this run.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    Waiting,
    Reading(Session),
    Ending(Session, End),
    CaughtUp(Session),
    Closing(Session),
    Closed(Session),
    Reopening(Session, Reopen),
    /// Its subtask was lost: to be opened again once what is confirmed is durable.
    Lost(Session),
    /// With the session it had, and whether its reader may still report.
    Gone(Option<Session>, bool),
    Finished,
}

/// When a shard is opened again that its reader did not find.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reopen {
    /// The first full listing that may show it.
    pub(super) ticket: u64,
    pub(super) not_before: Moment,
}

/// An end that was read and is not durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The first listing that may show the children.
    pub(super) ticket: u64,
    /// One that is asked for earlier does not count as fruitless.
    pub(super) not_before: Moment,
    /// Listings that showed too few children.
    pub(super) fruitless: u32,
    /// The children known now are all there will be.
    pub(super) settled: bool,
}

/// A reader, its receipts and its watermark.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) ledger: Ledger,
    pub(super) watermark: ShardWatermark,
    /// Every record that arrived earlier is with the sinks.
    pub(super) complete_until: Option<EpochMillis>,
    /// At the tip, at this time, with records in flight up to this ordinal.
    tip: Option<(u64, EpochMillis)>,
    /// Read up to the tip, and nothing since.
    at_tip: bool,
    /// Since when its reader is paused.
    paused_at: Option<Moment>,
    opened_at: Moment,
    /// When its reader was last known to be answered.
    pub(super) answered_at: Moment,
    /// When it last brought something.
    active_at: Moment,
}

impl Shard {
    pub(super) const fn new(start: Position, now: Moment) -> Self {
        Self { start, known_at: now, stage: Stage::Waiting, attempts: 0 }
    }

    pub(super) fn restored(row: &ShardRow, now: Moment) -> Self {
        let stage = if row.position.is_end() { Stage::Finished } else { Stage::Waiting };
        Self { start: row.position.clone(), known_at: now, stage, attempts: 0 }
    }

    pub(super) const fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Waiting | Stage::Finished | Stage::Gone(None, _) => None,
            Stage::Reading(session)
            | Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closing(session)
            | Stage::Closed(session)
            | Stage::Reopening(session, _)
            | Stage::Lost(session)
            | Stage::Gone(Some(session), _) => Some(session),
        }
    }

    pub(super) const fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Waiting | Stage::Finished | Stage::Gone(None, _) => None,
            Stage::Reading(session)
            | Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closing(session)
            | Stage::Closed(session)
            | Stage::Reopening(session, _)
            | Stage::Lost(session)
            | Stage::Gone(Some(session), _) => Some(session),
        }
    }

    /// Moves a shard whose reader may still read on to the stage that `next` makes of the session.
    pub(super) fn stop_reading(&mut self, next: impl FnOnce(Session) -> Stage) {
        self.stage = match mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Reading(session) | Stage::Closing(session) => next(Session { paused_at: None, ..session }),
            Stage::Gone(session, _) => Stage::Gone(session, false),
            stage @ (Stage::Waiting
            | Stage::Ending(..)
            | Stage::CaughtUp(_)
            | Stage::Closed(_)
            | Stage::Reopening(..)
            | Stage::Lost(_)
            | Stage::Finished) => stage,
        };
    }

    /// Whether its subtask was lost and more is confirmed than `durable`.
    pub(super) fn is_lost_beyond(&self, durable: &Position) -> bool {
        matches!(&self.stage, Stage::Lost(session) if session.ledger.position().is_past(durable))
    }

    /// What it still had is lost.
    pub(super) fn lose(&mut self) {
        self.stage = match mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Waiting => Stage::Gone(None, false),
            Stage::Reading(session) | Stage::Closing(session) => Stage::Gone(Some(session), true),
            Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closed(session)
            | Stage::Lost(session)
            | Stage::Reopening(session, _) => Stage::Gone(Some(session), false),
            stage @ (Stage::Gone(..) | Stage::Finished) => stage,
        };
    }

    /// Whether everything read of it is confirmed.
    pub(super) fn is_settled(&self) -> bool {
        self.session().is_none_or(|session| session.ledger.is_settled())
    }
}

impl Stage {
    pub(super) const fn state(&self) -> ShardState {
        match self {
            Self::Waiting | Self::Lost(_) => ShardState::Waiting,
            Self::Reading(_) => ShardState::Reading,
            Self::Ending(..) => ShardState::Ending,
            Self::CaughtUp(_) => ShardState::CaughtUp,
            Self::Closing(_) | Self::Gone(_, true) => ShardState::Closing,
            Self::Closed(_) => ShardState::Closed,
            Self::Reopening(..) => ShardState::Reopening,
            Self::Gone(_, false) => ShardState::Gone,
            Self::Finished => ShardState::Finished,
        }
    }
}

impl Session {
    pub(super) const fn new(
        id: u64,
        from: Position,
        watermark: ShardWatermark,
        complete_until: Option<EpochMillis>,
        now: Moment,
    ) -> Self {
        Self {
            id,
            ledger: Ledger::new(from),
            watermark,
            complete_until,
            tip: None,
            at_tip: false,
            paused_at: None,
            opened_at: now,
            answered_at: now,
            active_at: now,
        }
    }

    /// Its subtask is lost: what is in flight will never be confirmed here, and nothing that still comes in under this
    /// session's number counts.
    #[must_use]
    pub(super) fn lost(self) -> Self {
        let watermark = self.watermark.read_again(self.ledger.confirmed());
        let ledger = Ledger::new(self.ledger.position().clone());
        Self { id: NOBODY, ledger, watermark, tip: None, at_tip: false, paused_at: None, ..self }
    }

    /// Everything that arrived before `at` was read: complete up to then once all of it is confirmed. One that waits for
    /// that is not replaced, or under load none would ever be reached.
    pub(super) fn at_tip(&mut self, at: EpochMillis) {
        let read = self.ledger.confirmed().saturating_add(self.ledger.in_flight());
        self.tip = self.tip.or(Some((read, at)));
        if self.ledger.is_settled() {
            self.at_tip = true;
            self.watermark.at_tip();
        }
        self.raise_completeness(None);
    }

    /// Everything confirmed without a gap arrived up to `arrived`.
    pub(super) fn raise_completeness(&mut self, arrived: Option<EpochMillis>) {
        self.complete_until = self.complete_until.max(arrived);
        if let Some((_, at)) = self.tip.take_if(|(read, _)| *read <= self.ledger.confirmed()) {
            self.complete_until = self.complete_until.max(Some(at));
        }
    }

    /// It brought something.
    pub(super) const fn touch(&mut self, now: Moment) {
        self.at_tip = false;
        self.active_at = now;
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    pub(super) const fn pause(&mut self, now: Moment) {
        self.paused_at = Some(now);
    }

    /// It was silent because it was told to be: for its idleness the pause did not happen.
    pub(super) fn resume(&mut self, now: Moment) {
        if let Some(paused_at) = self.paused_at.take() {
            self.active_at = (self.active_at + now.since(paused_at)).min(now);
        }
    }

    /// Nothing in flight and nothing read for a while.
    pub(super) fn is_idle(&self, now: Moment, idle_after: Duration) -> bool {
        !self.is_paused() && self.ledger.is_settled() && now.since(self.active_at) >= idle_after
    }

    /// Whether others have to wait for it: one that brought nothing yet is waited for no longer than one that falls idle,
    /// and not at all if there is nothing in it.
    pub(super) fn is_waited_for(&self, now: Moment, idle_after: Duration) -> bool {
        let silent = self.at_tip || now.since(self.opened_at) >= idle_after;
        (!silent || self.watermark.value().is_some()) && !self.is_idle(now, idle_after)
    }
}
