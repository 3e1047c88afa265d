//! What can be asked of a stream in memory, and what it tells.

use host_core::moment::EpochMillis;
use host_core::shard::{SequenceNumber, ShardId};

use crate::columns::RecordView;

/// The calls of the ports, for scripts and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`StreamApi::describe`](crate::ports::StreamApi::describe).
    Describe,
    /// [`StreamApi::list_shards`](crate::ports::StreamApi::list_shards).
    ListShards,
    /// [`StreamApi::open`](crate::ports::StreamApi::open).
    Open,
    /// [`StreamApi::read`](crate::ports::StreamApi::read).
    Read,
    /// [`FanOutApi::describe_consumer`](crate::ports::FanOutApi::describe_consumer).
    DescribeConsumer,
    /// [`FanOutApi::list_consumers`](crate::ports::FanOutApi::list_consumers).
    ListConsumers,
    /// [`FanOutApi::register_consumer`](crate::ports::FanOutApi::register_consumer).
    RegisterConsumer,
    /// [`FanOutApi::deregister_consumer`](crate::ports::FanOutApi::deregister_consumer).
    DeregisterConsumer,
    /// [`FanOutApi::subscribe`](crate::ports::FanOutApi::subscribe).
    Subscribe,
    /// An event of a subscription; counted once it is told.
    Event,
    /// [`PutApi::put_records`](crate::ports::PutApi::put_records).
    PutRecords,
    /// One entry of it; counted, and fails by itself.
    PutEntry,
}

impl Call {
    pub(super) const fn operation(self) -> &'static str {
        match self {
            Self::Describe => "DescribeStreamSummary",
            Self::ListShards => "ListShards",
            Self::Open => "GetShardIterator",
            Self::Read => "GetRecords",
            Self::DescribeConsumer => "DescribeStreamConsumer",
            Self::ListConsumers => "ListStreamConsumers",
            Self::RegisterConsumer => "RegisterStreamConsumer",
            Self::DeregisterConsumer => "DeregisterStreamConsumer",
            Self::Subscribe | Self::Event => "SubscribeToShard",
            Self::PutRecords | Self::PutEntry => "PutRecords",
        }
    }
}

/// What the last page of a closed shard says of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// `ChildShards` is there, as the service does.
    Told,
    /// It is missing, as with most emulators.
    Omitted,
}

/// What pages say of the distance to the stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// The truth: one millisecond per record still to come.
    Told,
    /// Always 0, as most emulators say.
    Zero,
    /// Nothing.
    Omitted,
}

/// How a closed shard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastPage {
    /// The page with the last records has no next iterator.
    WithRecords,
    /// An empty page follows.
    Empty,
}

/// In which order shards are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingOrder {
    /// As they were made.
    Creation,
    /// The youngest first: children before their parents.
    Reverse,
    /// Shuffled, the same way for the same number.
    Shuffled(u64),
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its sequence number, larger than any before in the stream.
    pub sequence: SequenceNumber,
    /// When it arrived.
    pub arrival: EpochMillis,
    /// Its partition key.
    pub partition_key: String,
    /// Its data.
    pub data: Vec<u8>,
}

impl Written {
    pub(super) fn view(&self) -> RecordView<'_> {
        RecordView {
            sequence_number: self.sequence.as_str(),
            arrival: self.arrival.0,
            partition_key: &self.partition_key,
            kms: false,
            data: &self.data,
        }
    }
}
