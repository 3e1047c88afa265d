//! What the coordinator is told and what it answers.

use std::time::Duration;

use crate::checkpoint::{Commit, SinkMark};
use crate::discovery::Scope;
use crate::gap::{Gap, OnGap};
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
    /// By the index that [`ShardId::stream`] names; at least one.
    pub streams: Vec<StreamSettings>,
    /// Subtasks of the pipeline, at least 1 (0 is taken as 1).
    pub parallelism: u32,
    /// Who decides which subtask reads a shard.
    pub assigner: AssignerPolicy,
    /// Pause between listings of what is new in a stream.
    pub discovery_interval: Duration,
    /// Pause between listings of all shards of a stream: they alone show what is missing.
    pub audit_interval: Duration,
    /// Pause between commits of mere progress; rows and ends do not wait for it.
    pub checkpoint_interval: Duration,
    /// Whether a child waits for its parents.
    pub preserve_shard_order: bool,
    /// Whether the run finishes by itself once all shards are read to the end fixed at its start.
    pub until_caught_up: bool,
    /// A shard that brought nothing for this long does not hold the watermark back.
    pub idle_after: Duration,
    /// How far a shard's watermark may be ahead of the least before the shard pauses; `None`: as far as it likes.
    pub max_drift: Option<Duration>,
    /// What to do where records are gone before they were read.
    pub on_gap: OnGap,
}

/// What does not change about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// For the shards of the first listing of a stream without rows; all others start at their beginning.
    pub start: StartPoint,
    /// Whether an earlier run has used `start` up. Rows of the stream say so too.
    pub start_spent: bool,
    /// How long the stream keeps records, and finished shards are remembered at least.
    pub retention: Duration,
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
    /// A complete answer of the service to [`Effect::List`]. It may still be stale or lack shards.
    Listed {
        /// Index of the stream.
        stream: u32,
        /// What was asked for.
        scope: Scope,
        /// Every shard told, in any order.
        shards: Vec<ShardDescription>,
    },
    /// A listing did not succeed.
    ListingFailed {
        /// Index of the stream.
        stream: u32,
    },
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
    /// A reader is at the tip of its shard: everything that arrived before `at` was told by its `Read` events.
    AtTip {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
        /// The service's time when it answered with an empty page and 0 ms behind.
        at: EpochMillis,
    },
    /// The service does not know a reader's shard (`ResourceNotFoundException`) while it knows the stream. The reader has
    /// stopped. A hint only: listings decide whether the shard is gone.
    ShardGone {
        /// The shard.
        shard: ShardId,
        /// The reader's session.
        session: u64,
    },
    /// A reader found a gap; comes after all `Read` events of what lies before it. Under [`OnGap::Continue`] the reader has
    /// gone on behind it.
    Gap(Gap),
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
    /// Ask the service for shards; answer with [`Event::Listed`] or [`Event::ListingFailed`]. At most one per stream is out.
    List {
        /// Index of the stream.
        stream: u32,
        /// Which shards.
        scope: Scope,
    },
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
        /// Every record that arrived earlier is with the sinks: what the reader asks [`crate::gap::possible_loss`] about.
        complete_until: Option<EpochMillis>,
        /// The shard's slice of the key space, where the service has one.
        range: Option<HashRange>,
        /// It was closed when the run began, and is read to its end whatever its stamps say. Only in a run until caught up.
        to_its_end: bool,
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
    /// The run fails because of this gap. What was read is still delivered and made durable, with [`Effect::Finished`] at
    /// the end; no position passes the gap. At most one per run.
    Stop(Gap),
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
        /// Index of the stream.
        stream: u32,
        /// The keys without an owner.
        hole: HashRange,
    },
    /// The component that assigns did not decide as it should: uniform decided in its place.
    AssignerOverruled {
        /// What it did; its subject is the component.
        why: String,
    },
    /// Records of a shard will not be read.
    Gap(Gap),
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
    /// The service did not know it; a listing of all shards decides whether it is opened again.
    Reopening,
    /// It is no longer there. Its end is not durable yet.
    Gone,
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

/// How many shards stand where, by [`ShardState`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Not opened yet.
    pub waiting: usize,
    /// With an open reader.
    pub reading: usize,
    /// Read to the end, which is not durable yet.
    pub ending: usize,
    /// Read to the end fixed at the run's start.
    pub caught_up: usize,
    /// With a reader that was told to stop.
    pub closing: usize,
    /// With a reader that stopped as told.
    pub closed: usize,
    /// To be opened again.
    pub reopening: usize,
    /// No longer there, and their end is not durable yet.
    pub gone: usize,
    /// With a durable end.
    pub finished: usize,
    /// Of all of these, those with records that are read and not confirmed.
    pub unsettled: usize,
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
    /// Gaps told in this run.
    pub gaps: u64,
}
