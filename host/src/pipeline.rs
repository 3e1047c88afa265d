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
//! is confirmed is committed, so that as little as possible is done twice. A sink that writes to a service may not finish:
//! it is cut off when patience is over, and the next run writes what it had.

pub mod failure;
pub mod lanes;
mod listing;
pub mod notices;
pub mod positions;
pub mod totals;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use host_core::coordinator::{Coordinator, Effect, Event, Notice, Round, Scope};
use host_core::cursor::Cursor;
use host_core::gap::OnGap;
use host_core::moment::{EpochMillis, Moment};
use host_core::patience::RetryLimits;
use host_core::reading::Pace;
use host_core::service_time::ServiceClock;
use host_core::shard::{Position, ShardId};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::assigner::{Assigner, KnownShards, NotAsked};
use crate::clock::Clock;
use crate::pipeline::failure::Failure;
use crate::pipeline::lanes::Lanes;
use crate::pipeline::positions::Positions;
pub use crate::pipeline::totals::Totals;
use crate::ports::{FanOutApi, StreamApi};
use crate::progress::{Progress, SHARDS_TOLD};
use crate::sink::thread::SinksThread;
use crate::source::consumer::Consumer;
use crate::source::health::{PatientCall, Purpose, Subject};
use crate::source::places::Places;
use crate::source::reader::ShardReader;
use crate::subtask::Intake;

/// What a subtask is called when it is gone for good.
const SUBTASK: &str = "subtask";
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
    /// A subtask's thread is gone; every receipt of what it delivered came before.
    Lost {
        /// Which one.
        subtask: u32,
    },
}

/// A stream of the source.
#[derive(Clone)]
pub struct Stream {
    /// Tells of it.
    pub api: Arc<dyn StreamApi>,
    /// How its records are fetched.
    pub retrieval: Retrieval,
    /// Its name, as messages tell it.
    pub name: String,
    /// How long it keeps records.
    pub retention: Duration,
    /// When it was created: a stream created later is another one.
    pub created: EpochMillis,
    /// The clock that stamps its records.
    pub clock: ServiceClock,
    /// The end fixed at the run's start, with `--until-caught-up`.
    pub stop_at: Option<EpochMillis>,
    /// Patience with its listings.
    pub listing: Arc<Mutex<PatientCall>>,
    /// Where the calls of its readers are made from, together with those of the pipeline's other streams.
    pub places: Arc<Places>,
}

/// How the records of a stream are fetched.
#[derive(Clone)]
pub enum Retrieval {
    /// `GetRecords`, at this pace.
    Polling(Pace),
    /// `SubscribeToShard`.
    FanOut(FanOut),
}

/// Enhanced fan-out.
#[derive(Clone)]
pub struct FanOut {
    /// Where subscriptions are had.
    pub api: Arc<dyn FanOutApi>,
    /// The consumer that they are for.
    pub consumer: Arc<Consumer>,
    /// Time for a subscription to be granted.
    pub subscription_timeout: Duration,
}

/// What holds for every shard.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Patience with failed calls.
    pub retry: RetryLimits,
    /// What happens when records were trimmed before they were read.
    pub on_gap: OnGap,
}

/// A pipeline whose parts stand ready.
pub struct Pipeline {
    /// Decides.
    pub core: Coordinator,
    /// The streams, by their index in the source.
    pub streams: Vec<Stream>,
    /// How their shards are read.
    pub reader: ReaderSettings,
    /// The ways into the subtasks, by index.
    pub subtasks: Vec<Intake>,
    /// Starts subtasks again.
    pub lanes: Lanes,
    /// The component that assigns shards, if the manifest names one.
    pub assigner: Option<AssignerThread>,
    /// Set to make subtasks drop what they hold.
    pub abandoned: Arc<AtomicBool>,
    /// Cancelled with it, so that no subtask waits out a pause.
    pub hurry: CancellationToken,
    /// Set while nothing goes on before sinks have settled what they have.
    pub eager: watch::Sender<bool>,
    /// Cancelled when patience with sinks is over, and when the run is: from then on they begin nothing.
    pub cut: CancellationToken,
    /// Writes to the sinks.
    pub sinks: SinksThread,
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
    /// How long deregistering consumers may take at the end of a run that nothing went wrong with.
    pub deregister_timeout: Duration,
}

/// What is left to keep while running.
struct Running {
    core: Coordinator,
    streams: Vec<Stream>,
    reader: ReaderSettings,
    /// Emptied when the run is abandoned: then the data plane ends by itself, and with it `inputs`.
    data_plane: Option<DataPlane>,
    abandoned: Arc<AtomicBool>,
    hurry: CancellationToken,
    eager: watch::Sender<bool>,
    positions: Positions,
    totals: Arc<Totals>,
    clock: Clock,
    open: BTreeMap<ShardId, OpenReader>,
    effects: Vec<Effect>,
    failure: Option<Failure>,
    /// The core ends the run by itself: what was read is delivered first, as with a stop that was asked for.
    stopped_by_core: bool,
    /// Nothing more can be made durable: what is left to wait for is that the data plane ends.
    positions_lost: bool,
}

struct DataPlane {
    subtasks: Vec<Intake>,
    lanes: Lanes,
    assigner: Option<AssignerThread>,
    sender: mpsc::Sender<Input>,
}

/// The component that assigns shards, and what it is told of them.
pub struct AssignerThread {
    /// The way to it.
    pub thread: Assigner,
    /// What listings showed.
    pub known: KnownShards,
}

/// What a reader is opened with.
struct Opening {
    shard: ShardId,
    session: u64,
    subtask: u32,
    from: Position,
    complete_until: Option<EpochMillis>,
    to_its_end: bool,
}

/// The loop's hold on a reader.
struct OpenReader {
    session: u64,
    closed: CancellationToken,
    paused: watch::Sender<bool>,
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
        let Self { mut inputs, mut progress, shutdown_timeout, deregister_timeout, cut, sinks, .. } = self;
        // However the run ends, nothing is written to a service after it.
        let _cut_at_last = cut.clone().drop_guard();
        let mut running = Running {
            core: self.core,
            streams: self.streams,
            reader: self.reader,
            data_plane: Some(DataPlane {
                subtasks: self.subtasks,
                lanes: self.lanes,
                assigner: self.assigner,
                sender: self.sender,
            }),
            abandoned: self.abandoned,
            hurry: self.hurry,
            eager: self.eager,
            positions: self.positions,
            totals: self.totals,
            clock: self.clock,
            open: BTreeMap::new(),
            effects: Vec::new(),
            failure: None,
            stopped_by_core: false,
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
            if running.stopped_by_core && !draining {
                draining = true;
                patience = patience.or(Some(running.clock.now() + shutdown_timeout));
            }
            let deadline = running.core.next_deadline();
            let abandoning = running.data_plane.is_none();
            running.press(draining);
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
                        cut.cancel();
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
        cut.cancel();
        if !sinks.ended(ABANDON_PATIENCE).await {
            tracing::warn!("a write to a sink on this machine has not returned and is left behind");
        }
        progress.finish();
        if running.failure.is_none() {
            running.leave(deregister_timeout).await;
        }
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
    /// Has sinks send what they have if nothing goes on before they have it: when the run ends, and when nothing is read
    /// (at the end of a run until caught up, and between a generation of shards and the next).
    fn press(&self, draining: bool) {
        let is_eager = draining || self.data_plane.is_none() || self.open.is_empty();
        self.eager.send_if_modified(|eager| std::mem::replace(eager, is_eager) != is_eager);
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Event(event) => {
                if let Event::ReadToEnd { shard, session, .. }
                | Event::CaughtUp { shard, session }
                | Event::Closed { shard, session }
                | Event::ShardGone { shard, session } = &event
                    && self.open.get(shard).is_some_and(|open| open.session == *session)
                {
                    self.open.remove(shard);
                }
                if let Event::Listed { stream, scope, shards } = &event {
                    self.tell_assigner(|known| known.listed(*stream, *scope == Scope::Full, shards));
                }
                if let Event::ReadToEnd { shard, children, .. } = &event {
                    self.tell_assigner(|known| known.ended(shard, children));
                }
                self.handle(event);
            }
            Input::Failed(failure) => self.fail(failure),
            Input::Lost { subtask } => self.lost(subtask),
        }
    }

    /// Starts a lost subtask again; the core has its shards read again from where the sinks have them.
    fn lost(&mut self, subtask: u32) {
        let now = self.clock.now();
        let Some(DataPlane { subtasks, lanes, .. }) = &mut self.data_plane else { return };
        let Some(place) = subtasks.get_mut(subtask as usize) else { return };
        if !lanes.losses.bear(now) {
            return self.fail(Failure::Vanished { part: SUBTASK });
        }
        match lanes.restart(subtask) {
            Ok(intake) => *place = intake,
            Err(failure) => return self.fail(failure),
        }
        tracing::error!(
            subtask,
            "a subtask ended unexpectedly and starts again; its shards are read again from their positions"
        );
        self.totals.lost_subtasks.add(1);
        self.handle(Event::SubtaskLost { subtask });
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
        }
        // A run that a gap stops has its failure and delivers on: it is abandoned only over what comes on top.
        if self.data_plane.is_some() {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.hurry.cancel();
        for reader in self.open.values() {
            reader.closed.cancel();
        }
        self.data_plane = None;
    }

    /// Deregisters the consumers that this pipeline registered. Never after a failure: the next start reads on with them.
    async fn leave(&self, within: Duration) {
        let consumers = self.streams.iter().filter_map(|stream| match &stream.retrieval {
            Retrieval::FanOut(fan_out) => Some(fan_out.consumer.deregister(within)),
            Retrieval::Polling(_) => None,
        });
        join_all(consumers).await;
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
        let effects = std::mem::take(&mut self.effects);
        let opened = effects.iter().filter(|effect| matches!(effect, Effect::Open { .. })).count();
        let tells_each = opened <= SHARDS_TOLD;
        if !tells_each {
            tracing::info!(shards = opened, "reading");
        }
        for effect in effects {
            match effect {
                Effect::List { stream, scope } => self.list(stream, scope),
                Effect::Open { shard, session, subtask, from, complete_until, range: _, to_its_end } => {
                    self.tell_assigner(|known| known.opened(&shard, subtask));
                    let opening = Opening { shard, session, subtask, from, complete_until, to_its_end };
                    self.open(opening, tells_each);
                }
                Effect::Close { shard, session } => self.tell(&shard, session, |reader| reader.closed.cancel()),
                Effect::Pause { shard, session } => self.tell(&shard, session, |reader| reader.pause(true)),
                Effect::Resume { shard, session } => self.tell(&shard, session, |reader| reader.pause(false)),
                Effect::Assign(round) => self.assign(&round),
                Effect::Commit(commit) => self.positions.commit(commit),
                Effect::Notice(notice) => {
                    if let (Notice::Gap(_), OnGap::Continue) = (&notice, self.reader.on_gap) {
                        self.totals.gaps.add(1);
                    }
                    notices::log(&notice, self.reader.on_gap, &self.streams);
                }
                Effect::Stop(gap) => {
                    let stream = self.stream_name(&gap.shard);
                    self.failure.get_or_insert(Failure::Gap { stream, gap: Box::new(gap) });
                    self.stopped_by_core = true;
                }
                Effect::Finished => finished = true,
            }
        }
        finished
    }

    fn tell(&self, shard: &ShardId, session: u64, what: impl FnOnce(&OpenReader)) {
        if let Some(reader) = self.open.get(shard).filter(|reader| reader.session == session) {
            what(reader);
        }
    }

    fn assign(&mut self, round: &Round) {
        let asked = match &self.data_plane {
            Some(DataPlane { assigner: Some(assigner), .. }) => assigner.thread.ask(round, &assigner.known),
            // Nothing is opened any more, or there is nobody to ask: uniform decides.
            Some(DataPlane { assigner: None, .. }) | None => Err(NotAsked::Gone),
        };
        if let Err(why) = asked {
            self.handle(Event::Assigned { round: round.round, answer: Err(why.to_string()) });
        }
    }

    /// The assigner is told of shards, and who reads them; the core only names them.
    fn tell_assigner(&mut self, tell: impl FnOnce(&mut KnownShards)) {
        if let Some(DataPlane { assigner: Some(assigner), .. }) = &mut self.data_plane {
            tell(&mut assigner.known);
        }
    }

    fn stream_name(&self, shard: &ShardId) -> String {
        self.streams.get(shard.stream() as usize).map(|stream| stream.name.clone()).unwrap_or_default()
    }

    fn list(&mut self, stream: u32, scope: Scope) {
        let Some(DataPlane { sender, .. }) = &self.data_plane else { return };
        let Some(listed) = self.streams.get(stream as usize).cloned() else { return };
        let sender = sender.clone();
        tokio::spawn(async move {
            let input = listing::list(stream, scope, &listed).await;
            // A pipeline that is gone does not want to know.
            drop(sender.send(input).await);
        });
    }

    fn open(&mut self, opening: Opening, is_told: bool) {
        let Some(DataPlane { subtasks, sender, .. }) = &self.data_plane else { return };
        let Opening { shard, session, subtask, from, complete_until, to_its_end } = opening;
        let Some(intake) = subtasks.get(subtask as usize) else { return };
        let Some(stream) = self.streams.get(shard.stream() as usize) else { return };
        let position = crate::state::edit::position::print(&from);
        if is_told {
            tracing::info!(stream = %stream.name, %shard, subtask, position, "reading");
        } else {
            tracing::debug!(stream = %stream.name, %shard, subtask, position, "reading");
        }
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let (floor, starts_at) = match &from {
            Position::AtTimestamp(at) => (Some(*at), now + stream.clock.until(*at, wall)),
            Position::TrimHorizon | Position::After { .. } | Position::ShardEnd => (None, now),
        };
        let cursor = Cursor::new(from, stream.stop_at).to_its_end(to_its_end).with_complete_until(complete_until);
        let (closed, (paused, pause)) = (CancellationToken::new(), watch::channel(false));
        let reader = ShardReader {
            stream: stream.clone(),
            shard: shard.clone(),
            session,
            floor,
            to_its_end,
            settings: self.reader.clone(),
            subject: Subject { stream: stream.name.clone(), purpose: Purpose::Reading(shard.clone()) },
            subtask: intake.queue.clone(),
            pipeline: sender.clone(),
            budget: intake.room.clone(),
            clock: self.clock,
            closed: closed.clone(),
            pause,
            totals: Arc::clone(&self.totals),
            handed: 0,
        };
        self.open.insert(shard, OpenReader { session, closed, paused });
        tokio::spawn(reader.run(cursor, starts_at));
    }
}

impl OpenReader {
    /// A reader that has ended needs no word.
    fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }
}
