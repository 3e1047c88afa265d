//! All that a store holds of a pipeline, with what guards it: for whoever looks from outside a run.

use std::collections::BTreeMap;

use host_core::checkpoint::ShardRow;

use super::{PreviousClaim, RegisteredConsumer, StartPoint, StreamIdentity};

/// A shard's row with what guards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRow {
    pub(crate) row: ShardRow,
    /// How often it was written.
    pub(crate) counter: u64,
    /// Of the claim that wrote it last.
    pub(crate) generation: u64,
}

/// A stream with its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredStream {
    pub(crate) identity: StreamIdentity,
    pub(crate) start: StartPoint,
    pub(crate) consumer: Option<RegisteredConsumer>,
    /// Ordered by shard.
    pub(crate) rows: Vec<StoredRow>,
}

/// All that is there of one pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredPipeline {
    pub(crate) generation: u64,
    /// By generation: the newest, and those that rows still refer to as far as they are known.
    pub(crate) claims: BTreeMap<u64, PreviousClaim>,
    /// Ordered by identity.
    pub(crate) streams: Vec<StoredStream>,
    /// By the sink's name.
    pub(crate) marks: Vec<(String, u64)>,
}
