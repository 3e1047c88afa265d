//! From a loaded manifest to open ports, in the order that [`super`] promises; [`super::assemble`] goes on from there.

use std::sync::Arc;

use crate::app::RunSettings;
use crate::app::assemble::{Ports, assemble};
use crate::app::load::Ready;
use crate::aws::AwsSettings;
use crate::clock::Clock;
use crate::component::ComponentMetrics;
use crate::component::deserializer::{self, KinesisDeserializer, OpenContext};
use crate::component::limits::Limits;
use crate::config::{ConfigValue, Manifest, SinkOutput, StateStore};
use crate::pipeline::failure::Failure;
use crate::pipeline::{Pipeline, Totals};
use crate::ports::{Sink, StreamApi, StreamDescription};
use crate::progress::Screen;
use crate::sink::discard::Discard;
use crate::sink::file::LineFile;
use crate::sink::stdout::Stdout;
use crate::sink::thread::RoutedSink;
use crate::source::kinesis::KinesisStream;
use crate::state::memory::MemoryStore;
use crate::state::sqlite::SqliteStore;
use crate::state::{LeaseStore, PipelineId};
use crate::subtask::Deserialize;

/// Calls at the start are given up sooner than while running: somebody may be watching.
const START_ATTEMPTS: u32 = 3;

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
    let store = open_store(&ready, settings)?;
    let ports = Ports {
        stream,
        description,
        store,
        sinks: sinks(manifest),
        deserializers: deserializers.into_iter().map(|one| Box::new(one) as Box<dyn Deserialize>).collect(),
        digest: ready.deserializer.digest().to_string(),
    };
    assemble(manifest, ports, settings.until_caught_up, screen, clock, totals)
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
        None => AwsSettings::of(manifest),
    };
    KinesisStream::connect(manifest.source.stream.clone(), &aws).await
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

fn open_store(ready: &Ready, settings: &RunSettings) -> Result<Box<dyn LeaseStore>, Failure> {
    let manifest = &ready.manifest;
    let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
    Ok(match (&settings.local, &manifest.checkpoint.store) {
        (Some(local), _) => match &local.state {
            Some(path) => Box::new(SqliteStore::open(path, &pipeline)?),
            None => Box::new(MemoryStore::default().open(&pipeline)),
        },
        (None, StateStore::Sqlite(path)) => Box::new(SqliteStore::open(path, &pipeline)?),
    })
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
