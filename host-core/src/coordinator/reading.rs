//! Opening shards, and what their readers and the sinks report.

use std::mem;
use std::time::Duration;

use super::session::{End, Missing, Session, Stage, Verdict};
use super::{Coordinator, Effect, Notice, ReadReport, Receipt};
use crate::checkpoint::ShardRow;
use crate::discovery::STALENESS_PAUSE;
use crate::gap::{self, OnGap};
use crate::lineage::Gate;
use crate::moment::{EpochMillis, Moment};
use crate::shard::{Position, ShardDescription, ShardId};
use crate::watermark::ShardWatermark;

impl Coordinator {
    /// Opens the shards among those to be looked at whose row is durable (POS-1) and whose parents' ends are (LIN-1).
    pub(super) fn open_readable(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for id in mem::take(&mut self.to_open) {
            let Some(shard) = self.shards.get(&id) else { continue };
            let waits = matches!(shard.stage, Stage::Waiting | Stage::Lost(_));
            if waits && (!self.settings.preserve_shard_order || self.lineage(&id).gate(&id, &self.rows) == Gate::Open) {
                self.open(now, &id, effects);
            }
        }
    }

    fn open(&mut self, now: Moment, id: &ShardId, effects: &mut Vec<Effect>) {
        let Some(row) = self.rows.get(id) else { return };
        let (from, complete_until) = (row.position.clone(), self.complete_until(row));
        let range = self.lineage(id).range(id);
        let Some(subtask) = self.assignments.assign(now, id, range) else { return };
        let inherited = self.inherited_watermark(id);
        let Some(shard) = self.shards.get_mut(id) else { return };
        let watermark = match &shard.stage {
            Stage::Lost(_) if shard.is_lost_beyond(&from) => return,
            Stage::Lost(session) => session.watermark.clone(),
            Stage::Waiting => ShardWatermark::new(inherited),
            Stage::Reading(_)
            | Stage::Ending(..)
            | Stage::CaughtUp(_)
            | Stage::Closing(_)
            | Stage::Closed(_)
            | Stage::Missing(..)
            | Stage::Gone
            | Stage::Finished => return,
        };
        self.sessions += 1;
        let session = self.sessions;
        shard.stage = Stage::Reading(Session::new(session, from.clone(), complete_until, watermark, now));
        self.to_settle.remove(id);
        effects.push(Effect::Open { shard: id.clone(), session, subtask, from, complete_until, range });
    }

    /// Up to when nothing can be missing of a shard. A child has no records from before its parents' last ones, and what
    /// arrived before a start at a time was never asked for.
    fn complete_until(&self, row: &ShardRow) -> Option<EpochMillis> {
        let inferred = match &row.position {
            Position::AtTimestamp(at) => Some(*at),
            Position::TrimHorizon => {
                let parents = self.lineage(&row.shard).parents(&row.shard);
                let until: Option<Vec<_>> = parents.map(|parent| self.rows.get(parent)?.complete_until).collect();
                until.and_then(|until| until.into_iter().min())
            }
            Position::After { .. } | Position::ShardEnd => None,
        };
        row.complete_until.max(inferred)
    }

    pub(super) fn read(&mut self, now: Moment, report: &ReadReport) {
        let Some(session) = self.session_mut(&report.shard, report.session) else { return };
        let end = session.ledger.read(report.records);
        session.watermark.read(end, report.earliest);
        // The receipt may have come first.
        session.watermark.delivered(session.ledger.confirmed(), None, None);
        session.touch(now);
        self.totals.read += report.records;
    }

    pub(super) fn delivered(&mut self, receipt: Receipt) {
        let (id, number) = (receipt.shard.clone(), receipt.session);
        let Some(session) = self.session_mut(&id, number) else { return };
        let event_time = receipt.event_time;
        let progress = session.ledger.confirm(receipt);
        if let Some((earliest, latest)) = event_time.filter(|_| progress.is_news) {
            session.watermark.held(earliest, latest);
        }
        if progress.records == 0 {
            return;
        }
        session.watermark.delivered(session.ledger.confirmed(), progress.arrived, progress.latest);
        session.complete_until = session.complete_until.max(progress.arrived);
        let settled = session.ledger.is_settled();
        let reading = self.shards.get(&id).is_some_and(|shard| matches!(shard.stage, Stage::Reading(_)));
        self.totals.delivered += progress.records;
        self.to_commit.insert(id.clone());
        self.commits.note_change();
        self.commits.keep_marks(progress.marks);
        if settled && !reading {
            self.look_again = true;
            self.settle_missing(&id);
            self.note_if_urgent(&id);
        }
    }

    /// A quiet shard is complete up to now, if the sinks have everything. Worth a commit only now and then.
    pub(super) fn at_tip(&mut self, id: &ShardId, number: u64, at: EpochMillis) {
        let worth_keeping = gap::worth_keeping(self.stream(id).retention);
        let durable = self.rows.get(id).and_then(|row| row.complete_until);
        let Some(session) = self.session_mut(id, number).filter(|session| session.ledger.is_settled()) else { return };
        session.complete_until = session.complete_until.max(Some(at));
        let later = durable.is_none_or(|durable| at.0.saturating_sub(durable.0) >= millis(worth_keeping));
        if later {
            self.to_commit.insert(id.clone());
            self.commits.note_change();
        }
    }

    pub(super) fn read_to_end(&mut self, now: Moment, id: &ShardId, session: u64, children: &[ShardDescription]) {
        if self.session_mut(id, session).is_none() {
            return;
        }
        self.learn_children(now, id, children);
        let stream = self.stream_mut(id);
        let settled = stream.lineage.children_cover(id);
        // Asked for even if the end told its children: another parent of theirs may be unknown yet.
        let ticket = stream.discovery.want(now);
        stream.end_ticket = ticket;
        let end = End { ticket, not_before: now, fruitless: 0, settled };
        self.stop(id, |session| Stage::Ending(session, end));
        self.to_settle.insert(id.clone());
        self.note_if_urgent(id);
    }

    /// The service denies the shard to its reader.
    pub(super) fn shard_gone(&mut self, now: Moment, id: &ShardId, session: u64, effects: &mut Vec<Effect>) {
        if self.session_mut(id, session).is_none() {
            return;
        }
        let ticket = self.stream_mut(id).discovery.want(now + STALENESS_PAUSE);
        let missing = Missing { ticket, not_before: now, absences: 0, verdict: None };
        effects.push(Effect::Notice(Notice::ShardDenied { shard: id.clone() }));
        self.stop(id, |session| Stage::Missing(session, missing));
        self.to_settle.insert(id.clone());
    }

    /// What was found of a missing shard takes effect once everything that was read of it is confirmed.
    pub(super) fn settle_missing(&mut self, id: &ShardId) {
        let Some(shard) = self.shards.get_mut(id) else { return };
        let Stage::Missing(session, Missing { verdict: Some(verdict), .. }) = &shard.stage else { return };
        if !session.ledger.is_settled() {
            return;
        }
        shard.stage = match verdict {
            Verdict::Exists => Stage::Lost(session.clone().lost()),
            Verdict::Gone if self.settings.on_gap == OnGap::Continue => Stage::Gone,
            // A gap that stops the run leaves the position where it is.
            Verdict::Gone => return,
        };
        self.to_open.insert(id.clone());
        self.note_if_urgent(id);
    }

    /// A reader stopped for another reason than its shard's end.
    pub(super) fn stopped(&mut self, id: &ShardId, session: u64, next: fn(Session) -> Stage) {
        if self.session_mut(id, session).is_some() {
            self.stop(id, next);
        }
    }

    fn stop(&mut self, id: &ShardId, next: impl FnOnce(Session) -> Stage) {
        if let Some(shard) = self.shards.get_mut(id) {
            shard.stop_reading(next);
        }
        self.look_again = true;
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
