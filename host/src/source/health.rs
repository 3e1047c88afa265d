//! How the calls to the streams fare: what fails is counted, what goes on failing is told, and so is its end.
//!
//! What to do about a failure, [`host_core::patience`] decides; this performs it, in one place for every call. A call that
//! struggles is told once. Of many that struggle together only the first few are: ten thousand shards behind one broken
//! link are one piece of news. The others are in the count that progress shows.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_core::patience::{Patience, Phase, RetryLimits, Spell, Trouble, Verdict};
use host_core::shard::ShardId;
use host_core::{reading, subscription};

use super::classify::{SourceError, SourceErrorKind};
use crate::clock::Clock;
use crate::config::Retry;
use crate::config::sizes::format_duration;
use crate::pipeline::totals::Counter;

/// Struggles that are told at a time.
const TOLD_MAX: usize = 5;

impl From<&Retry> for RetryLimits {
    fn from(retry: &Retry) -> Self {
        Self { max_attempts: retry.max_attempts, min_delay: retry.min_delay, max_delay: retry.max_delay }
    }
}

impl SourceErrorKind {
    /// What patience is needed; `None` if another attempt mends nothing, or nothing is broken.
    #[must_use]
    pub const fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Throttled => Some(Trouble::Throttled),
            Self::Transient | Self::TooEarly => Some(Trouble::Transient),
            Self::Unreachable => Some(Trouble::Unreachable),
            Self::Denied => Some(Trouble::Denied),
            Self::InUse => Some(Trouble::Contended),
            Self::ExpiredIterator
            | Self::Trimmed
            | Self::StalePosition
            | Self::ShardGone
            | Self::ConsumerGone
            | Self::StreamGone
            | Self::NotFound
            | Self::TableGone
            | Self::Rejected
            | Self::Invalid => None,
        }
    }

    /// What it is to the reader of a shard; `None` if reading cannot survive it by itself.
    #[must_use]
    pub const fn while_reading(self) -> Option<reading::Failure> {
        match self {
            Self::Throttled => Some(reading::Failure::Throttled),
            Self::Transient | Self::InUse => Some(reading::Failure::Transient),
            Self::Unreachable => Some(reading::Failure::Unreachable),
            Self::Denied => Some(reading::Failure::Denied),
            Self::ExpiredIterator => Some(reading::Failure::ExpiredIterator),
            Self::TooEarly => Some(reading::Failure::TooEarly),
            Self::Trimmed
            | Self::StalePosition
            | Self::ShardGone
            | Self::ConsumerGone
            | Self::StreamGone
            | Self::NotFound
            | Self::TableGone
            | Self::Rejected
            | Self::Invalid => None,
        }
    }
}

impl SourceErrorKind {
    /// What it is to the reader of a shard with a subscription; `None` if reading cannot survive it by itself.
    #[must_use]
    pub const fn while_subscribing(self) -> Option<subscription::Failure> {
        match self {
            Self::InUse => Some(subscription::Failure::InUse),
            Self::TooEarly => Some(subscription::Failure::TooEarly),
            Self::Throttled
            | Self::Transient
            | Self::Unreachable
            | Self::Denied
            | Self::ExpiredIterator
            | Self::Trimmed
            | Self::StalePosition
            | Self::ShardGone
            | Self::ConsumerGone
            | Self::StreamGone
            | Self::NotFound
            | Self::TableGone
            | Self::Rejected
            | Self::Invalid => match self.trouble() {
                Some(trouble) => Some(subscription::Failure::Trouble(trouble)),
                None => None,
            },
        }
    }
}

/// What a call is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// `DescribeStreamSummary`.
    Describing,
    /// `ListShards`.
    Listing,
    /// `GetShardIterator` and `GetRecords`.
    Reading(ShardId),
    /// `DescribeStreamConsumer` and what goes with it.
    Enrolling,
    /// What a sink writes with.
    Writing,
}

/// A call that is made again and again: to which stream or sink, what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The stream's name; for [`Purpose::Writing`] that of the sink.
    pub stream: String,
    /// What for.
    pub purpose: Purpose,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.purpose {
            Purpose::Describing => write!(f, "describing stream {:?}", self.stream),
            Purpose::Enrolling => write!(f, "waiting for the consumer of stream {:?}", self.stream),
            Purpose::Listing => write!(f, "listing the shards of stream {:?}", self.stream),
            Purpose::Writing => write!(f, "writing to sink {:?}", self.stream),
            Purpose::Reading(shard) => write!(f, "reading shard {shard} of stream {:?}", self.stream),
        }
    }
}

/// Calls that failed and were repeated, by class.
#[derive(Debug, Default)]
pub struct Retries {
    /// Refused for being too many.
    pub throttled: Counter,
    /// Failed on the way or in the service.
    pub transient: Counter,
    /// Not answered at all.
    pub unreachable: Counter,
    /// Refused for lack of rights, and borne for a while.
    pub denied: Counter,
    /// Refused because somebody else has what is asked for.
    pub in_use: Counter,
    /// Made with an iterator that had expired.
    pub expired: Counter,
}

impl Retries {
    /// Counts one, if it is of a class that is repeated.
    pub fn count(&self, kind: SourceErrorKind) {
        match kind {
            SourceErrorKind::Throttled => self.throttled.add(1),
            SourceErrorKind::Transient | SourceErrorKind::TooEarly => self.transient.add(1),
            SourceErrorKind::Unreachable => self.unreachable.add(1),
            SourceErrorKind::Denied => self.denied.add(1),
            SourceErrorKind::InUse => self.in_use.add(1),
            SourceErrorKind::ExpiredIterator => self.expired.add(1),
            SourceErrorKind::Trimmed
            | SourceErrorKind::StalePosition
            | SourceErrorKind::ShardGone
            | SourceErrorKind::ConsumerGone
            | SourceErrorKind::StreamGone
            | SourceErrorKind::NotFound
            | SourceErrorKind::TableGone
            | SourceErrorKind::Rejected
            | SourceErrorKind::Invalid => {}
        }
    }

    fn by_class(&self) -> [(u64, &'static str); 6] {
        [
            (self.throttled.get(), "throttled"),
            (self.transient.get(), "transient"),
            (self.unreachable.get(), "unreachable"),
            (self.denied.get(), "denied"),
            (self.in_use.get(), "in use"),
            (self.expired.get(), "expired"),
        ]
    }

    /// All of them.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.by_class().iter().map(|(count, _)| count).sum()
    }
}

/// `31 throttled, 2 expired`; empty if there were none.
impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (count, class) in self.by_class().into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{} {class}", crate::progress::grouped(count))?;
            separator = ", ";
        }
        Ok(())
    }
}

/// A call that struggles.
#[derive(Clone, Debug)]
struct Struggle {
    class: &'static str,
    is_told: bool,
}

/// How the calls of one pipeline fare.
#[derive(Debug, Default)]
pub struct Health {
    /// What was repeated.
    pub retries: Retries,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    struggling: BTreeMap<Subject, Struggle>,
    /// How many of them are told.
    told: usize,
    /// Struggles since all was well that were not told each by itself.
    untold: u64,
}

/// What somebody should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Nothing,
    /// This call struggles.
    Struggling,
    /// This one does not any more.
    Recovered,
    /// None does any more, and so many had not been told.
    AllWell(u64),
}

impl Board {
    fn struggles(&mut self, subject: &Subject, class: &'static str) -> News {
        self.told -= usize::from(self.struggling.get(subject).is_some_and(|struggle| struggle.is_told));
        let is_told = self.told < TOLD_MAX;
        self.told += usize::from(is_told);
        self.untold += u64::from(!is_told);
        self.struggling.insert(subject.clone(), Struggle { class, is_told });
        if is_told { News::Struggling } else { News::Nothing }
    }

    fn ends(&mut self, subject: &Subject) -> News {
        let Some(struggle) = self.struggling.remove(subject) else { return News::Nothing };
        self.told -= usize::from(struggle.is_told);
        if self.struggling.is_empty() && self.untold > 0 {
            return News::AllWell(std::mem::take(&mut self.untold));
        }
        if struggle.is_told { News::Recovered } else { News::Nothing }
    }
}

impl Health {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call failed, and `verdict` is what becomes of it.
    pub fn failed(&self, subject: &Subject, error: &SourceError, verdict: Verdict) {
        let Verdict::Again { after, struggling } = verdict else {
            self.gone(subject);
            return;
        };
        self.retries.count(error.kind);
        tracing::debug!(%error, pause = ?after, "{subject} is tried again");
        let Some(spell) = struggling else { return };
        if self.board().struggles(subject, error.kind.name()) == News::Struggling {
            tracing::warn!(
                attempts = spell.attempts,
                since = seconds(spell.lasted),
                %error,
                "{subject} has failed for a while and is tried on; positions stay where they are"
            );
        }
    }

    /// Something other than a failed call is waited for, longer than it should. Whether that is to be told.
    #[must_use]
    pub fn waits(&self, subject: &Subject, class: &'static str) -> bool {
        self.board().struggles(subject, class) == News::Struggling
    }

    /// A call succeeded, and perhaps ended a spell of failures that struggled.
    pub fn succeeded(&self, subject: &Subject, ended: Option<Spell>) {
        let Some(spell) = ended else { return };
        match self.board().ends(subject) {
            News::Nothing | News::Struggling => {}
            News::Recovered => tracing::info!(
                attempts = spell.attempts,
                after = seconds(spell.lasted),
                "{subject} succeeds again; nothing was skipped"
            ),
            News::AllWell(untold) => tracing::info!(
                attempts = spell.attempts,
                after = seconds(spell.lasted),
                "{subject} succeeds again, and so do {untold} other calls that were failing; nothing was skipped"
            ),
        }
    }

    /// A call is not made any more, whether it struggled or not.
    pub fn gone(&self, subject: &Subject) {
        // Nothing to tell: whoever gave up says why.
        let _news = self.board().ends(subject);
    }

    /// How many calls struggle now, and the first of them: `reading shard … of stream … (throttled)`.
    #[must_use]
    pub fn struggling(&self) -> Option<(usize, String)> {
        let board = self.board();
        let (subject, struggle) = board.struggling.first_key_value()?;
        Some((board.struggling.len(), format!("{subject} ({})", struggle.class)))
    }
}

fn seconds(lasted: Duration) -> String {
    format_duration(Duration::from_secs(lasted.as_secs()))
}

/// One call to a stream that is made with patience: a description, or a listing.
#[derive(Debug)]
pub struct PatientCall {
    subject: Subject,
    patience: Patience,
    health: Arc<Health>,
    clock: Clock,
}

impl PatientCall {
    /// A call that a start depends on.
    #[must_use]
    pub const fn starting(subject: Subject, limits: RetryLimits, health: Arc<Health>, clock: Clock) -> Self {
        Self { subject, patience: Patience::new(limits, Phase::Starting), health, clock }
    }

    /// From now on the call is one of a run, which does not end over throttles and outages.
    pub fn run(&mut self) {
        self.patience.run();
    }

    /// One attempt succeeded.
    pub fn succeeded(&mut self) {
        self.health.succeeded(&self.subject, self.patience.succeeded(self.clock.now()));
    }

    /// One attempt failed. Returns the pause before the next; `None` if there should be none.
    pub fn failed(&mut self, error: &SourceError) -> Option<Duration> {
        let verdict = match error.kind.trouble() {
            Some(trouble) => self.patience.failed(self.clock.now(), trouble, fastrand::f64()),
            None => Verdict::GiveUp,
        };
        self.health.failed(&self.subject, error, verdict);
        match verdict {
            Verdict::Again { after, .. } => Some(after),
            Verdict::GiveUp => None,
        }
    }

    /// Makes the call until it succeeds or patience ends.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn repeat<T, F, Fut>(&mut self, mut call: F) -> Result<T, SourceError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, SourceError>>,
    {
        loop {
            let error = match call().await {
                Ok(answer) => {
                    self.succeeded();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some(pause) = self.failed(&error) else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests;
