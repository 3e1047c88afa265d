//! Keys about where elements go: `[[sink]]` and its tables.

mod batch;
mod relations;
mod writing;

use std::ops::Range;
use std::time::Duration;

pub(super) use self::relations::{Surroundings, agree};
use self::writing::writing;
use super::super::forms::{Choice, FilePath, Form, Named, Placed, Routes};
use super::super::walk::Table;
use super::super::{Name, Sink, SinkOutput};

/// Words of a sink's `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SinkType {
    Kinesis,
    Dynamodb,
    Stdout,
    File,
    Discard,
}

impl SinkType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("kinesis", Self::Kinesis),
        ("dynamodb", Self::Dynamodb),
        ("stdout", Self::Stdout),
        ("file", Self::File),
        ("discard", Self::Discard),
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Kinesis => "kinesis",
            Self::Dynamodb => "dynamodb",
            Self::Stdout => "stdout",
            Self::File => "file",
            Self::Discard => "discard",
        }
    }
}

/// Keys and tables that have a meaning with some types only.
const ONLY: &[(&str, &[SinkType])] = &[
    ("path", &[SinkType::File]),
    ("stream_arn", &[SinkType::Kinesis]),
    ("table", &[SinkType::Dynamodb]),
    ("order", &[SinkType::Kinesis, SinkType::Dynamodb]),
    ("fail_on_error", &[SinkType::Kinesis, SinkType::Dynamodb]),
    ("guarantee", &[SinkType::Dynamodb]),
    ("max_records_per_second", &[SinkType::Kinesis]),
    ("max_bytes_per_second", &[SinkType::Kinesis]),
    ("converter", &[SinkType::Kinesis, SinkType::Dynamodb]),
    ("batch", &[SinkType::Kinesis, SinkType::Dynamodb]),
];

/// A sink as its table tells it. What it has in common with the rest of the manifest is looked at when that is read:
/// see [`agree`].
pub(super) struct Draft {
    sink: Sink,
    /// The routes that it takes, and where each stands.
    when: Option<Placed<String>>,
    /// The time for a request, if it was written; the sink has none yet.
    request_timeout: Option<Duration>,
    at: Places,
}

/// Where the keys stand that others may contradict.
struct Places {
    stream: Option<Range<usize>>,
    table: Option<Range<usize>>,
    guarantee: Option<Range<usize>>,
}

/// `home` is the region of a table that is given by name alone, if it is known.
pub(super) fn sinks(table: &mut Table<'_, '_>, home: Option<&str>) -> Option<Vec<Draft>> {
    let mut seen: Vec<Sink> = Vec::new();
    let sinks = table.list(
        "sink",
        "Where elements go. At least one; each gets every element that its `when` admits.",
        |table| {
            let draft = sink(table, home)?;
            let sink = &draft.sink;
            if seen.iter().any(|other| other.name == sink.name) {
                let at = table.at("name").or_else(|| table.at("type"));
                let message = format!("two sinks are called {:?}", sink.name);
                table.complain(
                    at,
                    message,
                    "give one of them another `name`; without one, a sink is called by its type",
                );
            } else if let SinkOutput::File { path } = &sink.output
                && let Some(other) = seen.iter().find(|other| other.output == sink.output)
            {
                let message = format!("the sink {:?} writes to {} already", other.name, path.display());
                table.complain(table.at("path"), message, "give each sink a file of its own");
            }
            seen.push(sink.clone());
            Some(draft)
        },
    )?;
    if sinks.is_empty() {
        let help = "add\n[[sink]]\ntype = \"stdout\"";
        table.complain(table.at("sink"), "there is no sink, so elements would go nowhere", help);
        return None;
    }
    Some(sinks)
}

fn sink(table: &mut Table<'_, '_>, home: Option<&str>) -> Option<Draft> {
    let name =
        table.optional("name", Named("strong"), "", "What it is called, unlike any other sink. Default: its `type`.");
    let kind = table.required(
        "type",
        Choice(SinkType::WORDS),
        "What it does with elements: write them to a Kinesis data stream or a DynamoDB table, write each as one line to \
         standard output or to a file, or confirm it and keep nothing.",
    );
    let when = table.optional(
        "when",
        Routes {
            none: "without a route this sink would get nothing",
            instead: "leave the key out to take all elements",
        },
        "",
        "The routes whose elements it takes, beside elements on no route, which every sink takes. Default: it takes all \
         elements.",
    );
    let path = table.optional(
        "path",
        FilePath("out.jsonl"),
        "with `type = \"file\"`, and then required",
        "The file. It is cut back to the last checkpoint when a run resumes.",
    );
    let writing = writing(table, kind, home);
    let kind = kind?;
    let fits = only(table, kind);
    let (output, request_timeout) = match kind {
        SinkType::Stdout => (Some(SinkOutput::Stdout), None),
        SinkType::Discard => (Some(SinkOutput::Discard), None),
        SinkType::File => {
            let path = needed(table, kind, "path", &FilePath("out.jsonl"), path);
            (path.map(|path| SinkOutput::File { path }), None)
        }
        SinkType::Kinesis => writing.into_stream(table),
        SinkType::Dynamodb => writing.into_table(table),
    };
    let name = name?.unwrap_or_else(|| Name::parse(kind.word()).expect("a type is a name"));
    let when = when?;
    let routes = when.as_ref().map(|when| when.iter().map(|(_, route)| route.clone()).collect());
    let sink = Sink { name, when: routes, output: output.filter(|_| fits)? };
    let at = Places { stream: table.at("stream_arn"), table: table.at("table"), guarantee: table.at("guarantee") };
    Some(Draft { sink, when, request_timeout, at })
}

/// Complains of each key that has no meaning with `kind`; whether there is none.
fn only(table: &mut Table<'_, '_>, kind: SinkType) -> bool {
    let mut fits = true;
    for (key, kinds) in ONLY.iter().filter(|(_, kinds)| !kinds.contains(&kind)) {
        let Some(at) = table.at(key) else { continue };
        let types: Vec<String> = kinds.iter().map(|kind| format!("type = {:?}", kind.word())).collect();
        let types = types.join(" or ");
        let (what, this) = match *key {
            "converter" | "batch" => (format!("[sink.{key}]"), "this table"),
            _ => (format!("`{key}`"), "it"),
        };
        let help = match (kind, *key) {
            (SinkType::Kinesis, "table") => "name the stream as `stream_arn`, or write type = \"dynamodb\"".to_owned(),
            (SinkType::Dynamodb, "stream_arn") => "name the table as `table`, or write type = \"kinesis\"".to_owned(),
            (SinkType::Kinesis, "guarantee") => {
                "remove it: a stream takes no part in transactions, and may get a record again after a crash".to_owned()
            }
            _ => format!("remove {this}, or write {types}"),
        };
        table.complain(Some(at), format!("{what} has a meaning only with {types}"), help);
        fits = false;
    }
    fits
}

/// The value of a key that `kind` cannot be without.
fn needed<F: Form>(
    table: &mut Table<'_, '_>,
    kind: SinkType,
    key: &'static str,
    form: &F,
    value: Option<Option<F::Value>>,
) -> Option<F::Value> {
    let value = value?;
    if value.is_none() {
        let message = format!("a sink of type {:?} needs `{key}`", kind.word());
        table.complain(table.here(), message, format!("add {key} = {}", form.example()));
    }
    value
}
