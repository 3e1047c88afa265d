//! Performs: reads streams, runs components, writes to sinks, keeps positions.

pub mod columns;
pub mod ports;
pub mod source;
pub mod state;
