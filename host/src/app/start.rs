//! From a loaded manifest to open ports, in the order that [`super`] promises; [`super::assemble`] goes on from there.

use std::sync::Arc;

use crate::app::RunSettings;
use crate::app::assemble::{Ports, assemble};
use crate::app::load::Ready;
use crate::app::open;
use crate::aws::{AwsSettings, CredentialSource};
use crate::clock::Clock;
use crate::config::{Credentials, Manifest, SinkOutput, StateStore};
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
    let deserializers = open::deserializers(&ready, clock)?;
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
    KinesisStream::connect(manifest.source.stream().clone(), &aws).await
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
