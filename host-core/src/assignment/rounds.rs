//! Questions to a component that assigns: which shards wait for its word, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{ANSWER_WITHIN, ROUNDS_WITHOUT_DECISION};
use crate::moment::Moment;
use crate::shard::{HashRange, ShardId};

/// Shards without a subtask, and the one question that is out.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    again_after: Duration,
    issued: u64,
    offers: BTreeMap<ShardId, Offer>,
    /// The offers that are not in the question, by the moment from which they may be in one.
    due: BTreeSet<(Moment, ShardId)>,
    out: Option<Question>,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    range: Option<HashRange>,
    due: Moment,
    /// Answered rounds that left it out.
    left_out: u32,
}

#[derive(Clone, Debug)]
struct Question {
    round: u64,
    shards: BTreeSet<ShardId>,
    until: Moment,
}

impl Rounds {
    pub(super) const fn new(again_after: Duration) -> Self {
        Self { again_after, issued: 0, offers: BTreeMap::new(), due: BTreeSet::new(), out: None }
    }

    /// A shard needs a subtask, from now on.
    pub(super) fn offer(&mut self, now: Moment, shard: &ShardId, range: Option<HashRange>) {
        if !self.offers.contains_key(shard) {
            self.offers.insert(shard.clone(), Offer { range, due: now, left_out: 0 });
            self.due.insert((now, shard.clone()));
        }
    }

    /// A shard needs a subtask no longer. Returns its range if it did.
    pub(super) fn withdraw(&mut self, shard: &ShardId) -> Option<Option<HashRange>> {
        let offer = self.offers.remove(shard)?;
        self.due.remove(&(offer.due, shard.clone()));
        Some(offer.range)
    }

    /// An answer left a shard out. Says whether it is offered again; if not, somebody else must decide.
    pub(super) fn offer_again(&mut self, now: Moment, shard: &ShardId) -> bool {
        let Some(offer) = self.offers.get_mut(shard) else { return true };
        offer.left_out += 1;
        if offer.left_out >= ROUNDS_WITHOUT_DECISION {
            return false;
        }
        offer.due = now + self.again_after;
        self.due.insert((offer.due, shard.clone()));
        true
    }

    /// The next round and its shards, all that may be in it.
    pub(super) fn ask(&mut self, now: Moment) -> Option<(u64, Vec<ShardId>)> {
        if self.out.is_some() || self.due.first().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let mut shards = BTreeSet::new();
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let (_, shard) = self.due.pop_first().expect("the entry just looked at");
            shards.insert(shard);
        }
        self.issued += 1;
        let asked = shards.iter().cloned().collect();
        self.out = Some(Question { round: self.issued, shards, until: now + ANSWER_WITHIN });
        Some((self.issued, asked))
    }

    /// The shards of `round`, if that is the one that is out; then it is out no longer.
    pub(super) fn take(&mut self, round: u64) -> Option<BTreeSet<ShardId>> {
        self.out.take_if(|question| question.round == round).map(|question| question.shards)
    }

    /// The shards of the round that is out for too long.
    pub(super) fn take_overdue(&mut self, now: Moment) -> Option<BTreeSet<ShardId>> {
        self.out.take_if(|question| question.until <= now).map(|question| question.shards)
    }

    /// When the question that is out is overdue, or else when the next one may be asked.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match &self.out {
            Some(question) => Some(question.until),
            None => self.due.first().map(|(due, _)| *due),
        }
    }
}

/// What an answer says of each shard that was asked for. In an error the subject is the component.
pub(super) fn check(
    asked: &BTreeSet<ShardId>,
    decisions: Vec<(ShardId, u32)>,
    parallelism: u32,
) -> Result<BTreeMap<ShardId, Option<u32>>, String> {
    let mut checked: BTreeMap<ShardId, Option<u32>> = asked.iter().map(|shard| (shard.clone(), None)).collect();
    for (shard, subtask) in decisions {
        if subtask >= parallelism {
            return Err(format!("it gave shard {shard} to subtask {subtask}, and there are {parallelism}, from 0"));
        }
        match checked.get_mut(&shard) {
            None => return Err(format!("it decided on shard {shard}, which it was not asked for")),
            Some(Some(_)) => return Err(format!("it decided on shard {shard} twice")),
            Some(decision) => *decision = Some(subtask),
        }
    }
    Ok(checked)
}
