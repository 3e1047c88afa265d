//! What the coordinator is told and what it answers.

use std::time::Duration;

use crate::checkpoint::{Commit, SinkMark};
use crate::moment::EpochMillis;
use crate::shard::{HashRange, Position, ShardDescription, ShardId};

/// Where the shards of the very first listing start. `latest` is not among them: the shell resolves it, once, to a
/// timestamp, which the rows then keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPoint {
    /// The oldest record that the stream still keeps.
    TrimHorizon,
    /// The first record that arrived at this time or later.
    AtTimestamp(EpochMillis),
}

impl StartPoint {
    /// The position of a shard of which nothing was read.
    #[must_use]
    pub const fn position(self) -> Position {
        match self {
            Self::TrimHorizon => Position::TrimHorizon,
            Self::AtTimestamp(at) => Position::AtTimestamp(at),
        }
    }
}

/// Who decides which subtask reads a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssignerPolicy {
    /// The shard's place in the key space.
    #[default]
    Uniform,
    /// The subtask with the fewest shards.
    Fewest,
    /// A component, and uniform where its answer is wrong or does not come.
    Component,
}

/// A question to the component that assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Grows by one per question of a run; the answer carries it back.
    pub round: u64,
    /// Shards that need a subtask, in the order of their ids.
    pub unassigned: Vec<ShardId>,
    /// Shards that have one, in the order of their ids.
    pub current: Vec<Placement>,
}

/// A shard that has a subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The shard.
    pub shard: ShardId,
    /// Below [`Settings::parallelism`].
    pub subtask: u32,
    /// It is not read right now.
    pub pending: bool,
}

/// What does not change during a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Subtasks of the pipeline, at least 1 (0 is taken as 1).
    pub parallelism: u32,
    /// Who decides which subtask reads a shard.
    pub assigner: AssignerPolicy,
    /// For the shards of the first listing of a pipeline without rows; all others start at their beginning.
    pub start: StartPoint,
    /// Pause between listings.
    pub discovery_interval: Duration,
    /// Pause between commits of mere progress; rows and ends do not wait for it.
    pub checkpoint_interval: Duration,
    /// Whether a child waits for its parents.
    pub preserve_shard_order: bool,
    /// Whether the run finishes by itself once all shards are read to the end fixed at its start.
    pub until_caught_up: bool,
    /// The stream's retention: how long finished shards are remembered at least.
    pub retention: Duration,
    /// A shard that brought nothing for this long does not hold the watermark back.
    pub idle_after: Duration,
    /// How far a shard's watermark may be ahead of the least before the shard pauses; `None`: as far as it likes.
    pub max_drift: Option<Duration>,
}

/// Records handed to a subtask, not yet delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReport {
    /// The shard.
    pub shard: ShardId,
    /// The reader's session, from [`Effect::Open`].
    pub session: u64,
    /// How many records; they continue the session's ordinals.
    pub records: u64,
    /// The position after the last of them.
    pub last: Position,
    /// Their earliest arrival.
    pub earliest: Option<EpochMillis>,
}

/// Records confirmed by every sink, filtered by a component that said so, or skipped by policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The shard.
    pub shard: ShardId,
    /// The reader's session, from [`Effect::Open`].
    pub session: u64,
    /// Ordinal of the first of them within the session, from 0.
    pub first: u64,
    /// How many records.
    pub count: u64,
    /// The position after the last of them.
    pub last: Position,
    /// Their latest arrival.
    pub arrived: Option<EpochMillis>,
    /// Where the component gives event times, as the session stands after this receipt: the earliest of what is made and
    /// not delivered, and the latest of all that is delivered in it. With nothing made and not delivered they are equal.
    pub event_time: Option<(EpochMillis, EpochMillis)>,
    /// The sinks' marks after them.
    pub marks: Vec<SinkMark>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run starts, or a deadline passed.
    Tick,
    /// A complete answer of the service. It may still be stale or lack shards.
    Listed {
        /// Every shard told, in any order.
        shards: Vec<ShardDescription>,
    },
    /// A listing did not succeed.
    ListingFailed,
    /// Records were handed to a subtask.
    Read(ReadReport),
    /// A shard is exhausted; comes after all its `Read` events. Its records may still be in flight.
    ReadToEnd {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
        /// Children that the service told with the end (`ChildShards`); may be empty.
        children: Vec<ShardDescription>,
    },
    /// A reader reached the end fixed at the run's start and stopped.
    CaughtUp {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// A reader stopped after [`Effect::Close`]; it reads nothing more.
    Closed {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// Records are delivered.
    Delivered(Receipt),
    /// A commit is durable. A refused one never comes here: it ends the run in the shell.
    Committed {
        /// From [`Commit::id`].
        id: u64,
    },
    /// The component's answer to [`Effect::Assign`].
    Assigned {
        /// From [`Round::round`].
        round: u64,
        /// Shards with their subtasks. An error says why there is no answer; its subject is the component.
        answer: Result<Vec<(ShardId, u32)>, String>,
    },
    /// A subtask is no more, with everything handed to it and not delivered. Comes after all receipts of what it had
    /// delivered; the shell starts it again under its number.
    SubtaskLost {
        /// Below [`Settings::parallelism`].
        subtask: u32,
    },
    /// Stop reading, deliver what was read, checkpoint, finish.
    Drain,
    /// Stop waiting for outstanding receipts (a drain timed out, a record failed for good): checkpoint what is confirmed,
    /// finish.
    Abandon,
}

/// What to do. Effects are performed in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the service for all shards; answer with [`Event::Listed`] or [`Event::ListingFailed`]. At most one is out.
    List,
    /// Start a reader.
    Open {
        /// The shard.
        shard: ShardId,
        /// Grows with every `Open` of a run; reports carry it back.
        session: u64,
        /// Who takes its records, below [`Settings::parallelism`].
        subtask: u32,
        /// Where to read on; durable.
        from: Position,
        /// The shard's slice of the key space, where the service has one.
        range: Option<HashRange>,
    },
    /// Stop a reader; answer with [`Event::Closed`], unless it reports its own end first. Where its subtask is lost nobody
    /// waits for the answer: the shard is opened again with another session.
    Close {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// The reader asks for nothing more until it is resumed or closed. What it asked for before may still come.
    Pause {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// The reader goes on.
    Resume {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// Ask the component that assigns; answer with [`Event::Assigned`]. At most one is out, but for one that was given up
    /// after [`crate::assignment::ANSWER_WITHIN`].
    Assign(Round),
    /// Make this durable, whole or not at all; answer with [`Event::Committed`]. At most one is out.
    Commit(Commit),
    /// Something worth a line in the log.
    Notice(Notice),
    /// The run is over: everything that will be durable is. The last effect of a run.
    Finished,
}

/// What an operator may want to know. Nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A parent is neither known nor listed; another listing is asked for, and its child waits for that.
    ParentMissing {
        /// Whose parent.
        shard: ShardId,
        /// Who is missing.
        parent: ShardId,
    },
    /// A missing parent was absent from enough complete listings: its records are taken as trimmed, its children open.
    ParentPresumedExpired {
        /// The parent.
        parent: ShardId,
    },
    /// A parent presumed expired is listed after all. It is read; order between it and children opened meanwhile is lost.
    PresumedParentListed {
        /// The parent.
        parent: ShardId,
    },
    /// A shard's end becomes durable although no listing showed children for all of its key range.
    EndWithoutChildren {
        /// The shard.
        shard: ShardId,
    },
    /// No shard that is still to be read owns these keys, and further listings did not change that.
    KeySpaceGap {
        /// The keys without an owner.
        hole: HashRange,
    },
    /// The component that assigns did not decide as it should: uniform decided in its place.
    AssignerOverruled {
        /// What it did; its subject is the component.
        why: String,
    },
    /// A finished shard is past the stream's retention and no longer listed: its row goes.
    Forgotten {
        /// The shard.
        shard: ShardId,
    },
}

/// Where a shard stands in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShardState {
    /// Not open: its row is not durable, a parent's end is not, it has no subtask yet, or its subtask was lost.
    Waiting,
    /// A reader is open.
    Reading,
    /// Read to the end of the closed shard; that end is not durable yet.
    Ending,
    /// Read to the end fixed at the run's start.
    CaughtUp,
    /// Its reader was told to stop.
    Closing,
    /// Its reader stopped as told.
    Closed,
    /// Its end is durable.
    Finished,
}

/// One shard, for progress output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardView<'a> {
    /// The shard.
    pub shard: &'a ShardId,
    /// Who takes its records; `None` before it is first opened and once it is finished.
    pub subtask: Option<u32>,
    /// Where it stands.
    pub state: ShardState,
    /// Whether its reader is paused.
    pub paused: bool,
    /// Its durable position; `None` while its row is not durable.
    pub position: Option<&'a Position>,
    /// Records read and not confirmed.
    pub in_flight: u64,
    /// The event time up to which it is complete.
    pub watermark: Option<EpochMillis>,
}

/// Sums over a run, for progress output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Shards known.
    pub shards: usize,
    /// Shards whose end is durable.
    pub finished: usize,
    /// Records handed to subtasks in this run.
    pub read: u64,
    /// Records confirmed in this run, in order.
    pub delivered: u64,
}
