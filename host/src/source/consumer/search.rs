//! One search for the consumer: the calls that the core asks for, and what is told meanwhile.

use std::time::Duration;

use host_core::moment::Moment;
use host_core::patience::{Phase, Spell};
use host_core::registration::{Answer, Registration, Step};

use super::{Consumer, ConsumerError, error, status_name};
use crate::ports::ConsumerDescription;
use crate::source::classify::{SourceError, SourceErrorKind};
use crate::source::health::{Health, Subject};
use crate::state::RegisteredConsumer;

/// A consumer that takes this long is worth a word.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// What one search has seen.
pub(super) struct Search {
    pub(super) began: Moment,
    phase: Phase,
    waits: u32,
    is_told: bool,
    /// The consumer, as it was shown last.
    found: Option<ConsumerDescription>,
    /// What the stream's consumers are called, once they were counted.
    pub(super) others: Vec<String>,
    /// The last error, until a call succeeds.
    pub(super) error: Option<SourceError>,
}

/// Takes the search off the board however it ends, abandoned by its caller among that.
struct OnBoard<'a> {
    health: &'a Health,
    subject: &'a Subject,
}

impl Drop for OnBoard<'_> {
    fn drop(&mut self) {
        self.health.gone(self.subject);
    }
}

impl Consumer {
    /// Searches until there is an active consumer or patience ends, and keeps `noted` true meanwhile.
    pub(super) async fn search(
        &self,
        phase: Phase,
        noted: &mut Option<RegisteredConsumer>,
    ) -> Result<ConsumerDescription, ConsumerError> {
        let _on_board = OnBoard { health: &self.health, subject: &self.subject };
        let mut registration = self.registration(phase, noted.as_ref());
        let found = self.follow(&mut registration, phase, noted).await;
        if found.is_err()
            && !registration.may_be_ours()
            && noted.as_ref().is_some_and(|noted| noted.arn.is_none())
            && let Err(error) = self.note(noted, None).await
        {
            // An intention that stays would make the next consumer of this name ours, whoever registers it.
            tracing::warn!(%error, "the intention to register {} stays noted", self.described());
        }
        found
    }

    async fn follow(
        &self,
        registration: &mut Registration,
        phase: Phase,
        noted: &mut Option<RegisteredConsumer>,
    ) -> Result<ConsumerDescription, ConsumerError> {
        let began = self.clock.now();
        let mut search =
            Search { began, phase, waits: 0, is_told: false, found: None, others: Vec::new(), error: None };
        let mut step = Step::Describe;
        loop {
            let answer = match step {
                Step::Describe => self.describe(&mut search).await?,
                Step::Register => self.register(&mut search, noted).await?,
                Step::CountConsumers => self.count(&mut search).await?,
                Step::Wait(until) => {
                    self.tell(&mut search);
                    self.clock.wait_until(until).await;
                    step = Step::Describe;
                    continue;
                }
                Step::Ready { registered_by_us } => return self.ready(search, registered_by_us, noted).await,
                Step::GiveUp(reason) => return Err(self.refusal(reason, search)),
            };
            step = registration.answered(self.clock.now(), answer, fastrand::f64());
        }
    }

    async fn describe(&self, search: &mut Search) -> Result<Answer, ConsumerError> {
        match self.api.describe_consumer(self.key()).await {
            Ok(found) => {
                (search.found, search.error) = (found, None);
                Ok(Answer::Described(search.found.as_ref().map(|found| found.status)))
            }
            Err(error) if error.kind == SourceErrorKind::ConsumerGone => {
                (search.found, search.error) = (None, None);
                Ok(Answer::Described(None))
            }
            Err(error) => self.failed(error, search),
        }
    }

    async fn register(
        &self,
        search: &mut Search,
        noted: &mut Option<RegisteredConsumer>,
    ) -> Result<Answer, ConsumerError> {
        let name = self.name();
        self.note(noted, Some(RegisteredConsumer { name: name.to_owned(), arn: None })).await?;
        match self.api.register_consumer(name).await {
            Ok(registered) => {
                let arn = Some(registered.arn.clone());
                self.note(noted, Some(RegisteredConsumer { name: name.to_owned(), arn })).await?;
                self.tell_registered(search.phase);
                let status = registered.status;
                (search.found, search.error) = (Some(registered), None);
                Ok(Answer::Registered(status))
            }
            Err(error) if error.kind == SourceErrorKind::InUse => {
                self.health.retries.count(error.kind);
                search.error = Some(error);
                Ok(Answer::Exists)
            }
            Err(error) if error.kind == SourceErrorKind::Throttled => {
                self.health.retries.count(error.kind);
                search.error = Some(error);
                Ok(Answer::TooMany)
            }
            Err(error) => self.failed(error, search),
        }
    }

    async fn count(&self, search: &mut Search) -> Result<Answer, ConsumerError> {
        match self.api.list_consumers().await {
            // What registering said stays: it is what patience may end with.
            Ok(consumers) => {
                let deleting = consumers.iter().filter(|consumer| status_name(consumer.status) == "DELETING").count();
                search.others = consumers.into_iter().map(|consumer| consumer.name).collect();
                Ok(Answer::Counted { registered: search.others.len(), deleting })
            }
            Err(error) => self.failed(error, search),
        }
    }

    fn failed(&self, error: SourceError, search: &mut Search) -> Result<Answer, ConsumerError> {
        let Some(trouble) = error.kind.trouble() else { return Err(self.refused(error)) };
        if search.phase == Phase::Starting && error::is_unsupported(&error) {
            return Err(self.refused(error));
        }
        self.health.retries.count(error.kind);
        search.error = Some(error);
        Ok(Answer::Failed(trouble))
    }

    async fn ready(
        &self,
        search: Search,
        registered_by_us: bool,
        noted: &mut Option<RegisteredConsumer>,
    ) -> Result<ConsumerDescription, ConsumerError> {
        // Only what was shown as active is ready.
        let Some(found) = search.found else { return Err(self.not_found()) };
        if self.is_managed() && noted.as_ref().is_none_or(|noted| noted.name == self.name()) {
            let is_noted = noted.as_ref().is_some_and(|noted| noted.arn.as_ref() == Some(&found.arn));
            let ours = RegisteredConsumer { name: self.name().to_owned(), arn: Some(found.arn.clone()) };
            self.note(noted, (is_noted || registered_by_us).then_some(ours)).await?;
        }
        if search.is_told {
            let lasted = self.clock.now().since(search.began);
            self.health.succeeded(&self.subject, Some(Spell { attempts: search.waits, lasted }));
        }
        Ok(found)
    }

    fn tell_registered(&self, phase: Phase) {
        let (stream, name) = (self.stream.name(), self.name());
        match phase {
            Phase::Starting => tracing::info!(stream, "consumer {name:?} is registered"),
            Phase::Running => {
                self.registered_again.add(1);
                tracing::warn!(
                    stream,
                    "consumer {name:?} was deregistered while the pipeline was reading with it, and is registered again; nothing \
                     was skipped"
                );
            }
        }
    }

    /// Tells once that this takes longer than it should.
    fn tell(&self, search: &mut Search) {
        search.waits += 1;
        let lasted = self.clock.now().since(search.began);
        let status = search.found.as_ref().map(|found| status_name(found.status));
        // Who waits for somebody else's doing says so at once.
        let is_missing = search.error.is_none() && status.is_none() && !self.is_managed();
        if search.is_told || !(is_missing || lasted >= TOLD_AFTER) {
            return;
        }
        search.is_told = true;
        let (class, what) = match (&search.error, status) {
            (Some(error), _) => (error.kind.name(), error.to_string()),
            (None, Some(status)) => ("consumer not active", format!("it is {status}")),
            (None, None) => ("consumer gone", self.not_found().to_string()),
        };
        if self.health.waits(&self.subject, class) {
            tracing::warn!(reason = what, "{} goes on; positions stay where they are", self.subject);
        }
    }
}
