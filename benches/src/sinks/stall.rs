//! What a pipeline holds while its sink's target answers nothing: its budgets, and no more with time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::running::Running;
use super::server::{EMPTY, SILENT, Server, WAITING};
use super::settings::{Kind, Pipeline};
use crate::report::Table;
use crate::system::Usage;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How many, the first after one interval.
const LOOKS: u32 = 7;
/// A request is given up and repeated within what is watched.
const REQUEST_TIMEOUT: &str = "10s";

struct Case {
    name: &'static str,
    source: &'static str,
    kind: Kind,
    target: &'static str,
}

const CASES: [Case; 3] = [
    Case { name: "nothing to read", source: EMPTY, kind: Kind::Stream, target: SILENT },
    Case { name: "silent stream", source: WAITING.name, kind: Kind::Stream, target: SILENT },
    Case { name: "silent table", source: WAITING.name, kind: Kind::Table, target: SILENT },
];

/// The text with its table.
pub(super) fn run(server: &Server) -> Result<String> {
    // Entries are bounded by their bytes alone.
    let batch = format!("max_buffered = 1000000\nrequest_timeout = \"{REQUEST_TIMEOUT}\"");
    let start = |case: &Case| {
        Running::start(&Pipeline {
            endpoint: &server.at.front,
            source: case.source,
            kind: case.kind,
            target: case.target,
            sink: "",
            batch: &batch,
            state: "state.db",
        })
    };
    let mut running = CASES.iter().map(start).collect::<Result<Vec<_>>>()?;
    let (started, mut seen) = (Instant::now(), vec![Vec::new(); CASES.len()]);
    for look in 1..=LOOKS {
        std::thread::sleep((LOOK_INTERVAL * look).saturating_sub(started.elapsed()));
        for (running, seen) in running.iter_mut().zip(&mut seen) {
            running.check()?;
            seen.push(Usage::of(running.id())?);
        }
    }
    let looks: Vec<String> = (1..=LOOKS).map(|look| format!("{} s", (LOOK_INTERVAL * look).as_secs())).collect();
    let header: Vec<&str> = ["target"].into_iter().chain(looks.iter().map(String::as_str)).chain(["peak"]).collect();
    let mut table = Table::new(1, &header);
    for (case, seen) in CASES.iter().zip(&seen) {
        let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        let peak = seen.last().context("it was looked at")?.resident_peak;
        let cells = seen.iter().map(|usage| mib(usage.resident)).chain([mib(peak)]);
        table.row([case.name.to_owned()].into_iter().chain(cells).collect());
    }
    Ok(format!(
        "### A sink that stalls\n\nMiB resident in the pipeline's process, so long after its start, while {} k records of {} \
         B wait in the source and the target never answers a\nwrite; a request is given up after {REQUEST_TIMEOUT} and \
         repeated. `read_ahead` and `max_buffered_bytes` are 64 MiB each, the defaults. `nothing to\nread` is the same \
         pipeline at an empty stream.\n\n{}",
        WAITING.records / 1_000,
        WAITING.size,
        table.text()
    ))
}
