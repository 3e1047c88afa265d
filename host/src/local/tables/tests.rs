//! The embedded tables over their wire, and over restarts.

use std::collections::HashMap;
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ScalarAttributeType, WriteRequest};
use tempfile::TempDir;

use super::super::{Endpoint, LocalKey, LocalTable, Notice, Options};
use crate::aws::AwsSettings;
use crate::ports::KeyType;

fn key(name: &str, of: KeyType) -> LocalKey {
    LocalKey { name: name.to_owned(), of }
}

fn quakes() -> LocalTable {
    LocalTable {
        name: "quakes".to_owned(),
        partition_key: key("place", KeyType::Text),
        sort_key: Some(key("at", KeyType::Number)),
    }
}

async fn start(directory: Option<&Path>, table: LocalTable) -> (Endpoint, Client) {
    let directory = directory.map(Path::to_owned);
    let options = Options { directory, tables: vec![table], ..Options::default() };
    let endpoint = Endpoint::start(options).await.expect("it starts");
    let settings = AwsSettings::local("us-east-1", endpoint.url());
    let client = Client::new(&settings.load().await);
    (endpoint, client)
}

fn item(place: &str, at: usize, more: AttributeValue) -> HashMap<String, AttributeValue> {
    let attribute = |name: &str, value| (name.to_owned(), value);
    HashMap::from([
        attribute("place", AttributeValue::S(place.to_owned())),
        attribute("at", AttributeValue::N(at.to_string())),
        attribute("more", more),
    ])
}

async fn items(client: &Client) -> usize {
    client.scan().table_name("quakes").send().await.expect("it scans").items().len()
}

#[tokio::test]
async fn a_listed_table_is_there_with_its_key_and_keeps_its_items_over_restarts() {
    let directory = TempDir::new().expect("a directory");
    let (endpoint, client) = start(Some(directory.path()), quakes()).await;
    let described = client.describe_table().table_name("quakes").send().await.expect("it is there");
    let table = described.table().expect("a description");
    let names: Vec<_> = table.key_schema().iter().map(|part| part.attribute_name()).collect();
    assert_eq!(names, ["place", "at"]);
    let of = table.attribute_definitions().iter().find(|part| part.attribute_name() == "at").expect("it is defined");
    assert_eq!(of.attribute_type(), &ScalarAttributeType::N);
    let put = client.put_item().table_name("quakes").set_item(Some(item("Alaska", 1, AttributeValue::Bool(true))));
    put.send().await.expect("it is put");
    endpoint.shutdown().await;

    let (endpoint, client) = start(Some(directory.path()), quakes()).await;
    assert_eq!(items(&client).await, 1);
    let summary = endpoint.summary().await;
    assert_eq!(summary.tables, [("quakes".to_owned(), 1)]);
    assert!(summary.notices.is_empty(), "{:?}", summary.notices);
    assert!(summary.to_string().contains("\ntable      quakes: 1 items\n"), "{summary}");
    endpoint.shutdown().await;
}

#[tokio::test]
async fn tables_in_memory_are_gone_with_the_endpoint() {
    for _ in 0..2 {
        let (endpoint, client) = start(None, quakes()).await;
        assert_eq!(items(&client).await, 0);
        let put = client.put_item().table_name("quakes").set_item(Some(item("Alaska", 1, AttributeValue::Bool(true))));
        put.send().await.expect("it is put");
        endpoint.shutdown().await;
    }
}

#[tokio::test]
async fn a_table_with_another_key_is_told_and_stays_as_it_is() {
    let directory = TempDir::new().expect("a directory");
    let (endpoint, _) = start(Some(directory.path()), quakes()).await;
    endpoint.shutdown().await;
    let other = LocalTable { sort_key: Some(key("at", KeyType::Text)), ..quakes() };
    let (endpoint, client) = start(Some(directory.path()), other).await;
    assert_eq!(endpoint.summary().await.notices, [Notice::OtherKey { table: "quakes".to_owned() }]);
    let put = client.put_item().table_name("quakes").set_item(Some(item("Alaska", 1, AttributeValue::Bool(true))));
    put.send().await.expect("the number is still its key");
    endpoint.shutdown().await;
}

/// The largest batch that DynamoDB takes: 25 items of 400 KB.
#[tokio::test]
async fn a_batch_as_large_as_the_service_takes_passes() {
    let (endpoint, client) = start(None, quakes()).await;
    let text = AttributeValue::S("x".repeat(400_000));
    let request = |at| {
        let put = PutRequest::builder().set_item(Some(item("Alaska", at, text.clone()))).build().expect("an item");
        WriteRequest::builder().put_request(put).build()
    };
    let batch = client.batch_write_item().request_items("quakes", (0..25).map(request).collect());
    let answer = batch.send().await.expect("it is taken");
    assert!(answer.unprocessed_items().is_none_or(HashMap::is_empty));
    assert_eq!(endpoint.summary().await.tables, [("quakes".to_owned(), 25)]);
    endpoint.shutdown().await;
}

#[tokio::test]
async fn a_request_that_is_refused_is_refused_in_the_words_of_the_service() {
    let (endpoint, client) = start(None, quakes()).await;
    let missing = client.describe_table().table_name("elsewhere").send().await.expect_err("there is none");
    assert!(missing.into_service_error().is_resource_not_found_exception());
    endpoint.shutdown().await;
}
