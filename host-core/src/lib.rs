//! Decides. Nothing here waits, performs or fails: time is an argument, work is a value, and what goes wrong outside
//! comes back as an event.
//!
//! Modules stand in the order data flows: what shards exist and descend from whom, who reads them, how one is read, what
//! becomes of its records, how far that makes it durable, and the coordinator that joins it all.

pub mod moment;
pub mod service_time;
pub mod shard;
pub mod gap;
pub mod lineage;
pub mod discovery;
pub mod assignment;
pub mod patience;
pub mod cursor;
pub mod reading;
pub mod registration;
pub mod subscription;
pub mod batching;
pub mod transacting;
pub mod delivery;
pub mod ledger;
pub mod watermark;
pub mod alignment;
pub mod checkpoint;
pub mod coordinator;
