//! Builds the ports that a manifest asks for and starts its pipeline. The one place that names every implementation.
//!
//! The order is a promise. What can be found wrong without touching anything comes first (manifest, component, the
//! component's `open`), then what only reads (the stream's description), then the claim on the positions, and only then
//! anything that writes. A mistake found early leaves everything as it was.

pub mod assemble;
mod enrolling;
pub mod load;
pub mod online;
pub mod open;
mod sinks;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::app::load::Ready;
use crate::clock::Clock;
use crate::config::OnGap;
use crate::pipeline::Totals;
use crate::pipeline::failure::Failure;
use crate::progress::{Ending, Screen, summary};

/// How a run differs from what its manifest says.
#[derive(Clone, Debug, Default)]
pub struct RunSettings {
    /// Stop once every shard is read to where it ended when the run started.
    pub until_caught_up: bool,
    /// The embedded endpoint and the state that lives and dies with its streams.
    pub local: Option<LocalSettings>,
}

/// What `--local` sets.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The embedded endpoint's URL.
    pub endpoint: String,
    /// Where positions are kept; `None` keeps them in memory, as the streams are.
    pub state: Option<PathBuf>,
}

/// How a pipeline's run ended.
pub struct Report {
    /// The pipeline: tenant and name.
    pub name: String,
    /// What it did, for people; empty if it never began.
    pub summary: String,
    /// Why it ended early, if it did.
    pub failure: Option<Failure>,
}

/// Runs one pipeline to its end. A stream that is created anew while it is read ends a run, and begins the next one if
/// the manifest allows the gap.
pub async fn run(ready: Ready, settings: RunSettings, screen: Screen, stop: CancellationToken) -> Report {
    let (started, totals) = (Instant::now(), Arc::new(Totals::default()));
    loop {
        let report = once(ready.clone(), &settings, &screen, &stop, started, Arc::clone(&totals)).await;
        let recreated = matches!(report.failure, Some(Failure::Recreated { .. }));
        if !recreated || ready.manifest.source.on_gap == OnGap::Fail {
            return report;
        }
    }
}

async fn once(
    ready: Ready,
    settings: &RunSettings,
    screen: &Screen,
    stop: &CancellationToken,
    started: Instant,
    totals: Arc<Totals>,
) -> Report {
    let name = format!("{}/{}", ready.manifest.tenant, ready.manifest.name);
    let streams: Vec<String> = ready.manifest.source.streams.iter().map(|stream| stream.name().to_owned()).collect();
    let clock = Clock::start();
    let starting = Box::pin(start::start(ready, settings, screen, clock, Arc::clone(&totals)));
    // A service that does not answer must not make a stop wait for every attempt at it.
    let Some(parts) = stop.run_until_cancelled(starting).await else {
        return Report { summary: format!("{name}: stopped before it began to read"), failure: None, name };
    };
    match parts {
        Ok(pipeline) => {
            let ended = pipeline.run(stop.clone()).await;
            let ending = match (&ended.failure, settings.until_caught_up && !stop.is_cancelled()) {
                (Some(_), _) => Ending::Failed,
                (None, true) => Ending::CaughtUp,
                (None, false) => Ending::Stopped,
            };
            let summary = summary(&name, ending, &ended.core, &totals, started.elapsed(), &streams);
            Report { summary, failure: ended.failure, name }
        }
        Err(failure) => Report { summary: String::new(), failure: Some(failure), name },
    }
}
