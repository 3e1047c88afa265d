//! JSON texts as items, with every digit of their numbers.
//!
//! Each level is read as the texts of its members, which are read in turn: a parser's own numbers would be 64-bit ones. A
//! text is therefore looked at once for each level above it, of which there are at most 32.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::convert::flaw::Flaw;
use crate::item::{DEPTH_MAX, InvalidItem, Item, Reason, Value};

/// The item that a JSON object is.
pub(super) fn item(text: &[u8]) -> Result<Item, Flaw> {
    let no_json = |error: serde_json::Error| Flaw::new("not-json", format!("the element is no JSON text: {error}"));
    let whole: &RawValue = serde_json::from_slice(text).map_err(no_json)?;
    if !whole.get().starts_with('{') {
        return Err(Flaw::new(
            "not-an-object",
            "the element is a JSON text and no object: an item has named attributes",
        ));
    }
    Ok(Item::new(named(whole, 1)?)?)
}

/// The members of an object, at `level`.
fn named(object: &RawValue, level: usize) -> Result<Vec<(String, Value)>, InvalidItem> {
    let members = serde_json::Deserializer::from_str(object.get()).deserialize_map(Members).map_err(not_text)?;
    let member = |(name, text): (String, &RawValue)| match value(text, level) {
        Ok(value) => Ok((name, value)),
        Err(error) => Err(error.inside(&name)),
    };
    members.into_iter().map(member).collect()
}

/// A value, at `level`.
fn value(text: &RawValue, level: usize) -> Result<Value, InvalidItem> {
    if level > DEPTH_MAX {
        return Err(Reason::TooDeep.into());
    }
    match text.get().as_bytes()[0] {
        b'n' => Ok(Value::Null),
        b't' => Ok(Value::Bool(true)),
        b'f' => Ok(Value::Bool(false)),
        b'"' => serde_json::from_str(text.get()).map(Value::Text).map_err(not_text),
        b'{' => Value::map(named(text, level + 1)?),
        b'[' => {
            let members: Vec<&RawValue> = serde_json::from_str(text.get()).map_err(not_text)?;
            let member = |(place, text): (usize, &RawValue)| value(text, level + 1).map_err(|error| error.at(place));
            Ok(Value::List(members.into_iter().enumerate().map(member).collect::<Result<_, _>>()?))
        }
        _ => Value::number(text.get().to_owned()),
    }
}

/// The syntax was checked with the whole text; what is left is a string that escapes half of a surrogate pair.
fn not_text(_error: serde_json::Error) -> InvalidItem {
    Reason::NotText.into()
}

/// Collects an object's members, all of them, in their order.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
