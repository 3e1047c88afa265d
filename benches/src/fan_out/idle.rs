//! A thousand shards on which nothing is written.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::simulated::SimulatedAws;

use super::STREAM;
use super::bare::Bare;
use crate::measure::process_cpu;
use crate::process::{Job, Process, Way};
use crate::report::{Table, tell};
use crate::system::Usage;

const MANY: u32 = 1_000;
/// Time after every shard was read and before the window.
const WARM_UP: Duration = Duration::from_secs(4);
/// Three heartbeats.
const WINDOW: Duration = Duration::from_secs(15);
/// How long every shard may take to be read for the first time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it was.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A reader, and the window in which it is watched.
struct Case {
    reader: &'static str,
    /// `None` is the baseline.
    way: Option<Way<'static>>,
    window: Duration,
}

const CASES: [Case; 4] = [
    Case { reader: "bare SDK, fan-out", way: None, window: WINDOW },
    Case { reader: "pipeline, fan-out", way: Some(Way::FanOut { consumer: "pipeline" }), window: WINDOW },
    Case { reader: "pipeline, polling, 250ms", way: Some(polling("250ms")), window: WINDOW },
    Case { reader: "pipeline, polling, 10s", way: Some(polling("10s")), window: Duration::from_secs(20) },
];

const fn polling(empty_interval: &'static str) -> Way<'static> {
    Way::Polling { empty_interval, max_records: 10_000 }
}

/// One run.
struct Measured {
    all_read: Duration,
    seconds: f64,
    cpu: f64,
    service: f64,
    /// Empty events or pages.
    answers: u64,
    resident: u64,
    peak: u64,
    connections: usize,
    threads: u64,
}

/// The text with its table.
pub(super) async fn run() -> Result<String> {
    let mut table = Table::new(
        1,
        &[
            "reader",
            "all read s",
            "empty/s",
            "cores",
            "to bare",
            "µs each",
            "service's cores",
            "RSS MiB",
            "peak",
            "with 1 shard",
            "KiB a shard",
            "to bare",
            "conns",
            "threads",
        ],
    );
    let mut bare = None;
    for case in &CASES {
        let alone = measure(case, 1, Duration::ZERO).await?;
        let many = measure(case, MANY, case.window).await?;
        let cores = many.cpu / many.seconds;
        let of_each = (many.resident as f64 - alone.resident as f64) / 1024.0 / f64::from(MANY - 1);
        let (cores_of_bare, of_each_bare) = *bare.get_or_insert((cores, of_each));
        tell(&format!("{}: {cores:.3} cores, {} MiB", case.reader, many.resident >> 20));
        let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        table.row(vec![
            case.reader.to_owned(),
            format!("{:.1}", many.all_read.as_secs_f64()),
            format!("{:.0}", many.answers as f64 / many.seconds),
            format!("{cores:.4}"),
            format!("{:.2}", cores / cores_of_bare.max(f64::MIN_POSITIVE)),
            format!("{:.0}", many.cpu * 1e6 / many.answers.max(1) as f64),
            format!("{:.3}", many.service / many.seconds),
            mib(many.resident),
            mib(many.peak),
            mib(alone.resident),
            format!("{of_each:.0}"),
            format!("{:.2}", of_each / of_each_bare),
            many.connections.to_string(),
            many.threads.to_string(),
        ]);
    }
    Ok(format!(
        "### Silence\n\n{MANY} open shards on the simulated AWS, over HTTP/1.1, on which nothing is written; a subscription has an empty event every \
         5 s, as with\nAWS. Pipelines run `passthrough` with a parallelism of 1; `bare SDK` holds as many subscriptions and nothing else. Once \
         every shard was\nread (`all read`, from the start of the process) and {} s have passed, the reader's process is watched for {} s; with 10 s for 20 \
         s.\n`empty` are events or pages, `µs each` is CPU per one of them. The service's CPU is of another process and not in the \
         reader's.\n`KiB a shard` is what {MANY} shards take more than one.\n\n{}",
        WARM_UP.as_secs(),
        WINDOW.as_secs(),
        table.text()
    ))
}

async fn measure(case: &Case, shards: u32, window: Duration) -> Result<Measured> {
    let aws = SimulatedAws::start().await;
    aws.kinesis().create(STREAM, shards);
    let ids = aws.kinesis().open_shards(STREAM);
    let stream_arn = &aws.kinesis().arn(STREAM);
    let started = Instant::now();
    let mut reader = match case.way {
        Some(way) => {
            let endpoint = &aws.endpoint;
            Process::start(&Job { endpoint, stream_arn, way, read_ahead: "64MiB", initial_position: "latest" })?
        }
        None => {
            let (endpoint, consumer) = (aws.endpoint.clone(), "bare".to_owned());
            Process::bare(&Bare { endpoint, stream_arn: stream_arn.clone(), consumer })?
        }
    };
    let pages = || -> Vec<u64> {
        aws.counted(|counted| ids.iter().map(|id| counted.of("GetRecords", STREAM, id).answered).collect())
    };
    let events = || aws.counted(|counted| counted.subscribed().events);
    let is_read = || aws.counted(|counted| counted.subscribed().open) == ids.len() || !pages().contains(&0);
    while !is_read() {
        reader.check()?;
        ensure!(started.elapsed() < PATIENCE, "not all of {shards} shards were read within {PATIENCE:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    let all_read = started.elapsed();
    tokio::time::sleep(WARM_UP).await;
    let (begun, before, service, answered) =
        (Instant::now(), Usage::of(reader.id())?, process_cpu(), pages().iter().sum::<u64>() + events());
    tokio::time::sleep(window).await;
    reader.check()?;
    let after = Usage::of(reader.id())?;
    Ok(Measured {
        all_read,
        seconds: begun.elapsed().as_secs_f64(),
        cpu: after.cpu_seconds - before.cpu_seconds,
        service: process_cpu().saturating_sub(service).as_secs_f64(),
        answers: pages().iter().sum::<u64>() + events() - answered,
        resident: after.resident,
        peak: after.resident_peak,
        connections: aws.counted(|counted| counted.connections),
        threads: after.threads,
    })
}
