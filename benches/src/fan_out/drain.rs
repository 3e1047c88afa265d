//! A reader that reads a stream to its end and tells what that took: the pipeline, or the bare loop.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use host::app::{RunSettings, load, run};
use host::component::Engine;
use host::config::Manifest;
use host::progress::{Screen, grouped};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::bare::{self, Bare};
use crate::measure::process_cpu;
use crate::pipeline::reader::Cost;

/// Which reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Variant {
    /// Records and bytes are counted.
    Bare,
    /// A pipeline with `passthrough`, and its elements are discarded.
    Ours,
}

/// What to read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) variant: Variant,
    pub(crate) bare: Bare,
    pub(crate) records: u64,
    /// Where a pipeline may keep its positions; compiled code is kept beside it.
    pub(crate) directory: String,
    /// Tells one run's positions from another's.
    pub(crate) run: usize,
}

/// Reads, and prints the cost of the whole process as JSON.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn read(job: &Job) -> Result<()> {
    let started = Instant::now();
    match job.variant {
        Variant::Bare => {
            let (records, _) = bare::count(&job.bare).await?;
            ensure!(records == job.records, "{records} records were read instead of {}", job.records);
        }
        Variant::Ours => ours(job).await?,
    }
    let (wall_seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), process_cpu().as_secs_f64());
    print(&serde_json::to_string(&Cost { wall_seconds, cpu_seconds })?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn print(line: &str) {
    println!("{line}");
}

/// As `sluicebox run --until-caught-up` does it, positions on disk included.
async fn ours(job: &Job) -> Result<()> {
    let Bare { endpoint, stream_arn, consumer } = &job.bare;
    let text = format!(
        "version = 1\nname = \"bench\"\n\
         [source]\ntype = \"kinesis\"\nstream_arn = \"{stream_arn}\"\ninitial_position = \"trim-horizon\"\n\
         reader = \"efo\"\n[source.efo]\nconsumer_name = \"{consumer}\"\n\
         [deserializer]\ncomponent = {component:?}\n\
         [[sink]]\ntype = \"discard\"\n\
         [checkpoint]\nstore = \"sqlite:{run}.db\"\n\
         [aws]\nendpoint = \"{endpoint}\"\ncredentials = \"basic\"\n\
         [aws.basic]\naccess_key_id = \"local\"\nsecret_access_key = \"local\"\n",
        component = crate::component("passthrough"),
        run = job.run,
    );
    let path = Path::new(&job.directory).join("bench.toml");
    let manifest = Manifest::parse(&text, &path, |_| None).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let ready = load::load(manifest, &Engine::new()?)?;
    let settings = RunSettings { until_caught_up: true, local: None };
    let report = Box::pin(run(ready, settings, Screen::lines(), CancellationToken::new())).await;
    if let Some(failure) = report.failure {
        return Err(failure).context("the pipeline failed");
    }
    let all = format!("{} elements out", grouped(job.records));
    ensure!(report.summary.contains(&all), "not every record was read: {}", report.summary);
    Ok(())
}
