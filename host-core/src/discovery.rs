//! When to ask for shards, and whether the answers cover the key space.
//!
//! Every stream has its own schedule. Shards that are new are asked for at a short interval, with listings that begin after
//! the greatest id known. That is only an optimization: nothing follows from what such a listing does not show. All
//! shards are asked for first of all, at a longer interval, and when somebody has a question that only a listing answers (a
//! shard ended without children, a parent is missing). Such a question holds a *ticket*: the number of the first full
//! listing that is asked for after the question arose. An answer that was already on its way when the question came does
//! not count, because it may show the stream as it was before.
//!
//! A full listing of many shards is many calls, and its answer is weighed against every shard; so it buys a pause that
//! grows with its size, or ten thousand shards that end one by one would be listed ten thousand times.

use std::time::Duration;

use crate::moment::Moment;
use crate::shard::{HashRange, ShardId};

/// First pause after a listing that failed; doubles up to the discovery interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Pause before asking again for shards that ought to be there and are not listed yet: a listing may be a little old.
pub const STALENESS_PAUSE: Duration = Duration::from_secs(1);

/// Shards that one call lists (`MaxResults` of `ListShards`). A full listing of more buys a pause.
const SHARDS_PER_CALL: usize = 1_000;

/// The pause that each shard of a large listing adds.
const PAUSE_PER_SHARD: Duration = Duration::from_millis(1);

/// All keys.
pub const KEY_SPACE: HashRange = HashRange { start: 0, end: u128::MAX };

/// Which shards to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that the service knows.
    Full,
    /// Those whose ids are greater (`ExclusiveStartShardId`).
    After(ShardId),
}

impl Scope {
    /// Whether it asks for all shards.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::After(_) => false,
        }
    }
}

/// The schedule of one stream's listings; at most one is out.
#[derive(Clone, Debug)]
pub struct Discovery {
    interval: Duration,
    audit_interval: Duration,
    /// When to ask for what is new.
    due: Moment,
    /// When to ask for everything.
    full_due: Moment,
    /// A large listing is not repeated before this.
    full_not_before: Moment,
    /// After a failure nobody's question comes before this.
    not_before: Moment,
    /// Full listings asked for and answered, and when the last was asked for.
    asked: u64,
    asked_at: Moment,
    answered: u64,
    out: Option<Scope>,
    failures: u32,
}

impl Discovery {
    /// The first listing is due at once, and full.
    #[must_use]
    pub const fn new(interval: Duration, audit_interval: Duration, now: Moment) -> Self {
        Self {
            interval,
            audit_interval,
            due: now,
            full_due: now,
            full_not_before: now,
            not_before: now,
            asked: 0,
            asked_at: now,
            answered: 0,
            out: None,
            failures: 0,
        }
    }

    /// Asks for a full listing at `at` or sooner; returns its ticket.
    pub fn want(&mut self, at: Moment) -> u64 {
        self.full_due = self.full_due.min(at);
        self.asked + 1
    }

    /// What to ask for now, if anything, and counts it as asked. `greatest` is the greatest id known.
    pub fn ask(&mut self, now: Moment, greatest: Option<&ShardId>) -> Option<Scope> {
        self.deadline().filter(|due| *due <= now)?;
        self.due = now + self.interval;
        let scope = match greatest {
            Some(shard) if self.full_deadline() > now => Scope::After(shard.clone()),
            Some(_) | None => {
                self.asked += 1;
                self.asked_at = now;
                self.full_due = now + self.audit_interval;
                Scope::Full
            }
        };
        self.out = Some(scope.clone());
        Some(scope)
    }

    /// Takes in a complete answer with so many shards. Says whether anybody had asked for it.
    pub fn answered(&mut self, now: Moment, scope: &Scope, shards: usize) -> bool {
        if self.out.as_ref() != Some(scope) {
            return false;
        }
        self.out = None;
        self.failures = 0;
        if scope.is_full() {
            self.answered = self.asked;
            if shards > SHARDS_PER_CALL {
                let pause = PAUSE_PER_SHARD.saturating_mul(u32::try_from(shards).unwrap_or(u32::MAX));
                self.full_not_before = now + pause;
            }
        }
        true
    }

    /// Takes in that a listing failed: the same tickets stay open, and the next attempt comes after a pause.
    pub fn failed(&mut self, now: Moment) {
        let Some(scope) = self.out.take() else { return };
        let cap = self.interval.max(FIRST_PAUSE);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(cap);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
        self.due = self.not_before;
        if scope.is_full() {
            self.full_due = self.not_before;
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
        self.out.is_none().then(|| self.due.min(self.full_deadline()).max(self.not_before))
    }

    fn full_deadline(&self) -> Moment {
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

    fn discovery(interval: u64, audit: u64) -> Discovery {
        Discovery::new(Duration::from_secs(interval), Duration::from_secs(audit), Moment::default())
    }

    #[test]
    fn an_answer_already_on_its_way_does_not_answer_a_later_question() {
        let mut discovery = discovery(10, 10);
        assert_eq!(discovery.ask(Moment::default(), None), Some(Scope::Full));
        let ticket = discovery.want(Moment::default());
        assert_eq!(discovery.ask(Moment::from_millis(1), None), None, "one at a time");
        discovery.answered(Moment::from_millis(1), &Scope::Full, 1);
        assert!(!discovery.has_answered(ticket));
        assert_eq!(discovery.ask(Moment::from_millis(2), None), Some(Scope::Full));
        discovery.answered(Moment::from_millis(3), &Scope::Full, 1);
        assert!(discovery.has_answered(ticket));
        assert_eq!(discovery.deadline(), Some(Moment::from_millis(10_002)));
    }

    #[test]
    fn what_is_new_is_asked_for_between_audits_and_answers_no_question() {
        let mut discovery = discovery(10, 25);
        let greatest = ShardId::new("s7");
        let after = Scope::After(greatest.clone());
        assert_eq!(discovery.ask(Moment::default(), Some(&greatest)), Some(Scope::Full), "first of all");
        discovery.answered(Moment::default(), &Scope::Full, 8);
        let ticket = discovery.want(Moment::from_millis(60_000));
        let mut asked = Vec::new();
        for second in 1..=50 {
            let now = Moment::from_millis(second * 1_000);
            let Some(scope) = discovery.ask(now, Some(&greatest)) else { continue };
            assert!(
                !discovery.answered(now, if scope.is_full() { &after } else { &Scope::Full }, 0),
                "another's answer"
            );
            assert!(discovery.answered(now, &scope, 0));
            assert_eq!(discovery.has_answered(ticket), second >= 25);
            asked.push((second, scope.is_full()));
        }
        assert_eq!(asked, [(10, false), (20, false), (25, true), (35, false), (45, false), (50, true)]);
    }

    #[test]
    fn a_large_listing_is_not_repeated_for_every_question() {
        let mut discovery = discovery(100, 1_000);
        let mut asked = 0;
        for millis in 0..30_000 {
            let now = Moment::from_millis(millis);
            discovery.want(now);
            if let Some(scope) = discovery.ask(now, None) {
                asked += 1;
                discovery.answered(now, &scope, 10_000);
            }
        }
        assert_eq!(asked, 3);
    }

    #[test]
    fn failed_listings_pause_longer_each_time_whatever_is_wanted() {
        let mut discovery = discovery(3, 9);
        let mut now = Moment::default();
        for pause in [1_000, 2_000, 3_000, 3_000] {
            assert_eq!(discovery.ask(now, None), Some(Scope::Full));
            discovery.failed(now);
            discovery.want(now);
            let next = now + Duration::from_millis(pause);
            assert_eq!(discovery.deadline(), Some(next));
            now = next;
        }
    }
}
