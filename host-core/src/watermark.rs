//! Event time up to which shards are complete.
