//! What a run counts, shared by all of its threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host_core::moment::Moment;

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

/// Codes of refusals that are counted each by itself; of others only the sum.
const CODES_MAX: usize = 32;
/// What the sum of the others is called.
const OTHER_CODES: &str = "other";

/// What a sink that writes to a service counts.
#[derive(Debug, Default)]
pub struct SinkTotals {
    /// Entries that the service has.
    pub confirmed: Counter,
    /// Entries sent, each attempt counted.
    pub sent: Counter,
    /// Of these, the ones that had been sent before.
    pub repeated: Counter,
    /// Requests made.
    pub requests: Counter,
    /// Requests that were not answered in time.
    pub timeouts: Counter,
    /// Entries that will never be written.
    pub dead_letters: Counter,
    refusals: Mutex<BTreeMap<String, u64>>,
    load: Mutex<SinkLoad>,
}

/// What a sink that writes to a service holds, as of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkLoad {
    /// Entries that are not settled.
    pub buffered: usize,
    /// Their bytes, as the service counts them.
    pub bytes: u64,
    /// When the oldest of them came.
    pub oldest: Option<Moment>,
    /// Requests under way.
    pub in_flight: usize,
    /// How long the last request took, answered or given up; `None` before the first.
    pub last_request: Option<Duration>,
}

impl SinkTotals {
    /// `entries` were refused with this code.
    pub fn refused(&self, code: &str, entries: u64) {
        let mut refusals = self.locked_refusals();
        let is_own = refusals.contains_key(code) || refusals.len() < CODES_MAX;
        *refusals.entry(if is_own { code } else { OTHER_CODES }.to_owned()).or_default() += entries;
    }

    /// Entries that were refused, by code; each refusal counted.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.locked_refusals().clone()
    }

    /// What the sink holds.
    #[must_use]
    pub fn load(&self) -> SinkLoad {
        *self.locked_load()
    }

    /// Notes what the sink holds now.
    pub fn note(&self, change: impl FnOnce(&mut SinkLoad)) {
        change(&mut self.locked_load());
    }

    fn locked_refusals(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_load(&self) -> MutexGuard<'_, SinkLoad> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sums over one run of one pipeline.
#[derive(Debug, Default)]
pub struct Totals {
    /// Records handed to subtasks.
    pub records_in: Counter,
    /// Bytes of data in them.
    pub bytes_in: Counter,
    /// Elements that all of their sinks have, counted once whatever the number of sinks.
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
    sinks: Mutex<BTreeMap<String, Arc<SinkTotals>>>,
}

impl Totals {
    /// What the sink of this name counts, if it writes to a service.
    #[must_use]
    pub fn sink(&self, name: &str) -> Arc<SinkTotals> {
        Arc::clone(self.locked_sinks().entry(name.to_owned()).or_default())
    }

    /// What the sinks that write to services count, by their names.
    #[must_use]
    pub fn sinks(&self) -> BTreeMap<String, Arc<SinkTotals>> {
        self.locked_sinks().clone()
    }

    fn locked_sinks(&self) -> MutexGuard<'_, BTreeMap<String, Arc<SinkTotals>>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_codes_beyond_a_bound_are_summed_up() {
        let totals = SinkTotals::default();
        for code in 0..100 {
            totals.refused(&format!("code {code:02}"), 2);
        }
        totals.refused("code 00", 5);
        let refusals = totals.refusals();
        assert_eq!(refusals.len(), CODES_MAX + 1);
        assert_eq!((refusals["code 00"], refusals[OTHER_CODES]), (7, 2 * (100 - CODES_MAX as u64)));
    }
}
