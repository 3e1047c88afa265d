//! Where positions are kept, and who may move them.
//!
//! A pipeline has one owner at a time. Two things say so, because each alone is not enough. A *lock* that dies with its
//! process lets a second start be refused at once, by name, and lets the start after a `kill -9` go ahead without
//! waiting for anything to expire; but a lock can be lost (a file system without working locks, a removed lock file).
//! A *generation*, raised by every claim and checked inside every write, proves that an older owner changes nothing
//! any more, whatever became of its lock.
//!
//! A commit is one transaction: rows that must not exist yet, rows that must be exactly where the writer believes they
//! are, rows to forget, marks of sinks. The end of a shard and its children's rows are therefore never apart, and a
//! crash leaves the commit before or the commit after, never something between.
//!
//! The obvious alternative, a lease that must be renewed before a deadline, buys take-over between machines at the price
//! of waiting out the deadline after every crash. The rows keep an owner (through their generation) and a counter, so a
//! store that works by leases can hold the same rows behind the same port.

use std::fmt;

use host_core::checkpoint::{Commit, ShardRow};
pub use host_core::coordinator::StartPoint;
use host_core::moment::EpochMillis;
use serde::{Deserialize, Serialize};

pub mod error;
pub mod lock;
pub mod sqlite;
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

/// What the store holds of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The stream.
    pub identity: StreamIdentity,
    /// Where it began.
    pub start: StartPoint,
    /// Its shards, ordered by identifier.
    pub rows: Vec<ShardRow>,
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

    /// Applies all of `commit` or none of it, in the order create, advance, forget, marks. `sinks` are the names of the
    /// manifest's sinks, by their index.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a row is not what the commit expects; [`StoreError::Invalid`] if the commit would move a
    /// position backwards, forget an unfinished shard or contradict itself; [`StoreError::Fenced`].
    fn commit(&mut self, stream: &StreamIdentity, commit: &Commit, sinks: &[String]) -> Result<(), StoreError>;

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

/// The rules of a commit, which are the same in every store.
mod rules {
    use host_core::checkpoint::{Advance, ShardRow, SinkMark};
    use host_core::shard::{Position, ShardId};

    use super::{NUMBER_MAX, StoreError, StreamIdentity};

    /// Whether a new row may be written.
    pub(super) fn created(row: &ShardRow) -> Result<(), StoreError> {
        position(&row.shard, &row.position)?;
        finished(&row.shard, &row.position, row.finished_at.is_some())
    }

    /// The row after `advance`, if `found` allows it.
    pub(super) fn advanced(found: &ShardRow, advance: &Advance) -> Result<ShardRow, StoreError> {
        if found.position != advance.from {
            return Err(StoreError::Conflict {
                shard: advance.shard.clone(),
                expected: advance.from.to_string(),
                found: found.position.to_string(),
            });
        }
        if !advance.to.is_past(&advance.from) {
            return Err(invalid(&advance.shard, format!("move it from {} to {}", advance.from, advance.to)));
        }
        position(&advance.shard, &advance.to)?;
        finished(&advance.shard, &advance.to, advance.finished_at.is_some())?;
        let children = if advance.children.is_empty() { &found.children } else { &advance.children };
        Ok(ShardRow {
            shard: found.shard.clone(),
            parents: found.parents.clone(),
            children: children.clone(),
            range: found.range,
            position: advance.to.clone(),
            watermark: advance.watermark,
            finished_at: advance.finished_at,
        })
    }

    /// Whether a row may be forgotten.
    pub(super) fn forgotten(found: &ShardRow) -> Result<(), StoreError> {
        if found.position.is_end() {
            return Ok(());
        }
        Err(invalid(&found.shard, format!("forget it at {}, before its end", found.position)))
    }

    /// The name under which a mark is kept.
    pub(super) fn mark<'a>(mark: &SinkMark, sinks: &'a [String]) -> Result<&'a str, StoreError> {
        let sink = usize::try_from(mark.sink).ok().and_then(|sink| sinks.get(sink));
        let Some(sink) = sink else {
            return Err(StoreError::Invalid { what: format!("keep a mark of sink {} of {}", mark.sink, sinks.len()) });
        };
        if mark.mark > NUMBER_MAX {
            return Err(StoreError::Invalid { what: format!("sink {sink}: keep mark {}", mark.mark) });
        }
        Ok(sink)
    }

    /// A row that should not be there.
    pub(super) fn present(found: &ShardRow) -> StoreError {
        StoreError::Conflict {
            shard: found.shard.clone(),
            expected: "no row".to_owned(),
            found: found.position.to_string(),
        }
    }

    /// A row that should be there.
    pub(super) fn absent(shard: &ShardId, expected: &Position) -> StoreError {
        StoreError::Conflict { shard: shard.clone(), expected: expected.to_string(), found: "no row".to_owned() }
    }

    /// A commit on a stream without a start.
    pub(super) fn not_started(stream: &StreamIdentity) -> StoreError {
        StoreError::Invalid { what: format!("write rows of stream {}, which has no start", stream.arn) }
    }

    fn position(shard: &ShardId, position: &Position) -> Result<(), StoreError> {
        match position {
            Position::After { sub_sequence, .. } if *sub_sequence > NUMBER_MAX => {
                Err(invalid(shard, format!("keep sub-sequence {sub_sequence}")))
            }
            Position::After { .. } | Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd => Ok(()),
        }
    }

    fn finished(shard: &ShardId, position: &Position, has_finished_at: bool) -> Result<(), StoreError> {
        if position.is_end() == has_finished_at {
            return Ok(());
        }
        let what = if has_finished_at { "give it a time of its end" } else { "end it without the time of its end" };
        Err(invalid(shard, format!("{what} at {position}")))
    }

    fn invalid(shard: &ShardId, what: String) -> StoreError {
        StoreError::Invalid { what: format!("shard {shard}: {what}") }
    }
}
