//! Which subtask reads a shard.
