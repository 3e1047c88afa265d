//! From a loaded manifest to open ports, in the order that [`super`] promises; [`super::assemble`] goes on from there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use host_core::patience::RetryLimits;
use host_core::service_time::ServiceClock;

use crate::app::RunSettings;
use crate::app::assemble::{FoundStream, Ports, assemble};
use crate::app::load::Ready;
use crate::app::open;
use crate::app::sinks::{self, Sinks};
use crate::assigner::Assign;
use crate::aws::{Access, AwsSettings};
use crate::clock::Clock;
use crate::component::load::Loaded;
use crate::config::{Manifest, StateStore, StreamArn};
use crate::pipeline::failure::Failure;
use crate::pipeline::{Pipeline, Totals};
use crate::ports::StreamApi;
use crate::progress::Screen;
use crate::source::health::{PatientCall, Purpose, Subject};
use crate::source::kinesis::KinesisStream;
use crate::state::dynamodb::{self, DynamoStore};
use crate::state::memory::MemoryStore;
use crate::state::sqlite::SqliteStore;
use crate::state::{ComponentDigest, LeaseStore, PipelineId};

/// A difference between the clocks that is worth a word: below it, it changes nothing that anyone would notice.
const SKEW_TOLD: Duration = Duration::from_secs(60);

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
    let reopen = open::components(&ready, clock, sinks::converters(&ready, clock));
    let subtasks = (0..manifest.parallelism).map(|subtask| reopen(subtask)).collect::<Result<_, Failure>>()?;
    let assigner = open::assigner(&ready, clock)?;
    let access = aws(manifest, settings).access().await;
    let streams = find_streams(manifest, &access, clock, &totals).await?;
    let sinks = Sinks { manifest, access: &access, clock, totals: &totals }.all().await?;
    let store = open_store(&ready, settings)?;
    let ports = Ports {
        streams,
        store,
        sinks,
        subtasks,
        reopen,
        assigner: assigner.map(|assigner| Box::new(assigner) as Box<dyn Assign>),
        components: components(&ready),
    };
    assemble(manifest, ports, settings.until_caught_up, screen, clock, totals).await
}

/// The components of the run, for the store.
fn components(ready: &Ready) -> Vec<ComponentDigest> {
    let digest = |role: String, loaded: &Loaded| ComponentDigest { role, digest: loaded.digest().to_string() };
    let assigner = ready.assigner.iter().map(|loaded| digest("shard-assigner".to_owned(), loaded));
    let converters = ready.converters.iter().map(|(sink, loaded)| {
        let sink = &ready.manifest.sinks[*sink];
        digest(format!("element-converter {}", sink.name), loaded)
    });
    let deserializer = digest("deserializer".to_owned(), &ready.deserializer);
    [deserializer].into_iter().chain(assigner).chain(converters).collect()
}

/// Finds every stream of the source, all at the same time: one that is missing ends the start.
async fn find_streams(
    manifest: &Manifest,
    access: &Access,
    clock: Clock,
    totals: &Totals,
) -> Result<Vec<FoundStream>, Failure> {
    let found = manifest.source.streams.iter().map(|arn| find_stream(arn, manifest, access, clock, totals));
    try_join_all(found).await
}

pub(super) async fn find_stream(
    arn: &StreamArn,
    manifest: &Manifest,
    access: &Access,
    clock: Clock,
    totals: &Totals,
) -> Result<FoundStream, Failure> {
    let access = access.in_region(arn.region());
    let stream = Arc::new(KinesisStream::new(access.kinesis(), arn.clone(), access.settings()));
    let (api, place): (Arc<dyn StreamApi>, _) = (Arc::clone(&stream) as Arc<dyn StreamApi>, stream.place().clone());
    let subject = Subject { stream: arn.name().to_owned(), purpose: Purpose::Describing };
    let limits = RetryLimits::from(&manifest.aws.retry);
    let mut call = PatientCall::starting(subject, limits, Arc::clone(&totals.health), clock);
    let mut asked = clock.wall();
    let description = call
        .repeat(|| {
            asked = clock.wall();
            api.describe()
        })
        .await?;
    let clock = ServiceClock::compare(description.service_time, asked, clock.wall());
    if clock.skew() >= SKEW_TOLD {
        tracing::warn!(stream = arn.name(), skew = ?clock.skew(), "this machine's clock differs from the service's; the service's counts");
    }
    Ok(FoundStream { api, description, clock, place, fan_out: stream })
}

pub(super) fn aws(manifest: &Manifest, settings: &RunSettings) -> AwsSettings {
    match &settings.local {
        Some(local) => AwsSettings::local(&manifest.aws.region, &local.endpoint),
        None => AwsSettings::of(manifest),
    }
}

fn open_store(ready: &Ready, settings: &RunSettings) -> Result<Box<dyn LeaseStore>, Failure> {
    let manifest = &ready.manifest;
    let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
    Ok(match (&manifest.checkpoint.store, &settings.local) {
        (StateStore::Dynamodb(table), local) => {
            let endpoint = local.as_ref().map(|local| local.endpoint.as_str());
            Box::new(DynamoStore::open(dynamodb::Options::of(manifest, table, endpoint), &pipeline)?)
        }
        (StateStore::Sqlite(_), Some(local)) => match &local.state {
            Some(path) => Box::new(SqliteStore::open(path, &pipeline)?),
            None => Box::new(MemoryStore::default().open(&pipeline)),
        },
        (StateStore::Sqlite(path), None) => Box::new(SqliteStore::open(path, &pipeline)?),
    })
}
