//! JSON as values of DynamoDB. Numbers are read from their text, so that none passes through a float.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluicebox_guest::Error;
use sluicebox_guest::dynamodb::{Item, Number, Value};

/// The service nests no deeper, and neither may this recursion.
const LEVELS_MAX: usize = 32;

/// The item that a JSON object is.
pub(crate) fn item(json: &[u8]) -> Result<Item<'static>, Error> {
    let text = str::from_utf8(json).map_err(|error| Error::poison("not-json", error))?;
    object(text, 1)
}

fn object(json: &str, level: usize) -> Result<Item<'static>, Error> {
    let members: BTreeMap<String, &RawValue> = parse(json)?;
    members.into_iter().map(|(name, member)| Ok((name, value(member.get(), level)?))).collect()
}

fn value(json: &str, level: usize) -> Result<Value<'static>, Error> {
    if level > LEVELS_MAX {
        return Err(Error::poison("too-deep", format_args!("a value lies deeper than {LEVELS_MAX} levels")));
    }
    Ok(match json.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => Value::from(parse::<String>(json)?),
        Some(b'{') => Value::Map(object(json, level + 1)?),
        Some(b'[') => {
            let members: Vec<&RawValue> = parse(json)?;
            Value::List(members.into_iter().map(|member| value(member.get(), level + 1)).collect::<Result<_, _>>()?)
        }
        _ => Value::Number(Number::parse(json)?),
    })
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::poison("not-json", error))
}
