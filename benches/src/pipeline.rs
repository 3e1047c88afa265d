//! What a whole pipeline costs, from the stream to the sink, against the loop that one would write in Rust with the SDK.
//!
//! Both read the same streams of one endpoint, ask for as much as a call may bring and never pause; both project every
//! record with the same code, one inside a component. The endpoint and every reader are processes of their own, so the CPU
//! time of a reader's process is the cost of reading, start and end included.

pub(crate) mod reader;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::Quartiles;
use crate::pipeline::reader::{Cost, Job, Variant};
use crate::report::{Section, Table, origin, tell};

/// Where the streams are.
pub(crate) const REGION: &str = "us-east-1";
/// Shards of each stream.
pub(crate) const SHARDS: i32 = 4;
/// What is read.
pub(crate) const STREAMS: [Stream; 2] =
    [Stream { name: "kib", records: 200_000, size: 1024 }, Stream { name: "small", records: 400_000, size: 300 }];
/// Rounds in which all variants take turns.
const ROUNDS: usize = 5;
/// The baseline first.
const VARIANTS: [Variant; 3] = [Variant::Native, Variant::Ours(1), Variant::Ours(2)];

/// A stream.
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) records: u64,
    /// Bytes of a record.
    pub(crate) size: usize,
}

/// The endpoint's process, ended with this value.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut server = Self { child, endpoint: String::new() };
        BufReader::new(stdout).read_line(&mut server.endpoint)?;
        server.endpoint.truncate(server.endpoint.trim_end().len());
        ensure!(!server.endpoint.is_empty(), "the endpoint did not start");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing in it is to be kept. Where it cannot be killed it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Measures all streams.
pub(crate) fn run() -> Result<Section> {
    tell("filling the streams");
    let server = Server::start()?;
    let directory = tempfile::tempdir()?;
    let mut table =
        Table::new(2, &["stream", "reader", "CPU s", "±%", "records/CPU-s", "to native", "wall s", "records/s"]);
    let mut runs = 0;
    for stream in &STREAMS {
        let mut costs: BTreeMap<Variant, Vec<Cost>> = BTreeMap::new();
        // The first round warms the endpoint up and compiles the component; it does not count.
        for round in 0..=ROUNDS {
            for variant in VARIANTS {
                runs += 1;
                let job = Job {
                    variant,
                    endpoint: server.endpoint.clone(),
                    stream: stream.name.to_owned(),
                    records: stream.records,
                    directory: directory.path().display().to_string(),
                    run: runs,
                };
                let cost = measure(&job)?;
                tell(&format!(
                    "{} {variant:?}: {:.2} CPU s, {:.2} s",
                    stream.name, cost.cpu_seconds, cost.wall_seconds
                ));
                if round > 0 {
                    costs.entry(variant).or_default().push(cost);
                }
            }
        }
        rows(&mut table, stream, &costs);
    }
    let body = format!(
        "Streams of {SHARDS} shards on an embedded endpoint in another process, over loopback, read from their beginning to \
         their end without\npauses; every record is parsed, three of its fields are kept, the result is discarded. `native` is \
         a loop around the same SDK,\na task per shard. Medians of {ROUNDS} rounds. CPU time is the reading process's, from \
         its start to its end; ± is half the\ndistance of the quartiles. `to native` compares records per CPU second. The \
         wall's clock also waits for the endpoint, which\nshares the cores.\n\n{}\n{}",
        origin("pipeline"),
        table.text()
    );
    Ok(Section { title: "Pipeline", body })
}

fn measure(job: &Job) -> Result<Cost> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--read").arg(serde_json::to_string(job)?).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "a reader failed: {job:?}");
    serde_json::from_slice(&output.stdout).context("a reader prints its cost")
}

fn rows(table: &mut Table, stream: &Stream, costs: &BTreeMap<Variant, Vec<Cost>>) {
    let of = |variant, what: fn(&Cost) -> f64| Quartiles::of(costs[&variant].iter().map(what).collect());
    let native = of(Variant::Native, |cost| cost.cpu_seconds);
    for variant in VARIANTS {
        let (cpu, wall) = (of(variant, |cost| cost.cpu_seconds), of(variant, |cost| cost.wall_seconds));
        let thousands = |seconds: f64| format!("{:.0} k", stream.records as f64 / seconds / 1e3);
        table.row(vec![
            format!("{} k x {} B", stream.records / 1_000, stream.size),
            match variant {
                Variant::Native => "native".to_owned(),
                Variant::Ours(parallelism) => format!("pipeline, parallelism {parallelism}"),
            },
            format!("{:.2}", cpu.median),
            format!("{:.0}", cpu.spread()),
            thousands(cpu.median),
            format!("{:.2}", native.median / cpu.median),
            format!("{:.2}", wall.median),
            thousands(wall.median),
        ]);
    }
}
