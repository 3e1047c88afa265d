//! One shard: a slice of the key space, a run of records, and where it came from.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::limits::Meters;
use super::sequence::Sequence;
use crate::simulated::clock::Millis;

/// One record as it was written. Shared with the truth, so it outlives its trimming.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The shard's number.
    pub shard: u32,
    /// Its sequence number.
    pub sequence: Sequence,
    /// `ApproximateArrivalTimestamp`.
    pub arrival: Millis,
    /// Its partition key.
    pub key: String,
    /// Its data.
    pub data: Vec<u8>,
    /// Whether it was encrypted at rest when it came.
    pub encrypted: bool,
}

impl Record {
    /// What it counts for against limits, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.data.len() + self.key.len()) as u64
    }
}

/// A slice of the key space, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// `StartingHashKey`.
    pub start: u128,
    /// `EndingHashKey`.
    pub end: u128,
}

/// What a listing tells of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// Its id.
    pub id: String,
    /// `ParentShardId` and `AdjacentParentShardId`; both may have vanished.
    pub parents: Vec<String>,
    /// Its slice of the key space.
    pub range: KeyRange,
    /// `StartingSequenceNumber`.
    pub first: Sequence,
    /// `EndingSequenceNumber`, once closed.
    pub last: Option<Sequence>,
}

impl ShardView {
    /// Whether nothing is written to it any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.last.is_some()
    }
}

/// The text of a shard's number.
pub(crate) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

/// The number in a shard's id.
pub(crate) fn shard_number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("shardId-")?;
    (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) number: u32,
    pub(crate) range: KeyRange,
    pub(crate) parents: Vec<u32>,
    pub(crate) children: Vec<u32>,
    pub(crate) created: Millis,
    pub(crate) closed: Option<Millis>,
    /// Creation in seconds as sequence numbers have it: later than that of its parents.
    pub(crate) created_secs: u64,
    /// The oldest record kept is this one; ordinals begin with 1.
    pub(crate) base: u64,
    records: VecDeque<Arc<Record>>,
    last_arrival: Millis,
    pub(crate) meters: Meters,
    /// Trimmed away with all that it held.
    pub(crate) is_gone: bool,
    /// Not shown in listings, though it is there.
    pub(crate) is_hidden: bool,
    /// Rings when something came or changed that a subscription may have to tell.
    pub(crate) bell: Arc<Notify>,
}

impl Shard {
    pub(crate) fn new(number: u32, range: KeyRange, parents: Vec<u32>, now: Millis, created_secs: u64) -> Self {
        Self {
            number,
            range,
            parents,
            children: Vec::new(),
            created: now,
            closed: None,
            created_secs,
            base: 1,
            records: VecDeque::new(),
            last_arrival: now,
            meters: Meters::default(),
            is_gone: false,
            is_hidden: false,
            bell: Arc::default(),
        }
    }

    /// The ordinal that the next record gets.
    pub(crate) fn next(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    pub(crate) fn view(&self, as_of: Millis) -> ShardView {
        let closed = self.closed.filter(|at| *at <= as_of);
        let number = |at: Millis| u64::try_from(at / 1000).unwrap_or_default();
        ShardView {
            id: shard_id(self.number),
            parents: self.parents.iter().map(|parent| shard_id(*parent)).collect(),
            range: self.range,
            first: Sequence { created: self.created_secs, ordinal: 0, at: self.created_secs, shard: self.number },
            last: closed.map(|at| Sequence::end(self.created_secs, self.number, number(at))),
        }
    }

    /// Takes a record. Arrival times never go back within a shard, whatever the clock does.
    pub(crate) fn push(&mut self, now: Millis, key: String, data: Vec<u8>, encrypted: bool) -> Arc<Record> {
        self.last_arrival = self.last_arrival.max(now);
        let at = u64::try_from(self.last_arrival / 1000).unwrap_or_default();
        let sequence = Sequence { created: self.created_secs, ordinal: self.next(), at, shard: self.number };
        let record =
            Arc::new(Record { shard: self.number, sequence, arrival: self.last_arrival, key, data, encrypted });
        self.records.push_back(Arc::clone(&record));
        self.bell.notify_waiters();
        record
    }

    /// Forgets what arrived before `horizon`.
    pub(crate) fn trim_before(&mut self, horizon: Millis) {
        while self.records.pop_front_if(|record| record.arrival < horizon).is_some() {
            self.base += 1;
        }
    }

    /// Forgets the oldest `count` records.
    pub(crate) fn trim(&mut self, count: u64) {
        let count = count.min(self.records.len() as u64);
        self.records.drain(..count as usize);
        self.base += count;
    }

    /// The ordinal of the first record that arrived at `at` or later.
    pub(crate) fn ordinal_at(&self, at: Millis) -> u64 {
        self.base + self.records.partition_point(|record| record.arrival < at) as u64
    }

    /// The number that stands for having passed everything before `next`, by now.
    pub(crate) fn reached(&self, next: u64, now: Millis) -> Sequence {
        let at = u64::try_from(self.last_arrival.max(now) / 1000).unwrap_or_default();
        Sequence { created: self.created_secs, ordinal: next - 1, at, shard: self.number }
    }

    /// Records from `ordinal` on, as many as the page takes, and the ordinal after them.
    pub(crate) fn page(&self, ordinal: u64, records_max: usize, bytes_max: u64) -> (Vec<Arc<Record>>, u64) {
        let from = ordinal.clamp(self.base, self.next());
        let (mut page, mut bytes) = (Vec::new(), 0);
        for record in self.records.range((from - self.base) as usize..).take(records_max) {
            if !page.is_empty() && bytes + record.size() > bytes_max {
                break;
            }
            bytes += record.size();
            page.push(Arc::clone(record));
        }
        let next = from + page.len() as u64;
        (page, next)
    }
}
