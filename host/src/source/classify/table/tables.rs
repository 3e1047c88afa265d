//! By code, of calls to a table. The reasons that a cancelled transaction gives are codes too, without `Exception` behind
//! them.

use super::codes::{DENIALS, EXPIRED, KEY_REFUSALS, NOT_SUBSCRIBED, OUTAGES, SIGNATURES, SKEWED, THROTTLES};
use super::texts::Says;
use super::{Fault, Row, SourceErrorKind, WAIT};

/// Codes of DynamoDB, of its front end, and of emulators.
pub(in super::super) const TABLE_CODES: &[Row] = &[
    Row::new(
        &["ProvisionedThroughputExceededException", "ProvisionedThroughputExceeded"],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked for more than it gives",
        "writes are repeated more slowly; if it persists, raise the table's write capacity, or look for a partition key that \
         is written to more than the others",
    ),
    Row::new(
        THROTTLES,
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked too often",
        "the call is repeated more slowly; if it persists, look for other callers in the account",
    ),
    Row::new(
        &["ThrottlingError", "LimitExceededException", "KMSThrottlingException"],
        (SourceErrorKind::Throttled, Fault::Load),
        "is asked too often",
        "the call is repeated more slowly; if it persists, look for other callers in the account",
    ),
    Row::new(OUTAGES, (SourceErrorKind::Transient, Fault::Service), "is not served right now", WAIT),
    Row::new(
        &[
            "TransactionConflictException",
            "TransactionConflict",
            "TransactionInProgressException",
            "TransactionCanceledException",
            "ReplicatedWriteConflictException",
        ],
        (SourceErrorKind::Transient, Fault::Load),
        "has an item that somebody else writes to in a transaction",
        "the write is repeated; if it persists, look who else writes to {stream}",
    ),
    Row::new(
        &["ResourceInUseException"],
        (SourceErrorKind::InUse, Fault::Load),
        "is being created, changed or deleted",
        "the call is repeated after a pause; if it persists, look what becomes of the table",
    ),
    Row::new(
        &["ResourceNotFoundException", "ResourceNotFound"],
        (SourceErrorKind::TableGone, Fault::Settings),
        "does not exist",
        "check the sink's table, and that it is in {region} and in the account of {credentials}",
    ),
    Row::new(
        &["ItemCollectionSizeLimitExceededException", "ItemCollectionSizeLimitExceeded"],
        (SourceErrorKind::Rejected, Fault::Load),
        "holds 10 GB under one partition key, which is the most that a table with local indexes may",
        "the item is given up as poison; write to other partition keys, or to a table without local secondary indexes",
    ),
    Row::new(
        &["IdempotentParameterMismatchException", "IdempotentParameterMismatch", "ConditionalCheckFailedException"],
        (SourceErrorKind::Invalid, Fault::Host),
        "was asked for something that this program should not ask for",
        "report it with this message",
    ),
    Row::new(
        DENIALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to",
        "grant dynamodb:DescribeTable and BatchWriteItem on {stream} to the identity of {credentials}; with guarantee = \
         \"exactly-once\" also PutItem, UpdateItem and DeleteItem",
    ),
    Row::new(
        NOT_SUBSCRIBED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to",
        "the account of {credentials} is not subscribed to the service in {region}",
    ),
    Row::new(
        KEY_REFUSALS,
        (SourceErrorKind::Denied, Fault::Settings),
        "cannot be encrypted",
        "check the table's KMS key: that it exists, is enabled, and allows kms:Decrypt and kms:GenerateDataKey to the identity \
         of {credentials}",
    ),
    Row::new(
        EXPIRED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to: the session token has expired",
        "renew the session of {credentials}; a token that stands in a manifest or a variable is renewed by nobody else, \
         while \"assume-role\", \"web-identity\" and \"process\" renew theirs",
    )
    .withheld(),
    Row::new(
        SKEWED,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to: the request's time is too far from the service's",
        "set this machine's clock",
    )
    .withheld(),
    Row::new(
        SIGNATURES,
        (SourceErrorKind::Denied, Fault::Settings),
        "may not be written to: the service does not accept the credentials",
        "check the keys of {credentials}, that they belong to this partition, and this machine's clock",
    )
    .withheld(),
    Row::new(
        &["UnknownOperationException", "InvalidAction"],
        (SourceErrorKind::Unreachable, Fault::Settings),
        "cannot be asked for: nothing there speaks the API of {service}",
        "check aws.endpoint: {endpoint} is another service or an incomplete emulator",
    ),
    Row::new(
        &["ValidationException"],
        (SourceErrorKind::Invalid, Fault::Settings),
        "cannot be asked for as named",
        "check the sink's table, and what the message names",
    )
    .saying(Says::Called(&["DescribeTable"])),
    Row::new(
        &["ValidationException", "ValidationError"],
        (SourceErrorKind::Rejected, Fault::Settings),
        "does not take what it is given",
        "the item is given up as poison; check what the converter makes, and what the message names",
    ),
    Row::new(
        &[
            "SerializationException",
            "InvalidParameterValue",
            "InvalidParameterCombination",
            "MissingParameter",
            "MalformedQueryString",
            "InvalidEndpointException",
        ],
        (SourceErrorKind::Invalid, Fault::Settings),
        "cannot be written to as asked",
        "check the sink's table and aws.endpoint, and what the message names",
    ),
];
