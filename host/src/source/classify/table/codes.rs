//! By code. `KMS…` mean what their counterparts without the prefix mean.

use super::texts::{FAN_OUT, Missing, PUT, Says};
use super::{Fault, Row, SourceErrorKind, WAIT};

/// Codes of what IAM refuses.
pub(super) const DENIALS: &[&str] =
    &["AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"];
/// Codes of what the front end takes no more of.
pub(super) const THROTTLES: &[&str] = &[
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "SlowDown",
];
/// Codes of a service that fails.
pub(super) const OUTAGES: &[&str] = &[
    "InternalFailureException",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "InternalServerException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "RequestTimeout",
    "RequestTimeoutException",
];
/// Codes of an account without the service.
pub(super) const NOT_SUBSCRIBED: &[&str] = &["OptInRequired", "KMSOptInRequired"];
/// Codes of a KMS key that is of no use.
pub(super) const KEY_REFUSALS: &[&str] =
    &["KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"];
/// Codes of a session that is over.
pub(super) const EXPIRED: &[&str] = &["ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired"];
/// Codes of clocks that differ.
pub(super) const SKEWED: &[&str] = &["RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"];
/// Codes of credentials that the service does not know.
pub(super) const SIGNATURES: &[&str] = &[
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
];

/// Codes of the service, of its front end, and of emulators.
pub(in super::super) const CODES: &[Row] = &[
    Row::new(
        &["LimitExceededException"],
        (SourceErrorKind::Throttled, Fault::Load),
        "has as many consumers as it may have, or too many are being registered",
        "the call is repeated more slowly; if it persists, deregister consumers that nobody uses (20 of a stream, 5 at a time)",
    )
    .saying(Says::Called(&["RegisterStreamConsumer"])),
    Row::new(
        &["ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"],
        (SourceErrorKind::Throttled, Fault::Load),
        "is given more than it takes",
        "entries are written more slowly; if it persists, look for other writers to the stream or add shards",
    )
    .saying(Says::Called(PUT)),
    Row::new(
        &["ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked for more than it gives",
        "the call is repeated more slowly; if it persists, look for other readers of the stream or add shards",
    ),
    Row::new(
        THROTTLES,
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked too often",
        "the call is repeated more slowly; if it persists, look for other callers in the account",
    ),
    Row::new(
        OUTAGES,
        (SourceErrorKind::Transient, Fault::Service),
        "is not served right now",
        WAIT,
    ),
    Row::new(
        &["ResourceInUseException"],
        (SourceErrorKind::InUse, Fault::Load),
        "is subscribed to with the same consumer, or the consumer is not active",
        "the call is repeated after a pause; if it persists, look for another reader of the same consumer: each pipeline needs one \
         of its own",
    )
    .saying(Says::Called(&["SubscribeToShard"])),
    Row::new(
        &["ResourceInUseException"],
        (SourceErrorKind::InUse, Fault::Nobody),
        "has a consumer of this name, or is being created, changed or deleted",
        "the consumer is looked for again",
    )
    .saying(Says::Called(&["RegisterStreamConsumer"])),
    Row::new(
        &["ResourceInUseException"],
        (SourceErrorKind::InUse, Fault::Load),
        "is being created, changed or deleted",
        "the call is repeated after a pause; if it persists, look what becomes of the stream",
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
        &["TrimmedDataAccessException"],
        (SourceErrorKind::Trimmed, Fault::Load),
        "was asked for records that it has deleted",
        "records were lost before they were read: on_gap decides; lengthen the retention, or read faster",
    ),
    Row::new(
        &["InvalidArgumentException", "ValidationException", "SerializationException", "InvalidParameterValue"],
        (SourceErrorKind::Rejected, Fault::Settings),
        "does not take what it is given",
        "if one entry is to blame it is found and given up; look at what the message names, and at what the converter makes",
    )
    .saying(Says::Called(PUT)),
    Row::new(
        &["InvalidArgumentException", "ValidationException"],
        (SourceErrorKind::StalePosition, Fault::Settings),
        "does not know the stored position",
        "the position is of another stream, or of one that was deleted and created again: on_gap decides; \
         `sluicebox state show` tells it",
    )
    .saying(Says::OneOf(&["startingsequencenumber", "sequence number", "sequencenumber"])),
    Row::new(
        &["InvalidArgumentException", "ValidationException"],
        (SourceErrorKind::TooEarly, Fault::Nobody),
        "is asked for a time that has not come",
        "nothing, if initial_timestamp lies ahead on purpose; else check it and this machine's clock",
    )
    .saying(Says::OneOf(&["currenttimestampinmillis", "in the future", "in future"])),
    Row::new(
        &["ResourceNotFoundException"],
        (SourceErrorKind::ShardGone, Fault::Load),
        "is gone",
        "if the stream is there, records were deleted before they were read: on_gap decides; lengthen the retention, or read \
         faster",
    )
    .saying(Says::Missing(Missing::Shard)),
    Row::new(
        &["ResourceNotFoundException"],
        (SourceErrorKind::ConsumerGone, Fault::Settings),
        "has no such consumer",
        "a managed consumer is registered again; for any other check [source.efo], and that nobody deregisters it",
    )
    .saying(Says::Missing(Missing::Consumer)),
    Row::new(
        &["ResourceNotFoundException"],
        (SourceErrorKind::StreamGone, Fault::Settings),
        "does not exist",
        "check stream_arn: its name, region and account",
    )
    .saying(Says::Missing(Missing::Stream)),
    Row::new(
        &["ResourceNotFoundException"],
        (SourceErrorKind::NotFound, Fault::Settings),
        "does not exist",
        "check stream_arn: its name, region and account",
    ),
    Row::new(
        DENIALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read with enhanced fan-out",
        "grant kinesis:RegisterStreamConsumer and ListStreamConsumers on {stream}, and kinesis:DescribeStreamConsumer, \
         DeregisterStreamConsumer and SubscribeToShard on its consumers (the stream's ARN with /consumer/* behind it), to the \
         identity of {credentials}",
    )
    .saying(Says::Called(FAN_OUT)),
    Row::new(
        DENIALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to",
        "grant kinesis:PutRecords and DescribeStreamSummary on {stream} to the identity of {credentials}, and kinesis:ListShards if \
         it may be",
    )
    .saying(Says::OfTarget),
    Row::new(
        DENIALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be read",
        "grant kinesis:DescribeStreamSummary, ListShards, GetShardIterator and GetRecords on {stream} to the identity of {credentials}",
    ),
    Row::new(
        NOT_SUBSCRIBED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be {used}",
        "the account of {credentials} is not subscribed to the service in {region}",
    ),
    Row::new(
        KEY_REFUSALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "cannot be encrypted",
        "check the stream's KMS key: that it exists, is enabled, and allows kms:GenerateDataKey to the identity of {credentials}",
    )
    .saying(Says::Called(PUT)),
    Row::new(
        &["KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException"],
        (SourceErrorKind::Denied, Fault::Settings),
        "cannot be decrypted",
        "check the stream's KMS key: that it exists, is enabled, and allows kms:Decrypt to the identity of {credentials}",
    ),
    Row::new(
        EXPIRED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be {used}: the session token has expired",
        "renew the session of {credentials}; a token that stands in a manifest or a variable is renewed by nobody else, \
         while \"assume-role\", \"web-identity\" and \"process\" renew theirs",
    )
    .withheld(),
    Row::new(
        SKEWED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be {used}: the request's time is too far from the service's",
        "set this machine's clock",
    )
    .withheld(),
    Row::new(
        SIGNATURES,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be {used}: the service does not accept the credentials",
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
        "cannot be {used} as asked",
        "check stream_arn, initial_timestamp and [source.efo], and what the message names",
    ),
];
