//! Subtasks for shards that may be opened.

use super::session::Stage;
use super::{Coordinator, Effect, Notice};
use crate::assignment::Outcome;
use crate::moment::Moment;
use crate::shard::ShardId;

impl Coordinator {
    /// The component's answer.
    pub(super) fn assigned(
        &mut self,
        now: Moment,
        round: u64,
        answer: Result<Vec<(ShardId, u32)>, String>,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = self.assignments.answered(now, round, answer);
        self.take_assignments(outcome, effects);
    }

    /// A component that says nothing keeps no shard waiting.
    pub(super) fn give_up_assigner(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let outcome = self.assignments.give_up(now);
        self.take_assignments(outcome, effects);
    }

    /// Asks the component about everything that waits for its word and may be asked about now.
    pub(super) fn ask_assigner(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let is_pending = |shard: &ShardId| {
            self.shards.get(shard).is_none_or(|shard| matches!(shard.stage, Stage::Waiting | Stage::Lost(_)))
        };
        effects.extend(self.assignments.ask(now, is_pending).map(Effect::Assign));
    }

    fn take_assignments(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        outcome.assigned.into_iter().for_each(|shard| self.look(shard));
        effects.extend(outcome.overruled.map(|why| Effect::Notice(Notice::AssignerOverruled { why })));
    }
}
