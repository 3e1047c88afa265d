//! Items of a table, as DynamoDB knows them: named attributes, each with a value of one of ten types.
//!
//! The service refuses a whole request for one item that it cannot take. So whoever makes items of what others wrote makes
//! them with [`Item::new`] and the functions of [`Value`] that check, which refuse for one element what the service would
//! refuse for all.

mod invalid;
mod number;

use std::collections::HashSet;
use std::hash::Hash;

pub use invalid::{InvalidItem, Reason};
pub use number::{Decimal, NotANumber};

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
mod tests {
    use super::*;

    fn said<T>(outcome: Result<T, InvalidItem>) -> String {
        outcome.map(drop).expect_err("refused").to_string()
    }

    #[test]
    fn a_set_has_members_and_each_once() {
        assert_eq!(said(Value::texts(vec![])), "the item has an empty set");
        assert_eq!(said(Value::byte_strings(vec![vec![1], vec![], vec![1]])), "`[2]` repeats a member of its set");
        assert_eq!(
            said(Value::numbers(vec!["1".into(), "2".into(), "1.0".into()])),
            "`[2]` repeats a member of its set"
        );
        assert_eq!(said(Value::numbers(vec!["1".into(), "x".into()])), "`[1]` is not written as a decimal number");
        assert!(Value::texts(vec![String::new(), "a".into()]).is_ok(), "an empty text is a member like any other");
    }

    #[test]
    fn names_are_there_and_distinct() {
        let map = |names: &[&str]| Value::map(names.iter().map(|&name| (name.to_owned(), Value::Null)).collect());
        assert_eq!(said(map(&["a", "b", "a"])), "`a` is there twice");
        assert_eq!(said(map(&["a", ""])), "`` has a name that is empty or longer than 65535 bytes");
        assert!(map(&["a", &"b".repeat(65_535)]).is_ok());
        assert!(map(&[&"b".repeat(65_536)]).is_err());
        assert!(Item::new(vec![("a".into(), Value::Null), ("a".into(), Value::Null)]).is_err());
    }

    #[test]
    fn a_path_is_read_from_the_item_down() {
        let number = Value::number("1e999".into()).expect_err("too large");
        let path = number.at(3).inside("readings").inside("station");
        assert_eq!(path.to_string(), "`station.readings[3]` is beyond 9.99E125, the largest number of a table");
        assert_eq!(path.code(), "invalid-number");
    }
}
