//! What listings, and the ends of shards, tell about the family.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{self, Shard, Stage};
use super::{Coordinator, Effect, Notice, Scope};
use crate::discovery::{self, Extent, KEY_SPACE, STALENESS_PAUSE};
use crate::gap::{Gap, GapReason, OnGap};
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
    pub(super) fn listed(
        &mut self,
        now: Moment,
        index: u32,
        scope: &Scope,
        shards: &[ShardDescription],
        effects: &mut Vec<Effect>,
    ) {
        if !self.has_stream(index) {
            return;
        }
        let extent = match scope {
            Scope::Full => Extent::Full,
            Scope::After(_) => Extent::Incremental,
        };
        let stream = &mut self.streams[index as usize];
        let expected = stream.discovery.answered(extent, shards.len());
        let start = stream.spend_start(!shards.is_empty());
        stream.note_newest(shards.iter().map(|shard| &shard.id));
        for description in shards.iter().filter(|shard| shard.id.stream() == index) {
            self.learn(now, description, &start, effects);
        }
        let stream = &mut self.streams[index as usize];
        match scope {
            Scope::Full => stream.lineage.listed(shards),
            Scope::After(_) => stream.lineage.also_listed(shards),
        }
        self.look_again = true;
        // A listing nobody asked for adds knowledge but is no evidence of absence: it may be an old one.
        if expected && extent == Extent::Full {
            self.audit(now, index, effects);
        }
        self.commits.note_change();
    }

    /// Weighs a full listing that was asked for.
    fn audit(&mut self, now: Moment, index: u32, effects: &mut Vec<Effect>) {
        self.streams[index as usize].may_forget = true;
        self.investigate_parents(now, index, effects);
        self.settle_ends(now, index, effects);
        self.judge_missing(now, index, effects);
        for id in self.to_settle.iter().filter(|id| id.stream() == index).cloned().collect::<Vec<_>>() {
            self.settle_missing(&id);
            self.note_if_urgent(&id);
        }
        self.audit_coverage(now, index, effects);
        let waiting = self.shards_of(index).filter(|(_, shard)| matches!(shard.stage, Stage::Waiting));
        let waiting: Vec<ShardId> = waiting.map(|(id, _)| id.clone()).collect();
        self.to_open.extend(waiting);
    }

    fn shards_of(&self, index: u32) -> impl Iterator<Item = (&ShardId, &Shard)> {
        self.shards.range(ShardId::in_stream(index, "")..).take_while(move |(id, _)| id.stream() == index)
    }

    fn learn(&mut self, now: Moment, description: &ShardDescription, start: &Position, effects: &mut Vec<Effect>) {
        let stream = self.stream_mut(&description.id);
        if !stream.lineage.learn(description) {
            return;
        }
        if stream.lineage.is_presumed_expired(&description.id) {
            effects.push(Effect::Notice(Notice::PresumedParentListed { parent: description.id.clone() }));
        }
        // Who its parents are, and whether they are done, is for a full listing to say.
        if stream.lineage.unknown_parents(&description.id).next().is_some() {
            stream.discovery.want(now);
        }
        self.add(now, description.id.clone(), start.clone());
    }

    fn add(&mut self, now: Moment, id: ShardId, start: Position) {
        let parents: Vec<ShardId> = self.lineage(&id).parents(&id).cloned().collect();
        // One of them may have waited for this child.
        parents.iter().for_each(|parent| self.note_if_urgent(parent));
        self.to_commit.insert(id.clone());
        self.unrecorded.insert(id.clone());
        self.shards.insert(id, Shard::new(start, now));
        self.look_again = true;
    }

    /// Children that came with their parent's end: always from their beginning.
    pub(super) fn learn_children(&mut self, now: Moment, parent: &ShardId, children: &[ShardDescription]) {
        for child in children.iter().filter(|child| child.id.stream() == parent.stream()) {
            let mut child = child.clone();
            if !child.parents.contains(parent) {
                child.parents.push(parent.clone());
            }
            if self.stream_mut(parent).lineage.learn(&child) {
                self.add(now, child.id, Position::TrimHorizon);
            }
        }
    }

    /// Also where no child waits for its parents: a parent that a listing lacks may have records of its own.
    fn investigate_parents(&mut self, now: Moment, index: u32, effects: &mut Vec<Effect>) {
        let stream = &mut self.streams[index as usize];
        for absence in stream.lineage.weigh_absences(&self.rows, now, stream.discovery.asked_at()) {
            if let Some(at) = absence.ask_at {
                stream.discovery.want(at);
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
    fn settle_ends(&mut self, now: Moment, index: u32, effects: &mut Vec<Effect>) {
        let stream = &mut self.streams[index as usize];
        for id in self.to_settle.iter().filter(|id| id.stream() == index) {
            let Some(Shard { stage: Stage::Ending(_, end), .. }) = self.shards.get_mut(id) else { continue };
            end.settled |= stream.lineage.children_cover(id);
            if end.settled || !stream.discovery.has_answered(end.ticket) {
                continue;
            }
            // Listings that others asked for come as they like; only the passing of time is evidence.
            if stream.discovery.asked_at() >= end.not_before {
                end.fruitless += 1;
                end.not_before = now + STALENESS_PAUSE;
            }
            if end.fruitless < FRUITLESS_LISTINGS {
                stream.discovery.want(end.not_before);
            } else {
                end.settled = true;
                effects.push(Effect::Notice(Notice::EndWithoutChildren { shard: id.clone() }));
            }
        }
    }

    /// Shards that the service denied although it had listed them. One word is not enough to give up unread records, so
    /// listings decide: one that shows the shard has it opened again, several without it make it a gap (GAP-1).
    fn judge_missing(&mut self, now: Moment, index: u32, effects: &mut Vec<Effect>) {
        let stream = &mut self.streams[index as usize];
        let mut gone = Vec::new();
        for id in self.to_settle.iter().filter(|id| id.stream() == index) {
            let Some(Shard { stage: Stage::Missing(_, missing), .. }) = self.shards.get_mut(id) else { continue };
            if missing.verdict.is_some() || !stream.discovery.has_answered(missing.ticket) {
                continue;
            }
            if stream.lineage.is_listed(id) {
                missing.verdict = Some(session::Verdict::Exists);
                continue;
            }
            if stream.discovery.asked_at() >= missing.not_before {
                missing.absences += 1;
                missing.not_before = now + STALENESS_PAUSE;
            }
            if missing.absences < FRUITLESS_LISTINGS {
                stream.discovery.want(missing.not_before);
            } else {
                missing.verdict = Some(session::Verdict::Gone);
                gone.push(id.clone());
            }
        }
        for shard in gone {
            let row = self.rows.get(&shard);
            let from = row.map_or(Position::TrimHorizon, |row| row.position.clone());
            let since = row.and_then(|row| row.complete_until);
            let gap = Gap { shard, reason: GapReason::ShardGone, from, to: None, since, until: None };
            match self.settings.on_gap {
                OnGap::Fail => effects.push(Effect::Stop(gap)),
                OnGap::Continue => self.pass_over(gap, effects),
            }
        }
    }

    /// Reports a gap behind which reading goes on.
    pub(super) fn pass_over(&mut self, gap: Gap, effects: &mut Vec<Effect>) {
        self.totals.gaps += 1;
        effects.push(Effect::Notice(Notice::Gap(gap)));
    }

    /// A key is owned while a shard that has it is not finished: after that, only the shard's children can bring it on.
    fn audit_coverage(&mut self, now: Moment, index: u32, effects: &mut Vec<Effect>) {
        let unfinished = self.shards_of(index).filter(|(_, shard)| !matches!(shard.stage, Stage::Finished | Stage::Gone));
        let lineage = &self.streams[index as usize].lineage;
        let ranges: Option<Vec<HashRange>> = unfinished.map(|(id, _)| lineage.range(id)).collect();
        // No shard at all is one hole: a stream always has shards, so such a listing is not to be believed at once.
        let holes = ranges.map(|ranges| discovery::uncovered(KEY_SPACE, ranges));
        let holes: BTreeSet<_> = holes.into_iter().flatten().map(|hole| (hole.start, hole.end)).collect();
        let stream = &mut self.streams[index as usize];
        stream.coverage.told.retain(|hole| holes.contains(hole));
        let asked_at = stream.discovery.asked_at();
        let mut suspected = BTreeMap::new();
        for hole in holes {
            if stream.coverage.told.contains(&hole) {
                continue;
            }
            let known = stream.coverage.suspected.get(&hole).copied();
            let mut suspicion = known.unwrap_or(Suspicion { sightings: 0, not_before: asked_at });
            if asked_at >= suspicion.not_before {
                suspicion = Suspicion { sightings: suspicion.sightings + 1, not_before: now + STALENESS_PAUSE };
            }
            if suspicion.sightings < FRUITLESS_LISTINGS {
                stream.discovery.want(suspicion.not_before);
                suspected.insert(hole, suspicion);
            } else {
                let (start, end) = hole;
                effects.push(Effect::Notice(Notice::KeySpaceGap { stream: index, hole: HashRange { start, end } }));
                stream.coverage.told.insert(hole);
            }
        }
        stream.coverage.suspected = suspected;
    }
}
