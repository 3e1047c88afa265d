//! `sluicebox run`: pipelines, each on its own, until they are done, stopped or failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::load::{Ready, load};
use crate::app::{self, Report, RunSettings};
use crate::cli::Run;
use crate::commands::signals::stop_on_signal;
use crate::commands::{DONE, FAILED, WRONG, complain, read_manifests, tell, with_causes};
use crate::component::Engine;
use crate::config::{Manifest, SinkOutput};
use crate::pipeline::failure::Failure;
use crate::progress::Screen;
use crate::source::classify::SourceErrorKind;

/// Runs pipelines.
#[must_use]
pub fn run(arguments: &Run, screen: &Screen) -> u8 {
    let Some(ready) = prepare(arguments, screen) else { return WRONG };
    allow_files();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(screen, &format!("no runtime: {error}"));
            return FAILED;
        }
    };
    runtime.block_on(all(arguments, ready, screen))
}

/// Raises the number of files that may be open as far as the system lets us: connections are files, and the usual limit
/// dates from programs that could not cope with more.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, ?limit, "the number of open files stays limited");
    }
}

/// Everything that can be found wrong before anything starts.
fn prepare(arguments: &Run, screen: &Screen) -> Option<Vec<Ready>> {
    let manifests = read_manifests(screen, &arguments.manifests)?;
    let mut seen = BTreeMap::new();
    for manifest in &manifests {
        let identity = format!("{}/{}", manifest.tenant, manifest.name);
        if let Some(other) = seen.insert(identity.clone(), &manifest.path) {
            let (path, other) = (manifest.path.display(), other.display());
            complain(
                screen,
                &format!(
                    "{path}: pipeline {identity} is that of {other} already; give one of them another name or tenant"
                ),
            );
            return None;
        }
    }
    let engine = Engine::new().map_err(|error| complain(screen, &with_causes(&error))).ok()?;
    let load = |manifest: Manifest| {
        let path = manifest.path.clone();
        let loaded = load(manifest, &engine);
        loaded.map_err(|error| complain(screen, &format!("{}: {}", path.display(), with_causes(&error)))).ok()
    };
    // Every manifest is looked at, so that every mistake is told.
    let loaded: Vec<Option<Ready>> = manifests.into_iter().map(load).collect();
    loaded.into_iter().collect()
}

async fn all(arguments: &Run, ready: Vec<Ready>, screen: &Screen) -> u8 {
    let stop = match stop_on_signal() {
        Ok(stop) => stop,
        Err(error) => {
            complain(screen, &format!("no signal handlers: {error}"));
            return FAILED;
        }
    };
    let manifests: Vec<&Manifest> = ready.iter().map(|ready| &ready.manifest).collect();
    let embedded = match Embedded::start(arguments.local, &manifests, screen).await {
        Ok(embedded) => embedded,
        Err(error) => {
            complain(screen, &error);
            return FAILED;
        }
    };
    let outputs = ready.iter().flat_map(|ready| &ready.manifest.sinks).map(|sink| sink.output.clone()).collect();
    let code = pipelines(arguments, ready, &embedded, screen, &stop).await;
    embedded.tell_targets(outputs, screen).await;
    embedded.shutdown().await;
    code
}

async fn pipelines(
    arguments: &Run,
    ready: Vec<Ready>,
    embedded: &Embedded,
    screen: &Screen,
    stop: &CancellationToken,
) -> u8 {
    let mut running = JoinSet::new();
    for ready in ready {
        let settings =
            RunSettings { until_caught_up: arguments.until_caught_up, local: embedded.settings(&ready.manifest) };
        running.spawn(app::run(ready, settings, screen.clone(), stop.clone()));
    }
    let mut code = DONE;
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Report { name, summary, failure }) => {
                if let Some(failure) = failure {
                    complain(screen, &format!("{name}: {}{}", with_causes(&failure), hint(arguments.local, &failure)));
                    // Of several failures, one in a run that had begun weighs more than one before anything began.
                    code = if code == FAILED { FAILED } else { failure.exit_code() };
                }
                if !summary.is_empty() {
                    tell(screen, &summary);
                }
            }
            Err(error) => {
                complain(screen, &format!("a pipeline ended unexpectedly: {error}; this is a bug in sluicebox"));
                code = FAILED;
            }
        }
    }
    code
}

/// The embedded endpoint has the streams that it was told of, which no advice about AWS mentions.
fn hint(local: bool, failure: &Failure) -> &'static str {
    if let Failure::Source(error) = failure
        && local
        && matches!(error.kind, SourceErrorKind::StreamGone | SourceErrorKind::NotFound)
    {
        "\nwith --local, streams are those that `streams` in [local] lists"
    } else {
        ""
    }
}

/// Where the embedded endpoint keeps what belongs to a manifest: beside it.
#[must_use]
pub fn local_directory(manifest: &Manifest) -> PathBuf {
    manifest.path.parent().map(Path::to_path_buf).unwrap_or_default().join(".sluicebox").join("local")
}

#[cfg(feature = "local")]
use embedded::Embedded;

#[cfg(feature = "local")]
mod embedded {
    //! The endpoints that `--local` starts: one for each directory that manifests lie in, since streams and positions lie
    //! together.

    use std::collections::{BTreeMap, BTreeSet};

    use super::{Manifest, PathBuf, Screen, SinkOutput, local_directory, tell, with_causes};
    use crate::app::LocalSettings;
    use crate::commands::local::{streams_of, tables_of};
    use crate::local::{Endpoint, Options, state_path};
    use crate::progress::grouped;

    #[derive(Default)]
    pub(super) struct Embedded(BTreeMap<(PathBuf, bool), Endpoint>);

    impl Embedded {
        pub(super) async fn start(wanted: bool, manifests: &[&Manifest], screen: &Screen) -> Result<Self, String> {
            let mut endpoints = BTreeMap::new();
            if !wanted {
                return Ok(Self(endpoints));
            }
            for manifest in manifests {
                let key = (local_directory(manifest), manifest.local.durable);
                if endpoints.contains_key(&key) {
                    continue;
                }
                let together = manifests.iter().filter(|other| (local_directory(other), other.local.durable) == key);
                let streams = streams_of(together.clone().copied()).map_err(|error| error.to_string())?;
                let tables = tables_of(together.copied())?;
                let stream = manifest.source.stream();
                let options = Options {
                    directory: manifest.local.durable.then(|| key.0.clone()),
                    region: stream.region().to_owned(),
                    account: stream.account().to_owned(),
                    streams,
                    tables,
                    ..Options::default()
                };
                let endpoint = Endpoint::start(options).await.map_err(|error| with_causes(&error))?;
                for notice in endpoint.summary().await.notices {
                    tell(screen, &format!("note: {notice}"));
                }
                tracing::debug!(url = endpoint.url(), directory = %key.0.display(), "the embedded endpoint serves");
                endpoints.insert(key, endpoint);
            }
            Ok(Self(endpoints))
        }

        pub(super) fn settings(&self, manifest: &Manifest) -> Option<LocalSettings> {
            let directory = local_directory(manifest);
            let endpoint = self.0.get(&(directory.clone(), manifest.local.durable))?;
            let state = manifest.local.durable.then(|| state_path(&directory));
            Some(LocalSettings { endpoint: endpoint.url(), state })
        }

        /// Tells how much is now in the streams and tables that sinks write to.
        pub(super) async fn tell_targets(&self, outputs: Vec<SinkOutput>, screen: &Screen) {
            let (mut streams, mut tables) = (BTreeSet::new(), BTreeSet::new());
            for output in outputs {
                match output {
                    SinkOutput::Kinesis(sink) => drop(streams.insert(sink.stream.name().to_owned())),
                    SinkOutput::Dynamodb(sink) => drop(tables.insert(sink.table.name)),
                    SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => {}
                }
            }
            if streams.is_empty() && tables.is_empty() {
                return;
            }
            for endpoint in self.0.values() {
                let summary = endpoint.summary().await;
                for stream in summary.streams.iter().filter(|stream| streams.contains(&stream.name)) {
                    let records = grouped(stream.records);
                    tell(screen, &format!("embedded stream {}: {records} records", stream.name));
                }
                for (name, items) in summary.tables.iter().filter(|(name, _)| tables.contains(name)) {
                    tell(screen, &format!("embedded table {name}: {} items", grouped(*items)));
                }
            }
        }

        pub(super) async fn shutdown(self) {
            for endpoint in self.0.into_values() {
                endpoint.shutdown().await;
            }
        }
    }
}

#[cfg(not(feature = "local"))]
struct Embedded;

#[cfg(not(feature = "local"))]
impl Embedded {
    async fn start(wanted: bool, _manifests: &[&Manifest], _screen: &Screen) -> Result<Self, String> {
        if wanted { Err(super::WITHOUT_LOCAL.to_owned()) } else { Ok(Self) }
    }

    fn settings(&self, _manifest: &Manifest) -> Option<app::LocalSettings> {
        None
    }

    async fn tell_targets(&self, _outputs: Vec<SinkOutput>, _screen: &Screen) {}

    async fn shutdown(self) {}
}
