//! A subtask is lost: an instance that cannot be mended, a lane that panicked.
//!
//! What it had delivered is confirmed by receipts that came before. What it held is read again, from the confirmed
//! positions, and only once they are durable: a shard is opened on the strength of its row and of nothing else. Its place
//! in the family does not change, nor does its watermark, and the subtask it belongs to is the one that comes back.
//!
//! The sessions are over at once. Their readers are told to stop, and nobody waits for their answers: whatever they still
//! report belongs to a session that is no more. A run that is about to end opens nothing again and waits for nothing of
//! what is lost: the next run reads it.

use std::mem;

use super::session::Stage;
use super::{Coordinator, Effect};
use crate::shard::ShardId;

impl Coordinator {
    pub(super) fn subtask_lost(&mut self, subtask: u32, effects: &mut Vec<Effect>) {
        let shards: Vec<ShardId> = self.assignments.shards(subtask).cloned().collect();
        for id in shards {
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            if let Stage::Reading(session) = &shard.stage {
                effects.push(Effect::Close { shard: id, session: session.id });
            }
            shard.stage = lose(mem::replace(&mut shard.stage, Stage::Waiting));
        }
        self.look_again = true;
        self.commits.note_change();
    }
}

/// A session that needs nothing more of its subtask stays as it is.
fn lose(stage: Stage) -> Stage {
    match stage {
        Stage::Reading(session) | Stage::Closing(session) => Stage::Lost(session.lost()),
        Stage::Ending(session, _) | Stage::CaughtUp(session) | Stage::Closed(session)
            if !session.ledger.is_settled() =>
        {
            Stage::Lost(session.lost())
        }
        Stage::Waiting
        | Stage::Ending(..)
        | Stage::CaughtUp(_)
        | Stage::Closed(_)
        | Stage::Lost(_)
        | Stage::Finished => stage,
    }
}
