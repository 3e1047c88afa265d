//! Positions seen and changed from outside a run: `sluicebox state list|show|set|delete`.
//!
//! An edit is planned first, from a snapshot, by a pure function; the plan is what the operator reads and agrees to. It
//! is applied only if everything is still as the plan found it and no live process owns the pipeline. This is the only
//! way by which a position moves backwards. Applying raises the pipeline's generation and the counter of every changed
//! row, so a writer that was forgotten somewhere is fenced.

use std::path::{Path, PathBuf};

use host_core::shard::ShardId;

use super::lock;
use super::sqlite::rows::StoredPipeline;
use super::{PipelineId, StoreError, sqlite};

pub mod position;
mod table;
mod report;
mod plan;

pub use plan::{Change, Plan, Request, Selection, apply, plan};
pub use report::{Details, MarkLine, OwnerLine, Report, ShardLine, StreamLine, list, show};

/// Why positions cannot be shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The store says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database knows nothing of the pipeline.
    #[error("pipeline {pipeline} has no state in {path}; it has not run yet, or under another name or tenant")]
    NeverRan {
        /// The pipeline.
        pipeline: PipelineId,
        /// The database.
        path: PathBuf,
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
    /// A chosen shard is in more than one stream.
    #[error("shard {shard} is in more than one stream ({streams}); name the stream's ARN")]
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

/// What the database held of a pipeline at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    path: PathBuf,
    pipeline: PipelineId,
    /// Whether a live process owned it.
    live: bool,
    stored: StoredPipeline,
}

impl Snapshot {
    /// Looks, changing nothing.
    ///
    /// # Errors
    /// There is no database, none that can be read, or the pipeline never ran with it.
    pub fn take(path: &Path, pipeline: &PipelineId) -> Result<Self, EditError> {
        let stored = sqlite::look(path, pipeline)?;
        let never_ran = || EditError::NeverRan { pipeline: pipeline.clone(), path: path.to_owned() };
        let lock = lock::path_for(path, pipeline);
        let live = match lock::holder(&lock) {
            Ok(holder) => holder.is_some(),
            Err(source) => return Err(StoreError::Io { doing: "lock", path: lock, source: source.into() }.into()),
        };
        Ok(Self { path: path.to_owned(), pipeline: pipeline.clone(), live, stored: stored.ok_or_else(never_ran)? })
    }

    fn has(&self, shard: &ShardId) -> bool {
        self.stored.streams.iter().any(|stream| stream.rows.iter().any(|row| row.row.shard == *shard))
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
