//! The contract of streams, on the fake and on the crate that the embedded endpoint is made of.

use std::sync::Arc;

use host::ports::{ShardIterator, StreamApi};
use host::source::memory::MemoryStream;
use host_core::shard::{HashRange, Position, ShardDescription, ShardId};
use tests::deviations::BackendName;
use tests::ferro::Ferro;
use tests::remote::{Provider, Remote};
use tests::service::Service;
use tests::stream_contract;
use tests::stream_contract::Backend;

const STREAM: &str = "quakes";

pub(super) struct Memory(pub(super) MemoryStream);

impl Backend for Memory {
    const NAME: BackendName = BackendName::Memory;

    async fn start(shards: u32) -> Self {
        Self(MemoryStream::new(STREAM, shards))
    }

    fn stream(&self) -> &str {
        STREAM
    }

    fn api(&self) -> &dyn StreamApi {
        &self.0
    }

    async fn of_missing_stream(&self) -> Arc<dyn StreamApi> {
        let other = MemoryStream::new("missing", 1);
        other.delete();
        Arc::new(other)
    }

    async fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) {
        let owns = |shard: &ShardDescription| {
            !shard.closed && shard.range.is_some_and(|owned| owned.start <= range.start && range.start <= owned.end)
        };
        let shard = self.0.shards().into_iter().find(owns).expect("an open shard owns every key");
        for (key, data) in records {
            self.0.put_to(&shard.id, key, data);
        }
    }

    async fn split(&self, shard: &ShardDescription) {
        self.0.split(&shard.id);
    }

    async fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) {
        self.0.merge(&shard.id, &adjacent.id);
    }

    async fn expired_iterator(&self, shard: &ShardId) -> ShardIterator {
        let iterator = self.0.open(shard, &Position::TrimHorizon).await.expect("an iterator");
        self.0.expire_iterators();
        iterator
    }
}

/// Without the host's mending.
pub(super) struct Raw;

impl Provider for Raw {
    const NAME: BackendName = BackendName::Ferrokinesis;
    type Held = Ferro;

    async fn serve() -> (Service, Ferro) {
        let ferro = Ferro::start().await;
        ((*ferro).clone(), ferro)
    }
}

pub(super) type Ferrokinesis = Remote<Raw>;

stream_contract! { in_memory = super::Memory, over_ferrokinesis = super::Ferrokinesis }
