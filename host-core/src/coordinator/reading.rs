//! Opening shards, and what their readers and the sinks report.

use super::session::{End, Session, Stage};
use super::{Coordinator, Effect, ReadReport, Receipt};
use crate::lineage::Gate;
use crate::moment::Moment;
use crate::shard::{ShardDescription, ShardId};
use crate::watermark::ShardWatermark;

impl Coordinator {
    /// Opens every waiting shard whose row is durable (POS-1) and whose parents' ends are (LIN-1).
    pub(super) fn open_readable(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let readable: Vec<ShardId> = self
            .shards
            .iter()
            .filter(|(id, shard)| {
                let waiting = matches!(shard.stage, Stage::Waiting | Stage::Lost(_));
                waiting && (!self.settings.preserve_shard_order || self.lineage.gate(id, &self.rows) == Gate::Open)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in readable {
            self.open(now, &id, effects);
        }
    }

    fn open(&mut self, now: Moment, id: &ShardId, effects: &mut Vec<Effect>) {
        let Some(from) = self.rows.get(id).map(|row| row.position.clone()) else { return };
        let range = self.lineage.range(id);
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
            | Stage::Finished => return,
        };
        self.sessions += 1;
        shard.stage = Stage::Reading(Session::new(self.sessions, from.clone(), watermark, now));
        effects.push(Effect::Open { shard: id.clone(), session: self.sessions, subtask, from, range });
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

    pub(super) fn delivered(&mut self, now: Moment, receipt: Receipt) {
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
        // More may be made of it already than its reader's reports say.
        session.touch(now);
        session.watermark.delivered(session.ledger.confirmed(), progress.arrived, progress.latest);
        let settled = session.ledger.is_settled();
        let reading = self.shards.get(&id).is_some_and(|shard| matches!(shard.stage, Stage::Reading(_)));
        self.look_again |= settled && !reading;
        self.totals.delivered += progress.records;
        self.commits.note_change();
        self.commits.keep_marks(progress.marks);
    }

    pub(super) fn read_to_end(&mut self, now: Moment, id: &ShardId, session: u64, children: &[ShardDescription]) {
        if self.session_mut(id, session).is_none() {
            return;
        }
        self.learn_children(now, id, children);
        // Asked for even if the end told its children: another parent of theirs may be unknown yet.
        let settled = self.lineage.children_cover(id);
        let ticket = self.discovery.want(now);
        self.commits.note_end(ticket);
        if let Some(shard) = self.shards.get_mut(id) {
            shard
                .stop_reading(|session| Stage::Ending(session, End { ticket, not_before: now, fruitless: 0, settled }));
        }
        self.look_again = true;
    }

    /// A reader stopped for another reason than its shard's end.
    pub(super) fn stopped(&mut self, id: &ShardId, session: u64, next: fn(Session) -> Stage) {
        if self.session_mut(id, session).is_none() {
            return;
        }
        if let Some(shard) = self.shards.get_mut(id) {
            shard.stop_reading(next);
        }
        self.look_again = true;
    }
}
