//! Iterators and pages.
//!
//! An iterator is text that only the service reads: a stream's incarnation, a shard, the ordinal that comes next, when it
//! was made, and a check sum. It points to a place, not to a record: what was trimmed meanwhile is passed over without a
//! word, as AWS does.

use std::sync::Arc;

use aws_smithy_types::base64;

use super::habits::{Children, Habits, Lag, LastPage};
use super::limits::Limits;
use super::sequence::Sequence;
use super::shard::{Record, Shard, ShardView, shard_id, shard_number};
use super::stream::{Status, Stream};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// What a page is asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardIterator {
    pub(crate) stream: String,
    /// The incarnation.
    pub(crate) created: Millis,
    pub(crate) shard: u32,
    pub(crate) next: u64,
    pub(crate) issued: Millis,
}

impl ShardIterator {
    pub(crate) fn encode(&self) -> String {
        let Self { stream, created, shard, next, issued } = self;
        let text = format!("{stream}|{created}|{shard}|{next}|{issued}");
        // Those of AWS begin with zeros, too.
        base64::encode(format!("\0\0\0\0\0\0\0\0\0{:016x}|{text}", check_sum(&text)))
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = base64::decode(text).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?.trim_start_matches('\0');
        let (sum, text) = text.split_once('|')?;
        if u64::from_str_radix(sum, 16).ok()? != check_sum(text) {
            return None;
        }
        let mut parts = text.split('|');
        let stream = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse::<i64>().ok();
        let (created, shard, next, issued) = (number()?, number()?, number()?, number()?);
        Some(Self { stream, created, shard: u32::try_from(shard).ok()?, next: u64::try_from(next).ok()?, issued })
    }
}

/// FNV-1a.
pub(super) fn check_sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where `GetShardIterator` is told to begin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StartAt {
    TrimHorizon,
    Latest,
    At(String),
    After(String),
    Timestamp(Millis),
}

pub(crate) struct Page {
    pub(crate) records: Vec<Arc<Record>>,
    pub(crate) next: Option<ShardIterator>,
    pub(crate) behind: Option<Millis>,
    pub(crate) children: Option<Vec<ShardView>>,
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::client("InvalidArgumentException", message)
}

impl Lag {
    /// What is told of the distance from the last of these records to the tip.
    pub(crate) fn of(self, records: &[Arc<Record>], is_last: bool, now: Millis) -> Option<Millis> {
        let behind = match records.last() {
            Some(record) if !is_last => (now - record.arrival).max(0),
            _ => 0,
        };
        match self {
            Self::Told => Some(behind),
            Self::Zero => Some(0),
            Self::Omitted => None,
        }
    }
}

impl Shard {
    /// Whether the shard ends with these records.
    pub(crate) fn has_ended(&self, habits: Habits, records: &[Arc<Record>], is_last: bool) -> bool {
        let may_end = match habits.last_page {
            LastPage::WithRecords => true,
            LastPage::Empty => records.is_empty(),
        };
        self.closed.is_some() && is_last && may_end
    }
}

impl Stream {
    /// What the end of a shard tells of its children.
    pub(crate) fn children_told(&self, shard: u32, now: Millis) -> Option<Vec<ShardView>> {
        match self.habits.children {
            Children::Told => {
                let children = self.all().get(shard as usize)?.children.iter();
                Some(children.filter_map(|child| Some(self.all().get(*child as usize)?.view(now))).collect())
            }
            Children::Omitted => None,
        }
    }

    fn too_fast(&self, shard: &str) -> Refusal {
        let (name, account) = (&self.name, &self.account);
        Refusal::client(
            "ProvisionedThroughputExceededException",
            format!("Rate exceeded for shard {shard} in stream {name} under account {account}."),
        )
    }

    /// `GetShardIterator`.
    pub(crate) fn iterator(
        &mut self,
        id: &str,
        from: &StartAt,
        now: Millis,
        limits: &Limits,
    ) -> Result<ShardIterator, Refusal> {
        if self.status(now) == Status::Creating {
            return Err(self.no_such_shard(id));
        }
        if !self.shard(id, now)?.meters.open(now, limits) {
            return Err(self.too_fast(id));
        }
        let (next, shard) = self.place(id, from, now, "GetShardIterator")?;
        Ok(ShardIterator { stream: self.name.clone(), created: self.created, shard, next, issued: now })
    }

    /// The ordinal to begin with, and the number of the shard.
    pub(crate) fn place(
        &mut self,
        id: &str,
        from: &StartAt,
        now: Millis,
        operation: &str,
    ) -> Result<(u64, u32), Refusal> {
        let (name, account) = (self.name.clone(), self.account.clone());
        let shard = self.shard(id, now)?;
        let at = |text: &str| {
            let used = format!(
                "StartingSequenceNumber {text} used in {operation} on shard {id} in stream {name} under account {account}"
            );
            let sequence = Sequence::parse(text).ok_or_else(|| invalid(format!("{used} is invalid.")))?;
            if sequence.shard != shard.number {
                let other = shard_id(sequence.shard);
                return Err(invalid(format!(
                    "Invalid StartingSequenceNumber. It encodes {other}, while it was used in a call to a shard with {id}"
                )));
            }
            if sequence.created != shard.created_secs {
                return Err(invalid(format!("{used} is invalid because it did not come from this stream.")));
            }
            if sequence.is_end() && shard.closed.is_some() {
                return Ok(shard.next());
            }
            if sequence.ordinal >= shard.next() {
                return Err(invalid(format!("{used} is invalid.")));
            }
            Ok(sequence.ordinal)
        };
        let next = match from {
            StartAt::TrimHorizon => shard.base,
            StartAt::Latest => shard.next(),
            StartAt::At(text) => at(text)?,
            StartAt::After(text) => (at(text)? + 1).min(shard.next()),
            StartAt::Timestamp(at) if *at > now => {
                return Err(invalid(format!(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: {at}, currentTimestampInMillis: {now}"
                )));
            }
            StartAt::Timestamp(at) => shard.ordinal_at(*at),
        };
        Ok((next.max(shard.base), shard.number))
    }

    /// `GetRecords`.
    pub(crate) fn page(
        &mut self,
        at: &ShardIterator,
        limit: usize,
        now: Millis,
        limits: &Limits,
    ) -> Result<Page, Refusal> {
        let id = shard_id(at.shard);
        if at.created != self.created {
            return Err(self.no_such_shard(&id));
        }
        let life = i64::try_from(limits.iterator_life.as_millis()).unwrap_or(i64::MAX);
        if now - at.issued > life {
            return Err(Refusal::client(
                "ExpiredIteratorException",
                format!(
                    "Iterator expired. The iterator was created at time {} while right now it is {now} which is further in the future than the tolerated delay of {life} milliseconds.",
                    at.issued
                ),
            ));
        }
        self.check_key()?;
        let habits = self.habits;
        let shard = self.shard(&id, now)?;
        if !shard.meters.may_read(now, limits) {
            return Err(self.too_fast(&id));
        }
        let (records, next) = shard.page(at.next, limit.min(limits.page_records), limits.page_bytes);
        shard.meters.was_read(now, records.iter().map(|record| record.size()).sum(), limits);
        let is_last = next == shard.next();
        let behind = habits.lag.of(&records, is_last, now);
        let has_ended = shard.has_ended(habits, &records, is_last);
        if !has_ended {
            let next = Some(ShardIterator { next, issued: now, ..at.clone() });
            return Ok(Page { records, next, behind, children: None });
        }
        let children = self.children_told(at.shard, now);
        Ok(Page { records, next: None, behind, children })
    }
}

/// The shard that an iterator is for, as far as its text tells.
pub(crate) fn shard_of(iterator: &str) -> Option<(String, String)> {
    ShardIterator::decode(iterator).map(|iterator| (iterator.stream, shard_id(iterator.shard)))
}

/// Whether text can be a shard's id.
pub(crate) fn is_shard_id(text: &str) -> bool {
    shard_number(text).is_some()
}
