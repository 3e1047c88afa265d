//! How a run ends: by itself, by a drain, or by giving up on what is outstanding.

use std::collections::BTreeSet;

use super::session::{Shard, Stage};
use super::stream::Stream;
use super::vanishing::index;
use super::{Coordinator, Effect};
use crate::moment::{EpochMillis, Moment};
use crate::shard::ShardId;

/// What the run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Reading.
    Running,
    /// Reading no more; waiting for readers and receipts.
    Draining,
    /// Waiting for nothing but the commit that is out.
    Abandoning,
    /// The last commit is out.
    Closing,
    /// Over.
    Finished,
}

impl Coordinator {
    pub(super) fn drain(&mut self, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Running {
            self.mode = Mode::Draining;
            self.close_all(effects);
        }
    }

    pub(super) fn abandon(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.mode, Mode::Running | Mode::Draining) {
            self.mode = Mode::Abandoning;
            self.close_all(effects);
        }
    }

    /// Issues commits while the run lasts, and the last one, and [`Effect::Finished`].
    pub(super) fn finish(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) {
        let over = match self.mode {
            Mode::Running => self.settings.until_caught_up && self.stirred && self.is_caught_up(),
            Mode::Draining => self.is_drained(),
            Mode::Abandoning | Mode::Closing => true,
            Mode::Finished => return,
        };
        if !over {
            self.commit_if_due(now, wall, effects);
        } else if self.commits.is_out() {
            // Its answer comes back here. A run that is caught up looks again then.
        } else if self.mode != Mode::Closing && self.commit(now, wall, effects) {
            self.mode = Mode::Closing;
        } else {
            self.mode = Mode::Finished;
            effects.push(Effect::Finished);
        }
    }

    fn close_all(&mut self, effects: &mut Vec<Effect>) {
        let is_read = |(_, shard): &(&ShardId, &Shard)| matches!(shard.stage, Stage::Reading(_));
        let reading: Vec<ShardId> = self.shards.iter().filter(is_read).map(|(id, _)| id.clone()).collect();
        for id in reading {
            let session = self.shards.get(&id).and_then(Shard::session).map_or(0, |session| session.id);
            self.shards.update(&id, |shard| shard.stop_reading(Stage::Closing));
            effects.push(Effect::Close { shard: id, session });
        }
        self.stirred = true;
    }

    /// No reader is open, and everything read is confirmed.
    fn is_drained(&self) -> bool {
        let census = self.shards.census();
        census.reading == 0 && census.closing == 0 && census.unsettled == 0
    }

    /// Everything up to the end fixed at the start is confirmed, and no listing is owed that could show more.
    fn is_caught_up(&self) -> bool {
        let census = self.shards.census();
        let busy = census.reading + census.ending + census.closing + census.closed + census.reopening;
        busy == 0
            && census.unsettled == 0
            && self.streams.iter().all(Stream::is_settled)
            && (census.waiting + census.gone == 0 || self.all_waiting_lie_beyond())
    }

    /// Fixes which shards the run reads to their ends. A child exists only once its parent is closed; the listing's own
    /// word on that is a hint, and a shard wrongly taken as closed would be waited for without end. A parent that this
    /// listing lacks counts, for it may turn up. One that is closed and whose children it lacks was closed a moment ago, and is read like an open one.
    pub(super) fn note_closed_at_start(&mut self, stream: u32) {
        let of = self.streams.get_mut(index(stream)).filter(|of| of.closed_at_start.is_none());
        let Some(of) = of.filter(|_| self.settings.until_caught_up) else { return };
        let known: Vec<ShardId> = self.shards.of_stream(stream).map(|(id, _)| id.clone()).collect();
        of.closed_at_start = Some(known.iter().flat_map(|id| of.lineage.parents(id)).cloned().collect());
        known.into_iter().for_each(|id| self.look(id));
    }

    /// A run until caught up opens nothing before its first full listing.
    pub(super) fn knows_whether_closed(&self, id: &ShardId) -> bool {
        let is_noted = |of: &Stream| of.closed_at_start.is_some();
        !self.settings.until_caught_up || self.streams.get(index(id.stream())).is_some_and(is_noted)
    }

    pub(super) fn was_closed(&self, id: &ShardId) -> bool {
        let closed = self.streams.get(index(id.stream())).and_then(|of| of.closed_at_start.as_ref());
        closed.is_some_and(|closed| closed.contains(id))
    }

    /// A descendant of a shard that is caught up holds only records from after the run's end: a reader catches up only in
    /// a shard that was open when the run began, or with a start that lies ahead. One that is gone waits for the ends of those
    /// before it too.
    fn all_waiting_lie_beyond(&self) -> bool {
        let caught_up = self.shards.iter().filter(|(_, shard)| matches!(shard.stage, Stage::CaughtUp(_)));
        let mut beyond: BTreeSet<&ShardId> = BTreeSet::new();
        let mut fringe: Vec<&ShardId> = caught_up.map(|(id, _)| id).collect();
        while let Some(id) = fringe.pop() {
            let children = self.lineage(id).into_iter().flat_map(|lineage| lineage.children(id));
            fringe.extend(children.filter(|child| beyond.insert(*child)));
        }
        self.shards.iter().all(|(id, shard)| match &shard.stage {
            Stage::Waiting | Stage::Gone(..) => beyond.contains(id),
            Stage::Lost(_) => false,
            Stage::Reading(_)
            | Stage::Ending(..)
            | Stage::CaughtUp(_)
            | Stage::Closing(_)
            | Stage::Closed(_)
            | Stage::Reopening(..)
            | Stage::Finished => true,
        })
    }
}
