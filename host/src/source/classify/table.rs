//! The table itself.

use super::{Fault, SourceErrorKind};

/// What became of a call that no answer of the service explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Refused,
    UnknownHost,
    NoTls,
    Timeout,
    Network,
    TornAnswer,
    Construction,
    NoCredentials,
    CredentialsUnavailable,
}

/// What a group of errors means.
pub(super) struct Row {
    pub(super) codes: &'static [&'static str],
    pub(super) kind: SourceErrorKind,
    pub(super) fault: Fault,
    /// What follows "stream …"; the place goes before the colon, if there is one.
    pub(super) problem: &'static str,
    /// What to do next; `{stream}`, `{region}`, `{endpoint}` and `{credentials}` are filled in.
    pub(super) advice: &'static str,
    /// The service repeats signed headers, a session token among them, in the text.
    pub(super) quotes_secrets: bool,
}

impl Row {
    const fn new(
        codes: &'static [&'static str],
        (kind, fault): (SourceErrorKind, Fault),
        problem: &'static str,
        advice: &'static str,
    ) -> Self {
        Self { codes, kind, fault, problem, advice, quotes_secrets: false }
    }

    const fn withheld(mut self) -> Self {
        self.quotes_secrets = true;
        self
    }
}

/// True of a call that is repeated and of the last one before a run gives up.
const WAIT: &str = "such calls are repeated for a while; if it persists, check the way to {endpoint}";

/// By code. `KMS…` come first in the API's list and mean what their counterparts without the prefix mean.
pub(super) const CODES: &[Row] = &[
    Row::new(
        &["ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked for more than it gives",
        "the read is repeated more slowly; if it persists, look for other readers of the stream or add shards",
    ),
    Row::new(
        &[
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "BandwidthLimitExceeded",
            "SlowDown",
        ],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked too often",
        "the call is repeated more slowly; if it persists, look for other callers in the account",
    ),
    Row::new(
        &[
            "InternalFailureException",
            "InternalFailure",
            "InternalServerError",
            "InternalServiceError",
            "InternalServerException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "RequestTimeout",
            "RequestTimeoutException",
        ],
        (SourceErrorKind::Transient, Fault::Service),
        "is not served right now",
        WAIT,
    ),
    Row::new(
        &["ResourceInUseException"],
        (SourceErrorKind::Transient, Fault::Service),
        "is being created, changed or deleted",
        WAIT,
    ),
    Row::new(
        &["ExpiredNextTokenException"],
        (SourceErrorKind::Transient, Fault::Nobody),
        "was not listed within the life of a page token",
        "the listing starts again",
    ),
    Row::new(
        &["ExpiredIteratorException"],
        (SourceErrorKind::ExpiredIterator, Fault::Nobody),
        "was not read on within the life of its iterator",
        "a new iterator is opened after the last record read",
    ),
    Row::new(
        &["ResourceNotFoundException"],
        (SourceErrorKind::NotFound, Fault::Settings),
        "does not exist",
        "check stream_arn and aws.region",
    ),
    Row::new(
        &["AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read",
        "grant kinesis:DescribeStreamSummary, ListShards, GetShardIterator and GetRecords on {stream} to the identity of {credentials}",
    ),
    Row::new(
        &["OptInRequired", "KMSOptInRequired"],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read",
        "the account of {credentials} is not subscribed to the service in {region}",
    ),
    Row::new(
        &["KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"],
        (SourceErrorKind::Denied, Fault::Settings),
        "cannot be decrypted",
        "check the stream's KMS key: that it exists, is enabled, and allows kms:Decrypt to the identity of {credentials}",
    ),
    Row::new(
        &["ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired"],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read: the session token has expired",
        "renew the session of {credentials}; a token that stands in a manifest or a variable is renewed by nobody else, \
         while \"assume-role\", \"web-identity\" and \"process\" renew theirs",
    )
    .withheld(),
    Row::new(
        &["RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read: the request's time is too far from the service's",
        "set this machine's clock",
    )
    .withheld(),
    Row::new(
        &[
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "AuthFailure",
        ],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read: the service does not accept the credentials",
        "check the keys of {credentials}, that they belong to this partition, and this machine's clock",
    )
    .withheld(),
    Row::new(
        &["UnknownOperationException", "InvalidAction"],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be asked for: no Kinesis answers",
        "check aws.endpoint: {endpoint} is another service or an incomplete emulator",
    ),
    Row::new(
        &[
            "InvalidArgumentException",
            "ValidationException",
            "SerializationException",
            "InvalidParameterValue",
            "InvalidParameterCombination",
            "MissingParameter",
            "MalformedQueryString",
            "DryRunOperationException",
        ],
        (SourceErrorKind::Invalid, Fault::Settings),
        "cannot be read as asked",
        "check stream_arn, initial_timestamp and the stored position: a stream recreated under its name refuses old positions",
    ),
];

/// An answer that contradicts the API.
pub(super) const MALFORMED: Row = Row::new(
    &[],
    (SourceErrorKind::Invalid, Fault::Service),
    "was answered for in a way that the API rules out",
    "nothing of the answer was used; check that {endpoint} is Kinesis",
);

/// By HTTP status, for answers without a code that the table knows.
pub(super) fn by_status(status: u16) -> &'static Row {
    const TOO_MANY: Row = Row::new(
        &[],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked too often",
        "the call is repeated more slowly",
    );
    const SERVICE: Row = Row::new(&[], (SourceErrorKind::Transient, Fault::Service), "is not served right now", WAIT);
    const DENIED: Row = Row::new(
        &[],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read",
        "check {credentials} and what its identity may do on {stream}",
    );
    const NO_KINESIS: Row = Row::new(
        &[],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be asked for: no Kinesis answers",
        "check aws.endpoint: {endpoint} answers like something else",
    );
    const REFUSED: Row = Row::new(
        &[],
        (SourceErrorKind::Invalid, Fault::Host),
        "cannot be read as asked",
        "this error is new to the host: look its code up in the Kinesis API reference",
    );
    match status {
        429 => &TOO_MANY,
        401 | 403 => &DENIED,
        404 | 405 | 300..=399 => &NO_KINESIS,
        408 | 500..=599 => &SERVICE,
        _ => &REFUSED,
    }
}

/// Whoever failed to hand out credentials knows better what to do than this table.
const BRINGS_ITS_OWN: &str = "";

/// By what became of the call.
pub(super) fn by_fate(fate: Fate) -> &'static Row {
    const REFUSED: Row = Row::new(
        &[],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be reached: nothing listens",
        "check aws.endpoint, or that what serves {endpoint} is running",
    );
    const UNKNOWN_HOST: Row = Row::new(
        &[],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be reached: the host's name is unknown",
        "check aws.region and aws.endpoint ({endpoint}), and this machine's DNS",
    );
    const NO_TLS: Row = Row::new(
        &[],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be reached: no secure connection",
        "check that {endpoint} speaks TLS (http:// for an emulator), and this machine's root certificates and clock",
    );
    const TIMEOUT: Row = Row::new(&[], (SourceErrorKind::Transient, Fault::Network), "did not answer in time", WAIT);
    const NETWORK: Row =
        Row::new(&[], (SourceErrorKind::Transient, Fault::Network), "could not be asked: the connection failed", WAIT);
    const TORN: Row =
        Row::new(&[], (SourceErrorKind::Transient, Fault::Service), "answered something unreadable", WAIT);
    const CONSTRUCTION: Row = Row::new(
        &[],
        (SourceErrorKind::Invalid, Fault::Settings),
        "cannot be asked for: no request can be made of the settings",
        "check stream_arn, aws.region ({region}) and aws.endpoint ({endpoint})",
    );
    const NO_CREDENTIALS: Row = Row::new(
        &[],
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read: there are no credentials",
        BRINGS_ITS_OWN,
    );
    const CREDENTIALS_UNAVAILABLE: Row = Row::new(
        &[],
        (SourceErrorKind::Transient, Fault::Network),
        "cannot be asked for: the source of credentials failed",
        BRINGS_ITS_OWN,
    );
    match fate {
        Fate::Refused => &REFUSED,
        Fate::UnknownHost => &UNKNOWN_HOST,
        Fate::NoTls => &NO_TLS,
        Fate::Timeout => &TIMEOUT,
        Fate::Network => &NETWORK,
        Fate::TornAnswer => &TORN,
        Fate::Construction => &CONSTRUCTION,
        Fate::NoCredentials => &NO_CREDENTIALS,
        Fate::CredentialsUnavailable => &CREDENTIALS_UNAVAILABLE,
    }
}
