//! Items of a table, as DynamoDB knows them: named attributes, each with a value of one of ten types.
//!
//! The SDK has such types too, and a hash map of them is what a request takes. An item of ours keeps the order in which its
//! attributes were written, is half as large, and is turned into the SDK's at each attempt (`sdk`): an entry may wait for
//! minutes, while a request lives for one call.
//!
//! The service refuses a whole request for one item that it cannot take. So whoever makes items of what others wrote makes
//! them with [`Item::new`] and the functions of [`Value`] that check, which refuse for one element what the service would
//! refuse for all.

mod invalid;
mod number;
mod sdk;

use std::collections::HashSet;
use std::hash::Hash;

pub use invalid::{InvalidItem, Reason};
pub use number::{Decimal, NotANumber};
pub use sdk::UnknownValue;

/// How large an item may be, names of attributes included: 400 KB.
pub const ITEM_BYTES_MAX: u64 = 409_600;
/// How deep values may lie: those of an item's attributes are at level 1, and each list or map adds one.
pub const DEPTH_MAX: usize = 32;
/// Bytes of an attribute's name, at most.
const NAME_BYTES_MAX: usize = 65_535;

/// The value of an attribute (`AttributeValue`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `NULL`.
    Null,
    /// `BOOL`.
    Bool(bool),
    /// `S`.
    Text(String),
    /// `N`: decimal text, kept as it was written.
    Number(String),
    /// `B`.
    Bytes(Vec<u8>),
    /// `SS`: at least one, each once.
    Texts(Vec<String>),
    /// `NS`: at least one, each once by its value.
    Numbers(Vec<String>),
    /// `BS`: at least one, each once.
    ByteStrings(Vec<Vec<u8>>),
    /// `L`.
    List(Vec<Value>),
    /// `M`: names are distinct.
    Map(Vec<(String, Value)>),
}

/// Attributes, by distinct names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item(pub Vec<(String, Value)>);

impl Item {
    /// The attribute of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// An item of these attributes.
    ///
    /// # Errors
    /// A name is empty, too long or there twice.
    pub fn new(attributes: Vec<(String, Value)>) -> Result<Self, InvalidItem> {
        distinct_names(&attributes)?;
        Ok(Self(attributes))
    }

    /// Its size in bytes as the service counts it: names of attributes and their values. At most [`ITEM_BYTES_MAX`] is taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.iter().map(|(name, value)| bytes(name) + value.size()).sum()
    }

    /// What it takes of this machine's memory, in bytes: allocations have a size that is told and an overhead that is not.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        named_footprint(&self.0)
    }

    /// Whether one of its values is deeper than [`DEPTH_MAX`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.0.iter().any(|(_, value)| value.is_deeper_than(DEPTH_MAX))
    }
}

impl Value {
    /// A number.
    ///
    /// # Errors
    /// The service would not take it.
    pub fn number(text: String) -> Result<Self, InvalidItem> {
        match Decimal::parse(&text) {
            Ok(_number) => Ok(Self::Number(text)),
            Err(why) => Err(Reason::Number(why).into()),
        }
    }

    /// A map.
    ///
    /// # Errors
    /// A name is empty, too long or there twice.
    pub fn map(entries: Vec<(String, Self)>) -> Result<Self, InvalidItem> {
        distinct_names(&entries)?;
        Ok(Self::Map(entries))
    }

    /// A set of texts.
    ///
    /// # Errors
    /// It is empty, or a member is there twice.
    pub fn texts(members: Vec<String>) -> Result<Self, InvalidItem> {
        a_set(members.iter())?;
        Ok(Self::Texts(members))
    }

    /// A set of byte strings.
    ///
    /// # Errors
    /// It is empty, or a member is there twice.
    pub fn byte_strings(members: Vec<Vec<u8>>) -> Result<Self, InvalidItem> {
        a_set(members.iter())?;
        Ok(Self::ByteStrings(members))
    }

    /// A set of numbers.
    ///
    /// # Errors
    /// It is empty, a member is no number of the service, or two are the same number, however they are written.
    pub fn numbers(members: Vec<String>) -> Result<Self, InvalidItem> {
        let read = |(at, text): (usize, &String)| {
            Decimal::parse(text).map_err(|why| InvalidItem::from(Reason::Number(why)).at(at))
        };
        let values = members.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        a_set(values.iter())?;
        Ok(Self::Numbers(members))
    }

    /// The name of its type in the API, such as `S`.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "BOOL",
            Self::Text(_) => "S",
            Self::Number(_) => "N",
            Self::Bytes(_) => "B",
            Self::Texts(_) => "SS",
            Self::Numbers(_) => "NS",
            Self::ByteStrings(_) => "BS",
            Self::List(_) => "L",
            Self::Map(_) => "M",
        }
    }

    /// Its size in bytes as the service counts it, without its name ("DynamoDB item sizes and formats" in the Developer
    /// Guide). A value that is deeper than [`DEPTH_MAX`] has no size worth knowing: see [`Item::is_too_deep`] first.
    #[must_use]
    pub fn size(&self) -> u64 {
        /// Of a list or a map, whatever is in it.
        const CONTAINER: u64 = 3;
        /// Of each thing in it.
        const ELEMENT: u64 = 1;
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Text(text) => bytes(text),
            Self::Number(text) => number_size(text),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Texts(texts) => texts.iter().map(|text| bytes(text)).sum(),
            Self::Numbers(numbers) => numbers.iter().map(|text| number_size(text)).sum(),
            Self::ByteStrings(all) => all.iter().map(|bytes| bytes.len() as u64).sum(),
            Self::List(values) => CONTAINER + values.iter().map(|value| ELEMENT + value.size()).sum::<u64>(),
            Self::Map(named) => {
                CONTAINER + named.iter().map(|(name, value)| ELEMENT + bytes(name) + value.size()).sum::<u64>()
            }
        }
    }

    /// What it takes of this machine's memory beside itself, in bytes.
    fn footprint(&self) -> u64 {
        let texts = |texts: &Vec<String>| {
            let own = allocated(texts.capacity() * size_of::<String>());
            own + texts.iter().map(|text| allocated(text.capacity())).sum::<u64>()
        };
        match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Text(text) | Self::Number(text) => allocated(text.capacity()),
            Self::Bytes(bytes) => allocated(bytes.capacity()),
            Self::Texts(all) | Self::Numbers(all) => texts(all),
            Self::ByteStrings(all) => {
                let own = allocated(all.capacity() * size_of::<Vec<u8>>());
                own + all.iter().map(|bytes| allocated(bytes.capacity())).sum::<u64>()
            }
            Self::List(values) => {
                let own = allocated(values.capacity() * size_of::<Self>());
                own + values.iter().map(Self::footprint).sum::<u64>()
            }
            Self::Map(named) => named_footprint(named),
        }
    }

    /// Looks no deeper than it must, so that a value of any depth does no harm.
    fn is_deeper_than(&self, levels: usize) -> bool {
        let Some(within) = levels.checked_sub(1) else { return true };
        match self {
            Self::List(values) => values.iter().any(|value| value.is_deeper_than(within)),
            Self::Map(named) => named.iter().any(|(_, value)| value.is_deeper_than(within)),
            Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::Number(_)
            | Self::Bytes(_)
            | Self::Texts(_)
            | Self::Numbers(_)
            | Self::ByteStrings(_) => false,
        }
    }
}

/// What an allocation takes beyond what was asked for, about.
const ALLOCATION_BYTES: u64 = 16;

fn allocated(bytes: usize) -> u64 {
    if bytes == 0 { 0 } else { ALLOCATION_BYTES + bytes as u64 }
}

fn named_footprint(named: &Vec<(String, Value)>) -> u64 {
    let own = allocated(named.capacity() * size_of::<(String, Value)>());
    own + named.iter().map(|(name, value)| allocated(name.capacity()) + value.footprint()).sum::<u64>()
}

const fn bytes(text: &str) -> u64 {
    text.len() as u64
}

/// What is no number will be refused anyway, and counts as its text.
fn number_size(text: &str) -> u64 {
    Decimal::parse(text).map_or_else(|_no_number| bytes(text), |number| number.size())
}

/// Refuses a set that the service would refuse.
fn a_set<T: Eq + Hash>(members: impl ExactSizeIterator<Item = T>) -> Result<(), InvalidItem> {
    if members.len() == 0 {
        return Err(Reason::EmptySet.into());
    }
    let mut seen = HashSet::with_capacity(members.len());
    match members.enumerate().find_map(|(at, member)| (!seen.insert(member)).then_some(at)) {
        Some(at) => Err(InvalidItem::from(Reason::MemberRepeats).at(at)),
        None => Ok(()),
    }
}

/// Refuses names that the service would refuse.
fn distinct_names(attributes: &[(String, Value)]) -> Result<(), InvalidItem> {
    let mut seen = HashSet::with_capacity(attributes.len());
    for (name, _) in attributes {
        let reason = if name.is_empty() || name.len() > NAME_BYTES_MAX {
            Reason::Name
        } else if !seen.insert(name.as_str()) {
            Reason::NameRepeats
        } else {
            continue;
        };
        return Err(InvalidItem::from(reason).inside(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
