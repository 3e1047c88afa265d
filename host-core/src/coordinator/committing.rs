//! Commits: what goes into the next one, and what its answer changes.
//!
//! Every commit holds everything that may become durable at that moment. That is not only simple: a sink's mark covers
//! the records of all shards, so a mark without all positions, or the other way round, would be a lie.

use std::collections::BTreeMap;
use std::mem;

use super::session::{Shard, Stage};
use super::{Coordinator, Effect, Notice};
use crate::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use crate::moment::{EpochMillis, Moment};
use crate::shard::{Position, ShardId};

/// The commit that is out, and when the next is due.
#[derive(Clone, Debug)]
pub(super) struct Commits {
    /// Commits issued so far.
    issued: u64,
    out: Option<Commit>,
    due: Moment,
    /// Something may have changed since the last commit was built.
    changed: bool,
    /// Newest marks since then. The newest is the largest: a mark must cover every position it travels with, and one that
    /// covers more costs a repetition at worst.
    marks: BTreeMap<u32, u64>,
}

impl Commits {
    pub(super) const fn new(due: Moment) -> Self {
        Self { issued: 0, out: None, due, changed: false, marks: BTreeMap::new() }
    }

    pub(super) const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.changed && !self.is_out()).then_some(self.due)
    }

    pub(super) const fn note_change(&mut self) {
        self.changed = true;
    }

    pub(super) fn keep_marks(&mut self, marks: Vec<SinkMark>) {
        for SinkMark { sink, mark } in marks {
            let newest = self.marks.entry(sink).or_default();
            *newest = mark.max(*newest);
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        self.changed && now >= self.due
    }
}

impl Coordinator {
    /// Issues a commit if one is due: at once for new rows and for ends, at the interval for progress.
    pub(super) fn commit_if_due(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) {
        if self.commits.is_out() {
            return;
        }
        if self.commits.is_due(now) || self.urgent || !self.unrecorded.is_empty() {
            self.commit(now, wall, effects);
        }
    }

    /// Issues a commit of all there is. Says whether there was anything.
    pub(super) fn commit(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) -> bool {
        self.commits.due = now + self.settings.checkpoint_interval;
        self.commits.changed = false;
        self.urgent = false;
        let mut commit = Commit { forget: self.forgettable(wall), ..Commit::default() };
        let changed = mem::take(&mut self.to_commit);
        for (id, shard) in changed.iter().filter_map(|id| self.shards.get_key_value(id)) {
            match self.rows.get(id) {
                None => commit.create.push(self.new_row(id, shard)),
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
        for row in &commit.create {
            self.unrecorded.remove(&row.shard);
            self.to_open.insert(row.shard.clone());
            // Its end may have been read before its row was there.
            self.note_if_urgent(&row.shard);
        }
        for advance in commit.advance {
            if advance.to.is_end() {
                self.finished(advance.shard);
            } else if self.to_settle.contains(&advance.shard) {
                self.to_open.insert(advance.shard);
            }
        }
        for shard in commit.forget {
            self.shards.remove(&shard);
            self.stream_mut(&shard).lineage.forget(&shard);
            self.assignments.release(&shard);
            effects.push(Effect::Notice(Notice::Forgotten { shard }));
        }
        self.look_again = true;
    }

    /// A shard's end is durable: its children may be read.
    fn finished(&mut self, id: ShardId) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.stage = Stage::Finished;
        }
        self.assignments.release(&id);
        self.to_settle.remove(&id);
        let children: Vec<ShardId> = self.lineage(&id).children(&id).cloned().collect();
        self.to_open.extend(children);
    }

    /// Has a commit issued at once if this shard has something that others wait for: an end, or a place to be opened
    /// again at.
    pub(super) fn note_if_urgent(&mut self, id: &ShardId) {
        let (Some(shard), Some(row)) = (self.shards.get(id), self.rows.get(id)) else { return };
        if self.end_is_ready(id, shard) || shard.is_lost_beyond(&row.position) {
            self.urgent = true;
            self.to_commit.insert(id.clone());
        }
    }

    /// Read to its end, all of it confirmed, and its children known (LIN-1, DEL-1).
    fn end_is_ready(&self, id: &ShardId, shard: &Shard) -> bool {
        match &shard.stage {
            Stage::Ending(session, end) => {
                session.ledger.is_settled() && (end.settled || self.lineage(id).children_cover(id))
            }
            Stage::Waiting
            | Stage::Reading(_)
            | Stage::CaughtUp(_)
            | Stage::Closing(_)
            | Stage::Closed(_)
            | Stage::Lost(_)
            | Stage::Missing(..)
            | Stage::Finished => false,
            Stage::Gone => true,
        }
    }

    fn new_row(&self, id: &ShardId, shard: &Shard) -> ShardRow {
        ShardRow {
            shard: id.clone(),
            parents: self.lineage(id).parents(id).cloned().collect(),
            children: self.lineage(id).children(id).cloned().collect(),
            range: self.lineage(id).range(id),
            position: shard.start.clone(),
            watermark: None,
            complete_until: None,
            finished_at: None,
        }
    }

    fn advance(&self, row: &ShardRow, shard: &Shard, wall: EpochMillis) -> Option<Advance> {
        let ended = self.end_is_ready(&row.shard, shard);
        let session = shard.session();
        let to = match session {
            _ if ended => Position::ShardEnd,
            Some(session) if session.ledger.position().is_past(&row.position) => session.ledger.position().clone(),
            Some(_) | None => row.position.clone(),
        };
        let advance = Advance {
            shard: row.shard.clone(),
            from: row.position.clone(),
            to,
            children: self.lineage(&row.shard).children(&row.shard).cloned().collect(),
            watermark: session.and_then(|session| session.watermark.value()),
            complete_until: session.and_then(|session| session.complete_until),
            finished_at: ended.then_some(wall),
        };
        advance.is_forward(row).then_some(advance)
    }

    /// Finished shards that no listing will repeat: gone from the last one, past retention, and nobody asks for them.
    fn forgettable(&mut self, wall: EpochMillis) -> Vec<ShardId> {
        let mut forgettable = Vec::new();
        for index in 0..self.streams.len() {
            // Only a full listing makes shards forgettable, and it comes around again.
            if mem::take(&mut self.streams[index].may_forget) {
                forgettable.extend(self.forgettable_of(index, wall));
            }
        }
        forgettable
    }

    fn forgettable_of(&self, index: usize, wall: EpochMillis) -> impl Iterator<Item = ShardId> {
        let stream = &self.streams[index];
        let retention = i64::try_from(stream.retention.as_millis()).unwrap_or(i64::MAX);
        let expired =
            move |row: &ShardRow| row.finished_at.is_some_and(|at| at.0.saturating_add(retention) <= wall.0);
        // A child that waits would take its parent for missing; one without a row would be unknown after a crash.
        let is_begun = |child: &ShardId| {
            self.rows.contains_key(child)
                && self.shards.get(child).is_some_and(|shard| !matches!(shard.stage, Stage::Waiting))
        };
        let rows = self.rows.values().filter(move |row| row.shard.stream() as usize == index);
        rows.filter(move |row| row.position.is_end() && expired(row) && !stream.lineage.is_listed(&row.shard))
            .filter(move |row| stream.lineage.children(&row.shard).all(is_begun))
            .map(|row| row.shard.clone())
    }
}
