//! What a test may use.
