//! Performs: reads streams, runs components, writes to sinks, keeps positions.

pub mod aws;
pub mod columns;
pub mod component;
pub mod ports;
pub mod source;
#[cfg(feature = "local")]
pub mod local;
