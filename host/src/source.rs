//! Sources: the streams that the host can read.

pub mod classify;
