//! Items and the SDK's maps.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, Value};

/// The SDK has a type of values that is new to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attribute has a value of a type that is new to the host")]
pub struct UnknownValue;

impl Item {
    /// As a request takes it.
    #[must_use]
    pub fn to_sdk(&self) -> HashMap<String, AttributeValue> {
        named(&self.0)
    }

    /// From an answer; attributes are in the order of their names.
    ///
    /// # Errors
    /// A value has a type that no [`Value`] has.
    pub fn from_sdk(attributes: HashMap<String, AttributeValue>) -> Result<Self, UnknownValue> {
        read_named(attributes).map(Self)
    }
}

impl Value {
    /// As a request takes it.
    #[must_use]
    pub fn to_sdk(&self) -> AttributeValue {
        let blob = |bytes: &Vec<u8>| Blob::new(bytes.as_slice());
        match self {
            Self::Null => AttributeValue::Null(true),
            Self::Bool(truth) => AttributeValue::Bool(*truth),
            Self::Text(text) => AttributeValue::S(text.clone()),
            Self::Number(text) => AttributeValue::N(text.clone()),
            Self::Bytes(bytes) => AttributeValue::B(blob(bytes)),
            Self::Texts(texts) => AttributeValue::Ss(texts.clone()),
            Self::Numbers(numbers) => AttributeValue::Ns(numbers.clone()),
            Self::ByteStrings(all) => AttributeValue::Bs(all.iter().map(blob).collect()),
            Self::List(values) => AttributeValue::L(values.iter().map(Self::to_sdk).collect()),
            Self::Map(all) => AttributeValue::M(named(all)),
        }
    }

    /// From an answer.
    ///
    /// # Errors
    /// Its type is none of the ten.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum may grow, and its name for that is private")]
    pub fn from_sdk(value: AttributeValue) -> Result<Self, UnknownValue> {
        Ok(match value {
            AttributeValue::Null(_) => Self::Null,
            AttributeValue::Bool(truth) => Self::Bool(truth),
            AttributeValue::S(text) => Self::Text(text),
            AttributeValue::N(text) => Self::Number(text),
            AttributeValue::B(bytes) => Self::Bytes(bytes.into_inner()),
            AttributeValue::Ss(texts) => Self::Texts(texts),
            AttributeValue::Ns(numbers) => Self::Numbers(numbers),
            AttributeValue::Bs(all) => Self::ByteStrings(all.into_iter().map(Blob::into_inner).collect()),
            AttributeValue::L(values) => {
                Self::List(values.into_iter().map(Self::from_sdk).collect::<Result<_, UnknownValue>>()?)
            }
            AttributeValue::M(all) => Self::Map(read_named(all)?),
            _ => return Err(UnknownValue),
        })
    }
}

fn named(all: &[(String, Value)]) -> HashMap<String, AttributeValue> {
    all.iter().map(|(name, value)| (name.clone(), value.to_sdk())).collect()
}

fn read_named(attributes: HashMap<String, AttributeValue>) -> Result<Vec<(String, Value)>, UnknownValue> {
    let read = |(name, value)| Value::from_sdk(value).map(|value| (name, value));
    let mut all: Vec<(String, Value)> = attributes.into_iter().map(read).collect::<Result<_, UnknownValue>>()?;
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(all)
}
