//! Items of a table, as DynamoDB knows them: named attributes, each with a value of one of ten types.
//!
//! The SDK has such types too, and a hash map of them is what a request takes. An item of ours keeps the order in which its
//! attributes were written, is half as large, and is turned into the SDK's at each attempt (`sdk`): an entry may wait for
//! minutes, while a request lives for one call.

mod number;
mod sdk;

pub use number::{Decimal, InvalidNumber};
pub use sdk::UnknownValue;

/// How large an item may be, names of attributes included: 400 KB.
pub const ITEM_BYTES_MAX: u64 = 409_600;
/// How deep a value may be: lists and maps, and what is in the innermost of them, each counts as one.
pub const DEPTH_MAX: usize = 32;

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

impl Value {
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

const fn bytes(text: &str) -> u64 {
    text.len() as u64
}

/// What is no number will be refused anyway, and counts as its text.
fn number_size(text: &str) -> u64 {
    Decimal::parse(text).map_or_else(|_no_number| bytes(text), |number| number.size())
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

    /// Its size in bytes as the service counts it: names of attributes and their values. At most [`ITEM_BYTES_MAX`] is taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.iter().map(|(name, value)| bytes(name) + value.size()).sum()
    }

    /// Whether one of its values is deeper than [`DEPTH_MAX`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.0.iter().any(|(_, value)| value.is_deeper_than(DEPTH_MAX))
    }
}

#[cfg(test)]
mod tests;
