//! When to ask for shards, and whether the answers cover the key space.
//!
//! Listings are asked for at a steady interval, and at once when somebody has a question that only a listing answers (a
//! shard ended, a parent is missing). Such a question holds a *ticket*: the number of the first listing that is asked for
//! after the question arose. An answer that was already on its way when the question came does not count, because it may
//! show the stream as it was before.

use std::time::Duration;

use crate::moment::Moment;
use crate::shard::HashRange;

/// First pause after a listing that failed; doubles up to the discovery interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Pause before asking again for shards that ought to be there and are not listed yet: a listing may be a little old.
pub const STALENESS_PAUSE: Duration = Duration::from_secs(1);

/// All keys.
pub const KEY_SPACE: HashRange = HashRange { start: 0, end: u128::MAX };

/// The schedule of listings; at most one is out.
#[derive(Clone, Debug)]
pub struct Discovery {
    interval: Duration,
    due: Moment,
    /// After a failure nobody's question comes before this.
    not_before: Moment,
    asked: u64,
    asked_at: Moment,
    answered: u64,
    outstanding: bool,
    failures: u32,
}

impl Discovery {
    /// The first listing is due at once.
    #[must_use]
    pub const fn new(interval: Duration, now: Moment) -> Self {
        Self {
            interval,
            due: now,
            not_before: now,
            asked: 0,
            asked_at: now,
            answered: 0,
            outstanding: false,
            failures: 0,
        }
    }

    /// Asks for a listing at `at` or sooner; returns its ticket.
    pub fn want(&mut self, at: Moment) -> u64 {
        self.due = self.due.min(at);
        self.asked + 1
    }

    /// Whether to ask now; if so, counts it as asked.
    pub fn ask(&mut self, now: Moment) -> bool {
        let ask = self.deadline().is_some_and(|due| due <= now);
        if ask {
            self.outstanding = true;
            self.asked += 1;
            self.asked_at = now;
            self.due = now + self.interval;
        }
        ask
    }

    /// Takes in a complete answer. Says whether anybody had asked.
    pub fn answered(&mut self) -> bool {
        let expected = self.outstanding;
        if expected {
            self.answered = self.asked;
            self.outstanding = false;
            self.failures = 0;
        }
        expected
    }

    /// Takes in that a listing failed: the same tickets stay open, and the next attempt comes after a pause.
    pub fn failed(&mut self, now: Moment) {
        if !self.outstanding {
            return;
        }
        let cap = self.interval.max(FIRST_PAUSE);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(cap);
        self.failures = self.failures.saturating_add(1);
        self.outstanding = false;
        self.not_before = now + pause;
        self.due = self.not_before;
    }

    /// When the last listing was asked for.
    #[must_use]
    pub const fn asked_at(&self) -> Moment {
        self.asked_at
    }

    /// Whether a listing with this ticket, or a later one, is in.
    #[must_use]
    pub const fn has_answered(&self, ticket: u64) -> bool {
        self.answered >= ticket
    }

    /// When to ask next; `None` while an answer is outstanding.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        (!self.outstanding).then(|| self.due.max(self.not_before))
    }
}

/// The parts of `whole` that none of `ranges` owns, in order. A range whose ends are swapped owns nothing.
#[must_use]
pub fn uncovered(whole: HashRange, mut ranges: Vec<HashRange>) -> Vec<HashRange> {
    ranges.retain(|range| range.start <= range.end);
    ranges.sort_by_key(|range| range.start);
    let mut holes = Vec::new();
    // The first key not yet known to be owned; `None` past the very last one.
    let mut next = Some(whole.start);
    for range in ranges {
        let Some(from) = next.filter(|from| *from <= whole.end) else { break };
        if range.start > from {
            let end = whole.end.min(range.start - 1);
            holes.push(HashRange { start: from, end });
        }
        if range.end >= from {
            next = range.end.checked_add(1);
        }
    }
    if let Some(from) = next.filter(|from| *from <= whole.end) {
        holes.push(HashRange { start: from, end: whole.end });
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u128, end: u128) -> HashRange {
        HashRange { start, end }
    }

    #[test]
    fn holes_are_found_at_both_ends_and_between() {
        let ranges = vec![range(50, 59), range(10, 19), range(15, 30)];
        assert_eq!(uncovered(range(0, 99), ranges), [range(0, 9), range(31, 49), range(60, 99)]);
        assert!(uncovered(KEY_SPACE, vec![range(7, u128::MAX), range(0, 6)]).is_empty());
        assert_eq!(uncovered(KEY_SPACE, vec![range(9, 3)]), [KEY_SPACE]);
        assert_eq!(uncovered(range(5, 9), vec![range(0, 4), range(12, 13)]), [range(5, 9)]);
    }

    #[test]
    fn an_answer_already_on_its_way_does_not_answer_a_later_question() {
        let mut discovery = Discovery::new(Duration::from_secs(10), Moment::default());
        assert!(discovery.ask(Moment::default()));
        let ticket = discovery.want(Moment::default());
        assert!(!discovery.ask(Moment::from_millis(1)), "one at a time");
        discovery.answered();
        assert!(!discovery.has_answered(ticket));
        assert!(discovery.ask(Moment::from_millis(2)));
        discovery.answered();
        assert!(discovery.has_answered(ticket));
        assert_eq!(discovery.deadline(), Some(Moment::from_millis(10_002)));
    }

    #[test]
    fn failed_listings_pause_longer_each_time_whatever_is_wanted() {
        let mut discovery = Discovery::new(Duration::from_secs(3), Moment::default());
        let mut now = Moment::default();
        for pause in [1_000, 2_000, 3_000, 3_000] {
            assert!(discovery.ask(now));
            discovery.failed(now);
            discovery.want(now);
            let next = now + Duration::from_millis(pause);
            assert_eq!(discovery.deadline(), Some(next));
            now = next;
        }
    }
}
