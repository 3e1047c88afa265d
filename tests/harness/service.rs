//! A service that speaks Kinesis, as its writers and operators use it: what the host itself never does.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::DisplayErrorContext;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ScalingType, StreamStatus};
use host::aws::AwsSettings;
use host::config::StreamArn;
use host::source::kinesis::KinesisStream;
use host_core::shard::ShardDescription;

/// What `PutRecords` takes at most.
const PUT_RECORDS_MAX: usize = 500;
/// How often a change of a stream's status is looked for: each look is a call over loopback.
const STATUS_LOOKS_MAX: usize = 10_000;

/// An endpoint and a client for it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    /// The SDK's own client.
    pub client: Client,
}

impl Service {
    /// The service at an endpoint. Opens no connection.
    pub async fn at(endpoint: impl Into<String>) -> Self {
        let endpoint = endpoint.into();
        let client = AwsSettings::local("us-east-1", &endpoint).kinesis().await;
        Self { endpoint, client }
    }

    /// The host's own view of a stream.
    pub async fn stream(&self, name: &str) -> KinesisStream {
        KinesisStream::connect(arn(name), &AwsSettings::local("us-east-1", &self.endpoint)).await
    }

    /// Creates a stream and waits until it is active.
    ///
    /// # Panics
    /// The endpoint refuses.
    pub async fn create(&self, name: &str, shards: i32) {
        self.client.create_stream().stream_name(name).shard_count(shards).send().await.expect("created");
        self.until_active(name).await;
    }

    /// Writes records in order, a partition key and data each; an explicit hash key names the shard where one is given.
    ///
    /// # Panics
    /// The endpoint refuses a record.
    pub async fn put(&self, name: &str, hash_key: Option<u128>, records: &[(String, Vec<u8>)]) {
        for records in records.chunks(PUT_RECORDS_MAX) {
            let entries = records.iter().map(|(key, data)| {
                let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.clone()));
                entry.set_explicit_hash_key(hash_key.map(|key| key.to_string())).build().expect("key and data are set")
            });
            let request = self.client.put_records().stream_name(name).set_records(Some(entries.collect()));
            let output = request.send().await.expect("written");
            assert_eq!(output.failed_record_count.unwrap_or_default(), 0, "{output:?}");
        }
    }

    /// Splits a shard at a hash key, which the upper child owns.
    ///
    /// # Panics
    /// The endpoint refuses.
    pub async fn split(&self, name: &str, shard: &str, at: u128) {
        let request = self.client.split_shard().stream_name(name).shard_to_split(shard);
        request.new_starting_hash_key(at.to_string()).send().await.expect("split");
        self.until_active(name).await;
    }

    /// Splits a shard in two halves.
    ///
    /// # Panics
    /// The endpoint refuses, or told no range of the shard.
    pub async fn halve(&self, name: &str, shard: &ShardDescription) {
        let range = shard.range.expect("Kinesis tells every shard's range");
        self.split(name, shard.id.as_str(), range.start + (range.end - range.start) / 2 + 1).await;
    }

    /// Merges two neighbours.
    ///
    /// # Panics
    /// The endpoint refuses.
    pub async fn merge(&self, name: &str, shard: &str, adjacent: &str) {
        let request = self.client.merge_shards().stream_name(name).shard_to_merge(shard);
        request.adjacent_shard_to_merge(adjacent).send().await.expect("merged");
        self.until_active(name).await;
    }

    /// Changes the number of open shards (`UpdateShardCount`, uniform).
    ///
    /// # Errors
    /// The endpoint refuses, in its words.
    pub async fn resize(&self, name: &str, shards: i32) -> Result<(), String> {
        let request = self.client.update_shard_count().stream_name(name).target_shard_count(shards);
        let sent = request.scaling_type(ScalingType::UniformScaling).send().await;
        sent.map_err(|error| DisplayErrorContext(error).to_string())?;
        self.until_active(name).await;
        Ok(())
    }

    async fn until_active(&self, name: &str) {
        for _ in 0..STATUS_LOOKS_MAX {
            let output = self.client.describe_stream_summary().stream_name(name).send().await.expect("described");
            let summary = output.stream_description_summary.expect("a description");
            if summary.stream_status == StreamStatus::Active {
                return;
            }
        }
        panic!("stream {name} did not become active");
    }
}

/// The ARN of a stream of an endpoint of this machine.
///
/// # Panics
/// The name is none that a stream can have.
#[must_use]
pub fn arn(name: &str) -> StreamArn {
    StreamArn::parse(&format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}")).expect("a stream's name")
}
