//! The service's clock, as far as this machine can know it.
//!
//! What is read and what has been trimmed is decided by the service's clock; ours may differ by hours. A `latest` that is
//! resolved with a clock that is ahead skips what is written meanwhile; an end that is fixed with one that is behind leaves
//! out what is there. One answer of the service settles it: its `Date` header tells the service's second, and the answer
//! came between two looks at our own clock. Where both clocks can be the same within those bounds they are taken to be,
//! because a header knows no milliseconds.

use std::time::Duration;

use crate::moment::EpochMillis;

/// What a `Date` header leaves open: it is cut off at the second.
const HEADER_RESOLUTION: i64 = 1_000;

/// How far the service's clock is from ours, as bounds in milliseconds: what to add to ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceClock {
    least: i64,
    most: i64,
}

impl ServiceClock {
    /// From the `date` of an answer (`StreamDescription::service_time`) that was asked for and answered at these times of
    /// our clock. Without a date both clocks are taken to be the same.
    #[must_use]
    pub fn compare(date: Option<EpochMillis>, asked: EpochMillis, answered: EpochMillis) -> Self {
        let Some(date) = date else { return Self::default() };
        let least = date.0.saturating_sub(answered.0);
        let most = date.0.saturating_add(HEADER_RESOLUTION).saturating_sub(asked.0);
        if least <= 0 && most >= 0 { Self::default() } else { Self { least, most } }
    }

    /// The earliest that the service's clock can show when ours shows `ours`: where `latest` begins, and when a page was
    /// asked for.
    #[must_use]
    pub const fn earliest(&self, ours: EpochMillis) -> EpochMillis {
        EpochMillis(ours.0.saturating_add(self.least))
    }

    /// The latest that the service's clock can show when ours shows `ours`: where a run ends that reads what is there.
    #[must_use]
    pub const fn latest(&self, ours: EpochMillis) -> EpochMillis {
        EpochMillis(ours.0.saturating_add(self.most))
    }

    /// Time until the service's clock shows `at` for certain; zero if it does.
    #[must_use]
    pub fn until(&self, at: EpochMillis, ours: EpochMillis) -> Duration {
        let millis = at.0.saturating_sub(self.earliest(ours).0);
        u64::try_from(millis).map_or(Duration::ZERO, Duration::from_millis)
    }

    /// How far the clocks differ at least; zero if they can be the same.
    #[must_use]
    pub const fn skew(&self) -> Duration {
        let (least, most) = (self.least.unsigned_abs(), self.most.unsigned_abs());
        Duration::from_millis(if least < most { least } else { most })
    }
}

/// Whether records that arrived at `at` may have been trimmed by `now`, both by the service's clock: reading from there
/// begins at the trim horizon then, which the service does not say.
#[must_use]
pub fn falls_before_horizon(at: EpochMillis, now: EpochMillis, retention: Duration) -> bool {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    at.0 < now.0.saturating_sub(retention)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> EpochMillis {
        EpochMillis(millis)
    }

    #[test]
    fn clocks_that_can_be_the_same_are_taken_to_be() {
        // A header knows no milliseconds, and an answer takes its time.
        for (date, asked, answered) in
            [(50_000, 50_000, 50_000), (50_000, 50_999, 50_999), (50_000, 51_000, 51_400), (50_000, 49_000, 50_000)]
        {
            let clock = ServiceClock::compare(Some(at(date)), at(asked), at(answered));
            assert_eq!(clock, ServiceClock::default(), "{date} {asked} {answered}");
        }
        assert_eq!(ServiceClock::compare(None, at(1), at(2)), ServiceClock::default());
    }

    #[test]
    fn a_clock_that_differs_is_known_within_bounds_that_hold_its_true_time() {
        for (ahead, asked, serving, answered) in
            [(3_600_000, 10_000, 10_040, 10_100), (-7_200_000, 90_000_000, 90_000_001, 90_000_700), (2_101, 0, 0, 100)]
        {
            let truth = serving + ahead;
            let date = truth - i64::rem_euclid(truth, 1_000);
            let clock = ServiceClock::compare(Some(at(date)), at(asked), at(answered));
            let later = at(answered + 77);
            assert!(clock.earliest(later) <= at(later.0 + ahead), "{ahead}: `latest` would skip records");
            assert!(clock.latest(later) >= at(later.0 + ahead), "{ahead}: the end would leave out records");
            let width = clock.latest(later).0 - clock.earliest(later).0;
            assert!(width <= 1_000 + answered - asked, "{ahead}: {width}");
            assert!(
                clock.skew() > Duration::from_secs(1) && clock.skew() <= Duration::from_millis(ahead.unsigned_abs())
            );
        }
    }

    #[test]
    fn a_time_ahead_is_waited_for_by_the_services_clock() {
        let same = ServiceClock::default();
        assert_eq!(same.until(at(5_000), at(3_000)), Duration::from_secs(2));
        assert_eq!(same.until(at(5_000), at(6_000)), Duration::ZERO);
        let behind = ServiceClock::compare(Some(at(1_000_000)), at(1_060_000), at(1_060_000));
        assert_eq!(behind.until(at(1_005_000), at(1_060_000)), Duration::from_secs(5));
    }

    #[test]
    fn what_is_older_than_the_retention_begins_at_the_horizon() {
        let day = Duration::from_secs(86_400);
        let now = at(100_000_000);
        assert!(!falls_before_horizon(at(13_600_000), now, day));
        assert!(falls_before_horizon(at(13_599_999), now, day));
        assert!(!falls_before_horizon(at(200_000_000), now, day));
        assert!(!falls_before_horizon(at(0), now, Duration::MAX));
    }
}
