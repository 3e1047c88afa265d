//! One stream: its shards, who owns which key, and everything that was ever written to it.
//!
//! A pure model: every call says what time it is. Shards are numbered densely, so a shard is found by its number in no
//! time; records are trimmed when somebody looks; a listing costs what it shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::consumers::Consumers;
use super::habits::{Encryption, Habits};
use super::limits::{Limits, Window};
use super::shard::{KeyRange, Record, Shard, ShardView, shard_id, shard_number};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// `StreamStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It has no shards yet.
    Creating,
    /// It can be used.
    Active,
    /// Its shards are being changed.
    Updating,
    /// It goes away.
    Deleting,
}

impl Status {
    /// As AWS writes it.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) created: Millis,
    pub(crate) retention_hours: u32,
    pub(crate) encryption: Encryption,
    pub(crate) habits: Habits,
    /// What the stream is until when.
    pub(crate) changing: Option<(Status, Millis)>,
    shards: Vec<Shard>,
    /// The open shard of a key is the last one that starts at or before it.
    owners: BTreeMap<u128, u32>,
    /// Everything ever written, in order of arrival, as long as that is kept.
    pub(crate) written: Vec<Arc<Record>>,
    pub(crate) keeps_truth: bool,
    pub(crate) listings: Window,
    pub(crate) consumers: Consumers,
    /// `MaxRecordSizeInKiB`.
    pub(crate) record_kib_max: usize,
    /// Entries that are refused, whatever the limits.
    pub(crate) refused: Vec<RefusedEntries>,
}

/// Entries for a shard that are refused one by one, with a code of their own.
#[derive(Clone, Debug)]
pub(crate) struct RefusedEntries {
    pub(crate) shard: String,
    pub(crate) code: String,
    pub(crate) left: usize,
}

impl Stream {
    pub(crate) fn new(name: &str, (region, account): (&str, &str), shards: u32, now: Millis) -> Self {
        let mut stream = Self {
            name: name.to_owned(),
            arn: format!("arn:aws:kinesis:{region}:{account}:stream/{name}"),
            account: account.to_owned(),
            created: now,
            retention_hours: 24,
            encryption: Encryption::None,
            habits: Habits::default(),
            changing: None,
            shards: Vec::new(),
            owners: BTreeMap::new(),
            written: Vec::new(),
            keeps_truth: true,
            listings: Window::default(),
            consumers: Consumers::default(),
            record_kib_max: 1024,
            refused: Vec::new(),
        };
        for range in even_ranges(shards.max(1)) {
            stream.add_shard(range, Vec::new(), now);
        }
        stream
    }

    pub(crate) fn status(&self, now: Millis) -> Status {
        match self.changing {
            Some((status, until)) if now < until => status,
            _ => Status::Active,
        }
    }

    /// Begins a change that takes a while, or none at all.
    pub(crate) fn change(&mut self, status: Status, until: Millis) {
        self.changing = Some((status, until));
    }

    pub(crate) const fn horizon(&self, now: Millis) -> Millis {
        now - self.retention_hours as Millis * 3_600_000
    }

    pub(crate) fn check_key(&self) -> Result<(), Refusal> {
        self.encryption.check()
    }

    /// Refuses what needs a stream that is not just being changed.
    pub(crate) fn check_active(&self, now: Millis) -> Result<(), Refusal> {
        let status = self.status(now);
        if status == Status::Active {
            return Ok(());
        }
        let (name, account, status) = (&self.name, &self.account, status.as_str());
        Err(Refusal::client(
            "ResourceInUseException",
            format!("Stream {name} under account {account} not ACTIVE, instead in state {status}"),
        ))
    }

    /// Lets every subscription look again.
    pub(crate) fn ring(&self) {
        self.shards.iter().for_each(|shard| shard.bell.notify_waiters());
    }

    /// Lets the subscriptions to one shard look again.
    pub(crate) fn ring_shard(&self, number: u32) {
        self.bell(number).notify_waiters();
    }

    /// The bell of a shard that there is.
    pub(crate) fn bell(&self, number: u32) -> Arc<Notify> {
        Arc::clone(&self.shards[number as usize].bell)
    }

    pub(crate) fn open_count(&self) -> usize {
        self.owners.len()
    }

    pub(crate) fn all(&self) -> &[Shard] {
        &self.shards
    }

    pub(crate) fn no_such_shard(&self, id: &str) -> Refusal {
        let (name, account) = (&self.name, &self.account);
        Refusal::client(
            "ResourceNotFoundException",
            format!("Could not find shard {id} in stream {name} under account {account}."),
        )
    }

    /// The shard of that id, trimmed to what it still holds now.
    pub(crate) fn shard(&mut self, id: &str, now: Millis) -> Result<&mut Shard, Refusal> {
        let number = shard_number(id).ok_or_else(|| self.no_such_shard(id))?;
        self.refresh(number, now);
        match self.shards.get(number as usize) {
            Some(shard) if !shard.is_gone => Ok(&mut self.shards[number as usize]),
            _ => Err(self.no_such_shard(id)),
        }
    }

    /// Trims one shard, and lets it go once it closed longer ago than records are kept.
    pub(crate) fn refresh(&mut self, number: u32, now: Millis) {
        let horizon = self.horizon(now);
        if let Some(shard) = self.shards.get_mut(number as usize) {
            shard.trim_before(horizon);
            shard.is_gone |= shard.closed.is_some_and(|at| at < horizon);
        }
    }

    pub(crate) fn refresh_all(&mut self, now: Millis) {
        for number in 0..self.shards.len() as u32 {
            self.refresh(number, now);
        }
    }

    /// Whether the test lets an entry for the shard that owns `hash` pass.
    pub(crate) fn check_entry(&mut self, hash: u128) -> Result<(), Refusal> {
        let (_, number) = self.owners.range(..=hash).next_back().expect("open shards cover the key space");
        let shard = shard_id(*number);
        let Some(refused) = self.refused.iter_mut().find(|refused| refused.left > 0 && refused.shard == shard) else {
            return Ok(());
        };
        refused.left -= 1;
        Err(Refusal::client(&refused.code, format!("{}, as the test says of shard {shard}.", refused.code)))
    }

    /// Takes a record into the open shard that owns `hash`.
    pub(crate) fn put(
        &mut self,
        hash: u128,
        (key, data): (String, Vec<u8>),
        now: Millis,
        limits: &Limits,
    ) -> Result<Arc<Record>, Refusal> {
        let (_, number) = self.owners.range(..=hash).next_back().expect("open shards cover the key space");
        let number = *number;
        let (name, account) = (&self.name, &self.account);
        let shard = &mut self.shards[number as usize];
        if !shard.meters.write(now, (key.len() + data.len()) as u64, limits) {
            let id = shard_id(number);
            return Err(Refusal::client(
                "ProvisionedThroughputExceededException",
                format!("Rate exceeded for shard {id} in stream {name} under account {account}."),
            ));
        }
        let record = shard.push(now, key, data, self.encryption != Encryption::None);
        if self.keeps_truth {
            self.written.push(Arc::clone(&record));
        }
        Ok(record)
    }

    /// Whether a record can still be read.
    pub(crate) fn is_kept(&self, record: &Record) -> bool {
        let shard = &self.shards[record.shard as usize];
        !shard.is_gone && record.sequence.ordinal >= shard.base
    }

    /// Splits an open shard at `at`, which the upper child owns.
    pub(crate) fn split(&mut self, id: &str, at: u128, now: Millis) -> Result<[u32; 2], Refusal> {
        let range = self.open_range(id, now)?;
        if at <= range.start || at > range.end {
            return Err(Refusal::client(
                "InvalidArgumentException",
                format!(
                    "NewStartingHashKey {at} used in SplitShard() on shard {id} in stream {} under account {} is not both greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
                    self.name, self.account, range.start, range.end
                ),
            ));
        }
        let number = shard_number(id).expect("an open shard has a number");
        self.close(number, now);
        let lower = self.add_shard(KeyRange { start: range.start, end: at - 1 }, vec![number], now);
        let upper = self.add_shard(KeyRange { start: at, end: range.end }, vec![number], now);
        Ok([lower, upper])
    }

    /// Merges two open neighbours.
    pub(crate) fn merge(&mut self, id: &str, adjacent: &str, now: Millis) -> Result<u32, Refusal> {
        let (one, other) = (self.open_range(id, now)?, self.open_range(adjacent, now)?);
        if one.end.checked_add(1) != Some(other.start) && other.end.checked_add(1) != Some(one.start) {
            return Err(Refusal::client(
                "InvalidArgumentException",
                format!(
                    "Shards {id} and {adjacent} in stream {} under account {} are not an adjacent pair of shards eligible for merging",
                    self.name, self.account
                ),
            ));
        }
        let parents = [id, adjacent].map(|id| shard_number(id).expect("an open shard has a number"));
        for parent in parents {
            self.close(parent, now);
        }
        let range = KeyRange { start: one.start.min(other.start), end: one.end.max(other.end) };
        Ok(self.add_shard(range, parents.to_vec(), now))
    }

    /// Uniform scaling, as the service does it: splits at every border of the wanted slices, then merges within them.
    pub(crate) fn scale(&mut self, target: u32, now: Millis) -> Result<(), Refusal> {
        for wanted in even_ranges(target.max(1)) {
            for border in [Some(wanted.start), wanted.end.checked_add(1)].into_iter().flatten() {
                let (start, number) = self.owners.range(..=border).next_back().expect("shards cover the key space");
                if *start != border {
                    self.split(&shard_id(*number), border, now)?;
                }
            }
            let mut pieces: Vec<u32> =
                self.owners.range(wanted.start..=wanted.end).map(|(_, number)| *number).collect();
            while let [one, other, ..] = pieces[..] {
                pieces.splice(..2, [self.merge(&shard_id(one), &shard_id(other), now)?]);
            }
        }
        Ok(())
    }

    fn open_range(&mut self, id: &str, now: Millis) -> Result<KeyRange, Refusal> {
        let shard = self.shard(id, now)?;
        if shard.closed.is_none() {
            return Ok(shard.range);
        }
        Err(Refusal::client(
            "InvalidArgumentException",
            format!("Shard {id} in stream {} under account {} is not open.", self.name, self.account),
        ))
    }

    fn close(&mut self, number: u32, now: Millis) {
        let shard = &mut self.shards[number as usize];
        shard.closed = Some(now);
        shard.bell.notify_waiters();
        self.owners.remove(&shard.range.start);
    }

    fn add_shard(&mut self, range: KeyRange, parents: Vec<u32>, now: Millis) -> u32 {
        let number = self.shards.len() as u32;
        let mut created = u64::try_from(now / 1000).unwrap_or_default();
        for parent in &parents {
            let parent = &mut self.shards[*parent as usize];
            created = created.max(parent.created_secs + 1);
            parent.children.push(number);
        }
        self.shards.push(Shard::new(number, range, parents, now, created));
        self.owners.insert(range.start, number);
        number
    }

    /// Shards as the listing shows them now: neither gone nor hidden, and as they were `listing_lag` ago.
    pub(crate) fn listed(&self, now: Millis, from: u32) -> impl Iterator<Item = (&Shard, ShardView)> {
        let as_of = now - i64::try_from(self.habits.listing_lag.as_millis()).unwrap_or(i64::MAX);
        let shards = self.shards.iter().skip(from as usize);
        // What a stream was made with is there from its first moment.
        let visible = move |shard: &&Shard| {
            !shard.is_gone && !shard.is_hidden && (shard.created <= as_of || shard.parents.is_empty())
        };
        shards.filter(visible).map(move |shard| (shard, shard.view(as_of)))
    }
}

/// The key space in equal slices.
fn even_ranges(count: u32) -> Vec<KeyRange> {
    let slice = u128::MAX / u128::from(count);
    let start = |index: u32| if index == 0 { 0 } else { slice * u128::from(index) + 1 };
    let end = |index: u32| if index + 1 == count { u128::MAX } else { start(index + 1) - 1 };
    (0..count).map(|index| KeyRange { start: start(index), end: end(index) }).collect()
}
