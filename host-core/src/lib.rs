//! Decides. Nothing here waits, performs or fails: time is an argument, work is a value, and what goes wrong outside
//! comes back as an event.

pub mod moment;
pub mod shard;
pub mod checkpoint;
