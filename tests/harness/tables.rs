//! Tables of a service that is reached over loopback, for the contract of tables.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType as KeyRole, ScalarAttributeType,
};
use dynoxide::Database;
use host::aws::{Access, AwsSettings};
use host::config::Table;
use host::item::Item;
use host::ports::{KeyAttribute, KeyType, TableApi, TransactApi};
use host::sink::dynamodb::api::DynamodbTable;
use host::sink::dynamodb::transactions::DynamodbTransactions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::remote::{Provider, stream_name};
use crate::table_contract::TableBackend;

const REGION: &str = "us-east-1";

/// The embedded DynamoDB, served inside the test process, and one table of it.
#[derive(Debug)]
pub struct Dynoxide {
    tables: Tables,
    server: JoinHandle<()>,
}

impl Drop for Dynoxide {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A table of a service that other tests use as well.
#[derive(Debug)]
pub struct RemoteTable<P: Provider> {
    tables: Tables,
    _held: P::Held,
}

/// A table and its positions.
#[derive(Debug)]
struct Tables {
    access: Access,
    name: String,
    positions: String,
}

/// A table of this region and of the account of the credentials.
#[must_use]
pub fn table(name: &str) -> Table {
    Table { name: name.to_owned(), region: REGION.to_owned(), account: None }
}

/// Creates a table and waits until it takes writes.
///
/// # Panics
/// The service refuses.
pub async fn create(client: &Client, name: &str, partition_key: &KeyAttribute, sort_key: Option<&KeyAttribute>) {
    let defined = |key: &KeyAttribute| {
        let of = match key.of {
            KeyType::Text => ScalarAttributeType::S,
            KeyType::Number => ScalarAttributeType::N,
            KeyType::Bytes => ScalarAttributeType::B,
        };
        AttributeDefinition::builder().attribute_name(&key.name).attribute_type(of).build().expect("complete")
    };
    let element = |key: &KeyAttribute, role: KeyRole| {
        KeySchemaElement::builder().attribute_name(&key.name).key_type(role).build().expect("complete")
    };
    let mut call = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(defined(partition_key))
        .key_schema(element(partition_key, KeyRole::Hash));
    if let Some(sort_key) = sort_key {
        call = call.attribute_definitions(defined(sort_key)).key_schema(element(sort_key, KeyRole::Range));
    }
    call.send().await.expect("a table");
}

/// Every item of a table.
///
/// # Panics
/// The service refuses.
pub async fn scan(client: &Client, name: &str) -> Vec<Item> {
    let (mut items, mut from) = (Vec::new(), None);
    loop {
        let call = client.scan().table_name(name).consistent_read(true).set_exclusive_start_key(from);
        let page = call.send().await.expect("a page");
        let read = |attributes| Item::from_sdk(attributes).expect("types that the host knows");
        items.extend(page.items.unwrap_or_default().into_iter().map(read));
        from = page.last_evaluated_key;
        if from.is_none() {
            return items;
        }
    }
}

impl Tables {
    async fn create(
        endpoint: &str,
        name: String,
        partition_key: &KeyAttribute,
        sort_key: Option<&KeyAttribute>,
    ) -> Self {
        let access = AwsSettings::local(REGION, endpoint).access().await;
        let (client, positions) = (access.dynamodb(), format!("{name}-positions"));
        create(&client, &name, partition_key, sort_key).await;
        let shard = KeyAttribute { name: "shard".to_owned(), of: KeyType::Text };
        create(&client, &positions, &shard, None).await;
        Self { access, name, positions }
    }

    fn of(&self, name: &str) -> Arc<DynamodbTable> {
        Arc::new(DynamodbTable::new(self.access.dynamodb(), table(name), self.access.settings()))
    }

    fn transactions(&self) -> Arc<dyn TransactApi> {
        Arc::new(DynamodbTransactions::new(self.of(&self.name), table(&self.positions), self.access.settings()))
    }

    async fn items(&self) -> Vec<Item> {
        scan(&self.access.dynamodb(), &self.name).await
    }
}

impl TableBackend for Dynoxide {
    async fn start(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let database = Database::memory().expect("a database in memory");
        let server = tokio::spawn(dynoxide::server::serve_on(listener, database));
        let tables = Tables::create(&endpoint, "quakes".to_owned(), &partition_key, sort_key.as_ref()).await;
        Self { tables, server }
    }

    fn table(&self) -> Arc<dyn TableApi> {
        self.tables.of(&self.tables.name)
    }

    fn transactions(&self) -> Arc<dyn TransactApi> {
        self.tables.transactions()
    }

    async fn of_missing_table(&self) -> Arc<dyn TableApi> {
        self.tables.of("missing")
    }

    async fn items(&self) -> Vec<Item> {
        self.tables.items().await
    }
}

impl<P: Provider> TableBackend for RemoteTable<P> {
    async fn start(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        let (service, held) = P::serve().await;
        let name = stream_name("quakes");
        let tables = Tables::create(&service.endpoint, name, &partition_key, sort_key.as_ref()).await;
        Self { tables, _held: held }
    }

    fn table(&self) -> Arc<dyn TableApi> {
        self.tables.of(&self.tables.name)
    }

    fn transactions(&self) -> Arc<dyn TransactApi> {
        self.tables.transactions()
    }

    async fn of_missing_table(&self) -> Arc<dyn TableApi> {
        self.tables.of("missing")
    }

    async fn items(&self) -> Vec<Item> {
        self.tables.items().await
    }
}
