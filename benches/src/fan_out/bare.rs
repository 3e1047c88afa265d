//! The baseline: a loop that one would write around the SDK's subscriptions, a task per shard.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use host::aws::AwsSettings;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::pipeline::REGION;

/// Between two looks at a consumer that is being created.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bare {
    pub(crate) endpoint: String,
    pub(crate) stream_arn: String,
    pub(crate) consumer: String,
}

/// Prints the data of what is written from now on, until it is killed.
#[tokio::main(flavor = "multi_thread")]
pub(crate) async fn read(job: &Bare) -> Result<()> {
    subscribe_all(job, ShardIteratorType::Latest, |event| {
        for record in &event.records {
            print(&String::from_utf8_lossy(record.data.as_ref()));
        }
        true
    })
    .await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
fn print(line: &str) {
    println!("{line}");
}

/// Records and bytes of data of the stream, from its beginning until every shard has told that no more are there.
pub(crate) async fn count(job: &Bare) -> Result<(u64, u64)> {
    subscribe_all(job, ShardIteratorType::TrimHorizon, |event| !event.records.is_empty()).await
}

/// Subscribes to every shard, and hears each as long as `goes_on`; what came, in records and bytes.
async fn subscribe_all(
    job: &Bare,
    from: ShardIteratorType,
    goes_on: fn(&SubscribeToShardEvent) -> bool,
) -> Result<(u64, u64)> {
    let client = client(&job.endpoint).await;
    let consumer = register(&client, job).await?;
    let (mut tasks, mut token) = (JoinSet::new(), None::<String>);
    loop {
        let request = match token {
            None => client.list_shards().stream_arn(&job.stream_arn),
            token => client.list_shards().set_next_token(token),
        };
        let page = request.send().await?;
        for shard in page.shards.unwrap_or_default() {
            tasks.spawn(subscribe(client.clone(), consumer.clone(), shard.shard_id, from.clone(), goes_on));
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let (mut records, mut bytes) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        let (more_records, more_bytes) = task??;
        records += more_records;
        bytes += more_bytes;
    }
    Ok((records, bytes))
}

async fn subscribe(
    client: Client,
    consumer: String,
    shard: String,
    from: ShardIteratorType,
    goes_on: fn(&SubscribeToShardEvent) -> bool,
) -> Result<(u64, u64)> {
    let position = StartingPosition::builder().r#type(from).build()?;
    let request = client.subscribe_to_shard().consumer_arn(consumer).shard_id(&shard).starting_position(position);
    let mut events = request.send().await?.event_stream;
    let (mut records, mut bytes) = (0, 0);
    while let Some(event) = events.recv().await? {
        let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else { continue };
        records += event.records.len() as u64;
        bytes += event.records.iter().map(|record| record.data.as_ref().len() as u64).sum::<u64>();
        if !goes_on(&event) {
            break;
        }
    }
    Ok((records, bytes))
}

/// A client that lets an answer take as long as it likes, as subscriptions do.
async fn client(endpoint: &str) -> Client {
    let client = AwsSettings::local(REGION, endpoint).kinesis().await;
    let config = client.config().to_builder();
    let config = config
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

/// The consumer's ARN, once it can be used.
async fn register(client: &Client, job: &Bare) -> Result<String> {
    let request = client.register_stream_consumer().stream_arn(&job.stream_arn).consumer_name(&job.consumer);
    let consumer = request.send().await?.consumer.context("a consumer was registered")?;
    loop {
        let told = client.describe_stream_consumer().consumer_arn(&consumer.consumer_arn).send().await?;
        match told.consumer_description.map(|consumer| consumer.consumer_status) {
            Some(ConsumerStatus::Active) => return Ok(consumer.consumer_arn),
            status => ensure!(status == Some(ConsumerStatus::Creating), "the consumer is {status:?}"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
