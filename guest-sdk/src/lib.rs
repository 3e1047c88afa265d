//! Rust SDK for authors of Sluicebox components.
//!
//! A component sees batches of records as columns, because that is what crosses the boundary of a sandbox cheaply. This
//! crate hides the columns: an author implements one trait over single records, and what is emitted is written in place
//! into the columns that go back to the host.
//!
//! ```
//! use sluicebox_guest::{Config, Elements, Error, Record, kinesis};
//!
//! /// Keeps the readings above a threshold.
//! struct Readings {
//!     minimum: f64,
//! }
//!
//! impl kinesis::Deserializer for Readings {
//!     fn open(config: &Config) -> Result<Self, Error> {
//!         Ok(Self { minimum: config.float("minimum")?.unwrap_or(0.0) })
//!     }
//!
//!     fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
//!         let text = str::from_utf8(record.data()).map_err(|error| Error::poison("not-utf8", error))?;
//!         let value: f64 = text.trim().parse().map_err(|error| Error::poison("not-a-number", error))?;
//!         if value >= self.minimum {
//!             let route = if value > 100.0 { "alarm" } else { "normal" };
//!             out.element().key(record.partition_key_bytes()).route(route).push(record.data());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! sluicebox_guest::kinesis_deserializer!(Readings);
//!
//! # fn main() -> Result<(), Error> {
//! // Natively, without a sandbox, the `testing` module runs the same code.
//! use sluicebox_guest::testing::{Instance, TestRecord};
//! let mut readings = Instance::<Readings>::open([("minimum", 10.0.into())])?;
//! let outcome = readings.deserialize(&[TestRecord::new("7"), TestRecord::new("120"), TestRecord::new("warm")]);
//! assert_eq!(outcome.elements.len(), 1);
//! assert_eq!(outcome.elements[0].route.as_deref(), Some("alarm"));
//! assert_eq!(outcome.errors[0].1.code(), "not-a-number");
//! # Ok(())
//! # }
//! ```
//!
//! Other roles are traits of their own, with examples beside them: [`kinesis::ElementConverter`] and
//! [`dynamodb::ElementConverter`] make of elements what sinks write to a stream or a table, [`assigner::ShardAssigner`] decides
//! which subtask reads a shard.
//!
//! # What an author must know
//!
//! - **One instance for each subtask.** An instance works for one lane of one pipeline, is called by one thread at a
//!   time and sees the batches of several shards in turn, never mixed within a batch. A pipeline with parallelism 4 has
//!   four instances that share nothing.
//! - **State is allowed, and volatile.** A component may keep what it likes between records. It is gone after a trap, a
//!   timeout or a fatal error, when a new instance takes over, so keep only what can be missed or made again.
//! - **In order.** Records of a shard come in stream order. Where batches are cut means nothing and changes from run to
//!   run: a result must not depend on it.
//! - **At least once.** After a restart or a failed batch the same records come again. The sequence number tells.
//! - **Emitting nothing filters a record**, and the host counts it. An error is never a filter: return it, and the
//!   pipeline's `on_error` policy decides.
//! - **Time comes from [`time::now`]**, one value for each batch, so that a batch can be replayed exactly. There are no
//!   files and no sockets, the environment is empty, and what is printed goes to the log.
//! - **Build for speed**: `opt-level = 3`, `lto = "fat"`, `codegen-units = 1`, `panic = "abort"` and
//!   `-C target-feature=+simd128`; the default profile costs up to 3.6 times as much.

pub mod bindings;
mod export;
mod error;
pub mod config;
mod columns;
mod origins;
mod record;
mod elements;
mod element;
pub mod kinesis;
pub mod dynamodb;
pub mod assigner;
pub mod slot;
mod host;
pub mod log;
pub mod metrics;
pub mod time;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use config::Config;
pub use element::Element;
pub use elements::{ElementBuilder, Elements};
pub use error::{Class, Error};
pub use record::Record;

/// The component in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The assigner in the documentation compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/assigners.md")]
struct Assigners;

/// The converters in the documentation compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/converters.md")]
struct Converters;
