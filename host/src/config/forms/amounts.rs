//! Forms of amounts with a unit.

use std::time::Duration;

use serde_json::Value as Json;

use super::super::document::Value;
use super::super::sizes::{InvalidAmount, format_duration, format_size, parse_duration, parse_size};
use super::{Complaint, Context, Form, Quote, text, text_schema};

const TIME_UNITS: &str = "ms, s, m, h, d";
const SIZE_UNITS: &str = "B, kB, KiB, MB, MiB, GB, GiB, TB, TiB";

/// A duration between two bounds, both included; given as texts so that messages show them as one would write them.
pub(in super::super) struct Lasting(pub(in super::super) &'static str, pub(in super::super) &'static str);

impl Form for Lasting {
    type Value = Duration;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Duration, Complaint> {
        if let Value::Integer(number) = value {
            return Err(missing_unit(*number, ["ms", "s"], TIME_UNITS));
        }
        let (text, quote) = text(value)?;
        let duration =
            parse_duration(text).map_err(|error| amount(quote, "duration", &error, "\"10s\"", TIME_UNITS))?;
        let bound = |text| parse_duration(text).expect("bounds are durations");
        if duration < bound(self.0) {
            return Err(Complaint::content(format!("{quote} is too short"), format!("at least {:?}", self.0)));
        }
        if duration > bound(self.1) {
            return Err(Complaint::content(format!("{quote} is too long"), format!("at most {:?}", self.1)));
        }
        Ok(duration)
    }

    fn takes(&self) -> String {
        let shown = |text| parse_duration(text).map_or_else(|_| text.to_owned(), format_duration);
        format!("a duration from {} to {}", shown(self.0), shown(self.1))
    }

    fn example(&self) -> String {
        format!("{:?}", self.1)
    }

    fn schema(&self) -> Json {
        text_schema(r"^[0-9]+(\.[0-9]+)? *(ms|s|m|h|d)$")
    }
}

/// A size in bytes between two bounds, both included; given as texts as above.
pub(in super::super) struct Sized(pub(in super::super) &'static str, pub(in super::super) &'static str);

impl Form for Sized {
    type Value = u64;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<u64, Complaint> {
        if let Value::Integer(number) = value {
            return Err(missing_unit(*number, ["B", "MiB"], SIZE_UNITS));
        }
        let (text, quote) = text(value)?;
        let size = parse_size(text).map_err(|error| amount(quote, "size", &error, "\"64MiB\"", SIZE_UNITS))?;
        let bound = |text| parse_size(text).expect("bounds are sizes");
        if size < bound(self.0) {
            return Err(Complaint::content(format!("{quote} is too small"), format!("at least {:?}", self.0)));
        }
        if size > bound(self.1) {
            return Err(Complaint::content(format!("{quote} is too large"), format!("at most {:?}", self.1)));
        }
        Ok(size)
    }

    fn takes(&self) -> String {
        let shown = |text| parse_size(text).map_or_else(|_| text.to_owned(), format_size);
        format!("a size from {} to {}", shown(self.0), shown(self.1))
    }

    fn example(&self) -> String {
        format!("{:?}", self.1)
    }

    fn schema(&self) -> Json {
        text_schema(r"^[0-9]+(\.[0-9]+)? *(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$")
    }
}

fn missing_unit(number: i64, [small, large]: [&str; 2], units: &str) -> Complaint {
    Complaint::content(
        format!("{number} has no unit"),
        format!("write \"{number}{small}\" or \"{number}{large}\"; units are {units}"),
    )
}

fn amount(quote: Quote<'_>, noun: &str, error: &InvalidAmount, example: &str, units: &str) -> Complaint {
    let help = match error {
        InvalidAmount::Number => format!("a {noun} is a number and a unit, such as {example}"),
        InvalidAmount::NoUnit | InvalidAmount::Unit(_) | InvalidAmount::Precision(_) => {
            format!("units are {units}, as in {example}")
        }
    };
    // The unit in question is part of the text, which a variable may have brought.
    let reason = match error {
        InvalidAmount::Unit(_) => "its unit is unknown".to_owned(),
        InvalidAmount::Number | InvalidAmount::NoUnit | InvalidAmount::Precision(_) => error.to_string(),
    };
    Complaint::content(format!("{quote} is no {noun}: {reason}"), help)
}
