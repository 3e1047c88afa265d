//! Keys about what is read: `[source]` and its tables.

mod efo;

use std::time::Duration;

use self::efo::Demand;
use super::super::forms::{
    Arn, Arns, Choice, Flag, Form as _, Lasting, OrUnlimited, Positive, Sized, TimeFormat, Timestamp, Use, Whole,
};
use super::super::walk::Table;
use super::super::{Efo, InitialPosition, OnGap, Polling, Reader, Source, StreamArn};

/// Words of `initial_position`.
#[derive(Clone, Copy)]
enum Start {
    Latest,
    TrimHorizon,
    AtTimestamp,
}

/// Words of `reader`.
#[derive(Clone, Copy)]
enum Way {
    Polling,
    Efo,
    Auto,
}

pub(super) fn source(table: &mut Table<'_, '_>) -> Option<Source> {
    let kind = table.required("type", Choice(&[("kinesis", ())]), "What is read: Kinesis data streams.");
    let streams = streams(table);
    let initial_position = initial_position(table);
    let discovery_interval =
        table.default("discovery_interval", Lasting("1s", "1h"), "10s", "Time between two looks for new shards.");
    let audit_interval = table.default(
        "audit_interval",
        Lasting("1s", "6h"),
        "2m",
        "Time between two listings of all shards, against which parents, hash ranges and vanished shards are checked. Three \
         in a row must agree before a shard counts as gone, as with Amazon's own client library.",
    );
    let preserve_shard_order = table.default(
        "preserve_shard_order",
        Flag,
        true,
        "Whether a shard waits until the sinks have all of its parents. `false` reads sooner after a split and gives up the \
         order of records with the same partition key.",
    );
    let on_gap = table.default(
        "on_gap",
        Choice(&[("fail", OnGap::Fail), ("continue", OnGap::Continue)]),
        "fail",
        "What happens where records are gone before they were read (trimmed, or their shard or stream deleted): stop before \
         the gap and keep the positions, or report it, count it and read on behind it. It is never silent.",
    );
    let idle_after = table.default(
        "idle_after",
        Lasting("100ms", "1d"),
        "30s",
        "A shard that brought nothing for this long holds no watermark back.",
    );
    let read_ahead = table.default(
        "read_ahead",
        Sized("1MiB", "64GiB"),
        "64MiB",
        "Bytes that may be read and not yet through the component, over all shards; each subtask has an equal share.",
    );
    let way = table.default(
        "reader",
        Choice(&[("polling", Way::Polling), ("efo", Way::Efo), ("auto", Way::Auto)]),
        "polling",
        "How records are fetched: `polling` calls `GetRecords`, and shares each shard's limits with all others that do. `efo` \
         is enhanced fan-out: a consumer with a throughput of its own (`[source.efo]`, billed apart), to which the service \
         pushes what arrives. `auto` is enhanced fan-out for each stream where a consumer can be had and polling for the \
         others, which is said once at the start.",
    );
    let polling = table.section("polling", "The pace of `GetRecords`. The reader `efo` does not heed it.", polling);
    let demand = match way {
        Some(Way::Efo) => Some(Demand { reader: "efo", at: table.at("reader") }),
        Some(Way::Auto) => Some(Demand { reader: "auto", at: table.at("reader") }),
        Some(Way::Polling) | None => None,
    };
    let efo = table.section(
        "efo",
        "Enhanced fan-out: the consumer that each stream is read through. The reader `polling` does not heed it.",
        |table| efo::efo(table, streams.as_deref(), demand),
    );
    let max_drift = table.section(
        "alignment",
        "Whether fast shards wait for slow ones, over all streams of the source.",
        alignment,
    );
    kind?;
    Some(Source {
        streams: streams?,
        initial_position: initial_position?,
        discovery_interval: discovery_interval?,
        audit_interval: audit_interval?,
        on_gap: on_gap?,
        idle_after: idle_after?,
        max_drift: max_drift?,
        preserve_shard_order: preserve_shard_order?,
        read_ahead: read_ahead?,
        reader: reader(way?, polling?, efo?)?,
    })
}

/// What was chosen; the tables of the other ways are checked, and left aside.
fn reader(way: Way, polling: Polling, efo: Option<Efo>) -> Option<Reader> {
    match way {
        Way::Polling => Some(Reader::Polling(polling)),
        Way::Efo => efo.map(Reader::Efo),
        Way::Auto => efo.map(|efo| Reader::Auto(efo, polling)),
    }
}

fn streams(table: &mut Table<'_, '_>) -> Option<Vec<StreamArn>> {
    let one = table.optional(
        "stream_arn",
        Arn(Use::Reading),
        "without `stream_arns`, and then required",
        "The stream. Its ARN tells region and account, too.",
    );
    let many = table.optional(
        "stream_arns",
        Arns,
        "instead of `stream_arn`",
        "Several streams that one pipeline reads as one, each in the region and account of its own ARN.",
    );
    match (table.at("stream_arn"), table.at("stream_arns")) {
        (None, None) => {
            table.lacks("stream_arn", Arn(Use::Reading).example());
            None
        }
        (Some(_), Some(at)) => {
            let help = "move the ARN of `stream_arn` into the list, or remove one of the two keys";
            table.complain(Some(at), "`stream_arn` and `stream_arns` exclude each other", help);
            None
        }
        (Some(_), None) => one?.map(|stream| vec![stream]),
        (None, Some(_)) => many?,
    }
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
    let format = table.optional(
        "initial_timestamp_format",
        TimeFormat,
        "with an `initial_timestamp` that is a text",
        "How `initial_timestamp` is written, in the words of `strftime`: `%d.%m.%Y %H:%M`. Without an offset (`%z`) it is UTC; \
         a date alone is its midnight.",
    );
    let form = match &format {
        Some(None) => Timestamp::Standard,
        Some(Some(format)) => Timestamp::Written(format.clone()),
        None => Timestamp::Unknown,
    };
    let timestamp = table.optional(
        "initial_timestamp",
        form,
        "with `initial_position = \"at-timestamp\"`",
        "The arrival time of the first record that is read. Where it lies ahead, reading starts when it has come; where the \
         stream keeps nothing that old, with the oldest record.",
    );
    let alone = table.at("initial_timestamp_format").filter(|_| table.at("initial_timestamp").is_none());
    if let Some(at) = alone {
        let help = "add initial_timestamp, written in this format, or remove this key";
        table.complain(Some(at), "`initial_timestamp_format` has a meaning only with `initial_timestamp`", help);
        return None;
    }
    format?;
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
    let empty_interval = table.default(
        "empty_interval",
        Lasting("0s", "1h"),
        "250ms",
        "Pause after a call that brought nothing, at the tip of the shard.",
    );
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

fn alignment(table: &mut Table<'_, '_>) -> Option<Option<Duration>> {
    table.optional(
        "max_drift",
        Lasting("100ms", "365d"),
        "",
        "How far ahead of the slowest shard that is not idle, in event time, another may be: beyond it, it is not read until \
         the others have come after. Default: no shard waits.",
    )
}
