//! What an edit asks of a store.

use host_core::checkpoint::ShardRow;
use host_core::shard::ShardId;

use crate::state::{ComponentDigest, Owner, PipelineId, StartPoint, StreamIdentity};

/// One change of what a store holds, with what it expects to find.
#[derive(Clone, Debug)]
pub(in crate::state) enum Step {
    /// A stream that is not there.
    AddStream { stream: StreamIdentity, start: StartPoint },
    /// Another start.
    SetStart { stream: StreamIdentity, start: StartPoint },
    /// A row that is not there.
    Insert { stream: StreamIdentity, row: ShardRow },
    /// Over the row with this counter.
    Update { stream: StreamIdentity, counter: u64, row: ShardRow },
    /// Over the mark that is `from`.
    SetMark { sink: String, from: Option<u64>, to: u64 },
    /// The row with this counter.
    Remove { stream: StreamIdentity, shard: ShardId, counter: u64 },
    /// A stream that has no rows any more.
    RemoveStream { stream: StreamIdentity },
    /// The mark that is this.
    RemoveMark { sink: String, mark: u64 },
}

/// Steps that are made together, as a claim of their own that has ended.
pub(in crate::state) struct Edit<'a> {
    pub(in crate::state) pipeline: &'a PipelineId,
    /// Who asks.
    pub(in crate::state) owner: &'a Owner,
    /// Which components made what is written.
    pub(in crate::state) components: &'a [ComponentDigest],
    /// The generation that the steps were planned at.
    pub(in crate::state) planned_at: u64,
    /// Whether there may be no table yet.
    pub(in crate::state) may_create: bool,
    pub(in crate::state) steps: Vec<&'a Step>,
}

/// How an edit ended, if it did not fail.
pub(in crate::state) enum Edited {
    /// All of it was made, under this generation.
    At(u64),
    /// None of it: things are not as it was planned.
    Outdated,
}
