//! Forms of what names tables, and the attributes of their keys.

use serde_json::{Value as Json, json};

use super::super::document::Value;
use super::super::names::{InvalidArn, InvalidTable, TableName, is_table_name};
use super::super::{LocalKey, Table};
use super::places::help_with_arn;
use super::{Complaint, Context, Form, Quote, text, text_schema};
use crate::ports::KeyType;

/// A table, by name or ARN.
pub(in super::super) struct Tabled<'a> {
    /// The region of a name alone; `None` if it is not known for a mistake that is told already.
    pub(in super::super) home: Option<&'a str>,
}

const ARN: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/orders";

/// The table that `text` names, which is what is quoted or the end of it. `lead` is what stands before it.
pub(super) fn located(text: &str, quote: Quote<'_>, lead: &str, home: Option<&str>) -> Result<Table, Complaint> {
    let table = TableName::parse(text).map_err(|error| {
        let example = format!("\"{lead}{ARN}\"");
        let help = match &error {
            InvalidTable::Arn(InvalidArn::Service { found, .. }) if found == "kinesis" && lead.is_empty() => {
                "a stream is written to by a sink of type = \"kinesis\", as its `stream_arn`".to_owned()
            }
            InvalidTable::Arn(error) => help_with_arn(error, &example),
            InvalidTable::Stream => "leave out \"/stream/\" and what follows".to_owned(),
            InvalidTable::Index => "leave out \"/index/\" and what follows: indexes follow their table".to_owned(),
            InvalidTable::Part => "leave out what follows the table's name".to_owned(),
            InvalidTable::Resource(_) => format!("it looks like {example}"),
            InvalidTable::Name(_) => format!("write a name such as \"{lead}orders\", or an ARN such as {example}"),
        };
        // The error may quote a part of what a variable brought.
        if quote.is_of_a_variable() || error == InvalidTable::Arn(InvalidArn::Shape) {
            return Complaint::content(format!("{quote} names no table"), help);
        }
        Complaint::content(error, help)
    })?;
    home.map(|home| table.at_home_in(home)).ok_or(Complaint::Told)
}

impl Form for Tabled<'_> {
    type Value = Table;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Table, Complaint> {
        let (text, quote) = text(value)?;
        located(text, quote, "", self.home)
    }

    fn takes(&self) -> String {
        "the name or ARN of a table".to_owned()
    }

    fn example(&self) -> String {
        "\"orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^(arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/)?[A-Za-z0-9._-]{3,255}$")
    }
}

/// The name of a table of the embedded service.
pub(in super::super) struct LocalTabled;

impl Form for LocalTabled {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if is_table_name(text) {
            return Ok(text.to_owned());
        }
        let help = if text.starts_with("arn:") {
            "write the part behind \"table/\" only"
        } else {
            "a table's name is 3 to 255 of letters, digits, `.`, `_` and `-`"
        };
        Err(Complaint::content(format!("{quote} is no name of a table"), help))
    }

    fn takes(&self) -> String {
        "the name of a table".to_owned()
    }

    fn example(&self) -> String {
        "\"orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9._-]{3,255}$")
    }
}

/// What types of key attributes are called.
pub(crate) const KEY_TYPES: &str =
    "behind the colon stands `S` (text), `N` (number) or `B` (bytes); without a colon it is text";

/// Why a text is no attribute of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidKey {
    /// There is no such type.
    Type,
    /// There is no name, or one that is too long.
    Name,
}

/// The attribute of a key that `text` names, with its type: `id` (text), `id:S`, `id:N`, `id:B`.
///
/// # Errors
/// What about it is none.
pub(crate) fn key_attribute(text: &str) -> Result<LocalKey, InvalidKey> {
    let (name, of) = match text.rsplit_once(':') {
        None | Some((_, "S")) => (text.strip_suffix(":S").unwrap_or(text), KeyType::Text),
        Some((name, "N")) => (name, KeyType::Number),
        Some((name, "B")) => (name, KeyType::Bytes),
        Some(_) => return Err(InvalidKey::Type),
    };
    if !(1..=255).contains(&name.len()) {
        return Err(InvalidKey::Name);
    }
    Ok(LocalKey { name: name.to_owned(), of })
}

/// An attribute of a key and its type: `id` (text), `id:S`, `id:N`, `id:B`.
pub(in super::super) struct KeyOf(pub(in super::super) &'static str);

impl Form for KeyOf {
    type Value = LocalKey;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<LocalKey, Complaint> {
        let (text, quote) = text(value)?;
        key_attribute(text).map_err(|invalid| match invalid {
            InvalidKey::Type => Complaint::content(format!("{quote} has no type of a key"), KEY_TYPES),
            InvalidKey::Name => {
                let help = format!("a name of 1 to 255 bytes, as in {}", self.example());
                Complaint::content(format!("{quote} names no attribute"), help)
            }
        })
    }

    fn takes(&self) -> String {
        "an attribute: its name, and `:N` if it is a number, `:B` if it is bytes".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}
