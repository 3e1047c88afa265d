//! What a run counts, shared by all of its threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::progress::Lags;
use crate::source::health::Health;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sums over one run of one pipeline.
#[derive(Debug, Default)]
pub struct Totals {
    /// Records handed to subtasks.
    pub records_in: Counter,
    /// Bytes of data in them.
    pub bytes_in: Counter,
    /// Elements written to the sinks, counted once whatever the number of sinks.
    pub elements_out: Counter,
    /// Records of which the components made nothing for any sink.
    pub filtered: Counter,
    /// Elements dropped because no sink takes their route and the manifest says to drop such elements.
    pub unrouted: Counter,
    /// Records passed over because a component refused them or broke on them.
    pub skipped: Counter,
    /// Times that a component instance was dropped and a fresh one made.
    pub restarts: Counter,
    /// Times that a subtask was lost and started again.
    pub lost_subtasks: Counter,
    /// Gaps that were passed over because the manifest says so.
    pub gaps: Counter,
    /// Subscriptions of enhanced fan-out that began.
    pub subscriptions: Counter,
    /// Subscriptions that another reader of the same consumer took over.
    pub takeovers: Counter,
    /// Subscriptions that died without a word.
    pub silences: Counter,
    /// How the calls to the streams fare, and how many were repeated.
    pub health: Arc<Health>,
    /// How far behind each shard is.
    pub lags: Lags,
}
