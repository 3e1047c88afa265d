//! Keys about the service itself: `[aws]` and `[local]`.

mod credentials;

use std::time::Duration;

use self::credentials::{credentials, fits_a_call};
use super::super::forms::{FilePath, Flag, KeyOf, Lasting, LocalTabled, Pointer, Region, Stream, Url, Whole};
use super::super::walk::Table;
use super::super::{Aws, Local, LocalStream, LocalTable, Retry, Seed, StreamArn};
use super::{ordered, retry};

pub(super) fn aws(table: &mut Table<'_, '_>, streams: Option<&[StreamArn]>) -> Option<Aws> {
    let region = table.optional(
        "region",
        Region,
        "",
        "The region of all streams that are read, and of tables that are given by name alone. Default: that of each stream's \
         ARN, and another one is a mistake; of such tables, that of the first stream.",
    );
    let endpoint = table.optional(
        "endpoint",
        Url,
        "",
        "Another endpoint than the region's own: that of a VPC, or an emulator. `--local` sets it.",
    );
    let credentials = credentials(table, streams.and_then(|streams| streams.first()));
    let retry = table.section(
        "retry",
        "How failed calls are repeated: every call to the service, by one rule.",
        retry_of_calls,
    );
    let timeouts = table.section("timeouts", "How long calls may take.", timeouts);
    let region = agreed_region(table, region?, streams?)?;
    let Timeouts { connect, read, call } = timeouts?;
    let credentials = credentials.filter(|credentials| fits_a_call(table, credentials, call));
    Some(Aws {
        region,
        endpoint: endpoint?,
        credentials: credentials?,
        retry: retry?,
        connect_timeout: connect,
        read_timeout: read,
        call_timeout: call,
    })
}

/// The region of the first stream, unless the one that is given contradicts any of them. A stream is reached in the region
/// of its ARN and nowhere else, so a `region` can only confirm what all ARNs say; where they differ it must be left out.
fn agreed_region(table: &mut Table<'_, '_>, region: Option<String>, streams: &[StreamArn]) -> Option<String> {
    let first = streams.first()?;
    let Some(region) = region else { return Some(first.region().to_owned()) };
    let Some(other) = streams.iter().find(|stream| stream.region() != region) else { return Some(region) };
    let message = match streams {
        [stream] => format!("the stream is in {}, not in {region}", stream.region()),
        _ => format!("the stream {:?} is in {}, not in {region}", other.name(), other.region()),
    };
    let help =
        if streams.len() == 1 { "remove `region`: the ARN tells it" } else { "remove `region`: the ARNs tell it" };
    table.complain(table.at("region"), message, help);
    None
}

/// What `[aws.timeouts]` says.
struct Timeouts {
    connect: Duration,
    read: Duration,
    call: Duration,
}

fn timeouts(table: &mut Table<'_, '_>) -> Option<Timeouts> {
    let connect = table.default(
        "connect",
        Lasting("100ms", "1m"),
        "3s",
        "Time for establishing a connection, TLS included: long enough for one lost packet, which is sent again after 1 s.",
    );
    let read = table.default(
        "read",
        Lasting("100ms", "10m"),
        "10s",
        "Time until an answer begins. With a longer `call`, for slow links, it is what still notices a dead connection.",
    );
    let call = table.default(
        "call",
        Lasting("100ms", "10m"),
        "10s",
        "Time for one call as a whole: credentials, connection and answer included.",
    );
    let (connect, read, call) = (connect?, read?, call?);
    // A default does not stand in the way of a shorter call; what was written down and cannot hold is a mistake.
    let shorten = |table: &mut Table<'_, '_>, name: &'static str, limit: Duration| match table.at(name) {
        Some(_) => ordered(table, (name, limit), ("call", call)).map(|()| limit),
        None => Some(limit.min(call)),
    };
    let (connect, read) = (shorten(table, "connect", connect), shorten(table, "read", read));
    Some(Timeouts { connect: connect?, read: read?, call })
}

fn retry_of_calls(table: &mut Table<'_, '_>) -> Option<Retry> {
    let attempts = "Failures in a row after which a call counts as failing. A start then gives up. A pipeline that runs says \
                    so once, goes on trying, and says when it is over: no throttle and no outage stops it.";
    retry(table, (50, attempts), ("300ms", "1s"))
}

pub(super) fn local(table: &mut Table<'_, '_>) -> Option<Local> {
    let durable = table.default(
        "durable",
        Flag,
        true,
        "Whether streams and positions are kept in `.sluicebox/local/`, so that a second run resumes; `false` keeps both in \
         memory.",
    );
    let mut seen: Vec<String> = Vec::new();
    let streams = table.list("streams", "Streams that are created if they are not there yet.", |table| {
        let stream = local_stream(table)?;
        if seen.contains(&stream.name) {
            let message = format!("the stream {:?} stands twice", stream.name);
            table.complain(table.at("name"), message, "give it another name, or remove one of the two");
        }
        seen.push(stream.name.clone());
        Some(stream)
    });
    let mut seen: Vec<String> = Vec::new();
    let tables = table.list("tables", "Tables that are created if they are not there yet.", |table| {
        let local = local_table(table)?;
        if seen.contains(&local.name) {
            let message = format!("the table {:?} stands twice", local.name);
            table.complain(table.at("name"), message, "give it another name, or remove one of the two");
        }
        seen.push(local.name.clone());
        Some(local)
    });
    Some(Local { durable: durable?, streams: streams?, tables: tables? })
}

fn local_table(table: &mut Table<'_, '_>) -> Option<LocalTable> {
    let name = table.required("name", LocalTabled, "The table's name.");
    let partition_key = table.required(
        "partition_key",
        KeyOf("id"),
        "The attribute that is the partition key: its name for a text, `id:N` for a number, `id:B` for bytes.",
    );
    let sort_key =
        table.optional("sort_key", KeyOf("at:N"), "", "The attribute that is the sort key, written the same way.");
    let (partition_key, sort_key) = (partition_key?, sort_key?);
    if sort_key.as_ref().is_some_and(|sort_key| sort_key.name == partition_key.name) {
        let help = "name another attribute, or remove the sort key";
        table.complain(table.at("sort_key"), "the sort key is the partition key, too", help);
        return None;
    }
    Some(LocalTable { name: name?, partition_key, sort_key })
}

fn local_stream(table: &mut Table<'_, '_>) -> Option<LocalStream> {
    let name = table.required("name", Stream, "The stream's name.");
    let shards = table.default("shards", Whole(1, 1000), 1, "Its shards.");
    let seed = table.optional(
        "seed",
        FilePath("data/orders.ndjson"),
        "",
        "A file whose lines, each a JSON value, become its first records.",
    );
    let partition_key = table.optional(
        "partition_key",
        Pointer,
        "with `seed`, and then required",
        "Where in a line the partition key is, as a JSON pointer (RFC 6901).",
    );
    let seed = match (seed?, partition_key?) {
        (None, None) => None,
        (Some(path), Some(partition_key)) => Some(Seed { path, partition_key }),
        (Some(_), None) => {
            let help = "add partition_key = \"/id\", the way to the key inside each line";
            table.complain(table.at("seed"), "`seed` needs `partition_key`", help);
            return None;
        }
        (None, Some(_)) => {
            let help = "add seed = \"data/orders.ndjson\", or remove this key";
            table.complain(table.at("partition_key"), "`partition_key` has a meaning only with `seed`", help);
            return None;
        }
    };
    Some(LocalStream { name: name?, shards: shards?, seed })
}
