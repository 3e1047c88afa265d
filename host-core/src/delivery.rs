//! What becomes of records that a component or a sink did not take.
//!
//! Three levels: a record that a component refuses, a batch that a component traps on, and whatever ends the run. Nothing
//! is dropped here without a decision that says so, and every repetition is bounded.

use std::time::Duration;

/// First pause before a record is tried again; doubles with each attempt.
const RETRY_BASE: Duration = Duration::from_millis(100);
/// Longest pause between attempts.
const RETRY_CAP: Duration = Duration::from_secs(10);

/// What to do with a record that fails whenever it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoisonPolicy {
    /// Stop the pipeline.
    Fail,
    /// Go on without the record, and say so.
    Skip,
}

/// What to do with a batch that a component trapped on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapPolicy {
    /// Halve the batch until the record that traps is alone; that record is poison.
    Bisect,
    /// Stop the pipeline.
    Fail,
}

/// `[on_error]` of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnError {
    /// For poison.
    pub poison: PoisonPolicy,
    /// For traps.
    pub trap: TrapPolicy,
    /// How often a record is tried in all, at least once.
    pub max_attempts: u32,
}

/// What went wrong. Attempts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This record will never succeed.
    Poison,
    /// This record may succeed if tried again.
    Retryable {
        /// The attempt that failed.
        attempt: u32,
    },
    /// Nothing will succeed.
    Fatal,
    /// A component trapped on `records` records and did not say which.
    Trapped {
        /// Size of the range.
        records: u32,
        /// The attempt that failed, for a range of this extent.
        attempt: u32,
    },
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stop the pipeline; positions stay before the record.
    Stop,
    /// Confirm the record as skipped, count it and log it.
    Skip,
    /// Try the same range again after this pause.
    RetryAfter(Duration),
    /// Try the first `mid` records alone, then the rest, each with attempt 1.
    Split {
        /// At least 1, below the size of the range.
        mid: u32,
    },
}

impl OnError {
    /// The decision for one outcome.
    #[must_use]
    pub fn decide(&self, outcome: Outcome) -> Decision {
        match outcome {
            Outcome::Fatal => Decision::Stop,
            Outcome::Poison => self.poison(),
            Outcome::Retryable { attempt } if attempt < self.max_attempts => Decision::RetryAfter(pause(attempt)),
            Outcome::Retryable { .. } => self.poison(),
            Outcome::Trapped { records, attempt } => match self.trap {
                TrapPolicy::Fail => Decision::Stop,
                TrapPolicy::Bisect if records > 1 => Decision::Split { mid: records / 2 },
                // Alone at last. A trap may come from what the instance had become, so a fresh one may try again.
                TrapPolicy::Bisect if attempt < self.max_attempts => Decision::RetryAfter(Duration::ZERO),
                TrapPolicy::Bisect => self.poison(),
            },
        }
    }

    const fn poison(&self) -> Decision {
        match self.poison {
            PoisonPolicy::Fail => Decision::Stop,
            PoisonPolicy::Skip => Decision::Skip,
        }
    }
}

fn pause(attempt: u32) -> Duration {
    RETRY_BASE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(RETRY_CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKIP: OnError = OnError { poison: PoisonPolicy::Skip, trap: TrapPolicy::Bisect, max_attempts: 3 };
    const FAIL: OnError = OnError { poison: PoisonPolicy::Fail, trap: TrapPolicy::Fail, max_attempts: 3 };

    #[test]
    fn a_record_that_may_succeed_is_tried_as_often_as_said_and_is_poison_then() {
        let decisions: Vec<_> = (1..=3).map(|attempt| SKIP.decide(Outcome::Retryable { attempt })).collect();
        let pauses = [100, 200].map(|millis| Decision::RetryAfter(Duration::from_millis(millis)));
        assert_eq!(decisions, [pauses[0], pauses[1], Decision::Skip]);
        assert_eq!(FAIL.decide(Outcome::Retryable { attempt: 3 }), Decision::Stop);
    }

    #[test]
    fn fatal_stops_under_every_policy() {
        assert_eq!(SKIP.decide(Outcome::Fatal), Decision::Stop);
        assert_eq!(FAIL.decide(Outcome::Poison), Decision::Stop);
        assert_eq!(FAIL.decide(Outcome::Trapped { records: 9, attempt: 1 }), Decision::Stop);
    }

    #[test]
    fn bisection_isolates_the_record_that_traps_and_skips_it_alone() {
        for poison in 0..13_u32 {
            let mut ranges = vec![(0_u32, 13_u32, 1_u32)];
            let (mut skipped, mut delivered, mut calls) = (Vec::new(), 0, 0);
            while let Some((first, count, attempt)) = ranges.pop() {
                calls += 1;
                assert!(calls < 100, "bisection ends");
                if !(first..first + count).contains(&poison) {
                    delivered += count;
                    continue;
                }
                match SKIP.decide(Outcome::Trapped { records: count, attempt }) {
                    Decision::Split { mid } => {
                        ranges.push((first + mid, count - mid, 1));
                        ranges.push((first, mid, 1));
                    }
                    Decision::RetryAfter(_) => ranges.push((first, count, attempt + 1)),
                    Decision::Skip => skipped.push((first, count)),
                    Decision::Stop => panic!("the policy is to skip"),
                }
            }
            assert_eq!((skipped, delivered), (vec![(poison, 1)], 12));
        }
    }
}
