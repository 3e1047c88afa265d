//! From the call of `PutRecord` to standard output, one record at a time at random moments.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use host::aws::AwsSettings;
use host::local::{Endpoint, LocalStream, Options};
use tests::simulated::SimulatedAws;
use tokio::time::{Instant, sleep};

use super::STREAM;
use super::bare::Bare;
use crate::events::Random;
use crate::pipeline::REGION;
use crate::process::{Job, Process, Way};
use crate::report::{Table, tell};

/// Records visit one shard after the other, so that each shard has long been silent when it gets its next one.
const SHARDS: u32 = 12;
const SAMPLES: u64 = 400;
/// Between two records, in milliseconds: this, and up to as much again as `GAP_SPREAD`.
const GAP_MIN: u64 = 30;
const GAP_SPREAD: u64 = 70;
/// How long a reader may take to begin, and the last record to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// All that was written has long arrived after this.
const SETTLED: Duration = Duration::from_millis(700);

/// One reader's records.
struct Sample {
    service: &'static str,
    reader: &'static str,
    /// Sorted.
    took: Vec<Duration>,
}

impl Sample {
    fn millis(&self, share: f64) -> f64 {
        let index = ((self.took.len() - 1) as f64 * share).round() as usize;
        self.took[index].as_secs_f64() * 1e3
    }
}

/// The baseline, then ours.
const READERS: [(&str, Option<Way<'_>>); 4] = [
    ("bare SDK, fan-out", None),
    ("pipeline, fan-out", Some(Way::FanOut { consumer: "pipeline" })),
    ("pipeline, polling, 250ms", Some(Way::Polling { empty_interval: "250ms", max_records: 10_000 })),
    ("pipeline, polling, 5 calls/s", Some(Way::Polling { empty_interval: "0s", max_records: 10_000 })),
];

/// The text with its table.
pub(super) async fn run() -> Result<String> {
    let mut samples = Vec::new();
    let streams = vec![LocalStream { name: STREAM.to_owned(), shards: SHARDS, seed: None }];
    let endpoint = Endpoint::start(Options { streams, ..Options::default() }).await?;
    let arn = format!("arn:aws:kinesis:{REGION}:000000000000:stream/{STREAM}");
    samples.extend(measure("embedded", &endpoint.url(), &arn).await?);
    endpoint.shutdown().await;
    // Two that poll share the calls of a shard.
    let aws = SimulatedAws::start_generous().await;
    aws.kinesis().create(STREAM, SHARDS);
    samples.extend(measure("simulated", &aws.endpoint, &aws.kinesis().arn(STREAM)).await?);
    Ok(text(&samples))
}

/// All readers read the same records.
async fn measure(service: &'static str, endpoint: &str, stream_arn: &str) -> Result<Vec<Sample>> {
    let client = AwsSettings::local(REGION, endpoint).kinesis().await;
    let shards = client.list_shards().stream_arn(stream_arn).send().await?.shards.unwrap_or_default();
    let ranges = shards.into_iter().filter_map(|shard| shard.hash_key_range);
    let hashes: Vec<String> = ranges.map(|range| range.starting_hash_key).collect();
    ensure!(hashes.len() == SHARDS as usize, "{} shards instead of {SHARDS}", hashes.len());
    let start = |way: Option<Way<'_>>| match way {
        Some(way) => {
            Process::start(&Job { endpoint, stream_arn, way, read_ahead: "64MiB", initial_position: "latest" })
        }
        None => Process::bare(&Bare {
            endpoint: endpoint.to_owned(),
            stream_arn: stream_arn.to_owned(),
            consumer: "bare".to_owned(),
        }),
    };
    let mut readers = READERS.into_iter().map(|(_, way)| start(way)).collect::<Result<Vec<_>>>()?;
    let mut writer = Writer { client, stream_arn, hashes, number: 0, random: Random::new(1) };
    begin(&mut writer, &mut readers).await?;
    for _ in 0..SAMPLES {
        sleep(writer.gap()).await;
        writer.put(&readers).await?;
    }
    sleep(SETTLED).await;
    let mut samples = Vec::new();
    for ((reader, _), process) in READERS.into_iter().zip(&mut readers) {
        process.check()?;
        let mut took = process.arrivals.take();
        ensure!(took.len() as u64 == SAMPLES, "{reader} brought {} of {SAMPLES} records in time", took.len());
        took.sort();
        let sample = Sample { service, reader, took };
        tell(&format!("{service}, {reader}: {:.1} ms, {:.1} ms", sample.millis(0.5), sample.millis(0.99)));
        samples.push(sample);
    }
    Ok(samples)
}

/// Writes to every shard until every reader has brought a record of each, and then forgets how long those took.
async fn begin(writer: &mut Writer<'_>, readers: &mut [Process]) -> Result<()> {
    let begun = Instant::now();
    loop {
        let before: Vec<u64> = readers.iter().map(|reader| reader.arrivals.delivered()).collect();
        for _ in 0..SHARDS {
            writer.put(readers).await?;
        }
        sleep(SETTLED).await;
        let mut brought = readers.iter().zip(&before).map(|(reader, before)| reader.arrivals.delivered() - before);
        if brought.all(|brought| brought == u64::from(SHARDS)) {
            break;
        }
        for reader in &mut *readers {
            reader.check()?;
        }
        ensure!(begun.elapsed() < PATIENCE, "not every reader read all shards within {PATIENCE:?}");
    }
    for reader in readers {
        reader.arrivals.take();
    }
    Ok(())
}

struct Writer<'a> {
    client: Client,
    stream_arn: &'a str,
    /// One of each shard.
    hashes: Vec<String>,
    number: u64,
    random: Random,
}

impl Writer<'_> {
    fn gap(&mut self) -> Duration {
        Duration::from_micros(GAP_MIN * 1_000 + self.random.below(GAP_SPREAD * 1_000))
    }

    /// Writes the next record, whose data is its number.
    async fn put(&mut self, readers: &[Process]) -> Result<()> {
        let number = self.number;
        self.number += 1;
        let hash = &self.hashes[(number % u64::from(SHARDS)) as usize];
        let request = self.client.put_record().stream_arn(self.stream_arn).partition_key("key").explicit_hash_key(hash);
        let request = request.data(Blob::new(number.to_string()));
        for reader in readers {
            reader.arrivals.sent(number);
        }
        request.send().await.context("a record was not taken")?;
        Ok(())
    }
}

fn text(samples: &[Sample]) -> String {
    let mut table = Table::new(2, &["service", "reader", "p10 ms", "p50 ms", "p99 ms", "most", "p50 over bare"]);
    for sample in samples {
        let bare = samples.iter().find(|other| other.service == sample.service).map_or(0.0, |bare| bare.millis(0.5));
        let millis = |share| format!("{:.1}", sample.millis(share));
        table.row(vec![
            sample.service.to_owned(),
            sample.reader.to_owned(),
            millis(0.1),
            millis(0.5),
            millis(0.99),
            millis(1.0),
            format!("{:+.1}", sample.millis(0.5) - bare),
        ]);
    }
    format!(
        "### From a write to the sink\n\n{SAMPLES} records at random moments, one after another to {SHARDS} shards, so that each shard has \
         been silent for a while. Time\nfrom the call of `PutRecord` to standard output, on which another process reads. All readers of a service \
         read the same records\nat the same time. `polling` is with an `empty_interval` of 250 ms, the default, and with none, where the limit of \
         calls is the\npace. `bare SDK` is a loop around a subscription that prints what comes: its time is the service's, the SDK's and \
         the pipe's. Both\nservices push what is written at once, as the real one does but for its network.\n\n{}",
        table.text()
    )
}
