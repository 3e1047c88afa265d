//! Sinks that write batches of entries to a service.
//!
//! [`host_core::batching`] decides which entries go into which request and when; what is particular to a service is told by
//! a [`Batched`].

use std::sync::Arc;

use futures_util::future::BoxFuture;
use host_core::batching::{Destination, Outcome, Quota};
use host_core::patience::Trouble;

use crate::source::classify::{SourceError, SourceErrorKind};

/// What the engine must know of an entry ([`host_core::batching::Entry`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What its order hangs on, equal exactly if the service takes the keys for equal.
    pub key: Vec<u8>,
    /// What is throttled together.
    pub destination: Destination,
    /// Its size as the service counts it, in bytes.
    pub bytes: u64,
}

/// Why a request failed as a whole.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// For a reason that another attempt may mend.
    Trouble(Trouble, SourceError),
    /// The service takes no request with one of these entries in it, and does not say which.
    Rejected(SourceError),
    /// No attempt will mend it: the target is gone, the request is wrong.
    Fatal(SourceError),
}

impl WriteError {
    /// What an error of a request that writes means.
    #[must_use]
    pub fn of(error: SourceError) -> Self {
        match error.kind {
            SourceErrorKind::Throttled
            | SourceErrorKind::Transient
            | SourceErrorKind::Unreachable
            | SourceErrorKind::InUse
            | SourceErrorKind::TooEarly
            | SourceErrorKind::Denied => match error.kind.trouble() {
                Some(trouble) => Self::Trouble(trouble, error),
                None => Self::Fatal(error),
            },
            SourceErrorKind::Rejected => Self::Rejected(error),
            SourceErrorKind::Invalid
            | SourceErrorKind::TableGone
            | SourceErrorKind::ExpiredIterator
            | SourceErrorKind::Trimmed
            | SourceErrorKind::StalePosition
            | SourceErrorKind::ShardGone
            | SourceErrorKind::ConsumerGone
            | SourceErrorKind::StreamGone
            | SourceErrorKind::NotFound => Self::Fatal(error),
        }
    }

    /// What the service said.
    #[must_use]
    pub const fn source(&self) -> &SourceError {
        match self {
            Self::Trouble(_, error) | Self::Rejected(error) | Self::Fatal(error) => error,
        }
    }
}

/// What became of the entries of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// One for each entry, in their order.
    pub outcomes: Vec<Outcome>,
    /// Codes of refusals, for counters and people: each with how many entries it was said of.
    pub codes: Vec<(String, u64)>,
}

/// A service that takes batches of entries.
pub trait Batched: Send + Sync + 'static {
    /// What it takes.
    type Entry: Send + Sync + 'static;

    /// What the engine must know of an entry.
    ///
    /// # Errors
    /// It can never be written, and why: a clause that names no payload.
    fn facts(&self, entry: &Self::Entry) -> Result<Facts, String>;

    /// What people know an entry by: its key, shortened, for messages.
    fn name(&self, entry: &Self::Entry) -> String;

    /// One request. The caller limits its time, and drops the future when that is over.
    fn write(&self, entries: Vec<Arc<Self::Entry>>) -> BoxFuture<'_, Result<Written, WriteError>>;

    /// What has become known of destinations since this was last asked; `None`: nothing more will go there.
    fn news(&self) -> Vec<(Destination, Option<Quota>)>;
}
