//! Who descends from whom, and who may be read.
//!
//! A record's key moves from parent to child when a shard is split or merged, so a child that is read too early delivers
//! a key's newer records before its older ones. Hence a child waits until the end of every known parent is *durable*: a
//! parent that was merely read to its end is read again after a crash, and then the child would be ahead.
//!
//! The hard case is a parent that is neither known nor listed. It may have passed the stream's retention, which is the
//! usual reason, or a listing may have lacked it. "Absent, so finished" loses order in the second case; "absent, so wait"
//! never starts in the first. So absence is counted: only complete listings in a row are evidence, and one that shows the
//! parent wipes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::ShardRow;
use crate::discovery::{self, STALENESS_PAUSE};
use crate::moment::Moment;
use crate::shard::{HashRange, Position, ShardDescription, ShardId};

/// Complete listings in a row that must lack a parent before it is presumed expired.
pub const ABSENCES_BEFORE_PRESUMED_EXPIRED: u32 = 2;

/// Whether a shard may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Every parent is done, or presumed expired.
    Open,
    /// A known parent's end is not durable.
    WaitsForEnd,
    /// A parent is neither known nor presumed expired.
    WaitsForParent,
}

/// A missing parent, after one more listing without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Whose parent.
    pub shard: ShardId,
    /// Who is missing.
    pub parent: ShardId,
    /// What this listing made of it.
    pub verdict: Verdict,
    /// When to ask for the next listing, while the case is open.
    pub ask_at: Option<Moment>,
}

/// What a listing makes of a missing parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Missed for the first time.
    New,
    /// Nothing new.
    Known,
    /// Presumed expired from now on.
    Expired,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    /// Complete listings in a row without it.
    listings: u32,
    /// A listing that lacks the child too counts if it was asked for at this moment or later.
    not_before: Moment,
}

#[derive(Clone, Debug, Default)]
struct Node {
    parents: BTreeSet<ShardId>,
    range: Option<HashRange>,
    /// In the last complete listing.
    listed: bool,
}

/// The family of a stream's shards.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    nodes: BTreeMap<ShardId, Node>,
    /// Children by parent, whether or not the parent is known.
    children: BTreeMap<ShardId, BTreeSet<ShardId>>,
    /// Listings in a row without a parent of somebody.
    absences: BTreeMap<ShardId, Count>,
}

impl Lineage {
    /// Takes in what a row remembers.
    pub fn restore(&mut self, row: &ShardRow) {
        self.join(&row.shard, &row.parents, row.range);
    }

    /// Takes in what a listing, or a parent's end, tells of one shard. Telling it again, or in another order, changes
    /// nothing. Says whether the shard is new.
    pub fn learn(&mut self, description: &ShardDescription) -> bool {
        let new = !self.nodes.contains_key(&description.id);
        self.join(&description.id, &description.parents, description.range);
        new
    }

    /// Takes in a complete listing's members, after each was learned.
    pub fn listed(&mut self, shards: &[ShardDescription]) {
        self.nodes.values_mut().for_each(|node| node.listed = false);
        for description in shards {
            if let Some(node) = self.nodes.get_mut(&description.id) {
                node.listed = true;
            }
        }
    }

    /// Whether the last complete listing had it.
    #[must_use]
    pub fn is_listed(&self, shard: &ShardId) -> bool {
        self.nodes.get(shard).is_some_and(|node| node.listed)
    }

    /// Whether `parent` was absent often enough to count as expired.
    #[must_use]
    pub fn is_presumed_expired(&self, parent: &ShardId) -> bool {
        self.absences.get(parent).is_some_and(|count| count.listings >= ABSENCES_BEFORE_PRESUMED_EXPIRED)
    }

    /// Whether some parent is missing and not presumed expired yet.
    #[must_use]
    pub fn is_investigating(&self) -> bool {
        self.absences.values().any(|count| count.listings < ABSENCES_BEFORE_PRESUMED_EXPIRED)
    }

    /// Whether `shard` may be read, by what is durable in `rows`.
    #[must_use]
    pub fn gate(&self, shard: &ShardId, rows: &BTreeMap<ShardId, ShardRow>) -> Gate {
        let Some(node) = self.nodes.get(shard) else { return Gate::WaitsForParent };
        // Known parents first, and all of them: a second parent that is missing must not hide one that is not done.
        let unfinished = |parent: &&ShardId| {
            self.nodes.contains_key(*parent) && !rows.get(*parent).is_some_and(|row| row.position.is_end())
        };
        if node.parents.iter().find(unfinished).is_some() {
            return Gate::WaitsForEnd;
        }
        // A shard that has records delivered passed this gate in an earlier run; its parents may be forgotten since.
        let begun = rows.get(shard).is_some_and(|row| has_begun(&row.position));
        if begun
            || node.parents.iter().all(|parent| self.nodes.contains_key(parent) || self.is_presumed_expired(parent))
        {
            Gate::Open
        } else {
            Gate::WaitsForParent
        }
    }

    /// Weighs one more complete listing, asked for at `asked_at`, against every parent that nobody knows of shards that
    /// have not begun. A parent under investigation stays so when its child begins. A listing that lacks the child too
    /// may be older than both, so it counts only after a pause.
    pub fn weigh_absences(
        &mut self,
        rows: &BTreeMap<ShardId, ShardRow>,
        now: Moment,
        asked_at: Moment,
    ) -> Vec<Absence> {
        let missing = self.missing_parents(rows);
        self.absences.retain(|parent, _| missing.contains_key(parent));
        let mut weighed = Vec::new();
        for (parent, shard) in missing {
            let first = !self.absences.contains_key(&parent);
            let child_listed = self.is_listed(&shard);
            let count =
                self.absences.entry(parent.clone()).or_insert(Count { listings: 0, not_before: now + STALENESS_PAUSE });
            let counts = child_listed || asked_at >= count.not_before;
            if counts {
                count.listings = count.listings.saturating_add(1);
                count.not_before = now + STALENESS_PAUSE;
            }
            let verdict = if first {
                Verdict::New
            } else if counts && count.listings == ABSENCES_BEFORE_PRESUMED_EXPIRED {
                Verdict::Expired
            } else {
                Verdict::Known
            };
            let open = count.listings < ABSENCES_BEFORE_PRESUMED_EXPIRED;
            let ask_at = open.then_some(if child_listed { now } else { count.not_before });
            weighed.push(Absence { shard, parent, verdict, ask_at });
        }
        weighed
    }

    /// Every missing parent with one of its children, one that is listed if there is any.
    fn missing_parents(&self, rows: &BTreeMap<ShardId, ShardRow>) -> BTreeMap<ShardId, ShardId> {
        let mut missing = BTreeMap::new();
        for shard in self.nodes.keys() {
            let begun = rows.get(shard).is_some_and(|row| has_begun(&row.position));
            for parent in self.unknown_parents(shard) {
                if (!begun || self.absences.contains_key(parent))
                    && (self.is_listed(shard) || !missing.contains_key(parent))
                {
                    missing.insert(parent.clone(), shard.clone());
                }
            }
        }
        missing
    }

    /// Parents of `shard` that are neither known nor remembered.
    pub fn unknown_parents<'a>(&'a self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        let parents = self.nodes.get(shard).map(|node| &node.parents);
        parents.into_iter().flatten().filter(|parent| !self.nodes.contains_key(*parent))
    }

    /// The keys of those parents of `shard` that nobody knows, as far as their children tell; none where ranges are unknown.
    #[must_use]
    pub fn keys_of_unknown_parents(&self, shard: &ShardId) -> Vec<HashRange> {
        let heirs: BTreeSet<&ShardId> = self.unknown_parents(shard).flat_map(|parent| self.children(parent)).collect();
        let keys = heirs.into_iter().filter_map(|heir| {
            let known = self.parents(heir).filter_map(|parent| self.range(parent)).collect();
            Some(discovery::uncovered(self.range(heir)?, known))
        });
        keys.flatten().collect()
    }

    /// All known shards that descend from `shard`.
    #[must_use]
    pub fn descendants(&self, shard: &ShardId) -> BTreeSet<ShardId> {
        let mut found = BTreeSet::new();
        let mut fringe = vec![shard];
        while let Some(next) = fringe.pop() {
            fringe.extend(self.children(next).filter(|child| found.insert((*child).clone())));
        }
        found
    }

    /// Parents of `shard`, known or not.
    pub fn parents<'a>(&'a self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.nodes.get(shard).into_iter().flat_map(|node| &node.parents)
    }

    /// Known children of `shard`.
    pub fn children<'a>(&'a self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.children.get(shard).into_iter().flatten()
    }

    /// The greatest id of all known shards.
    #[must_use]
    pub fn greatest(&self) -> Option<&ShardId> {
        self.nodes.last_key_value().map(|(shard, _)| shard)
    }

    /// The shard's slice of the key space.
    #[must_use]
    pub fn range(&self, shard: &ShardId) -> Option<HashRange> {
        self.nodes.get(shard).and_then(|node| node.range)
    }

    /// Whether the known children of `shard` own all of its keys; without ranges, whether it has any.
    #[must_use]
    pub fn children_cover(&self, shard: &ShardId) -> bool {
        let mut children = self.children(shard).peekable();
        if children.peek().is_none() {
            return false;
        }
        let ranges: Option<Vec<HashRange>> = children.map(|child| self.range(child)).collect();
        match (self.range(shard), ranges) {
            (Some(whole), Some(ranges)) => discovery::uncovered(whole, ranges).is_empty(),
            (None, _) | (_, None) => true,
        }
    }

    /// Drops a finished shard.
    pub fn forget(&mut self, shard: &ShardId) {
        let Some(node) = self.nodes.remove(shard) else { return };
        for parent in &node.parents {
            if let Some(children) = self.children.get_mut(parent) {
                children.remove(shard);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
    }

    fn join(&mut self, shard: &ShardId, parents: &[ShardId], range: Option<HashRange>) {
        let node = self.nodes.entry(shard.clone()).or_default();
        node.range = node.range.or(range);
        for parent in parents.iter().filter(|parent| *parent != shard) {
            node.parents.insert(parent.clone());
            self.children.entry(parent.clone()).or_default().insert(shard.clone());
        }
    }
}

const fn has_begun(position: &Position) -> bool {
    match position {
        Position::After { .. } | Position::ShardEnd => true,
        Position::TrimHorizon | Position::AtTimestamp(_) => false,
    }
}

#[cfg(test)]
mod tests;
