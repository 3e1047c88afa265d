//! What a stream in memory consists of, and how it changes.

use std::collections::{BTreeMap, BTreeSet};

use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, SequenceNumber, ShardDescription, ShardId};

use super::fan_out::FanOut;
use super::{Call, Children, Lag, LastPage, ListingOrder, Written};
use crate::ports::{ShardIterator, StreamStatus};

/// When the first record arrives, unless told otherwise: 2018-02-01T00:00:00Z.
const FIRST_ARRIVAL: i64 = 1_517_443_200_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) created: EpochMillis,
    pub(super) retention_hours: u32,
    pub(super) exists: bool,
    pub(super) shards: Vec<Shard>,
    pub(super) written: Vec<Written>,
    pub(super) now: i64,
    /// Iterators carry the generation they were made in; older ones have expired.
    pub(super) generation: u64,
    pub(super) failures: Vec<Failure>,
    pub(super) hung: BTreeSet<ShardId>,
    pub(super) unlisted: BTreeSet<ShardId>,
    pub(super) order: ListingOrder,
    pub(super) children: Children,
    pub(super) lag: Lag,
    pub(super) last_page: LastPage,
    pub(super) calls: BTreeMap<Call, u64>,
    pub(super) service_time: Option<EpochMillis>,
    pub(super) fan_out: FanOut,
    pub(super) status: StreamStatus,
    pub(super) max_record_bytes: Option<u64>,
    pub(super) places_by_key: bool,
    /// What each shard takes before it throttles, in bytes; `None`: anything.
    pub(super) room: Option<u64>,
    /// What the shards have taken of that.
    pub(super) taken: BTreeMap<ShardId, u64>,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) description: ShardDescription,
    /// Indices into [`State::written`].
    pub(super) records: Vec<usize>,
    /// How many of `records` are gone.
    pub(super) trimmed: usize,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) call: Call,
    pub(super) shard: Option<ShardId>,
    pub(super) code: String,
    pub(super) left: u32,
}

impl State {
    /// A stream of at least one shard; the shards divide the key space evenly.
    pub(super) fn new(shards: u32) -> Self {
        let shards = u128::from(shards.max(1));
        let width = u128::MAX / shards;
        let descriptions = (0..shards).map(|index| {
            let end = if index + 1 == shards { u128::MAX } else { (index + 1) * width - 1 };
            HashRange { start: index * width, end }
        });
        let mut state = Self {
            created: EpochMillis(FIRST_ARRIVAL - 1),
            retention_hours: 24,
            exists: true,
            shards: Vec::new(),
            written: Vec::new(),
            now: FIRST_ARRIVAL,
            generation: 0,
            failures: Vec::new(),
            hung: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            order: ListingOrder::Creation,
            children: Children::Told,
            lag: Lag::Told,
            last_page: LastPage::WithRecords,
            calls: BTreeMap::new(),
            service_time: None,
            fan_out: FanOut::default(),
            status: StreamStatus::Active,
            max_record_bytes: None,
            places_by_key: true,
            room: None,
            taken: BTreeMap::new(),
        };
        for range in descriptions {
            state.add_shard(Vec::new(), range);
        }
        state
    }

    pub(super) fn index(&self, shard: &ShardId) -> Option<usize> {
        self.shards.iter().position(|other| other.description.id == *shard)
    }

    /// The open shard that owns a hash key.
    pub(super) fn owner(&self, hash: u128) -> Option<usize> {
        let owns = |shard: &Shard| {
            let owned = |range: HashRange| range.start <= hash && hash <= range.end;
            !shard.description.closed && shard.description.range.is_some_and(owned)
        };
        self.shards.iter().position(owns)
    }

    pub(super) fn add_shard(&mut self, parents: Vec<ShardId>, range: HashRange) -> ShardId {
        let number =
            self.shards.iter().filter_map(|shard| shard.description.id.as_str().get(8..)?.parse::<u64>().ok()).max();
        let id = ShardId::new(&format!("shardId-{:012}", number.map_or(0, |number| number + 1)));
        let description = ShardDescription { id: id.clone(), parents, range: Some(range), closed: false };
        self.shards.push(Shard { description, records: Vec::new(), trimmed: 0 });
        id
    }

    pub(super) fn close(&mut self, shard: &ShardId) -> HashRange {
        let index = self.index(shard).expect("the test closes a shard that exists");
        let description = &mut self.shards[index].description;
        assert!(!description.closed, "{shard} is closed already");
        description.closed = true;
        description.range.expect("every shard here has a range")
    }

    pub(super) fn write(&mut self, index: usize, partition_key: &str, data: &[u8]) -> Written {
        let sequence = self.sequence(self.written.len());
        let written = Written {
            shard: self.shards[index].description.id.clone(),
            sequence,
            arrival: EpochMillis(self.now),
            partition_key: partition_key.to_owned(),
            data: data.to_vec(),
        };
        self.now += 1;
        self.shards[index].records.push(self.written.len());
        self.written.push(written.clone());
        written
    }

    /// The number of the record with this index.
    fn sequence(&self, index: usize) -> SequenceNumber {
        // As wide as the service's: 56 digits.
        let text = format!("4959033827149025660855969253836157109592{index:016}");
        SequenceNumber::parse(&text).expect("digits")
    }

    /// A number after everything that is written, and before everything that will be.
    pub(super) fn sequence_of_now(&self) -> SequenceNumber {
        match self.written.len().checked_sub(1) {
            Some(last) => self.sequence(last),
            None => SequenceNumber::parse("1").expect("a digit"),
        }
    }

    pub(super) fn scripted_failure(&mut self, call: Call, shard: Option<&ShardId>) -> Option<String> {
        let is_meant =
            |failure: &Failure| failure.call == call && (failure.shard.is_none() || failure.shard.as_ref() == shard);
        let failure = self.failures.iter_mut().find(|failure| failure.left > 0 && is_meant(failure))?;
        failure.left -= 1;
        Some(failure.code.clone())
    }

    pub(super) fn children_of(&self, shard: &ShardId) -> Vec<ShardDescription> {
        let descriptions = self.shards.iter().map(|shard| &shard.description);
        descriptions.filter(|child| child.parents.contains(shard)).cloned().collect()
    }

    pub(super) fn listing(&self) -> Vec<ShardDescription> {
        let listed = self.shards.iter().map(|shard| &shard.description);
        let mut listed: Vec<_> = listed.filter(|shard| !self.unlisted.contains(&shard.id)).cloned().collect();
        match self.order {
            ListingOrder::Creation => {}
            ListingOrder::Reverse => listed.reverse(),
            ListingOrder::Shuffled(seed) => {
                listed.sort_by_key(|shard| spread(&format!("{seed}/{}", shard.id)));
            }
        }
        listed
    }

    pub(super) fn encode(&self, shard: &ShardId, next: usize) -> ShardIterator {
        ShardIterator(format!("{}|{next}|{shard}", self.generation))
    }
}

/// A hash that shuffles listings: FNV-1a in 64 bits, then the finalizer of SplitMix64 for each half, so that short keys
/// spread.
pub(super) fn spread(key: &str) -> u128 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = key.bytes().fold(0xCBF2_9CE4_8422_2325, fnv);
    let mix = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    };
    (u128::from(mix(hash)) << 64) | u128::from(mix(hash.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}
