//! Keeps the children of a shard on the subtask that read it, which has its keys in its caches already, and gives every
//! other shard to the subtask with the fewest shards for its weight.
//!
//! `slack`, a whole number: a child leaves its parent's subtask when that would then have more than `slack` shards above
//! its share. Without it children always stay.

use std::collections::BTreeMap;

use sluicebox_guest::assigner::{Decision, Placement, Reader, Shard, ShardAssigner};
use sluicebox_guest::{Config, Error};

struct Sticky {
    slack: Option<u64>,
}

impl ShardAssigner for Sticky {
    fn open(config: &Config) -> Result<Self, Error> {
        let slack = config.integer("slack")?.map(u64::try_from).transpose();
        Ok(Self { slack: slack.map_err(|_| Error::poison("bad-slack", "`slack` must be 0 or more"))? })
    }

    fn assign(
        &mut self,
        unassigned: &[Shard],
        current: &[Placement],
        readers: &[Reader],
    ) -> Result<Vec<Decision>, Error> {
        let mut loads = Loads::of(current, readers);
        // Parents come first, so a parent of this round has its subtask by the time its children ask.
        let mut decided = BTreeMap::new();
        let mut decisions = Vec::with_capacity(unassigned.len());
        for shard in unassigned {
            let of_parents = shard.parents().iter().filter_map(|parent| {
                let here = || decided.get(&(shard.stream_arn(), parent.shard_id.as_str())).copied();
                parent.subtask.or_else(here)
            });
            let stays = loads
                .lightest(of_parents)
                .filter(|subtask| self.slack.is_none_or(|slack| loads.has_room(*subtask, slack)));
            let subtask = stays
                .or_else(|| loads.lightest(readers.iter().map(|reader| reader.subtask)))
                .ok_or_else(|| Error::poison("no-readers", "there is no subtask to give a shard to"))?;
            loads.add(subtask);
            decided.insert((shard.stream_arn(), shard.shard_id()), subtask);
            decisions.push(shard.on(subtask));
        }
        Ok(decisions)
    }
}

/// How many shards each subtask has, and for which weight.
struct Loads {
    by_subtask: BTreeMap<u32, Load>,
    shards: u64,
    weight: u64,
}

struct Load {
    shards: u64,
    weight: u64,
}

impl Loads {
    fn of(current: &[Placement], readers: &[Reader]) -> Self {
        let load = |reader: &Reader| (reader.subtask, Load { shards: 0, weight: reader.weight.max(1).into() });
        let by_subtask: BTreeMap<_, _> = readers.iter().map(load).collect();
        let weight = by_subtask.values().map(|load| load.weight).sum();
        let mut loads = Self { by_subtask, shards: 0, weight };
        current.iter().for_each(|placement| loads.add(placement.subtask));
        loads
    }

    fn add(&mut self, subtask: u32) {
        if let Some(load) = self.by_subtask.get_mut(&subtask) {
            load.shards += 1;
            self.shards += 1;
        }
    }

    /// The one of `subtasks` that would have the fewest shards for its weight with one more; the lowest of several.
    fn lightest(&self, subtasks: impl Iterator<Item = u32>) -> Option<u32> {
        let known = subtasks.filter_map(|subtask| Some((subtask, self.by_subtask.get(&subtask)?)));
        let lightest = known.min_by(|(a, load_a), (b, load_b)| {
            let (left, right) = ((load_a.shards + 1) * load_b.weight, (load_b.shards + 1) * load_a.weight);
            left.cmp(&right).then(a.cmp(b))
        });
        lightest.map(|(subtask, _)| subtask)
    }

    /// Whether a subtask with one more shard has at most its share, rounded up, and `slack` shards more.
    fn has_room(&self, subtask: u32, slack: u64) -> bool {
        self.by_subtask.get(&subtask).is_some_and(|load| {
            let share = ((self.shards + 1) * load.weight).div_ceil(self.weight);
            load.shards < share.saturating_add(slack)
        })
    }
}

sluicebox_guest::shard_assigner!(Sticky);

#[cfg(test)]
mod tests;
