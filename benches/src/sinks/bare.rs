//! The baseline: the loop that one would write around the SDK. It moves what it read into its requests, repeats nothing and
//! stops at the first entry that is not taken.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, ShardIteratorType};
use host::aws::AwsSettings;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::settings::{IN_FLIGHT, Kind};
use super::writer::{Job, only, records};
use crate::pipeline::REGION;
use crate::pipeline::reader::Cost;

/// Clients of both services.
struct Clients {
    kinesis: aws_sdk_kinesis::Client,
    dynamodb: aws_sdk_dynamodb::Client,
}

impl Clients {
    async fn of(job: &Job) -> Self {
        let access = AwsSettings::local(REGION, &job.endpoint).access().await;
        Self { kinesis: access.kinesis(), dynamodb: access.dynamodb() }
    }
}

/// Reads a stream to its end, and writes.
pub(super) async fn pipeline(job: &Job) -> Result<()> {
    let clients = Clients::of(job).await;
    let source = job.source.clone().context("a pipeline reads a stream")?;
    let written = match job.kind {
        Kind::Stream => {
            let make = |Record { partition_key, data, .. }: Record| {
                Ok(PutRecordsRequestEntry::builder().set_partition_key(partition_key).data(data).build()?)
            };
            put_records(&clients, &job.target, read(&clients, source, make).await?).await?
        }
        Kind::Table => {
            let pages = read(&clients, source, |record| put(item(record.data.as_ref())?)).await?;
            batch_write(&clients, &job.target, pages).await?
        }
    };
    ensure!(written == job.records, "{written} records were written instead of {}", job.records);
    Ok(())
}

/// Writes what is prepared in memory.
pub(super) async fn alone(job: &Job) -> Result<Cost> {
    let clients = Clients::of(job).await;
    match job.kind {
        Kind::Stream => {
            let (sender, pages) = mpsc::channel(1);
            let entry =
                |(key, data)| PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build();
            let entries = records(job).map(entry).collect::<Result<Vec<_>, _>>()?;
            only(async {
                sender.send(entries).await?;
                drop(sender);
                put_records(&clients, &job.target, pages).await
            })
            .await
        }
        Kind::Table => {
            let (sender, pages) = mpsc::channel(1);
            let requests = records(job).map(|(_, data)| put(item(&data)?)).collect::<Result<Vec<_>>>()?;
            only(async {
                sender.send(requests).await?;
                drop(sender);
                batch_write(&clients, &job.target, pages).await
            })
            .await
        }
    }
}

/// A task for each shard, which makes entries of its records.
async fn read<E: Send + Sync + 'static>(
    clients: &Clients,
    stream: String,
    make: fn(Record) -> Result<E>,
) -> Result<mpsc::Receiver<Vec<E>>> {
    let client = &clients.kinesis;
    let (sender, pages) = mpsc::channel(1);
    let shards = client.list_shards().stream_name(&stream).send().await?.shards.unwrap_or_default();
    for shard in shards {
        let (client, stream, sender) = (client.clone(), stream.clone(), sender.clone());
        tokio::spawn(async move {
            let request = client.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id);
            let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let mut iterator = request.send().await?.shard_iterator;
            while let Some(at) = iterator {
                let page = client.get_records().shard_iterator(at).limit(10_000).send().await?;
                if page.records.is_empty() && page.millis_behind_latest.unwrap_or(0) <= 0 {
                    break;
                }
                iterator = page.next_shard_iterator;
                sender.send(page.records.into_iter().map(make).collect::<Result<_>>()?).await?;
            }
            // What is missing is missed by whoever counts.
            anyhow::Ok(())
        });
    }
    Ok(pages)
}

async fn put_records(
    clients: &Clients,
    stream: &str,
    pages: mpsc::Receiver<Vec<PutRecordsRequestEntry>>,
) -> Result<u64> {
    let send = |entries| {
        let request = clients.kinesis.put_records().stream_name(stream).set_records(Some(entries));
        async move {
            let output = request.send().await?;
            ensure!(output.failed_record_count.unwrap_or_default() == 0, "an entry was thrown back");
            Ok(())
        }
    };
    write_all(pages, Kind::Stream.batch(), send).await
}

async fn batch_write(clients: &Clients, table: &str, pages: mpsc::Receiver<Vec<WriteRequest>>) -> Result<u64> {
    let send = |requests| {
        let request = clients.dynamodb.batch_write_item().request_items(table, requests);
        async move {
            let output = request.send().await?;
            ensure!(output.unprocessed_items.unwrap_or_default().is_empty(), "an item was thrown back");
            Ok(())
        }
    };
    write_all(pages, Kind::Table.batch(), send).await
}

/// Writes full requests, as many at a time as ours; returns how many entries.
async fn write_all<E, F>(mut pages: mpsc::Receiver<Vec<E>>, batch: usize, send: impl Fn(Vec<E>) -> F) -> Result<u64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (mut under_way, mut request, mut written) = (JoinSet::new(), Vec::with_capacity(batch), 0);
    while let Some(page) = pages.recv().await {
        for entry in page {
            written += 1;
            request.push(entry);
            if request.len() == batch {
                if under_way.len() == IN_FLIGHT {
                    under_way.join_next().await.context("some are under way")???;
                }
                under_way.spawn(send(std::mem::replace(&mut request, Vec::with_capacity(batch))));
            }
        }
    }
    if !request.is_empty() {
        under_way.spawn(send(request));
    }
    while let Some(sent) = under_way.join_next().await {
        sent??;
    }
    Ok(written)
}

fn put(item: HashMap<String, AttributeValue>) -> Result<WriteRequest> {
    Ok(WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(item)).build()?).build())
}

/// The item that a JSON object is.
pub(super) fn item(data: &[u8]) -> Result<HashMap<String, AttributeValue>> {
    let Value::Object(object) = serde_json::from_slice(data)? else { bail!("an event is an object") };
    Ok(object.into_iter().map(|(name, value)| (name, attribute(value))).collect())
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(values) => AttributeValue::L(values.into_iter().map(attribute).collect()),
        Value::Object(object) => {
            AttributeValue::M(object.into_iter().map(|(name, value)| (name, attribute(value))).collect())
        }
    }
}
