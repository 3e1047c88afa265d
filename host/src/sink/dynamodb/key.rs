//! What makes an item of a table the same item as another.
//!
//! The service compares keys by type and value: numbers by what they are worth, bytes as bytes. So two keys are equal here
//! exactly if they are equal there. Each attribute is written with its type and its length in front, so that no value can
//! look like a part of another.

use std::fmt;

use crate::item::{Decimal, Item, Value};
use crate::ports::{KeyAttribute, KeyType, TableDescription};

/// Bytes of a partition key's value, at most.
const PARTITION_KEY_BYTES_MAX: usize = 2048;
/// Bytes of a sort key's value, at most.
const SORT_KEY_BYTES_MAX: usize = 1024;
/// Characters of a value in the name of an item.
const SHOWN_CHARS_MAX: usize = 32;

/// The attributes of a table's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySchema {
    partition: KeyAttribute,
    sort: Option<KeyAttribute>,
}

/// One of the two.
struct Part<'a> {
    attribute: &'a KeyAttribute,
    role: &'static str,
    bytes_max: usize,
}

/// As people write it: `id (S), at (N)`.
impl fmt::Display for KeySchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({})", part.attribute.name, type_name(part.attribute.of))?;
        }
        Ok(())
    }
}

impl KeySchema {
    /// The key of this table.
    #[must_use]
    pub fn of(table: &TableDescription) -> Self {
        Self { partition: table.partition_key.clone(), sort: table.sort_key.clone() }
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let partition = Part { attribute: &self.partition, role: "partition key", bytes_max: PARTITION_KEY_BYTES_MAX };
        let sort = |attribute| Part { attribute, role: "sort key", bytes_max: SORT_KEY_BYTES_MAX };
        std::iter::once(partition).chain(self.sort.as_ref().map(sort))
    }

    /// Whether an attribute of this name belongs to the key.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.parts().any(|part| part.attribute.name == name)
    }

    /// The item's key, equal exactly if the service takes the keys for equal.
    ///
    /// # Errors
    /// The item has no key that the table takes, and why: a clause that names no value.
    pub fn canonical(&self, item: &Item) -> Result<Vec<u8>, String> {
        let mut key = Vec::new();
        for part in self.parts() {
            let name = &part.attribute.name;
            let refused = |why: &str| format!("attribute {name:?}, the table's {}, {why}", part.role);
            let value = item.get(name).ok_or_else(|| refused("is missing"))?;
            let number;
            let (tag, bytes) = match (part.attribute.of, value) {
                (KeyType::Text, Value::Text(text)) => (b'S', text.as_bytes()),
                (KeyType::Bytes, Value::Bytes(bytes)) => (b'B', bytes.as_slice()),
                (KeyType::Number, Value::Number(text)) => {
                    let decimal =
                        Decimal::parse(text).map_err(|why| refused(&format!("is no number to the table: it {why}")))?;
                    number = decimal.to_string();
                    (b'N', number.as_bytes())
                }
                (wanted, found) => {
                    let wanted = type_name(wanted);
                    return Err(refused(&format!("is of type {}, not {wanted}", found.type_name())));
                }
            };
            if bytes.is_empty() {
                return Err(refused("is empty"));
            }
            if bytes.len() > part.bytes_max {
                return Err(refused(&format!("has {} bytes, more than {}", bytes.len(), part.bytes_max)));
            }
            key.push(tag);
            key.extend(u32::try_from(bytes.len()).expect("at most 2,048").to_be_bytes());
            key.extend(bytes);
        }
        Ok(key)
    }

    /// The item without the attributes that do not belong to its key: what a delete names.
    #[must_use]
    pub fn project(&self, item: &Item) -> Item {
        let named = |part: Part<'_>| {
            let name = &part.attribute.name;
            item.get(name).map(|value| (name.clone(), value.clone()))
        };
        Item(self.parts().filter_map(named).collect())
    }

    /// What people know the item by: its key, each value shortened.
    #[must_use]
    pub fn shown(&self, item: &Item) -> String {
        let shown = |part: Part<'_>| {
            let name = &part.attribute.name;
            match item.get(name) {
                Some(Value::Text(text)) => format!("{name}={:?}", shortened(text)),
                Some(Value::Number(text)) => format!("{name}={}", shortened(text)),
                Some(Value::Bytes(bytes)) => {
                    let hex: String = bytes.iter().take(SHOWN_CHARS_MAX).map(|byte| format!("{byte:02x}")).collect();
                    format!("{name}=0x{}", shortened(&hex))
                }
                Some(other) => format!("{name} of type {}", other.type_name()),
                None => format!("no {name}"),
            }
        };
        self.parts().map(shown).collect::<Vec<_>>().join(", ")
    }
}

const fn type_name(of: KeyType) -> &'static str {
    match of {
        KeyType::Text => "S",
        KeyType::Number => "N",
        KeyType::Bytes => "B",
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, of: KeyType) -> KeyAttribute {
        KeyAttribute { name: name.to_owned(), of }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn schema(partition: KeyType, sort: Option<KeyType>) -> KeySchema {
        KeySchema { partition: attribute("p", partition), sort: sort.map(|of| attribute("s", of)) }
    }

    fn item(values: &[(&str, Value)]) -> Item {
        Item(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn key(schema: &KeySchema, partition: Value, sort: Value) -> Vec<u8> {
        schema.canonical(&item(&[("s", sort), ("more", Value::Null), ("p", partition)])).expect("a key")
    }

    #[test]
    fn no_two_composite_keys_are_one_whatever_is_in_them() {
        let texts = schema(KeyType::Text, Some(KeyType::Text));
        let pairs =
            [("ab", "cd"), ("a", "bcd"), ("a$b", "c"), ("a", "b$c"), ("a$b$c", "$"), ("abc", "d"), ("a\0b", "c")];
        let keys: std::collections::BTreeSet<_> =
            pairs.iter().map(|(partition, sort)| key(&texts, text(partition), text(sort))).collect();
        assert_eq!(keys.len(), pairs.len());
    }

    #[test]
    fn numbers_are_one_key_by_their_value() {
        let numbers = schema(KeyType::Number, Some(KeyType::Number));
        let of = |partition: &str| key(&numbers, number(partition), number("0"));
        assert!(["1", "1.0", "10e-1", "0.1E1", "+1"].iter().all(|spelling| of(spelling) == of("1")));
        assert!(["-1", "10", "1.1", "11"].iter().all(|other| of(other) != of("1")));
        assert_eq!(of("-0.0"), of("0"));
    }

    #[test]
    fn bytes_are_one_key_by_every_byte() {
        let bytes = schema(KeyType::Bytes, None);
        let of = |bytes_of: &[u8]| bytes.canonical(&item(&[("p", Value::Bytes(bytes_of.to_vec()))])).expect("a key");
        assert_ne!(of(&[0xff, 0xfe]), of(&[0xff, 0xfd]), "neither is text");
        assert_eq!(of(&[0, 1]), of(&[0, 1]));
    }

    #[test]
    fn the_order_of_attributes_makes_no_other_key() {
        let texts = schema(KeyType::Text, Some(KeyType::Text));
        let other = texts.canonical(&item(&[("p", text("a")), ("s", text("b"))])).expect("a key");
        assert_eq!(key(&texts, text("a"), text("b")), other);
    }

    #[test]
    fn an_item_without_a_key_is_refused_with_the_exact_reason() {
        let mixed = schema(KeyType::Text, Some(KeyType::Number));
        let long = "x".repeat(2049);
        for (values, why) in [
            (vec![("s", number("1"))], "attribute \"p\", the table's partition key, is missing"),
            (vec![("p", text("a"))], "attribute \"s\", the table's sort key, is missing"),
            (
                vec![("p", number("1")), ("s", number("1"))],
                "attribute \"p\", the table's partition key, is of type N, not S",
            ),
            (vec![("p", text("a")), ("s", text("1"))], "attribute \"s\", the table's sort key, is of type S, not N"),
            (vec![("p", text("")), ("s", number("1"))], "attribute \"p\", the table's partition key, is empty"),
            (
                vec![("p", text("a")), ("s", number("one"))],
                "attribute \"s\", the table's sort key, is no number to the table: it is not written as a decimal number",
            ),
            (
                vec![("p", text(&long)), ("s", number("1"))],
                "attribute \"p\", the table's partition key, has 2049 bytes, more than 2048",
            ),
        ] {
            assert_eq!(mixed.canonical(&item(&values)).expect_err("no key"), why);
        }
        let sorted = schema(KeyType::Text, Some(KeyType::Bytes));
        let sort = |length: usize| item(&[("p", text(&long[..2048])), ("s", Value::Bytes(vec![7; length]))]);
        assert!(sorted.canonical(&sort(1024)).is_ok(), "both as long as may be");
        assert_eq!(
            sorted.canonical(&sort(1025)).expect_err("too long"),
            "attribute \"s\", the table's sort key, has 1025 bytes, more than 1024"
        );
        assert_eq!(sorted.canonical(&sort(0)).expect_err("empty"), "attribute \"s\", the table's sort key, is empty");
    }

    #[test]
    fn a_projection_is_the_key_and_nothing_else() {
        let texts = schema(KeyType::Text, Some(KeyType::Text));
        let whole = item(&[("a", Value::Null), ("s", text("2")), ("p", text("1"))]);
        assert_eq!(texts.project(&whole), item(&[("p", text("1")), ("s", text("2"))]));
        assert_eq!(texts.canonical(&texts.project(&whole)), texts.canonical(&whole));
    }

    #[test]
    fn an_item_is_shown_by_its_key_shortened() {
        let mixed = schema(KeyType::Text, Some(KeyType::Bytes));
        let whole =
            item(&[("p", text(&"ü".repeat(40))), ("s", Value::Bytes(vec![0xab; 40])), ("secret", text("hush"))]);
        assert_eq!(mixed.shown(&whole), format!("p=\"{}…\", s=0x{}…", "ü".repeat(32), "ab".repeat(16)));
    }
}
