//! Rust SDK for authors of Sluicebox components.
