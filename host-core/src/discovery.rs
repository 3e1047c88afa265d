//! When to ask for shards, and whether the answers cover the key space.
