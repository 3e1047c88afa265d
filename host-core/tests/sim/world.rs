//! The stream: shards that split and merge, and records in them. It knows nothing of who reads it.

use std::collections::{BTreeMap, BTreeSet};

use host_core::coordinator::Scope;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardDescription, ShardId};

use crate::dice::Dice;
use crate::faults::Plan;

/// Records of a new shard are stamped up to this many milliseconds ahead of the clock.
pub(crate) const STAMPS_AHEAD_MAX: u64 = 1_000;

/// One record; its place in `World::log` is its global order.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: usize,
    pub(crate) sequence: SequenceNumber,
    pub(crate) written_at: u64,
    /// The service's arrival time is approximate.
    pub(crate) arrival: EpochMillis,
    pub(crate) event_time: EpochMillis,
    pub(crate) order: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) range: HashRange,
    pub(crate) parents: Vec<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) created_at: u64,
    pub(crate) closed_at: Option<u64>,
    /// Past retention: its records are gone, and listings do not show it.
    pub(crate) expired: bool,
    /// Expired before the pipeline first ran: nobody owes its records.
    pub(crate) lost: bool,
    /// No record is stamped earlier.
    pub(crate) stamps_from: u64,
    pub(crate) records: Vec<Record>,
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    /// Where each record went: shard and index, in the order of writing.
    pub(crate) log: Vec<(usize, usize)>,
    /// Places in the log of each key's records.
    pub(crate) by_key: Vec<Vec<usize>>,
    /// Streams with their hash keys.
    keys: Vec<(u32, u128)>,
    pub(crate) ranges: bool,
    /// Records written earlier are gone.
    pub(crate) trimmed: u64,
    by_id: BTreeMap<ShardId, usize>,
    /// By the text, so that nothing here depends on how sequence numbers compare.
    by_sequence: BTreeMap<String, (usize, usize)>,
    /// Lacked in a listing and not shown since.
    lacked: BTreeSet<usize>,
}

impl World {
    pub(crate) fn new(plan: &Plan, dice: &mut Dice) -> Self {
        let keys = (0..plan.keys).map(|key| (u32::try_from(key).expect("small") % plan.streams, dice.wide())).collect();
        let mut world = Self {
            shards: Vec::new(),
            log: Vec::new(),
            by_key: vec![Vec::new(); usize::try_from(plan.keys).expect("small")],
            keys,
            ranges: plan.ranges,
            trimmed: 0,
            by_id: BTreeMap::new(),
            by_sequence: BTreeMap::new(),
            lacked: BTreeSet::new(),
        };
        let slice = u128::MAX / u128::from(plan.first_shards);
        for index in 0..plan.first_shards * u64::from(plan.streams) {
            let (stream, index) = (index / plan.first_shards, index % plan.first_shards);
            let stream = u32::try_from(stream).expect("small");
            let start = slice * u128::from(index);
            let end = if index + 1 == plan.first_shards { u128::MAX } else { start + (slice - 1) };
            world.add(dice, stream, HashRange { start, end }, Vec::new(), 0);
        }
        world
    }

    pub(crate) fn find(&self, id: &ShardId) -> usize {
        *self.by_id.get(id).expect("the core knows only shards that the world told it")
    }

    /// How many records of `shard` lie at or before `position`. `None` if the position is not in that shard.
    pub(crate) fn reached(&self, shard: usize, position: &Position) -> Option<usize> {
        let records = &self.shards[shard].records;
        match position {
            Position::TrimHorizon => Some(0),
            Position::AtTimestamp(at) => {
                Some(records.iter().position(|record| record.arrival >= *at).unwrap_or(records.len()))
            }
            Position::After { sequence, .. } => {
                let (found, index) = self.by_sequence.get(sequence.as_str())?;
                (*found == shard).then_some(index + 1)
            }
            Position::ShardEnd => Some(records.len()),
        }
    }

    pub(crate) fn write(&mut self, now: u64, dice: &mut Dice) {
        let key = dice.index(self.keys.len());
        let (stream, hash) = self.keys[key];
        let open = |shard: &Shard| {
            shard.id.stream() == stream
                && shard.closed_at.is_none()
                && (shard.range.start..=shard.range.end).contains(&hash)
        };
        let shard = self.shards.iter().position(open).expect("open shards own every key");
        let sequence = sequence(self.log.len());
        let index = self.shards[shard].records.len();
        self.by_sequence.insert(sequence.as_str().to_owned(), (shard, index));
        let millis = i64::try_from(now).expect("small");
        let stamps_from = i64::try_from(self.shards[shard].stamps_from).expect("small");
        let back = |dice: &mut Dice, most| millis - i64::try_from(dice.between(0, most)).expect("small");
        self.shards[shard].records.push(Record {
            key,
            sequence,
            written_at: now,
            arrival: EpochMillis(back(dice, 200).max(stamps_from)),
            event_time: EpochMillis(back(dice, 1_500)),
            order: self.log.len(),
        });
        self.by_key[key].push(self.log.len());
        self.log.push((shard, index));
    }

    pub(crate) fn reshard(&mut self, now: u64, dice: &mut Dice) {
        let open: Vec<usize> = (0..self.shards.len()).filter(|shard| self.shards[*shard].closed_at.is_none()).collect();
        let chosen = open[dice.index(open.len())];
        let (stream, range) = (self.shards[chosen].id.stream(), self.shards[chosen].range);
        let neighbour = open.iter().copied().find(|other| {
            let other = &self.shards[*other];
            let (other, same) = (other.range, other.id.stream() == stream);
            same && other.start.checked_sub(1) == Some(range.end)
        });
        match neighbour {
            Some(other) if dice.percent(45) => {
                let whole = HashRange { start: range.start, end: self.shards[other].range.end };
                self.add(dice, stream, whole, vec![chosen, other], now);
            }
            _ if range.end - range.start > 1 => {
                let middle = range.start + (range.end - range.start) / 2;
                self.add(dice, stream, HashRange { start: range.start, end: middle }, vec![chosen], now);
                self.add(dice, stream, HashRange { start: middle + 1, end: range.end }, vec![chosen], now);
            }
            _ => {}
        }
    }

    /// Some of the oldest shards are gone before the pipeline first runs. Retention is much longer than a listing is stale:
    /// none is gone while its children may not be listed yet.
    pub(crate) fn expire_history(&mut self, now: u64, plan: &Plan, dice: &mut Dice) {
        let bound = dice.index(self.shards.len() + 1);
        for shard in 0..bound {
            let alone = self.shards[shard].parents.iter().all(|parent| self.shards[*parent].expired);
            let old = self.shards[shard].closed_at.is_some_and(|closed| closed + plan.listing_stale_max < now);
            if old && alone {
                self.shards[shard].expired = true;
                self.shards[shard].lost = true;
            }
        }
    }

    /// A complete answer, with the faults that the service allows itself.
    pub(crate) fn list(
        &mut self,
        now: u64,
        stream: u32,
        scope: &Scope,
        plan: &Plan,
        dice: &mut Dice,
    ) -> Vec<ShardDescription> {
        let seen = now.saturating_sub(dice.between(0, plan.listing_stale_max));
        let mut listed: Vec<usize> = (0..self.shards.len())
            .filter(|shard| self.shards[*shard].id.stream() == stream && self.shards[*shard].created_at <= seen)
            .filter(|shard| !self.shards[*shard].expired || dice.percent(plan.listing_repeats))
            .collect();
        if let Scope::After(greatest) = scope {
            listed.retain(|shard| self.shards[*shard].id > *greatest && !dice.percent(plan.listing_misses));
            return listed.into_iter().map(|shard| self.describe(shard)).collect();
        }
        let lack = (!listed.is_empty() && dice.percent(plan.listing_lacks)).then(|| listed[dice.index(listed.len())]);
        let lack = lack.filter(|shard| !self.lacked.contains(shard));
        listed.retain(|shard| Some(*shard) != lack);
        self.lacked.retain(|shard| !listed.contains(shard));
        self.lacked.extend(lack);
        if !listed.is_empty() && dice.percent(plan.listing_repeats) {
            listed.push(listed[0]);
        }
        dice.shuffle(&mut listed);
        listed.into_iter().map(|shard| self.describe(shard)).collect()
    }

    pub(crate) fn describe(&self, shard: usize) -> ShardDescription {
        let shard = &self.shards[shard];
        ShardDescription {
            id: shard.id.clone(),
            parents: shard.parents.iter().map(|parent| self.shards[*parent].id.clone()).collect(),
            range: self.ranges.then_some(shard.range),
            closed: shard.closed_at.is_some(),
        }
    }

    fn add(&mut self, dice: &mut Dice, stream: u32, range: HashRange, parents: Vec<usize>, now: u64) {
        let index = self.shards.len();
        // Ids whose text says nothing about age.
        let id = ShardId::in_stream(stream, &format!("shard-{:04x}-{index}", dice.between(0, 0xffff)));
        for parent in &parents {
            self.shards[*parent].closed_at = Some(now);
            self.shards[*parent].children.push(index);
        }
        let stamps_from = if parents.is_empty() { now } else { now + dice.between(0, STAMPS_AHEAD_MAX) };
        self.by_id.insert(id.clone(), index);
        self.shards.push(Shard {
            id,
            range,
            parents,
            children: Vec::new(),
            created_at: now,
            closed_at: None,
            expired: false,
            lost: false,
            stamps_from,
            records: Vec::new(),
        });
    }
}

/// Around 10^40, beyond 128 bits, and from forty digits to forty-one after the first few.
fn sequence(order: usize) -> SequenceNumber {
    const HALF: u128 = 10_u128.pow(20);
    let low = HALF - 15 + u128::try_from(order).expect("small");
    let text = format!("{}{:020}", HALF - 1 + low / HALF, low % HALF);
    SequenceNumber::parse(&text).expect("decimal")
}
