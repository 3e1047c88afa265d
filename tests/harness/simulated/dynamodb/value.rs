//! Items and what they are made of: from JSON and back, what the service refuses of them, and how much room they take.

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_types::base64;
use serde_json::{Map, Value, json};

use super::number::Number;
use crate::simulated::service::Refusal;

/// Bytes of an item, names included.
pub(super) const ITEM_BYTES_MAX: usize = 400 * 1024;
/// Levels of lists and maps, the attribute itself being the first.
const LEVELS_MAX: usize = 32;

/// The value of an attribute (`AttributeValue`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `NULL`.
    Null,
    /// `BOOL`.
    Bool(bool),
    /// `S`.
    Text(String),
    /// `N`.
    Number(Number),
    /// `B`.
    Bytes(Vec<u8>),
    /// `SS`.
    Texts(BTreeSet<String>),
    /// `NS`.
    Numbers(BTreeSet<Number>),
    /// `BS`.
    ByteStrings(BTreeSet<Vec<u8>>),
    /// `L`.
    List(Vec<Attribute>),
    /// `M`.
    Map(Item),
}

/// Attributes by name.
pub type Item = BTreeMap<String, Attribute>;

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::client("ValidationException", message)
}

/// What is wrong with a parameter, in the words that most such refusals begin with.
fn invalid_value(what: &str) -> Refusal {
    invalid(format!("One or more parameter values were invalid: {what}"))
}

impl Attribute {
    fn parse(value: &Value, level: usize) -> Result<Self, Refusal> {
        if level > LEVELS_MAX {
            return Err(invalid(
                "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
            ));
        }
        let which = "must contain exactly one of the supported datatypes";
        let mut members = value.as_object().into_iter().flatten();
        let Some((kind, value)) = members.next() else {
            return Err(invalid(format!("Supplied AttributeValue is empty, {which}")));
        };
        if members.next().is_some() {
            return Err(invalid(format!("Supplied AttributeValue has more than one datatypes set, {which}")));
        }
        match (kind.as_str(), value) {
            ("NULL", Value::Bool(true)) => Ok(Self::Null),
            ("NULL", Value::Bool(false)) => {
                Err(invalid_value("Null attribute value types must have the value of true"))
            }
            ("BOOL", Value::Bool(value)) => Ok(Self::Bool(*value)),
            ("S", Value::String(text)) => Ok(Self::Text(text.clone())),
            ("N", Value::String(text)) => number(text).map(Self::Number),
            ("B", Value::String(text)) => bytes(text).map(Self::Bytes),
            ("SS", Value::Array(of)) => {
                set(of, "An string set  may not be empty", |text| Ok(text.to_owned())).map(Self::Texts)
            }
            ("NS", Value::Array(of)) => set(of, "An number set  may not be empty", number).map(Self::Numbers),
            ("BS", Value::Array(of)) => set(of, "Binary sets should not be empty", bytes).map(Self::ByteStrings),
            ("L", Value::Array(of)) => {
                of.iter().map(|value| Self::parse(value, level + 1)).collect::<Result<_, _>>().map(Self::List)
            }
            ("M", Value::Object(of)) => attributes(of, level + 1).map(Self::Map),
            _ => Err(Refusal::client("SerializationException", format!("{kind} is no type, or not of {value}"))),
        }
    }

    /// Reads one value of a request.
    pub(super) fn read(value: &Value) -> Result<Self, Refusal> {
        Self::parse(value, 1)
    }

    /// As requests and answers have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => json!({ "NULL": true }),
            Self::Bool(value) => json!({ "BOOL": value }),
            Self::Text(text) => json!({ "S": text }),
            Self::Number(number) => json!({ "N": number.to_string() }),
            Self::Bytes(bytes) => json!({ "B": base64::encode(bytes) }),
            Self::Texts(texts) => json!({ "SS": texts }),
            Self::Numbers(numbers) => json!({ "NS": numbers.iter().map(Number::to_string).collect::<Vec<_>>() }),
            Self::ByteStrings(all) => json!({ "BS": all.iter().map(base64::encode).collect::<Vec<_>>() }),
            Self::List(values) => json!({ "L": values.iter().map(Self::to_json).collect::<Vec<_>>() }),
            Self::Map(item) => json!({ "M": to_json(item) }),
        }
    }

    /// The type's abbreviation, such as `S`.
    pub(super) const fn kind(&self) -> &'static str {
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

    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Text(text) => text.len(),
            Self::Number(number) => number.size(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Numbers(numbers) => numbers.iter().map(Number::size).sum(),
            Self::ByteStrings(all) => all.iter().map(Vec::len).sum(),
            Self::List(values) => 3 + values.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::Map(item) => 3 + item.len() + size(item),
        }
    }

    fn levels(&self) -> usize {
        match self {
            Self::List(values) => 1 + values.iter().map(Self::levels).max().unwrap_or(0),
            Self::Map(item) => 1 + item.values().map(Self::levels).max().unwrap_or(0),
            Self::Null
            | Self::Bool(_)
            | Self::Text(_)
            | Self::Number(_)
            | Self::Bytes(_)
            | Self::Texts(_)
            | Self::Numbers(_)
            | Self::ByteStrings(_) => 1,
        }
    }
}

fn number(text: &str) -> Result<Number, Refusal> {
    Number::parse(text).map_err(invalid)
}

fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    base64::decode(text)
        .map_err(|_malformed| Refusal::client("SerializationException", "A value that is not base64 was found."))
}

fn set<T: Ord>(
    of: &[Value],
    is_empty: &str,
    read: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<BTreeSet<T>, Refusal> {
    let mut found = BTreeSet::new();
    for value in of {
        let text = value.as_str().ok_or_else(|| Refusal::client("SerializationException", "a set is of texts"))?;
        if !found.insert(read(text)?) {
            let all: Vec<&str> = of.iter().filter_map(Value::as_str).collect();
            return Err(invalid_value(&format!("Input collection [{}] contains duplicates.", all.join(", "))));
        }
    }
    if found.is_empty() { Err(invalid_value(is_empty)) } else { Ok(found) }
}

fn attributes(of: &Map<String, Value>, level: usize) -> Result<Item, Refusal> {
    of.iter().map(|(name, value)| Ok((name.clone(), Attribute::parse(value, level)?))).collect()
}

/// An item or key as requests have it.
pub(super) fn read(value: &Value) -> Result<Item, Refusal> {
    attributes(value.as_object().ok_or_else(|| invalid("an item is a map"))?, 1)
}

/// An item as answers have it.
pub(super) fn to_json(item: &Item) -> Value {
    item.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<Map<_, _>>().into()
}

/// Bytes that an item takes, names included.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

/// Whether an item is nested deeper than items may be.
pub(super) fn is_too_deep(item: &Item) -> bool {
    item.values().any(|value| value.levels() > LEVELS_MAX)
}
