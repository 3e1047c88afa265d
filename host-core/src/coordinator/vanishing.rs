//! Shards that are no longer there (GAP-1).
//!
//! The service drops a shard when everything in it is older than the retention. One that was read to its end does not
//! matter any more. One that was not takes its unread records with it, and neither its reader nor a listing says so in one
//! word: a reader is told that there is no such shard, which it is also told of a shard that is too young; a listing does
//! not show it, which may be an accident. So only several full listings that lack it, well apart, are evidence; a listing
//! that shows it, or a reader that is answered, wipes them.

use super::finishing::Mode;
use super::listing::{FRUITLESS_LISTINGS, Suspicion};
use super::session::{Reopen, Session, Stage};
use super::{Coordinator, Effect, Notice};
use crate::checkpoint::ShardRow;
use crate::gap::{Gap, GapReason, OnGap};
use crate::lineage::Gate;
use crate::moment::{EpochMillis, Moment};
use crate::shard::{HashRange, Position, ShardId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Pause between full listings that count. A reader that is answered says so more often.
const VANISHING_PAUSE: Duration = Duration::from_secs(15);

/// First pause before a shard is opened again that its reader did not find; doubles each time.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// Longest such pause.
const REOPEN_PAUSE_MAX: Duration = Duration::from_mins(1);

impl Coordinator {
    /// Weighs a full listing against every shard that should be in it.
    pub(super) fn weigh_vanishing(&mut self, now: Moment, stream: u32, effects: &mut Vec<Effect>) {
        if self.mode != Mode::Running {
            return;
        }
        let Some(of) = self.streams.get(index(stream)) else { return };
        let asked_at = of.discovery.asked_at();
        let mut suspected = std::collections::BTreeMap::new();
        let mut gone = Vec::new();
        let mut shown = Vec::new();
        for (id, shard) in self.shards.of_stream(stream) {
            let active_at = match &shard.stage {
                Stage::Waiting => None,
                Stage::Reading(session) => Some(session.answered_at),
                Stage::Reopening(..) if of.lineage.is_listed(id) => {
                    shown.push(id.clone());
                    continue;
                }
                Stage::Reopening(..) | Stage::Lost(_) => None,
                Stage::Ending(..)
                | Stage::CaughtUp(_)
                | Stage::Closing(_)
                | Stage::Closed(_)
                | Stage::Gone(..)
                | Stage::Finished => continue,
            };
            if of.lineage.is_listed(id) || !self.rows.contains_key(id) {
                continue;
            }
            let known = of.vanishing.get(id).filter(|known| active_at.is_none_or(|at| at < known.since)).copied();
            let mut suspicion = known.unwrap_or(Suspicion::new(now, asked_at));
            suspicion.count(now, asked_at, VANISHING_PAUSE);
            if suspicion.sightings < FRUITLESS_LISTINGS {
                suspected.insert(id.clone(), suspicion);
            } else {
                gone.push(id.clone());
            }
        }
        if let Some(of) = self.streams.get_mut(index(stream)) {
            if let Some(at) = suspected.values().map(|suspicion| suspicion.not_before).min() {
                of.ask(at);
            }
            of.vanishing = suspected;
        }
        shown.into_iter().for_each(|id| self.look(id));
        for id in gone {
            self.gone(&id, effects);
        }
    }

    /// The shard is no longer there: what it still had is lost.
    fn gone(&mut self, id: &ShardId, effects: &mut Vec<Effect>) {
        let Some(row) = self.rows.get(id) else { return };
        let Some(shard) = self.shards.get(id) else { return };
        let session = shard.session();
        let gap = Gap {
            shard: id.clone(),
            reason: GapReason::ShardGone,
            from: session.map_or_else(|| row.position.clone(), |session| session.ledger.position().clone()),
            to: None,
            since: session.map_or(row.complete_until, |session| session.complete_until),
            until: None,
        };
        if self.settings.on_gap == OnGap::Continue {
            if let Stage::Reading(session) = &shard.stage {
                effects.push(Effect::Close { shard: id.clone(), session: session.id });
            }
            self.shards.update(id, super::session::Shard::lose);
            self.commits.change(id);
            self.look(id.clone());
        }
        self.tell_gap(gap, effects);
    }

    pub(super) fn tell_gap(&mut self, gap: Gap, effects: &mut Vec<Effect>) {
        self.totals.gaps += 1;
        match self.settings.on_gap {
            OnGap::Fail if !self.stopped => {
                self.stopped = true;
                effects.push(Effect::Stop(gap));
                self.drain(effects);
            }
            OnGap::Fail | OnGap::Continue => effects.push(Effect::Notice(Notice::Gap(gap))),
        }
    }

    /// A reader was told that there is no such shard. All that follows is a question.
    pub(super) fn shard_gone(&mut self, now: Moment, id: &ShardId, session: u64) {
        let Some(of) = self.streams.get_mut(index(id.stream())) else { return };
        let ticket = of.discovery.want(now);
        let reopened = self.shards.update(id, |shard| {
            let attempts = shard.attempts;
            let is_open = shard.session().is_some_and(|open| open.id == session);
            if is_open {
                shard.attempts = attempts.saturating_add(1);
                let pause = REOPEN_PAUSE.saturating_mul(1 << attempts.min(6)).min(REOPEN_PAUSE_MAX);
                shard.stop_reading(|session| Stage::Reopening(session, Reopen { ticket, not_before: now + pause }));
            }
            is_open
        });
        if reopened == Some(true) {
            of.ask(now);
            self.look(id.clone());
        }
    }

    /// Whether a shard that its reader did not find may be opened again: a later full listing shows it, it is time, and
    /// what is confirmed is durable. Otherwise looks again when that may have changed.
    pub(super) fn may_reopen(&mut self, now: Moment, id: &ShardId, session: &Session, reopen: Reopen) -> bool {
        let Some(of) = self.streams.get(index(id.stream())) else { return false };
        let shown = of.discovery.has_answered(reopen.ticket) && of.lineage.is_listed(id);
        let durable = self.rows.get(id).is_some_and(|row| !session.ledger.position().is_past(&row.position));
        if !(shown && durable && session.ledger.is_settled()) {
            return false;
        }
        if now < reopen.not_before {
            self.look_at.insert((reopen.not_before, id.clone()));
            return false;
        }
        true
    }

    /// Whether what is left of a lost shard is its end: everything read is confirmed, and descendants may go on.
    pub(super) fn gone_is_over(&self, id: &ShardId, session: Option<&Session>, reader_open: bool) -> bool {
        let in_order = !self.settings.preserve_shard_order
            || self.streams.get(index(id.stream())).is_some_and(|of| of.lineage.gate(id, &self.rows) == Gate::Open);
        !reader_open && session.is_none_or(|session| session.ledger.is_settled()) && in_order
    }

    /// A reader is at the tip.
    pub(super) fn at_tip(&mut self, now: Moment, id: &ShardId, session: u64, at: EpochMillis) {
        let until = self.with_session(id, session, |open| {
            open.answered_at = now;
            open.at_tip(at);
            open.complete_until
        });
        let Some(until) = until else { return };
        let durable = self.rows.get(id).and_then(|row| row.complete_until);
        if crate::gap::is_worth_keeping(durable, until, self.retention(id)) {
            self.commits.change(id);
        }
    }

    pub(super) fn retention(&self, id: &ShardId) -> Duration {
        self.streams.get(index(id.stream())).map_or(Duration::MAX, |of| of.settings.retention)
    }

    /// A parent that nobody ever knew is gone. It may have had unread records if one of the shards was followed whose keys
    /// went on to it. Parents of the first listing's shards expired before anybody asked for their records; and a run sees
    /// all that comes and goes while it lasts.
    pub(super) fn parent_gone(&mut self, child: &ShardId, parent: ShardId, effects: &mut Vec<Effect>) {
        let of = self.streams.get(index(parent.stream()));
        if of.is_none_or(|of| !of.continued || of.forgotten.contains_key(&parent)) {
            return;
        }
        let at_start = |start: &Position| matches!(start, Position::AtTimestamp(_));
        let is_first = self.shards.get(child).is_none_or(|child| at_start(&child.start))
            || self.rows.get(child).is_some_and(|row| row.complete_until.is_none());
        if is_first {
            return;
        }
        let before = self.predecessors(child).map(|row| self.inherited_completeness(&row.shard));
        let before: Vec<Option<EpochMillis>> = before.collect();
        if before.iter().any(Option::is_some) {
            let (from, since) = (Position::TrimHorizon, before.into_iter().min().flatten());
            let gap = Gap { shard: parent, reason: GapReason::ShardGone, from, to: None, since, until: None };
            self.tell_gap(gap, effects);
        }
    }

    /// Rows of shards that had keys of `id` before a parent of it that is not known. They closed before that parent did, so
    /// listings no longer show them if it expired. Without ranges there are none.
    fn predecessors(&self, id: &ShardId) -> impl Iterator<Item = &ShardRow> {
        let holes = self.lineage(id).map_or(Vec::new(), |lineage| lineage.keys_of_unknown_parents(id));
        let lineage = self.lineage(id).filter(|_| !holes.is_empty()).into_iter();
        let family: BTreeSet<ShardId> =
            lineage.flat_map(|of| of.unknown_parents(id).flat_map(|parent| of.descendants(parent))).collect();
        self.rows.values().filter(move |row| {
            let overlaps =
                |range: HashRange| holes.iter().any(|hole| hole.start <= range.end && range.start <= hole.end);
            row.shard.stream() == id.stream()
                && row.shard != *id
                && row.range.is_some_and(overlaps)
                && !self.lineage(id).is_some_and(|lineage| lineage.is_listed(&row.shard))
                && !family.contains(&row.shard)
        })
    }

    /// Up to when a shard that turns up is complete: it has nothing from before the shards that its keys come from were
    /// known to be complete. Some of them may have come and gone unseen; then those before them say so.
    pub(super) fn completeness_at_birth(&self, id: &ShardId) -> Option<EpochMillis> {
        let before = self.predecessors(id).filter_map(|row| self.inherited_completeness(&row.shard)).min();
        before.max(self.inherited_completeness(id))
    }

    /// The latest time up to which the shard is known to be complete. Its records are later than its
    /// ancestors' last.
    pub(super) fn inherited_completeness(&self, id: &ShardId) -> Option<EpochMillis> {
        let (mut latest, mut met, mut fringe) = (None, BTreeSet::new(), vec![id]);
        while let Some(next) = fringe.pop() {
            latest = latest.max(self.rows.get(next).and_then(|row| row.complete_until));
            fringe.extend(self.parents(next).filter(|parent| met.insert(*parent)));
        }
        latest
    }

    /// Where the shard ends, if what is confirmed and known allows it.
    pub(super) fn end_is_ready(&self, id: &ShardId, stage: &Stage) -> bool {
        match stage {
            // Read to its end, all of it confirmed, and its children known (LIN-1, DEL-1).
            Stage::Ending(session, end) => {
                let covered = || self.lineage(id).is_some_and(|lineage| lineage.children_cover(id));
                session.ledger.is_settled() && (end.settled || covered())
            }
            Stage::Gone(session, reader_open) => self.gone_is_over(id, session.as_ref(), *reader_open),
            Stage::Waiting
            | Stage::Reading(_)
            | Stage::CaughtUp(_)
            | Stage::Closing(_)
            | Stage::Closed(_)
            | Stage::Reopening(..)
            | Stage::Lost(_)
            | Stage::Finished => false,
        }
    }
}

/// Place of a stream in the settings.
pub(super) const fn index(stream: u32) -> usize {
    stream as usize
}
