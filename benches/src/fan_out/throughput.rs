//! Very much traffic: the pipeline against the bare loop, to the end of the same streams.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::bare::Bare;
use super::drain::{Job, Variant};
use super::replay::{Replay, Stream, arn};
use crate::measure::{Quartiles, process_cpu};
use crate::pipeline::reader::Cost;
use crate::report::{Table, tell};

const SHARDS: u32 = 4;
/// Rounds in which all take turns.
const ROUNDS: usize = 5;
const VARIANTS: [Variant; 2] = [Variant::Bare, Variant::Ours];
/// Of one record in each shard: what a run costs that reads next to nothing.
const TINY: Stream = Stream { name: "tiny", shards: SHARDS, records: SHARDS as u64, size: 100 };
const STREAMS: [Stream; 2] = [
    Stream { name: "kib", shards: SHARDS, records: 400_000, size: 1024 },
    Stream { name: "small", shards: SHARDS, records: 1_000_000, size: 100 },
];

/// What a run took.
#[derive(Clone, Copy)]
struct Run {
    reader: Cost,
    /// CPU of the service meanwhile, in seconds.
    service: f64,
}

type Runs = BTreeMap<(&'static str, Variant), Vec<Run>>;

/// The text with its table.
pub(super) async fn run() -> Result<String> {
    let service = Replay::start([TINY].into_iter().chain(STREAMS)).await?;
    let directory = tempfile::tempdir()?;
    let (mut runs, mut number) = (Runs::new(), 0);
    // The first round compiles the component; it does not count.
    for round in 0..=ROUNDS {
        for stream in [&TINY].into_iter().chain(&STREAMS) {
            for variant in VARIANTS {
                number += 1;
                let bare = Bare {
                    endpoint: service.endpoint.clone(),
                    stream_arn: arn(stream.name),
                    consumer: format!("bench-{number}"),
                };
                let directory = directory.path().display().to_string();
                let job = Job { variant, bare, records: stream.records, directory, run: number };
                let run = tokio::task::spawn_blocking(move || measure(&job)).await??;
                let Cost { cpu_seconds, wall_seconds } = run.reader;
                tell(&format!(
                    "{} {variant:?}: {cpu_seconds:.2} CPU s, {wall_seconds:.2} s, the service {:.2} CPU s",
                    stream.name, run.service
                ));
                if round > 0 {
                    runs.entry((stream.name, variant)).or_default().push(run);
                }
            }
        }
    }
    Ok(text(&runs))
}

fn measure(job: &Job) -> Result<Run> {
    let before = process_cpu();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--drain").arg(serde_json::to_string(job)?).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "a reader failed: {job:?}");
    let reader = serde_json::from_slice(&output.stdout).context("a reader prints its cost")?;
    Ok(Run { reader, service: process_cpu().saturating_sub(before).as_secs_f64() })
}

/// Of data, in all shards.
fn bytes(stream: &Stream) -> f64 {
    (stream.records * stream.size) as f64
}

fn text(runs: &Runs) -> String {
    let of = |stream: &Stream, variant, what: fn(&Run) -> f64| {
        Quartiles::of(runs[&(stream.name, variant)].iter().map(what).collect())
    };
    let cpu: fn(&Run) -> f64 = |run| run.reader.cpu_seconds;
    let wall: fn(&Run) -> f64 = |run| run.reader.wall_seconds;
    let mut table = Table::new(
        2,
        &["stream", "reader", "CPU s/GB", "±%", "to bare", "MB/s", "±%", "to bare", "start", "service's"],
    );
    for stream in &STREAMS {
        let mut bare = None;
        for variant in VARIANTS {
            let (start, waited) = (of(&TINY, variant, cpu).median, of(&TINY, variant, wall).median);
            let (all, took) = (of(stream, variant, cpu), of(stream, variant, wall));
            let a_gigabyte = (all.median - start) / bytes(stream) * 1e9;
            let rate = bytes(stream) / 1e6 / (took.median - waited);
            let (cpu_of_bare, rate_of_bare) = *bare.get_or_insert((a_gigabyte, rate));
            table.row(vec![
                format!("{} k x {} B", stream.records / 1_000, stream.size),
                match variant {
                    Variant::Bare => "bare SDK",
                    Variant::Ours => "pipeline",
                }
                .to_owned(),
                format!("{a_gigabyte:.2}"),
                format!("{:.0}", all.spread()),
                format!("{:.2}", a_gigabyte / cpu_of_bare),
                format!("{rate:.0}"),
                format!("{:.0}", took.spread()),
                format!("{:.2}", rate / rate_of_bare),
                format!("{start:.2}"),
                format!("{:.2}", of(stream, variant, |run| run.service).median / bytes(stream) * 1e9),
            ]);
        }
    }
    format!(
        "### Much traffic\n\nStreams of {SHARDS} shards, over loopback and HTTP/1.1, read from their beginning to their end by enhanced \
         fan-out. The service, in\nanother process, has made all events beforehand, as large as AWS's may be. The pipeline runs `passthrough` \
         with a parallelism of 1\nand discards; `bare SDK` counts records and bytes. Medians of {ROUNDS} rounds in which all take turns, ± is half \
         the distance of the\nquartiles. CPU is the reader's process; `start`, in CPU seconds, is what a run costs that reads {SHARDS} records, and is \
         not in the\nfigures to its left, nor is its time. `service's` are CPU s/GB of the other process, which shares the cores.\n\n{}",
        table.text()
    )
}
