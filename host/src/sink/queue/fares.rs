//! How a sink's requests fare, for people: a struggle is told once, and so is its end.
//!
//! The engine's patience knows of requests that fail as a whole. A service that answers every request and takes nothing
//! struggles just the same, and to whoever reads the log both are one thing.

use std::sync::Arc;

use host_core::moment::Moment;
use host_core::patience::{self, Patience, Phase, RetryLimits, Trouble, Verdict};

use crate::source::classify::SourceError;
use crate::source::health::{Health, Purpose, Subject};

/// See the module.
pub(in crate::sink) struct Fares {
    subject: Subject,
    patience: Patience,
    health: Arc<Health>,
}

impl Fares {
    pub(in crate::sink) fn new(sink: &str, limits: RetryLimits, health: Arc<Health>) -> Self {
        let subject = Subject { stream: sink.to_owned(), purpose: Purpose::Writing };
        Self { subject, patience: Patience::new(limits, Phase::Running), health }
    }

    /// The service took something.
    pub(in crate::sink) fn taken(&mut self, now: Moment) {
        self.health.succeeded(&self.subject, self.patience.succeeded(now));
    }

    /// A request failed and is repeated.
    pub(in crate::sink) fn failed(&mut self, now: Moment, trouble: Trouble, error: &SourceError) {
        let verdict = self.patience.failed(now, trouble, 1.0);
        self.health.failed(&self.subject, error, verdict);
    }

    /// A request was not answered in time.
    pub(in crate::sink) fn nothing_heard(&mut self, now: Moment) {
        self.tell(now, Trouble::Transient, "unanswered", "requests are not answered within request_timeout");
    }

    /// The service answered, and took none of the entries.
    pub(in crate::sink) fn nothing_taken(&mut self, now: Moment, code: &str) {
        self.tell(now, Trouble::Throttled, "throttled", code);
    }

    /// Whether a struggle was told and has not ended.
    pub(in crate::sink) fn is_struggling(&self) -> bool {
        self.patience.health() != patience::Health::Healthy
    }

    fn tell(&mut self, now: Moment, trouble: Trouble, class: &'static str, said: &str) {
        let verdict = self.patience.failed(now, trouble, 1.0);
        let Verdict::Again { struggling: Some(spell), .. } = verdict else { return };
        if self.health.waits(&self.subject, class) {
            let since = spell.lasted.as_secs();
            tracing::warn!(
                attempts = spell.attempts,
                since,
                said,
                "{} has failed for a while and is tried on; positions stay where they are",
                self.subject
            );
        }
    }
}

impl Drop for Fares {
    fn drop(&mut self) {
        self.health.gone(&self.subject);
    }
}
