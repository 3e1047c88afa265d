//! Forms of what names a place: files, streams, endpoints.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::super::StateStore;
use super::super::document::{Node, Value};
use super::super::names::{InvalidArn, StreamArn, is_region};
use super::tables::located;
use super::texts::empty;
use super::{Complaint, Context, Form, Placed, text, text_schema};

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

/// `sqlite:PATH` or `dynamodb:TABLE`, whose region is that of `home` if it is given by name.
pub(in super::super) struct Store<'a> {
    /// `None` if it is not known for a mistake that is told already.
    pub(in super::super) home: Option<&'a str>,
}

impl Form for Store<'_> {
    type Value = StateStore;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<StateStore, Complaint> {
        let (text, quote) = text(value)?;
        let help = format!("write {} or \"dynamodb:orders-positions\"", self.example());
        if let Some(table) = text.strip_prefix("dynamodb:") {
            return located(table, quote, "dynamodb:", self.home).map(StateStore::Dynamodb);
        }
        let Some(file) = text.strip_prefix("sqlite:") else {
            let message = format!("{quote} is no store: it begins neither with \"sqlite:\" nor with \"dynamodb:\"");
            return Err(Complaint::content(message, help));
        };
        path(file, context).map(StateStore::Sqlite).map_err(|fault| match fault {
            PathFault::Empty => Complaint::content(format!("{quote} names no file"), help),
            PathFault::Home => Complaint::content(format!("{quote}: `~` has no meaning here"), "write ${HOME} instead"),
        })
    }

    fn takes(&self) -> String {
        "\"sqlite:\" and a path, or \"dynamodb:\" and the name or ARN of a table".to_owned()
    }

    fn example(&self) -> String {
        "\"sqlite:.sluicebox/state.db\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^(sqlite|dynamodb):.+$")
    }
}

/// The ARN of a stream.
pub(in super::super) struct Arn(pub(in super::super) Use);

/// What a stream is named for.
#[derive(Clone, Copy)]
pub(in super::super) enum Use {
    Reading,
    Writing,
}

impl Form for Arn {
    type Value = StreamArn;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<StreamArn, Complaint> {
        let (text, quote) = text(value)?;
        StreamArn::parse(text).map_err(|error| {
            let help = match (&error, self.0) {
                (InvalidArn::Service { found, .. }, Use::Writing) if found == "dynamodb" => {
                    "a table is written to by a sink of type = \"dynamodb\", as its `table`".to_owned()
                }
                _ => help_with_arn(&error, &self.example()),
            };
            // The error may quote a part of what a variable brought.
            if quote.is_of_a_variable() || error == InvalidArn::Shape {
                return Complaint::content(format!("{quote} is no ARN of a stream"), help);
            }
            Complaint::content(error, help)
        })
    }

    fn takes(&self) -> String {
        "the ARN of a Kinesis stream".to_owned()
    }

    fn example(&self) -> String {
        match self.0 {
            Use::Reading => "\"arn:aws:kinesis:us-east-1:123456789012:stream/orders\"",
            Use::Writing => "\"arn:aws:kinesis:us-east-1:123456789012:stream/large-orders\"",
        }
        .to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9._-]{1,128}$")
    }
}

/// What to write instead of what is no ARN.
pub(super) fn help_with_arn(error: &InvalidArn, example: &str) -> String {
    match error {
        InvalidArn::Service { found, wanted: "kinesis" } if found == "dynamodb" => {
            "reading the stream of a table is not supported; name a Kinesis data stream".to_owned()
        }
        InvalidArn::Mismatch { expected, .. } => format!("begin it with arn:{expected}:, or write another region"),
        InvalidArn::Consumer => "leave out \"/consumer/\" and what follows".to_owned(),
        InvalidArn::Shape
        | InvalidArn::Service { .. }
        | InvalidArn::Partition(_)
        | InvalidArn::Region(_)
        | InvalidArn::Account(_)
        | InvalidArn::Resource(_)
        | InvalidArn::StreamName(_) => format!("it looks like {example}"),
    }
}

/// The items of a list of ARNs, each read by `form`, with the place of each.
pub(super) fn arns<F: Form>(form: &F, value: &Value, context: &Context<'_>) -> Result<Placed<F::Value>, Complaint> {
    let Value::List(items) = value else { return Err(value.wrong_type()) };
    let item = |item: &Node| {
        let span = item.span.clone();
        match form.parse(&item.value, context) {
            Ok(arn) => Ok((span, arn)),
            Err(Complaint::Content { message, help }) => Err(Complaint::Inside { span, message, help }),
            Err(Complaint::Type) => {
                let message = format!("{} is no ARN", item.value.kind());
                Err(Complaint::Inside { span, message, help: format!("write [{}]", form.example()) })
            }
            Err(told @ (Complaint::Told | Complaint::Inside { .. })) => Err(told),
        }
    };
    items.iter().map(item).collect()
}

/// The ARNs of several streams.
pub(in super::super) struct Arns;

impl Form for Arns {
    type Value = Vec<StreamArn>;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<Vec<StreamArn>, Complaint> {
        let mut streams: Vec<StreamArn> = Vec::new();
        for (span, stream) in arns(&Arn(Use::Reading), value, context)? {
            if streams.contains(&stream) {
                let message = format!("the stream {:?} stands twice", stream.name());
                let help = "remove one of the two: its records would be delivered twice".to_owned();
                return Err(Complaint::Inside { span, message, help });
            }
            streams.push(stream);
        }
        if streams.is_empty() {
            return Err(Complaint::content("the list names no stream", format!("write {}", self.example())));
        }
        Ok(streams)
    }

    fn takes(&self) -> String {
        "a list of ARNs of Kinesis streams".to_owned()
    }

    fn example(&self) -> String {
        format!("[{}]", Arn(Use::Reading).example())
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": Arn(Use::Reading).schema() })
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
        Err(Complaint::content(
            format!("{quote} is no region"),
            format!("write a region's code, such as {}", self.example()),
        ))
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
        if text.contains('@') {
            return Err(Complaint::content(
                "a user or password has no place in a URL",
                "credentials belong in [aws.basic]",
            ));
        }
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            return Err(Complaint::content(format!("{quote} does not begin with http:// or https://"), help));
        };
        let authority = rest.split('/').next().unwrap_or_default();
        // An IPv6 address stands in brackets, and its colons are not a port's.
        let (host, port) = match authority.rfind(']') {
            Some(bracket) => (&authority[..=bracket], authority[bracket + 1..].strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "?#\"<>".contains(c);
        if host.is_empty() || rest.contains(strange) || port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..)))
        {
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
