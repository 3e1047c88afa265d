//! The time up to which shards are complete.
//!
//! Time comes in two kinds, and they are never compared with one another.
//!
//! *Arrival* is what every record has. Reads tell the earliest arrival of what they hand out, receipts the arrival of what
//! is delivered. So a shard's watermark is the earliest arrival that is read and not delivered; with nothing in flight, the
//! latest delivered. WMK-1 is kept to the letter: nothing that was read is ever passed.
//!
//! *Event time* is what a component makes of a record, so it is known of elements that are made and of no others. From the
//! first receipt that brings it, the shard goes by it alone: its watermark is the latest delivered event time, held back by
//! the earliest of what is made and not delivered, as of the newest receipt. WMK-1 says less here, because less can be
//! known: nothing that is made is ever passed; an element that is made of a record read later may be earlier than the
//! watermark, and then it is late. What was made by a subtask that is lost counts as not made.
//!
//! Only receipts raise a watermark: before the first of them nobody knows the kind. It never falls, but for one case: a
//! shard whose first receipts brought no event time, and a later one did, takes back what arrivals had raised. An element
//! earlier than its shard's watermark is late; what to do about that is for those who use the watermark.
//!
//! Over all shards of all streams it is the least of those that are still read and not idle, and it never falls at all: a
//! shard where nothing happens must not stop time for everybody, and one from which nothing was delivered yet holds it
//! back, because nobody knows what it will bring.

use std::collections::VecDeque;

use crate::moment::EpochMillis;

/// The watermark of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardWatermark {
    /// Where it started.
    inherited: Option<EpochMillis>,
    value: Option<EpochMillis>,
    /// Latest arrival delivered.
    arrived: Option<EpochMillis>,
    /// Arrivals of batches in flight, by the ordinal after their last record, that no later batch undercuts: times ascend,
    /// so the first is the least.
    in_flight: VecDeque<(u64, EpochMillis)>,
    /// Once receipts brought event times.
    events: Option<EventTimes>,
}

#[derive(Clone, Copy, Debug)]
struct EventTimes {
    /// Earliest made and not delivered.
    held: Option<EpochMillis>,
    /// Latest delivered without a gap.
    delivered: Option<EpochMillis>,
}

impl ShardWatermark {
    /// A shard that starts at a known watermark: its own durable one, or its parents'.
    #[must_use]
    pub const fn new(inherited: Option<EpochMillis>) -> Self {
        Self { inherited, value: inherited, arrived: None, in_flight: VecDeque::new(), events: None }
    }

    /// The same shard, to be read again from ordinal `confirmed` of the session that is over. What was in flight there
    /// comes again, so it holds the watermark back as before; ordinals start at 0 again.
    #[must_use]
    pub fn read_again(mut self, confirmed: u64) -> Self {
        for (end, _) in &mut self.in_flight {
            *end = end.saturating_sub(confirmed);
        }
        self
    }

    /// A batch was handed out: `end` is the ordinal after its last record, `earliest` its earliest arrival.
    pub fn read(&mut self, end: u64, earliest: Option<EpochMillis>) {
        let Some(earliest) = earliest else { return };
        // Batches from before a loss may end later: one of those that is as early holds for this one too.
        let later = self.in_flight.partition_point(|(other, _)| *other <= end);
        if self.in_flight.get(later).is_some_and(|(_, time)| *time <= earliest) {
            return;
        }
        let first = self.in_flight.partition_point(|(other, time)| *other <= end && *time < earliest);
        self.in_flight.drain(first..later);
        self.in_flight.insert(first, (end, earliest));
    }

    /// A receipt brought event times: `earliest` of what is made and not delivered, `latest` of what is delivered, gaps or
    /// not. Equal ones mean that nothing is held: an element at the latest time holds nobody who is not beyond it.
    pub fn held(&mut self, earliest: EpochMillis, latest: EpochMillis) {
        if self.events.is_none() {
            self.value = self.inherited;
        }
        let delivered = self.events.and_then(|events| events.delivered);
        self.events = Some(EventTimes { held: (earliest != latest).then_some(earliest), delivered });
    }

    /// Everything before ordinal `confirmed` is delivered; `arrived` and `latest` are the latest arrival and event time
    /// among it.
    pub fn delivered(&mut self, confirmed: u64, arrived: Option<EpochMillis>, latest: Option<EpochMillis>) {
        self.arrived = self.arrived.max(arrived);
        while self.in_flight.front().is_some_and(|(end, _)| *end <= confirmed) {
            self.in_flight.pop_front();
        }
        let candidate = match &mut self.events {
            Some(events) => {
                events.delivered = events.delivered.max(latest);
                events.delivered.map(|delivered| events.held.map_or(delivered, |held| held.min(delivered)))
            }
            None => self.in_flight.front().map(|(_, earliest)| *earliest).or(self.arrived),
        };
        self.value = self.value.max(candidate);
    }

    /// The watermark; `None` before anything is delivered or inherited.
    #[must_use]
    pub const fn value(&self) -> Option<EpochMillis> {
        self.value
    }

    /// Whether something with an arrival was read, perhaps before a loss, and is not delivered.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The shard was read up to its tip and all of it is delivered, whatever was in flight before a loss.
    pub fn at_tip(&mut self) {
        self.in_flight.clear();
    }

    /// What the shard lets all others rise to: its watermark, or a late element in flight.
    #[must_use]
    pub fn holding(&self) -> Option<EpochMillis> {
        let held = match self.events {
            Some(events) => events.held,
            None => self.in_flight.front().map(|(_, earliest)| *earliest),
        };
        self.value.map(|value| held.map_or(value, |held| held.min(value)))
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
        assert_eq!(shard.value(), None, "nobody knows yet whether there are event times");
        shard.delivered(2, at(20), None);
        assert_eq!(shard.value(), at(7));
        shard.delivered(4, at(25), None);
        assert_eq!(shard.value(), at(30));
        shard.read(8, at(12));
        assert_eq!(shard.value(), at(30), "12 is late, and time does not run back for it");
        assert_eq!(shard.holding(), at(12), "but nobody else passes it");
        shard.delivered(8, at(40), None);
        assert_eq!((shard.value(), shard.holding()), (at(40), at(40)));
    }

    #[test]
    fn event_times_are_held_back_by_what_is_made_and_not_by_arrivals() {
        let mut shard = ShardWatermark::default();
        shard.read(2, at(1_000));
        shard.read(4, at(1_001));
        shard.held(EpochMillis(40), EpochMillis(55));
        shard.delivered(2, at(1_000), at(55));
        assert_eq!((shard.value(), shard.holding()), (at(40), at(40)));
        shard.held(EpochMillis(60), EpochMillis(60));
        shard.delivered(4, at(1_001), at(60));
        assert_eq!(shard.value(), at(60));
        shard.held(EpochMillis(50), EpochMillis(60));
        assert_eq!((shard.value(), shard.holding()), (at(60), at(50)), "late, but told");
    }

    #[test]
    fn event_times_take_back_what_arrivals_had_raised_and_no_more() {
        let mut shard = ShardWatermark::new(at(30));
        shard.delivered(1, at(1_000), None);
        assert_eq!(shard.value(), at(1_000));
        shard.held(EpochMillis(20), EpochMillis(20));
        shard.delivered(2, at(1_001), at(20));
        assert_eq!((shard.value(), shard.holding()), (at(30), at(30)));
    }

    #[test]
    fn what_is_read_again_holds_it_as_before() {
        let mut shard = ShardWatermark::default();
        shard.read(3, at(5));
        shard.delivered(3, at(5), None);
        shard.read(5, at(8));
        shard.read(9, at(10));
        shard.delivered(4, at(9), None);
        assert_eq!(shard.value(), at(8));
        let mut again = shard.read_again(4);
        again.read(1, at(8));
        again.delivered(1, at(9), None);
        assert_eq!(again.value(), at(10), "the second of those in flight is not read again yet");
        again.read(2, at(11));
        again.read(7, at(12));
        again.delivered(2, at(13), None);
        assert_eq!(again.value(), at(10));
        again.delivered(5, at(13), None);
        assert_eq!(again.value(), at(12));
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
