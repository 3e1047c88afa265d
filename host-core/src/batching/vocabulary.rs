//! What a caller says to a [`Batcher`](super::Batcher) and hears from it.

use std::time::Duration;

use crate::moment::Moment;
use crate::patience::{RetryLimits, Trouble};

/// A MiB.
const MIB: u64 = 1_048_576;

/// What the entries of one sink share out among themselves. Defaults are those of Flink's sinks where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Entries in a request, at most (`PutRecords`: 500, `BatchWriteItem`: 25).
    pub max_count: usize,
    /// Bytes in a request, at most, as the service counts them (`PutRecords`: 10 MiB, `BatchWriteItem`: 16 MB).
    pub max_bytes: u64,
    /// Bytes of an entry, at most, as the service counts them. Larger ones are refused.
    pub max_record_bytes: u64,
    /// How long an entry that could be sent waits for company.
    pub max_age: Duration,
    /// Requests under way, at most.
    pub max_in_flight: usize,
    /// Entries held, at most: those under way and those that wait for another attempt included.
    pub max_buffered: usize,
    /// Bytes of the same, at most.
    pub max_buffered_bytes: u64,
    /// Attempts at an entry before it is dead; `None`: no end.
    pub max_attempts: Option<u32>,
    /// Age beyond which a failed attempt is an entry's last; `None`: no end. Every entry is tried once.
    pub max_entry_age: Option<Duration>,
    /// Which entries may be under way together.
    pub order: Order,
    /// How long after its cancellation a request may still be carried out by the service. Until then nothing newer of its
    /// keys is sent, if there is an order to keep.
    pub late_after: Duration,
    /// What a destination takes, if nothing else was said of it; `None`: it is found out.
    pub quota: Option<Quota>,
    /// Pauses between attempts.
    pub retry: RetryLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_count: 500,
            max_bytes: 5 * MIB,
            max_record_bytes: MIB,
            max_age: Duration::from_secs(5),
            max_in_flight: 50,
            max_buffered: 10_000,
            max_buffered_bytes: 64 * MIB,
            max_attempts: None,
            max_entry_age: None,
            order: Order::PerKey,
            late_after: Duration::from_secs(10),
            quota: None,
            retry: RetryLimits::default(),
        }
    }
}

impl Options {
    /// Whether they can be kept all at once.
    ///
    /// # Errors
    /// Names the first two that contradict each other, or one that forbids everything.
    pub fn check(&self) -> Result<(), Contradiction> {
        let contradiction = |what| Err(Contradiction { what });
        if self.max_count == 0 || self.max_in_flight == 0 || self.max_record_bytes == 0 {
            return contradiction("max_count, max_in_flight and max_record_bytes are at least 1");
        }
        if self.max_bytes < self.max_record_bytes {
            return contradiction("max_bytes is at least max_record_bytes, or the largest record fits in no request");
        }
        if self.max_buffered < self.max_count {
            return contradiction("max_buffered is at least max_count, or no request is ever full");
        }
        if self.max_buffered_bytes < self.max_bytes {
            return contradiction("max_buffered_bytes is at least max_bytes, or no request is ever full");
        }
        if self.max_attempts == Some(0) {
            return contradiction("max_attempts is at least 1");
        }
        if self.quota.is_some_and(|quota| !quota.is_sane()) {
            return contradiction("a quota is more than nothing");
        }
        Ok(())
    }
}

/// Options that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limits of a sink contradict each other: {what}")]
pub struct Contradiction {
    what: &'static str,
}

/// Which entries may be under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any: first come, first sent; what fails is overtaken.
    Free,
    /// The same, but no key twice in one request: `BatchWriteItem` refuses such a request.
    Distinct,
    /// One of each key: the service has the entries of a key in the order in which they were given.
    PerKey,
    /// The same for entries of which each replaces the one before (`PutItem`, `DeleteItem`): of those of a key that wait
    /// the newest is sent, and settles them all.
    Newest,
}

impl Order {
    pub(super) const fn is_kept(self) -> bool {
        match self {
            Self::Free | Self::Distinct => false,
            Self::PerKey | Self::Newest => true,
        }
    }
}

/// What a destination takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Records a second (a shard: 1,000).
    pub records_per_second: f64,
    /// Bytes a second (a shard: 1 MB).
    pub bytes_per_second: f64,
}

impl Quota {
    pub(super) fn is_sane(self) -> bool {
        let sane = |rate: f64| rate.is_finite() && rate > 0.0;
        sane(self.records_per_second) && sane(self.bytes_per_second)
    }
}

/// Where the service puts an entry, as far as that is known: what is throttled together. A shard, a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination(pub u32);

/// One entry to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Whatever the caller knows it by.
    pub ticket: T,
    /// What its order hangs on: the partition key, or the key of the item, in bytes that are equal exactly if the service
    /// takes the keys for equal. [`Order::Distinct`] and [`Order::Newest`] take equal keys of two destinations for two keys,
    /// [`Order::PerKey`] for one: a partition key moves when its shard is split.
    pub key: Vec<u8>,
    /// Where it goes.
    pub destination: Destination,
    /// Its size as the service counts it: partition key or attribute names included.
    pub bytes: u64,
    /// Since when it waits.
    pub arrived: Moment,
}

/// An entry that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The ticket, back.
    pub ticket: T,
    /// Why.
    pub why: Refusal,
}

/// Why an entry is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It never will be.
    #[error("an entry of {bytes} bytes is larger than the {max} bytes that the service takes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// `max_record_bytes`.
        max: u64,
    },
    /// There is no room for it now: `has_room` told so.
    #[error("the sink holds as many entries or bytes as it may")]
    Full,
    /// The sink takes nothing more.
    #[error("the sink is being closed")]
    Closed,
}

/// A request: never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Send these in one request, in this order, and ask again at once. It is answered by `answered`, `failed` or
    /// `timed_out`.
    Send {
        /// Its name.
        request: RequestId,
        /// What is in it; never empty.
        entries: Vec<T>,
        /// Their bytes, as the service counts them.
        bytes: u64,
    },
    /// Nothing before this moment, unless an entry or an answer comes.
    Wait(Moment),
    /// Nothing before an entry or an answer comes.
    Idle,
}

/// What the service said of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Done,
    /// It does not have it, and may take it another time.
    Retry(Setback),
    /// It will never take it.
    Poison(String),
}

/// Why the service did not take an entry this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Its destination has enough (`ProvisionedThroughputExceededException`, `UnprocessedItems`).
    Throttled,
    /// Something went wrong (`InternalFailure`).
    Failed,
}

/// Why a request failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// For a reason that has nothing to do with what is in it. [`Trouble::Transient`] says that nobody knows what became of
    /// it (a server error, a broken connection); all others say that the service has nothing of it, so
    /// [`Trouble::Unreachable`] is for connections that never were.
    Trouble(Trouble),
    /// The service takes no request with one of these entries in it, and does not say which (`ValidationException`).
    Rejected(String),
}

/// Whether the service has an entry that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not.
    NotWritten,
    /// An attempt was never answered: it may have.
    Unknown,
}

/// Why an entry is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The service will never take it, and said why.
    Poison(String),
    /// It was tried as often, or is as old, as options allow.
    Exhausted {
        /// How often it was tried: it, or an entry that would have replaced it.
        attempts: u32,
        /// What the service has of it.
        fate: Fate,
    },
}

/// What became of an entry. There is exactly one of these for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// The service has it, or one that replaces it.
    Confirmed(T),
    /// It never will be written by this sink.
    DeadLetter(T, Cause),
}

/// How much is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries not settled, and keys remembered because of a cancelled request; at most `max_buffered`.
    pub buffered: usize,
    /// Their bytes; at most `max_buffered_bytes`.
    pub bytes: u64,
    /// Requests under way.
    pub in_flight: usize,
    /// When the oldest unsettled entry came.
    pub oldest: Option<Moment>,
    /// Entries sent so far, each attempt counted.
    pub sent: u64,
    /// Of these, the ones that had been sent before.
    pub repeated: u64,
    /// Entries, keys and timers looked at so far: what this machine costs.
    pub visits: u64,
}
