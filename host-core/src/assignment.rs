//! Which subtask reads a shard.
//!
//! A shard gets its subtask when it is first about to be opened and keeps it until it is finished or forgotten: a lost
//! subtask comes back under its number. Assignments are not durable. Positions say all that a restart needs to know, so
//! every run assigns afresh, and another `parallelism` spreads all shards anew.
//!
//! There are three policies. *Uniform* looks at nothing but the shard: its place in the key space, turned by one subtask per
//! stream, because equal slices of several streams often carry the same keys and would all meet on one subtask. It is
//! blind to load. *Fewest* counts shards, those that got their subtask a moment ago included. A *component* decides for
//! itself; what it answers is checked, and whenever it does not answer as it should, uniform decides in its place, so that
//! no shard waits for a component's sake.
//!
//! The standard library's hashers are no choice: their algorithm is not promised to stay.

mod rounds;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::rounds::Rounds;
use crate::coordinator::{AssignerPolicy, Placement, Round};
use crate::moment::Moment;
use crate::shard::{HashRange, ShardId};

/// How long a component may take for one round, a fresh instance included. Its own limits stop it sooner and say why; this
/// is for what they do not see.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// In how many rounds a component may leave a shard without a decision.
pub const ROUNDS_WITHOUT_DECISION: u32 = 3;

/// Who reads what in one run (ASN-1).
#[derive(Clone, Debug)]
pub struct Assignments {
    policy: AssignerPolicy,
    parallelism: u32,
    places: BTreeMap<ShardId, u32>,
    /// The same by subtask; no entry for one without shards.
    shards: BTreeMap<u32, BTreeSet<ShardId>>,
    rounds: Rounds,
}

/// What came of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Shards that have a subtask now.
    pub assigned: Vec<ShardId>,
    /// Why the component did not decide for all of them itself.
    pub overruled: Option<String>,
}

impl Assignments {
    /// Nobody has a subtask. `parallelism` is at least 1 (0 is taken as 1); a component is asked again for a shard that it
    /// left out after `again_after`.
    #[must_use]
    pub fn new(policy: AssignerPolicy, parallelism: u32, again_after: Duration) -> Self {
        Self {
            policy,
            parallelism: parallelism.max(1),
            places: BTreeMap::new(),
            shards: BTreeMap::new(),
            rounds: Rounds::new(again_after),
        }
    }

    /// Whose the shard is.
    #[must_use]
    pub fn subtask(&self, shard: &ShardId) -> Option<u32> {
        self.places.get(shard).copied()
    }

    /// What is `subtask`'s.
    pub fn shards(&self, subtask: u32) -> impl Iterator<Item = &ShardId> {
        self.shards.get(&subtask).into_iter().flatten()
    }

    /// Whose the shard is from now on. `None` while a component has to be asked: see [`Self::ask`]. Asking again changes
    /// nothing.
    pub fn assign(&mut self, now: Moment, shard: &ShardId, range: Option<HashRange>) -> Option<u32> {
        if let Some(subtask) = self.subtask(shard) {
            return Some(subtask);
        }
        let subtask = match self.policy {
            AssignerPolicy::Uniform => uniform(shard, range, self.parallelism),
            AssignerPolicy::Fewest => self.least_loaded(),
            AssignerPolicy::Component => {
                self.rounds.offer(now, shard, range);
                return None;
            }
        };
        self.put(shard, subtask);
        Some(subtask)
    }

    /// The shard is finished or forgotten: its place is free.
    pub fn release(&mut self, shard: &ShardId) {
        self.rounds.withdraw(shard);
        let Some(subtask) = self.places.remove(shard) else { return };
        if let Some(shards) = self.shards.get_mut(&subtask) {
            shards.remove(shard);
            if shards.is_empty() {
                self.shards.remove(&subtask);
            }
        }
    }

    /// The next question to the component, if there is one and none is out. `is_pending` says of a shard that has a subtask
    /// whether it is not read right now.
    pub fn ask(&mut self, now: Moment, is_pending: impl Fn(&ShardId) -> bool) -> Option<Round> {
        let (round, unassigned) = self.rounds.ask(now)?;
        let placement = |(shard, subtask): (&ShardId, &u32)| Placement {
            shard: shard.clone(),
            subtask: *subtask,
            pending: is_pending(shard),
        };
        Some(Round { round, unassigned, current: self.places.iter().map(placement).collect() })
    }

    /// Takes in the component's answer. One to another round than the one that is out changes nothing.
    pub fn answered(&mut self, now: Moment, round: u64, answer: Result<Vec<(ShardId, u32)>, String>) -> Outcome {
        let Some(asked) = self.rounds.take(round) else { return Outcome::default() };
        let decisions = answer.and_then(|decisions| rounds::check(&asked, decisions, self.parallelism));
        match decisions {
            Ok(decisions) => self.take_decisions(now, &decisions),
            Err(why) => self.overrule(asked, why),
        }
    }

    /// Gives a round up that is out for too long: an answer that comes later is one to an old round.
    pub fn give_up(&mut self, now: Moment) -> Outcome {
        match self.rounds.take_overdue(now) {
            Some(asked) => self.overrule(asked, format!("it gave no answer within {} s", ANSWER_WITHIN.as_secs())),
            None => Outcome::default(),
        }
    }

    /// When to look at [`Self::give_up`] or [`Self::ask`] again.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.rounds.deadline()
    }

    fn take_decisions(&mut self, now: Moment, decisions: &BTreeMap<ShardId, Option<u32>>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut tired_of = Vec::new();
        for (shard, decision) in decisions {
            match decision {
                Some(subtask) if self.rounds.withdraw(shard).is_some() => {
                    self.put(shard, *subtask);
                    outcome.assigned.push(shard.clone());
                }
                // It is gone since the question.
                Some(_) => {}
                None if self.rounds.offer_again(now, shard) => {}
                None => tired_of.push(shard.clone()),
            }
        }
        if let Some(first) = tired_of.first() {
            let why =
                format!("it left {} shards out of {ROUNDS_WITHOUT_DECISION} rounds, {first} first", tired_of.len());
            let overruled = self.overrule(tired_of, why);
            outcome.overruled = overruled.overruled;
            outcome.assigned.extend(overruled.assigned);
        }
        outcome
    }

    fn overrule(&mut self, shards: impl IntoIterator<Item = ShardId>, why: String) -> Outcome {
        let mut assigned = Vec::new();
        for shard in shards {
            let Some(range) = self.rounds.withdraw(&shard) else { continue };
            self.put(&shard, uniform(&shard, range, self.parallelism));
            assigned.push(shard);
        }
        Outcome { overruled: Some(why), assigned }
    }

    fn put(&mut self, shard: &ShardId, subtask: u32) {
        self.places.insert(shard.clone(), subtask);
        self.shards.entry(subtask).or_default().insert(shard.clone());
    }

    /// The lowest of those with the fewest shards.
    fn least_loaded(&self) -> u32 {
        let free = (0..self.parallelism).find(|subtask| !self.shards.contains_key(subtask));
        let least = || self.shards.iter().min_by_key(|(_, shards)| shards.len()).map_or(0, |(subtask, _)| *subtask);
        free.unwrap_or_else(least)
    }
}

/// The uniform policy's subtask, below `parallelism` (0 is taken as 1): the place of the range's midpoint in the key space,
/// `floor(midpoint * parallelism / 2^128)`, exactly; without a range, the id's hash modulo `parallelism`. Both are turned by
/// the index of the shard's stream.
#[must_use]
pub fn uniform(shard: &ShardId, range: Option<HashRange>, parallelism: u32) -> u32 {
    let subtasks = parallelism.max(1);
    let base = match range {
        Some(range) => scale(midpoint(range), u128::from(subtasks)),
        None => u128::from(fnv1a(shard.as_str().as_bytes()) % u64::from(subtasks)),
    };
    let turned = (base + u128::from(shard.stream())) % u128::from(subtasks);
    u32::try_from(turned).expect("a fraction of a 32-bit number fits into 32 bits")
}

const fn midpoint(range: HashRange) -> u128 {
    // The sum of both ends has 129 bits.
    range.start / 2 + range.end / 2 + (range.start & range.end & 1)
}

/// `floor(key * n / 2^128)` for `n < 2^32`. The product has 160 bits, so it is made of two halves.
const fn scale(key: u128, n: u128) -> u128 {
    let high = (key >> 64) * n;
    let low = (key & u64::MAX as u128) * n;
    (high + (low >> 64)) >> 64
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
