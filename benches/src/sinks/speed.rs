//! How soon a stream is written to as fast as it takes it: after a start, and after it threw everything back for a while.
//!
//! A shard that takes so much stands in the front of the services, in this process: it is what counts here, not its cost.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::front::{Front, Instead, Limited, SHARDS, first_second_of};
use super::running::Running;
use super::server::{FEED, LIMITED, Server};
use super::settings::{Kind, Pipeline};
use crate::report::{Table, tell};

/// From a request to its answer, about as in one region.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Between two looks at what came.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the stream takes all that it can.
const GOING: Duration = Duration::from_secs(15);
/// How long it throws everything back.
const SHUT: Duration = Duration::from_secs(10);
/// The window that ours is compared with: records of a request, requests, and the step upwards.
const BATCH: u32 = 500;
const SLOTS: u32 = 50;
const STEP: u32 = 10;
/// What counts as full speed.
const FULL: f64 = 0.9;

/// One stream and its writer.
struct Case {
    name: &'static str,
    /// Records a second that a shard takes.
    takes: f64,
    /// Lines of the sink.
    sink: &'static str,
}

const CASES: [Case; LIMITED.len()] = [
    Case { name: "default limits", takes: 1_000.0, sink: "" },
    Case { name: "default limits, half of it is others'", takes: 500.0, sink: "" },
    Case { name: "found out (unlimited)", takes: 1_000.0, sink: UNLIMITED },
    Case { name: "found out (unlimited)", takes: 4_000.0, sink: UNLIMITED },
];
const UNLIMITED: &str = "max_records_per_second = \"unlimited\"\nmax_bytes_per_second = \"unlimited\"";

/// What came by when: a time in seconds, entries taken, entries thrown back.
type Sample = (f64, u64, u64);

/// The text with its table.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn run(server: &Server) -> Result<String> {
    let header = [
        "limits of the sink",
        "a shard takes",
        "full speed after s",
        "of the limit then",
        "thrown back",
        "thrown back while shut",
        "full speed again after s",
        "thrown back then",
    ];
    let mut table = Table::new(1, &header);
    let limited = CASES.map(|case| Arc::new(Instead::Limit(Limited::new(case.takes, ROUND_TRIP))));
    let targets = LIMITED.into_iter().map(ToOwned::to_owned).zip(limited.iter().cloned()).collect();
    let endpoint = Front::serve(&server.at.embedded, targets).await?;
    // All at the same time: they wait more than they work.
    let all = CASES.iter().zip(LIMITED).zip(&limited).map(|((case, target), limited)| {
        let endpoint = endpoint.as_str();
        async move {
            let Instead::Limit(limited) = &**limited else { unreachable!("as made above") };
            one(case, target, endpoint, limited).await
        }
    });
    for row in futures_util::future::try_join_all(all).await? {
        table.row(row);
    }
    Ok(format!(
        "### To full speed\n\nA stream of {SHARDS} shards whose answers take {} ms, and a source that is always ahead. Full \
         speed begins with the first second in which {:.0} %\nof what the shards take is written; `of the limit then` is what \
         is written from there on, `thrown back` is of all entries sent up to then and\nafter. Once {} s have passed, \
         everything is thrown back for {} s, and then nothing but what is too much.\n\n{}\n{}",
        ROUND_TRIP.as_millis(),
        FULL * 100.0,
        GOING.as_secs(),
        SHUT.as_secs(),
        table.text(),
        additive()
    ))
}

async fn one(case: &Case, target: &str, endpoint: &str, limited: &Limited) -> Result<Vec<String>> {
    let pipeline = Pipeline {
        endpoint,
        source: FEED.name,
        kind: Kind::Stream,
        target,
        sink: case.sink,
        batch: "",
        state: "state.db",
    };
    let mut running = Running::start(&pipeline)?;
    let first = loop {
        let first = *limited.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = first {
            break first;
        }
        running.check()?;
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    let mut starting = vec![(0.0, 0, 0)];
    starting.extend(watch(limited, first, GOING).await);
    limited.shut(true);
    let shut = watch(limited, Instant::now(), SHUT).await;
    limited.shut(false);
    let again = watch(limited, Instant::now(), GOING).await;
    running.check()?;
    let limit = case.takes * SHARDS as f64;
    let full = |samples: &[Sample]| {
        let taken: Vec<(f64, u64)> = samples.iter().map(|(at, taken, _)| (*at, *taken)).collect();
        first_second_of(&taken, limit * FULL)
    };
    let seconds = |full: Option<f64>| full.map_or_else(|| "never".to_owned(), |full| format!("{full:.2}"));
    let (started, resumed) = (full(&starting), full(&again));
    tell(&format!("{target}: full speed after {started:?} s, and after {resumed:?} s"));
    Ok(vec![
        case.name.to_owned(),
        format!("{}/s", case.takes),
        seconds(started),
        share_since(&starting, started.unwrap_or_default(), limit)?,
        thrown_back(&starting)?,
        format!("{}", counts(&shut)?.1),
        seconds(resumed),
        thrown_back(&again)?,
    ])
}

async fn watch(limited: &Limited, since: Instant, during: Duration) -> Vec<Sample> {
    let mut samples = Vec::new();
    loop {
        let at = since.elapsed();
        let (taken, thrown_back) = (&limited.taken, &limited.thrown_back);
        samples.push((at.as_secs_f64(), taken.load(Ordering::Relaxed), thrown_back.load(Ordering::Relaxed)));
        if at >= during {
            return samples;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Taken and thrown back from the first to the last sample.
fn counts(samples: &[Sample]) -> Result<(u64, u64)> {
    let (first, last) = (samples.first().context("a sample")?, samples.last().context("a sample")?);
    Ok((last.1 - first.1, last.2 - first.2))
}

/// What is written of the limit from `second` on.
fn share_since(samples: &[Sample], second: f64, limit: f64) -> Result<String> {
    let since: Vec<Sample> = samples.iter().copied().filter(|(at, ..)| *at >= second).collect();
    let seconds = since.last().context("a sample")?.0 - since.first().context("a sample")?.0;
    Ok(format!("{:.0} %", 100.0 * counts(&since)?.0 as f64 / seconds / limit))
}

fn thrown_back(samples: &[Sample]) -> Result<String> {
    let (taken, thrown_back) = counts(samples)?;
    Ok(format!("{:.1} %", 100.0 * thrown_back as f64 / (taken + thrown_back).max(1) as f64))
}

/// What a window does that begins at one full request, grows by ten records with every request that is taken whole, shrinks
/// by a hundredth with every other one and is not paced: arithmetic, not measured.
fn additive() -> String {
    let (mut window, mut requests, mut round_trips) = (BATCH, 0, 0);
    while window < BATCH * SLOTS {
        let under_way = window / BATCH;
        requests += under_way;
        round_trips += 1;
        window = (window + under_way * STEP).min(BATCH * SLOTS);
    }
    // While everything is thrown back: one request at a time, as large as the window.
    let (mut window, mut sent, mut elapsed) = (f64::from(BATCH), 0.0, Duration::ZERO);
    while elapsed < SHUT {
        sent += window;
        window = (window * 0.99).round();
        elapsed += ROUND_TRIP;
    }
    format!(
        "For comparison, computed and not measured: a window of records that begins at {BATCH}, grows by {STEP} with every \
         request that is taken whole\nand shrinks by a hundredth with every other, as Flink's sink has it, fills {SLOTS} \
         requests under way after {round_trips} round trips ({requests} requests),\n{:.1} s at {} ms and {:.0} s at 100 ms. \
         It has no pace and no pause: one such window sends {sent:.0} entries in vain while a stream is shut for {} s.\n",
        ROUND_TRIP.as_secs_f64() * f64::from(round_trips),
        ROUND_TRIP.as_millis(),
        0.1 * f64::from(round_trips),
        SHUT.as_secs(),
    )
}
