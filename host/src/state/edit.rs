//! Positions seen and changed from outside a run: `sluicebox state list|show|set|delete`, and what a savepoint is taken
//! from and restored to.
//!
//! An edit is planned first, from a snapshot, by a pure function; the plan is what the operator reads and agrees to. It
//! is applied only if everything is still as the plan found it and no live process owns the pipeline. This is the only
//! way by which a position moves backwards. Applying raises the pipeline's generation and the counter of every changed
//! row, so a writer that was forgotten somewhere is fenced.

use host_core::shard::ShardId;

use super::stored::{StoredPipeline, StoredStream};
use super::{Owner, PipelineId, StoreError, StreamIdentity};

pub mod position;
mod site;
pub(super) mod step;
mod table;
mod report;
mod plan;
mod restore;

pub use plan::{Change, Plan, Request, Selection, apply, plan};
pub(crate) use report::Table;
pub use report::{Details, MarkLine, OwnerLine, Report, ShardLine, StreamLine, list, show};
pub use restore::{Target, plan_restore};
pub use site::Site;

/// Why positions cannot be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store knows nothing of the pipeline.
    #[error("pipeline {pipeline} has no state in {at}; it has not run yet, or under another name or tenant")]
    NeverRan {
        /// The pipeline.
        pipeline: PipelineId,
        /// The file or the table.
        at: Site,
    },
    /// A chosen shard has no row.
    #[error("pipeline {pipeline} has no row for shard {shard}; it has {known}")]
    UnknownShard {
        /// The pipeline.
        pipeline: PipelineId,
        /// The shard.
        shard: ShardId,
        /// Those that have one.
        known: String,
    },
    /// The chosen stream has no state.
    #[error("pipeline {pipeline} has no state of stream {stream}; it has {known}")]
    UnknownStream {
        /// The pipeline.
        pipeline: PipelineId,
        /// The stream, as it was asked for.
        stream: String,
        /// The ARNs that have some.
        known: String,
    },
    /// A chosen shard is in more than one stream.
    #[error(
        "shard {shard} is in more than one stream ({streams}); add --stream with the name or ARN of the one you mean"
    )]
    AmbiguousShard {
        /// The shard.
        shard: ShardId,
        /// The ARNs.
        streams: String,
    },
    /// Something wrote between plan and apply.
    #[error("pipeline {pipeline} has changed since the plan was made; nothing was written; make a new plan")]
    Outdated {
        /// The pipeline.
        pipeline: PipelineId,
    },
}

/// What a store held of a pipeline at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    at: Site,
    pipeline: PipelineId,
    /// Who owned it, if a live process did; it may have left no name.
    live: Option<Option<Owner>>,
    stored: StoredPipeline,
}

impl Snapshot {
    /// Looks, changing nothing.
    ///
    /// # Errors
    /// There is no file and no table, none that can be read, or the pipeline never ran with it.
    pub fn take(at: impl Into<Site>, pipeline: &PipelineId) -> Result<Self, EditError> {
        let at = at.into();
        let found = at.look(pipeline)?;
        let Some(stored) = found.stored else { return Err(EditError::NeverRan { pipeline: pipeline.clone(), at }) };
        Ok(Self { at, pipeline: pipeline.clone(), live: found.live, stored })
    }

    /// Looks; where there is no file or table yet, or nothing in it is the pipeline's, finds nothing.
    ///
    /// # Errors
    /// What lies there cannot be read, or is something else.
    pub fn take_or_empty(at: impl Into<Site>, pipeline: &PipelineId) -> Result<Self, EditError> {
        let at = at.into();
        let (stored, live) = match at.look(pipeline) {
            Ok(found) => (found.stored.unwrap_or_default(), found.live),
            Err(error) if error.is_missing() => (StoredPipeline::default(), None),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { at, pipeline: pipeline.clone(), live, stored })
    }

    /// What there was.
    pub(crate) fn stored(&self) -> &StoredPipeline {
        &self.stored
    }

    /// Where it is.
    #[must_use]
    pub const fn at(&self) -> &Site {
        &self.at
    }

    /// Whose state it is.
    #[must_use]
    pub fn pipeline(&self) -> &PipelineId {
        &self.pipeline
    }

    /// Who owned the pipeline, if a live process did; it may have left no name.
    #[must_use]
    pub fn live(&self) -> Option<Option<&Owner>> {
        self.live.as_ref().map(Option::as_ref)
    }

    /// The streams that `wanted`, a name or an ARN, means; without it, all.
    fn streams(&self, wanted: Option<&str>) -> Result<Vec<&StoredStream>, EditError> {
        let Some(wanted) = wanted else { return Ok(self.stored.streams.iter().collect()) };
        let is_meant = |stream: &&StoredStream| {
            let arn = stream.identity.arn.as_str();
            arn == wanted || arn.strip_suffix(wanted).is_some_and(|before| before.ends_with(['/', ':']))
        };
        let meant: Vec<_> = self.stored.streams.iter().filter(is_meant).collect();
        if meant.is_empty() {
            let known: Vec<&str> = self.stored.streams.iter().map(|stream| stream.identity.arn.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(EditError::UnknownStream { pipeline: self.pipeline.clone(), stream: wanted.to_owned(), known });
        }
        Ok(meant)
    }

    /// How changes name a shard: with its stream where there are several.
    fn label(&self, stream: &StoredStream, shard: &ShardId) -> String {
        label(self.stored.streams.len() > 1, &stream.identity, shard)
    }

    fn unknown(&self, shard: &ShardId) -> EditError {
        const SHOWN_MAX: usize = 8;
        let rows = || self.stored.streams.iter().flat_map(|stream| &stream.rows);
        let mut known: Vec<String> = rows().take(SHOWN_MAX).map(|row| row.row.shard.to_string()).collect();
        match rows().count() {
            0 => known.push("none".to_owned()),
            all if all > SHOWN_MAX => known.push(format!("{} more", all - SHOWN_MAX)),
            _ => {}
        }
        EditError::UnknownShard { pipeline: self.pipeline.clone(), shard: shard.clone(), known: known.join(", ") }
    }
}

fn label(with_stream: bool, stream: &StreamIdentity, shard: &ShardId) -> String {
    if with_stream { format!("shard {shard} of {}", stream.arn) } else { format!("shard {shard}") }
}
