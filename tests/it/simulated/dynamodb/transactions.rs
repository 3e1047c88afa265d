//! All parts or none, once for each token.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{ConditionCheck, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use super::{TABLE, get, invalid, item, number, part, refused, still, text};

fn update(id: &str, expression: &str, condition: Option<&str>) -> TransactWriteItem {
    let update = Update::builder().table_name(TABLE).key("id", text(id)).update_expression(expression);
    let update =
        update.expression_attribute_values(":one", number(1)).set_condition_expression(condition.map(str::to_owned));
    let update = update.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    TransactWriteItem::builder().update(update.build().expect("whole")).build()
}

fn delete(id: &str) -> TransactWriteItem {
    let delete = Delete::builder().table_name(TABLE).key("id", text(id)).build().expect("whole");
    TransactWriteItem::builder().delete(delete).build()
}

fn check(id: &str, condition: &str) -> TransactWriteItem {
    let check = ConditionCheck::builder().table_name(TABLE).key("id", text(id)).condition_expression(condition);
    TransactWriteItem::builder().condition_check(check.build().expect("whole")).build()
}

async fn transact(
    client: &aws_sdk_dynamodb::Client,
    parts: Vec<TransactWriteItem>,
) -> Result<(), aws_sdk_dynamodb::error::SdkError<TransactWriteItemsError>> {
    client.transact_write_items().set_transact_items(Some(parts)).send().await.map(drop)
}

#[track_caller]
fn cancelled<T: std::fmt::Debug>(
    outcome: Result<T, aws_sdk_dynamodb::error::SdkError<TransactWriteItemsError>>,
) -> TransactionCanceledException {
    let error = outcome.expect_err("cancelled").into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(error) = error else { panic!("{error}") };
    error
}

#[tokio::test]
async fn all_parts_happen_or_none_and_every_part_has_a_reason() {
    let (aws, client) = still().await;
    let first = vec![
        part(item([("id", text("a")), ("n", number(1))])),
        part(item([("id", text("b"))])),
        update("c", "ADD n :one", None),
    ];
    transact(&client, first).await.expect("carried out");
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 3);
    let error = cancelled(
        transact(
            &client,
            vec![
                delete("b"),
                update("a", "SET n = n + :one", Some("n > :one")),
                check("d", "attribute_exists(id)"),
                update("c", "SET id = :one", None),
            ],
        )
        .await,
    );
    let reasons = error.cancellation_reasons();
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().expect("told")).collect();
    assert_eq!(codes, ["None", "ConditionalCheckFailed", "ConditionalCheckFailed", "ValidationError"]);
    assert_eq!(reasons[1].message(), Some("The conditional request failed"));
    assert_eq!(reasons[1].item().expect("asked for")["n"], number(1));
    assert_eq!((reasons[0].message(), reasons[2].item()), (None, None));
    assert!(reasons[3].message().expect("told").contains("part of the key"));
    assert_eq!(
        error.message(),
        Some(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed, ConditionalCheckFailed, ValidationError]"
        )
    );
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 3);
    let last = vec![delete("b"), update("a", "SET n = n + :one", Some("n = :one")), check("c", "attribute_exists(id)")];
    transact(&client, last).await.expect("carried out");
    assert_eq!(get(&client, item([("id", text("b"))])).await, None);
    assert_eq!(get(&client, item([("id", text("a"))])).await.expect("there")["n"], number(2));
    // Looking is no effect.
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 5);
}

#[tokio::test]
async fn a_transaction_has_100_parts_on_distinct_items_and_four_mebibytes() {
    let (aws, client) = still().await;
    let parts = |count: usize, bytes: usize| {
        let item = |id: usize| item([("id", text(format!("{id:03}"))), ("v", text("x".repeat(bytes)))]);
        (0..count).map(|id| part(item(id))).collect::<Vec<_>>()
    };
    invalid(transact(&client, parts(101, 1)).await, "Member must have length less than or equal to 100");
    invalid(transact(&client, vec![]).await, "Member must have length greater than or equal to 1");
    transact(&client, parts(100, 1)).await.expect("carried out");
    let twice = vec![delete("a"), check("a", "attribute_exists(id)")];
    invalid(transact(&client, twice).await, "Transaction request cannot include multiple operations on one item");
    let mebibytes = 4 * 1024 * 1024;
    transact(&client, parts(16, mebibytes / 16 - 6)).await.expect("just fits");
    invalid(transact(&client, parts(16, mebibytes / 16 - 5)).await, "exceeding the 4MB limit");
    let none = TransactWriteItem::builder().build();
    invalid(transact(&client, vec![none]).await, "should contain Delete or Put or Update request");
    assert_eq!(aws.dynamodb().effects(TABLE).values().sum::<u64>(), 116);
}

#[tokio::test]
async fn a_token_stands_for_its_request_for_ten_minutes() {
    let (aws, client) = still().await;
    let add = |id: &str, token: &str| {
        let request = client.transact_write_items().transact_items(update(id, "ADD n :one", None));
        request.client_request_token(token).send()
    };
    for _ in 0..3 {
        add("a", "one").await.expect("carried out once");
    }
    add("a", "two").await.expect("carried out");
    assert_eq!(get(&client, item([("id", text("a"))])).await.expect("there")["n"], number(2));
    let (code, _) = refused(add("b", "one").await);
    assert_eq!(code, "IdempotentParameterMismatchException");
    invalid(add("a", &"x".repeat(37)).await, "Member must have length less than or equal to 36");
    aws.clock().advance(Duration::from_millis(599_999));
    add("a", "one").await.expect("the same as before");
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 2);
    aws.clock().advance(Duration::from_millis(1));
    add("a", "one").await.expect("another one");
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 3);
    // A token of a transaction that was cancelled stands for nothing.
    let with = |condition| {
        let request = client.transact_write_items().transact_items(update("c", "ADD n :one", Some(condition)));
        request.client_request_token("three").send()
    };
    cancelled(with("attribute_exists(id)").await);
    with("attribute_not_exists(id)").await.expect("carried out");
}
