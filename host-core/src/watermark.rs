//! Event time up to which shards are complete.
//!
//! A shard's watermark is the earliest event time that is read and not delivered; with nothing in flight, the latest
//! delivered. It never falls: an element earlier than it is late, and what to do about that is for those who use the
//! watermark. Over all shards it is the least of those that are still read and not idle: a shard where nothing
//! happens must not stop time for everybody, and one from which nothing was read yet holds it back, because nobody knows
//! what it will bring.

use std::collections::VecDeque;

use crate::moment::EpochMillis;

/// The watermark of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardWatermark {
    value: Option<EpochMillis>,
    latest: Option<EpochMillis>,
    /// Batches in flight, by the ordinal after their last record, that no later batch undercuts: times ascend, so the
    /// first is the least.
    in_flight: VecDeque<(u64, EpochMillis)>,
}

impl ShardWatermark {
    /// A shard that starts at a known watermark: its own durable one, or its parents'.
    #[must_use]
    pub const fn new(value: Option<EpochMillis>) -> Self {
        Self { value, latest: None, in_flight: VecDeque::new() }
    }

    /// A batch was handed out: `end` is the ordinal after its last record, `earliest` its earliest event time.
    pub fn read(&mut self, end: u64, earliest: Option<EpochMillis>) {
        if let Some(earliest) = earliest {
            while self.in_flight.back().is_some_and(|(_, time)| *time >= earliest) {
                self.in_flight.pop_back();
            }
            self.in_flight.push_back((end, earliest));
        }
        self.raise();
    }

    /// Everything before ordinal `confirmed` is delivered; `latest` is the latest event time among it.
    pub fn delivered(&mut self, confirmed: u64, latest: Option<EpochMillis>) {
        self.latest = self.latest.max(latest);
        while self.in_flight.front().is_some_and(|(end, _)| *end <= confirmed) {
            self.in_flight.pop_front();
        }
        self.raise();
    }

    /// The watermark; `None` before the first element.
    #[must_use]
    pub const fn value(&self) -> Option<EpochMillis> {
        self.value
    }

    /// What the shard lets the stream rise to: its watermark, or a late element in flight.
    #[must_use]
    pub fn holding(&self) -> Option<EpochMillis> {
        let earliest = self.in_flight.front().map(|(_, earliest)| *earliest);
        self.value.map(|value| earliest.map_or(value, |earliest| earliest.min(value)))
    }

    fn raise(&mut self) {
        let candidate = self.in_flight.front().map(|(_, earliest)| *earliest).or(self.latest);
        self.value = self.value.max(candidate);
    }
}

/// The watermark over all shards.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamWatermark {
    value: Option<EpochMillis>,
}

impl StreamWatermark {
    /// Rises to the least of `shards`: those that are still read and not idle. One without a value holds it.
    pub fn raise(&mut self, shards: impl Iterator<Item = Option<EpochMillis>>) {
        self.value = self.value.max(shards.min().flatten());
    }

    /// The watermark.
    #[must_use]
    pub const fn value(&self) -> Option<EpochMillis> {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Option<EpochMillis> {
        Some(EpochMillis(millis))
    }

    #[test]
    fn the_earliest_in_flight_holds_it_and_the_latest_delivered_lets_go() {
        let mut shard = ShardWatermark::default();
        shard.read(2, at(10));
        shard.read(4, at(7));
        shard.read(6, at(30));
        assert_eq!(shard.value(), at(10));
        shard.delivered(2, at(20));
        assert_eq!(shard.value(), at(10), "7 is late, and time does not run back for it");
        assert_eq!(shard.holding(), at(7), "but nobody else passes it");
        shard.delivered(4, at(25));
        assert_eq!(shard.value(), at(30));
        shard.delivered(6, at(40));
        assert_eq!(shard.value(), at(40));
    }

    #[test]
    fn a_shard_without_a_value_holds_the_stream() {
        let mut stream = StreamWatermark::default();
        stream.raise([at(5), None].into_iter());
        assert_eq!(stream.value(), None);
        stream.raise([at(5), at(3)].into_iter());
        stream.raise([at(2)].into_iter());
        stream.raise([].into_iter());
        assert_eq!(stream.value(), at(3));
    }
}
