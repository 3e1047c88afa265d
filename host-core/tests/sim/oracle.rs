//! What must hold, told by the world, the sink and the store; nothing here asks the core.

use std::collections::{BTreeMap, BTreeSet};

use host_core::checkpoint::{Commit, ShardRow};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};

use crate::retention::Losses;
use crate::world::World;

/// What was violated, and how.
pub(crate) type Verdict = Result<(), String>;

/// The store and the sink, with an eye on both.
#[derive(Default)]
pub(crate) struct Oracle {
    preserve_order: bool,
    /// For the shards of the first listing.
    pub(crate) start: Option<EpochMillis>,
    pub(crate) rows: BTreeMap<ShardId, ShardRow>,
    /// Durable mark of the one sink that has one.
    pub(crate) mark: usize,
    /// That sink: places in the world's log.
    pub(crate) file: Vec<usize>,
    /// Shards of the first listing; those start at the start point, all others at their beginning.
    first_listing: BTreeMap<u32, BTreeSet<usize>>,
    /// The first listing of this run of streams without rows.
    candidate: BTreeMap<u32, BTreeSet<usize>>,
    /// By place in the log: a receipt for it reached the core.
    confirmed: Vec<bool>,
    delivered: Vec<bool>,
    /// By shard: the index after the last record delivered in this run.
    run_reached: BTreeMap<usize, usize>,
    /// By key: the order of the last record delivered in this run.
    run_last: BTreeMap<usize, usize>,
    ended: BTreeSet<usize>,
    reading: BTreeSet<usize>,
    watermark: Option<EpochMillis>,
    pub(crate) losses: Losses,
}

impl Oracle {
    pub(crate) fn new(preserve_order: bool, start: Option<EpochMillis>) -> Self {
        Self { preserve_order, start, ..Self::default() }
    }

    pub(crate) fn run_starts(&mut self) {
        self.file.truncate(self.mark);
        self.candidate.clear();
        self.run_reached.clear();
        self.run_last.clear();
        self.reading.clear();
        self.watermark = None;
    }

    /// A full listing reaches the core.
    pub(crate) fn listed(&mut self, stream: u32, shards: BTreeSet<usize>) {
        let has_rows = self.rows.keys().any(|shard| shard.stream() == stream);
        if !has_rows && !shards.is_empty() {
            self.candidate.entry(stream).or_insert(shards);
        }
    }

    /// Index of the first record of `shard` that must be delivered.
    fn first_expected(&self, world: &World, shard: usize) -> usize {
        let at_start =
            self.first_listing.get(&world.shards[shard].id.stream()).is_some_and(|first| first.contains(&shard));
        match self.start {
            Some(at) if at_start => world.reached(shard, &Position::AtTimestamp(at)).expect("a start point"),
            Some(_) | None => 0,
        }
    }

    fn is_expected(&self, world: &World, shard: usize, index: usize) -> bool {
        !world.shards[shard].lost && index >= self.first_expected(world, shard)
    }

    fn durable(&self, world: &World, shard: usize) -> Result<usize, String> {
        let Some(row) = self.rows.get(&world.shards[shard].id) else { return Ok(0) };
        let place = world.reached(shard, &row.position);
        place.ok_or_else(|| format!("CKP-1: {} is at {}, which is no place in it", row.shard, row.position))
    }

    /// LIN-1, POS-1, LIN-3, ASN-1: a reader starts.
    pub(crate) fn opened(&mut self, world: &World, shard: usize, from: &Position) -> Verdict {
        let id = &world.shards[shard].id;
        let Some(row) = self.rows.get(id) else { return Err(format!("POS-1: {id} is read without a durable row")) };
        if row.position != *from {
            return Err(format!("CKP-1: {id} is opened at {from}, its row says {}", row.position));
        }
        if !self.reading.insert(shard) {
            return Err(format!("ASN-1: {id} is opened twice"));
        }
        let at_start =
            self.first_listing.get(&world.shards[shard].id.stream()).is_some_and(|first| first.contains(&shard));
        if let (Position::AtTimestamp(_), false) = (from, at_start) {
            return Err(format!("LIN-3: {id} was not in the first listing and is read from {from}"));
        }
        if self.ended.contains(&shard) && !world.shards[shard].expired {
            return Err(format!("LIN-2: {id} is finished and read again"));
        }
        for parent in &world.shards[shard].parents {
            if self.preserve_order && !world.shards[*parent].expired && !self.ended.contains(parent) {
                return Err(format!("LIN-1: {id} is read before the end of {} is durable", world.shards[*parent].id));
            }
        }
        Ok(())
    }

    /// Whether the end of `shard` is durable.
    pub(crate) fn has_ended(&self, shard: usize) -> bool {
        self.ended.contains(&shard)
    }

    /// A reader reads no more.
    pub(crate) fn stopped(&mut self, shard: usize) {
        self.reading.remove(&shard);
    }

    /// ORD-1, CKP-1, POS-1: a record reaches the sink. Returns the sink's mark after it.
    pub(crate) fn delivered(&mut self, world: &World, shard: usize, index: usize) -> Result<usize, String> {
        let record = &world.shards[shard].records[index];
        let (order, id) = (record.order, &world.shards[shard].id);
        self.confirmed.resize(world.log.len(), false);
        self.delivered.resize(world.log.len(), false);
        if !self.is_expected(world, shard, index) {
            return Err(format!("POS-1: record {order} of {id} lies before the start point"));
        }
        let durable = self.durable(world, shard)?;
        // The first of a run restarts at the durable position; nothing skips or repeats after that.
        let next = self.run_reached.insert(shard, index + 1).unwrap_or(durable);
        if self.losses.on && next < index {
            self.check_skipped(world, shard, next, index)?;
        } else if next != index || index < durable {
            return Err(format!("CKP-1: record {index} of {id} is delivered, {next} is next, {durable} are durable"));
        }
        if self.preserve_order {
            self.check_key_order(world, record.key, order)?;
        }
        self.delivered[order] = true;
        self.file.push(order);
        Ok(self.file.len())
    }

    fn check_key_order(&mut self, world: &World, key: usize, order: usize) -> Verdict {
        if self.run_last.insert(key, order).is_some_and(|last| last >= order) {
            return Err(format!("ORD-1: record {order} of key {key} follows a later one in one run"));
        }
        let places = &world.by_key[key];
        let before = places.partition_point(|place| *place < order);
        let expected = |place: &&usize| self.is_expected(world, world.log[**place].0, world.log[**place].1);
        match places[..before].iter().rev().find(expected) {
            Some(previous)
                if !self.delivered[*previous]
                    // What is gone cannot follow; that it is told in the end is asked then.
                    && world.shards[world.log[*previous].0].records[world.log[*previous].1].written_at >= world.trimmed =>
            {
                let (shard, index) = world.log[*previous];
                let written = world.shards[shard].records[index].written_at;
                let id = &world.shards[shard].id;
                Err(format!(
                    "ORD-1: record {order} of key {key} is delivered before record {previous} of {id}, written at {written}"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A receipt reaches the core.
    pub(crate) fn confirmed(&mut self, world: &World, shard: usize, first: usize, count: usize) {
        for record in &world.shards[shard].records[first..first + count] {
            self.confirmed[record.order] = true;
        }
    }

    /// CKP-1, CKP-2, DEL-1, LIN-2: a commit becomes durable.
    pub(crate) fn committed(&mut self, world: &World, commit: &Commit) -> Verdict {
        for row in &commit.create {
            if self.rows.insert(row.shard.clone(), row.clone()).is_some() {
                return Err(format!("CKP-2: the row of {} is made twice", row.shard));
            }
        }
        for row in &commit.create {
            if let Some(candidate) = self.candidate.remove(&row.shard.stream()) {
                self.first_listing.entry(row.shard.stream()).or_insert(candidate);
            }
        }
        for advance in &commit.advance {
            let shard = world.find(&advance.shard);
            let Some(row) = self.rows.get(&advance.shard) else {
                return Err(format!("CKP-2: {} moves without a row", advance.shard));
            };
            if row.position != advance.from {
                return Err(format!("CKP-2: {} moves from {}, but is at {}", row.shard, advance.from, row.position));
            }
            self.check_advance(world, shard, &advance.from, &advance.to)?;
            let row = self.rows.get_mut(&advance.shard).expect("just seen");
            row.position = advance.to.clone();
            row.watermark = advance.watermark;
            row.complete_until = row.complete_until.max(advance.complete_until);
            row.finished_at = advance.finished_at;
            row.children.extend(advance.children.iter().cloned());
        }
        for advance in commit.advance.iter().filter(|advance| advance.to.is_end()) {
            self.check_end(world, world.find(&advance.shard))?;
        }
        for id in &commit.forget {
            if self.rows.remove(id).is_none_or(|row| !row.position.is_end()) {
                return Err(format!("LIN-2: {id} is forgotten and was not finished"));
            }
            if !world.shards[world.find(id)].expired && !self.losses.on {
                return Err(format!("LIN-2: {id} is forgotten within retention"));
            }
        }
        for mark in &commit.marks {
            self.mark = self.mark.max(usize::try_from(mark.mark).expect("small"));
        }
        self.note_rows(world);
        self.check_kept(world)
    }

    fn check_advance(&self, world: &World, shard: usize, from: &Position, to: &Position) -> Verdict {
        let id = &world.shards[shard].id;
        let place = |position: &Position| {
            world.reached(shard, position).ok_or_else(|| format!("CKP-1: {position} is no place in {id}"))
        };
        let (from_index, to_index) = (place(from)?, place(to)?);
        if to_index < from_index || (to_index == from_index && !to.is_end() && to != from) {
            return Err(format!("CKP-2: {id} moves from {from} to {to}"));
        }
        let records = &world.shards[shard].records[from_index..to_index];
        let expired = world.shards[shard].expired;
        let is_confirmed = |index: &usize| self.confirmed.get(world.shards[shard].records[*index].order) == Some(&true);
        if self.losses.on {
            let mut skipped = (from_index..to_index).filter(|index| !is_confirmed(index));
            return skipped.try_for_each(|index| self.check_skipped(world, shard, index, index + 1));
        }
        match records.iter().find(|record| !self.confirmed.get(record.order).copied().unwrap_or(false)) {
            Some(record) if !expired => {
                Err(format!("CKP-1: {id} moves to {to}, and record {} is not confirmed", record.order))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_end(&mut self, world: &World, shard: usize) -> Verdict {
        let id = &world.shards[shard].id;
        if world.shards[shard].closed_at.is_none() {
            return Err(format!("DEL-1: {id} is finished and still open"));
        }
        let unknown = |child: &&usize| {
            let known = self.rows.contains_key(&world.shards[**child].id) || self.ended.contains(*child);
            !known && !world.shards[**child].expired
        };
        let children = &world.shards[shard].children;
        let unknown: Vec<_> = children.iter().filter(unknown).collect();
        // Without ranges one child looks like all of them; the others come later, and then start at their beginning.
        let bearable = if world.ranges { 0 } else { children.len().saturating_sub(1) };
        if unknown.len() > bearable {
            return Err(format!("LIN-2: the end of {id} is durable without its children {unknown:?}"));
        }
        self.ended.insert(shard);
        Ok(())
    }

    /// WMK-1: `in_flight` are the event times that the core was told are read and not confirmed.
    pub(crate) fn watermark(&mut self, now: Option<EpochMillis>, in_flight: Option<EpochMillis>) -> Verdict {
        if now < self.watermark {
            return Err(format!("WMK-1: the watermark falls from {:?} to {now:?}", self.watermark));
        }
        if now > self.watermark && in_flight.is_some_and(|earliest| now > Some(earliest)) {
            return Err(format!("WMK-1: the watermark rises to {now:?} past {in_flight:?}, which is in flight"));
        }
        self.watermark = now;
        Ok(())
    }

    /// The retention of shards whose end is durable may pass.
    pub(crate) fn expire(&self, world: &mut World, now: u64, retention: u64) {
        if self.losses.on {
            return;
        }
        for shard in &self.ended {
            let shard = &mut world.shards[*shard];
            shard.expired |= shard.closed_at.is_some_and(|closed| closed + retention <= now);
        }
    }

    /// A run ended in order: whatever it delivered is durable, so the next one repeats nothing.
    pub(crate) fn ended_cleanly(&self, world: &World) -> Verdict {
        for (shard, reached) in &self.run_reached {
            if !self.ended.contains(shard) && self.durable(world, *shard)? < *reached {
                return Err(format!("CKP-1: {} was drained, and its end will repeat", world.shards[*shard].id));
            }
        }
        Ok(())
    }

    /// Everything written up to `until` is durable.
    pub(crate) fn is_complete(&self, world: &World, until: u64) -> Verdict {
        for (order, (shard, index)) in world.log.iter().enumerate() {
            let written = world.shards[*shard].records[*index].written_at <= until;
            if !written || !self.is_expected(world, *shard, *index) {
                continue;
            }
            let durable = self.ended.contains(shard) || self.durable(world, *shard)? > *index;
            let delivered = durable && self.delivered.get(order).copied().unwrap_or(false);
            if !delivered && !self.is_told_lost(world, *shard, *index) {
                return Err(format!("DEL-1: record {order} of {} is missing", world.shards[*shard].id));
            }
        }
        Ok(())
    }

    /// The end of a history: all shards are done with, and the sink that was cut back has every record.
    pub(crate) fn is_over(&self, world: &World) -> Verdict {
        self.is_complete(world, u64::MAX)?;
        let open = |shard: &usize| world.shards[*shard].closed_at.is_some() && !world.shards[*shard].expired;
        if let Some(shard) = (0..world.shards.len()).filter(open).find(|shard| !self.ended.contains(shard)) {
            return Err(format!("LIN-2: {} is closed and never finished", world.shards[shard].id));
        }
        let file: BTreeSet<usize> = self.file[..self.mark].iter().copied().collect();
        let expected = |order: &usize| {
            let (shard, index) = world.log[*order];
            self.is_expected(world, shard, index) && !self.is_told_lost(world, shard, index)
        };
        match (0..world.log.len()).filter(expected).find(|order| !file.contains(order)) {
            Some(order) => Err(format!("CKP-1: record {order} was cut off the file and not written again")),
            None => Ok(()),
        }
    }
}
