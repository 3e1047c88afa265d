//! What answers look like on the wire. Pages are written by hand: the base64 text of ten megabytes is not worth a tree.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_smithy_types::base64;
use bytes::Bytes;
use serde_json::{Value, json};

use super::consumers::ConsumerView;
use super::habits::Encryption;
use super::reading::Page;
use super::shard::{KeyRange, Record, ShardView};
use super::stream::{Status, Stream};
use super::subscription::Push;
use crate::simulated::clock::Millis;

/// A timestamp as the protocol has it: seconds, with a fraction.
fn seconds(at: Millis) -> f64 {
    at as f64 / 1000.0
}

fn range(range: KeyRange) -> Value {
    json!({ "StartingHashKey": range.start.to_string(), "EndingHashKey": range.end.to_string() })
}

pub(crate) fn shard(view: &ShardView) -> Value {
    let mut sequences = json!({ "StartingSequenceNumber": view.first.to_string() });
    if let Some(last) = view.last {
        sequences["EndingSequenceNumber"] = json!(last.to_string());
    }
    let mut shard = json!({ "ShardId": view.id, "HashKeyRange": range(view.range), "SequenceNumberRange": sequences });
    if let Some(parent) = view.parents.first() {
        shard["ParentShardId"] = json!(parent);
    }
    if let Some(adjacent) = view.parents.get(1) {
        shard["AdjacentParentShardId"] = json!(adjacent);
    }
    shard
}

/// The answer of `GetRecords`.
pub(crate) fn page(page: &Page) -> Bytes {
    let mut text = records(&page.records);
    if let Some(next) = &page.next {
        write!(text, ",\"NextShardIterator\":\"{}\"", next.encode()).expect("a string takes text");
    }
    if let Some(behind) = page.behind {
        write!(text, ",\"MillisBehindLatest\":{behind}").expect("a string takes text");
    }
    write_children(&mut text, page.children.as_deref());
    text.push('}');
    Bytes::from(text)
}

/// One `SubscribeToShardEvent`.
pub(crate) fn push(push: &Push) -> Bytes {
    let mut text = records(&push.records);
    if let Some(continuation) = &push.continuation {
        write!(text, ",\"ContinuationSequenceNumber\":\"{continuation}\"").expect("a string takes text");
    }
    if let Some(behind) = push.behind {
        write!(text, ",\"MillisBehindLatest\":{behind}").expect("a string takes text");
    }
    write_children(&mut text, push.children.as_deref());
    text.push('}');
    Bytes::from(text)
}

/// What pages and events begin with.
fn records(records: &[Arc<Record>]) -> String {
    let size: usize = records.iter().map(|record| record.data.len() * 4 / 3 + record.key.len() + 250).sum();
    let mut text = String::with_capacity(size + 600);
    text.push_str("{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_record(&mut text, record);
    }
    text.push(']');
    text
}

fn write_children(text: &mut String, children: Option<&[ShardView]>) {
    let Some(children) = children else { return };
    let children: Vec<Value> = children
        .iter()
        .map(|child| json!({ "ShardId": child.id, "ParentShards": child.parents, "HashKeyRange": range(child.range) }))
        .collect();
    write!(text, ",\"ChildShards\":{}", Value::Array(children)).expect("a string takes text");
}

fn write_record(text: &mut String, record: &Record) {
    let (seconds, millis) = (record.arrival.div_euclid(1000), record.arrival.rem_euclid(1000));
    write!(
        text,
        "{{\"SequenceNumber\":\"{}\",\"ApproximateArrivalTimestamp\":{seconds}.{millis:03},\"PartitionKey\":{},\"Data\":\"{}\"",
        record.sequence,
        Value::from(record.key.as_str()),
        base64::encode(&record.data),
    )
    .expect("a string takes text");
    text.push_str(if record.encrypted { ",\"EncryptionType\":\"KMS\"}" } else { "}" });
}

fn encryption(stream: &Stream) -> &'static str {
    if stream.encryption == Encryption::None { "NONE" } else { "KMS" }
}

/// `StreamDescriptionSummary`.
pub(crate) fn summary(stream: &Stream, now: Millis) -> Value {
    json!({ "StreamDescriptionSummary": {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": stream.status(now).as_str(),
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "StreamCreationTimestamp": seconds(stream.created),
        "RetentionPeriodHours": stream.retention_hours,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": encryption(stream),
        "OpenShardCount": stream.open_count(),
        "MaxRecordSizeInKiB": stream.record_kib_max,
        "ConsumerCount": stream.consumers.count(now),
    } })
}

/// `StreamDescription`, with one page of shards.
pub(crate) fn description(stream: &Stream, shards: &[ShardView], has_more: bool, now: Millis) -> Value {
    let shards: Vec<Value> =
        if stream.status(now) == Status::Creating { Vec::new() } else { shards.iter().map(shard).collect() };
    json!({ "StreamDescription": {
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "StreamStatus": stream.status(now).as_str(),
        "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        "StreamCreationTimestamp": seconds(stream.created),
        "RetentionPeriodHours": stream.retention_hours,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "EncryptionType": encryption(stream),
        "Shards": shards,
        "HasMoreShards": has_more,
    } })
}

/// `Consumer`, as listings and registrations have it.
pub(crate) fn consumer(view: &ConsumerView) -> Value {
    json!({
        "ConsumerName": view.name,
        "ConsumerARN": view.arn,
        "ConsumerStatus": view.status.as_str(),
        "ConsumerCreationTimestamp": seconds(view.created),
    })
}
