//! Forms of texts that have a rule of their own.

use std::path::PathBuf;

use host_core::moment::EpochMillis;
use jiff::Timestamp as Instant;
use serde_json::{Value as Json, json};

use super::super::document::Value;
use super::super::names::{InvalidArn, Name, Secret, StreamArn, is_region, is_stream_name};
use super::super::StateStore;
use super::{Complaint, Context, Form, text, text_schema};

/// A text with something in it; the example shows what.
pub(in super::super) struct Text(pub(in super::super) &'static str);

impl Form for Text {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, _) = text(value)?;
        if text.trim().is_empty() { Err(empty(&self.example())) } else { Ok(text.to_owned()) }
    }

    fn takes(&self) -> String {
        "a text".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

fn empty(example: &str) -> Complaint {
    Complaint::content("it is empty", format!("write a text, such as {example}"))
}

/// A text that is never shown.
pub(in super::super) struct SecretText;

impl Form for SecretText {
    type Value = Secret;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Secret, Complaint> {
        let (text, _) = text(value)?;
        if text.trim().is_empty() { Err(empty(&self.example())) } else { Ok(Secret::new(text.to_owned())) }
    }

    fn takes(&self) -> String {
        "a text, never shown".to_owned()
    }

    fn example(&self) -> String {
        "\"${VARIABLE}\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1, "writeOnly": true })
    }
}

/// A name of ours.
pub(in super::super) struct Named(pub(in super::super) &'static str);

impl Form for Named {
    type Value = Name;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Name, Complaint> {
        let (text, quote) = text(value)?;
        Name::parse(text).map_err(|error| {
            Complaint::content(format!("{quote} is no name: {error}"), format!("write a name such as {:?}", self.0))
        })
    }

    fn takes(&self) -> String {
        "a name".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    }
}

/// The name of a stream.
pub(in super::super) struct Stream;

impl Form for Stream {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if is_stream_name(text) {
            return Ok(text.to_owned());
        }
        let help = if text.starts_with("arn:") {
            "write the part behind \"stream/\" only"
        } else {
            "a stream's name is 1 to 128 of letters, digits, `.`, `_` and `-`"
        };
        Err(Complaint::content(format!("{quote} is no name of a stream"), help))
    }

    fn takes(&self) -> String {
        "the name of a stream".to_owned()
    }

    fn example(&self) -> String {
        "\"orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9._-]{1,128}$")
    }
}

/// A path, relative to the manifest.
pub(in super::super) struct FilePath(pub(in super::super) &'static str);

impl Form for FilePath {
    type Value = PathBuf;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<PathBuf, Complaint> {
        let (text, quote) = text(value)?;
        path(text, context).map_err(|message| match message {
            PathFault::Empty => empty(&self.example()),
            PathFault::Home => Complaint::content(format!("{quote}: `~` has no meaning here"), "write ${HOME} instead"),
        })
    }

    fn takes(&self) -> String {
        "a path".to_owned()
    }

    fn example(&self) -> String {
        format!("{:?}", self.0)
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

enum PathFault {
    Empty,
    Home,
}

fn path(text: &str, context: &Context<'_>) -> Result<PathBuf, PathFault> {
    match text {
        _ if text.trim().is_empty() => Err(PathFault::Empty),
        _ if text == "~" || text.starts_with("~/") => Err(PathFault::Home),
        _ => Ok(context.dir.join(text)),
    }
}

/// `sqlite:PATH`.
pub(in super::super) struct Store;

impl Form for Store {
    type Value = StateStore;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<StateStore, Complaint> {
        let (text, quote) = text(value)?;
        let help = format!("write {}", self.example());
        let Some(file) = text.strip_prefix("sqlite:") else {
            return Err(Complaint::content(format!("{quote} is no store: it does not begin with \"sqlite:\""), help));
        };
        path(file, context).map(StateStore::Sqlite).map_err(|fault| match fault {
            PathFault::Empty => Complaint::content(format!("{quote} names no file"), help),
            PathFault::Home => Complaint::content(format!("{quote}: `~` has no meaning here"), "write ${HOME} instead"),
        })
    }

    fn takes(&self) -> String {
        "\"sqlite:\" and a path".to_owned()
    }

    fn example(&self) -> String {
        "\"sqlite:.sluicebox/state.db\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^sqlite:.+$")
    }
}

/// The ARN of a stream.
pub(in super::super) struct Arn;

impl Form for Arn {
    type Value = StreamArn;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<StreamArn, Complaint> {
        let (text, quote) = text(value)?;
        StreamArn::parse(text).map_err(|error| {
            let example = self.example();
            let help = match &error {
                InvalidArn::Service(service) if service == "dynamodb" => {
                    "reading the stream of a table is not supported; name a Kinesis data stream".to_owned()
                }
                InvalidArn::Consumer => "leave out \"/consumer/\" and what follows".to_owned(),
                InvalidArn::Shape
                | InvalidArn::Service(_)
                | InvalidArn::Partition(_)
                | InvalidArn::Region(_)
                | InvalidArn::Mismatch { .. }
                | InvalidArn::Account(_)
                | InvalidArn::Resource(_)
                | InvalidArn::StreamName(_) => format!("it looks like {example}"),
            };
            if error == InvalidArn::Shape {
                return Complaint::content(format!("{quote} is no ARN"), help);
            }
            Complaint::content(error, help)
        })
    }

    fn takes(&self) -> String {
        "the ARN of a Kinesis stream".to_owned()
    }

    fn example(&self) -> String {
        "\"arn:aws:kinesis:us-east-1:123456789012:stream/orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9._-]{1,128}$")
    }
}

/// A region.
pub(in super::super) struct Region;

impl Form for Region {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if is_region(text) {
            return Ok(text.to_owned());
        }
        Err(Complaint::content(format!("{quote} is no region"), format!("write a region's code, such as {}", self.example())))
    }

    fn takes(&self) -> String {
        "a region".to_owned()
    }

    fn example(&self) -> String {
        "\"us-east-1\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^[a-z]+(-[a-z]+)+-[0-9]+$")
    }
}

/// An `http` or `https` URL that names a host, perhaps a port and a path.
pub(in super::super) struct Url;

impl Form for Url {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        let help = format!("write a URL such as {}", self.example());
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            return Err(Complaint::content(format!("{quote} does not begin with http:// or https://"), help));
        };
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Complaint::content("a URL with a user or password in it", "credentials belong in [aws.basic]"));
        }
        // An IPv6 address stands in brackets, and its colons are not a port's.
        let (host, port) = match authority.rfind(']') {
            Some(bracket) => (&authority[..=bracket], authority[bracket + 1..].strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "?#\"<>".contains(c);
        if host.is_empty() || rest.contains(strange) || port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            return Err(Complaint::content(format!("{quote} is no URL of an endpoint"), help));
        }
        Ok(text.trim_end_matches('/').to_owned())
    }

    fn takes(&self) -> String {
        "a URL".to_owned()
    }

    fn example(&self) -> String {
        "\"http://127.0.0.1:4567\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^https?://[^/?#@ ]+(/[^?#@ ]*)?$")
    }
}

/// A point in time: RFC 3339, or seconds since the epoch, with or without a fraction; as text, number or TOML's own.
pub(in super::super) struct Timestamp;

/// The end of the year 9999, in seconds.
const LAST_SECOND: f64 = 253_402_300_799.0;

impl Form for Timestamp {
    type Value = EpochMillis;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<EpochMillis, Complaint> {
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
                    let help = format!("write RFC 3339 with an offset ({}) or seconds since 1970", self.example());
                    Complaint::content(format!("{quote} is no point in time"), help)
                })
            }
        }
    }

    fn takes(&self) -> String {
        "a point in time (RFC 3339, or seconds since 1970)".to_owned()
    }

    fn example(&self) -> String {
        "\"2018-02-01T00:00:00Z\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "type": "number", "minimum": 0 }] })
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

/// Names of routes.
pub(in super::super) struct Routes;

impl Form for Routes {
    type Value = Vec<String>;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<Vec<String>, Complaint> {
        let Value::List(items) = value else { return Err(value.wrong_type()) };
        if items.is_empty() {
            return Err(Complaint::content("without a route this sink would get nothing", "leave the key out to take all elements"));
        }
        let mut routes: Vec<String> = Vec::new();
        for item in items {
            let (route, quote) = text(&item.value)?;
            if route.trim().is_empty() {
                return Err(Complaint::content("a route has no name", format!("write {}", self.example())));
            }
            if routes.iter().any(|other| other == route) {
                return Err(Complaint::content(format!("the route {quote} stands twice"), "name it once"));
            }
            routes.push(route.to_owned());
        }
        Ok(routes)
    }

    fn takes(&self) -> String {
        "a list of routes".to_owned()
    }

    fn example(&self) -> String {
        "[\"strong\"]".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "type": "string", "minLength": 1 } })
    }
}

/// A JSON pointer (RFC 6901) to something inside a document.
pub(in super::super) struct Pointer;

impl Form for Pointer {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if !text.starts_with('/') {
            // What a JSONPath or a bare field name would be as a pointer.
            let pointer = format!("/{}", text.trim_start_matches(['$', '.']).replace('.', "/"));
            let help = if pointer == "/" { format!("write {}", self.example()) } else { format!("write {pointer:?}") };
            return Err(Complaint::content(format!("{quote} is no JSON pointer: it does not begin with `/`"), help));
        }
        let escaped = text.split('~').skip(1).all(|behind| behind.starts_with(['0', '1']));
        if !escaped {
            return Err(Complaint::content(format!("{quote} is no JSON pointer"), "write `~0` for `~` and `~1` for `/` in a key"));
        }
        Ok(text.to_owned())
    }

    fn takes(&self) -> String {
        "a JSON pointer".to_owned()
    }

    fn example(&self) -> String {
        "\"/id\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^(/([^~/]|~[01])*)+$")
    }
}
