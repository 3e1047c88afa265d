use std::time::Duration;

use super::*;
use crate::config::Credentials;
use crate::ports::{ShardIterator, StreamApi as _};
use crate::source::canned::{Answer, Canned, arn, exception};
use crate::source::kinesis::KinesisStream;

async fn error_of(answer: Answer) -> SourceError {
    let server = Canned::serve(vec![answer]).await;
    read_error(&server.stream().await).await
}

async fn read_error(stream: &KinesisStream) -> SourceError {
    let shard = ShardId::new("shardId-000000000000");
    stream.read(&shard, &ShardIterator("AAAA".to_owned()), 10).await.expect_err("the answer is an error")
}

async fn error_at(settings: AwsSettings) -> SourceError {
    KinesisStream::connect(arn(), &settings).await.describe().await.expect_err("nothing is there")
}

#[tokio::test]
async fn every_code_of_the_table_comes_through_the_sdk_as_its_row_says() {
    for row in CODES.iter().filter(|row| row.says == table::Says::Anything) {
        for code in row.codes {
            for worded in [(*code).to_owned(), format!("com.amazonaws.kinesis.v20131202#{code}")] {
                let error = error_of(exception(400, &worded, "because")).await;
                assert_eq!((error.kind, error.fault), (row.kind, row.fault), "{code}");
                assert!(error.message.starts_with(code), "{}", error.message);
            }
        }
    }
}

#[test]
fn every_code_ends_in_one_row_that_takes_any_text() {
    let rows =
        |code: &str| -> Vec<usize> { (0..CODES.len()).filter(|row| CODES[*row].codes.contains(&code)).collect() };
    for code in CODES.iter().flat_map(|row| row.codes) {
        let rows = rows(code);
        let takes_any: Vec<_> = rows.iter().filter(|row| CODES[**row].says == table::Says::Anything).collect();
        assert_eq!(takes_any, [rows.last().expect("it stands somewhere")], "{code}");
    }
}

#[test]
fn every_status_and_every_fate_has_a_row() {
    for status in 0..=u16::MAX {
        assert!(!by_status(status, true).problem.is_empty() && !by_status(status, false).problem.is_empty());
    }
    use Fate::*;
    for fate in
        [Refused, UnknownHost, NoTls, Timeout, Network, TornAnswer, Construction, NoCredentials, CredentialsUnavailable]
    {
        assert!(!by_fate(fate).problem.is_empty());
    }
}

/// What the API's model lists for the operations in use, and for those of enhanced fan-out.
#[test]
fn every_exception_of_the_api_is_judged_by_its_code() {
    let modelled = [
        "AccessDeniedException",
        "DryRunOperationException",
        "ExpiredIteratorException",
        "ExpiredNextTokenException",
        "InternalFailureException",
        "InvalidArgumentException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ResourceInUseException",
        "ResourceNotFoundException",
        "TrimmedDataAccessException",
        "ValidationException",
    ];
    for code in modelled {
        assert!(CODES.iter().any(|row| row.codes.contains(&code)), "{code} is judged by its status only");
    }
}

#[tokio::test]
async fn the_same_code_means_what_its_text_says() {
    use SourceErrorKind::*;
    let number = "StartingSequenceNumber 7 used in GetShardIterator on shard shardId-000000000000 in stream earthquakes \
                  under account 000000000000 is invalid because it did not come from this stream.";
    let ahead = "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                 timestampInMillis: 9, currentTimestampInMillis: 8";
    for (code, text, kind) in [
        ("InvalidArgumentException", number, StalePosition),
        ("InvalidArgumentException", ahead, TooEarly),
        ("InvalidArgumentException", "Invalid ShardIterator.", Invalid),
        ("TrimmedDataAccessException", "too old", Trimmed),
        (
            "ResourceNotFoundException",
            "Shard shardId-000000000000 in stream earthquakes under account 0 does not exist",
            ShardGone,
        ),
        ("ResourceNotFoundException", "Stream earthquakes under account 0 not found.", StreamGone),
        ("ResourceNotFoundException", "not found", NotFound),
    ] {
        assert_eq!(error_of(exception(400, code, text)).await.kind, kind, "{text}");
    }
    let server = Canned::serve(vec![exception(400, "ResourceNotFoundException", "not found")]).await;
    let error = server.stream().await.describe().await.expect_err("no stream");
    assert_eq!(error.kind, StreamGone, "a call about the stream alone can miss nothing else");
}

#[tokio::test]
async fn exceptions_mean_what_the_reader_must_do() {
    use SourceErrorKind::*;
    for (code, kind) in [
        ("ProvisionedThroughputExceededException", Throttled),
        ("LimitExceededException", Throttled),
        ("KMSThrottlingException", Throttled),
        ("InternalFailureException", Transient),
        ("ResourceInUseException", InUse),
        ("ExpiredNextTokenException", Transient),
        ("ExpiredIteratorException", ExpiredIterator),
        ("AccessDeniedException", Denied),
        ("KMSAccessDeniedException", Denied),
        ("KMSDisabledException", Denied),
        ("KMSInvalidStateException", Denied),
        ("KMSNotFoundException", Denied),
        ("KMSOptInRequired", Denied),
        ("InvalidArgumentException", Invalid),
        ("ValidationException", Invalid),
        ("DryRunOperationException", Invalid),
        ("ExpiredTokenException", Denied),
        ("SignatureDoesNotMatch", Denied),
        ("UnknownOperationException", Unreachable),
    ] {
        assert_eq!(error_of(exception(400, code, "x")).await.kind, kind, "{code}");
    }
}

#[test]
fn what_one_entry_may_be_to_blame_for_is_rejected_and_a_read_of_the_same_code_is_not() {
    let place = Place::of(&arn(), &AwsSettings::local("us-east-1", "http://localhost"));
    let kind = |operation, code, status| {
        CallSite { place: &place, operation, shard: None }.answered(code, status, "because").kind
    };
    for code in ["InvalidArgumentException", "ValidationException", "SerializationException", "InvalidParameterValue"] {
        assert_eq!(kind("PutRecords", Some(code), 400), SourceErrorKind::Rejected, "{code}");
        assert_eq!(kind("GetRecords", Some(code), 400), SourceErrorKind::Invalid, "{code}");
    }
    assert_eq!(kind("PutRecords", None, 413), SourceErrorKind::Rejected, "smaller requests may pass");
    assert_eq!(kind("PutRecords", Some("MissingParameter"), 400), SourceErrorKind::Invalid);
}

#[tokio::test]
async fn an_unknown_code_is_judged_by_its_status() {
    for (status, kind) in [
        (429, SourceErrorKind::Throttled),
        (500, SourceErrorKind::Transient),
        (503, SourceErrorKind::Transient),
        (408, SourceErrorKind::Transient),
        (403, SourceErrorKind::Denied),
        (404, SourceErrorKind::Unreachable),
        (400, SourceErrorKind::Invalid),
    ] {
        let error = error_of(exception(status, "NewException", "x")).await;
        assert_eq!(error.kind, kind, "{status}");
        if status != 400 {
            let html = error_of(Answer::Json(status, "<html>not Kinesis</html>".to_owned())).await;
            assert_eq!(html.kind, kind, "{status} {html}");
        }
    }
}

#[tokio::test]
async fn a_refusal_without_a_readable_code_may_pass() {
    for body in ["<html>not Kinesis</html>", "{\"__type\":\"ExpiredIt", "{}", "", "{\"__type\":\"\"}"] {
        let error = error_of(Answer::Json(400, body.to_owned())).await;
        assert_eq!((error.kind, error.fault), (SourceErrorKind::Transient, Fault::Network), "{body:?}: {error}");
        assert!(error.message.starts_with("HTTP status 400"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_stream_is_named_with_its_place_and_what_to_check() {
    let server = Canned::serve(vec![exception(400, "ResourceNotFoundException", "Stream not found.")]).await;
    let error = server.stream().await.describe().await.expect_err("not found");
    let at = &server.endpoint;
    assert_eq!(
        error.to_string(),
        format!(
            "stream \"earthquakes\" does not exist in us-east-1 (account 000000000000) at {at}: \
             ResourceNotFoundException: Stream not found. (DescribeStreamSummary); check stream_arn: its name, region and account"
        )
    );
}

#[tokio::test]
async fn texts_of_signature_errors_are_withheld() {
    let quoted = "The Canonical String should have been x-amz-security-token:hush";
    let error = error_of(exception(403, "SignatureDoesNotMatch", quoted)).await;
    assert!(!error.to_string().contains("hush") && !format!("{error:?}").contains("hush"), "{error:?}");
    assert!(error.advice().contains("credentials = \"basic\""), "{}", error.advice());
}

#[tokio::test]
async fn a_foreign_text_stays_on_one_bounded_line() {
    let error = error_of(exception(400, "InvalidArgumentException", &format!("a\\tb\\nc{}", "d".repeat(9)))).await;
    assert_eq!(error.message, "InvalidArgumentException: a b");
    let long = error_of(exception(400, "InvalidArgumentException", &"d".repeat(9000))).await;
    assert!(long.message.len() < 400);
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_are_unreachable() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free").local_addr().expect("bound").port();
    let refused = error_at(AwsSettings::local("us-east-1", format!("http://user:hush@127.0.0.1:{port}"))).await;
    assert_eq!((refused.kind, refused.fault), (SourceErrorKind::Unreachable, Fault::Settings), "{refused}");
    assert!(refused.advice().contains(&format!("http://127.0.0.1:{port}")), "{refused}");
    assert!(!refused.to_string().contains("hush"), "{refused}");

    let unknown = error_at(AwsSettings::local("us-east-1", "http://no-such-host.invalid")).await;
    assert_eq!(unknown.kind, SourceErrorKind::Unreachable, "{unknown}");
    assert!(unknown.to_string().contains("name is unknown"), "{unknown}");
}

#[tokio::test]
async fn plain_http_behind_https_is_told_as_missing_tls() {
    let server = Canned::serve(vec![Answer::Json(400, String::new())]).await;
    let error = error_at(AwsSettings::local("us-east-1", server.endpoint.replace("http:", "https:"))).await;
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("no secure connection"), "{error}");
}

#[tokio::test]
async fn silence_and_a_torn_answer_are_transient() {
    let server = Canned::serve(vec![Answer::Silence]).await;
    let mut settings = AwsSettings::local("us-east-1", &server.endpoint);
    settings.call_timeout = Duration::from_millis(50);
    let silent = error_at(settings).await;
    assert_eq!((silent.kind, silent.fault), (SourceErrorKind::Transient, Fault::Network), "{silent}");
    let torn = error_of(Answer::Torn).await;
    assert_eq!(torn.kind, SourceErrorKind::Transient, "{torn}");
    let unreadable = error_of(Answer::Json(200, "not json".to_owned())).await;
    assert_eq!(unreadable.kind, SourceErrorKind::Transient, "{unreadable}");
}

#[tokio::test]
async fn missing_credentials_are_told_before_anything_is_sent() {
    let server = Canned::serve(vec![exception(500, "InternalFailure", "")]).await;
    let settings = AwsSettings {
        credentials: Credentials::Profile { name: "no-such-profile".to_owned(), file: None },
        ..AwsSettings::local("us-east-1", &server.endpoint)
    };
    let error = error_at(settings).await;
    assert_eq!(error.kind, SourceErrorKind::Denied, "{error}");
    assert!(error.advice().contains("profile \"no-such-profile\""), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn settings_that_make_no_request_are_told_as_such() {
    let error = error_at(AwsSettings::local("us-east-1", "::not a url::")).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Invalid, Fault::Settings), "{error}");
}

/// What lies under an error of the SDK, in its words.
#[derive(Debug)]
struct Layer(&'static str, std::io::Error);

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

#[test]
fn a_connection_that_loses_its_way_may_have_carried_the_request() {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable};
    for kind in [HostUnreachable, NetworkUnreachable] {
        assert_eq!(undelivered(&Layer("client error (Connect)", kind.into())), Fate::Refused);
        assert_eq!(undelivered(&Layer("client error (SendRequest)", kind.into())), Fate::Network);
    }
}

#[tokio::test]
async fn a_failed_connection_is_told_from_a_failed_request_in_the_words_of_the_transport() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free").local_addr().expect("bound").port();
    let client = AwsSettings::local("us-east-1", format!("http://127.0.0.1:{port}")).kinesis().await;
    let refused = client.list_streams().send().await.expect_err("nothing listens");
    assert!(is_of_connecting(&refused), "{refused:?}");
}
