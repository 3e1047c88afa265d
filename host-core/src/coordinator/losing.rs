//! A subtask is lost: an instance that cannot be mended, a lane that panicked.
//!
//! What it had delivered is confirmed by receipts that came before. What it held is read again, from the confirmed
//! positions, and only once they are durable: a shard is opened on the strength of its row and of nothing else. Its place
//! in the family does not change, nor does its watermark, and the subtask it belongs to is the one that comes back.
//!
//! The sessions are over at once. Their readers are told to stop, and nobody waits for their answers: whatever they still
//! report belongs to a session that is no more.

use std::mem;

use super::finishing::Mode;
use super::session::{Session, Stage};
use super::{Coordinator, Effect};
use crate::shard::ShardId;

impl Coordinator {
    pub(super) fn subtask_lost(&mut self, subtask: u32, effects: &mut Vec<Effect>) {
        let next = if self.mode == Mode::Running { Stage::Lost } else { Stage::Closed };
        let shards: Vec<ShardId> = self.assignments.shards(subtask).cloned().collect();
        for id in shards {
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            if let Stage::Reading(session) = &shard.stage {
                effects.push(Effect::Close { shard: id.clone(), session: session.id });
            }
            shard.stage = lose(mem::replace(&mut shard.stage, Stage::Waiting), next);
            self.to_settle.insert(id.clone());
            self.to_open.insert(id.clone());
            self.note_if_urgent(&id);
        }
        self.look_again = true;
        self.commits.note_change();
    }
}

/// A session that needs nothing more of its subtask stays as it is.
fn lose(stage: Stage, next: fn(Session) -> Stage) -> Stage {
    match stage {
        Stage::Reading(session) | Stage::Closing(session) => next(session.lost()),
        Stage::Ending(session, _) | Stage::CaughtUp(session) | Stage::Closed(session) | Stage::Missing(session, _)
            if !session.ledger.is_settled() =>
        {
            next(session.lost())
        }
        Stage::Waiting
        | Stage::Ending(..)
        | Stage::CaughtUp(_)
        | Stage::Closed(_)
        | Stage::Lost(_)
        | Stage::Missing(..)
        | Stage::Gone
        | Stage::Finished => stage,
    }
}
