//! Every key of the manifest: its name, its form, its default, its meaning. Nothing else defines one.
//!
//! Each function asks for all keys of a table before it judges any, so that every mistake is found and every key is
//! described, whatever the others say.

mod access;
mod component;
mod source;

use std::path::Path;
use std::time::Duration;

use super::forms::{Choice, FilePath, Lasting, Named, Routes, Store, Whole};
use super::sizes::format_duration;
use super::walk::Table;
use super::{Checkpoint, Manifest, Name, OnError, PoisonPolicy, Retry, Sink, SinkOutput, TrapPolicy};

pub(super) fn manifest(table: &mut Table<'_, '_>, path: &Path) -> Option<Manifest> {
    let version = table.required("version", Whole(1, 1), "The format of this file.");
    let name = table.required(
        "name",
        Named("orders"),
        "What the pipeline is called. With the tenant it is the identity of positions and metrics: under another name the \
         pipeline starts anew.",
    );
    let tenant = table.default("tenant", Named("default"), "default", "Whose pipeline this is.");
    let parallelism = table.default(
        "parallelism",
        Whole(1, 1024),
        1,
        "Subtasks: sequential lanes that share the shards, each with component instances of its own.",
    );
    let shutdown_timeout = table.default(
        "shutdown_timeout",
        Lasting("0s", "1h"),
        "30s",
        "Time for draining and a last checkpoint once a stop was asked for.",
    );
    let source = table.section("source", "The streams, and how they are read.", source::source);
    let assigner = table.section("assigner", "Who spreads shards over subtasks.", component::assigner);
    let deserializer =
        table.section("deserializer", "The component that makes elements of records.", component::deserializer);
    let sinks = sinks(table);
    let checkpoint =
        table.section("checkpoint", "How far the sinks have each shard, and where that is kept.", checkpoint);
    let on_error = table.section("on_error", "What happens to records that cannot be delivered.", on_error);
    let streams = source.as_ref().map(|source| source.streams.as_slice());
    let aws = table.section("aws", "How AWS is reached.", |table| access::aws(table, streams));
    let local = table.section(
        "local",
        "The embedded service. Only `--local` and `sluicebox local` read this table.",
        access::local,
    );
    version?;
    Some(Manifest {
        path: path.to_owned(),
        tenant: tenant?,
        name: name?,
        parallelism: parallelism?,
        shutdown_timeout: shutdown_timeout?,
        source: source?,
        assigner: assigner?,
        deserializer: deserializer?,
        routes: None,
        sinks: sinks?,
        checkpoint: checkpoint?,
        on_error: on_error?,
        unrouted: super::Unrouted::Fail,
        aws: aws?,
        local: local?,
    })
}

/// Words of a sink's `type`.
#[derive(Clone, Copy)]
enum SinkType {
    Stdout,
    File,
    Discard,
}

fn sinks(table: &mut Table<'_, '_>) -> Option<Vec<Sink>> {
    let mut seen: Vec<Sink> = Vec::new();
    let sinks = table.list(
        "sink",
        "Where elements go. At least one; each gets every element that its `when` admits.",
        |table| {
            let sink = sink(table)?;
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
            Some(sink)
        },
    )?;
    if sinks.is_empty() {
        let help = "add\n[[sink]]\ntype = \"stdout\"";
        table.complain(table.at("sink"), "there is no sink, so elements would go nowhere", help);
        return None;
    }
    Some(sinks)
}

fn sink(table: &mut Table<'_, '_>) -> Option<Sink> {
    let name =
        table.optional("name", Named("strong"), "", "What it is called, unlike any other sink. Default: its `type`.");
    let kind = table.required(
        "type",
        Choice(&[("stdout", SinkType::Stdout), ("file", SinkType::File), ("discard", SinkType::Discard)]),
        "What it does with elements: write each as one line to standard output or to a file, or confirm it and keep nothing.",
    );
    let when =
        table.optional("when", Routes, "", "The routes whose elements it takes. Default: it takes all elements.");
    let path = table.optional(
        "path",
        FilePath("out.jsonl"),
        "with `type = \"file\"`, and then required",
        "The file. It is cut back to the last checkpoint when a run resumes.",
    );
    let (kind, path) = (kind?, path?);
    let output = match (kind, path) {
        (SinkType::Stdout, None) => SinkOutput::Stdout,
        (SinkType::Discard, None) => SinkOutput::Discard,
        (SinkType::File, Some(path)) => SinkOutput::File { path },
        (SinkType::File, None) => {
            table.complain(table.here(), "a sink of type \"file\" needs `path`", "add path = \"out.jsonl\"");
            return None;
        }
        (SinkType::Stdout | SinkType::Discard, Some(_)) => {
            let help = "remove it, or write type = \"file\"";
            table.complain(table.at("path"), "`path` has a meaning only with type = \"file\"", help);
            return None;
        }
    };
    let default = match kind {
        SinkType::Stdout => "stdout",
        SinkType::File => "file",
        SinkType::Discard => "discard",
    };
    let name = name?.unwrap_or_else(|| Name::parse(default).expect("a type is a name"));
    Some(Sink { name, when: when?, output })
}

fn checkpoint(table: &mut Table<'_, '_>) -> Option<Checkpoint> {
    let store = table.default(
        "store",
        Store,
        "sqlite:.sluicebox/state.db",
        "Where positions are kept: an SQLite database. Pipelines may share one.",
    );
    let interval = table.default(
        "interval",
        Lasting("100ms", "1h"),
        "10s",
        "Time between two checkpoints: at most this much is delivered again after a crash.",
    );
    Some(Checkpoint { store: store?, interval: interval? })
}

fn on_error(table: &mut Table<'_, '_>) -> Option<OnError> {
    let poison = table.default(
        "poison",
        Choice(&[("fail", PoisonPolicy::Fail), ("skip", PoisonPolicy::Skip)]),
        "fail",
        "A record that the component refuses for good: stop before it, or report it, count it and pass over it.",
    );
    let trap = table.default(
        "trap",
        Choice(&[("bisect", TrapPolicy::Bisect), ("fail", TrapPolicy::Fail)]),
        "bisect",
        "A batch on which the component crashes, exceeds a limit or returns nonsense: halve it until the record that does \
         it stands alone and is poison, or stop.",
    );
    let max_attempts =
        table.default("max_attempts", Whole(1, 100), 3, "Attempts at one batch before it counts as refused.");
    Some(OnError { poison: poison?, trap: trap?, max_attempts: max_attempts? })
}

/// Keys of how what failed is tried again: `attempts` is the default and the meaning of `max_attempts`, `delays` are the
/// defaults of the others.
fn retry(
    table: &mut Table<'_, '_>,
    attempts: (i64, &'static str),
    delays: (&'static str, &'static str),
) -> Option<Retry> {
    let max_attempts = table.default("max_attempts", Whole(1, 1000), attempts.0, attempts.1);
    let min_delay = table.default(
        "min_delay",
        Lasting("1ms", "1h"),
        delays.0,
        "Bound of the pause after the first failure; it doubles with each further one. The pause itself is drawn at random \
         from zero to the bound, so that readers that were refused together do not come back together.",
    );
    let max_delay = table.default("max_delay", Lasting("1ms", "1h"), delays.1, "The highest bound.");
    let (min_delay, max_delay) = (min_delay?, max_delay?);
    ordered(table, ("min_delay", min_delay), ("max_delay", max_delay))?;
    Some(Retry { max_attempts: max_attempts?, min_delay, max_delay })
}

/// Complains unless `low <= high`; both are given or defaults.
fn ordered(table: &mut Table<'_, '_>, low: (&'static str, Duration), high: (&'static str, Duration)) -> Option<()> {
    if low.1 <= high.1 {
        return Some(());
    }
    let at = table.at(low.0).or_else(|| table.at(high.0));
    let (shorter, longer) = (format_duration(high.1), format_duration(low.1));
    let message = format!("`{}` ({longer}) is longer than `{}` ({shorter})", low.0, high.0);
    table.complain(at, message, format!("lower `{}` or raise `{}`", low.0, high.0));
    None
}
