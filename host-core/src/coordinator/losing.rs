//! A subtask is lost: an instance that cannot be mended, a lane that panicked.
//!
//! What it had delivered is confirmed by receipts that came before. What it held is read again, from the confirmed
//! positions, and only once they are durable: a shard is opened on the strength of its row and of nothing else. Its place
//! in the family does not change, nor does its watermark, and the subtask it belongs to is the one that comes back.
//!
//! The sessions are over at once. Their readers are told to stop, and nobody waits for their answers: whatever they still
//! report belongs to a session that is no more. A run that is about to end opens nothing again and waits for nothing of
//! what is lost: the next run reads it. What is lost of a shard that is gone cannot be read again; its gap told so.

use std::mem;

use super::session::{Shard, Stage};
use super::{Coordinator, Effect};
use crate::shard::ShardId;

impl Coordinator {
    pub(super) fn subtask_lost(&mut self, subtask: u32, effects: &mut Vec<Effect>) {
        let shards: Vec<ShardId> = self.assignments.shards(subtask).cloned().collect();
        for id in shards {
            let open = self.shards.update(&id, lose).flatten();
            self.commits.change(&id);
            self.look(id.clone());
            effects.extend(open.map(|session| Effect::Close { shard: id, session }));
        }
    }
}

/// Ends the shard's session, unless it needs nothing more of its subtask. Returns the session of a reader that is open.
fn lose(shard: &mut Shard) -> Option<u64> {
    let mut open = None;
    shard.stage = match mem::replace(&mut shard.stage, Stage::Waiting) {
        Stage::Reading(session) => {
            open = Some(session.id);
            Stage::Lost(session.lost())
        }
        Stage::Closing(session) => Stage::Lost(session.lost()),
        Stage::Ending(session, _) | Stage::CaughtUp(session) | Stage::Closed(session)
            if !session.ledger.is_settled() =>
        {
            Stage::Lost(session.lost())
        }
        Stage::Reopening(session, reopen) => Stage::Reopening(session.lost(), reopen),
        Stage::Gone(Some(session), _) => Stage::Gone(Some(session.lost()), false),
        stage @ (Stage::Waiting
        | Stage::Ending(..)
        | Stage::CaughtUp(_)
        | Stage::Closed(_)
        | Stage::Lost(_)
        | Stage::Gone(None, _)
        | Stage::Finished) => stage,
    };
    open
}
