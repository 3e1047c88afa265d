//! One writer in a process of its own, so that its CPU time is the process's: a pipeline, the part of it that writes, or a
//! loop that one would write with the SDK.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use host::app::{RunSettings, load, run};
use host::aws::{Access, AwsSettings};
use host::clock::Clock;
use host::columns::ElementBatch;
use host::component::Engine;
use host::config::{Manifest, SinkOutput};
use host::entry::{Action, Entries, ItemRequest, KinesisEntry};
use host::item::Item;
use host::pipeline::{Input, Totals};
use host::progress::{Screen, grouped};
use host::sink::confirmations::Surroundings;
use host::sink::dynamodb::api::DynamodbTable;
use host::sink::dynamodb::{self, DynamodbTarget};
use host::sink::kinesis::{KinesisTarget, Opening};
use host::sink::queue::{self, Settings};
use host::sink::service::{Claim, Service, Stations};
use host::sink::thread::{self, Delivery, Outgoing, Output, RoutedSink, ToSinks};
use host::source::kinesis::KinesisStream;
use host::subtask::StreamLabel;
use host_core::coordinator::{Event, Receipt};
use host_core::delivery::PoisonPolicy;
use host_core::patience::RetryLimits;
use host_core::shard::{Position, SequenceNumber, ShardId};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::bare;
use super::settings::{IN_FLIGHT, Kind, Pipeline};
use crate::events::{event, partition_key};
use crate::measure::process_cpu;
use crate::pipeline::REGION;
use crate::pipeline::reader::Cost;

/// Entries of a delivery, where no source cuts them: a batch of records is 128 KiB.
const DELIVERY_BYTES: usize = 128 << 10;

/// Which writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Variant {
    /// A task per shard that reads, and as many requests under way as ours has.
    Bare,
    /// Ours, one entry of a key under way at a time.
    PerKey,
    /// Ours, in any order.
    AnyOrder,
    /// Ours with the order of keys, told that the target takes more than anybody has.
    Told,
}

/// What to write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) variant: Variant,
    pub(super) kind: Kind,
    pub(super) endpoint: String,
    /// The stream that is read; `None`: entries are prepared in memory, and are of no account.
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) records: u64,
    /// Bytes of a record.
    pub(super) size: usize,
    /// Where a pipeline may keep its positions; compiled code is kept beside it.
    pub(super) directory: String,
    /// Tells one run's positions from another's.
    pub(super) run: usize,
}

impl Job {
    fn manifest(&self) -> Result<Manifest> {
        let order = if self.variant == Variant::AnyOrder { "order = \"none\"\n" } else { "" };
        let limit = if self.variant == Variant::Told { "1000000000" } else { "\"unlimited\"" };
        let bytes = if self.variant == Variant::Told { "\"1TB\"" } else { "\"unlimited\"" };
        let limits = match self.kind {
            Kind::Stream => format!("max_records_per_second = {limit}\nmax_bytes_per_second = {bytes}"),
            Kind::Table => String::new(),
        };
        let pipeline = Pipeline {
            endpoint: &self.endpoint,
            source: self.source.as_deref().unwrap_or("none"),
            kind: self.kind,
            target: &self.target,
            sink: &format!("{order}{limits}"),
            batch: &format!("max_in_flight = {IN_FLIGHT}"),
            state: &format!("{}.db", self.run),
        };
        pipeline.manifest(&self.directory)
    }
}

/// Writes, and prints the cost as JSON.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn write(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let cost = match (job.variant, job.source.is_some()) {
        (Variant::Bare, true) => whole(Box::pin(bare::pipeline(&job))).await?,
        (Variant::PerKey | Variant::AnyOrder | Variant::Told, true) => whole(Box::pin(ours(&job))).await?,
        (Variant::Bare, false) => bare::alone(&job).await?,
        (Variant::PerKey | Variant::AnyOrder | Variant::Told, false) => alone(&job).await?,
    };
    print(&serde_json::to_string(&cost)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn print(line: &str) {
    println!("{line}");
}

/// What the process takes from its start to its end.
async fn whole(work: impl Future<Output = Result<()>>) -> Result<Cost> {
    let started = Instant::now();
    work.await?;
    Ok(Cost { wall_seconds: started.elapsed().as_secs_f64(), cpu_seconds: process_cpu().as_secs_f64() })
}

/// What the process takes for this alone.
pub(super) async fn only<T>(work: impl Future<Output = Result<T>>) -> Result<Cost> {
    let (started, before) = (Instant::now(), process_cpu());
    work.await?;
    let cpu_seconds = (process_cpu() - before).as_secs_f64();
    Ok(Cost { wall_seconds: started.elapsed().as_secs_f64(), cpu_seconds })
}

/// As `sluicebox run --until-caught-up` does it, positions on disk included.
async fn ours(job: &Job) -> Result<()> {
    let ready = load::load(job.manifest()?, &Engine::new()?)?;
    let settings = RunSettings { until_caught_up: true, local: None };
    let report = Box::pin(run(ready, settings, Screen::lines(), CancellationToken::new())).await;
    if let Some(failure) = report.failure {
        return Err(failure).context("the pipeline failed");
    }
    if !report.summary.contains(&format!("{} elements out", grouped(job.records))) {
        bail!("not every record was written: {}", report.summary);
    }
    Ok(())
}

/// What is written of these records: the key and the data of each.
pub(super) fn records(job: &Job) -> impl Iterator<Item = (String, Vec<u8>)> {
    let size = job.size;
    (0..job.records).map(move |number| (partition_key(number), event(number, size)))
}

/// The sinks' thread, the task of the sink and the one that makes receipts, from prepared entries.
async fn alone(job: &Job) -> Result<Cost> {
    let manifest = job.manifest()?;
    let (clock, totals) = (Clock::start(), Arc::new(Totals::default()));
    let access = AwsSettings::local(REGION, &job.endpoint).access().await;
    let service = open(&manifest, &access, clock, &totals).await?;
    let deliveries: Vec<ToSinks> =
        entries(job)?.into_iter().zip(0_u64..).map(|(entries, number)| delivery(entries, number)).collect();
    let owed = deliveries.len();
    let (sender, intake) = mpsc::channel(2);
    let (output, mut inputs) = mpsc::channel(1_000);
    // Nobody hurries it but the end.
    let (_eager, is_eager) = watch::channel(false);
    let around = Surroundings {
        has_marks: false,
        eager: is_eager,
        cut: CancellationToken::new(),
        policy: PoisonPolicy::Fail,
        streams: [StreamLabel { arn: "arn".to_owned(), name: "prepared".to_owned() }].into(),
        clock,
        claim: Claim { generation: 1, streams: [].into() },
        runtime: Handle::current(),
    };
    let sinks = vec![RoutedSink { name: "out".to_owned(), when: Vec::new(), output: Output::Service(service) }];
    only(async move {
        // What it says is heard to its end below.
        let _thread = thread::spawn("bench", sinks, intake, output, totals, around)?;
        let handing = tokio::spawn(async move {
            for delivery in deliveries {
                if sender.send(delivery).await.is_err() {
                    return;
                }
            }
        });
        let mut confirmed = 0;
        while let Some(input) = inputs.recv().await {
            match input {
                Input::Event(Event::Delivered(_)) => confirmed += 1,
                Input::Event(event) => bail!("{event:?} is no receipt"),
                Input::Failed(failure) => return Err(failure).context("the sink failed"),
                Input::Lost { .. } => bail!("nobody was lost"),
            }
        }
        handing.await?;
        ensure!(confirmed == owed, "{confirmed} of {owed} deliveries were confirmed");
        Ok(())
    })
    .await
}

/// The sink of a manifest.
async fn open(manifest: &Manifest, access: &Access, clock: Clock, totals: &Totals) -> Result<Box<dyn Service>> {
    let retry = RetryLimits::from(&manifest.aws.retry);
    let described = manifest.sinks.first().context("a manifest has a sink")?;
    let settings =
        |options, request_timeout| Settings { options, request_timeout, fail_on_timeout: false, fail_on_error: false };
    Ok(match &described.output {
        SinkOutput::Kinesis(sink) => {
            let stream = KinesisStream::new(access.kinesis(), sink.stream.clone(), access.settings()).as_target();
            let stream = Arc::new(stream);
            let health = Arc::clone(&totals.health);
            let opening = Opening { sink: "out".to_owned(), retry, health, clock };
            let opened = KinesisTarget::open(Arc::clone(&stream) as _, stream as _, sink, opening).await;
            let (target, options) = opened?;
            queue::service(Arc::new(target), settings(options, sink.batch.request_timeout))?
        }
        SinkOutput::Dynamodb(sink) => {
            let table = DynamodbTable::new(access.dynamodb(), sink.table.clone(), access.settings());
            let target = DynamodbTarget::open(Arc::new(table), "out", retry, clock).await?;
            let options = dynamodb::options(sink, &manifest.aws.retry);
            queue::service(Arc::new(target), settings(options, sink.batch.request_timeout))?
        }
        SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => bail!("a bench writes to services"),
    })
}

/// Delivery by delivery.
fn entries(job: &Job) -> Result<Vec<Entries>> {
    let records: Vec<_> = records(job).collect();
    let each = DELIVERY_BYTES / job.size;
    let entries = |part: &[(String, Vec<u8>)]| match job.kind {
        Kind::Stream => {
            let entry = |(key, data): &(String, Vec<u8>)| KinesisEntry {
                partition_key: key.clone(),
                explicit_hash_key: None,
                data: data.clone(),
            };
            Ok(Entries::Kinesis(part.iter().map(entry).collect()))
        }
        Kind::Table => {
            let request = |(_, data): &(String, Vec<u8>)| {
                Ok(ItemRequest { action: Action::Put, item: Item::from_sdk(bare::item(data)?)? })
            };
            Ok(Entries::Dynamodb(part.iter().map(request).collect::<Result<_>>()?))
        }
    };
    records.chunks(each).map(entries).collect()
}

fn delivery(entries: Entries, number: u64) -> ToSinks {
    let sequence = SequenceNumber::parse(&(number + 1).to_string()).expect("decimal");
    let receipt = Receipt {
        shard: ShardId::new("shardId-000000000000"),
        session: 1,
        first: number,
        count: 1,
        last: Position::After { sequence, sub_sequence: 0 },
        event_time: None,
        arrived: None,
        marks: Vec::new(),
    };
    let record = (0..).take(entries.len()).collect();
    let outgoing = vec![Outgoing { sink: 0, entries, record, stations: Stations::default() }];
    let elements = ElementBatch::default();
    ToSinks::Deliver(Box::new(Delivery { receipt, elements, outgoing, made: None, held: None }))
}
