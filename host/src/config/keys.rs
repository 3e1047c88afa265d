//! Every key of the manifest: its name, its form, its default, its meaning. Nothing else defines one.
//!
//! Each function asks for all keys of a table before it judges any, so that every mistake is found and every key is
//! described, whatever the others say.

mod access;
mod component;
mod sink;
mod source;

use std::path::Path;
use std::time::Duration;

use self::sink::{Surroundings, agree, sinks};
use super::forms::{Choice, Lasting, Named, Store, Whole};
use super::sizes::format_duration;
use super::walk::Table;
use super::{Checkpoint, Manifest, OnError, PoisonPolicy, Retry, StreamArn, TrapPolicy, Unrouted};

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
    let streams = source.as_ref().map(|source| source.streams.as_slice());
    let home = streams.and_then(|streams| streams.first()).map(StreamArn::region);
    let sinks = sinks(table, home);
    let checkpoint =
        table.section("checkpoint", "How far the sinks have each shard, and where that is kept.", |table| {
            checkpoint(table, home)
        });
    let on_error = table.section("on_error", "What happens to records that cannot be delivered.", on_error);
    let aws = table.section("aws", "How AWS is reached.", |table| access::aws(table, streams));
    let local = table.section(
        "local",
        "The embedded service. Only `--local` and `sluicebox local` read this table.",
        access::local,
    );
    let routes = deserializer.as_ref().and_then(|(_, routes)| routes.as_ref());
    let around = Surroundings {
        streams,
        routes,
        checkpoint: checkpoint.as_ref(),
        unrouted: on_error.as_ref().map(|(_, unrouted)| *unrouted),
        call_timeout: aws.as_ref().map(|aws| aws.call_timeout),
    };
    let sinks = agree(table, sinks?, &around);
    let routes = routes.map(|routes| routes.iter().map(|(_, route)| route.clone()).collect());
    let (on_error, unrouted) = on_error?;
    let (deserializer, _) = deserializer?;
    version?;
    Some(Manifest {
        path: path.to_owned(),
        tenant: tenant?,
        name: name?,
        parallelism: parallelism?,
        shutdown_timeout: shutdown_timeout?,
        source: source?,
        assigner: assigner?,
        deserializer,
        routes,
        sinks: sinks?,
        checkpoint: checkpoint?,
        on_error,
        unrouted,
        aws: aws?,
        local: local?,
    })
}

fn checkpoint(table: &mut Table<'_, '_>, home: Option<&str>) -> Option<Checkpoint> {
    let store = table.default(
        "store",
        Store { home },
        "sqlite:.sluicebox/state.db",
        "Where positions are kept: an SQLite database, which pipelines may share, or a DynamoDB table of this \
         pipeline's own. One that is given by name alone is in the region of the first stream that is read.",
    );
    let interval = table.default(
        "interval",
        Lasting("100ms", "1h"),
        "10s",
        "Time between two checkpoints: at most this much is delivered again after a crash.",
    );
    Some(Checkpoint { store: store?, interval: interval? })
}

fn on_error(table: &mut Table<'_, '_>) -> Option<(OnError, Unrouted)> {
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
    let unrouted = table.default(
        "unrouted",
        Choice(&[("fail", Unrouted::Fail), ("drop", Unrouted::Drop)]),
        "fail",
        "An element on a route that no sink takes: stop before it, or count it and drop it.",
    );
    Some((OnError { poison: poison?, trap: trap?, max_attempts: max_attempts? }, unrouted?))
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
