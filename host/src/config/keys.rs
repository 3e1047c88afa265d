//! Every key of the manifest: its name, its form, its default, its meaning. Nothing else defines one.
//!
//! Each function asks for all keys of a table before it judges any, so that every mistake is found and every key is
//! described, whatever the others say.

mod access;

use std::path::Path;
use std::time::Duration;

use super::forms::{
    Arn, Choice, FilePath, Flag, Lasting, Named, OrUnlimited, Positive, Routes, Sized, Store, Timestamp, Whole,
};
use super::sizes::format_duration;
use super::walk::Table;
use super::{
    Assigner, BuiltinAssigner, Checkpoint, Deserializer, Grants, InitialPosition, Limits, Manifest, Name, OnError,
    PoisonPolicy, Polling, Reader, Sink, SinkOutput, Source, TrapPolicy, WasiGrant,
};

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
    let source = table.section("source", "The stream, and how it is read.", source);
    let assigner = table.section("assigner", "Who spreads shards over subtasks.", assigner);
    let deserializer = table.section("deserializer", "The component that makes elements of records.", deserializer);
    let sinks = sinks(table);
    let checkpoint =
        table.section("checkpoint", "How far the sinks have each shard, and where that is kept.", checkpoint);
    let on_error = table.section("on_error", "What happens to records that cannot be delivered.", on_error);
    let stream = source.as_ref().map(|source| &source.stream);
    let aws = table.section("aws", "How AWS is reached.", |table| access::aws(table, stream));
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
        sinks: sinks?,
        checkpoint: checkpoint?,
        on_error: on_error?,
        aws: aws?,
        local: local?,
    })
}

/// Words of `initial_position`.
#[derive(Clone, Copy)]
enum Start {
    Latest,
    TrimHorizon,
    AtTimestamp,
}

fn source(table: &mut Table<'_, '_>) -> Option<Source> {
    let kind = table.required("type", Choice(&[("kinesis", ())]), "What is read: a Kinesis data stream.");
    let stream = table.required("stream_arn", Arn, "The stream. Its ARN tells the region, too.");
    let initial_position = initial_position(table);
    let discovery_interval =
        table.default("discovery_interval", Lasting("1s", "1h"), "10s", "Time between two listings of the shards.");
    let preserve_shard_order = table.default(
        "preserve_shard_order",
        Flag,
        true,
        "Whether a shard waits until the sinks have all of its parents. `false` reads sooner after a split and gives up the \
         order of records with the same partition key.",
    );
    let on_gap = table.default(
        "on_gap",
        Choice(&[("fail", ())]),
        "fail",
        "What happens when the stream or a shard is gone before it was read to its end: the pipeline stops, positions stay.",
    );
    let read_ahead = table.default(
        "read_ahead",
        Sized("1MiB", "64GiB"),
        "64MiB",
        "Bytes that may be read and not yet through the component, over all shards; each subtask has an equal share.",
    );
    let reader =
        table.default("reader", Choice(&[("polling", ())]), "polling", "How records are fetched: `GetRecords`.");
    let polling = table.section("polling", "The pace of `GetRecords`.", polling);
    kind?;
    on_gap?;
    reader?;
    Some(Source {
        stream: stream?,
        initial_position: initial_position?,
        discovery_interval: discovery_interval?,
        preserve_shard_order: preserve_shard_order?,
        read_ahead: read_ahead?,
        reader: Reader::Polling(polling?),
    })
}

fn initial_position(table: &mut Table<'_, '_>) -> Option<InitialPosition> {
    let start = table.default(
        "initial_position",
        Choice(&[
            ("latest", Start::Latest),
            ("trim-horizon", Start::TrimHorizon),
            ("at-timestamp", Start::AtTimestamp),
        ]),
        "latest",
        "Where a pipeline without positions starts: with what is written from now on, with the oldest record, or at \
         `initial_timestamp`. Without effect once there are positions.",
    );
    let timestamp = table.optional(
        "initial_timestamp",
        Timestamp,
        "with `initial_position = \"at-timestamp\"`",
        "The arrival time of the first record that is read.",
    );
    match (start?, timestamp?) {
        (Start::Latest, None) => Some(InitialPosition::Latest),
        (Start::TrimHorizon, None) => Some(InitialPosition::TrimHorizon),
        (Start::AtTimestamp, Some(at)) => Some(InitialPosition::AtTimestamp(at)),
        (Start::AtTimestamp, None) => {
            let help = "add initial_timestamp = \"2018-02-01T00:00:00Z\", or choose another position";
            table.complain(table.at("initial_position"), "\"at-timestamp\" needs `initial_timestamp`", help);
            None
        }
        (Start::Latest | Start::TrimHorizon, Some(_)) => {
            let help = "add initial_position = \"at-timestamp\", or remove this key";
            let message = "`initial_timestamp` has a meaning only with initial_position = \"at-timestamp\"";
            table.complain(table.at("initial_timestamp"), message, help);
            None
        }
    }
}

fn polling(table: &mut Table<'_, '_>) -> Option<Polling> {
    let max_records = table.default("max_records", Whole(1, 10_000), 10_000, "Records asked for in one call.");
    let empty_interval =
        table.default("empty_interval", Lasting("0s", "1h"), "250ms", "Pause after a call that brought nothing.");
    let max_calls_per_second = table.default(
        "max_calls_per_second",
        OrUnlimited(Positive),
        5,
        "Calls per second and shard. The default is the service's limit; a stream with several readers shares it.",
    );
    let max_bytes_per_second = table.default(
        "max_bytes_per_second",
        OrUnlimited(Sized("1kB", "1TB")),
        "2MB",
        "Bytes per second and shard. The default is the service's limit (2 MB: two million bytes).",
    );
    Some(Polling {
        max_records: max_records?,
        empty_interval: empty_interval?,
        max_calls_per_second: max_calls_per_second?,
        max_bytes_per_second: max_bytes_per_second?,
    })
}

fn assigner(table: &mut Table<'_, '_>) -> Option<Assigner> {
    let builtin = table.default(
        "builtin",
        Choice(&[("uniform", BuiltinAssigner::Uniform)]),
        "uniform",
        "One that the host brings along: `uniform` spreads shards evenly by their hash ranges.",
    );
    builtin.map(Assigner::Builtin)
}

fn deserializer(table: &mut Table<'_, '_>) -> Option<Deserializer> {
    let component = table.required("component", FilePath("components/orders.wasm"), "The component's file.");
    let config = table.free(
        "config",
        "Handed to the component when it is opened. Keys and values are the component's: texts, numbers, true and false; \
         dates are handed on as texts.",
    );
    let limits = table.section("limits", "What one instance of the component may use.", limits);
    let grants =
        table.section("grants", "What the component may import beyond log, metrics, configuration and time.", grants);
    Some(Deserializer { component: component?, config: config?, limits: limits?, grants: grants? })
}

fn limits(table: &mut Table<'_, '_>) -> Option<Limits> {
    let memory = table.default("memory", Sized("64KiB", "4GiB"), "64MiB", "Bytes over all of its memories.");
    let cpu_per_batch = table.default("cpu_per_batch", Lasting("1ms", "1m"), "50ms", "CPU time for one batch.");
    let wall_per_batch =
        table.default("wall_per_batch", Lasting("1ms", "10m"), "2s", "Time on the wall for one batch.");
    let output_ratio =
        table.default("output_ratio", Whole(1, 1024), 8, "Bytes that it may return per byte that it was handed.");
    let log_rate = table.default(
        "log_rate",
        Sized("0B", "64MiB"),
        "64KiB",
        "Bytes of log per second; the rest is dropped and counted.",
    );
    Some(Limits {
        memory: memory?,
        cpu_per_batch: cpu_per_batch?,
        wall_per_batch: wall_per_batch?,
        output_ratio: output_ratio?,
        log_rate: log_rate?,
    })
}

fn grants(table: &mut Table<'_, '_>) -> Option<Grants> {
    let wasi = table.default(
        "wasi",
        Choice(&[("inert", WasiGrant::Inert), ("none", WasiGrant::None)]),
        "inert",
        "How much of WASI it gets: what a language runtime needs to start, without files, sockets and environment; or \
         nothing at all.",
    );
    Some(Grants { wasi: wasi? })
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
