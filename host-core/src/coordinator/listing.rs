//! What listings, and the ends of shards, tell about the family.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{Shard, Stage};
use super::{Coordinator, Effect, Notice, StartPoint};
use crate::discovery::{self, KEY_SPACE, STALENESS_PAUSE};
use crate::lineage::Verdict;
use crate::moment::Moment;
use crate::shard::{HashRange, Position, ShardDescription, ShardId};

/// Listings, each a pause after the other, after which what ought to be there is taken as not there: two can lack a shard
/// for two reasons, once because it is too young and once by accident.
const FRUITLESS_LISTINGS: u32 = 3;

/// Keys that nobody will read: holes that are not told yet, and those that are.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    suspected: BTreeMap<(u128, u128), Suspicion>,
    told: BTreeSet<(u128, u128)>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    sightings: u32,
    /// A listing that is asked for earlier is no further sighting.
    not_before: Moment,
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
            self.learn(now, description, &start, effects);
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

    fn learn(&mut self, now: Moment, description: &ShardDescription, start: &Position, effects: &mut Vec<Effect>) {
        if !self.lineage.learn(description) {
            return;
        }
        if self.lineage.is_presumed_expired(&description.id) {
            effects.push(Effect::Notice(Notice::PresumedParentListed { parent: description.id.clone() }));
        }
        self.shards.insert(description.id.clone(), Shard::new(start.clone(), now));
        self.look_again = true;
    }

    /// Children that came with their parent's end: always from their beginning.
    pub(super) fn learn_children(&mut self, now: Moment, parent: &ShardId, children: &[ShardDescription]) {
        for child in children {
            let mut child = child.clone();
            if !child.parents.contains(parent) {
                child.parents.push(parent.clone());
            }
            if self.lineage.learn(&child) {
                self.shards.insert(child.id, Shard::new(Position::TrimHorizon, now));
            }
        }
    }

    /// Also where no child waits for its parents: a parent that a listing lacks may have records of its own.
    fn investigate_parents(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for absence in self.lineage.weigh_absences(&self.rows, now, self.discovery.asked_at()) {
            if let Some(at) = absence.ask_at {
                self.discovery.want(at);
            }
            let notice = match absence.verdict {
                Verdict::New => Notice::ParentMissing { shard: absence.shard, parent: absence.parent },
                Verdict::Expired => Notice::ParentPresumedExpired { parent: absence.parent },
                Verdict::Known => continue,
            };
            effects.push(Effect::Notice(notice));
        }
    }

    /// Ends that wait for their children: a stream that was resharded shows them sooner or later, one that was shrunk or
    /// deleted never.
    fn settle_ends(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (id, shard) in &mut self.shards {
            let Stage::Ending(_, end) = &mut shard.stage else { continue };
            end.settled |= self.lineage.children_cover(id);
            if end.settled || !self.discovery.has_answered(end.ticket) {
                continue;
            }
            // Listings that others asked for come as they like; only the passing of time is evidence.
            if self.discovery.asked_at() >= end.not_before {
                end.fruitless += 1;
                end.not_before = now + STALENESS_PAUSE;
            }
            if end.fruitless < FRUITLESS_LISTINGS {
                self.discovery.want(end.not_before);
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
        self.coverage.told.retain(|hole| holes.contains(hole));
        let asked_at = self.discovery.asked_at();
        let mut suspected = BTreeMap::new();
        for hole in holes {
            if self.coverage.told.contains(&hole) {
                continue;
            }
            let known = self.coverage.suspected.get(&hole).copied();
            let mut suspicion = known.unwrap_or(Suspicion { sightings: 0, not_before: asked_at });
            if asked_at >= suspicion.not_before {
                suspicion = Suspicion { sightings: suspicion.sightings + 1, not_before: now + STALENESS_PAUSE };
            }
            if suspicion.sightings < FRUITLESS_LISTINGS {
                self.discovery.want(suspicion.not_before);
                suspected.insert(hole, suspicion);
            } else {
                let (start, end) = hole;
                effects.push(Effect::Notice(Notice::KeySpaceGap { hole: HashRange { start, end } }));
                self.coverage.told.insert(hole);
            }
        }
        self.coverage.suspected = suspected;
    }
}
