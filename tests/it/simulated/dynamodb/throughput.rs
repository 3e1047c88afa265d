//! How fast tables take writes.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ProvisionedThroughput, ReturnConsumedCapacity,
    ScalarAttributeType, TableStatus,
};

use super::{TABLE, item, number, part, put, refused, still, text};

#[tokio::test]
async fn a_batch_is_taken_as_far_as_units_reach_and_the_rest_comes_back_unprocessed() {
    let (aws, client) = still().await;
    aws.dynamodb().slow(TABLE, 2.0, 5);
    let requests = |ids: std::ops::Range<i32>| ids.map(|id| put(item([("id", text(id.to_string()))]))).collect();
    let batch = |ids| client.batch_write_item().request_items(TABLE, requests(ids)).send();
    let output = batch(0..8).await.expect("some are taken");
    let left = &output.unprocessed_items.expect("told")[TABLE];
    assert_eq!(left, &requests(5..8));
    assert_eq!(aws.dynamodb().items(TABLE).len(), 5);
    let (code, _) = refused(batch(5..8).await);
    assert_eq!(code, "ProvisionedThroughputExceededException");
    aws.clock().advance(Duration::from_secs(1));
    let output = batch(5..8).await.expect("some are taken");
    assert_eq!(output.unprocessed_items.expect("told")[TABLE].len(), 1);
    // What is not used is kept, up to the burst.
    aws.clock().advance(Duration::from_secs(3600));
    let output = batch(10..18).await.expect("some are taken");
    assert_eq!(output.unprocessed_items.expect("told")[TABLE].len(), 3);
    aws.dynamodb().hurry(TABLE);
    let output = batch(10..18).await.expect("all are taken");
    assert!(output.unprocessed_items.expect("told").is_empty());
}

#[tokio::test]
async fn a_write_takes_a_unit_for_each_kibibyte_of_the_larger_item_and_a_transaction_double() {
    let (aws, client) = still().await;
    let large = item([("id", text("a")), ("data", text("x".repeat(3000)))]);
    let put = |item| client.put_item().table_name(TABLE).set_item(Some(item));
    let put = |item| put(item).return_consumed_capacity(ReturnConsumedCapacity::Total).send();
    let output = put(large.clone()).await.expect("written");
    assert_eq!(output.consumed_capacity.expect("asked for").capacity_units, Some(3.0));
    let output = put(item([("id", text("a"))])).await.expect("written");
    assert_eq!(output.consumed_capacity.expect("asked for").capacity_units, Some(3.0));
    aws.dynamodb().slow(TABLE, 1.0, 7);
    let transact = client.transact_write_items().transact_items(part(large));
    transact.clone().return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.expect("six units");
    let error = transact.send().await.expect_err("one is left").into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(error) =
        error
    else {
        panic!("{error}")
    };
    assert_eq!(error.cancellation_reasons()[0].code(), Some("ThrottlingError"));
    put(item([("id", text("b"))])).await.expect("one is left");
    let (code, message) = refused(put(item([("id", text("b"))])).await);
    assert_eq!(code, "ThrottlingException", "{message}");
}

#[tokio::test]
async fn a_provisioned_table_begins_with_one_second_and_saves_five_minutes() {
    let (aws, client) = still().await;
    let definition = AttributeDefinition::builder().attribute_name("n").attribute_type(ScalarAttributeType::N).build();
    let key = KeySchemaElement::builder().attribute_name("n").key_type(KeyType::Hash).build();
    let throughput = ProvisionedThroughput::builder().read_capacity_units(7).write_capacity_units(3).build();
    let create = client.create_table().table_name("slow").billing_mode(BillingMode::Provisioned);
    let create = create.attribute_definitions(definition.expect("whole")).key_schema(key.expect("whole"));
    aws.dynamodb().take_time(Duration::from_secs(20));
    create.provisioned_throughput(throughput.expect("whole")).send().await.expect("created");
    let describe = || client.describe_table().table_name("slow").send();
    let table = describe().await.expect("described").table.expect("a table");
    assert_eq!(table.table_status, Some(TableStatus::Creating));
    let put = |n: i32| client.put_item().table_name("slow").item("n", number(n)).send();
    assert_eq!(refused(put(1).await).0, "ResourceNotFoundException");
    aws.clock().advance(Duration::from_secs(20));
    let table = describe().await.expect("described").table.expect("a table");
    assert_eq!(table.table_status, Some(TableStatus::Active));
    assert_eq!(table.provisioned_throughput.expect("told").write_capacity_units, Some(3));
    // It began with three and has saved sixty since.
    for n in 0..63 {
        put(n).await.expect("written");
    }
    assert_eq!(refused(put(64).await).0, "ProvisionedThroughputExceededException");
    let tally = aws.counted(|counted| counted.of_table("PutItem", "slow"));
    assert_eq!((tally.calls, tally.answered), (65, 63));
    assert_eq!(tally.refused["ProvisionedThroughputExceededException"], 1);
    client.delete_table().table_name("slow").send().await.expect("deleting");
    assert_eq!(refused(put(1).await).0, "ResourceNotFoundException");
    let table = describe().await.expect("described").table.expect("a table");
    assert_eq!(table.table_status, Some(TableStatus::Deleting));
    aws.clock().advance(Duration::from_secs(20));
    assert_eq!(refused(describe().await).0, "ResourceNotFoundException");
    assert_eq!(client.list_tables().send().await.expect("listed").table_names(), [TABLE]);
}
