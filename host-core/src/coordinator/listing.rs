//! What listings, and the ends of shards, tell about the family.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{Shard, Stage};
use super::vanishing::index;
use super::{Coordinator, Effect, Notice};
use crate::discovery::{self, KEY_SPACE, STALENESS_PAUSE, Scope};
use crate::lineage::Verdict;
use crate::moment::{EpochMillis, Moment};
use crate::shard::{HashRange, Position, ShardDescription, ShardId};
use std::time::Duration;

/// Listings, each a pause after the other, after which what ought to be there is taken as not there: two can lack a shard
/// for two reasons, once because it is too young and once by accident.
pub(super) const FRUITLESS_LISTINGS: u32 = 3;

/// Keys that nobody will read: holes that are not told yet, and those that are.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    suspected: BTreeMap<(u128, u128), Suspicion>,
    told: BTreeSet<(u128, u128)>,
}

/// Full listings that lack what ought to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspicion {
    pub(super) sightings: u32,
    /// A listing that is asked for earlier is no further sighting.
    pub(super) not_before: Moment,
    /// When the first was weighed.
    pub(super) since: Moment,
}

impl Suspicion {
    /// Nothing seen yet; a listing counts if it is asked for at `not_before` or later.
    pub(super) const fn new(now: Moment, not_before: Moment) -> Self {
        Self { sightings: 0, not_before, since: now }
    }

    /// One more listing, unless it is too close to the last that counted.
    pub(super) fn count(&mut self, now: Moment, asked_at: Moment, pause: Duration) {
        if asked_at >= self.not_before {
            self.sightings += 1;
            self.not_before = now + pause;
        }
    }
}

impl Coverage {
    pub(super) fn is_settled(&self) -> bool {
        self.suspected.is_empty()
    }
}

impl Coordinator {
    pub(super) fn listed(
        &mut self,
        now: Moment,
        wall: EpochMillis,
        stream: u32,
        scope: &Scope,
        shards: Vec<ShardDescription>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(of) = self.streams.get_mut(index(stream)) else { return };
        // Before the first full listing nothing says where new shards start.
        if !of.start_spent && !scope.is_full() {
            return;
        }
        let expected = of.discovery.answered(now, scope, shards.len());
        let shards: Vec<ShardDescription> = shards.into_iter().map(|shard| shard.in_stream(stream)).collect();
        let start = if of.start_spent { Position::TrimHorizon } else { of.settings.start.position() };
        of.start_spent |= !shards.is_empty();
        for description in &shards {
            self.learn(now, description, &start, effects);
        }
        self.stirred = true;
        if !scope.is_full() {
            return;
        }
        if let Some(of) = self.streams.get_mut(index(stream)) {
            of.lineage.listed(&shards);
        }
        // A stream always has shards: an answer without any says nothing of them.
        if !shards.is_empty() {
            self.note_closed_at_start(stream);
        }
        // A listing nobody asked for adds knowledge but is no evidence of absence: it may be an old one.
        if expected {
            self.investigate_parents(now, stream, effects);
            self.settle_ends(now, stream, effects);
            self.audit_coverage(now, stream, effects);
            self.remember_forgotten(now, stream, &shards);
            // A stream always has shards: an answer without any says nothing of one of them.
            if !shards.is_empty() {
                self.weigh_vanishing(now, stream, effects);
            }
            let forgettable = self.forgettable(stream, wall);
            self.commits.forget(forgettable);
        }
    }

    fn learn(&mut self, now: Moment, description: &ShardDescription, start: &Position, effects: &mut Vec<Effect>) {
        let id = &description.id;
        let Some(of) = self.streams.get_mut(index(id.stream())) else { return };
        if of.forgotten.contains_key(id) || !of.lineage.learn(description) {
            return;
        }
        if of.lineage.is_presumed_expired(id) {
            effects.push(Effect::Notice(Notice::PresumedParentListed { parent: id.clone() }));
        }
        if of.lineage.unknown_parents(id).next().is_some() {
            of.ask(now);
        }
        let parents: Vec<ShardId> = of.lineage.parents(id).cloned().collect();
        self.shards.insert(id.clone(), Shard::new(start.clone(), now));
        // Their ends may have waited for this child.
        parents.into_iter().for_each(|parent| self.look(parent));
        self.commits.change(id);
        self.look(id.clone());
    }

    /// Children that came with their parent's end: always from their beginning. Says whether listings have to be asked for
    /// the rest of the family.
    pub(super) fn learn_children(
        &mut self,
        now: Moment,
        parent: &ShardId,
        children: Vec<ShardDescription>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let mut told = BTreeSet::new();
        for child in children {
            let mut child = child.in_stream(parent.stream());
            if !child.parents.contains(parent) {
                child.parents.push(parent.clone());
            }
            self.learn(now, &child, &Position::TrimHorizon, effects);
            told.insert(child.id);
        }
        let Some(lineage) = self.lineage(parent) else { return true };
        // Without ranges one child looks like all of them.
        let ranges = lineage.range(parent).is_some() && told.iter().all(|child| lineage.range(child).is_some());
        !ranges || !lineage.children_cover(parent)
    }

    /// Also where no child waits for its parents: a parent that a listing lacks may have records of its own.
    fn investigate_parents(&mut self, now: Moment, stream: u32, effects: &mut Vec<Effect>) {
        let Some(of) = self.streams.get_mut(index(stream)) else { return };
        let (mut freed, mut gone) = (Vec::new(), Vec::new());
        for absence in of.lineage.weigh_absences(&self.rows, now, of.discovery.asked_at()) {
            if let Some(at) = absence.ask_at {
                of.discovery.want(at);
            }
            let notice = match absence.verdict {
                Verdict::New => Notice::ParentMissing { shard: absence.shard, parent: absence.parent },
                Verdict::Expired => {
                    freed.extend(of.lineage.children(&absence.parent).cloned());
                    gone.push((absence.shard, absence.parent.clone()));
                    Notice::ParentPresumedExpired { parent: absence.parent }
                }
                Verdict::Known => continue,
            };
            effects.push(Effect::Notice(notice));
        }
        freed.into_iter().for_each(|child| self.look(child));
        gone.into_iter().for_each(|(child, parent)| self.parent_gone(&child, parent, effects));
    }

    /// Ends that wait for their children: a stream that was resharded shows them sooner or later, one that was shrunk or
    /// deleted never.
    fn settle_ends(&mut self, now: Moment, stream: u32, effects: &mut Vec<Effect>) {
        let Some(of) = self.streams.get(index(stream)) else { return };
        let (asked_at, mut wanted) = (of.discovery.asked_at(), None);
        for id in of.ends.clone() {
            let Some(of) = self.streams.get(index(stream)) else { return };
            let covered = of.lineage.children_cover(&id);
            let discovery = &of.discovery;
            let given_up = self.shards.update(&id, |shard| {
                let Stage::Ending(_, end) = &mut shard.stage else { return false };
                end.settled |= covered;
                if end.settled || !discovery.has_answered(end.ticket) {
                    return false;
                }
                // Listings that others asked for come as they like; only the passing of time is evidence.
                if asked_at >= end.not_before {
                    end.fruitless += 1;
                    end.not_before = now + STALENESS_PAUSE;
                }
                end.settled = end.fruitless >= FRUITLESS_LISTINGS;
                if !end.settled {
                    wanted = Some(wanted.unwrap_or(end.not_before).min(end.not_before));
                }
                end.settled
            });
            if given_up == Some(true) {
                effects.push(Effect::Notice(Notice::EndWithoutChildren { shard: id.clone() }));
            }
            if covered || given_up == Some(true) {
                self.look(id);
            }
        }
        if let (Some(at), Some(of)) = (wanted, self.streams.get_mut(index(stream))) {
            of.discovery.want(at);
        }
    }

    /// A key is owned while a shard that has it is not finished: after that, only the shard's children can bring it on.
    fn audit_coverage(&mut self, now: Moment, stream: u32, effects: &mut Vec<Effect>) {
        let Some(of) = self.streams.get_mut(index(stream)) else { return };
        let unfinished = self.shards.of_stream(stream).filter(|(_, shard)| !matches!(shard.stage, Stage::Finished));
        let ranges: Option<Vec<HashRange>> = unfinished.map(|(id, _)| of.lineage.range(id)).collect();
        // No shard at all is one hole: a stream always has shards, so such a listing is not to be believed at once.
        let holes = ranges.map(|ranges| discovery::uncovered(KEY_SPACE, ranges));
        let holes: BTreeSet<_> = holes.into_iter().flatten().map(|hole| (hole.start, hole.end)).collect();
        of.coverage.told.retain(|hole| holes.contains(hole));
        let asked_at = of.discovery.asked_at();
        let mut suspected = BTreeMap::new();
        for hole in holes {
            if of.coverage.told.contains(&hole) {
                continue;
            }
            let known = of.coverage.suspected.get(&hole).copied();
            let mut suspicion = known.unwrap_or(Suspicion::new(now, asked_at));
            suspicion.count(now, asked_at, STALENESS_PAUSE);
            if suspicion.sightings < FRUITLESS_LISTINGS {
                of.discovery.want(suspicion.not_before);
                suspected.insert(hole, suspicion);
            } else {
                let (start, end) = hole;
                effects.push(Effect::Notice(Notice::KeySpaceGap { stream, hole: HashRange { start, end } }));
                of.coverage.told.insert(hole);
            }
        }
        of.coverage.suspected = suspected;
    }

    /// What was forgotten is remembered until listings have stopped to bring it up.
    fn remember_forgotten(&mut self, now: Moment, stream: u32, shards: &[ShardDescription]) {
        let Some(of) = self.streams.get_mut(index(stream)) else { return };
        let asked_at = of.discovery.asked_at();
        for description in shards {
            if let Some(suspicion) = of.forgotten.get_mut(&description.id) {
                *suspicion = Suspicion::new(now, now + STALENESS_PAUSE);
            }
        }
        of.forgotten.retain(|_, suspicion| {
            suspicion.count(now, asked_at, STALENESS_PAUSE);
            suspicion.sightings < FRUITLESS_LISTINGS
        });
    }
}
