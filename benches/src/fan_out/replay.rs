//! A service that costs next to nothing: every event was made before anybody asked, and goes out as it is. It answers what
//! readers by enhanced fan-out ask for, and all shards of a stream hold the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ferrokinesis::event_stream::{encode_initial_response, encode_subscribe_event};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::STRING;
use crate::events::partition_key;
use crate::pipeline::REGION;

/// What an event holds at most, as with AWS.
const EVENT_RECORDS_MAX: u64 = 10_000;
const EVENT_BYTES_MAX: u64 = 2 << 20;
/// Bytes of a partition key.
const KEY_BYTES: u64 = 16;

/// A stream.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) shards: u32,
    /// In all shards together, a multiple of their number.
    pub(crate) records: u64,
    /// Bytes of a record, one more than a multiple of three.
    pub(crate) size: u64,
}

/// It listens for as long as this lives.
pub(crate) struct Replay {
    pub(crate) endpoint: String,
    server: JoinHandle<std::io::Result<()>>,
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shelf = Arc<BTreeMap<String, Held>>;

struct Held {
    shards: u32,
    /// What a subscription says, the frame that opens it first.
    frames: Arc<[Bytes]>,
}

impl Replay {
    /// Makes all events, and listens.
    pub(crate) async fn start(streams: impl IntoIterator<Item = Stream>) -> Result<Self> {
        let held = |stream: Stream| (arn(stream.name), Held { shards: stream.shards, frames: frames(stream) });
        let shelf: Shelf = Arc::new(streams.into_iter().map(held).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.context("loopback has no free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(answer).with_state(shelf);
        Ok(Self { endpoint, server: tokio::spawn(async move { axum::serve(listener, app).await }) })
    }
}

/// The ARN of a stream.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:000000000000:stream/{name}")
}

async fn answer(State(shelf): State<Shelf>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = |member: &str| input[member].as_str().unwrap_or_default().to_owned();
    let consumer = asked("ConsumerARN");
    let stream = consumer.split_once("/consumer/").map_or_else(|| asked("StreamARN"), |(stream, _)| stream.to_owned());
    let Some(Held { shards, frames }) = shelf.get(&stream) else {
        return (StatusCode::BAD_REQUEST, r#"{"__type":"ResourceNotFoundException"}"#).into_response();
    };
    let described = |arn: &str| {
        let name = arn.rsplit(['/', ':']).nth(1).unwrap_or_default();
        json!({ "ConsumerName": name, "ConsumerARN": arn, "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1 })
    };
    let whole = |answer: Value| ([("content-type", "application/x-amz-json-1.1")], answer.to_string()).into_response();
    match target.rsplit('.').next().unwrap_or_default() {
        "DescribeStreamSummary" => whole(json!({ "StreamDescriptionSummary": {
            "StreamName": stream.rsplit('/').next(),
            "StreamARN": stream,
            "StreamStatus": "ACTIVE",
            "StreamCreationTimestamp": 1,
            "RetentionPeriodHours": 24,
            "EnhancedMonitoring": [],
            "OpenShardCount": shards,
        } })),
        "ListShards" => {
            whole(json!({ "Shards": (0..*shards).map(|shard| listed(shard, *shards)).collect::<Vec<_>>() }))
        }
        "RegisterStreamConsumer" => {
            whole(json!({ "Consumer": described(&format!("{stream}/consumer/{}:1", asked("ConsumerName"))) }))
        }
        "DescribeStreamConsumer" if consumer.is_empty() => {
            (StatusCode::BAD_REQUEST, r#"{"__type":"ResourceNotFoundException"}"#).into_response()
        }
        "DescribeStreamConsumer" => whole(json!({ "ConsumerDescription": described(&consumer) })),
        "DeregisterStreamConsumer" => whole(json!({})),
        "SubscribeToShard" => {
            let frames = Arc::clone(frames);
            let pushed = stream::iter(0..frames.len()).map(move |index| Ok::<_, Infallible>(frames[index].clone()));
            let body = Body::from_stream(pushed.chain(stream::pending()));
            ([("content-type", "application/vnd.amazon.eventstream")], body).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, r#"{"__type":"UnknownOperationException"}"#).into_response(),
    }
}

fn listed(shard: u32, shards: u32) -> Value {
    let width = u128::MAX / u128::from(shards);
    let start = width * u128::from(shard);
    let end = if shard + 1 == shards { u128::MAX } else { start + width - 1 };
    json!({
        "ShardId": format!("shardId-{shard:012}"),
        "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
        "SequenceNumberRange": { "StartingSequenceNumber": sequence_number(0) },
    })
}

/// As long as AWS's.
fn sequence_number(number: u64) -> String {
    format!("49{number:054}")
}

/// What each shard says from its beginning to its end: events that are full, and one that is empty.
fn frames(stream: Stream) -> Arc<[Bytes]> {
    let records = stream.records / u64::from(stream.shards);
    let of_each = EVENT_RECORDS_MAX.min(EVENT_BYTES_MAX / (stream.size + KEY_BYTES));
    let mut frames = vec![Bytes::from(encode_initial_response())];
    let mut number = 0;
    while number < records {
        let end = records.min(number + of_each);
        frames.push(event(stream.size, number..end, 1_000));
        number = end;
    }
    frames.push(event(stream.size, records..records, 0));
    frames.into()
}

fn event(size: u64, numbers: Range<u64>, behind: u64) -> Bytes {
    // Base64 of as many times `x`.
    let data = format!("{}eA==", "eHh4".repeat(usize::try_from(size / 3).unwrap_or(0)));
    let now = UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs());
    let mut text = String::from("{\"Records\":[");
    for number in numbers.clone() {
        let comma = if number == numbers.start { "" } else { "," };
        write!(
            text,
            "{comma}{{\"SequenceNumber\":\"{}\",\"ApproximateArrivalTimestamp\":{now}.{:03},\"PartitionKey\":\"{}\",\"Data\":\"{data}\"}}",
            sequence_number(number + 1),
            number % 1_000,
            partition_key(number),
        )
        .expect(STRING);
    }
    let continuation = sequence_number(numbers.end);
    write!(text, "],\"ContinuationSequenceNumber\":\"{continuation}\",\"MillisBehindLatest\":{behind}}}")
        .expect(STRING);
    encode_subscribe_event(text.as_bytes(), "application/json").into()
}
