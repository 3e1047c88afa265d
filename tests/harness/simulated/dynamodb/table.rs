//! One table: its key, its items, and what it still takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::number::Number;
use super::throughput::Bucket;
use super::value::{Attribute, Item, invalid};
use super::{ACCOUNT, REGION};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// Bytes of a partition key's value.
const PARTITION_KEY_BYTES_MAX: usize = 2048;
/// Bytes of a sort key's value.
const SORT_KEY_BYTES_MAX: usize = 1024;

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// `S`.
    Text,
    /// `N`.
    Number,
    /// `B`.
    Bytes,
}

impl KeyType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "S",
            Self::Number => "N",
            Self::Bytes => "B",
        }
    }
}

/// Attributes that an item is told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) partition: (String, KeyType),
    pub(super) sort: Option<(String, KeyType)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scalar {
    Text(String),
    Number(Number),
    Bytes(Vec<u8>),
}

impl Scalar {
    fn to_attribute(&self) -> Attribute {
        match self {
            Self::Text(text) => Attribute::Text(text.clone()),
            Self::Number(number) => Attribute::Number(number.clone()),
            Self::Bytes(bytes) => Attribute::Bytes(bytes.clone()),
        }
    }
}

/// An item's key. Partitions are in the order of a hash, as they are with the service; within one the sort keys ascend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    hash: u128,
    partition: Scalar,
    sort: Option<Scalar>,
}

/// How a wrong key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// An item, which may have other attributes.
    Item,
    /// A key, which may not.
    Key,
}

impl Schema {
    pub(super) fn attributes(&self) -> impl Iterator<Item = &(String, KeyType)> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    /// The key of a whole item.
    pub(super) fn key_of_item(&self, item: &Item) -> Result<Key, Refusal> {
        self.key_from(item, From::Item)
    }

    /// A key that stands alone.
    pub(super) fn key(&self, key: &Item) -> Result<Key, Refusal> {
        if key.len() != self.attributes().count() {
            return Err(invalid("The provided key element does not match the schema"));
        }
        self.key_from(key, From::Key)
    }

    fn key_from(&self, item: &Item, from: From) -> Result<Key, Refusal> {
        let partition = scalar(item, &self.partition, from)?;
        if length(&partition) > PARTITION_KEY_BYTES_MAX {
            return Err(invalid(
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
            ));
        }
        let sort = self.sort.as_ref().map(|attribute| scalar(item, attribute, from)).transpose()?;
        if sort.as_ref().is_some_and(|sort| length(sort) > SORT_KEY_BYTES_MAX) {
            return Err(invalid(
                "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
            ));
        }
        let digest = match &partition {
            Scalar::Text(text) => Md5::digest(text),
            Scalar::Number(number) => Md5::digest(number.to_string()),
            Scalar::Bytes(bytes) => Md5::digest(bytes),
        };
        Ok(Key { hash: u128::from_be_bytes(digest.into()), partition, sort })
    }

    /// A key as an item of nothing else.
    pub(super) fn item_of(&self, key: &Key) -> Item {
        let sort = self.sort.iter().zip(&key.sort).map(|((name, _), value)| (name.clone(), value.to_attribute()));
        std::iter::once((self.partition.0.clone(), key.partition.to_attribute())).chain(sort).collect()
    }
}

fn length(scalar: &Scalar) -> usize {
    match scalar {
        Scalar::Text(text) => text.len(),
        Scalar::Number(number) => number.size(),
        Scalar::Bytes(bytes) => bytes.len(),
    }
}

fn scalar(item: &Item, (name, of): &(String, KeyType), from: From) -> Result<Scalar, Refusal> {
    let mismatch = |what: String| match from {
        From::Item => invalid(format!("One or more parameter values were invalid: {what}")),
        From::Key => invalid("The provided key element does not match the schema"),
    };
    let value = item.get(name).ok_or_else(|| mismatch(format!("Missing the key {name} in the item")))?;
    let is_empty = |kind: &str| {
        Err(invalid(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {kind} value. Key: {name}"
        )))
    };
    match (value, of) {
        (Attribute::Text(text), KeyType::Text) if text.is_empty() => is_empty("string"),
        (Attribute::Bytes(bytes), KeyType::Bytes) if bytes.is_empty() => is_empty("binary"),
        (Attribute::Text(text), KeyType::Text) => Ok(Scalar::Text(text.clone())),
        (Attribute::Number(number), KeyType::Number) => Ok(Scalar::Number(number.clone())),
        (Attribute::Bytes(bytes), KeyType::Bytes) => Ok(Scalar::Bytes(bytes.clone())),
        (value, of) => {
            let (expected, actual) = (of.as_str(), value.kind());
            Err(mismatch(format!("Type mismatch for key {name} expected: {expected} actual: {actual}")))
        }
    }
}

/// How a table is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Billing {
    OnDemand,
    /// Units a second: reading, writing.
    Provisioned(u64, u64),
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) schema: Schema,
    pub(super) billing: Billing,
    pub(super) created: Millis,
    /// Being created until then, by the service's clock.
    pub(super) active_from: Millis,
    /// Being deleted, and gone then.
    pub(super) gone_from: Option<Millis>,
    /// What it still takes; `None` is any rate.
    pub(super) writes: Option<Bucket>,
    pub(super) items: BTreeMap<Key, Arc<Item>>,
    /// The value of the partition key whose items are refused.
    pub(super) refused: Option<Attribute>,
}

impl Table {
    /// Refuses the item that a test had refused.
    pub(super) fn check(&self, item: &Item) -> Result<(), Refusal> {
        match item.get(&self.schema.partition.0) {
            Some(partition) if Some(partition) == self.refused.as_ref() => Err(invalid(
                "One or more parameter values were invalid: Type mismatch for Index Key at Expected: S Actual: N IndexName: by-at",
            )),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) const fn status(&self, now: Millis) -> &'static str {
        if self.gone_from.is_some() {
            "DELETING"
        } else if now < self.active_from {
            "CREATING"
        } else {
            "ACTIVE"
        }
    }

    /// Takes units, if the table still has them.
    pub(super) fn charge(&mut self, units: u64, now: Millis) -> bool {
        self.writes.as_mut().is_none_or(|bucket| bucket.take(units, now))
    }

    /// What a write is refused with that was one too many.
    pub(super) fn throttled(&self) -> Refusal {
        match self.billing {
            Billing::Provisioned(..) => exceeded(),
            Billing::OnDemand => Refusal::client(
                "ThrottlingException",
                "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or index so please try again shortly.",
            ),
        }
    }
}

pub(super) fn exceeded() -> Refusal {
    Refusal::client(
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.",
    )
}

pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}
