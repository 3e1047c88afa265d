use std::time::Duration;

use super::*;
use crate::item::Value;
use crate::ports::{PositionWrite, TransactApi as _, TransactError};
use crate::sink::dynamodb::transactions::DynamodbTransactions;
use crate::source::canned::{Answer, Canned, exception};
use crate::source::classify::Fault;

const DESCRIBED: &str = r#"{"Table":{"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/quakes","TableStatus":"ACTIVE",
    "KeySchema":[{"AttributeName":"s","KeyType":"RANGE"},{"AttributeName":"p","KeyType":"HASH"}],
    "AttributeDefinitions":[{"AttributeName":"s","AttributeType":"N"},{"AttributeName":"x","AttributeType":"B"},
    {"AttributeName":"p","AttributeType":"S"}],"ProvisionedThroughput":{"WriteCapacityUnits":7}}}"#;

fn described() -> Answer {
    Answer::Json(200, DESCRIBED.to_owned())
}

fn answer(body: &str) -> Answer {
    Answer::Json(200, body.to_owned())
}

fn table_named(account: Option<&str>) -> Table {
    Table { name: "quakes".to_owned(), region: "us-east-1".to_owned(), account: account.map(str::to_owned) }
}

async fn table_of(server: &Canned, account: Option<&str>) -> DynamodbTable {
    let settings = AwsSettings::local("us-east-1", &server.endpoint);
    DynamodbTable::new(settings.access().await.dynamodb(), table_named(account), &settings)
}

async fn transactions_of(server: &Canned) -> DynamodbTransactions {
    let settings = AwsSettings::local("us-east-1", &server.endpoint);
    let positions = Table { name: "positions".to_owned(), ..table_named(None) };
    DynamodbTransactions::new(Arc::new(table_of(server, None).await), positions, &settings)
}

fn request(action: Action, partition: &str, sort: &str) -> Arc<ItemRequest> {
    let item = Item(vec![
        ("p".to_owned(), Value::Text(partition.to_owned())),
        ("s".to_owned(), Value::Number(sort.to_owned())),
        ("n".to_owned(), Value::Number("3".to_owned())),
    ]);
    Arc::new(ItemRequest { action, item })
}

fn position() -> PositionWrite {
    let text = |name: &str, value: &str| (name.to_owned(), Value::Text(value.to_owned()));
    PositionWrite {
        key: Item(vec![text("shard", "shardId-000000000000")]),
        expected: vec![("generation".to_owned(), Value::Number("4".to_owned())), ("position".to_owned(), Value::Null)],
        set: vec![text("position", "17")],
    }
}

async fn batch_error(answer: Answer) -> SourceError {
    let server = Canned::serve(vec![described(), answer]).await;
    let table = table_of(&server, None).await;
    table.batch_write(&[request(Action::Put, "a", "1")]).await.expect_err("the answer is an error")
}

async fn transact_error(answer: Answer) -> TransactError {
    let server = Canned::serve(vec![described(), answer]).await;
    let requests = [request(Action::Put, "a", "1"), request(Action::Add, "b", "1")];
    transactions_of(&server).await.transact("token", &position(), &requests).await.expect_err("the answer is an error")
}

fn cancelled(codes: [&str; 3]) -> Answer {
    let reasons: Vec<String> =
        codes.iter().map(|code| format!("{{\"Code\":\"{code}\",\"Message\":\"because\"}}")).collect();
    let body = format!(
        "{{\"__type\":\"com.amazonaws.dynamodb.v20120810#TransactionCanceledException\",\"Message\":\"cancelled\",\
         \"CancellationReasons\":[{}]}}",
        reasons.join(",")
    );
    Answer::Json(400, body)
}

#[tokio::test]
async fn a_description_tells_the_typed_key_and_what_may_be_written() {
    let describe = async |body: String| {
        let server = Canned::serve(vec![Answer::Json(200, body)]).await;
        table_of(&server, None).await.describe().await
    };
    let table = describe(DESCRIBED.to_owned()).await.expect("a description");
    assert_eq!(table.partition_key, KeyAttribute { name: "p".to_owned(), of: KeyType::Text });
    assert_eq!(table.sort_key, Some(KeyAttribute { name: "s".to_owned(), of: KeyType::Number }));
    assert_eq!((table.write_units, table.is_writable), (Some(7), true));

    let on_demand = DESCRIBED.replacen(
        "{\"Table\":{",
        "{\"Table\":{\"BillingModeSummary\":{\"BillingMode\":\"PAY_PER_REQUEST\"},",
        1,
    );
    assert_eq!(describe(on_demand).await.expect("a description").write_units, None);
    for (status, is_writable) in [("UPDATING", true), ("CREATING", false), ("DELETING", false), ("ARCHIVED", false)] {
        let table = describe(DESCRIBED.replace("ACTIVE", status)).await.expect("a description");
        assert_eq!(table.is_writable, is_writable, "{status}");
    }
    for broken in
        [DESCRIBED.replace("\"HASH\"", "\"HUSH\""), DESCRIBED.replace("\"TableArn\"", "\"Arn\""), "{}".to_owned()]
    {
        let error = describe(broken).await.expect_err("no description");
        assert_eq!((error.kind, error.fault), (SourceErrorKind::Invalid, Fault::Service), "{error}");
    }
}

#[tokio::test]
async fn what_comes_back_unprocessed_is_found_by_its_key_however_it_is_spelled() {
    let unprocessed = r#"{"UnprocessedItems":{"quakes":[
        {"DeleteRequest":{"Key":{"s":{"N":"2"},"p":{"S":"a"}}}},
        {"PutRequest":{"Item":{"n":{"N":"3"},"s":{"N":"1"},"p":{"S":"b"}}}}]}}"#;
    let server = Canned::serve(vec![described(), answer(unprocessed)]).await;
    let requests = [
        request(Action::Put, "a", "1"),
        request(Action::Put, "b", "1.0"),
        request(Action::Put, "b", "2"),
        request(Action::Delete, "a", "20e-1"),
    ];
    let outcomes = table_of(&server, None).await.batch_write(&requests).await.expect("an answer");
    let throttled = Outcome::Retry(Setback::Throttled);
    assert_eq!(outcomes, [Outcome::Done, throttled.clone(), Outcome::Done, throttled]);
}

#[tokio::test]
async fn an_answer_about_an_item_that_was_not_sent_is_not_believed() {
    let unprocessed = r#"{"UnprocessedItems":{"quakes":[{"DeleteRequest":{"Key":{"s":{"N":"2"},"p":{"S":"z"}}}}]}}"#;
    let error = batch_error(answer(unprocessed)).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Invalid, Fault::Service), "{error}");
}

#[tokio::test]
async fn a_delete_is_sent_as_its_key() {
    let server = Canned::serve(vec![described(), answer("{}")]).await;
    table_of(&server, None).await.batch_write(&[request(Action::Delete, "a", "1")]).await.expect("an answer");
    let sent = &server.requests()[1];
    let key = sent.split("\"Key\":").nth(1).expect("a key");
    assert!(
        key.contains("\"p\":{\"S\":\"a\"}") && key.contains("\"s\":{\"N\":\"1\"}") && !key.contains("\"n\""),
        "{sent}"
    );
}

#[tokio::test]
async fn a_table_of_an_account_is_asked_for_by_arn_and_by_name_where_only_that_is_known() {
    let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/quakes";
    let server = Canned::serve(vec![described(), answer("{}")]).await;
    table_of(&server, Some("123456789012")).await.batch_write(&[request(Action::Put, "a", "1")]).await.expect("done");
    assert!(server.requests().iter().all(|request| request.contains(arn)), "{:?}", server.requests());

    let refusal = exception(400, "ValidationException", "table name must match [a-zA-Z0-9_.-]+");
    let server = Canned::serve(vec![refusal, described(), answer("{}")]).await;
    table_of(&server, Some("123456789012")).await.batch_write(&[request(Action::Put, "a", "1")]).await.expect("done");
    let named: Vec<bool> = server.requests().iter().map(|request| request.contains(arn)).collect();
    assert_eq!(named, [true, false, false]);

    let refusals =
        vec![exception(400, "ResourceNotFoundException", "of the ARN"), exception(400, "AccessDenied", "of the name")];
    let error =
        table_of(&Canned::serve(refusals).await, Some("123456789012")).await.describe().await.expect_err("none");
    assert!(error.kind == SourceErrorKind::TableGone && error.message.contains("of the ARN"), "{error}");
    assert!(error.to_string().contains("(account 123456789012)"), "{error}");
}

#[test]
fn an_arn_is_of_the_partition_of_its_region() {
    for (region, partition) in [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")] {
        let table = Table { region: region.to_owned(), ..table_named(Some("1")) };
        assert_eq!(address_of(&table), format!("arn:{partition}:dynamodb:{region}:1:table/quakes"));
    }
    assert_eq!(address_of(&table_named(None)), "quakes");
}

#[tokio::test]
async fn a_failed_batch_says_what_the_service_said() {
    use SourceErrorKind::*;
    for (status, code, kind) in [
        (400, "ProvisionedThroughputExceededException", Throttled),
        (400, "RequestLimitExceeded", Throttled),
        (400, "ThrottlingException", Throttled),
        (500, "InternalServerError", Transient),
        (503, "NewException", Transient),
        (400, "ResourceNotFoundException", TableGone),
        (400, "AccessDeniedException", Denied),
        (400, "UnrecognizedClientException", Denied),
        (400, "ItemCollectionSizeLimitExceededException", Rejected),
        (400, "ValidationException", Rejected),
        (400, "ReplicatedWriteConflictException", Transient),
    ] {
        for code in [code.to_owned(), format!("com.amazonaws.dynamodb.v20120810#{code}")] {
            let error = batch_error(exception(status, &code, "x")).await;
            assert_eq!(error.kind, kind, "{error}");
            assert!(
                error.to_string().starts_with("table \"quakes\" ") && error.operation == "BatchWriteItem",
                "{error}"
            );
        }
    }
    assert_eq!(batch_error(Answer::Torn).await.kind, Transient);
    assert_eq!(batch_error(answer("not json")).await.kind, Transient);
}

#[tokio::test]
async fn a_call_ends_within_the_limit_of_its_client() {
    let server = Canned::serve(vec![described(), Answer::Silence]).await;
    let settings = AwsSettings::local("us-east-1", &server.endpoint);
    let access = settings.access().await.within(Duration::from_millis(300));
    let table = DynamodbTable::new(access.dynamodb(), table_named(None), access.settings());
    let error = table.batch_write(&[request(Action::Put, "a", "1")]).await.expect_err("nothing answers");
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Transient, Fault::Network), "{error}");
}

#[tokio::test]
async fn nothing_there_is_unreachable() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("free").local_addr().expect("bound").port();
    let settings = AwsSettings::local("us-east-1", format!("http://user:hush@127.0.0.1:{port}"));
    let table = DynamodbTable::new(settings.access().await.dynamodb(), table_named(None), &settings);
    let error = table.describe().await.expect_err("nothing listens");
    assert_eq!(error.kind, SourceErrorKind::Unreachable, "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_cancelled_transaction_says_whose_fault_it_is() {
    use SourceErrorKind::*;
    let fenced = [["ConditionalCheckFailed", "None", "None"], ["ConditionalCheckFailed", "ValidationError", "None"]];
    for codes in fenced {
        assert!(matches!(transact_error(cancelled(codes)).await, TransactError::Fenced), "{codes:?}");
    }
    for (codes, refused) in [
        (["None", "ValidationError", "None"], 0),
        (["None", "None", "ItemCollectionSizeLimitExceeded"], 1),
        (["TransactionConflict", "None", "ValidationError"], 1),
    ] {
        let error = transact_error(cancelled(codes)).await;
        assert!(
            matches!(&error, TransactError::Refused { at: Some(at), message } if *at == refused && message.contains("because")),
            "{codes:?} {error:?}"
        );
    }
    for (codes, kind) in [
        (["None", "TransactionConflict", "None"], Transient),
        (["TransactionConflict", "None", "None"], Transient),
        (["None", "None", "ThrottlingError"], Throttled),
        (["None", "ProvisionedThroughputExceeded", "None"], Throttled),
        (["None", "ConditionalCheckFailed", "None"], Invalid),
        (["ValidationError", "None", "None"], Rejected),
        (["None", "AccessDenied", "None"], Denied),
        (["None", "None", "None"], Transient),
    ] {
        let error = transact_error(cancelled(codes)).await;
        assert!(matches!(&error, TransactError::Failed(error) if error.kind == kind), "{codes:?} {error:?}");
    }
}

#[tokio::test]
async fn a_transaction_that_fails_as_a_whole_says_what_the_service_said() {
    use SourceErrorKind::*;
    for (code, kind) in [
        ("TransactionInProgressException", Transient),
        ("ThrottlingException", Throttled),
        ("ResourceNotFoundException", TableGone),
        ("IdempotentParameterMismatchException", Invalid),
    ] {
        let error = transact_error(exception(400, code, "x")).await;
        assert!(matches!(&error, TransactError::Failed(error) if error.kind == kind), "{error:?}");
    }
    let error = transact_error(exception(400, "ValidationException", "4 MB")).await;
    assert!(matches!(&error, TransactError::Refused { at: None, message } if message.contains("4 MB")), "{error:?}");
}

#[tokio::test]
async fn a_transaction_carries_its_token_its_fence_and_its_writes() {
    let server = Canned::serve(vec![described(), answer("{}")]).await;
    let requests = [Action::Put, Action::Delete, Action::Add].map(|action| request(action, "a", "1"));
    transactions_of(&server).await.transact("a-token", &position(), &requests).await.expect("an answer");
    let sent = &server.requests()[1];
    for part in [
        "\"ClientRequestToken\":\"a-token\"",
        "\"TableName\":\"positions\"",
        "\"ConditionExpression\":\"#n0 = :v0 AND attribute_not_exists(#n1)\"",
        "\"UpdateExpression\":\"SET #n2 = :v1\"",
        "\"UpdateExpression\":\"ADD #n0 :v0\"",
        "\"ExpressionAttributeNames\":{\"#n0\":\"n\"}",
    ] {
        assert!(sent.contains(part), "{part} is not in {sent}");
    }
    assert!(sent.find("positions") < sent.find("quakes"), "the position comes first: {sent}");
}

#[tokio::test]
async fn an_add_without_a_number_is_refused_before_anything_is_sent() {
    let server = Canned::serve(vec![described(), answer("{}")]).await;
    let transactions = transactions_of(&server).await;
    let mut texts = (*request(Action::Add, "a", "1")).clone();
    texts.item.0[2].1 = Value::Text("3".to_owned());
    let mut bare = texts.clone();
    bare.item.0.truncate(2);
    for refused in [texts, bare] {
        let requests = [request(Action::Put, "b", "1"), Arc::new(refused)];
        let error = transactions.transact("token", &position(), &requests).await.expect_err("no number");
        assert!(matches!(&error, TransactError::Refused { at: Some(1), .. }), "{error:?}");
    }
    assert_eq!(server.requests().len(), 1, "the description only");
}

#[tokio::test]
async fn a_claim_returns_the_row_before_or_is_fenced() {
    let server = Canned::serve(vec![
        answer("{}"),
        answer(r#"{"Attributes":{"shard":{"S":"s"},"generation":{"N":"3"},"position":{"S":"17"}}}"#),
        exception(400, "ConditionalCheckFailedException", "The conditional request failed"),
        exception(400, "ResourceNotFoundException", "Requested resource not found"),
    ])
    .await;
    let transactions = transactions_of(&server).await;
    let key = position().key;
    assert_eq!(transactions.claim(&key, 4).await.expect("claimed"), None);
    let before = transactions.claim(&key, 4).await.expect("claimed").expect("a row");
    assert_eq!(before.get("position"), Some(&Value::Text("17".to_owned())));
    assert!(matches!(transactions.claim(&key, 4).await, Err(TransactError::Fenced)));
    let missing = transactions.claim(&key, 4).await.expect_err("no table");
    assert!(
        matches!(&missing, TransactError::Failed(error) if error.to_string().starts_with("table \"positions\" does not exist")),
        "{missing:?}"
    );
}
