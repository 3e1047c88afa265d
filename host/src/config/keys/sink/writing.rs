//! Keys of sinks that write to a service.

use std::time::Duration;

use super::super::super::forms::{Arn, Choice, Flag, OrUnlimited, Positive, Sized, Tabled, Use};
use super::super::super::walk::Table;
use super::super::super::{
    BuiltinConverter, Converter, DynamodbSink, Guarantee, KinesisSink, SinkOrder, SinkOutput, StreamArn,
};
use super::super::component::{Converting, converter};
use super::batch::{BATCH_WRITE_ITEM, Batch, PUT_RECORDS, TRANSACT_WRITE_ITEMS, batch};
use super::{SinkType, needed};

/// What a table says of writing, one key a field; `None` where the value of a key is a mistake.
pub(super) struct Writing<'a> {
    home: Option<&'a str>,
    stream: Option<Option<StreamArn>>,
    table: Option<Option<super::super::super::Table>>,
    order: Option<SinkOrder>,
    fail_on_error: Option<bool>,
    guarantee: Option<Guarantee>,
    max_records_per_second: Option<Option<f64>>,
    max_bytes_per_second: Option<Option<u64>>,
    converter: Option<Option<Converting>>,
    batch: Option<Batch>,
}

pub(super) fn writing<'a>(table: &mut Table<'_, '_>, kind: Option<SinkType>, home: Option<&'a str>) -> Writing<'a> {
    let stream = table.optional(
        "stream_arn",
        Arn(Use::Writing),
        "with `type = \"kinesis\"`, and then required",
        "The stream that is written to, in the region and account of its ARN; not one that the source reads.",
    );
    let named_table = table.optional(
        "table",
        Tabled { home },
        "with `type = \"dynamodb\"`, and then required",
        "The table that is written to. One that is given by name alone is in the region of the first stream that is read.",
    );
    let order = table.default(
        "order",
        Choice(&[("per-key", SinkOrder::PerKey), ("none", SinkOrder::None)]),
        "per-key",
        "Which entries may be under way together: of each partition key or item key one, so that they arrive in the order of \
         the records; or any, which is faster where few keys have most of the records, and lets a retry be overtaken. Only \
         with `type = \"kinesis\"` or `\"dynamodb\"`.",
    );
    let fail_on_error = table.default(
        "fail_on_error",
        Flag,
        false,
        "Whether the first entry that the service does not take at once stops the pipeline, even for a throttle. Only with \
         `type = \"kinesis\"` or `\"dynamodb\"`.",
    );
    let guarantee = table.default(
        "guarantee",
        Choice(&[("at-least-once", Guarantee::AtLeastOnce), ("exactly-once", Guarantee::ExactlyOnce)]),
        "at-least-once",
        "How often a record takes effect in the table: once, and maybe again after a crash; or once. The latter writes items \
         and the position behind them in one transaction, for twice the write units, and needs a `store` of `[checkpoint]` in \
         the same region and account. Only with `type = \"dynamodb\"`.",
    );
    let max_records_per_second = table.default(
        "max_records_per_second",
        OrUnlimited(Positive),
        1000,
        "Records per second and shard of the stream. The default is the service's limit; a stream with several writers shares \
         it. `\"unlimited\"` finds out what a shard takes. Only with `type = \"kinesis\"`.",
    );
    let max_bytes_per_second = table.default(
        "max_bytes_per_second",
        OrUnlimited(Sized("1kB", "1TB")),
        "1MiB",
        "Bytes per second and shard of the stream, partition keys included. The default is the service's limit. Only with \
         `type = \"kinesis\"`.",
    );
    let converter = table.optional_section(
        "converter",
        "What makes entries of elements: records of a stream, or requests on the items of a table. Only with `type = \
         \"kinesis\"` or `\"dynamodb\"`, and then required.",
        converter,
    );
    let service = match (kind, guarantee) {
        (Some(SinkType::Kinesis), _) => Some(PUT_RECORDS),
        (Some(SinkType::Dynamodb), Some(Guarantee::AtLeastOnce)) => Some(BATCH_WRITE_ITEM),
        (Some(SinkType::Dynamodb), Some(Guarantee::ExactlyOnce)) => Some(TRANSACT_WRITE_ITEMS),
        (Some(SinkType::Dynamodb), None) | (Some(SinkType::Stdout | SinkType::File | SinkType::Discard) | None, _) => {
            None
        }
    };
    let batch = table.section(
        "batch",
        "Requests to the service, and what waits for them. Only with `type = \"kinesis\"` or `\"dynamodb\"`.",
        |table| batch(table, service),
    );
    Writing {
        home,
        stream,
        table: named_table,
        order,
        fail_on_error,
        guarantee,
        max_records_per_second,
        max_bytes_per_second,
        converter,
        batch,
    }
}

/// What a sink does, and its own time for a request.
type Output = (Option<SinkOutput>, Option<Duration>);

impl Writing<'_> {
    /// A sink of type "kinesis".
    pub(super) fn into_stream(self, table: &mut Table<'_, '_>) -> Output {
        let stream = needed(table, SinkType::Kinesis, "stream_arn", &Arn(Use::Writing), self.stream);
        let converter = fitting(table, SinkType::Kinesis, self.converter);
        let sink = |batch: Batch| {
            let sink = KinesisSink {
                stream: stream?,
                converter: converter?,
                order: self.order?,
                fail_on_error: self.fail_on_error?,
                max_records_per_second: self.max_records_per_second?,
                max_bytes_per_second: self.max_bytes_per_second?,
                batch: batch.batch,
            };
            Some((SinkOutput::Kinesis(Box::new(sink)), batch.request_timeout))
        };
        self.batch.and_then(sink).map_or((None, None), |(output, timeout)| (Some(output), timeout))
    }

    /// A sink of type "dynamodb".
    pub(super) fn into_table(self, table: &mut Table<'_, '_>) -> Output {
        let form = Tabled { home: self.home };
        let named_table = needed(table, SinkType::Dynamodb, "table", &form, self.table);
        let converter = fitting(table, SinkType::Dynamodb, self.converter);
        if (self.guarantee, self.order) == (Some(Guarantee::ExactlyOnce), Some(SinkOrder::None)) {
            let message = "guarantee = \"exactly-once\" keeps the order of each key, so `order` cannot be \"none\"";
            table.complain(table.at("order"), message, "remove `order`, or write guarantee = \"at-least-once\"");
        }
        let sink = |batch: Batch| {
            let sink = DynamodbSink {
                table: named_table?,
                converter: converter?,
                order: self.order?,
                fail_on_error: self.fail_on_error?,
                guarantee: self.guarantee?,
                batch: batch.batch,
            };
            Some((SinkOutput::Dynamodb(Box::new(sink)), batch.request_timeout))
        };
        self.batch.and_then(sink).map_or((None, None), |(output, timeout)| (Some(output), timeout))
    }
}

/// The converter, if it makes what a sink of `kind` takes. What a component makes is known once it is loaded.
fn fitting(table: &mut Table<'_, '_>, kind: SinkType, converter: Option<Option<Converting>>) -> Option<Converter> {
    let word = if kind == SinkType::Kinesis { "passthrough" } else { "json-to-item" };
    let Some(Converting { converter, at }) = converter? else {
        let message = format!("a sink of type {:?} needs a converter", kind.word());
        let component = if kind == SinkType::Kinesis { "to-kinesis" } else { "to-item" };
        let line = format!("builtin = {word:?}  # or component = \"components/{component}.wasm\"");
        let help = format!("add\n[sink.converter]\n{line}");
        table.complain(table.here(), message, help);
        return None;
    };
    let made_for = match converter {
        Converter::Builtin(BuiltinConverter::Passthrough) => SinkType::Kinesis,
        Converter::Builtin(BuiltinConverter::JsonToItem) => SinkType::Dynamodb,
        Converter::Component(_) => kind,
    };
    if made_for != kind {
        let (makes, takes) = match kind {
            SinkType::Dynamodb => ("records of a stream", "items of a table"),
            SinkType::Kinesis | SinkType::Stdout | SinkType::File | SinkType::Discard => {
                ("items of a table", "records of a stream")
            }
        };
        let message = format!("this converter makes {makes}, but a sink of type {:?} takes {takes}", kind.word());
        table.complain(at, message, format!("write builtin = {word:?}, or the file of a component as `component`"));
        return None;
    }
    Some(converter)
}
