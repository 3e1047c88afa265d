//! A hundred shards with a backlog, of which one does not answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::simulated::{Fault, SimulatedAws};

use super::STREAM;
use crate::process::{Job, Process, Way};
use crate::report::{Table, tell};

const SHARDS: u32 = 100;
/// What each call may bring: five calls a second leave every shard with a backlog to the end of the window.
const MAX_RECORDS: u32 = 50;
/// Records of each shard.
const BACKLOG: u32 = 9_000;
/// Bytes of a record.
const SIZE: usize = 256;
/// From the first delivery on.
const WINDOW: Duration = Duration::from_secs(25);
/// How long the first delivery may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to how many shards, and what may be read ahead.
const CASES: [(&str, usize, &str); 5] = [
    ("none", 0, "64MiB"),
    ("hangs", 1, "64MiB"),
    ("trickles", 1, "64MiB"),
    ("hangs", 1, "1MiB"),
    ("hangs", 20, "64MiB"),
];

/// The text with its table.
pub(crate) async fn run() -> Result<String> {
    let mut table = Table::new(1, &["fault", "stuck", "read_ahead", "records/s", "of each other shard", "to no fault"]);
    let mut without = None;
    for (fault, stuck, read_ahead) in CASES {
        let rate = measure(fault, stuck, read_ahead).await?;
        let others = f64::from(SHARDS) - stuck as f64;
        let of_each = rate / others;
        let ratio = of_each / *without.get_or_insert(of_each);
        tell(&format!("{stuck} of {SHARDS} shards stuck ({fault}, {read_ahead}): {rate:.0} records/s, {ratio:.3}"));
        table.row(vec![
            fault.to_owned(),
            stuck.to_string(),
            read_ahead.to_owned(),
            format!("{rate:.0}"),
            format!("{of_each:.1}"),
            format!("{ratio:.3}"),
        ]);
    }
    Ok(format!(
        "### A shard that does not answer\n\n{SHARDS} shards with a backlog, {MAX_RECORDS} records of {SIZE} B a call and so {} a second of each \
         shard at most. `GetRecords` of the stuck\nshards never answers (`hangs`) or answers a byte a second (`trickles`) from the start on. \
         Records delivered within {} s of\nthe first; what the others bring is compared with the run without a fault.\n\n{}",
        5 * MAX_RECORDS,
        WINDOW.as_secs(),
        table.text()
    ))
}

async fn measure(fault: &str, stuck: usize, read_ahead: &str) -> Result<f64> {
    let aws = SimulatedAws::start().await;
    aws.kinesis().create(STREAM, SHARDS);
    aws.kinesis().forget_truth(STREAM);
    let ids = aws.kinesis().open_shards(STREAM);
    let text = "x".repeat(SIZE);
    for id in &ids {
        for _ in 0..BACKLOG {
            aws.kinesis().put_to(STREAM, id, "key", text.as_str());
        }
    }
    for id in ids.iter().take(stuck) {
        let fault = match fault {
            "trickles" => Fault::Trickle { bytes: 1, pause: Duration::from_secs(1) },
            _ => Fault::Hang,
        };
        aws.faults().on("GetRecords").shard(id).inject(fault);
    }
    let job = Job {
        endpoint: &aws.endpoint,
        stream_arn: &aws.kinesis().arn(STREAM),
        way: Way::Polling { empty_interval: "250ms", max_records: MAX_RECORDS },
        read_ahead,
        initial_position: "trim-horizon",
    };
    let mut pipeline = Process::start(&job)?;
    let started = Instant::now();
    while pipeline.arrivals.delivered() == 0 {
        pipeline.check()?;
        ensure!(started.elapsed() < PATIENCE, "nothing was delivered within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    tokio::time::sleep(WINDOW).await;
    let rate = pipeline.arrivals.delivered() as f64 / begun.elapsed().as_secs_f64();
    pipeline.check()?;
    ensure!(
        rate * WINDOW.as_secs_f64() < f64::from(BACKLOG) * (f64::from(SHARDS) - stuck as f64),
        "the backlog ended early"
    );
    Ok(rate)
}
