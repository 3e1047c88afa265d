//! Keeps the children of a shard on the subtask that read it, which has its keys in its caches already, and gives every
//! other shard to the subtask with the fewest shards for its weight.
//!
//! `slack`, a whole number: a child leaves its parent's subtask when that would then have more than `slack` shards above
//! its share. Without it children always stay.

use std::collections::{BTreeMap, BTreeSet};

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
            let stays = of_parents.filter_map(|subtask| loads.cost(subtask)).min().map(|(_, subtask)| subtask);
            let stays = stays.filter(|subtask| self.slack.is_none_or(|slack| loads.has_room(*subtask, slack)));
            let no_readers = || Error::poison("no-readers", "there is no subtask to give a shard to");
            let subtask = stays.or_else(|| loads.lightest()).ok_or_else(no_readers)?;
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
    /// The costs of all subtasks, lightest first.
    queue: BTreeSet<(u64, u32)>,
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
        let mut loads = Self { by_subtask, queue: BTreeSet::new(), shards: 0, weight };
        loads.queue = readers.iter().filter_map(|reader| loads.cost(reader.subtask)).collect();
        current.iter().for_each(|placement| loads.add(placement.subtask));
        loads
    }

    /// What one more shard would make of a subtask, in shards per weight, and the subtask: of equal ones the lowest is
    /// taken. `None` if it is no reader.
    fn cost(&self, subtask: u32) -> Option<(u64, u32)> {
        let load = self.by_subtask.get(&subtask)?;
        Some((((load.shards + 1) << 32) / load.weight, subtask))
    }

    fn add(&mut self, subtask: u32) {
        if let Some(cost) = self.cost(subtask) {
            self.queue.remove(&cost);
        }
        if let Some(load) = self.by_subtask.get_mut(&subtask) {
            load.shards += 1;
            self.shards += 1;
        }
        self.queue.extend(self.cost(subtask));
    }

    fn lightest(&self) -> Option<u32> {
        self.queue.first().map(|(_, subtask)| *subtask)
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
