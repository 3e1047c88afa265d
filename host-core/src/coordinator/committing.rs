//! Commits: what goes into the next one, and what its answer changes.
//!
//! Every commit holds everything that may become durable at that moment. That is not only simple: a sink's mark covers
//! the records of all shards, so a mark without all positions, or the other way round, would be a lie.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::listing::Suspicion;
use super::session::{Shard, Stage};
use super::vanishing::index;
use super::{Coordinator, Effect, Notice};
use crate::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use crate::gap;
use crate::moment::{EpochMillis, Moment};
use crate::shard::{Position, ShardId};

/// The commit that is out, and when the next is due.
#[derive(Clone, Debug)]
pub(super) struct Commits {
    /// Commits issued so far.
    issued: u64,
    out: Option<Commit>,
    due: Moment,
    /// Shards that changed since the last commit was built.
    changed: BTreeSet<ShardId>,
    /// Of those, shards that may have a row to make or an end to tell at once.
    urgent: BTreeSet<ShardId>,
    /// Finished shards that the last full listings of their streams lacked.
    forgettable: BTreeSet<ShardId>,
    /// Newest marks since then. The newest is the largest: a mark must cover every position it travels with, and one that
    /// covers more costs a repetition at worst.
    marks: BTreeMap<u32, u64>,
}

impl Commits {
    pub(super) const fn new(due: Moment) -> Self {
        Self {
            issued: 0,
            out: None,
            due,
            changed: BTreeSet::new(),
            urgent: BTreeSet::new(),
            forgettable: BTreeSet::new(),
            marks: BTreeMap::new(),
        }
    }

    pub(super) const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.has_changes() && !self.is_out()).then_some(self.due)
    }

    /// The next commit may have something to say of this shard.
    pub(super) fn change(&mut self, shard: &ShardId) {
        self.changed.insert(shard.clone());
    }

    /// The next commit may have something to say of this shard that others wait for.
    pub(super) fn hurry(&mut self, shard: &ShardId) {
        self.urgent.insert(shard.clone());
    }

    pub(super) fn forget(&mut self, shards: Vec<ShardId>) {
        self.forgettable.extend(shards);
    }

    pub(super) fn keep_marks(&mut self, marks: Vec<SinkMark>) {
        for SinkMark { sink, mark } in marks {
            let newest = self.marks.entry(sink).or_default();
            *newest = mark.max(*newest);
        }
    }

    fn has_changes(&self) -> bool {
        !(self.changed.is_empty() && self.forgettable.is_empty())
    }

    fn is_due(&self, now: Moment) -> bool {
        self.has_changes() && now >= self.due
    }
}

impl Coordinator {
    /// Issues a commit if one is due: at once for new rows and for ends, at the interval for progress.
    pub(super) fn commit_if_due(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) {
        if self.commits.is_out() {
            return;
        }
        if self.has_urgent() || self.commits.is_due(now) {
            self.commit(now, wall, effects);
        }
    }

    /// Issues a commit of all there is. Says whether there was anything.
    pub(super) fn commit(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) -> bool {
        self.commits.due = now + self.settings.checkpoint_interval;
        self.has_urgent();
        let mut commit = Commit::default();
        for id in mem::take(&mut self.commits.forgettable) {
            if self.may_forget(&id, wall) {
                commit.forget.push(id);
            }
        }
        for id in mem::take(&mut self.commits.changed) {
            let Some(shard) = self.shards.get(&id) else { continue };
            match self.rows.get(&id) {
                None => commit.create.push(self.new_row(&id, shard)),
                Some(row) => commit.advance.extend(self.advance(row, shard, wall)),
            }
        }
        let marks = mem::take(&mut self.commits.marks);
        commit.marks = marks.into_iter().map(|(sink, mark)| SinkMark { sink, mark }).collect();
        if commit.is_empty() {
            return false;
        }
        self.commits.issued += 1;
        commit.id = self.commits.issued;
        self.commits.out = Some(commit.clone());
        effects.push(Effect::Commit(commit));
        true
    }

    pub(super) fn committed(&mut self, id: u64, effects: &mut Vec<Effect>) {
        let Some(commit) = self.commits.out.take_if(|commit| commit.id == id) else { return };
        commit.apply(&mut self.rows).expect("a commit is built from the very rows it is applied to");
        for row in commit.create {
            self.look(row.shard);
        }
        for advance in commit.advance {
            if advance.to.is_end() {
                self.finished(&advance.shard);
            }
            self.look(advance.shard);
        }
        for shard in commit.forget {
            self.shards.remove(&shard);
            self.assignments.release(&shard);
            if let Some(of) = self.streams.get_mut(index(shard.stream())) {
                of.lineage.forget(&shard);
                of.forgotten.insert(shard.clone(), Suspicion::new(Moment::default(), Moment::default()));
            }
            effects.push(Effect::Notice(Notice::Forgotten { shard }));
        }
        self.stirred = true;
    }

    fn finished(&mut self, id: &ShardId) {
        self.shards.update(id, |shard| shard.stage = Stage::Finished);
        self.assignments.release(id);
        let Some(of) = self.streams.get_mut(index(id.stream())) else { return };
        of.ends.remove(id);
        let children: Vec<ShardId> = of.lineage.children(id).cloned().collect();
        children.into_iter().for_each(|child| self.look(child));
    }

    /// Whether a row is to be made or an end to be told: the next commit says so, and it is due.
    fn has_urgent(&mut self) -> bool {
        let mut urgent = false;
        for id in mem::take(&mut self.commits.urgent) {
            let Some(shard) = self.shards.get(&id) else { continue };
            let row = self.rows.get(&id);
            let awaited = |row: &ShardRow| self.end_is_ready(&id, &shard.stage) || shard.is_lost_beyond(&row.position);
            if row.is_none_or(awaited) {
                urgent = true;
                self.commits.changed.insert(id);
            }
        }
        urgent
    }

    fn new_row(&self, id: &ShardId, shard: &Shard) -> ShardRow {
        let lineage = self.lineage(id);
        ShardRow {
            shard: id.clone(),
            parents: lineage.into_iter().flat_map(|lineage| lineage.parents(id)).cloned().collect(),
            children: lineage.into_iter().flat_map(|lineage| lineage.children(id)).cloned().collect(),
            range: lineage.and_then(|lineage| lineage.range(id)),
            position: shard.start.clone(),
            watermark: None,
            // What arrived before the configured time is nobody's.
            complete_until: match shard.start {
                Position::AtTimestamp(at) => Some(at),
                Position::TrimHorizon | Position::After { .. } | Position::ShardEnd => self.completeness_at_birth(id),
            },
            finished_at: None,
        }
    }

    fn advance(&self, row: &ShardRow, shard: &Shard, wall: EpochMillis) -> Option<Advance> {
        let id = &row.shard;
        let session = shard.session();
        let ended = self.end_is_ready(id, &shard.stage);
        let to = if ended { Position::ShardEnd } else { session?.ledger.position().clone() };
        let complete_until = session.and_then(|session| session.complete_until);
        let moved = to.is_past(&row.position);
        let stays = !moved && to == row.position && !to.is_end();
        let later = || gap::is_worth_keeping(row.complete_until, complete_until, self.retention(id));
        (moved || (stays && later())).then(|| Advance {
            shard: id.clone(),
            from: row.position.clone(),
            to,
            children: self.lineage(id).into_iter().flat_map(|lineage| lineage.children(id)).cloned().collect(),
            watermark: session.and_then(|session| session.watermark.value()),
            complete_until,
            finished_at: ended.then_some(wall),
        })
    }

    /// Finished shards of a stream that its last full listing lacked.
    pub(super) fn forgettable(&self, stream: u32, wall: EpochMillis) -> Vec<ShardId> {
        let finished = self.shards.of_stream(stream).filter(|(_, shard)| matches!(shard.stage, Stage::Finished));
        finished.filter(|(id, _)| self.may_forget(id, wall)).map(|(id, _)| id.clone()).collect()
    }

    /// A finished shard that no listing will repeat: gone from the last one, past retention, and nobody asks for it.
    fn may_forget(&self, id: &ShardId, wall: EpochMillis) -> bool {
        let (Some(row), Some(of)) = (self.rows.get(id), self.streams.get(index(id.stream()))) else { return false };
        let retention = i64::try_from(of.settings.retention.as_millis()).unwrap_or(i64::MAX);
        let expired = row.finished_at.is_some_and(|at| at.0.saturating_add(retention) <= wall.0);
        // A child that waits would take its parent for missing; one without a row would be unknown after a crash.
        // One that is not as complete as its parent would no longer know what it may have lost.
        let is_begun = |child: &ShardId| {
            self.rows.get(child).is_some_and(|child| child.complete_until >= row.complete_until)
                && self.shards.get(child).is_some_and(|shard| !matches!(shard.stage, Stage::Waiting))
        };
        row.position.is_end()
            && expired
            && !of.lineage.is_listed(id)
            && of.discovery.has_answered(1)
            && !of.lineage.is_investigating()
            // Parents first: one that is known while its child is not tells of a child that nobody knew.
            && !of.lineage.parents(id).any(|parent| self.rows.contains_key(parent))
            && of.lineage.children(id).all(is_begun)
    }
}
