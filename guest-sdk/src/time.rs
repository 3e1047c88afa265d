//! The clock.

use crate::host;

/// Milliseconds since the epoch: the same value throughout one batch, and again when the batch is replayed.
#[must_use]
pub fn now() -> i64 {
    host::now()
}
