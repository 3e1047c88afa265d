//! What can go wrong with a store, whose fault it is, and what to do next.

use std::path::PathBuf;
use std::time::Duration;

use host_core::moment::EpochMillis;
use host_core::shard::ShardId;

use super::{Owner, PipelineId, StartPoint};

/// Whether a failed call changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not; the same call may be made again as soon as the cause is gone.
    NothingChanged,
    /// It may have: only a new claim tells.
    Unknown,
}

/// Why a store refused, or could not do, what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another live process owns the pipeline. Nobody's fault; the operator decides which of the two runs.
    #[error(
        "pipeline {pipeline} is owned by {}; stop that process first, or wait for its end: its lock ends with it",
        owner_and_age(owner.as_ref(), *age)
    )]
    OwnedByAnother {
        /// The pipeline.
        pipeline: PipelineId,
        /// Who owns it; absent if its lock is held and does not say by whom.
        owner: Option<Owner>,
        /// How long it has, by the clock of the one who asks.
        age: Option<Duration>,
    },
    /// A newer claim exists; this process must stop writing to its sinks and end.
    #[error(
        "pipeline {pipeline} was taken over by {} (generation {newer}, ours is {ours}); nothing was written; this process must stop",
        owner_and_age(by.as_ref(), None)
    )]
    Fenced {
        /// The pipeline.
        pipeline: PipelineId,
        /// Who holds the newest claim.
        by: Option<Owner>,
        /// Its generation.
        newer: u64,
        /// The generation of the refused writer.
        ours: u64,
    },
    /// A row is not what the commit expects: changed by hand, or our own bug. The pipeline must be claimed again.
    #[error(
        "shard {shard}: expected {expected}, found {found}; nothing was written; the row was changed behind this process, start it again"
    )]
    Conflict {
        /// The shard.
        shard: ShardId,
        /// What the commit expected.
        expected: String,
        /// What the store holds.
        found: String,
    },
    /// A commit that no store may take. Our own bug.
    #[error("refused a commit that would break its own rules ({what}); nothing was written; this is a bug of the host")]
    Invalid {
        /// What it asked for.
        what: String,
    },
    /// The stream has a start already. Our own bug: a start is resolved once.
    #[error("stream {arn} has a start already ({start:?}), which holds; this is a bug of the host")]
    AlreadyStarted {
        /// The stream's ARN.
        arn: String,
        /// Its start.
        start: StartPoint,
    },
    /// A write through a handle that holds no claim. Our own bug.
    #[error("pipeline {pipeline} is not claimed by this handle; this is a bug of the host")]
    NotClaimed {
        /// The pipeline.
        pipeline: PipelineId,
    },
    /// The database is damaged: by a disk, or by a copy made while it was in use.
    #[error(
        "state database {path} is damaged ({detail}); nothing was changed; restore it from a copy or a savepoint, or move it and its -wal and -shm files away to start anew at initial_position"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What SQLite, or a row that cannot be read, says.
        detail: String,
    },
    /// A newer release wrote the database.
    #[error(
        "state database {path} has format {found}, this release reads up to {supported}; nothing was changed; run the release that wrote it, or a newer one"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this release reads.
        supported: i64,
    },
    /// Something else lies where the database should.
    #[error(
        "{path} is not a state database ({detail}); nothing was changed; correct [checkpoint] store or move the file away"
    )]
    NotADatabase {
        /// What was opened.
        path: PathBuf,
        /// What it is instead.
        detail: String,
    },
    /// There is no database: the pipeline never ran, or the manifest names another place.
    #[error("no state database at {path}; the pipeline has not run yet, or [checkpoint] store names another place")]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// There is no table: the pipeline never ran, or the manifest names another place.
    #[error("no positions: {place}; the pipeline has not run yet, or [checkpoint] store names another place")]
    MissingTable {
        /// The table.
        table: String,
        /// That it does not exist where it was looked for.
        place: String,
    },
    /// The database was removed or replaced while in use: whatever is written now would be lost.
    #[error(
        "state database {path} was removed or replaced while in use; nothing was written; put it back, or start again to begin with what is there now"
    )]
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// Another process has been writing to the same file for too long.
    #[error(
        "state database {path} is busy: another process has held its write lock for {waited:?}; nothing was written; end that process"
    )]
    Busy {
        /// The database.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// No space left.
    #[error("no space left for state database {path}; nothing was written; free some space on that disk")]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The file, its directory or its file system takes no writes.
    #[error(
        "state database {path} is read-only; nothing was written; give this user write access to the file and its directory"
    )]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// A table of positions could not be read or written.
    #[error("cannot {doing} the table of positions {table:?}: {message}")]
    Table {
        /// What was attempted.
        doing: &'static str,
        /// The table.
        table: String,
        /// What the service, or the way to it, says, and what to do about it.
        message: String,
        /// Whether something may have been written.
        outcome: Outcome,
    },
    /// A table keeps the positions of one pipeline.
    #[error(
        "table {table:?} keeps the positions of pipeline {found}, not those of {pipeline}; nothing was changed; give each \
         pipeline a table of its own in [checkpoint] store"
    )]
    OtherPipeline {
        /// The table.
        table: String,
        /// Whose it is.
        found: Box<PipelineId>,
        /// Who asked for it.
        pipeline: Box<PipelineId>,
    },
    /// An item of a table of positions does not read back.
    #[error(
        "the table of positions {table:?} is damaged ({detail}); nothing was changed; restore it from a backup, or restore a \
         savepoint into another table"
    )]
    DamagedTable {
        /// The table.
        table: String,
        /// Which item, and how.
        detail: String,
    },
    /// The storage failed otherwise. Whether a commit was written is unknown; the next claim tells.
    #[error("cannot {doing} {path}; check that disk and its permissions")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the call that failed with this may have changed something.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Io { .. } => Outcome::Unknown,
            Self::Table { outcome, .. } => *outcome,
            Self::OtherPipeline { .. }
            | Self::DamagedTable { .. }
            | Self::OwnedByAnother { .. }
            | Self::Fenced { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::AlreadyStarted { .. }
            | Self::NotClaimed { .. }
            | Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::NotADatabase { .. }
            | Self::Missing { .. }
            | Self::MissingTable { .. }
            | Self::Replaced { .. }
            | Self::Busy { .. }
            | Self::Full { .. }
            | Self::ReadOnly { .. } => Outcome::NothingChanged,
        }
    }

    /// Whether there is nothing yet where positions are kept.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::MissingTable { .. })
    }

    /// Whether the same call may succeed without anybody changing anything: wait, and make it again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Full { .. })
    }
}

/// How long `owner` has had it at `now`; unknown if the clocks of the two disagree.
pub(super) fn age_of(owner: &Owner, now: EpochMillis) -> Option<Duration> {
    u64::try_from(now.0.saturating_sub(owner.since.0)).ok().map(Duration::from_millis)
}

fn owner_and_age(owner: Option<&Owner>, age: Option<Duration>) -> String {
    let Some(owner) = owner else { return "a process that left no name".to_owned() };
    let since = super::rfc3339(owner.since);
    match age {
        Some(age) => format!("{} since {since} ({})", owner.name, rough(age)),
        None => format!("{} since {since}", owner.name),
    }
}

/// Two units are enough to tell seconds from weeks.
fn rough(age: Duration) -> String {
    let seconds = age.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
