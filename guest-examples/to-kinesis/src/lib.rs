//! Puts JSON elements into a stream as they are, under the text or number of a field of theirs.
//!
//! Configuration:
//!
//! - `key_field`: the field whose value is the partition key (required).
//! - `hash_key_field`: the field whose value is the explicit hash key, a whole number below 2^128 as text or number. Records
//!   go to the shard whose range holds it, whatever their partition key.
//!
//! An element without a usable field is poison: `not-json`, `no-key`, `no-hash-key`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sluicebox_guest::kinesis::{ElementConverter, Entries};
use sluicebox_guest::{Config, Element, Error};

struct ToKinesis {
    key_field: String,
    hash_key_field: Option<String>,
}

/// Fields as the element has them. Names are owned, because a name with an escape cannot be borrowed.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl ElementConverter for ToKinesis {
    fn open(config: &Config) -> Result<Self, Error> {
        let missing = || Error::poison("invalid-config", "`key_field` must name the field of the partition key");
        Ok(Self {
            key_field: config.text("key_field")?.ok_or_else(missing)?.to_owned(),
            hash_key_field: config.text("hash_key_field")?.map(str::to_owned),
        })
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Entries<'_>) -> Result<(), Error> {
        let fields: Fields<'_> =
            serde_json::from_slice(element.payload()).map_err(|error| Error::poison("not-json", error))?;
        let key = text(&fields, &self.key_field)
            .ok_or_else(|| Error::poison("no-key", format_args!("`{}` is no text and no number", self.key_field)))?;
        let mut entry = out.entry().partition_key(&key);
        if let Some(field) = &self.hash_key_field {
            let hash_key = text(&fields, field).and_then(|digits| digits.parse().ok());
            let problem = || Error::poison("no-hash-key", format_args!("`{field}` is no whole number below 2^128"));
            entry = entry.hash_key(hash_key.ok_or_else(problem)?);
        }
        entry.push(element.payload());
        Ok(())
    }
}

/// A text without its quotes, or a number as it is written.
fn text<'a>(fields: &Fields<'a>, name: &str) -> Option<Cow<'a, str>> {
    let json = fields.get(name)?.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok().map(Cow::Owned),
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

sluicebox_guest::kinesis_element_converter!(ToKinesis);

#[cfg(test)]
mod tests {
    use sluicebox_guest::testing::{EntryOutcome, KinesisConverterInstance, TestElement};

    use super::*;

    fn convert(elements: &[&str]) -> EntryOutcome {
        let config = [("key_field", "user".into()), ("hash_key_field", "hash".into())];
        let mut converter = KinesisConverterInstance::<ToKinesis>::open(config).expect("it opens");
        converter.convert(&elements.iter().map(|json| TestElement::new(*json)).collect::<Vec<_>>())
    }

    #[test]
    fn an_element_goes_under_its_field_unchanged() {
        let json = r#"{ "user": "a\"b", "hash": "340282366920938463463374607431768211455", "n": [1, {}] }"#;
        let entries = convert(&[json, r#"{"user":-1.50,"hash":7}"#]).entries;
        assert_eq!((entries[0].partition_key.as_str(), entries[0].hash_key), ("a\"b", Some(u128::MAX)));
        assert_eq!(entries[0].data, json.as_bytes());
        assert_eq!((entries[1].partition_key.as_str(), entries[1].hash_key), ("-1.50", Some(7)));
    }

    #[test]
    fn an_element_without_its_fields_is_poison() {
        let elements = [
            "no json",
            "[1]",
            "{}",
            r#"{"user":null,"hash":1}"#,
            r#"{"user":"a"}"#,
            r#"{"user":"a","hash":-1}"#,
            r#"{"user":"","hash":1}"#,
        ];
        let outcome = convert(&elements);
        let codes: Vec<_> = outcome.errors.iter().map(|(_, error)| error.code()).collect();
        let expected =
            ["not-json", "not-json", "no-key", "no-key", "no-hash-key", "no-hash-key", "invalid-partition-key"];
        assert_eq!(codes, expected);
        assert_eq!(outcome.entries, []);
    }

    #[test]
    fn it_does_not_open_without_a_key_field_and_needs_no_hash_key() {
        assert!(KinesisConverterInstance::<ToKinesis>::open([]).is_err());
        let mut converter = KinesisConverterInstance::<ToKinesis>::open([("key_field", "k".into())]).expect("it opens");
        assert_eq!(converter.convert(&[TestElement::new(r#"{"k":1}"#)]).entries[0].hash_key, None);
    }
}
