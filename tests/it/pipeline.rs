//! The whole host in process, over a stream, a store and a sink in memory (`tests::rig`): what the parts promise together.

mod commits;
mod draining;
mod ending;
mod errors;
mod families;
mod room;
mod services;
mod histories;
mod shards;
mod streams;
mod gaps;
mod losses;
mod alignment;
mod assigners;
mod fan_out;
