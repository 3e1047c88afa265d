//! `SubscribeToShard`. The store checks a request and refuses what it must; what is granted is pushed from here, because
//! of a position the store's own check leaves nothing but the type, so that it would begin at the oldest record, and
//! because it looks for records at intervals.
//!
//! - **A turn wakes.** Whatever a turn changed is looked at as soon as the journal has it, and told if it is the shard's.
//!   While nothing arrives, there is an event at every [`PULSE`], which tells readers that they are not forgotten.
//! - **A look is one moment.** It is taken while no turn goes on: it shows nothing that a kill would unmake, and a shard
//!   that is closed in it has no more records to come. So the last event of a closed shard is known to be the last. It
//!   alone tells the children, and nowhere to go on.
//! - **A position is the number of what was read.** Each kind of position becomes one, and the first record behind it is
//!   the first to be told; what an event tells for going on is such a number as well.
//! - **A shard has one subscription of a consumer.** Another one is refused for five seconds and then takes over, as in
//!   Kinesis; but one whose client has gone keeps nobody out.
//!
//! Requests in CBOR are left to the store, with its faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use ferrokinesis::event_stream::{encode_exception, encode_initial_response, encode_subscribe_event};
use ferrokinesis::sequence::stringify_sequence;
use ferrokinesis::sequence::{SeqObj, increment_sequence, parse_sequence, resolve_shard_id, shard_ix_to_hex};
use ferrokinesis::store::Store;
use ferrokinesis::types::{Shard, StoredRecord, Stream};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, refusal};

/// The operation.
pub(super) const SUBSCRIBE: &str = "SubscribeToShard";
/// The longest silence between two events. Kinesis takes seconds; a first run should not.
const PULSE: Duration = Duration::from_millis(200);
/// How long a subscription lasts.
const SESSION: Duration = Duration::from_secs(300);
/// For so long a subscription cannot be taken over.
const EXCLUSIVE: Duration = Duration::from_secs(5);
/// What one event holds at most: records, and bytes of their data as base64, where the last record may exceed them.
const EVENT_RECORDS_MAX: usize = 2_000;
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Further than any record is stamped ahead of the clock, in milliseconds.
const AHEAD: u64 = 60_000;

/// Who is subscribed to what: consumer and shard.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<BTreeMap<(String, String), Holder>>);

#[derive(Debug)]
struct Holder {
    since: Instant,
    evicted: CancellationToken,
}

/// The right to be told of a shard, until it is dropped or taken over.
struct Seat {
    seats: Arc<Seats>,
    key: (String, String),
    evicted: CancellationToken,
}

impl Seats {
    /// `None` while another subscription cannot be taken over.
    fn take(self: &Arc<Seats>, key: (String, String)) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = seats.get(&key) {
            if holder.since.elapsed() < EXCLUSIVE {
                return None;
            }
            holder.evicted.cancel();
        }
        let evicted = CancellationToken::new();
        seats.insert(key.clone(), Holder { since: Instant::now(), evicted: evicted.clone() });
        Some(Seat { seats: Arc::clone(self), key, evicted })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.evicted.is_cancelled() {
            seats.remove(&self.key);
        }
    }
}

/// What a request asks for; the store has looked at it.
pub(super) struct Asked {
    consumer: String,
    shard: String,
    position: Map<String, Value>,
}

impl Asked {
    /// `None` for what is not JSON or not complete.
    pub(super) fn parse(body: &[u8]) -> Option<Asked> {
        let Ok(Value::Object(mut request)) = serde_json::from_slice(body) else { return None };
        let Some(Value::Object(position)) = request.remove("StartingPosition") else { return None };
        Some(Asked { consumer: text(&request, "ConsumerARN")?, shard: text(&request, "ShardId")?, position })
    }
}

fn text(fields: &Map<String, Value>, field: &str) -> Option<String> {
    fields.get(field).and_then(Value::as_str).map(str::to_owned)
}

/// Pushes what the store has granted; `granted` is its answer, whose own events are not used.
pub(super) async fn push(gate: Arc<Gate>, asked: Asked, granted: Response) -> Response {
    let refused = |code, message: &str| refusal(StatusCode::BAD_REQUEST, code, message);
    let changes = gate.changed.subscribe();
    let Some(place) = Place::of(&gate.store, &asked).await else {
        return refused("ResourceNotFoundException", "the stream or the shard is gone");
    };
    let Some(after) = place.start(&gate.store, &asked.position).await else {
        return refused("InvalidArgumentException", "StartingPosition names no place in the shard");
    };
    let Some(seat) = gate.seats.take((asked.consumer, place.shard.clone())) else {
        return refused(
            "ResourceInUseException",
            "the consumer was subscribed to the shard within the last five seconds",
        );
    };
    let now = Instant::now();
    let push =
        Push { gate, place, seat, changes, after, known: None, due: now, ends: now + SESSION, stage: Stage::Granted };
    let (parts, _) = granted.into_parts();
    Response::from_parts(parts, Body::from_stream(stream::unfold(push, Push::next)))
}

/// A shard of a stream.
struct Place {
    stream: String,
    shard: String,
    index: i64,
    /// The number before all of its records.
    first: SeqObj,
}

impl Place {
    async fn of(store: &Store, asked: &Asked) -> Option<Place> {
        let (arn, _) = asked.consumer.split_once("/consumer/")?;
        let stream = store.stream_name_from_arn(arn)?;
        let (shard, index) = resolve_shard_id(&asked.shard).ok()?;
        let description = store.get_stream(&stream).await.ok()?;
        let range = &description.shards.get(usize::try_from(index).ok()?)?.sequence_number_range;
        Some(Place { first: parse_sequence(&range.starting_sequence_number).ok()?, stream, shard, index })
    }

    /// A number behind which the first record is that of an index, and before which are all those of lower indices.
    fn before(&self, index: u64) -> String {
        let time = millis_since_epoch() + AHEAD;
        match index.checked_sub(1) {
            None | Some(0) => stringify_sequence(&self.first),
            last => stringify_sequence(&SeqObj { seq_ix: last, seq_time: Some(time), ..self.first.clone() }),
        }
    }

    /// The number of what was read before a position; `None` for a position that is none of this shard.
    async fn start(&self, store: &Store, position: &Map<String, Value>) -> Option<String> {
        match position.get("Type")?.as_str()? {
            "TRIM_HORIZON" => Some(self.before(0)),
            "LATEST" => Some(self.before(store.current_shard_seq(&self.stream, self.index).await)),
            "AT_SEQUENCE_NUMBER" => Some(self.before(self.number(position)?.seq_ix?)),
            "AFTER_SEQUENCE_NUMBER" => self.number(position).map(|number| stringify_sequence(&number)),
            "AT_TIMESTAMP" => {
                // Arrivals are whole seconds: what arrived later in that second is not to be missed.
                let second = position.get("Timestamp")?.as_f64()?.floor();
                let (start, end) = (self.key(""), shard_ix_to_hex(self.index + 1));
                let next = store.current_shard_seq(&self.stream, self.index).await;
                let found = store.find_first_record_at_timestamp(&self.stream, &start, &end, second).await;
                let index = found.and_then(|(key, _)| parse_sequence(sequence(&key)).ok()?.seq_ix);
                Some(self.before(index.unwrap_or(next)))
            }
            _ => None,
        }
    }

    fn number(&self, position: &Map<String, Value>) -> Option<SeqObj> {
        let number = parse_sequence(position.get("SequenceNumber")?.as_str()?).ok()?;
        (number.shard_ix == self.index && number.version == 2).then_some(number)
    }

    /// The store's key of a sequence number.
    fn key(&self, sequence: &str) -> String {
        format!("{}/{sequence}", shard_ix_to_hex(self.index))
    }
}

/// The sequence number in a key of the store.
fn sequence(key: &str) -> &str {
    key.split_once('/').map_or("", |(_, sequence)| sequence)
}

fn millis_since_epoch() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

enum Stage {
    Granted,
    Pushing,
    Over,
}

/// A subscription under way.
struct Push {
    gate: Arc<Gate>,
    place: Place,
    seat: Seat,
    /// How many turns changed streams; told at every turn.
    changes: watch::Receiver<u64>,
    /// The number of what was told last.
    after: String,
    /// What of the shard was seen at the last look: the index that its next record will have, and that count.
    known: Option<(u64, u64)>,
    /// When there should be an event, be there records or not.
    due: Instant,
    ends: Instant,
    stage: Stage,
}

/// What a look found.
enum Seen {
    /// An event.
    Event(Value),
    /// The last event.
    Last(Value),
    /// Nothing new, and no event is due.
    Nothing,
    /// The stream or the consumer, in words.
    Gone(String),
}

impl Push {
    /// The next frame.
    async fn next(mut self) -> Option<(Result<Bytes, io::Error>, Push)> {
        let frame = match self.stage {
            Stage::Granted => {
                self.stage = Stage::Pushing;
                Some(Ok(encode_initial_response()))
            }
            Stage::Pushing => self.pushed().await,
            Stage::Over => None,
        };
        frame.map(|frame| (frame.map(Bytes::from).map_err(io::Error::other), self))
    }

    async fn pushed(&mut self) -> Option<Result<Vec<u8>, &'static str>> {
        loop {
            if self.seat.evicted.is_cancelled() {
                self.stage = Stage::Over;
                return Some(Ok(encode_exception("ResourceInUseException", "another subscription took over")));
            }
            if Instant::now() >= self.ends {
                return None;
            }
            match self.look().await {
                Err(reason) => {
                    self.stage = Stage::Over;
                    return Some(Err(reason));
                }
                Ok(Seen::Gone(what)) => {
                    self.stage = Stage::Over;
                    return Some(Ok(encode_exception("ResourceNotFoundException", &what)));
                }
                Ok(Seen::Last(event)) => {
                    self.stage = Stage::Over;
                    return Some(Ok(encoded(&event)));
                }
                Ok(Seen::Event(event)) => {
                    self.due = Instant::now() + PULSE;
                    return Some(Ok(encoded(&event)));
                }
                Ok(Seen::Nothing) => tokio::select! {
                    _ = self.changes.changed() => {}
                    () = sleep_until(self.due.min(self.ends)) => {}
                    () = self.seat.evicted.cancelled() => {}
                },
            }
        }
    }

    async fn look(&mut self) -> Result<Seen, &'static str> {
        let _no_change = self.gate.shown().await?;
        let is_due = Instant::now() >= self.due;
        let streams = *self.changes.borrow_and_update();
        let store = &self.gate.store;
        let known = (store.current_shard_seq(&self.place.stream, self.place.index).await, streams);
        if self.known == Some(known) && !is_due {
            return Ok(Seen::Nothing);
        }
        let stream = match store.get_stream(&self.place.stream).await {
            Ok(stream) => stream,
            Err(error) => {
                let told = error.body.message;
                return Ok(Seen::Gone(told.unwrap_or_else(|| format!("Stream {} not found.", self.place.stream))));
            }
        };
        if store.get_consumer(&self.seat.key.0).await.is_none() {
            return Ok(Seen::Gone(format!("Consumer {} not found.", self.seat.key.0)));
        }
        let page = self.page(&stream).await;
        if let Some(last) = page.last {
            self.after = last;
        }
        // What is left is looked at again at once.
        self.known = page.behind.is_none().then_some(known);
        let children = match page.behind {
            None => self.children(&stream),
            Some(_) => None,
        };
        let mut event = json!({
            "Records": page.records.iter().map(|(key, record)| told(key, record)).collect::<Vec<_>>(),
            "MillisBehindLatest": page.behind.unwrap_or(0),
        });
        if let Some(children) = children {
            event["ChildShards"] = children;
            return Ok(Seen::Last(event));
        }
        if page.records.is_empty() && page.behind.is_none() && !is_due {
            return Ok(Seen::Nothing);
        }
        event["ContinuationSequenceNumber"] = self.after.clone().into();
        Ok(Seen::Event(event))
    }

    /// What comes next, as much as one event holds.
    async fn page(&self, stream: &Stream) -> Page {
        let kept = u64::from(stream.retention_period_hours) * 3_600_000;
        let cutoff = Duration::from_millis(millis_since_epoch().saturating_sub(kept)).as_secs_f64().floor();
        let next =
            parse_sequence(&self.after).map_or_else(|_| self.after.clone(), |after| increment_sequence(&after, None));
        let (start, end) = (self.place.key(&next), shard_ix_to_hex(self.place.index + 1));
        let found =
            self.gate.store.get_records_range_limited(&self.place.stream, &start, &end, EVENT_RECORDS_MAX).await;
        let (mut bytes, count) = (0, found.len());
        let within = found.into_iter().take_while(|(_, record)| {
            let fits = bytes < EVENT_BYTES_MAX;
            bytes += record.data.len();
            fits
        });
        let mut records: Vec<_> = within.collect();
        let is_whole = records.len() == count && count < EVENT_RECORDS_MAX;
        let arrival = records.last().map(|(_, record)| record.approximate_arrival_timestamp);
        let last = records.last().map(|(key, _)| sequence(key).to_owned());
        let age = |arrival: f64| UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64() - arrival;
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds within retention")]
        let behind = arrival.filter(|_| !is_whole).map(|arrival| ((age(arrival) * 1_000.0) as i64).max(1));
        records.retain(|(_, record)| record.approximate_arrival_timestamp >= cutoff);
        Page { records, last, behind }
    }

    /// The children of the shard, once it is closed.
    fn children(&self, stream: &Stream) -> Option<Value> {
        let shard = stream.shards.get(usize::try_from(self.place.index).ok()?)?;
        shard.sequence_number_range.ending_sequence_number.as_ref()?;
        let parents = |child: &Shard| -> Vec<String> {
            [&child.parent_shard_id, &child.adjacent_parent_shard_id].into_iter().flatten().cloned().collect()
        };
        let child = |child: &Shard| json!({ "ShardId": child.shard_id, "ParentShards": parents(child), "HashKeyRange": child.hash_key_range });
        let children = stream.shards.iter().filter(|child| parents(child).contains(&self.place.shard));
        Some(children.map(child).collect())
    }
}

/// A part of what is there.
struct Page {
    /// Those that are not past retention.
    records: Vec<(String, StoredRecord)>,
    /// The number of the last one, be it past retention or not.
    last: Option<String>,
    /// By how many milliseconds it is behind, if there are more.
    behind: Option<i64>,
}

fn told(key: &str, record: &StoredRecord) -> Value {
    json!({
        "SequenceNumber": sequence(key),
        "PartitionKey": record.partition_key,
        "Data": record.data,
        "ApproximateArrivalTimestamp": record.approximate_arrival_timestamp,
    })
}

fn encoded(event: &Value) -> Vec<u8> {
    encode_subscribe_event(event.to_string().as_bytes(), "application/json")
}
