//! How a run ends: by itself, by a drain, or by giving up on what is outstanding.

use std::collections::BTreeSet;

use super::session::{Shard, Stage};
use super::streams::Stream;
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
            Mode::Running => self.settings.until_caught_up && self.look_again && self.is_caught_up(),
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
        for (id, shard) in &mut self.shards {
            if let Stage::Reading(session) = &shard.stage {
                effects.push(Effect::Close { shard: id.clone(), session: session.id });
                shard.stop_reading(Stage::Closing);
            }
        }
        self.look_again = true;
    }

    fn is_drained(&mut self) -> bool {
        self.all_shards_are(|shard| match &shard.stage {
            Stage::Waiting | Stage::Lost(_) | Stage::Gone | Stage::Finished => true,
            Stage::Reading(_) | Stage::Closing(_) => false,
            Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closed(session)
            | Stage::Missing(session, _) => session.ledger.is_settled(),
        })
    }

    /// Everything up to the end fixed at the start is confirmed, and no listing is owed that could show more.
    fn is_caught_up(&mut self) -> bool {
        self.streams.iter().all(Stream::is_settled)
            && self.all_shards_are(|shard| match &shard.stage {
                Stage::Finished | Stage::Waiting => true,
                Stage::CaughtUp(session) => session.ledger.is_settled(),
                Stage::Reading(_)
                | Stage::Ending(..)
                | Stage::Closing(_)
                | Stage::Closed(_)
                | Stage::Lost(_)
                | Stage::Missing(..)
                | Stage::Gone => false,
            })
            && self.all_waiting_lie_beyond()
    }

    /// Whether `done` holds for every shard. Asked often while shards become done one by one, so it goes on where it found
    /// one that was not, and looks at all of them only when it comes to the last.
    fn all_shards_are(&mut self, done: impl Fn(&Shard) -> bool) -> bool {
        if let Some(hindrance) = &self.hindrance {
            let found = self.shards.range(hindrance..).find(|(_, shard)| !done(shard));
            if let Some((id, _)) = found {
                self.hindrance = Some(id.clone());
                return false;
            }
        }
        self.hindrance = self.shards.iter().find(|(_, shard)| !done(shard)).map(|(id, _)| id.clone());
        self.hindrance.is_none()
    }

    /// A descendant of a shard that is caught up holds only records from after the run's end.
    fn all_waiting_lie_beyond(&self) -> bool {
        let caught_up = self.shards.iter().filter(|(_, shard)| matches!(shard.stage, Stage::CaughtUp(_)));
        let mut beyond: BTreeSet<&ShardId> = BTreeSet::new();
        let mut fringe: Vec<&ShardId> = caught_up.map(|(id, _)| id).collect();
        while let Some(id) = fringe.pop() {
            fringe.extend(self.lineage(id).children(id).filter(|child| beyond.insert(*child)));
        }
        let mut waiting = self.shards.iter().filter(|(_, shard)| matches!(shard.stage, Stage::Waiting));
        waiting.all(|(id, _)| beyond.contains(id))
    }
}
