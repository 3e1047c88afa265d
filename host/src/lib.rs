//! Performs: reads streams, runs components, writes to sinks, keeps positions.

pub mod cli;
pub mod config;
pub mod columns;
pub mod ports;
pub mod source;
