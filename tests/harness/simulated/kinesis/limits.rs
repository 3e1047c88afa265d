//! How much of what the service gives, and the meters that say when it was too much.

use std::collections::VecDeque;
use std::time::Duration;

use crate::simulated::clock::{Millis, Wait};

/// The window that rates are counted in.
const WINDOW: Millis = 1000;
const MIB: u64 = 1024 * 1024;

/// Rates are per second of the service's clock; a refused call uses up nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `GetRecords` calls per shard.
    pub reads: usize,
    /// Bytes read per shard. More than that in one window shuts the shard for as long as the bytes take at this rate:
    /// 5 s after a page of 10 MiB.
    pub read_bytes: u64,
    /// `GetShardIterator` calls per shard.
    pub iterators: usize,
    /// `ListShards` calls per stream.
    pub listings: usize,
    /// `DescribeStreamSummary` calls per account.
    pub summaries: usize,
    /// Records written per shard.
    pub write_records: usize,
    /// Bytes written per shard.
    pub write_bytes: u64,
    /// Records in one page.
    pub page_records: usize,
    /// Bytes of data and partition keys in one page; a larger record travels alone.
    pub page_bytes: u64,
    /// Shards in one page of a listing that does not say how many.
    pub listing_page: usize,
    /// Shards in one page of a listing, whatever it says.
    pub listing_page_max: usize,
    /// Life of an iterator.
    pub iterator_life: Duration,
    /// Life of a `NextToken`.
    pub token_life: Duration,
    /// Consumers of one stream.
    pub consumers: usize,
    /// Consumers of one stream that are just being created.
    pub consumers_creating: usize,
    /// `RegisterStreamConsumer` calls per stream.
    pub registrations: usize,
    /// `DescribeStreamConsumer` calls per stream.
    pub consumer_descriptions: usize,
    /// For this long after a `SubscribeToShard` that was granted, the next one of the same consumer for the same shard is
    /// refused, whatever became of the first; after that it takes over.
    pub subscription_gap: Duration,
    /// Life of a subscription that is granted from now on.
    pub subscription_life: Wait,
    /// The longest silence between two events: an empty one breaks it.
    pub heartbeat: Wait,
    /// Records in one event.
    pub event_records: usize,
    /// Bytes of data and partition keys in one event; a larger record travels alone.
    pub event_bytes: u64,
}

impl Limits {
    /// As AWS documents them.
    #[must_use]
    pub const fn aws() -> Self {
        Self {
            reads: 5,
            read_bytes: 2 * MIB,
            iterators: 5,
            listings: 1000,
            summaries: 20,
            write_records: 1000,
            write_bytes: MIB,
            page_records: 10_000,
            page_bytes: 10 * MIB,
            listing_page: 1000,
            listing_page_max: 10_000,
            iterator_life: Duration::from_secs(300),
            token_life: Duration::from_secs(300),
            consumers: 20,
            consumers_creating: 5,
            registrations: 5,
            consumer_descriptions: 20,
            subscription_gap: Duration::from_secs(5),
            subscription_life: Wait::Service(Duration::from_secs(300)),
            heartbeat: Wait::Service(Duration::from_secs(5)),
            event_records: 10_000,
            event_bytes: 2 * MIB,
        }
    }

    /// Any rate, subscriptions included: one takes over at once. Sizes and lives as AWS documents them.
    #[must_use]
    pub const fn any_rate() -> Self {
        Self {
            reads: usize::MAX,
            read_bytes: u64::MAX,
            iterators: usize::MAX,
            listings: usize::MAX,
            summaries: usize::MAX,
            write_records: usize::MAX,
            write_bytes: u64::MAX,
            consumers_creating: usize::MAX,
            registrations: usize::MAX,
            consumer_descriptions: usize::MAX,
            subscription_gap: Duration::ZERO,
            ..Self::aws()
        }
    }
}

/// Amounts of the last second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    amounts: VecDeque<(Millis, u64)>,
    sum: u64,
}

impl Window {
    /// Calls and their amounts within the second that ends now.
    pub(crate) fn at(&mut self, now: Millis) -> (usize, u64) {
        while let Some((_, amount)) = self.amounts.pop_front_if(|(at, _)| *at <= now - WINDOW || *at > now) {
            self.sum -= amount;
        }
        (self.amounts.len(), self.sum)
    }

    pub(crate) fn add(&mut self, now: Millis, amount: u64) {
        self.amounts.push_back((now, amount));
        self.sum += amount;
    }
}

/// What one shard has given lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    reads: Window,
    iterators: Window,
    writes: Window,
    shut_until: Millis,
}

impl Meters {
    /// Whether a read is within limits.
    pub(crate) fn may_read(&mut self, now: Millis, limits: &Limits) -> bool {
        now >= self.shut_until && self.reads.at(now).0 < limits.reads
    }

    /// Counts a read.
    pub(crate) fn was_read(&mut self, now: Millis, bytes: u64, limits: &Limits) {
        self.reads.add(now, bytes);
        let (_, recent) = self.reads.at(now);
        if recent > limits.read_bytes {
            self.shut_until = now + i64::try_from(recent * 1000 / limits.read_bytes).unwrap_or(i64::MAX);
        }
    }

    /// Counts an iterator, if that is within limits.
    pub(crate) fn open(&mut self, now: Millis, limits: &Limits) -> bool {
        let is_within = self.iterators.at(now).0 < limits.iterators;
        if is_within {
            self.iterators.add(now, 1);
        }
        is_within
    }

    /// Counts a written record, if that is within limits.
    pub(crate) fn write(&mut self, now: Millis, bytes: u64, limits: &Limits) -> bool {
        if limits.write_records == usize::MAX {
            return true;
        }
        let (records, recent) = self.writes.at(now);
        let is_within = records < limits.write_records && recent + bytes <= limits.write_bytes;
        if is_within {
            self.writes.add(now, bytes);
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_reads_a_second_and_the_sixth_when_the_first_is_a_second_old() {
        let (mut meters, limits) = (Meters::default(), Limits::aws());
        for at in 0..5 {
            assert!(meters.may_read(at * 100, &limits));
            meters.was_read(at * 100, 10, &limits);
        }
        assert!(!meters.may_read(999, &limits));
        assert!(meters.may_read(1000, &limits));
    }

    #[test]
    fn ten_mebibytes_shut_a_shard_for_five_seconds_and_two_do_not() {
        let limits = Limits::aws();
        let mut meters = Meters::default();
        meters.was_read(0, 10 * MIB, &limits);
        assert!(!meters.may_read(4999, &limits));
        assert!(meters.may_read(5000, &limits));
        let mut meters = Meters::default();
        meters.was_read(0, 2 * MIB, &limits);
        assert!(meters.may_read(1, &limits));
    }
}
