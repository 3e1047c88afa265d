//! From a loaded manifest to a running pipeline, in the order that [`super`] promises.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use host_core::checkpoint::SinkMark;
use host_core::coordinator::{Coordinator, Settings, StartPoint};
use host_core::delivery;
use host_core::moment::EpochMillis;
use host_core::reading::Pace;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::RunSettings;
use crate::app::load::Ready;
use crate::aws::{AwsSettings, CredentialSource};
use crate::clock::Clock;
use crate::component::ComponentMetrics;
use crate::component::deserializer::{self, KinesisDeserializer, OpenContext};
use crate::component::limits::Limits;
use crate::config::{
    ConfigValue, Credentials, InitialPosition, Manifest, PoisonPolicy, Reader, SinkOutput, StateStore, TrapPolicy,
};
use crate::flow::Budget;
use crate::pipeline::failure::Failure;
use crate::pipeline::positions::{Keeper, Positions};
use crate::pipeline::{Input, Pipeline, ReaderSettings, Totals};
use crate::ports::{Sink, StreamApi, StreamDescription};
use crate::progress::{Progress, Screen};
use crate::sink::discard::Discard;
use crate::sink::file::LineFile;
use crate::sink::stdout::Stdout;
use crate::sink::thread::{self as sink_thread, RoutedSink};
use crate::source::kinesis::KinesisStream;
use crate::state::memory::MemoryStore;
use crate::state::sqlite::SqliteStore;
use crate::state::{Claimed, ComponentDigest, LeaseStore, Owner, PipelineId, StreamIdentity};
use crate::subtask::{Batch, Subtask};

/// Batches that wait for one subtask; the byte budget bounds what they hold.
const QUEUE: usize = 64;
/// Words that wait for the loop.
const INPUTS: usize = 1024;
/// Calls at the start are given up sooner than while running: somebody may be watching.
const START_ATTEMPTS: u32 = 3;
/// A shard that is silent for this long holds no watermark back.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// Prepares everything and starts the threads.
///
/// # Errors
/// The component does not open, the stream cannot be described, the positions are not ours, or a sink does not open.
pub(super) async fn start(
    ready: Ready,
    settings: &RunSettings,
    screen: &Screen,
    clock: Clock,
    totals: Arc<Totals>,
) -> Result<Pipeline, Failure> {
    let manifest = &ready.manifest;
    let deserializers = open_components(&ready, clock)?;
    let stream: Arc<dyn StreamApi> = Arc::new(connect(manifest, settings).await);
    let description = describe(stream.as_ref(), manifest).await?;
    let (mut store, claimed) = claim(&ready, settings, clock)?;
    let identity = StreamIdentity { arn: manifest.source.stream.to_string(), created: description.created };
    let (start, rows) = starting_point(manifest, &identity, &claimed, store.as_mut(), clock)?;
    let mut sinks = sinks(manifest);
    let (keeper, resumed) = resume(&mut sinks, &claimed, store, identity)?;
    tracing::debug!(?resumed, "sinks are at their places");
    let positions = Positions::start(manifest.name.as_str(), keeper)?;
    let core_settings = Settings {
        parallelism: manifest.parallelism,
        start,
        discovery_interval: manifest.source.discovery_interval,
        checkpoint_interval: manifest.checkpoint.interval,
        preserve_shard_order: manifest.source.preserve_shard_order,
        until_caught_up: settings.until_caught_up,
        retention: Duration::from_secs(u64::from(description.retention_hours) * 3600),
        idle_after: IDLE_AFTER,
    };
    let (sender, inputs) = mpsc::channel(INPUTS);
    let abandoned = Arc::new(AtomicBool::new(false));
    let hurry = CancellationToken::new();
    let lanes = Lanes { manifest, abandoned: &abandoned, hurry: &hurry, clock, totals: &totals };
    let subtasks = lanes.spawn(deserializers, sinks, &sender)?;
    Ok(Pipeline {
        core: Coordinator::new(core_settings, rows, clock.now()),
        stream,
        reader: reader_settings(manifest, settings, clock),
        budget: Budget::new(manifest.source.read_ahead),
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

/// One instance per subtask, opened: a component that refuses its configuration is found before any stream is touched.
fn open_components(ready: &Ready, clock: Clock) -> Result<Vec<KinesisDeserializer>, Failure> {
    let manifest = &ready.manifest;
    let limits = limits(&manifest.deserializer.limits);
    let metrics = Arc::new(ComponentMetrics::default());
    let config: Vec<_> =
        manifest.deserializer.config.iter().map(|(key, value)| (key.clone(), config_value(value))).collect();
    let open = |subtask| {
        let context = OpenContext {
            tenant: manifest.tenant.to_string(),
            pipeline: manifest.name.to_string(),
            stage: "deserializer".to_owned(),
            subtask,
            parallelism: manifest.parallelism,
            config: config.clone(),
            shadow: false,
        };
        let opened =
            KinesisDeserializer::open(&ready.deserializer, context, limits.clone(), Arc::clone(&metrics), clock.wall());
        opened.map_err(|source| Failure::Open {
            component: manifest.deserializer.component.display().to_string(),
            source,
        })
    };
    (0..manifest.parallelism).map(open).collect()
}

fn limits(limits: &crate::config::Limits) -> Limits {
    Limits {
        memory: usize::try_from(limits.memory).unwrap_or(usize::MAX),
        cpu_per_batch: limits.cpu_per_batch,
        wall_per_batch: limits.wall_per_batch,
        output_ratio: limits.output_ratio,
        log_bytes_per_second: u32::try_from(limits.log_rate).unwrap_or(u32::MAX),
        ..Limits::default()
    }
}

fn config_value(value: &ConfigValue) -> deserializer::ConfigValue {
    match value {
        ConfigValue::Text(text) => deserializer::ConfigValue::Text(text.clone()),
        ConfigValue::Integer(number) => deserializer::ConfigValue::Integer(*number),
        ConfigValue::Float(number) => deserializer::ConfigValue::Float(*number),
        ConfigValue::Boolean(truth) => deserializer::ConfigValue::Boolean(*truth),
    }
}

async fn connect(manifest: &Manifest, settings: &RunSettings) -> KinesisStream {
    let aws = match &settings.local {
        Some(local) => AwsSettings::local(&manifest.aws.region, &local.endpoint),
        None => AwsSettings {
            endpoint: manifest.aws.endpoint.clone(),
            credentials: credentials(&manifest.aws.credentials),
            call_timeout: manifest.aws.call_timeout,
            ..AwsSettings::new(&manifest.aws.region)
        },
    };
    KinesisStream::connect(manifest.source.stream.clone(), &aws).await
}

fn credentials(credentials: &Credentials) -> CredentialSource {
    match credentials {
        Credentials::Auto => CredentialSource::Auto,
        Credentials::Basic { access_key_id, secret_access_key, session_token } => CredentialSource::Basic {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.reveal().to_owned(),
            session_token: session_token.as_ref().map(|token| token.reveal().to_owned()),
        },
        Credentials::Env => CredentialSource::Env,
        Credentials::Profile { name } => CredentialSource::Profile { name: name.clone() },
    }
}

async fn describe(stream: &dyn StreamApi, manifest: &Manifest) -> Result<StreamDescription, Failure> {
    let mut attempt = 1;
    loop {
        match stream.describe().await {
            Ok(description) => return Ok(description),
            Err(error) if error.kind.may_pass() && attempt < START_ATTEMPTS => {
                tracing::debug!(%error, attempt, "the stream could not be described; this will be tried again");
                tokio::time::sleep(manifest.aws.retry.min_delay * attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(Failure::Source(error)),
        }
    }
}

fn claim(ready: &Ready, settings: &RunSettings, clock: Clock) -> Result<(Box<dyn LeaseStore>, Claimed), Failure> {
    let manifest = &ready.manifest;
    let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
    let mut store: Box<dyn LeaseStore> = match (&settings.local, &manifest.checkpoint.store) {
        (Some(local), _) => match &local.state {
            Some(path) => Box::new(SqliteStore::open(path, &pipeline)?),
            None => Box::new(MemoryStore::default().open(&pipeline)),
        },
        (None, StateStore::Sqlite(path)) => Box::new(SqliteStore::open(path, &pipeline)?),
    };
    let owner = Owner { name: owner_name(), since: clock.wall() };
    let digest = ComponentDigest { role: "deserializer".to_owned(), digest: ready.deserializer.digest().to_string() };
    let claimed = store.claim(&owner, &[digest])?;
    Ok((store, claimed))
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
        tracing::info!(
            shards = known.rows.len(),
            "resuming at the recorded positions; initial_position applies to a pipeline without any"
        );
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

fn sinks(manifest: &Manifest) -> Vec<RoutedSink> {
    let make = |sink: &crate::config::Sink| -> Box<dyn Sink> {
        match &sink.output {
            SinkOutput::Stdout => Box::new(Stdout::new(sink.name.as_str())),
            SinkOutput::File { path } => Box::new(LineFile::new(sink.name.as_str(), path)),
            SinkOutput::Discard => Box::new(Discard),
        }
    };
    let routed = |sink: &crate::config::Sink| RoutedSink {
        name: sink.name.to_string(),
        when: sink.when.clone().unwrap_or_default(),
        sink: make(sink),
    };
    manifest.sinks.iter().map(routed).collect()
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

fn reader_settings(manifest: &Manifest, settings: &RunSettings, clock: Clock) -> ReaderSettings {
    let Reader::Polling(polling) = &manifest.source.reader;
    let retry = &manifest.aws.retry;
    ReaderSettings {
        pace: Pace {
            max_calls_per_second: polling.max_calls_per_second,
            max_bytes_per_second: polling.max_bytes_per_second,
            empty_interval: polling.empty_interval,
            max_records: polling.max_records,
        },
        backoff: (retry.min_delay, retry.max_delay),
        attempts_max: retry.max_attempts,
        stop_at: settings.until_caught_up.then(|| clock.wall()),
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
    /// Starts the sinks' thread and one thread per subtask, and returns the subtasks' queues.
    fn spawn(
        &self,
        deserializers: Vec<KinesisDeserializer>,
        sinks: Vec<RoutedSink>,
        inputs: &mpsc::Sender<Input>,
    ) -> Result<Vec<mpsc::Sender<Batch>>, Failure> {
        let manifest = self.manifest;
        let thread = |part: &str| {
            let part = part.to_owned();
            move |source| Failure::Thread { part, source }
        };
        let (to_sinks, deliveries) = mpsc::channel(QUEUE);
        sink_thread::spawn(manifest.name.as_str(), sinks, deliveries, inputs.clone(), Arc::clone(self.totals))
            .map_err(thread("sinks"))?;
        let mut queues = Vec::new();
        for (index, deserializer) in deserializers.into_iter().enumerate() {
            let (queue, batches) = mpsc::channel(QUEUE);
            let subtask = Subtask {
                stream: (manifest.source.stream.to_string(), manifest.source.stream.name().to_owned()),
                deserializer: Box::new(deserializer),
                policy: policy(manifest),
                sinks: to_sinks.clone(),
                abandoned: Arc::clone(self.abandoned),
                hurry: self.hurry.clone(),
                runtime: Handle::current(),
                clock: self.clock,
                totals: Arc::clone(self.totals),
            };
            subtask.spawn(&format!("{} {index}", manifest.name), batches).map_err(thread("a subtask"))?;
            queues.push(queue);
        }
        Ok(queues)
    }
}

fn policy(manifest: &Manifest) -> delivery::OnError {
    delivery::OnError {
        poison: match manifest.on_error.poison {
            PoisonPolicy::Fail => delivery::PoisonPolicy::Fail,
            PoisonPolicy::Skip => delivery::PoisonPolicy::Skip,
        },
        trap: match manifest.on_error.trap {
            TrapPolicy::Bisect => delivery::TrapPolicy::Bisect,
            TrapPolicy::Fail => delivery::TrapPolicy::Fail,
        },
        max_attempts: manifest.on_error.max_attempts,
    }
}
