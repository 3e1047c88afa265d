//! What a service must have that others wrote to, again and again: every number of every key, in order of their first
//! appearances.
//!
//! A crash repeats, and a request that its sender gave up may be carried out long after it was sent once more: neither takes
//! back what is there. So repetitions are folded into the first appearance, and out of order is a number that first appears
//! behind a greater one of its key.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Ledger, Written};

/// So many violations are told in words; all are counted.
const EXAMPLES_MAX: usize = 10;

/// Reads what a service has, in the order in which it got it.
#[derive(Debug, Default)]
pub struct Appearances {
    keys: BTreeMap<String, BTreeSet<u64>>,
    delivered: u64,
    repeated: u64,
    disordered: u64,
    examples: Vec<String>,
}

impl Appearances {
    /// The service got this number of this key.
    pub fn came(&mut self, key: &str, number: u64) {
        let seen = self.keys.entry(key.to_owned()).or_default();
        let greatest = seen.last().copied();
        if !seen.insert(number) {
            self.repeated += 1;
            return;
        }
        self.delivered += 1;
        if let Some(greatest) = greatest.filter(|greatest| *greatest > number) {
            self.complain(format!("{key}: {number} first came after {greatest}"));
        }
    }

    /// The service got what nobody wrote.
    pub fn foreign(&mut self, what: &str) {
        self.complain(format!("nobody wrote {what}"));
    }

    fn complain(&mut self, example: String) {
        self.disordered += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// Compares with what was written.
    #[must_use]
    pub fn close(mut self, written: &Written) -> Ledger {
        let mut missing = 0;
        for (key, count) in written {
            let seen = self.keys.remove(key).unwrap_or_default();
            let absent: Vec<u64> = (0..*count).filter(|number| !seen.contains(number)).collect();
            missing += absent.len() as u64;
            if let Some(first) = absent.first().filter(|_| self.examples.len() < EXAMPLES_MAX) {
                self.examples.push(format!("{key}: {first} is missing, as one of {}", absent.len()));
            }
            for number in seen.range(*count..) {
                self.delivered -= 1;
                self.complain(format!("nobody wrote {key} {number}"));
            }
        }
        for key in std::mem::take(&mut self.keys).into_keys() {
            self.foreign(&key);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[u64], written: u64) -> [u64; 4] {
        let mut appearances = Appearances::default();
        numbers.iter().for_each(|number| appearances.came("a", *number));
        let ledger = appearances.close(&Written::from([("a".to_owned(), written)]));
        [ledger.delivered, ledger.repeated, ledger.missing, ledger.disordered]
    }

    #[test]
    fn repetitions_take_nothing_back_and_a_first_appearance_comes_after_those_of_older_numbers() {
        for (numbers, expected) in [
            (&[0, 1, 2][..], [3, 0, 0, 0]),
            (&[0, 1, 0, 1, 2, 0], [3, 3, 0, 0]),
            (&[0, 2, 1], [3, 0, 0, 1]),
            (&[0, 2, 2, 1, 1], [3, 2, 0, 1]),
            (&[0, 1], [2, 0, 1, 0]),
            (&[0, 2], [2, 0, 1, 0]),
            (&[], [0, 0, 3, 0]),
        ] {
            assert_eq!(counts(numbers, 3), expected, "{numbers:?}");
        }
    }

    #[test]
    fn what_nobody_wrote_is_a_violation() {
        assert_eq!(counts(&[0, 1, 2], 2), [2, 0, 0, 1]);
        let mut appearances = Appearances::default();
        appearances.came("b", 0);
        assert_eq!(appearances.close(&Written::new()).disordered, 1);
    }
}
