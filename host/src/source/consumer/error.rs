//! Why there is no consumer, and what to do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::sizes::format_duration;
use crate::pipeline::failure::{Failure, Whose};
use crate::source::classify::{SourceError, SourceErrorKind};

/// Consumers that an error names.
const NAMED_MAX: usize = 5;

/// Why a stream has no consumer to read with.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Nobody registered it, and the manifest says that somebody else does.
    #[error(
        "{consumer} of stream {stream:?} is not registered in {region}, and source.efo.lifecycle = \"self-managed\" leaves that \
         to you; register it with `{command}`{or_else}"
    )]
    NotFound {
        /// `consumer "name"`, or `the consumer with ARN …`.
        consumer: String,
        /// The stream's name.
        stream: String,
        /// Its region.
        region: String,
        /// What registers it.
        command: String,
        /// What else helps, as a clause.
        or_else: &'static str,
    },
    /// The stream has all the consumers that it may have.
    #[error(
        "consumer {name:?} could not be registered: stream {stream:?} has {registered} consumers, which is all that it may have \
         ({}); deregister one that nobody reads with (`{command}`), or choose source.reader = \"auto\" or \"polling\"",
        some_of(consumers)
    )]
    LimitReached {
        /// The consumer's name.
        name: String,
        /// The stream's name.
        stream: String,
        /// How many it has.
        registered: usize,
        /// What they are called.
        consumers: Vec<String>,
        /// What deregisters one.
        command: String,
    },
    /// It did not become what it was becoming.
    #[error(
        "{consumer} of stream {stream:?} has been {status} for {}, longer than source.efo.describe_retry waits; look at it with \
         `{command}`, and start again once it is {}",
        format_duration(*waited), if *.status == "DELETING" { "gone" } else { "ACTIVE" }
    )]
    Stuck {
        /// `consumer "name"`, or `the consumer with ARN …`.
        consumer: String,
        /// The stream's name.
        stream: String,
        /// `CREATING` or `DELETING`.
        status: &'static str,
        /// How long it was waited for, in whole seconds.
        waited: Duration,
        /// What shows it.
        command: String,
    },
    /// The caller may not.
    #[error(
        "{consumer} of stream {stream:?} could not be had ({}: {}); {}; enhanced fan-out needs {rights}; \
         or choose source.reader = \"auto\" or \"polling\"",
        source.operation, source.message, source.advice()
    )]
    Denied {
        /// `consumer "name"`, or `the consumer with ARN …`.
        consumer: String,
        /// The stream's name.
        stream: String,
        /// What must be allowed.
        rights: &'static str,
        /// What the service said.
        source: Box<SourceError>,
    },
    /// What answers there does not know of consumers.
    #[error(
        "{consumer} of stream {stream:?} could not be had: {endpoint} has no enhanced fan-out ({}: {}); choose \
         source.reader = \"auto\" or \"polling\"",
        source.operation, source.message
    )]
    Unsupported {
        /// `consumer "name"`, or `the consumer with ARN …`.
        consumer: String,
        /// The stream's name.
        stream: String,
        /// What was asked.
        endpoint: String,
        /// What it said.
        source: Box<SourceError>,
    },
    /// A call failed, or went on failing.
    #[error(transparent)]
    Call(Box<SourceError>),
    /// It could not be remembered that the consumer is the pipeline's own, so it was not registered, or would be left behind.
    #[error("{consumer} of stream {stream:?} could not be noted among the positions")]
    Unnoted {
        /// `consumer "name"`.
        consumer: String,
        /// The stream's name.
        stream: String,
        /// What the store said.
        source: Arc<Failure>,
    },
}

impl ConsumerError {
    /// Whether it is enhanced fan-out that is not to be had, while the stream may well be read in another way.
    #[must_use]
    pub const fn leaves_polling(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::LimitReached { .. }
            | Self::Stuck { .. }
            | Self::Denied { .. }
            | Self::Unsupported { .. } => true,
            Self::Call(_) | Self::Unnoted { .. } => false,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn whose(&self) -> Whose {
        match self {
            Self::NotFound { .. } | Self::LimitReached { .. } | Self::Denied { .. } | Self::Unsupported { .. } => {
                Whose::Operator
            }
            Self::Stuck { .. } | Self::Call(_) => Whose::Service,
            Self::Unnoted { source, .. } => source.whose(),
        }
    }
}

/// Whether what answered knows the stream, yet no such operation. Emulators say so in several ways.
pub(super) fn is_unsupported(error: &SourceError) -> bool {
    let code = error.message.split(':').next().unwrap_or_default();
    let names_it = matches!(code, "UnknownOperationException" | "InvalidAction" | "NotImplemented" | "HTTP status 501");
    let says_it = ["not implemented", "not yet implemented"].iter().any(|words| error.message.contains(words));
    match error.kind {
        SourceErrorKind::Unreachable => names_it || code.starts_with("HTTP status"),
        SourceErrorKind::Transient | SourceErrorKind::Invalid => names_it || says_it,
        SourceErrorKind::Throttled
        | SourceErrorKind::InUse
        | SourceErrorKind::ExpiredIterator
        | SourceErrorKind::TooEarly
        | SourceErrorKind::Trimmed
        | SourceErrorKind::StalePosition
        | SourceErrorKind::ShardGone
        | SourceErrorKind::StreamGone
        | SourceErrorKind::ConsumerGone
        | SourceErrorKind::NotFound
        | SourceErrorKind::TableGone
        | SourceErrorKind::Rejected
        | SourceErrorKind::Denied => false,
    }
}

/// `"a", "b" and 18 more`.
fn some_of(consumers: &[String]) -> String {
    let named: Vec<String> = consumers.iter().take(NAMED_MAX).map(|name| format!("{name:?}")).collect();
    match consumers.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
