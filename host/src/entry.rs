//! What converters make of elements: the entries that go to services, one by one, because each is confirmed, thrown back
//! or refused by itself.
//!
//! An entry owns its bytes. A slice of its batch would be cheaper to make, and would keep the whole batch in memory for as
//! long as one slow entry of it waits, which no budget could tell.

use md5::{Digest as _, Md5};

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

impl KinesisEntry {
    /// What it counts for against the service's limits, in bytes: its data before base64, and its partition key in UTF-8. An
    /// explicit hash key is not counted.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.data.len() + self.partition_key.len()) as u64
    }

    /// The key whose shard takes it.
    #[must_use]
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key(&self.partition_key))
    }
}

/// Where a partition key lies in the key space of a stream: its MD5, as a number.
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
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

    /// What they take of this machine's memory, in bytes.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        match self {
            Self::Kinesis(entries) => entries.iter().map(OneOf::footprint).sum(),
            Self::Dynamodb(requests) => requests.iter().map(OneOf::footprint).sum(),
        }
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

/// What an entry takes beside its own bytes while it is held: where it came from, its key, its places in the engine's order.
const BESIDE_BYTES: u64 = 256;

/// A kind of entry that [`Entries`] may hold.
pub trait OneOf: Send + Sync + Sized + 'static {
    /// The entries, if they are of this kind.
    fn all(entries: Entries) -> Option<Vec<Self>>;

    /// What it takes of this machine's memory while it is held, in bytes; not what the service counts: an item of many small
    /// attributes is several times as large here.
    fn footprint(&self) -> u64;
}

impl OneOf for KinesisEntry {
    fn all(entries: Entries) -> Option<Vec<Self>> {
        match entries {
            Entries::Kinesis(entries) => Some(entries),
            Entries::Dynamodb(_) => None,
        }
    }

    fn footprint(&self) -> u64 {
        // The key is held twice: once for its order.
        BESIDE_BYTES + (size_of::<Self>() + 2 * self.partition_key.len() + self.data.capacity()) as u64
    }
}

impl OneOf for ItemRequest {
    fn all(entries: Entries) -> Option<Vec<Self>> {
        match entries {
            Entries::Kinesis(_) => None,
            Entries::Dynamodb(requests) => Some(requests),
        }
    }

    fn footprint(&self) -> u64 {
        BESIDE_BYTES + self.item.footprint()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Value;

    /// LIM-1: what is held is bounded by what it takes here, not by what the service counts.
    #[test]
    fn many_small_attributes_take_more_memory_than_the_service_counts() {
        let attribute = |name: usize| (name.to_string(), Value::Bool(true));
        let item = Item((0..1000).map(attribute).collect());
        let (counted, request) = (item.size(), ItemRequest { action: Action::Put, item });
        assert!(request.footprint() > 10 * counted, "{} of {counted}", request.footprint());
        let entry = KinesisEntry { partition_key: "k".to_owned(), explicit_hash_key: None, data: vec![7; 1000] };
        assert!((1000..2000).contains(&entry.footprint()), "{}", entry.footprint());
    }

    /// The examples of RFC 1321.
    #[test]
    fn a_partition_key_lies_where_its_md5_says() {
        assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(hash_key("abc"), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);
        let entry = KinesisEntry { partition_key: "abc".to_owned(), explicit_hash_key: None, data: Vec::new() };
        assert_eq!(entry.hash_key(), hash_key("abc"));
        assert_eq!(KinesisEntry { explicit_hash_key: Some(7), ..entry }.hash_key(), 7);
    }

    #[test]
    fn keys_count_as_their_utf8_and_hash_keys_not_at_all() {
        let entry =
            KinesisEntry { partition_key: "ü🌋".to_owned(), explicit_hash_key: Some(u128::MAX), data: vec![0; 10] };
        assert_eq!(entry.bytes(), 16);
    }
}
