//! The forms that values have: how each is read, and how it is told to people and to a JSON Schema.

mod amounts;
mod consumers;
mod identity;
mod places;
mod tables;
mod texts;
mod times;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde_json::{Value as Json, json};

pub(super) use amounts::{Lasting, Sized};
pub(super) use consumers::{ConsumerNamed, EachConsumer, OneConsumer};
pub(super) use identity::{Command, EXTERNAL_ID, Policy, Role, SESSION_NAME};
pub(super) use places::{Arn, Arns, FilePath, Region, Store, Url, Use};
pub(crate) use tables::{InvalidKey, KEY_TYPES, key_attribute};
pub(super) use tables::{KeyOf, LocalTabled, Tabled};
pub(crate) use texts::is_json_pointer;
pub(super) use texts::{Named, Pointer, Routes, SecretText, Stream, Text};
pub(crate) use times::point_in_time;
pub(super) use times::{TimeFormat, Timestamp};

use super::document::{Value, holds_password};
use super::section::nearest;

/// What a form may want to know beyond the value.
pub(super) struct Context<'a> {
    /// The manifest's directory.
    pub(super) dir: &'a Path,
}

/// Why a value has not the form.
#[derive(Debug)]
pub(super) enum Complaint {
    /// The mistake in it is already noted.
    Told,
    /// It is of another type.
    Type,
    /// It is of the right type.
    Content { message: String, help: String },
    /// It is a list, and one item of it is to blame.
    Inside { span: Range<usize>, message: String, help: String },
}

impl Complaint {
    pub(super) fn content(message: impl fmt::Display, help: impl Into<String>) -> Self {
        Self::Content { message: message.to_string(), help: help.into() }
    }
}

/// Values of a list, and where in the text each stands.
pub(super) type Placed<T> = Vec<(Range<usize>, T)>;

/// A form of values.
pub(super) trait Form {
    /// What the host works with.
    type Value;
    /// Reads a value.
    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<Self::Value, Complaint>;
    /// What it takes: a noun phrase for people, in a message or a table.
    fn takes(&self) -> String;
    /// A value as one would write it in TOML.
    fn example(&self) -> String;
    /// What it takes, as a JSON Schema.
    fn schema(&self) -> Json;
}

/// A default, as a user would write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Literal {
    Text(&'static str),
    Integer(i64),
    Boolean(bool),
}

impl Literal {
    pub(super) fn value(self) -> Value {
        match self {
            Self::Text(text) => Value::Text { text: text.to_owned(), written: None },
            Self::Integer(number) => Value::Integer(number),
            Self::Boolean(flag) => Value::Boolean(flag),
        }
    }

    pub(super) fn json(self) -> Json {
        match self {
            Self::Text(text) => json!(text),
            Self::Integer(number) => json!(number),
            Self::Boolean(flag) => json!(flag),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(flag) => write!(f, "{flag}"),
        }
    }
}

impl From<&'static str> for Literal {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Literal {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Literal {
    fn from(flag: bool) -> Self {
        Self::Boolean(flag)
    }
}

impl Value {
    /// What it is, for a message.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Faulty => "this",
        }
    }

    /// What a key that holds it is called.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::List(items) if items.iter().any(|item| matches!(item.value, Self::Table(_))) => "table",
            Self::Text { .. }
            | Self::Integer(_)
            | Self::Float(_)
            | Self::Boolean(_)
            | Self::Datetime(_)
            | Self::List(_)
            | Self::Faulty => "key",
        }
    }

    /// The complaint about a value that should be something else.
    pub(super) const fn wrong_type(&self) -> Complaint {
        if matches!(self, Self::Faulty) { Complaint::Told } else { Complaint::Type }
    }
}

/// The text of a value, and how to quote it: as it is written, so that what a variable holds is not printed.
pub(super) fn text(value: &Value) -> Result<(&str, Quote<'_>), Complaint> {
    let Value::Text { text, written } = value else { return Err(value.wrong_type()) };
    Ok((text, Quote { text, written: written.as_deref() }))
}

/// A text as a message quotes it.
#[derive(Clone, Copy)]
pub(super) struct Quote<'a> {
    text: &'a str,
    written: Option<&'a str>,
}

impl Quote<'_> {
    /// Whether the text holds what a variable brought.
    pub(super) const fn is_of_a_variable(&self) -> bool {
        self.written.is_some()
    }
}

impl fmt::Display for Quote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.written.unwrap_or(self.text);
        if holds_password(text) {
            f.write_str("this text")
        } else if text.chars().count() > 60 {
            write!(f, "{:?}…", text.chars().take(60).collect::<String>())
        } else {
            write!(f, "{text:?}")
        }
    }
}

/// A JSON Schema for texts that match `pattern`, or hold a variable.
pub(super) fn text_schema(pattern: &str) -> Json {
    json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": VARIABLE }] })
}

/// What a text with a variable looks like to a JSON Schema.
const VARIABLE: &str = r"\$\{";

/// A whole number between two bounds, both included.
pub(super) struct Whole(pub(super) u32, pub(super) u32);

impl Form for Whole {
    type Value = u32;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<u32, Complaint> {
        let Value::Integer(number) = value else { return Err(value.wrong_type()) };
        match u32::try_from(*number) {
            Ok(number) if (self.0..=self.1).contains(&number) => Ok(number),
            _ if *number < i64::from(self.0) => {
                Err(Complaint::content(format!("{number} is too small"), format!("at least {}", self.0)))
            }
            _ => Err(Complaint::content(format!("{number} is too large"), format!("at most {}", self.1))),
        }
    }

    fn takes(&self) -> String {
        if self.0 == self.1 {
            format!("the number {}", self.0)
        } else {
            format!("a whole number from {} to {}", self.0, self.1)
        }
    }

    fn example(&self) -> String {
        self.0.to_string()
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0, "maximum": self.1 })
    }
}

/// A finite number above zero.
pub(super) struct Positive;

impl Form for Positive {
    type Value = f64;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<f64, Complaint> {
        let number = match value {
            // Exact up to 2^53, far beyond any sensible rate.
            #[expect(clippy::cast_precision_loss, reason = "a rate beyond 2^53 may be rounded")]
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Text { .. }
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Faulty => return Err(value.wrong_type()),
        };
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(Complaint::content(format!("{number} is out of range"), "any number above 0"))
        }
    }

    fn takes(&self) -> String {
        "a number above 0".to_owned()
    }

    fn example(&self) -> String {
        "5".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "exclusiveMinimum": 0 })
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Form for Flag {
    type Value = bool;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<bool, Complaint> {
        let Value::Boolean(flag) = value else { return Err(value.wrong_type()) };
        Ok(*flag)
    }

    fn takes(&self) -> String {
        "true or false".to_owned()
    }

    fn example(&self) -> String {
        "true".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Form for Choice<T> {
    type Value = T;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<T, Complaint> {
        let (text, quote) = text(value)?;
        if let Some((_, meaning)) = self.0.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&words, text) {
            Some(word) => format!("did you mean {word:?}? It takes {}", self.takes()),
            None => format!("it takes {}", self.takes()),
        };
        let message =
            if words.len() == 1 { format!("{quote} is not known") } else { format!("{quote} is none of its values") };
        Err(Complaint::content(message, help))
    }

    fn takes(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
        match words.split_last() {
            Some((last, [])) => format!("{last} only"),
            Some((last, [first])) => format!("{first} or {last}"),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => "nothing".to_owned(),
        }
    }

    fn example(&self) -> String {
        format!("{:?}", self.0[0].0)
    }

    fn schema(&self) -> Json {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        json!({ "type": "string", "anyOf": [{ "enum": words }, { "pattern": VARIABLE }] })
    }
}

/// What another form takes, or `"unlimited"`.
pub(super) struct OrUnlimited<F>(pub(super) F);

impl<F: Form> Form for OrUnlimited<F> {
    type Value = Option<F::Value>;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<Self::Value, Complaint> {
        if matches!(value, Value::Text { text, .. } if text == "unlimited") {
            return Ok(None);
        }
        self.0.parse(value, context).map(Some)
    }

    fn takes(&self) -> String {
        format!("{}, or \"unlimited\"", self.0.takes())
    }

    fn example(&self) -> String {
        self.0.example()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), { "const": "unlimited" }] })
    }
}
