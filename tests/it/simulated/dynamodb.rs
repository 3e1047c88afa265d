//! What AWS documents of DynamoDB, asked for with the SDK's own client.

mod rules;
mod transactions;
mod throughput;
mod faults;
mod differential;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, Put, PutRequest, TransactWriteItem, WriteRequest};
use tests::simulated::{Clock, KeyType, Limits, Setup, SimulatedAws};

const TABLE: &str = "events";
const EPOCH: i64 = 1_800_000_000_000;

type Item = HashMap<String, AttributeValue>;

/// A table of the key `id` on demand, at a time that stands still.
async fn still() -> (SimulatedAws, Client) {
    let setup = Setup { clock: Clock::frozen_at(EPOCH), limits: Limits::aws(), seed: 1 };
    let aws = SimulatedAws::start_with(setup).await;
    aws.dynamodb().create(TABLE, ("id", KeyType::Text), None);
    let client = aws.dynamodb_client().await;
    (aws, client)
}

#[track_caller]
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    outcome: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = outcome.expect_err("a refusal");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

#[track_caller]
fn invalid<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: Result<T, SdkError<E>>, says: &str) {
    let (code, message) = refused(outcome);
    assert_eq!(code, "ValidationException", "{message}");
    assert!(message.contains(says), "{message:?} does not say {says:?}");
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn put(item: Item) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item)).build().expect("an item is set");
    WriteRequest::builder().put_request(put).build()
}

fn delete(key: Item) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(key)).build().expect("a key is set");
    WriteRequest::builder().delete_request(delete).build()
}

fn part(item: Item) -> TransactWriteItem {
    let put = Put::builder().table_name(TABLE).set_item(Some(item)).build().expect("a table and an item are set");
    TransactWriteItem::builder().put(put).build()
}

async fn get(client: &Client, key: Item) -> Option<Item> {
    let request = client.get_item().table_name(TABLE).set_key(Some(key)).consistent_read(true);
    request.send().await.expect("answered").item
}
