//! One table from the service's errors to what they mean: whose fault, what next.
//!
//! The SDK tells errors in three shapes: modelled exceptions, one enum per operation; codes that no model knows
//! (throttles and signature errors of the front end, exceptions of emulators); and failures below the service, down to
//! DNS. Matching on the enums would repeat the same rows for every operation and still miss the second shape, so
//! everything is brought to one key first (a code, a status, or a [`Fate`] of the transport) and looked up in one table.
//!
//! What is shown names the stream, the place and the kind of credentials, never a secret: texts of signature errors are
//! withheld, because the service quotes the signed headers in them.

mod reference;
mod table;
mod tables;

use std::error::Error;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::event_stream::RawMessage;
use host_core::shard::ShardId;

use self::table::{CODES, FAN_OUT, Fate, MALFORMED, NO_FAN_OUT, Row, Subject, by_fate, by_status};
use crate::aws::{AccessFailure, AccessFault, AwsSettings};
use crate::config::StreamArn;

pub use reference::reference;
pub use tables::{TablePlace, TableSite};

/// What is said of a call that was given up.
const NO_ANSWER: &str = "no answer within the call's time limit";

/// What an error of the service asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Too many calls or bytes: wait and try again (`ProvisionedThroughputExceeded`, `LimitExceeded`).
    Throttled,
    /// The service or the way to it failed: wait and try again (HTTP 5xx, connection, timeout).
    Transient,
    /// Nothing that speaks this protocol answers there: refused, unknown host, no TLS. Right after a start it means a
    /// wrong endpoint; in a run it may pass.
    Unreachable,
    /// Somebody is subscribed to the shard with the same consumer, or what is asked for is being created, changed or deleted
    /// (`ResourceInUse`): wait and try again.
    InUse,
    /// The iterator outlived its five minutes: open a new one from the position.
    ExpiredIterator,
    /// The time asked for has not come by the service's clock: wait until it has.
    TooEarly,
    /// What the position or the iterator points to was deleted (`TrimmedDataAccess`).
    Trimmed,
    /// The service does not know the position's sequence number: it is of another stream.
    StalePosition,
    /// The shard does not exist. Its stream may not either: see whether the stream answers.
    ShardGone,
    /// The stream does not exist.
    StreamGone,
    /// The table does not exist.
    TableGone,
    /// The consumer of enhanced fan-out does not exist.
    ConsumerGone,
    /// Stream or shard does not exist, and the answer does not tell which: see whether the stream answers.
    NotFound,
    /// The caller may not (credentials, IAM, KMS).
    Denied,
    /// The service takes no request with one of these entries in it.
    Rejected,
    /// The request, or the answer, is wrong in a way that repeating it cannot mend.
    Invalid,
}

impl SourceErrorKind {
    /// All there are, from the most harmless on.
    pub const ALL: [Self; 16] = [
        Self::ExpiredIterator,
        Self::TooEarly,
        Self::Throttled,
        Self::Transient,
        Self::Unreachable,
        Self::InUse,
        Self::Denied,
        Self::Rejected,
        Self::Trimmed,
        Self::StalePosition,
        Self::ShardGone,
        Self::ConsumerGone,
        Self::StreamGone,
        Self::NotFound,
        Self::TableGone,
        Self::Invalid,
    ];

    /// Whether waiting may mend it.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Throttled | Self::Transient | Self::Unreachable | Self::InUse | Self::TooEarly => true,
            Self::ExpiredIterator
            | Self::Trimmed
            | Self::StalePosition
            | Self::ShardGone
            | Self::ConsumerGone
            | Self::StreamGone
            | Self::NotFound
            | Self::TableGone
            | Self::Denied
            | Self::Rejected
            | Self::Invalid => false,
        }
    }

    /// The class in a word or two.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::InUse => "in use",
            Self::ExpiredIterator => "expired",
            Self::TooEarly => "too early",
            Self::Trimmed => "trimmed",
            Self::StalePosition => "stale position",
            Self::ShardGone => "shard gone",
            Self::ConsumerGone => "consumer gone",
            Self::StreamGone => "stream gone",
            Self::NotFound => "not found",
            Self::TableGone => "table gone",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
        }
    }

    /// What the host does about it: whole sentences.
    #[must_use]
    pub const fn what_the_host_does(self) -> &'static str {
        match self {
            Self::Throttled | Self::Transient => {
                "Repeats the call after a pause. A start gives up after `aws.retry.max_attempts`; a pipeline that runs never \
                 does."
            }
            Self::Unreachable => {
                "Repeats the call after a pause. A start gives up after 5 attempts; a pipeline that runs never does."
            }
            Self::InUse => {
                "Repeats the call after 5 seconds or more. Tells at once if a subscription is taken over by another reader of the \
                 same consumer; goes on all the same."
            }
            Self::ExpiredIterator => "Opens a new iterator after the last record read.",
            Self::TooEarly => "Waits until the time has come.",
            Self::Trimmed | Self::StalePosition => "Treats it as a gap: `on_gap`.",
            Self::ShardGone => "Looks whether the stream answers and is the same; if so, treats it as a gap: `on_gap`.",
            Self::ConsumerGone => {
                "Registers it again if the consumer is managed; otherwise waits for it as `source.efo.describe_retry` says, then \
                 stops; positions stay."
            }
            Self::StreamGone | Self::TableGone => "Stops the pipeline; positions stay.",
            Self::Rejected => {
                "Halves the request until the entry that is not taken is alone, and treats that one as poison: \
                 `on_error.poison`."
            }
            Self::NotFound => "Asks for the stream itself, and then knows which of both is gone.",
            Self::Denied => {
                "Stops a start at once. Asks twice more in a pipeline that runs, for keys are changed and sessions renewed; \
                 then stops it; positions stay."
            }
            Self::Invalid => "Stops the pipeline at once; positions stay.",
        }
    }
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The manifest, the credentials, the permissions, the clock of this machine.
    Settings,
    /// The readers of the stream together ask for more than it gives.
    Load,
    /// The service.
    Service,
    /// The way between.
    Network,
    /// Nobody: it happens in normal operation and the host deals with it.
    Nobody,
    /// This program.
    Host,
}

impl Fault {
    /// In a word or two.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Load => "load",
            Self::Service => "service",
            Self::Network => "network",
            Self::Nobody => "nobody",
            Self::Host => "sluicebox",
        }
    }
}

/// Where a stream is, in the words of an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stream's name.
    pub stream: String,
    /// The region.
    pub region: String,
    /// The account of the stream's ARN.
    pub account: String,
    /// The endpoint that replaces the region's own, without user information.
    pub endpoint: Option<String>,
    /// The kind of credentials, as [`crate::config::Credentials::describe`] tells it.
    pub credentials: String,
    /// What the stream is to the pipeline.
    pub role: Role,
}

/// What a stream is to the pipeline: the words of an error depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is read.
    Source,
    /// A sink writes to it.
    Target,
}

impl Role {
    /// What is done with it: "is", "may not be", "cannot be" this.
    const fn used(self) -> &'static str {
        match self {
            Self::Source => "read",
            Self::Target => "written to",
        }
    }
}

impl Place {
    /// The place of `arn`, which is read, reached by `settings`.
    #[must_use]
    pub fn of(arn: &StreamArn, settings: &AwsSettings) -> Self {
        Self {
            stream: arn.name().to_owned(),
            region: settings.region.clone(),
            account: arn.account().to_owned(),
            endpoint: settings.endpoint.as_deref().map(without_user_information),
            credentials: settings.credentials.describe(),
            role: Role::Source,
        }
    }

    fn endpoint(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("the Kinesis endpoint of {}", self.region))
    }

    /// Puts the facts into a sentence of the table.
    fn fill(&self, sentence: &str) -> String {
        sentence
            .replace("{stream}", &self.stream)
            .replace("{region}", &self.region)
            .replace("{endpoint}", &self.endpoint())
            .replace("{credentials}", &self.credentials)
            .replace("{service}", "Kinesis")
            .replace("{setting}", "stream_arn")
            .replace("{used}", self.role.used())
    }
}

fn without_user_information(endpoint: &str) -> String {
    let Some((scheme, rest)) = endpoint.split_once("://") else { return endpoint.to_owned() };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
}

/// A classified error of one call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{problem}: {message} ({operation}); {advice}")]
pub struct SourceError {
    /// What it asks for.
    pub kind: SourceErrorKind,
    /// Who can mend it.
    pub fault: Fault,
    /// The API operation, as AWS names it.
    pub operation: &'static str,
    /// What is wrong with which stream or shard, where: a clause.
    pub problem: String,
    /// The service's code and message, or the transport's, on one line.
    pub message: String,
    /// What to do next, naming the settings to look at.
    advice: String,
    is_unsupported: bool,
    may_be_of_an_entry: bool,
}

impl SourceError {
    /// What to do next, naming the settings to look at.
    #[must_use]
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// Whether it says that the service knows no enhanced fan-out, as some emulators do not.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        self.is_unsupported
    }

    /// Whether it may be due to what one entry of a request holds, so that the others would be taken without it.
    #[must_use]
    pub const fn may_be_of_an_entry(&self) -> bool {
        self.may_be_of_an_entry
    }
}

/// One call, for the error that it may end with.
#[derive(Clone, Copy, Debug)]
pub struct CallSite<'a> {
    /// Where the stream is.
    pub place: &'a Place,
    /// The API operation, as AWS names it.
    pub operation: &'static str,
    /// The shard, where one is concerned.
    pub shard: Option<&'a ShardId>,
}

impl CallSite<'_> {
    /// Classifies what the SDK returned.
    #[must_use]
    pub fn sdk_error<E>(&self, error: &SdkError<E, HttpResponse>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match Heard::of(error) {
            Heard::NoAccess(failure) => self.without_access(failure),
            Heard::Answer { code, status, message } => self.answered(code, status, message),
            Heard::Fate(fate, message) => self.fated(fate, &message),
        }
    }

    /// Classifies an answer with an error in it: its code where there is one, else its HTTP status.
    #[must_use]
    pub fn answered(&self, code: Option<&str>, status: u16, message: &str) -> SourceError {
        let subject =
            Subject { operation: self.operation, stream: &self.place.stream, shard: self.shard, role: self.place.role };
        let fits = |row: &&Row, code: &str| row.codes.contains(&code) && row.says.holds(message, subject);
        let code = code.filter(|code| !code.trim().is_empty());
        let row = code.and_then(|code| CODES.iter().find(|row| fits(row, code)));
        let is_unsupported = FAN_OUT.contains(&self.operation) && is_unsupported(code, status, message);
        let message = quote(row, code, status, message);
        if is_unsupported {
            return SourceError { is_unsupported, ..self.error(&NO_FAN_OUT, message) };
        }
        self.error(row.unwrap_or_else(|| by_status(status, code.is_some())), message)
    }

    /// Classifies what came instead of an event of a subscription. Nothing of a frame that is cut off or garbled was used.
    #[must_use]
    pub fn event_error<E>(&self, error: &SdkError<E, RawMessage>) -> SourceError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(inner) => {
                let named = exception_type(inner.raw());
                let code = named.as_deref().or_else(|| inner.err().code());
                // There is no status within a stream. The next subscription meets what lasts, and is answered with one.
                self.answered(code, 500, inner.err().message().unwrap_or_default())
            }
            SdkError::TimeoutError(_) => self.unanswered(),
            SdkError::ResponseError(_) => self.fated(Fate::TornAnswer, &chain(error)),
            // The SDK's enum may grow.
            SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) | _ => {
                self.fated(Fate::Network, &chain(error))
            }
        }
    }

    /// Classifies a subscription that sends nothing any more.
    #[must_use]
    pub fn silent(&self, lasted: std::time::Duration) -> SourceError {
        self.fated(Fate::Timeout, &format!("no event for {} s, and no error either", lasted.as_secs()))
    }

    /// Classifies a call that was given up.
    #[must_use]
    pub fn unanswered(&self) -> SourceError {
        self.fated(Fate::Timeout, NO_ANSWER)
    }

    /// Classifies an answer that contradicts the API's own documentation.
    #[must_use]
    pub fn malformed(&self, what: &str) -> SourceError {
        self.error(&MALFORMED, one_line(what))
    }

    /// Classifies a call that was never made, for want of credentials or of a way.
    fn without_access(&self, failure: &AccessFailure) -> SourceError {
        SourceError { advice: failure.advice.clone(), ..self.error(by_fate(fate_of(failure)), failure.what.clone()) }
    }

    fn fated(&self, fate: Fate, message: &str) -> SourceError {
        self.error(by_fate(fate), one_line(message))
    }

    fn error(&self, row: &Row, message: String) -> SourceError {
        let place = self.place;
        let mut problem = match self.shard {
            Some(shard) => format!("shard {shard} of stream {:?} ", place.stream),
            None => format!("stream {:?} ", place.stream),
        };
        let told = place.fill(row.problem);
        let (clause, reason) = told.split_once(": ").unwrap_or((&told, ""));
        problem.push_str(&format!("{clause} in {} (account {})", place.region, place.account));
        if let Some(endpoint) = &place.endpoint {
            problem.push_str(&format!(" at {endpoint}"));
        }
        if !reason.is_empty() {
            problem.push_str(&format!(": {reason}"));
        }
        SourceError {
            kind: row.kind,
            fault: row.fault,
            operation: self.operation,
            problem,
            message,
            advice: place.fill(row.advice),
            is_unsupported: false,
            may_be_of_an_entry: row.blames_entries,
        }
    }
}

/// What a call that failed says: the one key that everything is looked up by.
enum Heard<'a> {
    /// There were no credentials, or no way.
    NoAccess(&'a AccessFailure),
    /// The service, or something in between, answered.
    Answer { code: Option<&'a str>, status: u16, message: &'a str },
    /// Nothing that could be read.
    Fate(Fate, String),
}

impl<'a> Heard<'a> {
    fn of<E>(error: &'a SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(failure) = AccessFailure::within(error) {
            return Self::NoAccess(failure);
        }
        match error {
            SdkError::ServiceError(inner) => Self::Answer {
                code: inner.err().code(),
                status: inner.raw().status().as_u16(),
                message: inner.err().message().unwrap_or_default(),
            },
            SdkError::TimeoutError(_) => Self::Fate(Fate::Timeout, NO_ANSWER.to_owned()),
            SdkError::DispatchFailure(failure) if failure.is_user() => Self::Fate(Fate::Construction, chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::Fate(Fate::Timeout, chain(error)),
            SdkError::DispatchFailure(_) => Self::Fate(undelivered(error), chain(error)),
            // An error page of something in between: its status says more than that its body is no JSON.
            SdkError::ResponseError(inner) if !inner.raw().status().is_success() => {
                Self::Answer { code: None, status: inner.raw().status().as_u16(), message: "" }
            }
            SdkError::ResponseError(_) => Self::Fate(Fate::TornAnswer, chain(error)),
            SdkError::ConstructionFailure(_) => {
                let fate = undelivered(error);
                // Nothing was sent, so no network can be to blame.
                Self::Fate(if fate == Fate::Network { Fate::Construction } else { fate }, chain(error))
            }
            // The SDK's enum may grow.
            _ => Self::Fate(Fate::Network, chain(error)),
        }
    }
}

/// The service's code and text on one line; not the text of an error that quotes secrets.
fn quote(row: Option<&Row>, code: Option<&str>, status: u16, message: &str) -> String {
    let message = match row {
        Some(row) if row.quotes_secrets => String::new(),
        _ => one_line(message),
    };
    let named = match code {
        Some(code) => one_line(code),
        None => format!("HTTP status {status}"),
    };
    if message.is_empty() { named } else { format!("{named}: {message}") }
}

/// What became of a call that was never made, for want of credentials or of a way.
const fn fate_of(failure: &AccessFailure) -> Fate {
    match failure.fault {
        AccessFault::Denied => Fate::NoCredentials,
        AccessFault::Unavailable => Fate::CredentialsUnavailable,
        AccessFault::Unusable => Fate::Construction,
    }
}

/// Whether an answer says that there is no such operation.
fn is_unsupported(code: Option<&str>, status: u16, message: &str) -> bool {
    const CODES: [&str; 5] = [
        "UnknownOperationException",
        "UnknownOperation",
        "UnsupportedOperationException",
        "InvalidAction",
        "NotImplemented",
    ];
    const TEXTS: [&str; 5] = [
        "not implemented",
        "not yet implemented",
        "not been implemented",
        "unknown operation",
        "not yet been emulated",
    ];
    let message = message.to_lowercase();
    status == 501 || code.is_some_and(|code| CODES.contains(&code)) || TEXTS.iter().any(|text| message.contains(text))
}

/// The exception's name, which the frame tells in a header; the SDK looks for it in the payload.
fn exception_type(frame: &RawMessage) -> Option<String> {
    let RawMessage::Decoded(message) = frame else { return None };
    let header = message.headers().iter().find(|header| header.name().as_str() == ":exception-type")?;
    header.value().as_string().ok().map(|name| name.as_str().to_owned())
}

/// Finds the reason of an undelivered request in its chain of sources. Where no public type tells it, the text does: the
/// tests bring each of these about, so that a new wording of the SDK does not pass unseen.
fn undelivered(error: &(dyn Error + 'static)) -> Fate {
    use std::io::ErrorKind;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            let is_refused = matches!(
                io.kind(),
                ErrorKind::ConnectionRefused
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::AddrNotAvailable
            );
            if is_refused {
                return Fate::Refused;
            }
        }
        let text = cause.to_string();
        if text.starts_with("dns error") || text.contains("failed to lookup address") {
            return Fate::UnknownHost;
        }
        if text.starts_with("TLS handshake failed") || text.starts_with("invalid peer certificate") {
            return Fate::NoTls;
        }
        if text.starts_with("failed to apply endpoint") || text.starts_with("failed to resolve endpoint") {
            return Fate::Construction;
        }
        next = cause.source();
    }
    Fate::Network
}

/// The innermost two causes: the outer ones say only that something failed.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut causes = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    let inner = causes.len().saturating_sub(2);
    causes[inner..].join(": ")
}

/// A foreign text as part of a log line: one line, bounded.
fn one_line(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 300;
    let first = text.trim().lines().next().unwrap_or_default();
    first.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
