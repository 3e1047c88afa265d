//! What listings, and the ends of shards, tell about the family.

use std::collections::BTreeSet;

use super::session::{Shard, Stage};
use super::{Coordinator, Effect, Notice, StartPoint};
use crate::discovery::{self, KEY_SPACE};
use crate::lineage::ABSENCES_BEFORE_PRESUMED_EXPIRED;
use crate::moment::Moment;
use crate::shard::{HashRange, Position, ShardDescription, ShardId};

/// Listings without all children after which an end becomes durable as it is.
const FRUITLESS_LISTINGS: u32 = 3;
/// Pause before asking again for children that no listing shows yet.
const CHILDREN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Keys that nobody will read. A hole is suspected when first seen, and told when the next listing has it too.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    suspected: BTreeSet<(u128, u128)>,
    told: BTreeSet<(u128, u128)>,
}

impl Coverage {
    pub(super) fn is_settled(&self) -> bool {
        self.suspected.is_empty()
    }
}

impl Coordinator {
    pub(super) fn listed(&mut self, now: Moment, shards: &[ShardDescription], effects: &mut Vec<Effect>) {
        let expected = self.discovery.answered();
        let start = self.spend_start(shards);
        for description in shards {
            self.learn(description, &start, effects);
        }
        self.lineage.listed(shards);
        self.look_again = true;
        self.commits.note_change();
        // A listing nobody asked for adds knowledge but is no evidence of absence: it may be an old one.
        if expected {
            self.investigate_parents(now, effects);
            self.settle_ends(now, effects);
            self.audit_coverage(now, effects);
        }
    }

    /// The start of shards that are new in this listing (LIN-3).
    fn spend_start(&mut self, shards: &[ShardDescription]) -> Position {
        if self.start_spent {
            return Position::TrimHorizon;
        }
        self.start_spent = !shards.is_empty();
        match self.settings.start {
            StartPoint::TrimHorizon => Position::TrimHorizon,
            StartPoint::AtTimestamp(at) => Position::AtTimestamp(at),
        }
    }

    fn learn(&mut self, description: &ShardDescription, start: &Position, effects: &mut Vec<Effect>) {
        if !self.lineage.learn(description) {
            return;
        }
        if self.lineage.is_presumed_expired(&description.id) {
            effects.push(Effect::Notice(Notice::PresumedParentListed { parent: description.id.clone() }));
        }
        self.shards.insert(description.id.clone(), Shard::new(start.clone()));
        self.look_again = true;
    }

    /// Children that came with their parent's end: always from their beginning.
    pub(super) fn learn_children(&mut self, parent: &ShardId, children: &[ShardDescription]) {
        for child in children {
            let mut child = child.clone();
            if !child.parents.contains(parent) {
                child.parents.push(parent.clone());
            }
            if self.lineage.learn(&child) {
                self.shards.insert(child.id, Shard::new(Position::TrimHorizon));
            }
        }
    }

    fn investigate_parents(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if !self.settings.preserve_shard_order {
            return;
        }
        let waiting = self.shards.iter().filter(|(_, shard)| matches!(shard.stage, Stage::Waiting));
        let absences = self.lineage.count_absences(waiting.map(|(id, _)| id), &self.rows);
        for absence in absences {
            if absence.listings < ABSENCES_BEFORE_PRESUMED_EXPIRED {
                self.discovery.want(now);
            }
            if absence.listings == 1 {
                effects.push(Effect::Notice(Notice::ParentMissing { shard: absence.shard, parent: absence.parent }));
            } else if absence.listings == ABSENCES_BEFORE_PRESUMED_EXPIRED {
                effects.push(Effect::Notice(Notice::ParentPresumedExpired { parent: absence.parent }));
            }
        }
    }

    /// Ends that wait for their children: a stream that was resharded shows them sooner or later, one that was shrunk or
    /// deleted never.
    fn settle_ends(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (id, shard) in &mut self.shards {
            let Stage::Ending(_, end) = &mut shard.stage else { continue };
            if end.settled || !self.discovery.has_answered(end.ticket) {
                continue;
            }
            end.settled = self.lineage.children_cover(id);
            if end.settled {
                continue;
            }
            end.fruitless += 1;
            if end.fruitless < FRUITLESS_LISTINGS {
                end.ticket = self.discovery.want(now + CHILDREN_PAUSE);
            } else {
                end.settled = true;
                effects.push(Effect::Notice(Notice::EndWithoutChildren { shard: id.clone() }));
            }
        }
    }

    /// A key is owned while a shard that has it is not finished: after that, only the shard's children can bring it on.
    fn audit_coverage(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let unfinished = self.shards.iter().filter(|(_, shard)| !matches!(shard.stage, Stage::Finished));
        let ranges: Option<Vec<HashRange>> = unfinished.map(|(id, _)| self.lineage.range(id)).collect();
        // No shard at all is one hole: a stream always has shards, so such a listing is not to be believed at once.
        let holes = ranges.map(|ranges| discovery::uncovered(KEY_SPACE, ranges));
        let holes: BTreeSet<_> = holes.into_iter().flatten().map(|hole| (hole.start, hole.end)).collect();
        for (start, end) in holes.intersection(&self.coverage.suspected) {
            effects.push(Effect::Notice(Notice::KeySpaceGap { hole: HashRange { start: *start, end: *end } }));
            self.coverage.told.insert((*start, *end));
        }
        self.coverage.told.retain(|hole| holes.contains(hole));
        self.coverage.suspected = holes.difference(&self.coverage.told).copied().collect();
        if !self.coverage.is_settled() {
            self.discovery.want(now);
        }
    }
}
