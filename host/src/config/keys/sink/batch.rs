//! Keys of `[sink.batch]`: requests, and what waits for them.
//!
//! What is written is held against the limits of the service at once: a start that fails for a number should fail before
//! anything is read. A default does not stand in the way of a smaller bound beside it; two numbers that were written and
//! contradict each other are a mistake.

use std::time::Duration;

use super::super::super::SinkBatch;
use super::super::super::forms::{Flag, Lasting, Sized, Whole};
use super::super::super::sizes::{format_size, parse_size};
use super::super::super::walk::Table;

/// What one request of a service takes.
#[derive(Clone, Copy)]
pub(super) struct Service {
    /// Whose limits these are, for a message.
    takes: &'static str,
    count: u32,
    /// The default, and the most.
    bytes: (&'static str, &'static str),
    /// What every target takes, and the most that any does.
    record: (&'static str, &'static str),
    /// Whether an entry may be given up while others go on.
    gives_up: bool,
}

pub(super) const PUT_RECORDS: Service = Service {
    takes: "PutRecords takes",
    count: 500,
    bytes: ("5MiB", "10MiB"),
    record: ("1MiB", "10MiB"),
    gives_up: true,
};
pub(super) const BATCH_WRITE_ITEM: Service = Service {
    takes: "BatchWriteItem takes",
    count: 25,
    bytes: ("16MB", "16MB"),
    record: ("400KiB", "400KiB"),
    gives_up: true,
};
/// One of the hundred actions of a transaction moves the position.
pub(super) const TRANSACT_WRITE_ITEMS: Service = Service {
    takes: "TransactWriteItems takes beside the position",
    count: 99,
    bytes: ("4MB", "4MB"),
    record: ("400KiB", "400KiB"),
    gives_up: false,
};

/// What the table says. The time for a request is that for any call unless the table says another, and how long that is
/// stands further down in the manifest.
pub(super) struct Batch {
    /// With no time for a request yet.
    pub(super) batch: SinkBatch,
    pub(super) request_timeout: Option<Duration>,
}

/// Bounds of a request.
struct Bounds {
    max_count: u32,
    max_bytes: u64,
    max_record_bytes: Option<u64>,
}

/// Those that were written down.
struct Said {
    count: Option<u32>,
    bytes: Option<u64>,
    record: Option<u64>,
}

/// `service` is `None` if the sink has a mistake that leaves it open.
pub(super) fn batch(table: &mut Table<'_, '_>, service: Option<Service>) -> Option<Batch> {
    let count = table.optional(
        "max_count",
        Whole(1, 500),
        "",
        "Entries in a request. Default, and the most that the service takes: 500 for a stream, 25 for a table, 99 with \
         `guarantee = \"exactly-once\"`.",
    );
    let bytes = table.optional(
        "max_bytes",
        Sized("1KiB", "16MB"),
        "",
        "Bytes in a request, as the service counts them. Default: 5MiB for a stream, which takes up to 10MiB; 16MB for a \
         table, 4MB with `guarantee = \"exactly-once\"`, and no more.",
    );
    let record = table.optional(
        "max_record_bytes",
        Sized("1B", "10MiB"),
        "",
        "Bytes of an entry, as the service counts them: a larger one is refused before it is sent. Default: what the stream \
         takes, 400KiB for a table, or `max_bytes` if that is less.",
    );
    let max_age =
        table.default("max_age", Lasting("0s", "1h"), "5s", "How long an entry waits for others to share its request.");
    let max_in_flight = table.default("max_in_flight", Whole(1, 10_000), 50, "Requests under way.");
    let max_buffered = table.default(
        "max_buffered",
        Whole(1, 10_000_000),
        10_000,
        "Entries held, those under way included. When it is full, reading waits.",
    );
    let max_buffered_bytes = table.default(
        "max_buffered_bytes",
        Sized("1KiB", "64GiB"),
        "64MiB",
        "What the same may take of this machine's memory. An item of many small attributes takes several times what the service \
         counts.",
    );
    let request_timeout = table.optional(
        "request_timeout",
        Lasting("100ms", "10m"),
        "",
        "Time for one request, after which it is cancelled. Default: `call` of `[aws.timeouts]`.",
    );
    let fail_on_timeout = table.default(
        "fail_on_timeout",
        Flag,
        false,
        "Whether a request that takes longer stops the pipeline; otherwise its entries are sent again.",
    );
    let max_attempts = table.optional(
        "max_attempts",
        Whole(1, 1000),
        "",
        "Attempts at an entry before it counts as refused, and `on_error.poison` decides. Default: no end. Not with \
         `guarantee = \"exactly-once\"`.",
    );
    let max_entry_age = table.optional(
        "max_entry_age",
        Lasting("1s", "30d"),
        "",
        "Age beyond which a failed attempt is an entry's last, and `on_error.poison` decides. Default: no end. Not with \
         `guarantee = \"exactly-once\"`.",
    );
    if service.is_some_and(|service| !service.gives_up) {
        endless(table, &[("max_attempts", max_attempts?.is_some()), ("max_entry_age", max_entry_age?.is_some())]);
    }
    let said = Said { count: count?, bytes: bytes?, record: record? };
    let (max_buffered, max_buffered_bytes) = (max_buffered?, max_buffered_bytes?);
    let Bounds { max_count, max_bytes, max_record_bytes } =
        bounds(table, service?, &said, max_buffered, max_buffered_bytes)?;
    let batch = SinkBatch {
        max_count: max_count as usize,
        max_bytes,
        max_record_bytes,
        max_age: max_age?,
        max_in_flight: max_in_flight? as usize,
        max_buffered: max_buffered as usize,
        max_buffered_bytes,
        request_timeout: Duration::ZERO,
        fail_on_timeout: fail_on_timeout?,
        max_attempts: max_attempts?,
        max_entry_age: max_entry_age?,
    };
    Some(Batch { batch, request_timeout: request_timeout? })
}

/// A failed transaction may have happened: to give one up would be to count its records not at all, or twice.
fn endless(table: &mut Table<'_, '_>, said: &[(&'static str, bool)]) {
    for (key, _) in said.iter().filter(|(_, is_said)| *is_said) {
        let message =
            format!("`{key}`: with guarantee = \"exactly-once\" a transaction is repeated until it is heard of");
        let help = format!(
            "remove `{key}`, or write guarantee = \"at-least-once\"; what the table can never take is a dead letter at once"
        );
        table.complain(table.at(key), message, help);
    }
}

/// The bounds of a request, unless the service or two keys of the table are against it.
fn bounds(
    table: &mut Table<'_, '_>,
    service: Service,
    said: &Said,
    max_buffered: u32,
    max_buffered_bytes: u64,
) -> Option<Bounds> {
    let size = |text| parse_size(text).expect("limits of services are sizes");
    let takes = service.takes;
    let mut fits = true;
    let mut limit = |table: &mut Table<'_, '_>, key: &'static str, over: bool, most: String| {
        if over {
            let message = format!("`{key}`: this is more than {takes}");
            table.complain(table.at(key), message, format!("at most {most}"));
            fits = false;
        }
    };
    limit(table, "max_count", said.count.is_some_and(|count| count > service.count), service.count.to_string());
    let over = said.bytes.is_some_and(|bytes| bytes > size(service.bytes.1));
    limit(table, "max_bytes", over, format!("{:?}", service.bytes.1));
    let over = said.record.is_some_and(|record| record > size(service.record.1));
    limit(table, "max_record_bytes", over, format!("{:?}", service.record.1));
    if !fits {
        return None;
    }
    let max_count = said.count.unwrap_or_else(|| service.count.min(max_buffered));
    let max_bytes = said.bytes.unwrap_or_else(|| size(service.bytes.0).min(max_buffered_bytes));
    let mut ordered = |small: (&'static str, u64), large: (&'static str, u64), show: fn(u64) -> String| {
        if small.1 > large.1 {
            let at = table.at(large.0).or_else(|| table.at(small.0));
            let message = format!("`{}` ({}) is less than `{}` ({})", large.0, show(large.1), small.0, show(small.1));
            table.complain(at, message, format!("raise `{}` or lower `{}`", large.0, small.0));
            fits = false;
        }
    };
    let count = |count: u64| count.to_string();
    ordered(("max_count", max_count.into()), ("max_buffered", max_buffered.into()), count);
    ordered(("max_record_bytes", said.record.unwrap_or_default()), ("max_bytes", max_bytes), format_size);
    ordered(("max_bytes", max_bytes), ("max_buffered_bytes", max_buffered_bytes), format_size);
    let smallest = Some(max_bytes).filter(|bytes| *bytes < size(service.record.0));
    fits.then_some(Bounds { max_count, max_bytes, max_record_bytes: said.record.or(smallest) })
}
