//! What becomes of a record that failed.
