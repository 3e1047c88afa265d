//! Sinks: where elements go, and the thread that takes them there.
//!
//! One thread per pipeline writes to all of its sinks, batch after batch in the order the subtasks hand them over. That
//! makes it the one place where "these records" and "this length of that file" are true together: the receipt for a
//! batch carries the marks of all sinks right after it, and a checkpoint that stores both is a consistent cut. A restart
//! truncates the file to its mark and reads on from the positions beside it: nothing missing, nothing twice.

pub mod batched;
pub mod discard;
pub mod file;
pub mod kinesis;
pub mod memory;
pub mod stdout;
pub mod thread;
