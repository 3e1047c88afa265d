//! What is durable: one row per shard, changed by commits that happen whole or not at all.
//!
//! A set of rows that is closed under lineage is a consistent cut, so no barrier is needed: a commit is any number of
//! shard positions moved forward together with the marks that the sinks handed out for exactly those positions. The end
//! of a shard and the rows of its children travel in one commit: there is no moment at which the parent is finished and
//! the children are unknown.

use crate::moment::EpochMillis;
use crate::shard::{HashRange, Position, ShardId};

/// The durable row of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// The shard.
    pub shard: ShardId,
    /// Its parents, as the listing told them when the row was made.
    pub parents: Vec<ShardId>,
    /// Its children, once known.
    pub children: Vec<ShardId>,
    /// Its slice of the key space, where the service has one.
    pub range: Option<HashRange>,
    /// How far the sinks have it.
    pub position: Position,
    /// The event time up to which the shard is complete, if any element told one.
    pub watermark: Option<EpochMillis>,
    /// Wall-clock time at which the shard's end became durable; only with [`Position::ShardEnd`].
    pub finished_at: Option<EpochMillis>,
}

/// A position moved forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The shard.
    pub shard: ShardId,
    /// The position that the store must hold now; anything else refuses the whole commit.
    pub from: Position,
    /// The new position, past `from`.
    pub to: Position,
    /// Children learned since the row was written; empty leaves the row's children alone.
    pub children: Vec<ShardId>,
    /// The shard's watermark at `to`.
    pub watermark: Option<EpochMillis>,
    /// Set when `to` is the shard's end.
    pub finished_at: Option<EpochMillis>,
}

/// How much of a sink belongs to the positions of the same commit: for a file, its length in bytes. After a restart the
/// sink goes back to it, and what was written beyond is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkMark {
    /// Index of the sink in the manifest.
    pub sink: u32,
    /// The sink's own measure; a file's is its length in bytes.
    pub mark: u64,
}

/// One atomic change of the durable state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Grows by one per commit of a run, so that an answer finds its question.
    pub id: u64,
    /// Rows that must not exist yet.
    pub create: Vec<ShardRow>,
    /// Rows that must exist, at `from`.
    pub advance: Vec<Advance>,
    /// Finished rows past the stream's retention.
    pub forget: Vec<ShardId>,
    /// Marks of sinks that have them, as of exactly these positions.
    pub marks: Vec<SinkMark>,
}
