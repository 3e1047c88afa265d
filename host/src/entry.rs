//! What converters make of elements: the entries that go to services, one by one, because each is confirmed, thrown back
//! or refused by itself.
//!
//! An entry owns its bytes. A slice of its batch would be cheaper to make, and would keep the whole batch in memory for as
//! long as one slow entry of it waits, which no budget could tell.

use crate::component::RecordError;
use crate::item::Item;

/// An entry of `PutRecords` (`PutRecordsRequestEntry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisEntry {
    /// `PartitionKey`: 1 to 256 characters.
    pub partition_key: String,
    /// `ExplicitHashKey`: puts the record into the shard whose range holds it, whatever the partition key says.
    pub explicit_hash_key: Option<u128>,
    /// `Data`.
    pub data: Vec<u8>,
}

/// What to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write it over whatever is there (`PutRequest`, `Put`).
    Put,
    /// Delete what has its key (`DeleteRequest`, `Delete`). Attributes beside the key are not looked at.
    Delete,
    /// Add its numbers to those of what has its key, which is created if need be (`Update` with `ADD`). Repeating it counts
    /// twice, so only a sink with `guarantee = "exactly-once"` takes it.
    Add,
}

/// A request on one item of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRequest {
    /// What to do.
    pub action: Action,
    /// The item; at least the attributes of its key.
    pub item: Item,
}

/// Entries for one sink, in the order of their elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Entries {
    /// For a stream.
    Kinesis(Vec<KinesisEntry>),
    /// For a table.
    Dynamodb(Vec<ItemRequest>),
}

impl Entries {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Kinesis(entries) => entries.len(),
            Self::Dynamodb(requests) => requests.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the entries for whose index `is_kept` says so.
    pub fn retain(&mut self, mut is_kept: impl FnMut(usize) -> bool) {
        let mut index = 0;
        let mut next = || {
            let kept = is_kept(index);
            index += 1;
            kept
        };
        match self {
            Self::Kinesis(entries) => entries.retain(|_| next()),
            Self::Dynamodb(requests) => requests.retain(|_| next()),
        }
    }
}

/// A kind of entry that [`Entries`] may hold.
pub trait OneOf: Send + Sync + Sized + 'static {
    /// The entries, if they are of this kind.
    fn all(entries: Entries) -> Option<Vec<Self>>;
}

impl OneOf for KinesisEntry {
    fn all(entries: Entries) -> Option<Vec<Self>> {
        match entries {
            Entries::Kinesis(entries) => Some(entries),
            Entries::Dynamodb(_) => None,
        }
    }
}

impl OneOf for ItemRequest {
    fn all(entries: Entries) -> Option<Vec<Self>> {
        match entries {
            Entries::Kinesis(_) => None,
            Entries::Dynamodb(requests) => Some(requests),
        }
    }
}

/// What came of a batch of elements, validated. An element with neither an entry nor an error was filtered by the
/// converter.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// The element that each entry came from: never decreasing, as long as there are entries.
    pub input_index: Vec<u32>,
    /// The entries.
    pub entries: Entries,
    /// Elements that failed, by increasing index; none of them has an entry. Their `input_index` counts elements.
    pub errors: Vec<RecordError>,
}
