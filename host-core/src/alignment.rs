//! Alignment: no shard runs far ahead of the slowest.
//!
//! Whoever joins shards by time keeps what the fast ones brought until the slow ones catch up; how much that is, is the
//! drift between them. So a shard whose watermark is more than `max_drift` ahead of the least pauses: its reader asks for
//! nothing more, and what it handed over flows on.
//!
//! A pause cannot last for ever. It is taken from the least of those that hold the others back, and whoever holds the least
//! is no drift ahead of itself, so it is never paused: it moves on, or it falls idle and holds nobody any longer, and then
//! another one is the least. For the same reason a paused shard always counts, idle or not: were the last shard that counts
//! a paused one, it would be the least, and go on. A shard without a watermark is the least of all, and a shard that never
//! brings anything would be so for ever: it counts for as long as a shard may be silent without being idle.

use std::time::Duration;

use crate::moment::EpochMillis;

/// How often watermarks are compared, at most.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many shards are compared that often. With more of them the interval grows in proportion, so that comparing takes
/// the same share of a processor's time however many there are.
const SHARDS_PER_INTERVAL: usize = 1_000;

/// The pause between two comparisons of `shards` watermarks.
#[must_use]
pub fn interval(shards: usize) -> Duration {
    let intervals = shards.div_ceil(SHARDS_PER_INTERVAL).max(1);
    INTERVAL.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX))
}

/// The least watermark of the shards that hold the others back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Least {
    /// Nobody holds anybody back.
    #[default]
    Nobody,
    /// A shard whose watermark is not known.
    Unknown,
    /// The least that is known.
    At(EpochMillis),
}

impl Least {
    /// The least of these and one more shard.
    #[must_use]
    pub fn and(self, watermark: Option<EpochMillis>) -> Self {
        match (self, watermark) {
            (Self::Unknown, _) | (_, None) => Self::Unknown,
            (Self::Nobody, Some(watermark)) => Self::At(watermark),
            (Self::At(least), Some(watermark)) => Self::At(least.min(watermark)),
        }
    }

    /// Whether a shard with this watermark is more than `max_drift` ahead.
    #[must_use]
    pub fn is_left_behind_by(self, watermark: Option<EpochMillis>, max_drift: Duration) -> bool {
        match (self, watermark) {
            (Self::Nobody, _) | (_, None) => false,
            (Self::Unknown, Some(_)) => true,
            (Self::At(least), Some(watermark)) => {
                let drift = u64::try_from(watermark.0.saturating_sub(least.0)).unwrap_or(0);
                Duration::from_millis(drift) > max_drift
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: Duration = Duration::from_millis(10);

    const fn at(millis: i64) -> Option<EpochMillis> {
        Some(EpochMillis(millis))
    }

    fn least(watermarks: &[Option<EpochMillis>]) -> Least {
        watermarks.iter().fold(Least::default(), |least, watermark| least.and(*watermark))
    }

    #[test]
    fn the_drift_itself_is_allowed() {
        let least = least(&[at(30), at(20), at(25)]);
        assert_eq!(least, Least::At(EpochMillis(20)));
        assert!(!least.is_left_behind_by(at(30), DRIFT));
        assert!(least.is_left_behind_by(at(31), DRIFT));
        assert!(!least.is_left_behind_by(at(20), Duration::ZERO), "the least is never ahead of itself");
        assert!(!least.is_left_behind_by(at(i64::MIN), DRIFT), "one that is behind is not ahead");
    }

    #[test]
    fn a_shard_without_a_watermark_holds_all_that_have_one() {
        for order in [[at(1), None], [None, at(1)]] {
            assert!(least(&order).is_left_behind_by(at(1), DRIFT));
            assert!(!least(&order).is_left_behind_by(None, DRIFT));
        }
        assert!(!least(&[]).is_left_behind_by(at(i64::MAX), DRIFT));
    }

    #[test]
    fn ten_thousand_shards_are_compared_once_a_second() {
        assert_eq!(interval(0), Duration::from_millis(100));
        assert_eq!(interval(1_000), Duration::from_millis(100));
        assert_eq!(interval(1_001), Duration::from_millis(200));
        assert_eq!(interval(10_000), Duration::from_secs(1));
    }
}
