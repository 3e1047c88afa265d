//! Where positions are kept, and who may move them.
//!
//! A pipeline has one owner at a time. Two things say so, because each alone is not enough. A *lock* that dies with its
//! process lets a second start be refused at once, by name, and lets the start after a `kill -9` go ahead without
//! waiting for anything to expire; but a lock can be lost (a file system without working locks, a removed lock file).
//! A *generation*, raised by every claim and checked inside every write, proves that an older owner changes nothing
//! any more, whatever became of its lock.
//!
//! A commit is one transaction over all streams of a pipeline: rows that must not exist yet, rows that must be exactly
//! where the writer believes they are, rows to forget, marks of sinks. The end of a shard and its children's rows are
//! therefore never apart, a mark never belongs to the positions of one stream only, and a crash leaves the commit before
//! or the commit after, never something between.
//!
//! A stream is kept by what it is, its ARN and when it was created, while a shard names its stream by the index that the
//! manifest gives it. The index is not durable, so that a manifest may list its streams in another order tomorrow:
//! whoever writes says which stream each index means, and whoever reads puts the index on.
//!
//! The obvious alternative, a lease that must be renewed before a deadline, buys take-over between machines at the price
//! of waiting out the deadline after every crash. The rows keep an owner (through their generation) and a counter, so a
//! store that works by leases can hold the same rows behind the same port.

use std::fmt;

use host_core::checkpoint::{Commit, ShardRow};
pub use host_core::coordinator::StartPoint;
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use serde::{Deserialize, Serialize};

mod rules;
mod model;
pub(crate) mod stored;
pub mod error;
pub mod lock;
pub mod sqlite;
pub mod dynamodb;
pub mod memory;
pub mod edit;

pub use error::StoreError;

/// Whose state this is: with the stream's identity, the key of every row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PipelineId {
    /// The manifest's `tenant`.
    pub tenant: String,
    /// The manifest's `name`.
    pub pipeline: String,
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.pipeline)
    }
}

/// Which stream this is. A stream that was deleted and created again under its old name is another stream: its shards
/// carry the old identifiers and none of the old records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamIdentity {
    /// The stream's ARN (`StreamARN`).
    pub arn: String,
    /// When it was created (`StreamCreationTimestamp`).
    pub created: EpochMillis,
}

/// A process that owns a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `host:pid`, for people.
    pub name: String,
    /// Wall-clock time of the claim.
    pub since: EpochMillis,
}

/// One component that takes part in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentDigest {
    /// What it does there: `deserializer`, `shard-assigner`, or `element-converter` with its sink's name.
    pub role: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// A consumer of enhanced fan-out that the pipeline registered itself, so that it deregisters this one and no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisteredConsumer {
    /// `ConsumerName`.
    pub name: String,
    /// `ConsumerARN`. `None` right before it is registered: whatever consumer of this name is found after a crash is the
    /// pipeline's own.
    pub arn: Option<String>,
}

impl RegisteredConsumer {
    /// Whether the consumer that the service shows now is this one. One that was deregistered and registered again by
    /// somebody else has another ARN.
    #[must_use]
    pub fn is(&self, name: &str, arn: &str) -> bool {
        self.name == name && self.arn.as_deref().is_none_or(|ours| ours == arn)
    }
}

/// What the store holds of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub identity: StreamIdentity,
    /// Where it began.
    pub start: StartPoint,
    /// The consumer that the pipeline registered, if it did.
    pub consumer: Option<RegisteredConsumer>,
    /// Its shards, ordered by identifier; all of them are of stream 0, see [`Self::rows_in`].
    pub rows: Vec<ShardRow>,
}

impl StreamState {
    /// The rows as those of the manifest's stream with this index.
    #[must_use]
    pub fn rows_in(&self, stream: u32) -> Vec<ShardRow> {
        self.rows.iter().map(|row| in_stream(row, stream)).collect()
    }
}

/// `row`, with all the shards that it names in `stream`.
fn in_stream(row: &ShardRow, stream: u32) -> ShardRow {
    let shard = |shard: &ShardId| ShardId::in_stream(stream, shard.as_str());
    ShardRow {
        shard: shard(&row.shard),
        parents: row.parents.iter().map(shard).collect(),
        children: row.children.iter().map(shard).collect(),
        ..row.clone()
    }
}

/// How the claim before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With [`LeaseStore::release`].
    Released,
    /// Without: its process died, or is fenced from now on.
    Unreleased,
}

/// The claim before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousClaim {
    /// Who held it.
    pub owner: Owner,
    /// With which components.
    pub components: Vec<ComponentDigest>,
    /// How it ended.
    pub ending: Ending,
}

/// A pipeline that is ours, and all that is durable of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Higher than that of every claim before: the fence.
    pub generation: u64,
    /// Every stream that the pipeline ever started and nobody deleted, ordered by identity. Two entries with one ARN mean
    /// that the stream was created again.
    pub streams: Vec<StreamState>,
    /// Marks by the name of their sink, ordered by name.
    pub marks: Vec<(String, u64)>,
    /// Absent on the first claim ever.
    pub previous: Option<PreviousClaim>,
}

/// Durable positions of one pipeline. Calls block on a disk or a network: the caller gives the store a thread of its own.
///
/// Obligations of an implementation: what a call acknowledged survives the death of process and machine; a call that
/// fails with [`StoreError::outcome`] `NothingChanged` changed nothing; every write is refused unless the newest claim is
/// this handle's, and unless each row is as this handle last knew it. A handle that is dropped without `release` is as
/// good as a dead process: the next claim succeeds.
pub trait LeaseStore: Send {
    /// Takes the pipeline over and fences every claim before this one. `components` are those of the run: every row that
    /// it writes is tied to them. A handle that claims again gets a new generation and reads everything anew, which is the
    /// way out when the outcome of a commit is unknown.
    ///
    /// # Errors
    /// [`StoreError::OwnedByAnother`] while another live process owns the pipeline; otherwise what the storage says.
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError>;

    /// Makes the start of a new stream durable, before anything of it is read. `rows` are positions that are known at the
    /// start already (a stream whose service has no timestamps starts at sequence numbers); they appear together with it.
    ///
    /// # Errors
    /// [`StoreError::AlreadyStarted`] if the stream has a start, which then holds; [`StoreError::Fenced`].
    fn start_stream(&mut self, stream: &StreamIdentity, start: StartPoint, rows: &[ShardRow])
    -> Result<(), StoreError>;

    /// Forgets a stream that was created again since: its start and all of its rows. The other streams, the one of the
    /// same ARN among them, and the marks stay. Start the new stream first: a crash between the two calls then leaves
    /// both, and the next claim shows the old one to be forgotten; the other way round it would leave neither.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the pipeline never started the stream; [`StoreError::Fenced`].
    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError>;

    /// Remembers which consumer of a stream the pipeline registered, over what it remembered before; `None`: none is its
    /// own. Call it without an ARN right before a registration and with one right after, so that a crash in between leaves
    /// no consumer that nobody deregisters.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the stream has no start; [`StoreError::Fenced`].
    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError>;

    /// Applies all of `commit` or none of it, in the order create, advance, forget, marks. `streams` are those of the
    /// manifest by their index, which is the index that shards carry; `sinks` are the names of its sinks by theirs.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a row is not what the commit expects; [`StoreError::Invalid`] if the commit would move a
    /// position backwards, advance a row without saying anything new, forget an unfinished shard, name a stream that has
    /// no start or contradict itself; [`StoreError::Fenced`].
    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError>;

    /// Ends the claim gracefully. Another process may claim from here on; this handle may, too.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if somebody else has claimed meanwhile; the lock is given up even then.
    fn release(&mut self) -> Result<(), StoreError>;
}

/// A wall-clock time as people read it; one beyond year 9999 as its milliseconds.
pub(crate) fn rfc3339(at: EpochMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| format!("{} ms", at.0), |at| at.to_string())
}

/// The largest number that the stores keep: SQLite's integers are signed.
pub const NUMBER_MAX: u64 = i64::MAX as u64;
