//! One table from the service's errors to what they mean: whose fault, what next.

/// What an error of the service asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Too many calls or bytes: wait and try again (`ProvisionedThroughputExceeded`, `LimitExceeded`).
    Throttled,
    /// The service or the way to it failed: wait and try again (HTTP 5xx, connection, timeout).
    Transient,
    /// The iterator outlived its five minutes: open a new one from the position.
    ExpiredIterator,
    /// The stream or the shard does not exist.
    NotFound,
    /// The caller may not (credentials, IAM, KMS).
    Denied,
    /// The request is wrong in a way that repeating it cannot mend.
    Invalid,
}

/// A classified error of one call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} of {resource} failed: {message}")]
pub struct SourceError {
    /// What it asks for.
    pub kind: SourceErrorKind,
    /// The API operation, as AWS names it.
    pub operation: &'static str,
    /// The stream, and the shard where one is concerned.
    pub resource: String,
    /// The service's code and message, or the transport's.
    pub message: String,
}
