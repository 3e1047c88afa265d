//! When to ask for shards, and whether the answers cover the key space.
//!
//! There are two kinds of listing. An *incremental* one asks for what lies behind the largest known identifier, often and
//! cheaply; it finds nearly everything, and proves nothing, because identifiers carry no promise. A *full* one is an audit:
//! it is taken at a longer interval, and at once when somebody has a question that only a complete listing answers (a shard
//! ended, a parent is missing). Such a question holds a *ticket*: the number of the first full listing that is asked for after
//! the question arose. An answer that was already on its way when the question came does not count, because it may show the
//! stream as it was before.

use std::time::Duration;

use crate::moment::Moment;
use crate::shard::HashRange;

/// First pause after a listing that failed; doubles up to the discovery interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Pause before asking again for shards that ought to be there and are not listed yet: a listing may be a little old.
pub const STALENESS_PAUSE: Duration = Duration::from_secs(1);

/// Between two full listings lies at least a millisecond for so many shards of the last one: however many questions there
/// are, most of the time is not spent on listing.
const SHARDS_PER_MILLISECOND: usize = 10;

/// All keys.
pub const KEY_SPACE: HashRange = HashRange { start: 0, end: u128::MAX };

/// How much a listing is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Full,
    /// What is newer than the newest known.
    Incremental,
}

/// The schedule of one stream's listings; at most one is out.
#[derive(Clone, Debug)]
pub struct Discovery {
    interval: Duration,
    audit_interval: Duration,
    incremental_due: Moment,
    full_due: Moment,
    /// After a failure nobody's question comes before this.
    not_before: Moment,
    /// Full listings come no sooner than this.
    full_not_before: Moment,
    /// Full listings asked for, the time of the last, and the last that was answered.
    asked: u64,
    asked_at: Moment,
    answered: u64,
    outstanding: Option<Extent>,
    failures: u32,
}

impl Discovery {
    /// The first listing is due at once, and it is a full one.
    #[must_use]
    pub const fn new(interval: Duration, audit_interval: Duration, now: Moment) -> Self {
        Self {
            interval,
            audit_interval,
            incremental_due: now,
            full_due: now,
            not_before: now,
            full_not_before: now,
            asked: 0,
            asked_at: now,
            answered: 0,
            outstanding: None,
            failures: 0,
        }
    }

    /// Asks for a full listing at `at` or sooner; returns its ticket.
    pub fn want(&mut self, at: Moment) -> u64 {
        self.full_due = self.full_due.min(at);
        self.asked + 1
    }

    /// What to ask for now; counts it as asked. Where nothing is known yet, every listing is a full one.
    pub fn ask(&mut self, now: Moment, is_anything_known: bool) -> Option<Extent> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        self.incremental_due = now + self.interval;
        let extent = if !is_anything_known || self.full_is_due_at() <= now { Extent::Full } else { Extent::Incremental };
        if extent == Extent::Full {
            self.asked += 1;
            self.asked_at = now;
            self.full_due = now + self.audit_interval;
        }
        self.outstanding = Some(extent);
        Some(extent)
    }

    /// Takes in a complete answer to a listing of this extent, with so many shards. Says whether anybody had asked for it.
    pub fn answered(&mut self, extent: Extent, shards: usize) -> bool {
        let expected = self.outstanding == Some(extent);
        if expected {
            self.outstanding = None;
            self.failures = 0;
            if extent == Extent::Full {
                self.answered = self.asked;
                let millis = u64::try_from(shards / SHARDS_PER_MILLISECOND).unwrap_or(u64::MAX);
                self.full_not_before = self.asked_at + Duration::from_millis(millis);
            }
        }
        expected
    }

    /// Takes in that a listing failed: the same tickets stay open, and the next attempt comes after a pause.
    pub fn failed(&mut self, now: Moment) {
        let Some(extent) = self.outstanding.take() else { return };
        let cap = self.interval.max(FIRST_PAUSE);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(cap);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
        match extent {
            Extent::Full => self.full_due = self.not_before,
            Extent::Incremental => self.incremental_due = self.not_before,
        }
    }

    /// When the last full listing was asked for.
    #[must_use]
    pub const fn asked_at(&self) -> Moment {
        self.asked_at
    }

    /// Whether a full listing with this ticket, or a later one, is in.
    #[must_use]
    pub const fn has_answered(&self, ticket: u64) -> bool {
        self.answered >= ticket
    }

    /// When to ask next; `None` while an answer is outstanding.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let due = self.incremental_due.min(self.full_is_due_at());
        self.outstanding.is_none().then(|| due.max(self.not_before))
    }

    fn full_is_due_at(&self) -> Moment {
        self.full_due.max(self.full_not_before)
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

    const TEN_SECONDS: Duration = Duration::from_secs(10);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_already_on_its_way_does_not_answer_a_later_question() {
        let mut discovery = Discovery::new(TEN_SECONDS, MINUTE, Moment::default());
        assert_eq!(discovery.ask(Moment::default(), true), Some(Extent::Full));
        let ticket = discovery.want(Moment::default());
        assert_eq!(discovery.ask(Moment::from_millis(1), true), None, "one at a time");
        discovery.answered(Extent::Full, 1);
        assert!(!discovery.has_answered(ticket));
        assert_eq!(discovery.ask(Moment::from_millis(2), true), Some(Extent::Full));
        discovery.answered(Extent::Full, 1);
        assert!(discovery.has_answered(ticket));
        assert_eq!(discovery.deadline(), Some(Moment::from_millis(10_002)));
    }

    #[test]
    fn an_incremental_listing_answers_no_question() {
        let mut discovery = Discovery::new(TEN_SECONDS, MINUTE, Moment::default());
        discovery.ask(Moment::default(), true);
        assert!(discovery.answered(Extent::Full, 1));
        let mut now = Moment::default();
        for _ in 0..5 {
            now = now + TEN_SECONDS;
            assert_eq!(discovery.ask(now, true), Some(Extent::Incremental));
            let ticket = discovery.want(now + MINUTE);
            assert!(!discovery.answered(Extent::Full, 1), "nobody asked for that");
            assert!(discovery.answered(Extent::Incremental, 1));
            assert!(!discovery.has_answered(ticket));
        }
        assert_eq!(discovery.ask(now + TEN_SECONDS, true), Some(Extent::Full), "the audit");
    }

    #[test]
    fn failed_listings_pause_longer_each_time_whatever_is_wanted() {
        let mut discovery = Discovery::new(Duration::from_secs(3), MINUTE, Moment::default());
        let mut now = Moment::default();
        for pause in [1_000, 2_000, 3_000, 3_000] {
            assert_eq!(discovery.ask(now, true), Some(Extent::Full));
            discovery.failed(now);
            discovery.want(now);
            let next = now + Duration::from_millis(pause);
            assert_eq!(discovery.deadline(), Some(next));
            now = next;
        }
    }

    #[test]
    fn questions_about_a_large_stream_share_its_listings() {
        let mut discovery = Discovery::new(TEN_SECONDS, MINUTE, Moment::default());
        discovery.ask(Moment::default(), true);
        discovery.answered(Extent::Full, 10_000);
        discovery.want(Moment::default());
        assert_eq!(discovery.deadline(), Some(Moment::from_millis(1_000)));
    }
}
