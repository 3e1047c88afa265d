//! What a test may use.

pub mod ferro;
