//! Two things that the store gets wrong about requests, put right on their way in, because readers would lose or
//! repeat records by them.
//!
//! `AT_TIMESTAMP`: the store keeps arrivals in whole seconds but compares with fractions, so that it passes over what
//! arrived later in the same second; and when nothing is as young as the timestamp it starts at the shard's first
//! record instead of after its last. A reader that turns "from now on" into a timestamp would meet both. So the
//! timestamp is rounded down, which at worst repeats a second, and where no record is as young, the position becomes
//! the next sequence number that the shard will give. (CBOR requests pass as they are.)
//!
//! `StreamARN`: `GetShardIterator` and `ListShards` know streams by name only; the name is taken from the ARN.

use std::time::UNIX_EPOCH;

use axum::body::Bytes;
use ferrokinesis::sequence::{SeqObj, parse_sequence, resolve_shard_id, shard_ix_to_hex, stringify_sequence};
use ferrokinesis::store::Store;
use serde_json::{Map, Value};

/// Whether an operation has requests to mend.
pub(super) fn mends(operation: &str) -> bool {
    ["GetShardIterator", "ListShards"].contains(&operation)
}

/// A request of such an operation as the store understands it. To be called while no change is going on.
pub(super) async fn mended(store: &Store, operation: &str, body: Bytes) -> Bytes {
    let Ok(Value::Object(mut request)) = serde_json::from_slice(&body) else { return body };
    if let Some(stream) = stream_of(store, &request, "StreamARN") {
        request.remove("StreamARN");
        request.entry("StreamName").or_insert(stream.into());
    }
    if operation == "GetShardIterator"
        && let Some(at) = at_timestamp(store, &request).await
    {
        at.place(&mut request);
    }
    Value::Object(request).to_string().into()
}

/// Where a timestamp is in a shard.
enum At {
    Second(f64),
    Next(String),
}

impl At {
    /// As the fields of a request for an iterator.
    fn place(self, request: &mut Map<String, Value>) {
        match self {
            At::Second(second) => drop(request.insert("Timestamp".to_owned(), second.into())),
            At::Next(sequence) => {
                request.remove("Timestamp");
                request.insert("ShardIteratorType".to_owned(), "AT_SEQUENCE_NUMBER".into());
                request.insert("StartingSequenceNumber".to_owned(), sequence.into());
            }
        }
    }
}

/// The place of a request by timestamp; `None` for other requests, and for those that the store will refuse.
async fn at_timestamp(store: &Store, request: &Map<String, Value>) -> Option<At> {
    if text(request, "ShardIteratorType") != "AT_TIMESTAMP" {
        return None;
    }
    let second = request.get("Timestamp")?.as_f64()?.floor();
    if second > now() {
        return None;
    }
    let stream = text(request, "StreamName");
    let (_, shard) = resolve_shard_id(text(request, "ShardId")).ok()?;
    let description = store.get_stream(stream).await.ok()?;
    let next = store.current_shard_seq(stream, shard).await;
    let (start, end) = (shard_ix_to_hex(shard) + "/", shard_ix_to_hex(shard + 1));
    if next == 1 || store.find_first_record_at_timestamp(stream, &start, &end, second).await.is_some() {
        return Some(At::Second(second));
    }
    let shard = description.shards.get(usize::try_from(shard).ok()?)?;
    let first = parse_sequence(&shard.sequence_number_range.starting_sequence_number).ok()?;
    Some(At::Next(stringify_sequence(&SeqObj { seq_ix: Some(next), ..first })))
}

/// Seconds since the epoch.
fn now() -> f64 {
    UNIX_EPOCH.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn stream_of(store: &Store, request: &Map<String, Value>, arn: &str) -> Option<String> {
    store.stream_name_from_arn(request.get(arn)?.as_str()?)
}

fn text<'a>(request: &'a Map<String, Value>, field: &str) -> &'a str {
    request.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ferrokinesis::store::StoreOptions;
    use ferrokinesis::types::{
        EpochSeconds, HashKeyRange, SequenceNumberRange, Shard, StoredRecord, StreamBuilder, StreamStatus,
    };

    use serde_json::json;

    use super::*;

    const SHARD: &str = "shardId-000000000000";
    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/quakes";

    /// A stream of one shard with a record in each of these seconds; their keys.
    async fn stream(seconds: &[f64]) -> (Store, Vec<String>) {
        let store = Store::new(StoreOptions::default());
        let first = SeqObj {
            shard_create_time: 1_000_000,
            seq_ix: None,
            byte1: None,
            seq_time: None,
            seq_rand: None,
            shard_ix: 0,
            version: 2,
        };
        let range =
            SequenceNumberRange { starting_sequence_number: stringify_sequence(&first), ending_sequence_number: None };
        let shard = Shard {
            shard_id: SHARD.to_owned(),
            hash_key_range: HashKeyRange::new("0".to_owned(), u128::MAX.to_string()),
            sequence_number_range: range,
            parent_shard_id: None,
            adjacent_parent_shard_id: None,
        };
        let created = EpochSeconds(1_000.0);
        let stream =
            StreamBuilder::new("quakes".to_owned(), ARN.to_owned(), StreamStatus::Active, created, vec![shard]);
        store.put_stream("quakes", stream.build()).await.expect("the stream is new");
        let mut keys = Vec::new();
        for second in seconds {
            keys.push(put(&store, *second).await);
        }
        (store, keys)
    }

    async fn put(store: &Store, second: f64) -> String {
        let key = store.allocate_sequence("quakes", &0).await.expect("the stream is there").stream_key;
        let record =
            StoredRecord { partition_key: "a".to_owned(), data: String::new(), approximate_arrival_timestamp: second };
        store.put_record("quakes", &key, &record).await.expect("the store takes records");
        key
    }

    async fn iterator_at(store: &Store, timestamp: f64) -> Value {
        let request = json!({
            "StreamARN": ARN, "ShardId": SHARD, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": timestamp,
        });
        let body = mended(store, "GetShardIterator", request.to_string().into()).await;
        serde_json::from_slice(&body).expect("it stays JSON")
    }

    #[tokio::test]
    async fn a_timestamp_finds_what_arrived_later_in_its_second() {
        let (store, _) = stream(&[2_000.0, 3_000.0]).await;
        let request = iterator_at(&store, 2_000.7).await;
        assert_eq!(
            request,
            json!({
                "StreamName": "quakes", "ShardId": SHARD, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 2_000.0,
            })
        );
    }

    #[tokio::test]
    async fn a_timestamp_after_the_last_record_is_the_place_of_the_next_one() {
        let (store, keys) = stream(&[2_000.0, 3_000.0]).await;
        let request = iterator_at(&store, 3_001.0).await;
        assert_eq!(request["ShardIteratorType"], "AT_SEQUENCE_NUMBER");
        let place = format!("00000000/{}", request["StartingSequenceNumber"].as_str().expect("a number"));
        let next = put(&store, 3_001.0).await;
        assert!(keys[1] < place && place <= next, "{place} is between {} and {next}", keys[1]);
    }
}
