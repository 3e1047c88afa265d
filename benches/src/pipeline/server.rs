//! The endpoint, in a process of its own, so that its work is nobody's cost: creates and fills the streams, says where it
//! is, and serves until its standard input ends.

use std::io::Read as _;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use axum::extract::DefaultBodyLimit;
use ferrokinesis::create_app;
use ferrokinesis::store::StoreOptions;
use host::aws::AwsSettings;
use tokio::net::TcpListener;

use crate::events::{event, partition_key};
use crate::pipeline::{REGION, SHARDS, STREAMS, Stream};

/// What one request may hold: the largest `PutRecords`, base64 and framing included.
const BODY_BYTES_MAX: usize = 32 << 20;
/// What `PutRecords` takes at most.
const PUT_RECORDS_MAX: u64 = 500;

/// Serves.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn serve() -> Result<()> {
    let options = StoreOptions { create_stream_ms: 0, shard_limit: 1_000, ..StoreOptions::default() };
    let (app, _store) = create_app(options);
    let app = app.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let listener = TcpListener::bind("127.0.0.1:0").await.context("loopback has no free port")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = AwsSettings::local(REGION, &endpoint).kinesis().await;
    for stream in &STREAMS {
        fill(&client, stream).await?;
    }
    announce(&endpoint);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn announce(endpoint: &str) {
    println!("{endpoint}");
}

async fn fill(client: &Client, stream: &Stream) -> Result<()> {
    client.create_stream().stream_name(stream.name).shard_count(SHARDS).send().await?;
    loop {
        let output = client.describe_stream_summary().stream_name(stream.name).send().await?;
        if output.stream_description_summary.is_some_and(|summary| summary.stream_status == StreamStatus::Active) {
            break;
        }
    }
    let mut number = 0;
    while number < stream.records {
        let numbers = number..stream.records.min(number + PUT_RECORDS_MAX);
        number = numbers.end;
        let entry = |number: u64| {
            let data = Blob::new(event(number, stream.size));
            PutRecordsRequestEntry::builder().partition_key(partition_key(number)).data(data).build()
        };
        let entries = numbers.map(entry).collect::<Result<Vec<_>, _>>()?;
        let output = client.put_records().stream_name(stream.name).set_records(Some(entries)).send().await?;
        ensure!(output.failed_record_count.unwrap_or_default() == 0, "{} was not filled: {output:?}", stream.name);
    }
    Ok(())
}
