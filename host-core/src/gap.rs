//! Records that may be gone before anybody read them (GAP-1).
//!
//! The service says nothing when a position, or an iterator that lived too long, points to trimmed data: it goes on at the
//! oldest record that it still keeps, as if nothing had been before. Sequence numbers are no evidence either, because they
//! have gaps anyway. What remains is time: everything that arrived before `complete_until` is with the sinks, and the
//! service keeps what arrived within its retention. Whatever arrived between the two may have been trimmed unread.
//!
//! So a gap is a suspicion that cannot be refuted, and it is told as one. A shard that was read at its tip is never
//! suspected while a run lasts, and by the next run not before the retention, less a twenty-fourth, has passed since.

use std::time::Duration;

use crate::moment::EpochMillis;
use crate::shard::{Position, SequenceNumber, ShardId};

/// `on_gap` of the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Stop the pipeline; positions stay before the gap.
    #[default]
    Fail,
    /// Tell it, count it and read on behind it.
    Continue,
}

/// What the evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// More time than the stream's retention passed since the shard was complete, or the service says that data is trimmed.
    Trimmed,
    /// The service does not know the position's sequence number any more.
    StalePosition,
    /// The shard itself is no longer there, and it was not read to its end.
    ShardGone,
    /// The stream is another one of the same name.
    StreamRecreated,
}

/// A stretch of a shard that will not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The shard.
    pub shard: ShardId,
    /// What the evidence is.
    pub reason: GapReason,
    /// The gap begins after this.
    pub from: Position,
    /// The first record behind the gap, where one is known.
    pub to: Option<SequenceNumber>,
    /// Records that arrived at this time or later may be lost; `None` where no earlier time is known to be complete.
    pub since: Option<EpochMillis>,
    /// Records that arrived at this time or later are not; `None` where the shard has no more of them.
    pub until: Option<EpochMillis>,
}

/// The arrivals, from the first to before the second, that may have been trimmed unread at `now` (the service's time), if a
/// shard is complete up to `complete_until`. A shard of which no such time is known owes nothing: it starts with the oldest
/// record that the stream keeps.
#[must_use]
pub fn possible_loss(
    complete_until: Option<EpochMillis>,
    now: EpochMillis,
    retention: Duration,
) -> Option<(EpochMillis, EpochMillis)> {
    let since = complete_until?;
    let kept = EpochMillis(now.0.saturating_sub(millis(retention)));
    (since < kept).then_some((since, kept))
}

/// Whether a later `complete_until` is worth a write of its own. Twenty-four writes per retention keep an idle shard well
/// away from suspicion.
#[must_use]
pub fn is_worth_keeping(durable: Option<EpochMillis>, now: Option<EpochMillis>, retention: Duration) -> bool {
    match (durable, now) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(durable), Some(now)) => now.0.saturating_sub(durable.0) > millis(retention / 24),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const HOUR: i64 = 3_600_000;

    #[test]
    fn what_arrived_within_retention_is_never_suspected() {
        let now = EpochMillis(100 * HOUR);
        let loss = |since: i64| possible_loss(Some(EpochMillis(since)), now, DAY);
        assert_eq!(loss(76 * HOUR), None, "exactly as old as the oldest that is kept");
        assert_eq!(loss(76 * HOUR - 1), Some((EpochMillis(76 * HOUR - 1), EpochMillis(76 * HOUR))));
        assert_eq!(loss(200 * HOUR), None, "a clock that runs behind");
        assert_eq!(possible_loss(None, now, DAY), None);
    }

    #[test]
    fn an_idle_shard_is_written_once_in_an_hour_of_a_days_retention() {
        let durable = Some(EpochMillis(0));
        assert!(!is_worth_keeping(durable, Some(EpochMillis(HOUR)), DAY));
        assert!(is_worth_keeping(durable, Some(EpochMillis(HOUR + 1)), DAY));
        assert!(is_worth_keeping(None, Some(EpochMillis(0)), DAY) && !is_worth_keeping(durable, None, DAY));
    }
}
