//! What writing costs, against the bare loop.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use host::aws::AwsSettings;

use super::front::SHARDS;
use super::server::{KEPT, NULL, Server, Source, TO_STREAMS, TO_TABLES};
use super::settings::{IN_FLIGHT, Kind};
use super::writer::{Job, Variant};
use crate::measure::Quartiles;
use crate::pipeline::REGION;
use crate::pipeline::reader::Cost;
use crate::report::{Table, tell};

/// Rounds in which all variants take turns, where nothing is kept.
const ROUNDS: usize = 3;
/// The same where everything is kept: the service is what limits.
const ROUNDS_KEPT: usize = 1;
/// The baseline first.
const TO_STREAM: [Variant; 4] = [Variant::Bare, Variant::PerKey, Variant::AnyOrder, Variant::Told];
const TO_TABLE: [Variant; 3] = [Variant::Bare, Variant::PerKey, Variant::AnyOrder];

/// One comparison.
#[derive(Clone, Copy)]
struct Case<'a> {
    kind: Kind,
    source: Source,
    target: &'static str,
    endpoint: &'a str,
    rounds: usize,
    is_alone: bool,
}

type Costs = BTreeMap<Variant, Vec<Cost>>;

/// From a stream to a stream or a table.
pub(super) fn pipelines(server: &Server) -> Result<String> {
    let mut cases = Vec::new();
    for (kind, sources) in [(Kind::Stream, TO_STREAMS), (Kind::Table, TO_TABLES)] {
        for source in sources {
            let case = Case { kind, source, target: NULL, endpoint: &server.at.front, rounds: ROUNDS, is_alone: false };
            let kept = Case { target: KEPT, endpoint: &server.at.embedded, rounds: ROUNDS_KEPT, ..case };
            cases.extend([case, kept]);
        }
    }
    Ok(format!(
        "### From a stream to a stream or a table\n\n\
         Streams of {SHARDS} shards, read from their beginning to their end and written with {} entries to a request of \
         `PutRecords` and {} to one\nof `BatchWriteItem`, {IN_FLIGHT} requests under way; `passthrough` in its sandbox, then \
         the builtin converter. `bare` is a loop around the\nsame SDK, a task per shard that reads, which moves what it read \
         into its requests. `null` answers that everything is taken and keeps nothing;\n`embedded` keeps it, and shares the \
         cores. Limits are `\"unlimited\"`: what a target takes is found out, from 250 records a second and shard\nupwards, \
         and that is in the wall's clock; `told` has a limit that nobody reaches. CPU time is the writing process's, from its \
         start to its\nend, medians of {ROUNDS} rounds ({ROUNDS_KEPT} with `embedded`), after one that does not count; `to \
         bare` compares entries per CPU second.\n\n{}",
        Kind::Stream.batch(),
        Kind::Table.batch(),
        table(&cases)?
    ))
}

/// Without a source.
pub(super) fn alone(server: &Server) -> Result<String> {
    let streams = TO_STREAMS.map(|source| (Kind::Stream, source));
    let tables = TO_TABLES.map(|source| (Kind::Table, source));
    let case = |(kind, source)| Case {
        kind,
        source,
        target: NULL,
        endpoint: &server.at.front,
        rounds: ROUNDS,
        is_alone: true,
    };
    let cases: Vec<_> = streams.into_iter().chain(tables).map(case).collect();
    Ok(format!(
        "### The sink alone\n\nThe same requests from entries that are prepared in memory: the sinks' thread, the sink and \
         the receipts, against the requests of the\nbare loop. Of each process only what follows the preparation counts.\n\n{}",
        table(&cases)?
    ))
}

fn table(cases: &[Case<'_>]) -> Result<String> {
    let header = ["entries", "target", "writer", "CPU s", "±%", "entries/CPU-s", "to bare", "wall s", "entries/s"];
    let (directory, mut table, mut runs) = (tempfile::tempdir()?, Table::new(3, &header), 0);
    for case in cases {
        let variants: &[Variant] = if case.kind == Kind::Stream { &TO_STREAM } else { &TO_TABLE };
        let mut costs = Costs::new();
        // The first round warms the service up and compiles the component; it does not count.
        for round in 0..=case.rounds {
            for variant in variants {
                runs += 1;
                if (case.kind, case.target) == (Kind::Stream, KEPT) {
                    empty(case.endpoint)?;
                }
                let cost = measure(case, *variant, &directory.path().display().to_string(), runs)?;
                tell(&format!(
                    "{} to {} {:?} {variant:?}: {:.2} CPU s, {:.2} s",
                    case.source.name, case.target, case.kind, cost.cpu_seconds, cost.wall_seconds
                ));
                if round > 0 {
                    costs.entry(*variant).or_default().push(cost);
                }
            }
        }
        rows(&mut table, case, &costs);
    }
    Ok(table.text())
}

fn measure(case: &Case<'_>, variant: Variant, directory: &str, run: usize) -> Result<Cost> {
    let Case { kind, source, target, endpoint, rounds: _, is_alone } = *case;
    let job = Job {
        variant,
        kind,
        endpoint: endpoint.to_owned(),
        source: (!is_alone).then(|| source.name.to_owned()),
        target: target.to_owned(),
        records: source.records,
        size: source.size,
        directory: directory.to_owned(),
        run,
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--write-sink").arg(serde_json::to_string(&job)?).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "a writer failed: {job:?}");
    serde_json::from_slice(&output.stdout).context("a writer prints its cost")
}

/// Makes the stream that keeps everything anew, so that memory does not grow from run to run.
#[tokio::main(flavor = "current_thread")]
async fn empty(endpoint: &str) -> Result<()> {
    let client = AwsSettings::local(REGION, endpoint).kinesis().await;
    client.delete_stream().stream_name(KEPT).send().await?;
    // It is deleted and created within the calls.
    client.create_stream().stream_name(KEPT).shard_count(i32::try_from(SHARDS)?).send().await?;
    Ok(())
}

fn rows(table: &mut Table, case: &Case<'_>, costs: &Costs) {
    let of = |costs: &[Cost], what: fn(&Cost) -> f64| Quartiles::of(costs.iter().map(what).collect());
    let bare = of(&costs[&Variant::Bare], |cost| cost.cpu_seconds);
    for (variant, costs) in costs {
        let (cpu, wall) = (of(costs, |cost| cost.cpu_seconds), of(costs, |cost| cost.wall_seconds));
        let thousands = |seconds: f64| format!("{:.0} k", case.source.records as f64 / seconds / 1e3);
        let target = if case.target == NULL { "null" } else { "embedded" };
        table.row(vec![
            format!("{} k x {} B", case.source.records / 1_000, case.source.size),
            match case.kind {
                Kind::Stream => format!("stream, {target}"),
                Kind::Table => format!("table, {target}"),
            },
            match variant {
                Variant::Bare => "bare",
                Variant::PerKey => "order per-key",
                Variant::AnyOrder => "order none",
                Variant::Told => "order per-key, told",
            }
            .to_owned(),
            format!("{:.2}", cpu.median),
            format!("{:.0}", cpu.spread()),
            thousands(cpu.median),
            format!("{:.2}", bare.median / cpu.median),
            format!("{:.2}", wall.median),
            thousands(wall.median),
        ]);
    }
}
