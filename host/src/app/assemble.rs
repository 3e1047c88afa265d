//! Puts a pipeline together from a manifest and its ports, whatever stands behind them: positions claimed, sinks at their
//! marks, one thread for the positions, one for the sinks and one per subtask. Tests do the same with ports in memory.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use host_core::checkpoint::SinkMark;
use host_core::coordinator::{Coordinator, Settings, StartPoint};
use host_core::moment::EpochMillis;
use host_core::patience::RetryLimits;
use host_core::reading::Pace;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{InitialPosition, Manifest, Reader};
use crate::flow::Budget;
use crate::pipeline::failure::Failure;
use crate::pipeline::positions::{Keeper, Positions};
use crate::pipeline::{Input, Pipeline, ReaderSettings, Totals};
use crate::ports::{StreamApi, StreamDescription};
use crate::progress::{Progress, Screen};
use crate::sink::thread::{self as sink_thread, RoutedSink};
use crate::state::{Claimed, ComponentDigest, LeaseStore, Owner, StreamIdentity};
use crate::subtask::{Deserialize, Intake, Subtask};

/// Batches that wait for one subtask; the byte budget bounds what they hold.
const QUEUE: usize = 64;
/// Words that wait for the loop.
const INPUTS: usize = 1024;
/// A shard that is silent for this long holds no watermark back.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// What a pipeline works on. Nothing here was claimed, resumed or written to yet.
pub struct Ports {
    /// The stream.
    pub stream: Arc<dyn StreamApi>,
    /// What it said of itself just now.
    pub description: StreamDescription,
    /// The pipeline's positions.
    pub store: Box<dyn LeaseStore>,
    /// Where elements go.
    pub sinks: Vec<RoutedSink>,
    /// One opened component instance per subtask: as many as the manifest's `parallelism`.
    pub deserializers: Vec<Box<dyn Deserialize>>,
    /// The component's digest, for the store.
    pub digest: String,
}

/// Claims the positions, places the sinks, starts the threads. Called within a runtime; nothing is read before
/// [`Pipeline::run`].
///
/// # Errors
/// The positions are not ours or belong to another stream of that name, a sink does not resume, the machine has no thread.
pub fn assemble(
    manifest: &Manifest,
    ports: Ports,
    until_caught_up: bool,
    screen: &Screen,
    clock: Clock,
    totals: Arc<Totals>,
) -> Result<Pipeline, Failure> {
    let Ports { stream, description, mut store, mut sinks, deserializers, digest } = ports;
    let owner = Owner { name: owner_name(), since: clock.wall() };
    let claimed = store.claim(&owner, &[ComponentDigest { role: "deserializer".to_owned(), digest }])?;
    let identity = StreamIdentity { arn: manifest.source.stream().to_string(), created: description.created };
    let (start, rows) = starting_point(manifest, &identity, &claimed, store.as_mut(), clock)?;
    let (keeper, resumed) = resume(&mut sinks, &claimed, store, identity)?;
    tracing::debug!(?resumed, "sinks are at their places");
    let positions = Positions::start(manifest.name.as_str(), keeper)?;
    let settings = Settings {
        parallelism: manifest.parallelism,
        start,
        discovery_interval: manifest.source.discovery_interval,
        checkpoint_interval: manifest.checkpoint.interval,
        preserve_shard_order: manifest.source.preserve_shard_order,
        until_caught_up,
        retention: Duration::from_secs(u64::from(description.retention_hours) * 3600),
        idle_after: IDLE_AFTER,
    };
    let (sender, inputs) = mpsc::channel(INPUTS);
    let abandoned = Arc::new(AtomicBool::new(false));
    let hurry = CancellationToken::new();
    let lanes = Lanes { manifest, abandoned: &abandoned, hurry: &hurry, clock, totals: &totals };
    let subtasks = lanes.spawn(deserializers, sinks, &sender)?;
    Ok(Pipeline {
        core: Coordinator::new(settings, rows, clock.now()),
        stream,
        reader: reader_settings(manifest, until_caught_up, clock),
        subtasks,
        abandoned,
        hurry,
        sender,
        inputs,
        positions,
        totals,
        progress: Progress::new(manifest.name.as_str(), screen),
        clock,
        shutdown_timeout: manifest.shutdown_timeout,
    })
}

/// `host:pid`, for people.
fn owner_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

/// Where a pipeline without rows starts, and the rows of one that has them. `latest` becomes a time here, once, and is
/// durable before the first read (POS-1). It is the start of the running second: some services keep whole seconds.
fn starting_point(
    manifest: &Manifest,
    identity: &StreamIdentity,
    claimed: &Claimed,
    store: &mut dyn LeaseStore,
    clock: Clock,
) -> Result<(StartPoint, Vec<host_core::checkpoint::ShardRow>), Failure> {
    if let Some(known) = claimed.streams.iter().find(|stream| stream.identity == *identity) {
        tracing::info!(shards = known.rows.len(), "resuming at the recorded positions; initial_position has no effect");
        return Ok((known.start, known.rows.clone()));
    }
    if claimed.streams.iter().any(|stream| stream.identity.arn == identity.arn) {
        return Err(Failure::Recreated { stream: identity.arn.clone() });
    }
    let start = match manifest.source.initial_position {
        InitialPosition::TrimHorizon => StartPoint::TrimHorizon,
        InitialPosition::AtTimestamp(at) => StartPoint::AtTimestamp(at),
        InitialPosition::Latest => {
            let now = clock.wall().0;
            StartPoint::AtTimestamp(EpochMillis(now - now.rem_euclid(1000)))
        }
    };
    store.start_stream(identity, start, &[])?;
    Ok((start, Vec::new()))
}

/// Puts every sink at the place that belongs to the positions.
fn resume(
    sinks: &mut [RoutedSink],
    claimed: &Claimed,
    store: Box<dyn LeaseStore>,
    stream: StreamIdentity,
) -> Result<(Keeper, Vec<SinkMark>), Failure> {
    let (mut resumed, mut settles) = (Vec::new(), Vec::new());
    for (index, routed) in (0_u32..).zip(sinks.iter_mut()) {
        let recorded = claimed.marks.iter().find(|(name, _)| *name == routed.name).map(|(_, mark)| *mark);
        resumed.extend(routed.sink.resume(recorded)?.map(|mark| SinkMark { sink: index, mark }));
        settles.extend(routed.sink.settle()?.map(|settle| (routed.name.clone(), settle)));
    }
    let names = sinks.iter().map(|sink| sink.name.clone()).collect();
    Ok((Keeper { store, stream, sinks: names, settles, resumed: resumed.clone() }, resumed))
}

fn reader_settings(manifest: &Manifest, until_caught_up: bool, clock: Clock) -> ReaderSettings {
    let Reader::Polling(polling) = &manifest.source.reader;
    ReaderSettings {
        pace: Pace {
            max_calls_per_second: polling.max_calls_per_second,
            max_bytes_per_second: polling.max_bytes_per_second,
            empty_interval: polling.empty_interval,
            max_records: polling.max_records,
        },
        stream: manifest.source.stream().name().to_owned(),
        retry: RetryLimits::from(&manifest.aws.retry),
        stop_at: until_caught_up.then(|| clock.wall()),
    }
}

/// What every lane's thread is given.
struct Lanes<'a> {
    manifest: &'a Manifest,
    abandoned: &'a Arc<AtomicBool>,
    hurry: &'a CancellationToken,
    clock: Clock,
    totals: &'a Arc<Totals>,
}

impl Lanes<'_> {
    /// Starts the sinks' thread and one thread per subtask, and returns the ways into the subtasks. Each has
    /// its own share of the bytes that may be read ahead, so that one that stands still cannot take what others need.
    fn spawn(
        &self,
        deserializers: Vec<Box<dyn Deserialize>>,
        sinks: Vec<RoutedSink>,
        inputs: &mpsc::Sender<Input>,
    ) -> Result<Vec<Intake>, Failure> {
        let manifest = self.manifest;
        let thread = |part: &str| {
            let part = part.to_owned();
            move |source| Failure::Thread { part, source }
        };
        let (to_sinks, deliveries) = mpsc::channel(QUEUE);
        sink_thread::spawn(manifest.name.as_str(), sinks, deliveries, inputs.clone(), Arc::clone(self.totals))
            .map_err(thread("sinks"))?;
        let share = manifest.source.read_ahead / u64::from(manifest.parallelism.max(1));
        let mut intakes = Vec::new();
        for (index, deserializer) in deserializers.into_iter().enumerate() {
            let (queue, batches) = mpsc::channel(QUEUE);
            let subtask = Subtask {
                stream: (manifest.source.stream().to_string(), manifest.source.stream().name().to_owned()),
                deserializer,
                policy: manifest.on_error,
                sinks: to_sinks.clone(),
                abandoned: Arc::clone(self.abandoned),
                hurry: self.hurry.clone(),
                runtime: Handle::current(),
                clock: self.clock,
                totals: Arc::clone(self.totals),
            };
            subtask.spawn(&format!("{} {index}", manifest.name), batches).map_err(thread("a subtask"))?;
            intakes.push(Intake { queue, room: Budget::new(share) });
        }
        Ok(intakes)
    }
}
