//! Runs users' code. A component is compiled once for its digest, checked against the contract (`wit/`) and what the
//! manifest grants, and then runs in instances of one subtask each (an assigner in one for its pipeline): a store with limits on memory, CPU, time, output and
//! log lines, imports that are inert or bounded, and output that is validated before anything uses it.
//!
//! Calls are synchronous: they run on a thread of the caller's that does nothing else meanwhile, outside of any async
//! runtime's workers. What a component does wrong (a trap, a loop, a flood, a lie) becomes a
//! [`ComponentError`]; its instance is dropped, and nothing else notices.

pub mod engine;
mod bindings;
pub mod limits;
mod state;
pub mod values;
mod wasi;
mod imports;
pub mod cache;
pub mod interfaces;
pub mod load;
pub mod deserializer;
pub mod assigner;
pub mod converter;
mod maker;
mod instance;
pub mod validate;
pub mod inspect;
pub mod error;

use std::fmt;

pub use assigner::ShardAssigner;
pub use cache::{Digest, Origin};
pub use converter::{DynamodbConverter, KinesisConverter};
pub use deserializer::{
    ConfigValue, Delivery, Deserialized, ElementFormat, ElementSchema, KinesisDeserializer, OpenContext, RecordError,
    ShardContext,
};
pub use engine::Engine;
pub use error::{ComponentError, ErrorClass, GuestError, LoadError};
pub use imports::metrics::{ComponentMetrics, SeriesName, SeriesValue};
pub(crate) use instance::message;
pub use limits::Limits;
pub use load::{Grants, Loaded, Wasi, load};
pub use validate::Violation;

/// The package of the contract.
pub(crate) const CONTRACT: &str = "sluicebox:pipeline";
/// The version of the contract that this host speaks.
pub(crate) const CONTRACT_VERSION: &str = "0.1.0";

/// What a component can be in a pipeline. It has a role if it exports the role's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Makes elements of Kinesis records.
    KinesisDeserializer,
    /// Makes elements of records of a DynamoDB stream.
    DynamodbDeserializer,
    /// Gives shards to subtasks.
    ShardAssigner,
    /// Makes `PutRecords` entries of elements.
    KinesisElementConverter,
    /// Makes `BatchWriteItem` requests of elements.
    DynamodbElementConverter,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::KinesisDeserializer,
        Self::DynamodbDeserializer,
        Self::ShardAssigner,
        Self::KinesisElementConverter,
        Self::DynamodbElementConverter,
    ];

    /// The interface of the contract that makes the role, without package and version.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::KinesisDeserializer => "kinesis-deserializer",
            Self::DynamodbDeserializer => "dynamodb-deserializer",
            Self::ShardAssigner => "shard-assigner",
            Self::KinesisElementConverter => "kinesis-element-converter",
            Self::DynamodbElementConverter => "dynamodb-element-converter",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface())
    }
}
