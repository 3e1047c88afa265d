//! Keeps JSON objects as items of a table: texts, numbers (exactly), true, false, null, arrays and objects.
//!
//! Configuration:
//!
//! - `key`: the field that is the table's partition key (required). `sort_key`: the field that is its sort key, if it has one.
//! - `delete_when`: an object that has this field, and not as null or false, deletes the item of its key instead.
//! - `count_attribute`: instead of the object, an item of its key alone is kept, with the number of its objects in this
//!   attribute. Only for a sink with `guarantee = "exactly-once"`.
//!
//! ```toml
//! config = { key = "id", delete_when = "deleted" }
//! ```
//!
//! What is no JSON object or lacks a key field is poison: `not-json`, `no-key`; so is what DynamoDB has no place for:
//! `invalid-number`, `too-deep`.

use sluicebox_guest::dynamodb::{ElementConverter, Item, Requests, Value};
use sluicebox_guest::{Config, Element, Error};

mod json;

struct ToDynamodb {
    key: String,
    sort_key: Option<String>,
    delete_when: Option<String>,
    count_attribute: Option<String>,
}

impl ElementConverter for ToDynamodb {
    fn open(config: &Config) -> Result<Self, Error> {
        let text = |key| config.text(key).map(|text| text.map(str::to_owned));
        let missing = || Error::poison("invalid-config", "`key` must name the table's partition key");
        Ok(Self {
            key: text("key")?.ok_or_else(missing)?,
            sort_key: text("sort_key")?,
            delete_when: text("delete_when")?,
            count_attribute: text("count_attribute")?,
        })
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Requests) -> Result<(), Error> {
        let item = json::item(element.payload())?;
        let key = self.key_of(&item)?;
        let is_deleted = self.delete_when.as_deref().and_then(|field| item.get(field));
        if is_deleted.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
            out.delete(&key);
        } else if let Some(attribute) = &self.count_attribute {
            out.add(&key.with(attribute, 1));
        } else {
            out.put(&item);
        }
        Ok(())
    }
}

impl ToDynamodb {
    fn key_of<'a>(&self, item: &Item<'a>) -> Result<Item<'a>, Error> {
        let fields = std::iter::once(&self.key).chain(&self.sort_key);
        fields
            .map(|field| match item.get(field) {
                Some(value @ (Value::Text(_) | Value::Number(_))) => Ok((field.clone(), value.clone())),
                _ => Err(Error::poison("no-key", format_args!("`{field}` is no text and no number"))),
            })
            .collect()
    }
}

sluicebox_guest::dynamodb_element_converter!(ToDynamodb);

#[cfg(test)]
mod tests;
