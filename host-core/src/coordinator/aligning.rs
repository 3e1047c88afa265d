//! The watermark over all shards, and who runs too far ahead of the others.
//!
//! Both visit every shard, and events come by the thousand: so it happens at an interval ([`alignment::interval`]), and
//! while somebody is paused also when nothing else happens.

use super::finishing::Mode;
use super::session::{Shard, Stage};
use super::{Coordinator, Effect};
use crate::alignment::{self, Least};
use crate::moment::{EpochMillis, Moment};
use crate::shard::ShardId;

/// When watermarks are compared next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    due: Moment,
    /// Whether the last one left somebody paused.
    someone_paused: bool,
}

impl Comparison {
    pub(super) const fn new(now: Moment) -> Self {
        Self { due: now, someone_paused: false }
    }

    /// Who is paused cannot bring about anything by itself.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.someone_paused.then_some(self.due)
    }
}

impl Coordinator {
    /// Raises the watermark; pauses and resumes readers.
    pub(super) fn compare_watermarks(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if now < self.comparison.due {
            return;
        }
        self.comparison.due = now + alignment::interval(self.shards.len());
        let mut watermark = self.watermark;
        watermark.raise(self.shards.iter().filter_map(|(id, shard)| self.holding(now, id, shard)));
        self.watermark = watermark;
        if self.mode == Mode::Running {
            self.align(now, effects);
        }
    }

    fn align(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(max_drift) = self.settings.max_drift else { return };
        let waited_for = self.shards.iter().filter_map(|(id, shard)| self.waited_for(now, id, shard));
        let least = waited_for.fold(Least::default(), Least::and);
        let mut turns = Vec::new();
        self.comparison.someone_paused = false;
        for (id, shard) in self.shards.iter() {
            let Stage::Reading(session) = &shard.stage else { continue };
            let pause = least.is_left_behind_by(session.watermark.value(), max_drift);
            self.comparison.someone_paused |= pause;
            if pause != session.is_paused() {
                turns.push((id.clone(), session.id, pause));
            }
        }
        for (shard, session, pause) in turns {
            self.with_session(&shard, session, |open| if pause { open.pause(now) } else { open.resume(now) });
            let turn = if pause { Effect::Pause { shard, session } } else { Effect::Resume { shard, session } };
            effects.push(turn);
        }
    }

    /// Where a shard holds the watermark over all shards, if it does.
    fn holding(&self, now: Moment, id: &ShardId, shard: &Shard) -> Option<Option<EpochMillis>> {
        match &shard.stage {
            Stage::Finished | Stage::Gone(None, _) => None,
            Stage::Waiting => (!self.waits_for_parent(id)).then(|| self.inherited_watermark(id)),
            Stage::Lost(session) => Some(session.watermark.holding()),
            Stage::Reading(session)
            | Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closing(session)
            | Stage::Closed(session)
            | Stage::Reopening(session, _)
            | Stage::Gone(Some(session), _) => {
                // What a lost subtask held is still to come, however silent the shard is.
                let owes = session.watermark.is_in_flight();
                let idle = session.is_idle(now, self.settings.idle_after) && !owes;
                (!idle).then(|| session.watermark.holding())
            }
        }
    }

    /// The watermark of a shard that others must not run far ahead of.
    fn waited_for(&self, now: Moment, id: &ShardId, shard: &Shard) -> Option<Option<EpochMillis>> {
        let idle_after = self.settings.idle_after;
        match &shard.stage {
            Stage::Finished | Stage::Gone(..) => None,
            Stage::Waiting => {
                let soon = now.since(shard.known_at) < idle_after && !self.waits_for_parent(id);
                soon.then(|| self.inherited_watermark(id))
            }
            Stage::Lost(session) => Some(session.watermark.value()),
            // It brings nothing more in this run, or nothing ever.
            Stage::CaughtUp(session) if session.ledger.is_settled() => None,
            Stage::Ending(session, _) if session.ledger.is_settled() && session.watermark.value().is_none() => None,
            Stage::Reading(session)
            | Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closing(session)
            | Stage::Closed(session)
            | Stage::Reopening(session, _) => session.is_waited_for(now, idle_after).then(|| session.watermark.value()),
        }
    }

    /// A parent that is still read speaks for its children.
    fn waits_for_parent(&self, shard: &ShardId) -> bool {
        self.parents(shard).any(|parent| self.is_unfinished(parent))
    }
}
