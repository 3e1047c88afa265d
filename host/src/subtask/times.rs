//! Event times of what a component made and the sinks do not have yet.
//!
//! A watermark must not pass an element that is made and not delivered (WMK-1), and only here both are known: the subtask
//! makes, the sinks' thread delivers, both in the same order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_core::moment::EpochMillis;

/// Event times of one session, in the order of its deliveries.
#[derive(Clone, Debug, Default)]
pub(super) struct EventTimes(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// Earliest time of each delivery on its way.
    made: VecDeque<EpochMillis>,
    latest_delivered: Option<EpochMillis>,
}

impl EventTimes {
    /// Elements of these times are on their way from here on.
    pub(super) fn made(&self, times: &[i64]) -> Option<Made> {
        let (earliest, latest) = (times.iter().min()?, times.iter().max()?);
        self.times().made.push_back(EpochMillis(*earliest));
        Some(Made { times: self.clone(), latest: EpochMillis(*latest) })
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.times().made.is_empty()
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Elements on their way, the oldest of their session.
#[derive(Debug)]
pub struct Made {
    times: EventTimes,
    latest: EpochMillis,
}

impl Made {
    /// They are delivered. Returns the earliest time of what still is not, and the latest of all that is; equal if
    /// everything is.
    #[must_use]
    pub fn delivered(self) -> (EpochMillis, EpochMillis) {
        let mut times = self.times.times();
        times.made.pop_front();
        let latest = times.latest_delivered.map_or(self.latest, |latest| latest.max(self.latest));
        times.latest_delivered = Some(latest);
        (times.made.iter().min().copied().unwrap_or(latest), latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> EpochMillis {
        EpochMillis(millis)
    }

    #[test]
    fn what_is_made_and_not_delivered_is_told_with_every_delivery() {
        let times = EventTimes::default();
        let first = times.made(&[7, 5]).expect("it has times");
        let second = times.made(&[3, 9]).expect("it has times");
        let third = times.made(&[6]).expect("it has times");
        assert!(times.made(&[]).is_none());
        assert_eq!(first.delivered(), (at(3), at(7)));
        assert_eq!(second.delivered(), (at(6), at(9)));
        assert!(!times.is_idle());
        assert_eq!(third.delivered(), (at(9), at(9)), "the latest of all, not of the last");
        assert!(times.is_idle());
    }
}
