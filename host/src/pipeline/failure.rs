//! Why a pipeline stopped: on what, whose fault it is, and what to do next.

use host_core::gap::Gap;
use host_core::shard::{Position, ShardId};

use crate::component::error::ComponentError;
use crate::pipeline::notices;
use crate::ports::SinkError;
use crate::source::classify::SourceError;
use crate::source::consumer::ConsumerError;
use crate::state::StoreError;

/// Whose turn it is to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The author of the component.
    Component,
    /// Who wrote the manifest or runs the machine.
    Operator,
    /// The service or the network.
    Service,
}

/// What ended a run before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The stream could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no consumer of enhanced fan-out to read with.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// A sink could not be written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Positions could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The component did not open.
    #[error("the component {component} did not open: {source}")]
    Open {
        /// Its file name.
        component: String,
        /// What it did.
        source: ComponentError,
    },
    /// A record that the component refuses, or breaks on, and the manifest says to stop.
    #[error(
        "record {sequence} of shard {shard} in stream {stream} was refused: {reason}\n\
         the position is right before it; mend the component, or set on_error.poison = \"skip\" to pass over such records"
    )]
    Poison {
        /// The stream's name.
        stream: String,
        /// The shard.
        shard: ShardId,
        /// The record's place: its sequence number.
        sequence: String,
        /// The component's code and message, or how it broke.
        reason: String,
    },
    /// A batch on which the component broke, and the manifest says not to look for the record.
    #[error(
        "the component broke on records {first} to {last} of shard {shard} in stream {stream}: {reason}\n\
         the position is right before them; on_error.trap = \"bisect\" finds the record that does it"
    )]
    Trap {
        /// The stream's name.
        stream: String,
        /// The shard.
        shard: ShardId,
        /// Sequence number of the first record.
        first: String,
        /// Sequence number of the last record.
        last: String,
        /// How it broke.
        reason: String,
    },
    /// The host could not give the component an instance.
    #[error(
        "the component did not get to record {first} of shard {shard} in stream {stream}: {reason}\n\
         the position is right before it"
    )]
    NoRoom {
        /// The stream's name.
        stream: String,
        /// The shard.
        shard: ShardId,
        /// Sequence number of the first record that it was needed for.
        first: String,
        /// What the host lacks.
        reason: String,
    },
    /// Elements went to a route that no sink takes.
    #[error(
        "the component routes elements of shard {shard} to {route:?}, which no sink takes; name it in a sink's `when`, or \
         let a sink take everything by leaving `when` out"
    )]
    Route {
        /// The route.
        route: String,
        /// The shard.
        shard: ShardId,
    },
    /// A table that is there, and keeps something else than positions.
    #[error(
        "table {table} keeps no positions: its key is {key}, not {wanted} (S); name another table in store, and it is created"
    )]
    NoTableOfPositions {
        /// The table's ARN.
        table: String,
        /// Its key, as people write it.
        key: String,
        /// The attribute that would be its key.
        wanted: &'static str,
    },
    /// An entry that its sink will never write, and the manifest says to stop.
    #[error(transparent)]
    DeadLetter(Box<DeadLetter>),
    /// Records are lost, or may be, before they were read, and the manifest says to stop (GAP-1).
    #[error(
        "gap in shard {} of stream {stream:?}: {}; {}the position stays {}\n\
         set on_gap = \"continue\" to read on behind the gap, or move the position with `sluicebox state set`",
        gap.shard, notices::reason(gap.reason), span(gap), gap.from
    )]
    Gap {
        /// The stream's name.
        stream: String,
        /// What is known of it.
        gap: Box<Gap>,
    },
    /// The stream was deleted and created again since the positions were written.
    #[error(
        "stream {stream} was created anew since the positions of this pipeline were written, so they mean nothing there; \
         set on_gap = \"continue\" to begin with its oldest record, or drop the positions with `sluicebox state delete --all` and the \
         pipeline begins at its initial_position"
    )]
    Recreated {
        /// The stream's ARN.
        stream: String,
    },
    /// A thread or task of the pipeline ended without saying why.
    #[error("the {part} of the pipeline ended unexpectedly; this is a bug in sluicebox: please report it with the log")]
    Vanished {
        /// Which one.
        part: &'static str,
    },
    /// The machine has no thread to give.
    #[error("could not start a thread for {part}")]
    Thread {
        /// What for.
        part: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Draining took longer than `shutdown_timeout`.
    #[error(
        "{undelivered} records were read but not delivered within shutdown_timeout; they are read again by the next run, \
         and those already written to a sink without marks appear twice"
    )]
    DrainTimedOut {
        /// How many.
        undelivered: u64,
    },
}

/// An entry that will never be written: made of what, and why.
#[derive(Debug, thiserror::Error)]
#[error(
    "sink {sink:?} cannot write entry {entry}, made of record {sequence} of shard {shard} in stream {stream}: {reason}\n\
     no position passes that record, so the next run begins with it or before it; mend what makes the entry, or set \
     on_error.poison = \"skip\" to pass over such entries"
)]
pub struct DeadLetter {
    /// The sink's name in the manifest.
    pub sink: String,
    /// What people know the entry by: its key.
    pub entry: String,
    /// The stream's name.
    pub stream: String,
    /// The shard.
    pub shard: ShardId,
    /// The sequence number of the record that the entry was made of.
    pub sequence: String,
    /// What the service said, or why it was not even asked.
    pub reason: String,
}

impl Failure {
    /// 2 if the component is wrong and nothing was started, 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open { .. } => 2,
            Self::Source(_)
            | Self::Consumer(_)
            | Self::Sink(_)
            | Self::Store(_)
            | Self::NoTableOfPositions { .. }
            | Self::Poison { .. }
            | Self::DeadLetter(_)
            | Self::Trap { .. }
            | Self::NoRoom { .. }
            | Self::Route { .. }
            | Self::Gap { .. }
            | Self::Recreated { .. }
            | Self::Vanished { .. }
            | Self::Thread { .. }
            | Self::DrainTimedOut { .. } => 1,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn whose(&self) -> Whose {
        match self {
            Self::Open { .. } | Self::Poison { .. } | Self::Trap { .. } | Self::DeadLetter(_) => Whose::Component,
            Self::Sink(_)
            | Self::Store(_)
            | Self::NoTableOfPositions { .. }
            | Self::NoRoom { .. }
            | Self::Route { .. }
            | Self::Gap { .. }
            | Self::Recreated { .. }
            | Self::Thread { .. } => Whose::Operator,
            Self::Consumer(error) => error.whose(),
            Self::Source(_) | Self::Vanished { .. } | Self::DrainTimedOut { .. } => Whose::Service,
        }
    }
}

/// When the records that may be lost arrived, as part of a sentence.
fn span(gap: &Gap) -> String {
    match (gap.since, gap.until) {
        (Some(since), Some(until)) => {
            format!(
                "records that arrived from {} to {} may be lost; ",
                crate::state::rfc3339(since),
                crate::state::rfc3339(until)
            )
        }
        (Some(since), None) => format!("records that arrived after {} may be lost; ", crate::state::rfc3339(since)),
        (None, _) => String::new(),
    }
}

/// `after` as the user reads it: the sequence number, or the place where the shard begins.
pub(crate) fn sequence_text(position: Option<&Position>) -> String {
    match position {
        Some(Position::After { sequence, sub_sequence: 0 }) => sequence.to_string(),
        Some(Position::After { sequence, sub_sequence }) => format!("{sequence}/{sub_sequence}"),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}
