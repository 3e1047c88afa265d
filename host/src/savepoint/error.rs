//! What can go wrong with a savepoint, whose fault it is, and what to do next.

use std::io;
use std::path::PathBuf;

use crate::state::edit::EditError;
use crate::state::{PipelineId, StoreError};

/// Why there is no savepoint, or why one is not restored.
#[derive(Debug, thiserror::Error)]
pub enum SavepointError {
    /// The state says why.
    #[error(transparent)]
    State(#[from] EditError),
    /// The manifest names a stream that was not read yet.
    #[error(
        "pipeline {pipeline} has no positions of stream {stream}, which its manifest names; run it with this manifest first"
    )]
    NotStarted {
        /// The pipeline.
        pipeline: PipelineId,
        /// The stream's ARN.
        stream: String,
    },
    /// A run that starts from these rows would have nothing to read somewhere.
    #[error(
        "the positions of pipeline {pipeline} are not closed under lineage ({what}); nothing was written; run the pipeline, which completes them from the stream, and try again"
    )]
    NotClosed {
        /// The pipeline.
        pipeline: PipelineId,
        /// Where they are not.
        what: String,
    },
    /// Something in the state has no place in a savepoint.
    #[error("a savepoint of this state would not read back ({what}); nothing was written; this is a bug of the host")]
    Unreadable {
        /// What does not.
        what: String,
    },
    /// Savepoints are never overwritten.
    #[error(
        "{path} exists, and a savepoint is never overwritten; name another file with --output, or move that one away"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("cannot {doing} {path}; there is no savepoint; check the directory, its permissions and the space left")]
    Write {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no such file, or it cannot be read.
    #[error("cannot read savepoint {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{path} is no savepoint ({why}); name a file that `sluicebox savepoint create` wrote")]
    NotASavepoint {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// Another release wrote it.
    #[error(
        "savepoint {path} has format {found}, this release reads {supported}; use the release that wrote it, or a newer one"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The format that this release reads.
        supported: &'static str,
    },
    /// The end is missing.
    #[error("savepoint {path} is torn or altered ({why}); nothing of it can be trusted: take another copy of it")]
    Torn {
        /// The file.
        path: PathBuf,
        /// Where.
        why: String,
    },
    /// Something was changed after it was written.
    #[error(
        "savepoint {path} was altered: its content has hash {found}, it was written with {written}; nothing of it can be trusted: take another copy of it"
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// The hash in the file.
        written: String,
        /// The hash of the content.
        found: String,
    },
    /// The hash fits and the content does not.
    #[error("savepoint {path} contradicts itself ({what}); nothing of it can be trusted: take another copy of it")]
    Contradictory {
        /// The file.
        path: PathBuf,
        /// Where.
        what: String,
    },
    /// The savepoint is of another pipeline.
    #[error(
        "the savepoint is of pipeline {savepoint}, the manifest of {manifest}; nothing was changed; add --fork to let {manifest} begin as a copy"
    )]
    AnotherPipeline {
        /// The savepoint's.
        savepoint: PipelineId,
        /// The manifest's.
        manifest: PipelineId,
    },
    /// The manifest names other streams.
    #[error(
        "the streams of savepoint and manifest differ ({difference}); nothing was changed; restore with a manifest that names the savepoint's streams"
    )]
    AnotherStream {
        /// How.
        difference: String,
    },
    /// The pipeline has read a younger, or older, stream of that name.
    #[error(
        "stream {stream} was created at {found} as this state knows it, and at {savepoint} as the savepoint does: that is another stream, where the savepoint's positions mean nothing; nothing was changed; if the state is the wrong one, remove it with `sluicebox state delete --all` first"
    )]
    Recreated {
        /// The stream's ARN.
        stream: String,
        /// When the state's stream was created.
        found: String,
        /// When the savepoint's was.
        savepoint: String,
    },
    /// The one who runs the pipeline is out of reach.
    #[error("cannot stop pipeline {pipeline}, which {owner} runs: {why}; there is no savepoint; {next}")]
    CannotStop {
        /// The pipeline.
        pipeline: PipelineId,
        /// Who runs it.
        owner: String,
        /// What is in the way.
        why: String,
        /// What to do instead.
        next: &'static str,
    },
    /// The one who runs it does not stop.
    #[error(
        "{owner} was asked to stop and still runs pipeline {pipeline} after {waited} s; there is no savepoint; look at its log and wait (asked once more, it stops at once), or take the savepoint without --stop while it runs"
    )]
    StillRunning {
        /// The pipeline.
        pipeline: PipelineId,
        /// Who runs it.
        owner: String,
        /// How long it was waited for.
        waited: u64,
    },
}

impl SavepointError {
    /// Whether what was named is no savepoint that this release knows, rather than a savepoint that failed.
    #[must_use]
    pub fn is_wrong_file(&self) -> bool {
        match self {
            Self::NotASavepoint { .. } | Self::UnknownFormat { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::State(_)
            | Self::NotStarted { .. }
            | Self::NotClosed { .. }
            | Self::Unreadable { .. }
            | Self::Exists { .. }
            | Self::Write { .. }
            | Self::Torn { .. }
            | Self::Altered { .. }
            | Self::Contradictory { .. }
            | Self::AnotherPipeline { .. }
            | Self::AnotherStream { .. }
            | Self::Recreated { .. }
            | Self::CannotStop { .. }
            | Self::StillRunning { .. } => false,
        }
    }
}

impl From<StoreError> for SavepointError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}
