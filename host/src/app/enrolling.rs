//! How each stream's records are going to be fetched: what the manifest asks for, as far as it is to be had.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use host_core::patience::RetryLimits;
use host_core::reading::Pace;

use crate::app::assemble::{Begun, FoundStream};
use crate::clock::Clock;
use crate::config::{Efo, Manifest, Polling, Reader};
use crate::pipeline::failure::Failure;
use crate::pipeline::positions::Positions;
use crate::pipeline::{FanOut, Retrieval, Totals};
use crate::source::consumer::{Consumer, ConsumerError, Enrolment};
use crate::state::{Claimed, RegisteredConsumer};

/// What consumers are found or registered with. The positions are ours already, since what is registered is noted there.
pub(super) struct Enrolling<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) claimed: &'a Claimed,
    pub(super) positions: &'a Positions,
    pub(super) clock: Clock,
    pub(super) totals: &'a Totals,
}

impl Enrolling<'_> {
    /// Of every stream, all at the same time.
    pub(super) async fn all(&self, streams: &[FoundStream], begun: &[Begun]) -> Result<Vec<Retrieval>, Failure> {
        let each = streams.iter().zip(begun).enumerate();
        try_join_all(each.map(|(index, (found, begun))| self.one(index, found, begun))).await
    }

    async fn one(&self, index: usize, found: &FoundStream, begun: &Begun) -> Result<Retrieval, Failure> {
        let (efo, polling) = match &self.manifest.source.reader {
            Reader::Polling(polling) => {
                self.tell_unused(found, begun);
                return Ok(Retrieval::Polling(pace(polling)));
            }
            Reader::Efo(efo) => (efo, None),
            Reader::Auto(efo, polling) => (efo, Some(polling)),
        };
        match (self.enrol(efo, index, found, begun).await, polling) {
            (Ok(consumer), _) => {
                tracing::info!(stream = found.place.stream, consumer = %consumer.arn(), "reading by enhanced fan-out");
                Ok(Retrieval::FanOut(FanOut {
                    api: Arc::clone(&found.fan_out),
                    consumer: Arc::new(consumer),
                    subscription_timeout: efo.subscription_timeout,
                }))
            }
            (Err(error), Some(polling)) if error.leaves_polling() => {
                tracing::warn!(
                    stream = found.place.stream,
                    %error,
                    "reading by polling, as reader = \"auto\" says: enhanced fan-out is not to be had"
                );
                Ok(Retrieval::Polling(pace(polling)))
            }
            (Err(error), _) => Err(Failure::Consumer(error)),
        }
    }

    /// What the pipeline registered on a stream, as far as the store knows.
    fn noted(&self, begun: &Begun) -> Option<&RegisteredConsumer> {
        self.claimed.streams.iter().find(|stream| stream.identity == begun.identity)?.consumer.as_ref()
    }

    /// A consumer of an earlier manifest costs money until somebody deregisters it.
    fn tell_unused(&self, found: &FoundStream, begun: &Begun) {
        if let Some(consumer) = self.noted(begun) {
            tracing::warn!(
                stream = found.place.stream,
                "the pipeline registered consumer {:?} earlier and now reads by polling; stop it once with reader = \"efo\" and \
                 it is deregistered, or do that by hand: `aws kinesis deregister-stream-consumer --stream-arn {} \
                 --consumer-name {} --region {}`",
                consumer.name,
                begun.identity.arn,
                consumer.name,
                found.place.region
            );
        }
    }

    async fn enrol(
        &self,
        efo: &Efo,
        index: usize,
        found: &FoundStream,
        begun: &Begun,
    ) -> Result<Consumer, ConsumerError> {
        Consumer::enrol(Enrolment {
            api: Arc::clone(&found.fan_out),
            stream: self.manifest.source.streams[index].clone(),
            place: found.place.clone(),
            index,
            lifecycle: efo.lifecycle.clone(),
            describe_retry: RetryLimits::from(&efo.describe_retry),
            noted: self.noted(begun).cloned(),
            note: self.positions.note_consumer(index),
            health: Arc::clone(&self.totals.health),
            clock: self.clock,
        })
        .await
    }
}

fn pace(polling: &Polling) -> Pace {
    Pace {
        max_calls_per_second: polling.max_calls_per_second,
        max_bytes_per_second: polling.max_bytes_per_second,
        empty_interval: polling.empty_interval,
        max_records: polling.max_records,
    }
}

/// Time for deregistering consumers at a graceful stop.
pub(super) fn deregister_timeout(manifest: &Manifest) -> Duration {
    use crate::config::Lifecycle;
    match &manifest.source.reader {
        Reader::Efo(efo) | Reader::Auto(efo, _) => match efo.lifecycle {
            Lifecycle::Managed { deregister_timeout, .. } => deregister_timeout,
            Lifecycle::SelfManaged(_) => Duration::ZERO,
        },
        Reader::Polling(_) => Duration::ZERO,
    }
}
