//! Records that are gone before they were read (GAP-1).
//!
//! The service does not tell. An iterator to a position whose records have been trimmed begins, without a word, with the
//! oldest record that is left; so does an iterator at hand when reading is slower than the stream's retention. The only
//! evidence is time. Of every shard it is known up to when it is *complete*: every record that arrived earlier is with the
//! sinks. If that lies further back than the retention, what arrived between then and the horizon may have been trimmed
//! unread. It may also never have existed: nobody can tell any more, and so it is reported rather than guessed.
//!
//! A quiet shard raises no alarm: a reader that finds nothing at the tip knows that the shard is complete up to that very
//! moment, and says so.

use std::time::Duration;

use crate::moment::EpochMillis;
use crate::shard::{Position, SequenceNumber, ShardId};

/// What happens where there is a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// The pipeline stops before anything behind the gap is handed on; positions stay.
    #[default]
    Fail,
    /// It is reported, counted and passed over.
    Continue,
}

/// Why there is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Reading fell behind the stream's retention, or the service says that the records are gone.
    Trimmed,
    /// A run continues from a position that is older than the stream's retention, or that the service does not know.
    StalePosition,
    /// The shard was deleted before it was read to its end.
    ShardGone,
    /// The stream was deleted and created again.
    StreamRecreated,
}

/// Records that are gone, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Their shard.
    pub shard: ShardId,
    /// How it came.
    pub reason: GapReason,
    /// Everything up to here is with the sinks.
    pub from: Position,
    /// The first record behind the gap, if one is known.
    pub to: Option<SequenceNumber>,
    /// What is gone arrived at this time or later.
    pub since: Option<EpochMillis>,
    /// What is gone arrived before this time.
    pub until: Option<EpochMillis>,
}

/// When records arrived that may have been trimmed unread by `now`, the service's time, in a shard that is complete up to
/// `complete_until`; `None` if there can be none.
#[must_use]
pub fn possible_loss(
    complete_until: Option<EpochMillis>,
    now: EpochMillis,
    retention: Duration,
) -> Option<(EpochMillis, EpochMillis)> {
    let since = complete_until?;
    let horizon = EpochMillis(now.0.saturating_sub(millis(retention)));
    (since < horizon).then_some((since, horizon))
}

/// How much later a shard has to be complete before that alone is worth writing down: it has to become durable long before
/// the retention makes it matter, and idle shards shall cost next to nothing.
#[must_use]
pub const fn worth_keeping(retention: Duration) -> Duration {
    Duration::from_millis((retention.as_millis() / 24) as u64)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at_hour(hour: i64) -> EpochMillis {
        EpochMillis(hour * 3_600_000)
    }

    #[test]
    fn what_lies_between_the_last_known_moment_and_the_horizon_may_be_lost() {
        assert_eq!(possible_loss(Some(at_hour(1)), at_hour(26), DAY), Some((at_hour(1), at_hour(2))));
        assert_eq!(possible_loss(Some(at_hour(2)), at_hour(26), DAY), None);
        assert_eq!(possible_loss(Some(at_hour(3)), at_hour(26), DAY), None);
    }

    #[test]
    fn a_shard_of_which_nothing_is_known_raises_no_alarm() {
        assert_eq!(possible_loss(None, at_hour(1_000_000), DAY), None);
    }

    #[test]
    fn a_day_of_retention_is_worth_a_note_an_hour() {
        assert_eq!(worth_keeping(DAY), Duration::from_secs(3_600));
    }
}
