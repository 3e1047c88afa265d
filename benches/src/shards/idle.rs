//! Very many shards that bring a few records a second between them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::simulated::SimulatedAws;

use super::{STREAM, STRING};
use crate::process::{Job, Process, Way};
use crate::report::{Table, tell};
use crate::system::{Changes, Usage};

/// The stream and one a tenth as large, at each interval, which is also how long the window is at least.
const SHARDS: [u32; 2] = [1_000, 10_000];
const INTERVALS: [(&str, Duration); 3] =
    [("250ms", Duration::from_millis(250)), ("10s", Duration::from_secs(10)), ("60s", Duration::from_secs(60))];
/// Time after every shard was read and before the window.
const WARM_UP: Duration = Duration::from_secs(5);
/// The window, unless the interval is longer.
const WINDOW: Duration = Duration::from_secs(20);
/// Between two records.
const WRITE_INTERVAL: Duration = Duration::from_millis(200);
/// How long every shard may take to be read for the first time.
const PATIENCE: Duration = Duration::from_secs(180);

/// One run.
struct Measured {
    shards: u32,
    interval: &'static str,
    /// Until every shard had brought a page.
    all_read: Duration,
    seconds: f64,
    before: Usage,
    after: Usage,
    calls: u64,
    listings: u64,
    /// Calls of the shard that had the fewest, and of the one that had the most.
    calls_of_one: (u64, u64),
    commits: u64,
    connections: usize,
    refused: u64,
    complaints: usize,
    latencies: Vec<Duration>,
}

/// The text with its table.
pub(crate) async fn run() -> Result<String> {
    let mut runs = Vec::new();
    for (interval, lasts) in INTERVALS {
        for shards in SHARDS {
            let run = measure(shards, interval, WINDOW.max(lasts)).await?;
            tell(&format!(
                "{shards} shards, {interval}: read after {:.1} s; {:.0} calls/s, {:.2} cores, {} MiB",
                run.all_read.as_secs_f64(),
                run.calls as f64 / run.seconds,
                run.cpu() / run.seconds,
                run.after.resident >> 20
            ));
            runs.push(run);
        }
    }
    Ok(text(&runs))
}

async fn measure(shards: u32, interval: &'static str, window: Duration) -> Result<Measured> {
    let aws = SimulatedAws::start().await;
    aws.kinesis().create(STREAM, shards);
    aws.kinesis().forget_truth(STREAM);
    let ids = aws.kinesis().open_shards(STREAM);
    let job = Job {
        endpoint: &aws.endpoint,
        stream_arn: &aws.kinesis().arn(STREAM),
        way: Way::Polling { empty_interval: interval, max_records: 10_000 },
        read_ahead: "64MiB",
        initial_position: "latest",
    };
    let started = Instant::now();
    let mut pipeline = Process::start(&job)?;
    let commits = Changes::of(pipeline.folder().join("state.db-wal"));
    while reads(&aws, &ids).contains(&0) {
        pipeline.check()?;
        ensure!(started.elapsed() < PATIENCE, "not all of {shards} shards were read within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all_read = started.elapsed();
    let mut numbers = 0..;
    write_for(WARM_UP, &aws, &pipeline, &ids, &mut numbers).await;
    pipeline.arrivals.take();
    let begun = Instant::now();
    let (before, reads_before) = (Usage::of(pipeline.id())?, reads(&aws, &ids));
    let (listings, committed) = (aws.counted(|counted| counted.calls("ListShards")), commits.count());
    write_for(window, &aws, &pipeline, &ids, &mut numbers).await;
    pipeline.check()?;
    let (after, reads_after) = (Usage::of(pipeline.id())?, reads(&aws, &ids));
    let calls: Vec<u64> = reads_after.iter().zip(&reads_before).map(|(after, before)| after - before).collect();
    let refused = |operation| aws.counted(|counted| counted.operation(operation).refused.values().sum::<u64>());
    Ok(Measured {
        shards,
        interval,
        all_read,
        seconds: begun.elapsed().as_secs_f64(),
        before,
        after,
        calls: calls.iter().sum(),
        listings: aws.counted(|counted| counted.calls("ListShards")) - listings,
        calls_of_one: (calls.iter().copied().min().unwrap_or(0), calls.iter().copied().max().unwrap_or(0)),
        commits: commits.count() - committed,
        connections: aws.counted(|counted| counted.connections),
        refused: ["GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary"].map(refused).iter().sum(),
        complaints: pipeline.complaints()?,
        latencies: pipeline.arrivals.take(),
    })
}

/// Pages that each shard has brought.
fn reads(aws: &SimulatedAws, ids: &[String]) -> Vec<u64> {
    aws.counted(|counted| ids.iter().map(|id| counted.of("GetRecords", STREAM, id).answered).collect())
}

/// Writes a record now and then, each to another shard.
async fn write_for(
    lasts: Duration,
    aws: &SimulatedAws,
    pipeline: &Process,
    ids: &[String],
    numbers: &mut impl Iterator<Item = u64>,
) {
    let begun = Instant::now();
    let mut due = tokio::time::interval(WRITE_INTERVAL);
    for number in numbers {
        due.tick().await;
        if begun.elapsed() >= lasts {
            return;
        }
        // A large odd step visits the shards as if at random.
        let shard = &ids[(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % ids.len()];
        pipeline.arrivals.sent(number);
        aws.kinesis().put_to(STREAM, shard, "key", number.to_string());
    }
}

impl Measured {
    fn cpu(&self) -> f64 {
        self.after.cpu_seconds - self.before.cpu_seconds
    }

    fn a_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    fn cpu_per_call(&self) -> f64 {
        self.cpu() * 1e6 / self.calls.max(1) as f64
    }

    /// The median and the slowest, in milliseconds.
    fn latency(&self) -> String {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        match (sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(median), Some(worst)) => format!("{} / {}", median.as_millis(), worst.as_millis()),
            (None, _) | (_, None) => "-".to_owned(),
        }
    }
}

fn text(runs: &[Measured]) -> String {
    let mut load = Table::new(
        2,
        &[
            "interval",
            "shards",
            "all read s",
            "calls/s",
            "wanted",
            "fewest",
            "most",
            "ListShards/s",
            "refused",
            "told",
            "ms",
        ],
    );
    let mut cost = Table::new(
        2,
        &[
            "interval",
            "shards",
            "cores",
            "µs/call",
            "RSS MiB",
            "grown",
            "peak",
            "switches/s",
            "commits/s",
            "threads",
            "conns",
        ],
    );
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    for run in runs {
        let interval =
            INTERVALS.iter().find(|(name, _)| *name == run.interval).map_or(1.0, |(_, lasts)| lasts.as_secs_f64());
        let head = [run.interval.to_owned(), run.shards.to_string()];
        let loaded = [
            format!("{:.1}", run.all_read.as_secs_f64()),
            format!("{:.0}", run.a_second(run.calls)),
            format!("{:.0}", f64::from(run.shards) / interval),
            run.calls_of_one.0.to_string(),
            run.calls_of_one.1.to_string(),
            format!("{:.2}", run.a_second(run.listings)),
            run.refused.to_string(),
            run.complaints.to_string(),
            run.latency(),
        ];
        load.row(head.iter().cloned().chain(loaded).collect());
        let grown = (run.after.resident as f64 - run.before.resident as f64) / f64::from(1 << 20);
        let costs = [
            format!("{:.3}", run.cpu() / run.seconds),
            format!("{:.0}", run.cpu_per_call()),
            mib(run.after.resident),
            format!("{grown:+.1}"),
            mib(run.after.resident_peak),
            format!("{:.0}", run.a_second(run.after.switches.saturating_sub(run.before.switches))),
            format!("{:.2}", run.a_second(run.commits)),
            run.after.threads.to_string(),
            run.connections.to_string(),
        ];
        cost.row(head.into_iter().chain(costs).collect());
    }
    let mut text = format!(
        "### Idle shards\n\nOpen shards that bring five records a second between them, read by `passthrough` with a parallelism \
         of 1. The interval is\n`empty_interval`, the pause after an empty page. Once every shard was read (`all read`, from the start \
         of the process) and a\nfew seconds have passed, everything else is of a window of {} s, or of the interval if that is longer. \
         The simulated AWS\nshares the cores, so where more calls are wanted than the machine can make, both are short of them. \
         `fewest` and `most` are\nthe pages of single shards; `told` are warnings and errors in the log; `ms` is the time from a write \
         to standard output,\nmedian and slowest.\n\n",
        WINDOW.as_secs()
    );
    write!(text, "{}\n{}\n", load.text(), cost.text()).expect(STRING);
    for (interval, _) in INTERVALS {
        let of = |shards| runs.iter().find(|run| run.interval == interval && run.shards == shards);
        let [Some(small), Some(large)] = SHARDS.map(of) else { continue };
        let ratio = |what: fn(&Measured) -> f64| what(large) / what(small).max(f64::MIN_POSITIVE);
        writeln!(
            text,
            "With {interval}, ten times the shards take {:.1} times the memory and {:.2} times the CPU per call.",
            ratio(|run| run.after.resident as f64),
            ratio(Measured::cpu_per_call)
        )
        .expect(STRING);
    }
    text
}
