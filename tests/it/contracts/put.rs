//! The contract of streams that are written to: on the fake, on the simulated AWS, and on the crate that the embedded
//! endpoint is made of.

use std::sync::Arc;

use ferrokinesis::store::StoreOptions;
use host::ports::{PutApi, StreamApi};
use host::source::kinesis::KinesisStream;
use host::source::memory::MemoryStream;
use tests::deviations::BackendName;
use tests::ferro::Ferro;
use tests::put_contract;
use tests::put_contract::{PutBackend, Rates};
use tests::simulated::{Clock, Limits, Setup, SimulatedAws};

const STREAM: &str = "quakes";
const SECOND_OF_A_SHARD: u64 = 1_048_576;

struct Memory(MemoryStream);

impl PutBackend for Memory {
    const NAME: BackendName = BackendName::Memory;

    async fn start(shards: u32, rates: Rates) -> Self {
        let stream = MemoryStream::new(STREAM, shards).as_target();
        stream.limit_shards((rates == Rates::OfAShard).then_some(SECOND_OF_A_SHARD));
        Self(stream)
    }

    fn put(&self) -> &dyn PutApi {
        &self.0
    }

    fn stream(&self) -> &dyn StreamApi {
        &self.0
    }

    async fn of_missing_stream(&self) -> Arc<dyn PutApi> {
        let other = MemoryStream::new("missing", 1);
        other.delete();
        Arc::new(other)
    }
}

/// A stream of a service that stays up as long as this lives.
struct Served<S> {
    service: S,
    stream: KinesisStream,
}

impl PutBackend for Served<SimulatedAws> {
    const NAME: BackendName = BackendName::Simulated;

    async fn start(shards: u32, rates: Rates) -> Self {
        let limits = match rates {
            Rates::Any => Limits::any_rate(),
            // Only writing is to be scarce.
            Rates::OfAShard => Limits { write_bytes: SECOND_OF_A_SHARD, write_records: 1000, ..Limits::any_rate() },
        };
        let clock = Clock::frozen_at(1_800_000_000_000);
        let service = SimulatedAws::start_with(Setup { clock, limits, seed: 0 }).await;
        service.kinesis().create(STREAM, shards);
        let stream = service.stream(STREAM).await.as_target();
        Self { service, stream }
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

impl PutBackend for Served<Ferro> {
    const NAME: BackendName = BackendName::Ferrokinesis;

    async fn start(shards: u32, rates: Rates) -> Self {
        let options = StoreOptions { enforce_limits: rates == Rates::OfAShard, ..StoreOptions::default() };
        let service = Ferro::start_with(options).await;
        service.create(STREAM, i32::try_from(shards).expect("few")).await;
        let stream = service.stream(STREAM).await.as_target();
        Self { service, stream }
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

put_contract! {
    in_memory = super::Memory,
    over_the_simulation = super::Served<super::SimulatedAws>,
    over_ferrokinesis = super::Served<super::Ferro>,
}
