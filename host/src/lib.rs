//! Performs: reads streams, runs components, writes to sinks, keeps positions. The binary is `sluicebox`.

pub mod cli;
pub mod commands;
pub mod config;
pub mod app;
pub mod pipeline;
pub mod ports;
pub mod columns;
pub mod item;
pub mod entry;
pub mod convert;
pub mod flow;
pub mod aws;
pub mod source;
pub mod subtask;
pub mod assigner;
pub mod component;
pub mod sink;
pub mod state;
pub mod savepoint;
pub mod clock;
pub mod progress;
pub mod telemetry;
#[cfg(feature = "local")]
pub mod local;
