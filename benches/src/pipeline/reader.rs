//! One reader in a process of its own, so that its CPU time is the process's: ours, or a loop that one would write
//! with the SDK.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;
use host::app::{RunSettings, load, run};
use host::aws::AwsSettings;
use host::component::Engine;
use host::config::Manifest;
use host::progress::{Screen, grouped};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::measure::process_cpu;
use crate::pipeline::REGION;

/// Which reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Variant {
    /// The SDK in a task per shard, and the transformation called directly.
    Native,
    /// A pipeline with this parallelism.
    Ours(u32),
}

/// What to read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) variant: Variant,
    pub(crate) endpoint: String,
    pub(crate) stream: String,
    pub(crate) records: u64,
    /// Where a pipeline may keep its positions; compiled code is kept beside it.
    pub(crate) directory: String,
    /// Tells one run's positions from another's.
    pub(crate) run: usize,
}

/// What it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) wall_seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// Reads, and prints the cost of the whole process as JSON.
pub(crate) fn read(job: &Job) -> Result<()> {
    let started = Instant::now();
    match job.variant {
        Variant::Native => natively(job)?,
        Variant::Ours(parallelism) => ours(job, parallelism)?,
    }
    let (wall_seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), process_cpu().as_secs_f64());
    print(&serde_json::to_string(&Cost { wall_seconds, cpu_seconds })?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn print(line: &str) {
    println!("{line}");
}

#[tokio::main(flavor = "multi_thread")]
async fn natively(job: &Job) -> Result<()> {
    let client = AwsSettings::local(REGION, &job.endpoint).kinesis().await;
    let shards = client.list_shards().stream_name(&job.stream).send().await?.shards.unwrap_or_default();
    let mut tasks = JoinSet::new();
    for shard in shards {
        tasks.spawn(natively_one(client.clone(), job.stream.clone(), shard.shard_id));
    }
    let mut records = 0;
    while let Some(task) = tasks.join_next().await {
        records += task??;
    }
    ensure!(records == job.records, "{records} records were read instead of {}", job.records);
    Ok(())
}

async fn natively_one(client: Client, stream: String, shard: String) -> Result<u64> {
    let request = client.get_shard_iterator().stream_name(stream).shard_id(shard);
    let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
    let mut iterator = request.send().await?.shard_iterator;
    let (mut records, mut out) = (0, Vec::new());
    while let Some(at) = iterator {
        let page = client.get_records().shard_iterator(at).limit(10_000).send().await?;
        if page.records.is_empty() && page.millis_behind_latest.unwrap_or(0) <= 0 {
            break;
        }
        out.clear();
        for record in &page.records {
            transforms::project(record.data.as_ref(), &mut out)?;
        }
        std::hint::black_box(&out);
        records += page.records.len() as u64;
        iterator = page.next_shard_iterator;
    }
    Ok(records)
}

/// As `sluicebox run --until-caught-up` does it, positions on disk included.
#[tokio::main(flavor = "multi_thread")]
async fn ours(job: &Job, parallelism: u32) -> Result<()> {
    let component = crate::component("projection");
    let text = format!(
        "version = 1\nname = \"bench\"\nparallelism = {parallelism}\n\
         [source]\ntype = \"kinesis\"\nstream_arn = \"arn:aws:kinesis:{REGION}:000000000000:stream/{stream}\"\n\
         initial_position = \"trim-horizon\"\n\
         [source.polling]\nmax_calls_per_second = \"unlimited\"\nmax_bytes_per_second = \"unlimited\"\n\
         [deserializer]\ncomponent = {component:?}\n\
         [[sink]]\ntype = \"discard\"\n\
         [checkpoint]\nstore = \"sqlite:{run}.db\"\n\
         [aws]\nendpoint = \"{endpoint}\"\ncredentials = \"basic\"\n\
         [aws.basic]\naccess_key_id = \"local\"\nsecret_access_key = \"local\"\n",
        stream = job.stream,
        run = job.run,
        endpoint = job.endpoint,
    );
    let path = Path::new(&job.directory).join("bench.toml");
    let manifest = Manifest::parse(&text, &path, |_| None).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let ready = load::load(manifest, &Engine::new()?)?;
    let settings = RunSettings { until_caught_up: true, local: None };
    let report = Box::pin(run(ready, settings, Screen::lines(), CancellationToken::new())).await;
    if let Some(failure) = report.failure {
        return Err(failure).context("the pipeline failed");
    }
    if !report.summary.contains(&format!("{} elements out", grouped(job.records))) {
        bail!("not every record was read: {}", report.summary);
    }
    Ok(())
}
