//! The contract of tables, on the fake and on the crate that the embedded endpoint is made of.

use std::sync::Arc;

use host::item::Item;
use host::ports::{KeyAttribute, KeyType, TableApi, TransactApi};
use host::sink::memory_table::MemoryTable;
use tests::table_contract;
use tests::table_contract::TableBackend;
use tests::tables::Dynoxide;

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

table_contract! { in_memory = super::Memory, over_dynoxide = super::Dynoxide }
