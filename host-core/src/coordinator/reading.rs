//! Opening shards, and what their readers and the sinks report.

use std::mem;

use super::session::{End, Session, Stage};
use super::vanishing::index;
use super::{Coordinator, Effect, ReadReport, Receipt};
use crate::lineage::Gate;
use crate::moment::Moment;
use crate::shard::{ShardDescription, ShardId};
use crate::watermark::ShardWatermark;

impl Coordinator {
    /// Something about this shard changed: it may be readable now, or at its end.
    pub(super) fn look(&mut self, id: ShardId) {
        self.stirred = true;
        self.to_look.insert(id);
    }

    /// Looks at every shard that something was said of.
    pub(super) fn look_around(&mut self, now: Moment, running: bool, effects: &mut Vec<Effect>) {
        while let Some((_, id)) = self.look_at.first().filter(|(at, _)| *at <= now).cloned() {
            self.look_at.pop_first();
            self.look(id);
        }
        for id in mem::take(&mut self.to_look) {
            let Some(shard) = self.shards.get(&id) else { continue };
            match &shard.stage {
                Stage::Waiting if !self.rows.contains_key(&id) => self.commits.hurry(&id),
                Stage::Waiting if running && self.is_readable(&id) => self.open(now, &id, effects),
                Stage::Reopening(session, reopen) if running => {
                    let (session, reopen) = (session.clone(), *reopen);
                    if self.may_reopen(now, &id, &session, reopen) {
                        self.open(now, &id, effects);
                    }
                }
                Stage::Lost(_) if running => {
                    if self.rows.get(&id).is_some_and(|row| shard.is_lost_beyond(&row.position)) {
                        self.commits.hurry(&id);
                    } else {
                        self.open(now, &id, effects);
                    }
                }
                Stage::Ending(..) | Stage::Gone(..) => self.commits.hurry(&id),
                Stage::Waiting
                | Stage::Reading(_)
                | Stage::CaughtUp(_)
                | Stage::Closing(_)
                | Stage::Closed(_)
                | Stage::Reopening(..)
                | Stage::Lost(_)
                | Stage::Finished => {}
            }
        }
    }

    /// Whether it may be opened: the ends of its parents are durable (LIN-1), and it is known how far to read.
    fn is_readable(&self, id: &ShardId) -> bool {
        self.knows_whether_closed(id)
            && (!self.settings.preserve_shard_order
                || self.lineage(id).is_some_and(|lineage| lineage.gate(id, &self.rows) == Gate::Open))
    }

    /// Opens a shard whose row is durable (POS-1), if its subtask is known.
    fn open(&mut self, now: Moment, id: &ShardId, effects: &mut Vec<Effect>) {
        let Some(from) = self.rows.get(id).map(|row| row.position.clone()) else { return };
        let range = self.lineage(id).and_then(|lineage| lineage.range(id));
        let Some(subtask) = self.assignments.assign(now, id, range) else { return };
        let mut watermark = ShardWatermark::new(self.inherited_watermark(id));
        let mut complete_until = self.inherited_completeness(id);
        self.sessions += 1;
        let session = self.sessions;
        self.shards.update(id, |shard| {
            if let Some(before) = shard.session() {
                watermark = before.watermark.clone().read_again(before.ledger.confirmed());
                complete_until = complete_until.max(before.complete_until);
            }
            shard.stage = Stage::Reading(Session::new(session, from.clone(), watermark, complete_until, now));
        });
        let to_its_end = self.was_closed(id);
        effects.push(Effect::Open { shard: id.clone(), session, subtask, from, complete_until, range, to_its_end });
    }

    pub(super) fn read(&mut self, now: Moment, report: &ReadReport) {
        let read = self.shards.update(&report.shard, |shard| {
            let Some(session) = shard.session_mut().filter(|open| open.id == report.session) else { return false };
            let end = session.ledger.read(report.records);
            session.watermark.read(end, report.earliest);
            // The receipt may have come first.
            session.watermark.delivered(session.ledger.confirmed(), None, None);
            session.touch(now);
            session.answered_at = now;
            shard.attempts = 0;
            true
        });
        if read == Some(true) {
            self.totals.read += report.records;
        }
    }

    pub(super) fn delivered(&mut self, now: Moment, receipt: Receipt) {
        let (id, number) = (receipt.shard.clone(), receipt.session);
        let progress = self.with_session(&id, number, |session| {
            let event_time = receipt.event_time;
            let progress = session.ledger.confirm(receipt);
            if let Some((earliest, latest)) = event_time.filter(|_| progress.is_news) {
                session.watermark.held(earliest, latest);
            }
            if progress.records > 0 {
                // More may be made of it already than its reader's reports say.
                session.touch(now);
                session.watermark.delivered(session.ledger.confirmed(), progress.arrived, progress.latest);
                session.raise_completeness(progress.arrived);
            }
            (progress, session.ledger.is_settled())
        });
        let Some((progress, settled)) = progress.filter(|(progress, _)| progress.records > 0) else { return };
        let reading = self.shards.get(&id).is_some_and(|shard| matches!(shard.stage, Stage::Reading(_)));
        self.totals.delivered += progress.records;
        self.commits.change(&id);
        self.commits.keep_marks(progress.marks);
        if settled && !reading {
            self.look(id);
        }
    }

    pub(super) fn read_to_end(
        &mut self,
        now: Moment,
        id: &ShardId,
        session: u64,
        children: Vec<ShardDescription>,
        effects: &mut Vec<Effect>,
    ) {
        if self.with_session(id, session, |_| ()).is_none() {
            return;
        }
        let ask = self.learn_children(now, id, children, effects);
        let Some(of) = self.streams.get_mut(index(id.stream())) else { return };
        let settled = of.lineage.children_cover(id);
        let ticket = if ask { of.ask(now) } else { of.question };
        of.ends.insert(id.clone());
        let end = End { ticket, not_before: now, fruitless: 0, settled };
        self.shards.update(id, |shard| shard.stop_reading(|session| Stage::Ending(session, end)));
        self.look(id.clone());
    }

    /// A reader stopped for another reason than its shard's end.
    pub(super) fn stopped(&mut self, id: &ShardId, session: u64, next: fn(Session) -> Stage) {
        if self.with_session(id, session, |_| ()).is_none() {
            return;
        }
        self.shards.update(id, |shard| shard.stop_reading(next));
        self.look(id.clone());
    }

    pub(super) fn with_session<R>(
        &mut self,
        id: &ShardId,
        session: u64,
        with: impl FnOnce(&mut Session) -> R,
    ) -> Option<R> {
        self.shards.update(id, |shard| shard.session_mut().filter(|open| open.id == session).map(with)).flatten()
    }
}
