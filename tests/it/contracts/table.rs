//! The contract of tables, on the fake, on the crate that the embedded endpoint is made of, and on the simulated AWS.

use std::sync::Arc;

use host::aws::Access;
use host::item::Item;
use host::ports::{KeyAttribute, KeyType, TableApi, TransactApi};
use host::sink::dynamodb::api::DynamodbTable;
use host::sink::dynamodb::transactions::DynamodbTransactions;
use host::sink::memory_table::MemoryTable;
use tests::simulated::{self, SimulatedAws};
use tests::table_contract;
use tests::table_contract::TableBackend;
use tests::tables::{self, Dynoxide};

pub(super) struct Memory(MemoryTable);

impl TableBackend for Memory {
    async fn start(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        Self(MemoryTable::new("quakes", partition_key, sort_key))
    }

    fn table(&self) -> Arc<dyn TableApi> {
        Arc::new(self.0.clone())
    }

    fn transactions(&self) -> Arc<dyn TransactApi> {
        Arc::new(self.0.clone())
    }

    async fn of_missing_table(&self) -> Arc<dyn TableApi> {
        let missing = MemoryTable::new("missing", KeyAttribute { name: "p".to_owned(), of: KeyType::Text }, None);
        missing.delete();
        Arc::new(missing)
    }

    async fn items(&self) -> Vec<Item> {
        self.0.items()
    }
}

/// The simulated AWS, and one table of it.
pub(super) struct Simulated {
    aws: SimulatedAws,
    access: Access,
}

impl Simulated {
    fn of(&self, name: &str) -> Arc<DynamodbTable> {
        Arc::new(DynamodbTable::new(self.access.dynamodb(), tables::table(name), self.access.settings()))
    }
}

impl TableBackend for Simulated {
    async fn start(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        let aws = SimulatedAws::start_generous().await;
        let of = |key: &KeyAttribute| match key.of {
            KeyType::Text => simulated::KeyType::Text,
            KeyType::Number => simulated::KeyType::Number,
            KeyType::Bytes => simulated::KeyType::Bytes,
        };
        let sort = sort_key.as_ref().map(|key| (key.name.as_str(), of(key)));
        aws.dynamodb().create("quakes", (&partition_key.name, of(&partition_key)), sort);
        aws.dynamodb().create("positions", ("shard", simulated::KeyType::Text), None);
        let access = aws.settings().access().await;
        Self { aws, access }
    }

    fn table(&self) -> Arc<dyn TableApi> {
        self.of("quakes")
    }

    fn transactions(&self) -> Arc<dyn TransactApi> {
        let settings = self.access.settings();
        Arc::new(DynamodbTransactions::new(self.of("quakes"), tables::table("positions"), settings))
    }

    async fn of_missing_table(&self) -> Arc<dyn TableApi> {
        self.of("missing")
    }

    async fn items(&self) -> Vec<Item> {
        tables::scan(&self.aws.dynamodb_client().await, "quakes").await
    }
}

table_contract! {
    in_memory = super::Memory,
    over_dynoxide = super::Dynoxide,
    over_simulated_aws = super::Simulated,
}
