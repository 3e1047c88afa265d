//! Puts a pipeline together from a manifest and its ports, whatever stands behind them: positions claimed, sinks at their
//! marks, one thread for the positions, one for the sinks and one per subtask. Tests do the same with ports in memory.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_core::checkpoint::{Commit, ShardRow, SinkMark};
use host_core::coordinator::{AssignerPolicy, Coordinator, Event, Settings, StartPoint, StreamSettings};
use host_core::gap::OnGap;
use host_core::moment::EpochMillis;
use host_core::patience::RetryLimits;
use host_core::service_time::{ServiceClock, falls_before_horizon};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::app::enrolling::{self, Enrolling};
use crate::assigner::{self, Assign, Assigned, Assigner, KnownShards};
use crate::clock::Clock;
use crate::config::{self, BuiltinAssigner, InitialPosition, Manifest, StreamArn};
use crate::pipeline::failure::Failure;
use crate::pipeline::lanes::{Lanes, Losses, OpenComponents};
use crate::pipeline::positions::{Keeper, Positions};
use crate::pipeline::{AssignerThread, Input, Pipeline, ReaderSettings, Retrieval, Stream, Totals};
use crate::ports::{FanOutApi, StreamApi, StreamDescription};
use crate::progress::{Progress, Screen};
use crate::sink::confirmations;
use crate::sink::service::Claim;
use crate::sink::thread::{self as sink_thread, Output, RoutedSink, SinksThread};
use crate::source::classify::Place;
use crate::source::health::{PatientCall, Purpose, Subject};
use crate::source::places::Places;
use crate::state::{Claimed, ComponentDigest, LeaseStore, Owner, StreamIdentity, StreamState};
use crate::subtask::{Components, Routing, StreamLabel, Surroundings};

/// Deliveries that wait for the sinks.
const QUEUE: usize = 64;
/// Words that wait for the loop.
const INPUTS: usize = 1024;

/// What a pipeline works on. Nothing here was claimed, resumed or written to yet.
pub struct Ports {
    /// The streams, in the manifest's order.
    pub streams: Vec<FoundStream>,
    /// The pipeline's positions.
    pub store: Box<dyn LeaseStore>,
    /// Where elements go.
    pub sinks: Vec<RoutedSink>,
    /// The opened components of each subtask: as many as the manifest's `parallelism`.
    pub subtasks: Vec<Components>,
    /// Opens components for a subtask that is started again.
    pub reopen: OpenComponents,
    /// The component that assigns shards.
    pub assigner: Option<Box<dyn Assign>>,
    /// The components of the run, for the store.
    pub components: Vec<ComponentDigest>,
}

/// A stream that answers.
#[derive(Clone)]
pub struct FoundStream {
    /// Reads it.
    pub api: Arc<dyn StreamApi>,
    /// What it said of itself just now.
    pub description: StreamDescription,
    /// Its clock, compared with ours.
    pub clock: ServiceClock,
    /// Where it is, as messages tell it.
    pub place: Place,
    /// Where subscriptions to its shards are had.
    pub fan_out: Arc<dyn FanOutApi>,
}

impl FoundStream {
    fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.description.retention_hours) * 3600)
    }
}

/// Claims the positions, places the sinks, starts the threads. Called within a runtime; nothing is read before
/// [`Pipeline::run`].
///
/// # Errors
/// The positions are not ours or belong to another stream of that name, a sink does not resume, the machine has no thread.
pub async fn assemble(
    manifest: &Manifest,
    ports: Ports,
    until_caught_up: bool,
    screen: &Screen,
    clock: Clock,
    totals: Arc<Totals>,
) -> Result<Pipeline, Failure> {
    let Ports { streams, mut store, mut sinks, subtasks, reopen, assigner, components } = ports;
    let owner = Owner { name: owner_name(), since: clock.wall() };
    let claimed = store.claim(&owner, &components)?;
    let begun = Beginning { manifest, claimed: &claimed, clock, totals: &totals }.all(&streams, store.as_mut())?;
    let identities: Vec<StreamIdentity> = begun.iter().map(|begun| begun.identity.clone()).collect();
    let claim = Claim { generation: claimed.generation, streams: identities.clone().into() };
    let has_rows = begun.iter().any(|begun| !begun.rows.is_empty());
    let (keeper, resumed) = resume(&mut sinks, &claimed, has_rows, store, identities)?;
    tracing::debug!(?resumed, "sinks are at their places");
    let positions = Positions::start(manifest.name.as_str(), keeper)?;
    let settings = settings(manifest, &begun, until_caught_up);
    let retrieval = Enrolling { manifest, claimed: &claimed, positions: &positions, clock, totals: &totals };
    let retrievals = retrieval.all(&streams, &begun).await?;
    let rows = begun.into_iter().flat_map(|begun| begun.rows).collect();
    let (sender, inputs) = mpsc::channel(INPUTS);
    let abandoned = Arc::new(AtomicBool::new(false));
    let hurry = CancellationToken::new();
    let surroundings = Surroundings {
        streams: manifest.source.streams.iter().map(label).collect(),
        policy: manifest.on_error,
        routing: Arc::new(Routing::new(sinks.iter().map(|sink| sink.when.clone()).collect(), manifest.unrouted)),
        abandoned: Arc::clone(&abandoned),
        hurry: hurry.clone(),
        runtime: Handle::current(),
        clock,
        totals: Arc::clone(&totals),
    };
    let (eager, is_eager) = watch::channel(false);
    let cut = CancellationToken::new();
    let services = services(&surroundings, claim, !resumed.is_empty(), is_eager, cut.clone());
    let (lanes, sinks) = lanes(manifest, surroundings, sinks, services, reopen, &sender)?;
    let open = |(index, components)| lanes.start(index, components);
    let subtasks = (0_u32..).zip(subtasks).map(open).collect::<Result<_, Failure>>()?;
    let assigner = assigner.map(|assigner| start_assigner(manifest, assigner, clock, sender.clone())).transpose()?;
    let running = Streams { manifest, clock, until_caught_up, totals: &totals, places: Arc::default() };
    let names = manifest.source.streams.iter().map(|arn| arn.name().to_owned()).collect();
    Ok(Pipeline {
        core: Coordinator::new(settings, rows, clock.now()),
        streams: (manifest.source.streams.iter().zip(streams).zip(retrievals))
            .map(|((arn, found), retrieval)| running.stream(arn, found, retrieval))
            .collect(),
        reader: ReaderSettings { retry: RetryLimits::from(&manifest.aws.retry), on_gap: manifest.source.on_gap },
        subtasks,
        lanes,
        assigner,
        abandoned,
        hurry,
        eager,
        cut,
        sinks,
        sender,
        inputs,
        positions,
        totals,
        progress: Progress::new(manifest.name.as_str(), names, screen),
        clock,
        shutdown_timeout: manifest.shutdown_timeout,
        deregister_timeout: enrolling::deregister_timeout(manifest),
    })
}

fn settings(manifest: &Manifest, begun: &[Begun], until_caught_up: bool) -> Settings {
    let source = &manifest.source;
    Settings {
        streams: begun.iter().map(|begun| begun.settings).collect(),
        parallelism: manifest.parallelism,
        assigner: match &manifest.assigner {
            config::Assigner::Builtin(BuiltinAssigner::Uniform) => AssignerPolicy::Uniform,
            config::Assigner::Builtin(BuiltinAssigner::Fewest) => AssignerPolicy::Fewest,
            config::Assigner::Component(_) => AssignerPolicy::Component,
        },
        discovery_interval: source.discovery_interval,
        audit_interval: source.audit_interval,
        checkpoint_interval: manifest.checkpoint.interval,
        preserve_shard_order: source.preserve_shard_order,
        until_caught_up,
        idle_after: source.idle_after,
        max_drift: source.max_drift,
        on_gap: source.on_gap,
    }
}

fn label(arn: &StreamArn) -> StreamLabel {
    StreamLabel { arn: arn.to_string(), name: arn.name().to_owned() }
}

/// What makes streams ready to be read.
struct Streams<'a> {
    manifest: &'a Manifest,
    clock: Clock,
    until_caught_up: bool,
    totals: &'a Totals,
    places: Arc<Places>,
}

impl Streams<'_> {
    fn stream(&self, arn: &StreamArn, found: FoundStream, retrieval: Retrieval) -> Stream {
        let subject = Subject { stream: arn.name().to_owned(), purpose: Purpose::Listing };
        let limits = RetryLimits::from(&self.manifest.aws.retry);
        let listing = PatientCall::starting(subject, limits, Arc::clone(&self.totals.health), self.clock);
        Stream {
            name: arn.name().to_owned(),
            retention: found.retention(),
            created: found.description.created,
            clock: found.clock,
            stop_at: self.until_caught_up.then(|| found.clock.latest(self.clock.wall())),
            listing: Arc::new(Mutex::new(listing)),
            places: Arc::clone(&self.places),
            retrieval,
            api: found.api,
        }
    }
}

/// `host:pid`, for people.
fn owner_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

/// A stream whose start is durable.
pub(super) struct Begun {
    pub(super) identity: StreamIdentity,
    settings: StreamSettings,
    rows: Vec<ShardRow>,
}

/// What decides where each stream begins.
struct Beginning<'a> {
    manifest: &'a Manifest,
    claimed: &'a Claimed,
    clock: Clock,
    totals: &'a Totals,
}

impl Beginning<'_> {
    fn all(&self, streams: &[FoundStream], store: &mut dyn LeaseStore) -> Result<Vec<Begun>, Failure> {
        let arns = self.manifest.source.streams.iter();
        (0_u32..).zip(arns.zip(streams)).map(|(index, (arn, found))| self.one(index, arn, found, store)).collect()
    }

    /// The rows of a stream that has them, or where one without rows starts; that is durable before the first read
    /// (POS-1).
    fn one(
        &self,
        index: u32,
        arn: &StreamArn,
        found: &FoundStream,
        store: &mut dyn LeaseStore,
    ) -> Result<Begun, Failure> {
        let identity = StreamIdentity { arn: arn.to_string(), created: found.description.created };
        let settings = |start, start_spent| StreamSettings { start, start_spent, retention: found.retention() };
        if let Some(known) = self.claimed.streams.iter().find(|stream| stream.identity == identity) {
            let shards = known.rows.len();
            tracing::info!(
                stream = arn.name(),
                shards,
                "resuming at the recorded positions; initial_position has no effect"
            );
            let rows: Vec<_> = known.rows_in(index);
            return Ok(Begun { identity, settings: settings(known.start, !rows.is_empty()), rows });
        }
        let older: Vec<_> = self.claimed.streams.iter().filter(|stream| stream.identity.arn == identity.arn).collect();
        let start = if older.is_empty() { self.start(arn, found) } else { self.recreated(arn, &older, store)? };
        store.start_stream(&identity, start, &[])?;
        Ok(Begun { identity, settings: settings(start, false), rows: Vec::new() })
    }

    /// A stream that was deleted and created again is read from its oldest record, once the manifest allows the gap.
    fn recreated(
        &self,
        arn: &StreamArn,
        older: &[&StreamState],
        store: &mut dyn LeaseStore,
    ) -> Result<StartPoint, Failure> {
        match self.manifest.source.on_gap {
            OnGap::Fail => Err(Failure::Recreated { stream: arn.to_string() }),
            OnGap::Continue => {
                for stream in older {
                    store.forget_stream(&stream.identity)?;
                }
                self.totals.gaps.add(1);
                tracing::warn!(
                    stream = arn.name(),
                    "gap: the stream was deleted and created again; what the old one still held is lost; reading the new one \
                     from its oldest record, as on_gap = \"continue\" says"
                );
                Ok(StartPoint::TrimHorizon)
            }
        }
    }

    /// `latest` becomes a time here, once: that of the service, whose clock stamps the records. It is the start of the
    /// running second: some services keep whole seconds.
    fn start(&self, arn: &StreamArn, found: &FoundStream) -> StartPoint {
        let (stream, now) = (arn.name(), found.clock.earliest(self.clock.wall()));
        match self.manifest.source.initial_position {
            InitialPosition::TrimHorizon => StartPoint::TrimHorizon,
            InitialPosition::Latest => StartPoint::AtTimestamp(EpochMillis(now.0 - now.0.rem_euclid(1000))),
            InitialPosition::AtTimestamp(at) if falls_before_horizon(at, now, found.retention()) => {
                let initial_timestamp = crate::state::rfc3339(at);
                tracing::warn!(
                    stream,
                    initial_timestamp,
                    "older than the stream's retention: reading from the oldest record that it keeps"
                );
                // What lies before was never there for this pipeline, so it is no gap.
                StartPoint::TrimHorizon
            }
            InitialPosition::AtTimestamp(at) => {
                if at > now {
                    let initial_timestamp = crate::state::rfc3339(at);
                    tracing::info!(stream, initial_timestamp, "in the future: reading begins then");
                }
                StartPoint::AtTimestamp(at)
            }
        }
    }
}

/// Puts every sink at the place that belongs to the positions. What reads on at rows may write before its first commit:
/// a sink that has no mark beside them yet gets one now, or a run that dies before that commit leaves elements that the
/// next one takes for somebody else's.
fn resume(
    sinks: &mut [RoutedSink],
    claimed: &Claimed,
    has_rows: bool,
    mut store: Box<dyn LeaseStore>,
    streams: Vec<StreamIdentity>,
) -> Result<(Keeper, Vec<SinkMark>), Failure> {
    let (mut resumed, mut settles, mut is_new) = (Vec::new(), Vec::new(), false);
    for (index, routed) in (0_u32..).zip(sinks.iter_mut()) {
        let Output::Local(sink) = &mut routed.output else { continue };
        let recorded = claimed.marks.iter().find(|(name, _)| *name == routed.name).map(|(_, mark)| *mark);
        let mark = sink.resume(recorded)?;
        is_new |= mark.is_some() && recorded.is_none();
        resumed.extend(mark.map(|mark| SinkMark { sink: index, mark }));
        settles.extend(sink.settle()?.map(|settle| (routed.name.clone(), settle)));
    }
    let names: Vec<String> = sinks.iter().map(|sink| sink.name.clone()).collect();
    if has_rows && is_new {
        store.commit(&streams, &Commit { marks: resumed.clone(), ..Commit::default() }, &names)?;
    }
    Ok((Keeper { store, streams, sinks: names, settles, resumed: resumed.clone() }, resumed))
}

/// Starts the assigner's thread.
fn start_assigner(
    manifest: &Manifest,
    assigner: Box<dyn Assign>,
    clock: Clock,
    inputs: mpsc::Sender<Input>,
) -> Result<AssignerThread, Failure> {
    let tell =
        move |Assigned { round, answer }| inputs.blocking_send(Input::Event(Event::Assigned { round, answer })).is_ok();
    let location = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let readers = assigner::readers(manifest.parallelism, &location);
    let thread = Assigner::spawn(manifest.name.as_str(), assigner, readers, clock, tell);
    let thread = thread.map_err(|source| Failure::Thread { part: "the assigner".to_owned(), source })?;
    let arns = manifest.source.streams.iter().map(|arn| arn.to_string().into());
    Ok(AssignerThread { thread, known: KnownShards::new(arns) })
}

/// What sinks that write to services work with.
fn services(
    around: &Surroundings,
    claim: Claim,
    has_marks: bool,
    eager: watch::Receiver<bool>,
    cut: CancellationToken,
) -> confirmations::Surroundings {
    confirmations::Surroundings {
        has_marks,
        eager,
        cut,
        policy: around.policy.poison,
        streams: Arc::clone(&around.streams),
        claim,
        clock: around.clock,
        runtime: around.runtime.clone(),
    }
}

/// Starts the sinks' thread; what it returns starts subtasks, and tells the thread's end.
fn lanes(
    manifest: &Manifest,
    surroundings: Surroundings,
    sinks: Vec<RoutedSink>,
    services: confirmations::Surroundings,
    reopen: OpenComponents,
    inputs: &mpsc::Sender<Input>,
) -> Result<(Lanes, SinksThread), Failure> {
    let (to_sinks, deliveries) = mpsc::channel(QUEUE);
    let totals = Arc::clone(&surroundings.totals);
    let thread = sink_thread::spawn(manifest.name.as_str(), sinks, deliveries, inputs.clone(), totals, services)
        .map_err(|source| Failure::Thread { part: "sinks".to_owned(), source })?;
    let lanes = Lanes {
        name: manifest.name.to_string(),
        surroundings,
        sinks: to_sinks,
        room: manifest.source.read_ahead / u64::from(manifest.parallelism.max(1)),
        reopen,
        losses: Losses::default(),
    };
    Ok((lanes, thread))
}
