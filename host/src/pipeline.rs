//! One pipeline over one stream: await what happens, ask the core, perform what it says.
//!
//! ```text
//!  readers (a task per shard) --batches--> subtasks (a thread each) --deliveries--> sinks (a thread)
//!      ^        |                                                                     |
//!      |        '-- Read ----------------> this loop <---- Delivered (receipts) ------'
//!      '-- Open, Close --------------------'  |  ^
//!                                      Commit v  | Committed
//!                                      positions (a thread)
//! ```
//!
//! Records never come through here, only word of them. This loop never waits for any of the others while it holds
//! something they wait for: it only ever sends to the positions' thread, which takes one commit at a time.
//!
//! A run ends in one of three ways. *Finished*: the core says so. *Drained*: somebody asked to stop; readers close, what
//! was read is delivered, a last commit is made. *Abandoned*: something failed or draining took too long; then the
//! subtasks drop what they hold, the sinks finish what they have, every receipt that is under way is taken in, and what
//! is confirmed is committed, so that as little as possible is done twice.

pub mod failure;
pub mod positions;
pub mod totals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use host_core::coordinator::{Coordinator, Effect, Event, Notice};
use host_core::moment::{EpochMillis, Moment};
use host_core::patience::RetryLimits;
use host_core::reading::{Pace, Reading};
use host_core::shard::{Position, ShardDescription, ShardId};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::pipeline::failure::Failure;
use crate::pipeline::positions::Positions;
pub use crate::pipeline::totals::Totals;
use crate::ports::StreamApi;
use crate::progress::Progress;
use crate::source::classify::SourceError;
use crate::source::health::{Purpose, Subject};
use crate::source::polling::ShardReader;
use crate::subtask::Intake;

/// How long the data plane may take to stop once it is abandoned.
const ABANDON_PATIENCE: Duration = Duration::from_secs(2);
/// How often progress is looked at.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What reaches the loop from the data plane.
#[derive(Debug)]
pub enum Input {
    /// Word for the core.
    Event(Event),
    /// Something that the run cannot go on from.
    Failed(Failure),
}

/// How shards are read.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Pace of each shard.
    pub pace: Pace,
    /// The stream's name.
    pub stream: String,
    /// Patience with failed calls.
    pub retry: RetryLimits,
    /// The end fixed at the run's start, with `--until-caught-up`.
    pub stop_at: Option<EpochMillis>,
}

/// A pipeline whose parts stand ready.
pub struct Pipeline {
    /// Decides.
    pub core: Coordinator,
    /// The stream.
    pub stream: Arc<dyn StreamApi>,
    /// How its shards are read.
    pub reader: ReaderSettings,
    /// The ways into the subtasks, by index.
    pub subtasks: Vec<Intake>,
    /// Set to make subtasks drop what they hold.
    pub abandoned: Arc<AtomicBool>,
    /// Cancelled with it, so that no subtask waits out a pause.
    pub hurry: CancellationToken,
    /// For readers and listings.
    pub sender: mpsc::Sender<Input>,
    /// From readers, listings and sinks.
    pub inputs: mpsc::Receiver<Input>,
    /// Durable positions.
    pub positions: Positions,
    /// What the run counts.
    pub totals: Arc<Totals>,
    /// What the user sees of it.
    pub progress: Progress,
    /// Time.
    pub clock: Clock,
    /// How long draining may take.
    pub shutdown_timeout: Duration,
}

/// What is left to keep while running.
struct Running {
    core: Coordinator,
    stream: Arc<dyn StreamApi>,
    reader: ReaderSettings,
    /// Emptied when the run is abandoned: then the data plane ends by itself, and with it `inputs`.
    data_plane: Option<DataPlane>,
    abandoned: Arc<AtomicBool>,
    hurry: CancellationToken,
    positions: Positions,
    totals: Arc<Totals>,
    clock: Clock,
    open: BTreeMap<ShardId, (u64, CancellationToken)>,
    failed_listings: u32,
    effects: Vec<Effect>,
    failure: Option<Failure>,
    /// Nothing more can be made durable: what is left to wait for is that the data plane ends.
    positions_lost: bool,
}

struct DataPlane {
    subtasks: Vec<Intake>,
    sender: mpsc::Sender<Input>,
}

/// How a run ended.
pub struct Ended {
    /// The core's last word on shards and positions.
    pub core: Coordinator,
    /// Why it ended early, if it did.
    pub failure: Option<Failure>,
}

impl Pipeline {
    /// Runs until caught up, drained or failed. `stop` asks to drain.
    pub async fn run(self, stop: CancellationToken) -> Ended {
        let Self { mut inputs, mut progress, shutdown_timeout, .. } = self;
        let mut running = Running {
            core: self.core,
            stream: self.stream,
            reader: self.reader,
            data_plane: Some(DataPlane { subtasks: self.subtasks, sender: self.sender }),
            abandoned: self.abandoned,
            hurry: self.hurry,
            positions: self.positions,
            totals: self.totals,
            clock: self.clock,
            open: BTreeMap::new(),
            failed_listings: 0,
            effects: Vec::new(),
            failure: None,
            positions_lost: false,
        };
        let mut progress_due = tokio::time::interval(PROGRESS_INTERVAL);
        progress_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut draining, mut data_plane_ended) = (false, false);
        // When patience ends: with draining first, then with what was abandoned.
        let mut patience: Option<Moment> = None;
        running.handle(Event::Tick);
        while !running.perform() {
            // Without positions the core waits for a commit that never comes.
            if running.positions_lost && data_plane_ended {
                break;
            }
            let deadline = running.core.next_deadline();
            let abandoning = running.data_plane.is_none();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !draining => {
                    draining = true;
                    patience = patience.or(Some(running.clock.now() + shutdown_timeout));
                    progress.draining();
                    running.handle(Event::Drain);
                }
                answer = running.positions.answer(), if !running.positions_lost => running.take_in(answer),
                input = inputs.recv(), if !data_plane_ended => match input {
                    Some(input) => running.take_in(input),
                    None => {
                        data_plane_ended = true;
                        running.data_plane_gone();
                    }
                },
                () = wait_until(&running.clock, deadline) => running.handle(Event::Tick),
                () = wait_until(&running.clock, patience) => {
                    patience = None;
                    if abandoning {
                        // Whatever does not end is left behind.
                        data_plane_ended = true;
                        running.handle(Event::Abandon);
                    } else {
                        let undelivered = running.core.shards().map(|shard| shard.in_flight).sum();
                        running.fail(Failure::DrainTimedOut { undelivered });
                    }
                }
                _ = progress_due.tick() => progress.look(&running.core, &running.totals),
            }
            if running.data_plane.is_none() && !abandoning {
                patience = Some(running.clock.now() + ABANDON_PATIENCE);
                draining = true;
            }
        }
        running.abandon();
        progress.finish();
        Ended { core: running.core, failure: running.failure }
    }
}

async fn wait_until(clock: &Clock, moment: Option<Moment>) {
    match moment {
        Some(moment) => clock.wait_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Running {
    fn take_in(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                match &event {
                    Event::Listed { .. } => self.failed_listings = 0,
                    Event::ListingFailed
                    | Event::Tick
                    | Event::Read(_)
                    | Event::ReadToEnd { .. }
                    | Event::CaughtUp { .. }
                    | Event::Closed { .. }
                    | Event::Delivered(_)
                    | Event::Committed { .. }
                    | Event::Drain
                    | Event::Abandon => {}
                }
                if let Event::ReadToEnd { shard, .. } | Event::CaughtUp { shard, .. } | Event::Closed { shard, .. } =
                    &event
                {
                    self.open.remove(shard);
                }
                self.handle(event);
            }
            Input::Failed(failure) => self.fail(failure),
        }
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(self.clock.now(), self.clock.wall(), event, &mut self.effects);
    }

    /// The first failure is the cause; later ones follow from it.
    fn fail(&mut self, failure: Failure) {
        self.positions_lost |= matches!(failure, Failure::Store(_) | Failure::Vanished { part: positions::POSITIONS });
        if self.failure.is_some() {
            tracing::warn!(%failure, "failed as well while stopping");
        } else {
            self.failure = Some(failure);
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.hurry.cancel();
        for (_, closed) in self.open.values() {
            closed.cancel();
        }
        self.data_plane = None;
    }

    fn data_plane_gone(&mut self) {
        if self.failure.is_none() {
            self.failure = Some(Failure::Vanished { part: "data plane" });
            self.abandon();
        }
        self.handle(Event::Abandon);
    }

    /// Performs what the core said; true once the run is over.
    fn perform(&mut self) -> bool {
        let mut finished = false;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::List => self.list(),
                Effect::Open { shard, session, subtask, from, range: _ } => self.open(shard, session, subtask, from),
                Effect::Close { shard, session } => {
                    if let Some((_, closed)) = self.open.get(&shard).filter(|(open, _)| *open == session) {
                        closed.cancel();
                    }
                }
                Effect::Commit(commit) => self.positions.commit(commit),
                Effect::Notice(notice) => log(&notice),
                Effect::Finished => finished = true,
            }
        }
        finished
    }

    fn list(&mut self) {
        let Some(DataPlane { sender, .. }) = &self.data_plane else { return };
        let (stream, sender) = (Arc::clone(&self.stream), sender.clone());
        let attempt = self.failed_listings + 1;
        self.failed_listings = attempt;
        let attempts_max = self.reader.retry.max_attempts;
        let health = Arc::clone(&self.totals.health);
        tokio::spawn(async move {
            let answer = stream.list_shards(None).await;
            if let Err(error) = &answer {
                health.retries.count(error.kind);
            }
            let input = listed(answer, attempt < attempts_max);
            // A pipeline that is gone does not want to know.
            drop(sender.send(input).await);
        });
    }

    fn open(&mut self, shard: ShardId, session: u64, subtask: u32, from: Position) {
        let Some(DataPlane { subtasks, sender }) = &self.data_plane else { return };
        let Some(intake) = subtasks.get(subtask as usize) else { return };
        let closed = CancellationToken::new();
        tracing::info!(%shard, subtask, position = crate::state::edit::position::print(&from), "reading");
        let floor = match &from {
            Position::AtTimestamp(at) => Some(*at),
            Position::TrimHorizon | Position::After { .. } | Position::ShardEnd => None,
        };
        let reader = ShardReader {
            stream: Arc::clone(&self.stream),
            shard: shard.clone(),
            session,
            floor,
            reading: Reading::new(from, self.reader.pace, self.reader.stop_at, self.clock.now())
                .with_retry(self.reader.retry),
            subject: Subject { stream: self.reader.stream.clone(), purpose: Purpose::Reading(shard.clone()) },
            limit: self.reader.pace.max_records,
            subtask: intake.queue.clone(),
            pipeline: sender.clone(),
            budget: intake.room.clone(),
            clock: self.clock,
            closed: closed.clone(),
            totals: Arc::clone(&self.totals),
            handed: 0,
        };
        self.open.insert(shard, (session, closed));
        tokio::spawn(reader.run());
    }
}

fn listed(answer: Result<Vec<ShardDescription>, SourceError>, may_repeat: bool) -> Input {
    match answer {
        Ok(shards) => Input::Event(Event::Listed { shards }),
        Err(error) if error.kind.may_pass() && may_repeat => {
            tracing::warn!(%error, "shards could not be listed; this will be tried again");
            Input::Event(Event::ListingFailed)
        }
        Err(error) => Input::Failed(Failure::Source(error)),
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::ParentMissing { shard, parent } => {
            tracing::info!(%shard, %parent, "a parent is neither known nor listed; listing again before its child is read");
        }
        Notice::ParentPresumedExpired { parent } => {
            tracing::info!(%parent, "a parent is gone from the stream: its records have expired");
        }
        Notice::PresumedParentListed { parent } => {
            tracing::warn!(%parent, "a parent that was taken as expired is listed after all and is read now, after its children");
        }
        Notice::EndWithoutChildren { shard } => {
            tracing::warn!(%shard, "a shard ended and no listing shows children for all of its keys");
        }
        Notice::KeySpaceGap { hole } => {
            tracing::warn!(
                start = hole.start,
                end = hole.end,
                "no shard that is still to be read owns these hash keys"
            );
        }
        Notice::Forgotten { shard } => {
            tracing::debug!(%shard, "a finished shard is past retention; its row is dropped")
        }
    }
}
