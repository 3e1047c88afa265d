//! Forms of points in time.

use host_core::moment::EpochMillis;
use jiff::Timestamp as Instant;
use jiff::civil::{DateTime, date};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value as Json, json};

use super::super::document::Value;
use super::texts::empty;
use super::{Complaint, Context, Form, Quote, text};

/// A point in time.
pub(in super::super) enum Timestamp {
    /// RFC 3339, or seconds since the epoch, with or without a fraction; as text, number or TOML's own.
    Standard,
    /// A text in this format, which is a good one.
    Written(String),
    /// A text in a format that is a mistake and told already.
    Unknown,
}

/// The end of the year 9999, in seconds.
const LAST_SECOND: f64 = 253_402_300_799.0;

impl Form for Timestamp {
    type Value = EpochMillis;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<EpochMillis, Complaint> {
        match self {
            Self::Standard => standard(value, &self.example()),
            Self::Written(format) => written(value, format),
            Self::Unknown => Err(Complaint::Told),
        }
    }

    fn takes(&self) -> String {
        "a point in time (RFC 3339, seconds since 1970, or a text in `initial_timestamp_format`)".to_owned()
    }

    fn example(&self) -> String {
        match self {
            Self::Standard | Self::Unknown => "\"2018-02-01T00:00:00Z\"".to_owned(),
            Self::Written(format) => {
                let shown = render(format, date(2018, 2, 1).at(0, 0, 0, 0));
                format!("{:?}", shown.unwrap_or_default())
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "number", "minimum": 0 }] })
    }
}

fn standard(value: &Value, example: &str) -> Result<EpochMillis, Complaint> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "what is beyond 2^53 is refused")]
        Value::Integer(seconds) => epoch(*seconds as f64),
        Value::Float(seconds) => epoch(*seconds),
        Value::Datetime(moment) => rfc3339(moment).ok_or_else(|| {
            let help = "add the offset from UTC, such as Z or +01:00, to date and time".to_owned();
            Complaint::content(format!("{moment} is no point in time"), help)
        }),
        Value::Text { .. } | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Faulty => {
            let (text, quote) = text(value)?;
            if let Ok(seconds) = text.parse::<f64>() {
                return epoch(seconds);
            }
            rfc3339(text).ok_or_else(|| {
                let help = format!(
                    "write RFC 3339 with an offset ({example}) or seconds since 1970, or say in `initial_timestamp_format` \
                     how it is written"
                );
                Complaint::content(format!("{quote} is no point in time"), help)
            })
        }
    }
}

/// A point in time as text: RFC 3339 with an offset, or seconds since 1970.
pub(crate) fn point_in_time(text: &str) -> Option<EpochMillis> {
    match text.parse::<f64>() {
        Ok(seconds) => epoch(seconds).ok(),
        Err(_) => rfc3339(text),
    }
}

fn rfc3339(text: &str) -> Option<EpochMillis> {
    let instant: Instant = text.parse().ok()?;
    Some(EpochMillis(instant.as_millisecond())).filter(|at| at.0 >= 0)
}

fn epoch(seconds: f64) -> Result<EpochMillis, Complaint> {
    if !(0.0..=LAST_SECOND).contains(&seconds) {
        let help = if seconds > LAST_SECOND {
            "this looks like milliseconds; it takes seconds"
        } else {
            "it takes seconds since 1970, at least 0"
        };
        return Err(Complaint::content(format!("{seconds} is out of range"), help));
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked; below a millisecond nothing counts")]
    Ok(EpochMillis((seconds * 1000.0).round() as i64))
}

fn written(value: &Value, format: &str) -> Result<EpochMillis, Complaint> {
    let kind = match value {
        Value::Text { .. } | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Faulty => None,
        Value::Integer(_) | Value::Float(_) => Some("a number is seconds since 1970"),
        Value::Datetime(_) => Some("a date of TOML has a format of its own"),
    };
    if let Some(kind) = kind {
        let help = format!("write it as a text, as in {}, or remove `initial_timestamp_format`", shown_as(format));
        return Err(Complaint::content(format!("{kind}, whatever `initial_timestamp_format` says"), help));
    }
    let (text, quote) = text(value)?;
    let at = read(format, text).map_err(|why| mismatch(quote, format, &why))?;
    if at.as_millisecond() < 0 {
        return Err(Complaint::content(format!("{quote} lies before 1970"), "no stream keeps anything that old"));
    }
    Ok(EpochMillis(at.as_millisecond()))
}

fn mismatch(quote: Quote<'_>, format: &str, why: &Unreadable) -> Complaint {
    // What the reason quotes of the text, a variable may have brought.
    let why = if quote.is_of_a_variable() { String::new() } else { format!(": {}", why.0) };
    let help = format!("the start of February 2018 would be {}", shown_as(format));
    Complaint::content(format!("{quote} is not written as {format:?} says{why}"), help)
}

fn shown_as(format: &str) -> String {
    Timestamp::Written(format.to_owned()).example()
}

/// Why a text in a format gives no point in time: a clause.
struct Unreadable(String);

impl From<jiff::Error> for Unreadable {
    /// The innermost cause: the outer ones say only that reading failed.
    fn from(error: jiff::Error) -> Self {
        let causes = error.to_string();
        Self(causes.rsplit(": ").next().unwrap_or_default().to_owned())
    }
}

fn read(format: &str, text: &str) -> Result<Instant, Unreadable> {
    let fields = BrokenDownTime::parse(format, text)?;
    if let Some(at) = fields.timestamp() {
        return Ok(at);
    }
    if fields.iana_time_zone().is_some() {
        return Err(Unreadable("it names a time zone, which is not looked up; use an offset (%z)".to_owned()));
    }
    let civil = fields.to_datetime()?;
    Ok(fields.offset().unwrap_or(Offset::UTC).to_timestamp(civil)?)
}

fn render(format: &str, civil: DateTime) -> Option<String> {
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    BrokenDownTime::from(&zoned).to_string(format).ok()
}

/// A format of `strftime` that tells a date.
pub(in super::super) struct TimeFormat;

impl Form for TimeFormat {
    type Value = String;

    /// Whether it tells a date is tried out: a moment whose parts all differ is written in it and read back.
    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (format, quote) = text(value)?;
        if format.trim().is_empty() {
            return Err(empty(&self.example()));
        }
        let help = format!("write year, month and day at least, as in {}", self.example());
        let sample = date(2018, 11, 23).at(17, 45, 31, 500_000_000);
        let Some(shown) = render(format, sample) else {
            return Err(Complaint::content(format!("{quote} is no format of `strftime`"), help));
        };
        let why = match read(format, &shown) {
            // What the format leaves out is zero, from the smallest part upwards.
            Ok(at) if truncations(sample).contains(&Offset::UTC.to_datetime(at)) => {
                return Ok(format.to_owned());
            }
            Ok(at) => format!("what it writes for {sample} means {at}"),
            Err(why) => why.0,
        };
        Err(Complaint::content(format!("{quote} does not tell a point in time: {why}"), help))
    }

    fn takes(&self) -> String {
        "a format of `strftime`".to_owned()
    }

    fn example(&self) -> String {
        "\"%Y-%m-%d %H:%M:%S\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A moment, and its second, minute, hour and day.
fn truncations(moment: DateTime) -> [DateTime; 5] {
    let at = |hour, minute, second| moment.date().at(hour, minute, second, 0);
    let (hour, minute, second) = (moment.hour(), moment.minute(), moment.second());
    [moment, at(hour, minute, second), at(hour, minute, 0), at(hour, 0, 0), at(0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn context() -> Context<'static> {
        Context { dir: Path::new("") }
    }

    fn value(text: &str) -> Value {
        Value::Text { text: text.to_owned(), written: None }
    }

    fn in_format(format: &str, text: &str) -> Option<i64> {
        let format = TimeFormat.parse(&value(format), &context()).ok()?;
        Timestamp::Written(format).parse(&value(text), &context()).ok().map(|at| at.0)
    }

    #[test]
    fn a_format_says_what_it_says_and_what_it_leaves_out_is_zero_and_utc() {
        for (format, text, millis) in [
            ("%Y-%m-%d", "2018-02-01", 1_517_443_200_000),
            ("%d.%m.%Y %H:%M", "01.02.2018 12:30", 1_517_488_200_000),
            ("%Y-%m-%dT%H:%M:%S%.f%:z", "2018-02-01T01:00:00.25+01:00", 1_517_443_200_250),
            ("%F %T", "2018-02-01 00:00:01", 1_517_443_201_000),
            ("%m/%d/%Y %I:%M %p", "02/01/2018 12:30 PM", 1_517_488_200_000),
            ("%Y-%j", "2018-032", 1_517_443_200_000),
            ("%G-W%V-%u", "2018-W05-4", 1_517_443_200_000),
            ("%s", "1517443200", 1_517_443_200_000),
            ("%d %b %Y", "01 Feb 2018", 1_517_443_200_000),
        ] {
            assert_eq!(in_format(format, text), Some(millis), "{format}");
        }
    }

    #[test]
    fn a_format_that_gives_no_date_is_refused_before_any_text_is_read() {
        for format in
            ["%H:%M", "%Y-%m", "%m-%d", "%", "%!", "now", "", "%Y-%m-%d %I:%M", "%Y-%m-%d %M", "%F %Q", "%F %Z"]
        {
            assert!(TimeFormat.parse(&value(format), &context()).is_err(), "{format}");
        }
    }

    #[test]
    fn a_text_that_is_written_otherwise_is_refused() {
        for (format, text) in [
            ("%Y-%m-%d", "01.02.2018"),
            ("%Y-%m-%d", "2018-02-30"),
            ("%Y-%m-%d", "2018-02-01 "),
            ("%Y-%m-%d", "1969-12-31"),
            ("%Y-%m-%d", "1517443200"),
            ("%a %F", "Mon 2018-02-01"),
        ] {
            assert_eq!(in_format(format, text), None, "{text}");
        }
    }
}
