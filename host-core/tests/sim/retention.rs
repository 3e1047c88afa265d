//! Histories in which the service trims what is older than the retention, whoever has read it (GAP-1): readers that sleep,
//! and a process that is down for longer. What was lost, and whether it was told, is judged here, by the world and by what
//! was durable. Random numbers come from dice of their own.

use std::collections::BTreeSet;

use host_core::coordinator::{Gap, GapReason, OnGap};

use crate::dice::Dice;
use crate::faults::{Ending, Plan, Run};
use crate::oracle::{Oracle, Verdict};
use crate::world::World;

/// What a shard may be behind of what its readers know: pauses of tips, commits and receipts.
const LAG: u64 = 20_000;

/// How the service forgets.
#[derive(Clone, Debug)]
pub(crate) struct Decay {
    pub(crate) dice: Dice,
    /// Records are kept for this long, and up to `late` longer.
    pub(crate) retention: u64,
    pub(crate) late: u64,
    /// Shards are kept for no longer than their records: one that lacks in a listing after that is gone.
    prompt: bool,
    /// How often, in a thousand, a reader falls asleep after a page.
    sleepy: u64,
}

impl Decay {
    /// A quarter of the histories are stretched until the retention matters.
    pub(crate) fn draw(seed: u64, plan: &mut Plan) -> Option<Self> {
        let mut dice = Dice::new(seed.rotate_left(16) ^ 0xdeca);
        if !dice.percent(25) {
            return None;
        }
        let retention = dice.between(60_000, 180_000);
        let begins_at = dice.between(1_000, 2 * retention);
        plan.start_at = plan.start_at.map(|at| begins_at.saturating_add(at).saturating_sub(plan.begins_at));
        plan.runs.clear();
        let mut at = begins_at;
        for _ in 0..dice.between(1, 4) {
            let most = if dice.percent(50) { 20_000 } else { 2 * retention };
            let until = at + dice.between(500, most);
            let ending = match dice.between(0, 5) {
                0 | 1 => Ending::CrashAt(until),
                2 => Ending::CrashAtEffect(dice.between(0, 60)),
                3 => Ending::DrainAt(until),
                4 => Ending::AbandonAt(until),
                _ => Ending::Complete,
            };
            plan.runs.push(Run { starts_at: at, until_caught_up: ending == Ending::Complete, ending });
            at = until + if dice.percent(40) { dice.between(1, 5_000) } else { dice.between(1, 3 * retention) };
        }
        let until_caught_up = dice.percent(40);
        plan.quiet_at = if until_caught_up { at } else { at + dice.between(0, retention) };
        plan.runs.push(Run { starts_at: at + 1, until_caught_up, ending: Ending::Complete });
        (plan.begins_at, plan.ranges, plan.preserve_order) = (begins_at, true, true);
        (plan.retention, plan.listing_repeats, plan.unlisted) = (retention, 0, None);
        let sleepy = if dice.percent(60) { dice.between(1, 30) } else { 0 };
        let prompt = plan.listing_lacks > 0;
        let late = if prompt { 0 } else { dice.between(0, retention / 10) };
        Some(Self { retention, late, prompt, sleepy, dice })
    }

    /// How long a reader rests after a page with `count` records.
    pub(crate) fn pause(&mut self, count: usize) -> u64 {
        if self.dice.between(0, 999) < self.sleepy {
            return self.dice.between(self.retention / 4, 2 * self.retention);
        }
        self.dice.between(10, if count == 0 { self.retention / 30 } else { 200 })
    }

    /// Policy of the next run. The last one goes on.
    pub(crate) fn policy(&mut self, last: bool) -> OnGap {
        if last || self.dice.percent(50) { OnGap::Continue } else { OnGap::Fail }
    }
}

impl World {
    /// Time passes, and what is too old goes: records, and shards that are closed, parents before children.
    pub(crate) fn decay(&mut self, now: u64, decay: &Decay) {
        self.trimmed = now.saturating_sub(decay.retention + decay.late);
        for shard in 0..self.shards.len() {
            let alone = self.shards[shard].parents.iter().all(|parent| self.shards[*parent].expired);
            let linger = decay.retention / 50 * (u64::try_from(shard).expect("small") * 7 % 5);
            let late = decay.late + if decay.prompt { 0 } else { linger };
            let old = self.shards[shard].closed_at.is_some_and(|closed| closed + decay.retention + late < now);
            self.shards[shard].expired |= alone && old;
        }
    }

    /// Index of the first record of `shard` that is still there.
    pub(crate) fn horizon(&self, shard: usize) -> usize {
        self.shards[shard].records.partition_point(|record| record.written_at < self.trimmed)
    }
}

/// What was told, and what was known.
#[derive(Default)]
pub(crate) struct Losses {
    pub(crate) on: bool,
    pub(crate) fails: bool,
    told: Vec<(usize, Gap)>,
    /// Shards of which gaps were told in this run.
    told_now: BTreeSet<usize>,
    /// How many gaps were told before this run.
    before: usize,
    /// Shards of which a time was durable up to which they are complete.
    known: BTreeSet<usize>,
    /// Shards that ever had a row.
    met: BTreeSet<usize>,
    /// Orders of records that were gone while nobody could know that they had been there.
    nobodys: BTreeSet<usize>,
    /// By shard: when a reader last saw its tip, in which run and session.
    tips: std::collections::BTreeMap<usize, (u64, u64, u64)>,
    /// Shards with a gap found that is none.
    wolves: BTreeSet<usize>,
    /// When each run ended.
    ends: std::collections::BTreeMap<u64, u64>,
}

impl Losses {
    pub(crate) fn tip(&mut self, shard: usize, now: u64, life: u64, session: u64) {
        self.tips.insert(shard, (now, life, session));
    }

    /// What its readers said is void.
    pub(crate) fn lost(&mut self, dead: &BTreeSet<u64>, life: u64) {
        self.tips.retain(|_, (_, run, session)| *run != life || !dead.contains(session));
    }

    pub(crate) fn run_ends(&mut self, now: u64, life: u64) {
        self.ends.insert(life, now);
    }

    pub(crate) fn run_starts(&mut self, policy: OnGap) {
        self.fails = matches!(policy, OnGap::Fail);
        self.told_now.clear();
        self.before = self.told.len();
    }
}

impl Oracle {
    pub(crate) fn note_rows(&mut self, world: &World) {
        for row in self.rows.values() {
            let shard = world.find(&row.shard);
            self.losses.met.insert(shard);
            if row.complete_until.is_some() {
                self.losses.known.insert(shard);
            }
        }
    }

    /// Nothing is known to be complete of it or of those it comes from: it owes nothing but what is there.
    fn owes_nothing(&self, world: &World, shard: usize) -> bool {
        !self.losses.known.contains(&shard)
            && world.shards[shard].parents.iter().all(|parent| self.owes_nothing(world, *parent))
    }

    /// GAP-1: where a gap stops the run, nothing behind it is kept.
    pub(crate) fn check_kept(&self, world: &World) -> Verdict {
        let mut told = self.losses.told[self.losses.before..].iter();
        let beyond = |gap: &Gap| self.rows.get(&gap.shard).is_some_and(|row| row.complete_until >= gap.until);
        match told.find(|(_, gap)| self.losses.fails && gap.until.is_some() && beyond(gap)) {
            Some((shard, gap)) => {
                Err(format!("GAP-1: {} is complete beyond what stopped the run: {gap:?}", world.shards[*shard].id))
            }
            None => Ok(()),
        }
    }

    /// A reader passes over what is trimmed between the two.
    pub(crate) fn passes(&mut self, world: &World, shard: usize, from: usize, to: usize) {
        if self.owes_nothing(world, shard) {
            self.losses.nobodys.extend(world.shards[shard].records[from..to].iter().map(|record| record.order));
        }
    }

    /// GAP-1: whether a record that was not delivered is gone, and that was told, or it was nobody's.
    pub(crate) fn is_told_lost(&self, world: &World, shard: usize, index: usize) -> bool {
        let record = &world.shards[shard].records[index];
        if !self.losses.on || record.written_at >= world.trimmed {
            return false;
        }
        // What arrived before the configured start is read where it is there, and owed by nobody.
        let early = self.start.is_some_and(|start| record.arrival < start);
        if early || self.losses.nobodys.contains(&record.order) || self.owes_nothing(world, shard) {
            return true;
        }
        let written = i64::try_from(record.written_at).expect("small");
        let tells = |(of, gap): &&(usize, Gap)| {
            let named = *of == shard || (gap.reason == GapReason::ShardGone && self.stands_for(world, *of, shard));
            named && gap.since.is_none_or(|since| since.0 <= written) && gap.until.is_none_or(|until| written < until.0)
        };
        self.losses.told.iter().any(|told| tells(&told))
    }

    /// Whether `shard` came and went without anybody's notice, and so did `heir`, whom alone a child still names.
    fn stands_for(&self, world: &World, heir: usize, shard: usize) -> bool {
        let unmet = |shard: usize| !self.losses.met.contains(&shard);
        let mut fringe = vec![shard];
        while let Some(next) = fringe.pop().filter(|next| unmet(*next)) {
            if next == heir {
                return true;
            }
            fringe.extend(&world.shards[next].children);
        }
        false
    }

    /// GAP-1: whether everything between the two may be left out now.
    pub(crate) fn check_skipped(&self, world: &World, shard: usize, from: usize, to: usize) -> Verdict {
        for index in from..to {
            let order = world.shards[shard].records[index].order;
            let nobodys = self.losses.nobodys.contains(&order) || self.owes_nothing(world, shard);
            if !self.is_told_lost(world, shard, index)
                || (self.losses.fails && !nobodys && self.losses.told_now.contains(&shard))
            {
                return Err(format!("GAP-1: record {order} of {} is passed over", world.shards[shard].id));
            }
        }
        Ok(())
    }

    /// GAP-1: a gap is told. Nobody cries wolf.
    pub(crate) fn gap_told(&mut self, world: &World, gap: &Gap, now: u64, retention: u64) -> Verdict {
        let shard = world.find(&gap.shard);
        let id = &gap.shard;
        if gap.reason == GapReason::ShardGone && !world.shards[shard].expired {
            return Err(format!("GAP-1: {id} is said to be gone and is there"));
        }
        self.losses.told.push((shard, gap.clone()));
        self.losses.told_now.insert(shard);
        let kept = i64::try_from(now).expect("small") - i64::try_from(retention).expect("small");
        if gap.until.is_some_and(|until| until.0 > kept) || gap.until.is_some_and(|until| gap.since >= Some(until)) {
            return Err(format!("GAP-1: nothing can be trimmed yet: {gap:?}"));
        }
        match gap.reason {
            GapReason::Trimmed | GapReason::StalePosition if self.losses.wolves.remove(&shard) => {
                Err(format!("GAP-1: {id} was at its tip, and a gap is told: {gap:?}"))
            }
            GapReason::Trimmed | GapReason::StalePosition | GapReason::ShardGone | GapReason::StreamRecreated => Ok(()),
        }
    }

    /// A reader finds a gap. Where it, or one of an earlier run that lived on for a while, was at the tip clearly within
    /// the retention, it must not.
    pub(crate) fn gap_found(&mut self, shard: usize, session: u64, now: u64, life: u64, retention: u64) {
        let fresh = self.losses.tips.get(&shard).is_some_and(|(at, run, reader)| {
            let until = if *run == life { now } else { self.losses.ends.get(run).copied().unwrap_or(0) };
            let durable = (*run == life && *reader == session) || at + LAG < until;
            durable && now < at + retention - retention / 24 - LAG
        });
        if fresh {
            self.losses.wolves.insert(shard);
        }
    }
}
