//! How fast a table takes writes: a bucket of units that fills by the service's clock.

use crate::simulated::clock::Millis;

/// Bytes of an item that one unit writes.
const UNIT_BYTES: usize = 1024;
/// What is not used is kept for this long.
const BURST_SECONDS: u64 = 300;

/// Units that writing a size takes.
pub(super) const fn units(bytes: usize) -> u64 {
    let units = bytes.div_ceil(UNIT_BYTES) as u64;
    if units == 0 { 1 } else { units }
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: f64,
    most: f64,
    left: f64,
    at: Millis,
}

impl Bucket {
    /// As a table with provisioned throughput begins: a second's units, and room for what it does not use.
    pub(super) fn provisioned(per_second: u64, now: Millis) -> Self {
        let rate = per_second as f64;
        Self { per_second: rate, most: rate * BURST_SECONDS as f64, left: rate, at: now }
    }

    /// Full of `burst` units, which is also the most that it ever holds.
    pub(super) fn full(per_second: f64, burst: u64, now: Millis) -> Self {
        Self { per_second, most: burst as f64, left: burst as f64, at: now }
    }

    /// Takes units if they are there. A full bucket gives any number, and owes what it did not have.
    pub(super) fn take(&mut self, units: u64, now: Millis) -> bool {
        // A clock that was set back gives nothing and takes nothing.
        let passed = (now - self.at).max(0) as f64 / 1000.0;
        self.left = (self.left + passed * self.per_second).min(self.most);
        self.at = now;
        let is_there = self.left >= units as f64 || (self.left >= self.most && self.most > 0.0);
        if is_there {
            self.left -= units as f64;
        }
        is_there
    }

    /// Gives back what a refused transaction took.
    pub(super) fn give_back(&mut self, units: u64) {
        self.left = (self.left + units as f64).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_is_kept_up_to_the_burst() {
        let mut bucket = Bucket::provisioned(10, 0);
        assert!(bucket.take(10, 0));
        assert!(!bucket.take(1, 99));
        assert!(bucket.take(1, 100));
        assert!(bucket.take(3000, 1_000_000));
        assert!(!bucket.take(1, 1_000_000));
    }

    #[test]
    fn an_item_larger_than_the_burst_waits_for_a_full_bucket_and_is_paid_for_afterwards() {
        let mut bucket = Bucket::full(1.0, 5, 0);
        assert!(bucket.take(8, 0));
        assert!(!bucket.take(1, 3000));
        assert!(bucket.take(1, 4000));
        assert_eq!([units(0), units(1), units(1024), units(1025)], [1, 1, 1, 2]);
    }
}
