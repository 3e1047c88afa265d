use super::*;
use crate::source::classify::table::Says;
use crate::source::classify::{Fault, SourceErrorKind};

fn place() -> TablePlace {
    TablePlace {
        table: "quakes".to_owned(),
        region: "eu-west-1".to_owned(),
        account: None,
        endpoint: None,
        credentials: "the usual chain".to_owned(),
    }
}

fn error(operation: &'static str, code: &str, message: &str) -> SourceError {
    TableSite { place: &place(), operation }.answered(Some(code), 400, message)
}

#[test]
fn codes_of_a_table_mean_what_the_sink_must_do() {
    use SourceErrorKind::*;
    for (code, kind) in [
        ("ProvisionedThroughputExceededException", Throttled),
        ("RequestLimitExceeded", Throttled),
        ("ThrottlingException", Throttled),
        ("ThrottlingError", Throttled),
        ("InternalServerError", Transient),
        ("TransactionConflict", Transient),
        ("TransactionInProgressException", Transient),
        ("ReplicatedWriteConflictException", Transient),
        ("ResourceInUseException", InUse),
        ("ResourceNotFoundException", TableGone),
        ("AccessDeniedException", Denied),
        ("UnrecognizedClientException", Denied),
        ("ExpiredTokenException", Denied),
        ("ValidationException", Rejected),
        ("ItemCollectionSizeLimitExceededException", Rejected),
        ("IdempotentParameterMismatchException", Invalid),
        ("SerializationException", Invalid),
        ("UnknownOperationException", Unreachable),
        ("NoSuchCodeException", Invalid),
    ] {
        assert_eq!(error("BatchWriteItem", code, "because").kind, kind, "{code}");
    }
    assert_eq!(error("DescribeTable", "ValidationException", "bad name").kind, Invalid, "no entry is to blame");
    assert_eq!(error("TransactWriteItems", "IdempotentParameterMismatchException", "x").fault, Fault::Host);
}

#[test]
fn an_error_names_the_table_and_speaks_of_no_stream() {
    let all = TABLE_CODES.iter().flat_map(|row| row.codes).map(|code| error("BatchWriteItem", code, "because"));
    let statuses = [302, 400, 403, 404, 413, 429, 500];
    let place = place();
    let site = TableSite { place: &place, operation: "BatchWriteItem" };
    let nameless = statuses.map(|status| site.answered(None, status, ""));
    let fates = [site.unanswered(), site.malformed("nonsense")];
    for error in all.chain(nameless).chain(fates) {
        let told = error.to_string();
        assert!(told.starts_with("table \"quakes\" ") && told.contains("eu-west-1"), "{told}");
        assert!(!told.contains("stream") && !told.contains("Kinesis") && !told.contains(['{', '}']), "{told}");
    }
    assert_eq!(
        error("DescribeTable", "ResourceNotFoundException", "Requested resource not found").to_string(),
        "table \"quakes\" does not exist in eu-west-1: ResourceNotFoundException: Requested resource not found \
         (DescribeTable); check the sink's table, and that it is in eu-west-1 and in the account of the usual chain"
    );
}

#[test]
fn every_code_of_a_table_ends_in_one_row_that_takes_any_text() {
    for code in TABLE_CODES.iter().flat_map(|row| row.codes) {
        let rows: Vec<_> = TABLE_CODES.iter().filter(|row| row.codes.contains(code)).collect();
        let last = rows.last().expect("it stands somewhere");
        assert!(last.says == Says::Anything, "{code}");
        assert_eq!(rows.iter().filter(|row| row.says == Says::Anything).count(), 1, "{code}");
    }
}

/// What the API's model lists for the operations in use.
#[test]
fn every_exception_of_the_api_of_tables_is_judged_by_its_code() {
    for code in [
        "IdempotentParameterMismatchException",
        "InternalServerError",
        "InvalidEndpointException",
        "ItemCollectionSizeLimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "ResourceNotFoundException",
        "ThrottlingException",
        "TransactionCanceledException",
        "TransactionConflictException",
        "TransactionInProgressException",
        "ConditionalCheckFailedException",
    ] {
        assert!(TABLE_CODES.iter().any(|row| row.codes.contains(&code)), "{code} is judged by its status only");
    }
}

#[test]
fn texts_of_signature_errors_of_tables_are_withheld() {
    let quoted = "The Canonical String should have been x-amz-security-token:hush";
    let error = error("BatchWriteItem", "SignatureDoesNotMatch", quoted);
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
}
