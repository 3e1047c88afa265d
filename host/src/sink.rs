//! Sinks: where elements go, and the thread that takes them there.
//!
//! One thread per pipeline writes to all of its sinks, batch after batch in the order the subtasks hand them over. That
//! makes it the one place where "these records" and "this length of that file" are true together: the receipt for a
//! batch carries the marks of all sinks right after it, and a checkpoint that stores both is a consistent cut. A restart
//! truncates the file to its mark and reads on from the positions beside it: nothing missing, nothing twice.
//!
//! A service is written to by a task of its own, which the thread hands entries to ([`service`]). It confirms them when it
//! pleases and in any order; a receipt leaves when all sinks have what they were given, in an order that keeps marks true
//! (`receipts`). A checkpoint therefore never waits for a service: it keeps what is confirmed.

pub mod batched;
pub mod confirmations;
pub mod discard;
pub mod dynamodb;
pub mod exactly_once;
pub mod file;
pub mod kinesis;
pub mod memory;
pub mod memory_table;
pub mod memory_target;
pub mod origin;
pub mod queue;
mod receipts;
pub mod service;
pub mod stdout;
pub mod thread;
