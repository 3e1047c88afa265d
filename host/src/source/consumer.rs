//! The consumer of enhanced fan-out that one stream is read with.
//!
//! What to do, [`host_core::registration`] decides; this performs it, once at the start and again whenever a reader finds
//! that the service does not know the consumer any more. All readers of a stream find that out together: one of them
//! looks, and the others get its answer.
//!
//! A consumer costs money for as long as it is registered, so what a pipeline registers, a graceful stop deregisters. It
//! must not touch one that was there before, though: others may read with it. Which of the two it is, is noted in the
//! store of positions, because a crash may lie between a registration and the stop. The intention is noted before the
//! call, the ARN after it. A consumer is the pipeline's own if it has the noted ARN, or if there is only the intention: then
//! the call happened, and its answer was lost.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use host_core::patience::{Phase, RetryLimits};
use host_core::registration::{ConsumerStatus, Reason, Registration};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::config::{Consumers, Lifecycle, StreamArn};
use crate::pipeline::failure::Failure;
use crate::pipeline::totals::Counter;
use crate::ports::{ConsumerKey, FanOutApi};
use crate::source::classify::{Place, SourceError, SourceErrorKind};
use crate::source::health::{Health, Purpose, Subject};
use crate::state::RegisteredConsumer;

mod error;
mod leave;
mod search;

pub use error::ConsumerError;
use search::Search;

/// Remembers which consumer is the pipeline's own, `None` if none is, and returns once that is durable.
pub type Note = Arc<dyn Fn(Option<RegisteredConsumer>) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// What a managed consumer needs.
const RIGHTS_MANAGED: &str = "kinesis:DescribeStreamConsumer, RegisterStreamConsumer, ListStreamConsumers, \
     DeregisterStreamConsumer and SubscribeToShard on the stream and its consumers";
/// What a self-managed one needs.
const RIGHTS_SELF_MANAGED: &str = "kinesis:DescribeStreamConsumer and SubscribeToShard on the stream and its consumers";

/// What became of a consumer that the service does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there and active: what the service does not know is something else.
    Same,
    /// There is another one now: [`Consumer::arn`] tells it.
    Another,
}

/// What a stream is enrolled with.
pub struct Enrolment {
    /// How the service is asked.
    pub api: Arc<dyn FanOutApi>,
    /// The stream.
    pub stream: StreamArn,
    /// Where it is.
    pub place: Place,
    /// Its index in the manifest.
    pub index: usize,
    /// Who registers consumers.
    pub lifecycle: Lifecycle,
    /// How long a consumer is waited for (`describe_retry`).
    pub describe_retry: RetryLimits,
    /// What the store of positions holds: [`crate::state::StreamState::consumer`].
    pub noted: Option<RegisteredConsumer>,
    /// Writes there.
    pub note: Note,
    /// Where trouble is told.
    pub health: Arc<Health>,
    /// The host's clock.
    pub clock: Clock,
}

/// The consumer of one stream, shared by the readers of all of its shards.
pub struct Consumer {
    api: Arc<dyn FanOutApi>,
    stream: StreamArn,
    place: Place,
    wanted: Wanted,
    describe_retry: RetryLimits,
    note: Note,
    health: Arc<Health>,
    subject: Subject,
    clock: Clock,
    present: RwLock<Arc<str>>,
    /// Searches that have ended.
    searches: AtomicU64,
    /// Held by who searches.
    latest: Mutex<Latest>,
    registered_again: Counter,
}

/// Which consumer it shall be.
#[derive(Clone, Debug)]
enum Wanted {
    Managed { name: String, keep: bool },
    Named(String),
    Arn(String),
}

/// What the latest search left.
#[derive(Debug, Default)]
struct Latest {
    answer: Option<Result<Found, ConsumerError>>,
    /// What the store holds.
    noted: Option<RegisteredConsumer>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, wanted, present, .. } = self;
        f.debug_struct("Consumer")
            .field("stream", &stream.as_str())
            .field("wanted", wanted)
            .field("present", present)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Finds the consumer, or registers it, and waits until it is active. The stream must have its start in the store.
    ///
    /// # Errors
    /// There is no consumer to be had: see [`ConsumerError::leaves_polling`].
    pub async fn enrol(enrolment: Enrolment) -> Result<Self, ConsumerError> {
        let Enrolment { api, stream, place, index, lifecycle, describe_retry, noted, note, health, clock } = enrolment;
        let wanted = match lifecycle {
            Lifecycle::Managed { name, keep, deregister_timeout: _ } => Wanted::Managed { name, keep },
            Lifecycle::SelfManaged(Consumers::Named(name)) => Wanted::Named(name),
            Lifecycle::SelfManaged(Consumers::Arns(arns)) => {
                Wanted::Arn(arns.get(index).expect("a manifest names one for each of its streams").to_string())
            }
        };
        let subject = Subject { stream: stream.name().to_owned(), purpose: Purpose::Enrolling };
        let consumer = Self {
            api,
            stream,
            place,
            wanted,
            describe_retry,
            note,
            health,
            subject,
            clock,
            present: RwLock::new(Arc::from("")),
            searches: AtomicU64::new(0),
            latest: Mutex::default(),
            registered_again: Counter::default(),
        };
        consumer.tell_leftover(noted.as_ref());
        let mut latest = consumer.latest.lock().await;
        latest.noted = noted;
        let found = consumer.search(Phase::Starting, &mut latest.noted).await?;
        drop(latest);
        consumer.set_present(&found.arn);
        Ok(consumer)
    }

    /// `ConsumerARN`, as it is now.
    #[must_use]
    pub fn arn(&self) -> Arc<str> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Times that a consumer which had vanished was registered again.
    #[must_use]
    pub fn registered_again(&self) -> u64 {
        self.registered_again.get()
    }

    /// The service says that it does not know `arn`, or something else that was asked for together with it. Finds out what
    /// is missing, once for all who ask at the same time, and registers the consumer again if that is ours to do.
    ///
    /// # Errors
    /// There is no consumer, and nobody makes one.
    pub async fn missing(&self, arn: &str) -> Result<Found, Failure> {
        let before = self.searches.load(Ordering::Acquire);
        if *self.arn() != *arn {
            return Ok(Found::Another);
        }
        let mut latest = self.latest.lock().await;
        if *self.arn() != *arn {
            return Ok(Found::Another);
        }
        if self.searches.load(Ordering::Acquire) != before
            && let Some(answer) = &latest.answer
        {
            return Ok(answer.clone()?);
        }
        let answer = match self.search(Phase::Running, &mut latest.noted).await {
            Ok(found) if found.arn == arn => Ok(Found::Same),
            Ok(found) => {
                self.set_present(&found.arn);
                Ok(Found::Another)
            }
            Err(error) => Err(error),
        };
        latest.answer = Some(answer.clone());
        self.searches.fetch_add(1, Ordering::Release);
        Ok(answer?)
    }

    fn set_present(&self, arn: &str) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::from(arn);
    }

    /// Another consumer that the pipeline registered under an older manifest: nothing deregisters it from here on.
    fn tell_leftover(&self, noted: Option<&RegisteredConsumer>) {
        if let (Wanted::Managed { name, .. }, Some(old)) = (&self.wanted, noted)
            && old.name != *name
        {
            tracing::warn!(
                stream = self.stream.name(),
                "the pipeline registered consumer {:?} earlier and now uses {name:?}; deregister the old one if nobody reads \
                 with it: `{}`",
                old.name,
                self.deregister_command(&old.name)
            );
        }
    }

    /// A registration that goes on from what is noted.
    fn registration(&self, phase: Phase, noted: Option<&RegisteredConsumer>) -> Registration {
        let is_intended = noted.is_some_and(|noted| noted.name == self.name() && noted.arn.is_none());
        Registration::new(self.describe_retry, phase, self.is_managed(), is_intended)
    }

    fn key(&self) -> ConsumerKey<'_> {
        match &self.wanted {
            Wanted::Managed { name, .. } | Wanted::Named(name) => ConsumerKey::Name(name),
            Wanted::Arn(arn) => ConsumerKey::Arn(arn),
        }
    }

    fn is_managed(&self) -> bool {
        matches!(self.wanted, Wanted::Managed { .. })
    }

    /// Notes `consumer`, unless that is what the store holds already.
    async fn note(
        &self,
        noted: &mut Option<RegisteredConsumer>,
        consumer: Option<RegisteredConsumer>,
    ) -> Result<(), ConsumerError> {
        if *noted == consumer {
            return Ok(());
        }
        let written = (self.note)(consumer.clone()).await;
        written.map_err(|source| ConsumerError::Unnoted {
            consumer: self.described(),
            stream: self.stream.name().to_owned(),
            source: Arc::new(source),
        })?;
        *noted = consumer;
        Ok(())
    }

    /// As part of a sentence.
    fn described(&self) -> String {
        match &self.wanted {
            Wanted::Managed { name, .. } | Wanted::Named(name) => format!("consumer {name:?}"),
            Wanted::Arn(arn) => format!("the consumer with ARN {arn}"),
        }
    }

    /// An `aws kinesis` command for this stream's place.
    fn command(&self, what: &str) -> String {
        let region = &self.place.region;
        match &self.place.endpoint {
            Some(endpoint) => format!("aws kinesis {what} --region {region} --endpoint-url {endpoint}"),
            None => format!("aws kinesis {what} --region {region}"),
        }
    }

    fn deregister_command(&self, name: &str) -> String {
        let arn = self.stream.as_str();
        self.command(&format!("deregister-stream-consumer --stream-arn {arn} --consumer-name {name}"))
    }

    /// Why the search gave up.
    fn refusal(&self, reason: Reason, search: Search) -> ConsumerError {
        let (consumer, stream) = (self.described(), self.stream.name().to_owned());
        let waited = Duration::from_secs(self.clock.now().since(search.began).as_secs());
        let stuck = |status| {
            let name = match self.key() {
                ConsumerKey::Name(name) => format!("--stream-arn {} --consumer-name {name}", self.stream.as_str()),
                ConsumerKey::Arn(arn) => format!("--consumer-arn {arn}"),
            };
            let command = self.command(&format!("describe-stream-consumer {name}"));
            ConsumerError::Stuck { consumer: consumer.clone(), stream: stream.clone(), status, waited, command }
        };
        match reason {
            Reason::NotFound => self.not_found(),
            Reason::LimitReached => ConsumerError::LimitReached {
                name: self.name().to_owned(),
                registered: search.others.len(),
                command: self.deregister_command("NAME"),
                consumers: search.others,
                stream,
            },
            Reason::StillCreating => stuck("CREATING"),
            Reason::StillDeleting => stuck("DELETING"),
            Reason::Failed => match search.error {
                Some(error) => self.refused(error),
                // Nothing but an error leads here; were it otherwise, the consumer would be what is in the way.
                None => stuck("CREATING"),
            },
        }
    }

    /// A call that is not made again.
    fn refused(&self, error: SourceError) -> ConsumerError {
        let (consumer, stream, source) = (self.described(), self.stream.name().to_owned(), Box::new(error));
        if source.kind == SourceErrorKind::Denied {
            let rights = if self.is_managed() { RIGHTS_MANAGED } else { RIGHTS_SELF_MANAGED };
            return ConsumerError::Denied { consumer, stream, rights, source };
        }
        if error::is_unsupported(&source) {
            let region = &self.place.region;
            let endpoint = self.place.endpoint.clone().unwrap_or_else(|| format!("the Kinesis endpoint of {region}"));
            return ConsumerError::Unsupported { consumer, stream, endpoint, source };
        }
        ConsumerError::Call(source)
    }

    fn not_found(&self) -> ConsumerError {
        let register =
            format!("register-stream-consumer --stream-arn {} --consumer-name {}", self.stream.as_str(), self.name());
        let or_else = match self.wanted {
            Wanted::Managed { .. } | Wanted::Named(_) => {
                ", or set source.efo.lifecycle = \"managed\" and the pipeline does that itself"
            }
            Wanted::Arn(_) => " and put the ARN of the answer into the manifest: each registration gives another one",
        };
        ConsumerError::NotFound {
            consumer: self.described(),
            stream: self.stream.name().to_owned(),
            region: self.place.region.clone(),
            command: self.command(&register),
            or_else,
        }
    }

    /// `ConsumerName`; that of an ARN stands between `/consumer/` and the last colon.
    fn name(&self) -> &str {
        match &self.wanted {
            Wanted::Managed { name, .. } | Wanted::Named(name) => name,
            Wanted::Arn(arn) => {
                let name = arn.rsplit_once("/consumer/").map_or(arn.as_str(), |(_, name)| name);
                name.rsplit_once(':').map_or(name, |(name, _)| name)
            }
        }
    }
}

/// The status as the API writes it.
const fn status_name(status: ConsumerStatus) -> &'static str {
    match status {
        ConsumerStatus::Creating => "CREATING",
        ConsumerStatus::Active => "ACTIVE",
        ConsumerStatus::Deleting => "DELETING",
    }
}

#[cfg(test)]
mod tests;
