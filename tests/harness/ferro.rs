//! The embedded Kinesis endpoint, served on loopback inside the test process.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use axum::extract::DefaultBodyLimit;
use ferrokinesis::create_app;
use ferrokinesis::store::StoreOptions;
use host::aws::AwsSettings;
use host::config::StreamArn;
use host::source::kinesis::KinesisStream;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What one request may hold: the largest `PutRecords`, base64 and framing included.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What `PutRecords` takes at most.
const PUT_RECORDS_MAX: usize = 500;
/// How often a change of a stream's status is looked for: each look is a call over loopback.
const STATUS_LOOKS_MAX: usize = 10_000;

/// An endpoint of its own, gone with this value.
#[derive(Debug)]
pub struct Ferro {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    /// The SDK's own client, for what the host never does.
    pub client: Client,
    server: JoinHandle<()>,
}

impl Drop for Ferro {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Ferro {
    /// Starts an endpoint whose streams change without delay.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start() -> Self {
        Self::start_with(StoreOptions::default()).await
    }

    /// Starts an endpoint with options, except that its streams change without delay and may have any number of shards.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start_with(options: StoreOptions) -> Self {
        let options = StoreOptions {
            create_stream_ms: 0,
            delete_stream_ms: 0,
            update_stream_ms: 0,
            shard_limit: 100_000,
            ..options
        };
        let (app, _store) = create_app(options);
        let app = app.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the listener stays open") });
        let client = AwsSettings::local("us-east-1", &endpoint).kinesis().await;
        Self { endpoint, client, server }
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

    /// Merges two neighbours.
    ///
    /// # Panics
    /// The endpoint refuses.
    pub async fn merge(&self, name: &str, shard: &str, adjacent: &str) {
        let request = self.client.merge_shards().stream_name(name).shard_to_merge(shard);
        request.adjacent_shard_to_merge(adjacent).send().await.expect("merged");
        self.until_active(name).await;
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

/// The ARN of a stream of the endpoint.
///
/// # Panics
/// The name is none that a stream can have.
#[must_use]
pub fn arn(name: &str) -> StreamArn {
    StreamArn::parse(&format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}")).expect("a stream's name")
}
