//! Sources: the streams that the host can read.

pub mod classify;
pub mod health;
pub mod kinesis;
pub mod memory;
pub mod places;
pub mod reader;
pub mod polling;
pub mod consumer;
pub mod efo;
#[cfg(test)]
pub(crate) mod canned;
