//! What a sink must hold: every key's numbers from 0 without a gap, in order.
//!
//! A line is `KEY NUMBER …`. A crash may repeat: the first line of a key after it may go back, and goes on from there
//! without a gap. Nothing may ever skip, and nothing else may go back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// So many violations are told in words; all are counted.
const EXAMPLES_MAX: usize = 10;

/// How many numbers each key was given.
pub type Written = BTreeMap<String, u64>;

/// Reads what a sink got, life by life.
#[derive(Debug, Default)]
pub struct Audit {
    keys: BTreeMap<String, Key>,
    life: u32,
    crashes: u32,
    delivered: u64,
    repeated: u64,
    disordered: u64,
    examples: Vec<String>,
}

/// One key, as far as a sink got it.
#[derive(Debug, Default)]
struct Key {
    /// What must come next.
    due: u64,
    /// One more than the largest number seen.
    seen_below: u64,
    /// Smaller numbers that were passed over.
    holes: BTreeSet<u64>,
    /// How many crashes there were before its last line.
    crashes: u32,
}

/// How a sink compares with what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Records written.
    pub written: u64,
    /// Different records delivered.
    pub delivered: u64,
    /// Records delivered once more.
    pub repeated: u64,
    /// Records written and not delivered.
    pub missing: u64,
    /// Lines that skip, go back without a crash, or were never written.
    pub disordered: u64,
    /// The first of those, in words.
    pub examples: Vec<String>,
}

impl Audit {
    /// A host starts. `after_a_crash`: the one before did not end by itself, so records may come again.
    pub fn life(&mut self, after_a_crash: bool) {
        self.life += 1;
        self.crashes += u32::from(after_a_crash);
    }

    /// What the present life wrote. What stands behind the last line feed was cut off by a kill, and comes again.
    pub fn text(&mut self, text: &str) {
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u64>)) else {
            self.complain(format!("no key and number: {line:?}"));
            return;
        };
        self.came(key, number);
    }

    /// The present life wrote this number of this key.
    pub fn came(&mut self, key: &str, number: u64) {
        let state = self.keys.entry(key.to_owned()).or_default();
        let may_go_back = state.crashes < self.crashes;
        let due = state.due;
        let is_in_order = number == due || (number < due && may_go_back);
        state.crashes = self.crashes;
        state.due = number + 1;
        if number >= state.seen_below {
            state.holes.extend(state.seen_below..number);
            state.seen_below = number + 1;
            self.delivered += 1;
        } else if state.holes.remove(&number) {
            self.delivered += 1;
        } else {
            self.repeated += 1;
        }
        if !is_in_order {
            let life = self.life;
            self.complain(format!("{key}: {number} came where {due} was due, in life {life}"));
        }
    }

    fn complain(&mut self, example: String) {
        self.disordered += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// Different records delivered so far.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Records delivered once more so far.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Violations so far.
    #[must_use]
    pub const fn disordered(&self) -> u64 {
        self.disordered
    }

    /// Compares with what was written.
    #[must_use]
    pub fn close(mut self, written: &Written) -> Ledger {
        let mut missing = 0;
        for (key, &count) in written {
            let (seen_below, holes) =
                self.keys.get(key).map_or((0, 0), |state| (state.seen_below, state.holes.range(..count).count()));
            missing += count.saturating_sub(seen_below) + u64::try_from(holes).expect("as many as were counted");
        }
        let strangers: Vec<String> = self
            .keys
            .iter()
            .filter(|(key, state)| state.seen_below > written.get(*key).copied().unwrap_or_default())
            .map(|(key, state)| format!("{key}: {} was never written", state.seen_below - 1))
            .collect();
        strangers.into_iter().for_each(|stranger| self.complain(stranger));
        Ledger {
            written: written.values().sum(),
            delivered: self.delivered,
            repeated: self.repeated,
            missing,
            disordered: self.disordered,
            examples: self.examples,
        }
    }
}

impl Ledger {
    /// Whether everything is there, in order.
    #[must_use]
    pub const fn is_complete_and_ordered(&self) -> bool {
        self.missing == 0 && self.disordered == 0
    }

    /// Panics unless everything is there, in order and once.
    ///
    /// # Panics
    /// Something is missing, out of order or repeated.
    #[track_caller]
    pub fn expect_exact(&self, sink: &str) {
        assert!(self.is_complete_and_ordered() && self.repeated == 0, "{sink}: {self}");
    }

    /// Panics unless everything is there and in order; a crash may have repeated some.
    ///
    /// # Panics
    /// Something is missing or out of order.
    #[track_caller]
    pub fn expect_complete(&self, sink: &str) {
        assert!(self.is_complete_and_ordered(), "{sink}: {self}");
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, delivered, repeated, missing, disordered, examples } = self;
        write!(
            f,
            "{written} written, {delivered} delivered, {repeated} repeated, {missing} missing, {disordered} out of order"
        )?;
        examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives as `(after a crash, lines of "a")`, against `written` numbers of "a".
    fn ledger(lives: &[(bool, &[u64])], written: u64) -> Ledger {
        let mut audit = Audit::default();
        for (after_a_crash, numbers) in lives {
            audit.life(*after_a_crash);
            numbers.iter().for_each(|number| audit.text(&format!("a {number} ---\n")));
        }
        audit.close(&Written::from([("a".to_owned(), written)]))
    }

    fn counts(ledger: &Ledger) -> [u64; 4] {
        [ledger.delivered, ledger.repeated, ledger.missing, ledger.disordered]
    }

    #[test]
    fn a_replay_goes_back_once_and_only_after_a_crash() {
        for (lives, expected) in [
            (&[(false, &[0, 1, 2][..]), (true, &[1, 2, 3])][..], [4, 2, 0, 0]),
            (&[(false, &[0, 1, 2]), (false, &[1, 2, 3])], [4, 2, 0, 1]),
            (&[(false, &[0, 1]), (true, &[0, 1, 0, 1, 2, 3])], [4, 4, 0, 1]),
            (&[(false, &[0, 1]), (true, &[]), (false, &[1, 2, 3])], [4, 1, 0, 0]),
            (&[(false, &[0, 1]), (true, &[1]), (false, &[1, 2, 3])], [4, 2, 0, 1]),
        ] {
            assert_eq!(counts(&ledger(lives, 4)), expected, "{lives:?}");
        }
    }

    #[test]
    fn what_is_skipped_is_out_of_order_and_missing_until_it_comes() {
        assert_eq!(counts(&ledger(&[(false, &[0, 2, 3])], 4)), [3, 0, 1, 1]);
        assert_eq!(counts(&ledger(&[(false, &[0, 2, 1, 3])], 4)), [4, 0, 0, 3]);
        assert_eq!(counts(&ledger(&[(true, &[1, 2])], 5)), [2, 0, 3, 1]);
        assert_eq!(counts(&ledger(&[], 3)), [0, 0, 3, 0]);
    }

    #[test]
    fn what_nobody_wrote_is_a_violation() {
        assert_eq!(counts(&ledger(&[(false, &[0, 1, 2])], 2)), [3, 0, 0, 1]);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        let mut audit = Audit::default();
        audit.life(false);
        audit.text("a 0 -\na 1");
        assert_eq!(counts(&audit.close(&Written::from([("a".to_owned(), 1)]))), [1, 0, 0, 0]);
    }
}
