//! A stream of a service that is reached over loopback, for the contract of streams.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ferrokinesis::shard_iterator::create_shard_iterator;
use host::aws::AwsSettings;
use host::ports::{FanOutApi, PutApi, ShardIterator, StreamApi};
use host::source::kinesis::KinesisStream;
use host_core::shard::{HashRange, ShardDescription, ShardId};

use crate::deviations::BackendName;
use crate::fan_out_contract::FanOutBackend;
use crate::put_contract::{PutBackend, Rates};
use crate::service::{Service, arn};
use crate::stream_contract::Backend;

/// How long a call may take: some services need long for the largest requests, and seconds of a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where streams of a backend are.
pub trait Provider {
    /// What the list of deviations calls it.
    const NAME: BackendName;
    /// What keeps the service up.
    type Held: Debug;

    /// A running service, which other tests may use as well.
    fn serve() -> impl Future<Output = (Service, Self::Held)>;
}

/// A stream of its own on a service.
#[derive(Debug)]
pub struct Remote<P: Provider> {
    service: Service,
    name: String,
    stream: KinesisStream,
    _held: P::Held,
}

/// A name that no other stream of this process has.
#[must_use]
pub fn stream_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl<P: Provider> Backend for Remote<P> {
    const NAME: BackendName = P::NAME;

    async fn start(shards: u32) -> Self {
        let (service, held) = P::serve().await;
        let name = stream_name("quakes");
        service.create(&name, i32::try_from(shards).expect("few")).await;
        let stream = service.stream(&name).await;
        Self { service, name, stream, _held: held }
    }

    fn stream(&self) -> &str {
        &self.name
    }

    fn api(&self) -> &dyn StreamApi {
        &self.stream
    }

    async fn of_missing_stream(&self) -> Arc<dyn StreamApi> {
        Arc::new(self.service.stream("missing").await)
    }

    async fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) {
        self.service.put(&self.name, Some(range.start), records).await;
    }

    async fn split(&self, shard: &ShardDescription) {
        self.service.halve(&self.name, shard).await;
    }

    async fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) {
        self.service.merge(&self.name, shard.id.as_str(), adjacent.id.as_str()).await;
    }

    async fn expired_iterator(&self, shard: &ShardId) -> ShardIterator {
        // The text that all these services give out, made a second after the epoch.
        let first = "49590338271490256608559692538361571095921575989136588898";
        ShardIterator(create_shard_iterator(&self.name, shard.as_str(), first, 1_000))
    }
}

impl<P: Provider> FanOutBackend for Remote<P> {
    fn fan_out(&self) -> &dyn FanOutApi {
        &self.stream
    }
}

impl<P: Provider> PutBackend for Remote<P> {
    const NAME: BackendName = P::NAME;

    /// Shards take what the service lets them take: none of these can be told.
    async fn start(shards: u32, _: Rates) -> Self {
        let remote = <Self as Backend>::start(shards).await;
        let access = AwsSettings::local("us-east-1", &remote.service.endpoint).access().await.within(PATIENCE);
        let stream = KinesisStream::new(access.kinesis(), arn(&remote.name), access.settings());
        Self { stream: stream.as_target(), ..remote }
    }

    fn put(&self) -> &dyn PutApi {
        &self.stream
    }

    fn stream(&self) -> &dyn StreamApi {
        &self.stream
    }

    async fn of_missing_stream(&self) -> Arc<dyn PutApi> {
        Arc::new(self.service.stream("missing").await.as_target())
    }
}
