//! Subtasks: a component that assigns shards to them, badly, and losses. Random numbers come from dice of their own, so
//! that what else happens in a history does not hang on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use host_core::assignment::{ANSWER_WITHIN, uniform};
use host_core::coordinator::{AssignerPolicy, Event, ReadReport, Round};
use host_core::shard::ShardId;

use crate::dice::Dice;
use crate::faults::Plan;
use crate::oracle::Verdict;
use crate::shell::{History, Item, Process};

/// What subtasks and their alignment are like in one history.
#[derive(Clone, Debug)]
pub(crate) struct Hazards {
    pub(crate) dice: Dice,
    pub(crate) assigner: AssignerPolicy,
    pub(crate) max_drift: Option<Duration>,
    /// The component gives event times.
    pub(crate) event_times: bool,
    /// In each run.
    pub(crate) losses: u64,
    /// How often the component does not answer as it should.
    pub(crate) misconduct: u64,
}

impl Hazards {
    pub(crate) fn draw(seed: u64, plan: &Plan) -> Self {
        let mut dice = Dice::new(seed.rotate_left(32) ^ 0x5eed);
        // Where forgotten shards turn up and are read again, a component that thinks for seconds about each would keep a run
        // from ever being over.
        let policies = [AssignerPolicy::Uniform, AssignerPolicy::Fewest, AssignerPolicy::Component];
        let policies = if plan.listing_repeats > 0 { &policies[..2] } else { &policies };
        Self {
            assigner: policies[dice.index(policies.len())],
            max_drift: dice.percent(50).then(|| Duration::from_millis(dice.between(0, 3_000))),
            event_times: dice.percent(40),
            losses: if dice.percent(40) { dice.between(1, 6) } else { 0 },
            misconduct: if dice.percent(60) { dice.between(10, 100) } else { 0 },
            dice,
        }
    }
}

/// What one life knows of its subtasks.
#[derive(Default)]
pub(crate) struct Subtasks {
    /// Sessions whose subtask is no more: what they hand over vanishes.
    pub(crate) dead: BTreeSet<u64>,
    /// Those of them that the core was told of.
    pub(crate) over: BTreeSet<u64>,
    /// Subtasks that are lost, and the core does not know yet.
    untold: BTreeSet<u32>,
    /// By shard: who read it first in this run.
    placed: BTreeMap<usize, u32>,
    /// What the component decided as it should.
    decided: BTreeMap<ShardId, u32>,
    /// The round that is out, and when it was asked.
    out: Option<(u64, u64)>,
}

impl History {
    pub(crate) fn plan_losses(&mut self) {
        for _ in 0..self.hazards.losses {
            let subtask = u32::try_from(self.hazards.dice.between(0, u64::from(self.plan.parallelism) - 1));
            let at = self.now + self.hazards.dice.between(50, 12_000);
            self.schedule_at(at, self.life, Item::Lose(subtask.expect("small")));
        }
    }

    /// ASN-1: a shard is opened where its policy says, and wherever it was before in this run.
    pub(crate) fn placed(&self, process: &mut Process, shard: usize, session: u64, subtask: u32) -> Verdict {
        let id = &self.world.shards[shard].id;
        if subtask >= self.plan.parallelism {
            return Err(format!("ASN-1: {id} goes to subtask {subtask} of {}", self.plan.parallelism));
        }
        let built_in = uniform(id, self.world.describe(shard).range, self.plan.parallelism);
        let expected = match self.hazards.assigner {
            AssignerPolicy::Uniform => Some(built_in),
            AssignerPolicy::Component => process.subtasks.decided.get(id).copied().or(Some(built_in)),
            AssignerPolicy::Fewest => None,
        };
        if expected.is_some_and(|expected| expected != subtask) {
            return Err(format!("ASN-1: {id} goes to subtask {subtask}, not {expected:?}"));
        }
        let before = process.subtasks.placed.insert(shard, subtask);
        if before.is_some_and(|before| before != subtask) && !self.oracle.has_ended(shard) {
            return Err(format!("ASN-1: {id} moves to subtask {subtask} within a run"));
        }
        if process.subtasks.untold.contains(&subtask) {
            process.subtasks.dead.insert(session);
        }
        Ok(())
    }

    /// A subtask is no more. The core is told once all receipts of what it had delivered are with it.
    pub(crate) fn lose(&mut self, process: &mut Process, subtask: u32) {
        if !process.subtasks.untold.insert(subtask) {
            return;
        }
        let sessions = process.readers.values().filter(|reader| reader.subtask == subtask).map(|reader| reader.session);
        process.subtasks.dead.extend(sessions);
        self.oracle.losses.lost(&process.subtasks.dead, self.life);
        let last = self.last_receipt(&process.subtasks.dead).unwrap_or(self.now);
        let told_at = last.max(self.now + self.hazards.dice.between(0, 300));
        self.schedule_at(told_at, self.life, Item::TellLoss(subtask));
    }

    /// The core is told. Its readers may go on for a while: what they say belongs to a session that is over.
    pub(crate) fn tell_loss(&mut self, process: &mut Process, subtask: u32) -> Event {
        process.subtasks.untold.remove(&subtask);
        for (shard, reader) in process.readers.iter().filter(|(_, reader)| reader.subtask == subtask) {
            let (shard, session) = (*shard, reader.session);
            if !process.subtasks.dead.contains(&session) || !process.subtasks.over.insert(session) {
                continue;
            }
            self.oracle.stopped(shard);
            process.times.lost(shard, self.decay.is_some());
            if reader.finished {
                continue;
            }
            let id = self.world.shards[shard].id.clone();
            let last = reader.cursor.clone();
            let late = [
                Event::Read(ReadReport { shard: id.clone(), session, records: 3, last, earliest: None }),
                Event::ReadToEnd { shard: id.clone(), session, children: Vec::new() },
                Event::Closed { shard: id, session },
            ];
            let at = self.now + self.hazards.dice.between(0, 500);
            let event = late[self.hazards.dice.index(3)].clone();
            self.schedule_at(at, self.life, Item::Deliver(event));
        }
        Event::SubtaskLost { subtask }
    }

    /// The component is asked; it answers late, wrong, in part, twice or never, or as it should.
    pub(crate) fn ask(&mut self, process: &mut Process, round: &Round) -> Verdict {
        // A shard that is forgotten and turns up again begins anew.
        for id in round.unassigned.iter().filter(|id| self.oracle.has_ended(self.world.find(id))) {
            process.subtasks.placed.remove(&self.world.find(id));
            process.subtasks.decided.remove(id);
        }
        self.check_question(process, round)?;
        process.subtasks.out = Some((round.round, self.now));
        let parallelism = u64::from(self.plan.parallelism);
        let dice = &mut self.hazards.dice;
        let mut decide = |shard: &ShardId| {
            let subtask = u32::try_from(dice.between(0, parallelism - 1)).expect("small");
            (shard.clone(), subtask)
        };
        let mut decisions: Vec<_> = round.unassigned.iter().map(&mut decide).collect();
        let again: Vec<_> = round.unassigned.iter().map(decide).collect();
        let bad = dice.percent(self.hazards.misconduct);
        let mut delay = dice.between(0, 2_000);
        let mut error = None;
        if bad {
            match dice.index(7) {
                0 => return Ok(()),
                1 => delay = dice.between(5_001, 9_000),
                2 => decisions.retain(|_| dice.percent(50)),
                3 => decisions.push((ShardId::new("never heard of"), 0)),
                4 => decisions.push(decisions[0].clone()),
                5 => decisions[0].1 = self.plan.parallelism,
                _ => error = Some("it trapped".to_owned()),
            }
        }
        let round = round.round;
        let answer = error.map_or(Ok(decisions), Err);
        let at = self.now + delay;
        self.schedule_at(at, self.life, Item::Decide(round, answer));
        if self.hazards.dice.percent(self.hazards.misconduct) {
            let at = at + self.hazards.dice.between(1, 9_000);
            self.schedule_at(at, self.life, Item::Decide(round, Ok(again)));
        }
        Ok(())
    }

    /// What an answer decides if it comes in time and is as it should be.
    pub(crate) fn decide(&self, process: &mut Process, round: u64, answer: &Result<Vec<(ShardId, u32)>, String>) {
        let patience = u64::try_from(ANSWER_WITHIN.as_millis()).expect("small");
        let Some((_, asked_at)) = process.subtasks.out.take_if(|(out, _)| *out == round) else { return };
        let Ok(decisions) = answer else { return };
        let shards: BTreeSet<_> = decisions.iter().map(|(shard, _)| shard).collect();
        let sound = shards.len() == decisions.len()
            && !shards.contains(&ShardId::new("never heard of"))
            && decisions.iter().all(|(_, subtask)| *subtask < self.plan.parallelism);
        if sound && self.now < asked_at + patience {
            process.subtasks.decided.extend(decisions.iter().cloned());
        }
    }

    fn check_question(&self, process: &Process, round: &Round) -> Verdict {
        let patience = u64::try_from(ANSWER_WITHIN.as_millis()).expect("small");
        if process.subtasks.out.is_some_and(|(_, asked_at)| self.now < asked_at + patience) {
            return Err(format!("ASN-1: round {} is asked while another is out", round.round));
        }
        let placed = &process.subtasks.placed;
        if let Some(shard) = round.unassigned.iter().find(|shard| placed.contains_key(&self.world.find(shard))) {
            return Err(format!("ASN-1: {shard} has a subtask and is offered again"));
        }
        let current: BTreeMap<usize, u32> =
            round.current.iter().map(|placement| (self.world.find(&placement.shard), placement.subtask)).collect();
        let differs = |(shard, subtask): &(&usize, &u32)| {
            current.get(shard).map_or(!self.oracle.has_ended(**shard), |told| told != *subtask)
        };
        match placed.iter().find(differs) {
            Some((shard, subtask)) => {
                Err(format!("ASN-1: the component is told {:?} of shard {shard} at {subtask}", current.get(shard)))
            }
            None => Ok(()),
        }
    }
}
