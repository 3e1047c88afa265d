//! From JSON to the model and back: the operations.

use aws_smithy_types::base64;
use bytes::Bytes;
use serde_json::{Value, json};

use super::consumers;
use super::input::{Input, invalid, missing};
use super::limits::Limits;
use super::listing::{Filter, Listing};
use super::reading::{ShardIterator, is_shard_id, shard_of};
use super::shard::{ShardView, shard_id};
use super::stream::{Status, Stream};
use super::{ACCOUNT, Kinesis, Model, answers, hash_of};
use crate::simulated::clock::Millis;
use crate::simulated::service::{Answer, Refusal, Service, Subject};

/// `PutRecords` takes this many records at most.
const PUT_RECORDS_MAX: usize = 500;
/// `PutRecords` takes this many bytes of data and keys at most.
const PUT_BYTES_MAX: usize = 10 * 1024 * 1024;
/// A partition key has this many characters at most.
const KEY_CHARS_MAX: usize = 256;
const LIST_STREAMS_DEFAULT: u64 = 100;
const DESCRIBE_SHARDS_DEFAULT: u64 = 100;

const OPERATIONS: &[&str] = &[
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteStream",
    "DeregisterStreamConsumer",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "MergeShards",
    "PutRecord",
    "PutRecords",
    "RegisterStreamConsumer",
    "SplitShard",
    "SubscribeToShard",
    "UpdateShardCount",
];

/// What most operations answer with.
pub(super) type Outcome = Result<Bytes, Refusal>;

pub(super) fn json(value: &Value) -> Outcome {
    Ok(Bytes::from(value.to_string()))
}

pub(super) fn empty() -> Outcome {
    Ok(Bytes::new())
}

impl Service for Kinesis {
    fn target(&self) -> &'static str {
        "Kinesis_20131202"
    }

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn subject(&self, operation: &str, input: &Value) -> Subject {
        let input = Input(input);
        if operation == "GetRecords" {
            let (stream, shard) = input.text("ShardIterator").and_then(shard_of).unzip();
            return Subject { stream, shard, ..Subject::default() };
        }
        let token = || input.text("NextToken").and_then(Listing::decode).map(|listing| listing.stream);
        let consumed = || input.text("ConsumerARN").and_then(consumers::parse).map(|(stream, _)| stream.to_owned());
        let stream = input.stream().ok().map(str::to_owned).or_else(consumed).or_else(token);
        let shard = input.text("ShardId").or_else(|| input.text("ShardToSplit")).or_else(|| input.text("ShardToMerge"));
        Subject { stream, shard: shard.map(str::to_owned), ..Subject::default() }
    }

    fn answer(&self, operation: &str, input: &Value) -> Result<Answer, Refusal> {
        if operation == "SubscribeToShard" {
            return self.subscribe(&Input(input)).map(Answer::Events);
        }
        self.whole(operation, &Input(input)).map(Answer::Whole)
    }
}

impl Kinesis {
    fn whole(&self, operation: &str, input: &Input<'_>) -> Outcome {
        match operation {
            "GetRecords" => self.get_records(input),
            "GetShardIterator" => self.get_shard_iterator(input),
            "ListShards" => self.list_shards(input),
            "PutRecord" => self.put_record(input),
            "PutRecords" => self.put_records(input),
            "ListStreams" => self.list_streams(input),
            "DescribeStream" => self.describe_stream(input),
            "DescribeStreamSummary" => self.with(|model, now| {
                if model.summaries.at(now).0 >= model.limits.summaries {
                    return Err(Refusal::client(
                        "LimitExceededException",
                        format!("Rate exceeded for account {ACCOUNT}."),
                    ));
                }
                model.summaries.add(now, 1);
                json(&answers::summary(model.stream(input.stream()?, now)?, now))
            }),
            "CreateStream" => {
                let (name, shards) = (input.required("StreamName")?, input.required_count("ShardCount")?);
                self.with(|model, now| model.create(name, shards, now))?;
                empty()
            }
            "DeleteStream" => {
                let (name, enforced) = (input.stream()?, input.flag("EnforceConsumerDeletion"));
                self.with(|model, now| {
                    let stream = model.stream(name, now)?;
                    if enforced { Ok(()) } else { stream.check_unconsumed(now) }?;
                    model.delete(name, now)
                })?;
                empty()
            }
            "IncreaseStreamRetentionPeriod" => self.change_retention(input, |hours, old| {
                (hours >= old && hours <= 8760)
                    .then_some(())
                    .ok_or("not be shorter than existing retention period, nor longer than 8760 hours")
            }),
            "DecreaseStreamRetentionPeriod" => self.change_retention(input, |hours, old| {
                (hours <= old && hours >= 24)
                    .then_some(())
                    .ok_or("not be longer than existing retention period, nor shorter than 24 hours")
            }),
            "SplitShard" => {
                let (name, shard) = (input.stream()?, input.required("ShardToSplit")?);
                let at = input.required("NewStartingHashKey")?;
                let at = at.parse().map_err(|_not_a_number| invalid(format!("Invalid NewStartingHashKey {at}.")))?;
                self.with(|model, now| model.reshard(name, now, |stream| stream.split(shard, at, now)))?;
                empty()
            }
            "MergeShards" => {
                let (name, shard) = (input.stream()?, input.required("ShardToMerge")?);
                let adjacent = input.required("AdjacentShardToMerge")?;
                self.with(|model, now| model.reshard(name, now, |stream| stream.merge(shard, adjacent, now)))?;
                empty()
            }
            "UpdateShardCount" => self.update_shard_count(input),
            "RegisterStreamConsumer" => self.register_stream_consumer(input),
            "DescribeStreamConsumer" => self.describe_stream_consumer(input),
            "ListStreamConsumers" => self.list_stream_consumers(input),
            "DeregisterStreamConsumer" => self.deregister_stream_consumer(input),
            _ => Err(Refusal::client("UnknownOperationException", String::new())),
        }
    }

    fn get_records(&self, input: &Input<'_>) -> Outcome {
        let text = input.required("ShardIterator")?;
        let iterator = ShardIterator::decode(text).ok_or_else(|| invalid("Invalid ShardIterator."))?;
        let limit = input.count("Limit").unwrap_or(10_000);
        if !(1..=10_000).contains(&limit) {
            return Err(invalid(format!("Limit {limit} is not between 1 and 10000.")));
        }
        let page = self.with(|model, now| {
            let limits = model.limits;
            let stream = model.stream(&iterator.stream, now)?;
            stream.page(&iterator, usize::try_from(limit).unwrap_or(usize::MAX), now, &limits)
        })?;
        Ok(answers::page(&page))
    }

    fn get_shard_iterator(&self, input: &Input<'_>) -> Outcome {
        let (name, shard, kind) = (input.stream()?, input.required("ShardId")?, input.required("ShardIteratorType")?);
        if !is_shard_id(shard) {
            let message = format!("Could not find shard {shard} in stream {name} under account {ACCOUNT}.");
            return Err(Refusal::client("ResourceNotFoundException", message));
        }
        let sequence = input.text("StartingSequenceNumber");
        let from = input.start_at(kind, sequence)?;
        let iterator = self.with(|model, now| {
            let limits = model.limits;
            model.stream(name, now)?.iterator(shard, &from, now, &limits)
        })?;
        json(&json!({ "ShardIterator": iterator.encode() }))
    }

    fn list_shards(&self, input: &Input<'_>) -> Outcome {
        let (shards, next) = self.with(|model, now| {
            let limits = model.limits;
            let listing = first_or_following(input, model, now)?;
            model.stream(&listing.stream, now)?.list(&listing, now, &limits)
        })?;
        let mut answer = json!({ "Shards": shards.iter().map(answers::shard).collect::<Vec<_>>() });
        if let Some(next) = next {
            answer["NextToken"] = json!(next.encode());
        }
        json(&answer)
    }

    fn describe_stream(&self, input: &Input<'_>) -> Outcome {
        let name = input.stream()?;
        let limit = usize::try_from(input.count("Limit").unwrap_or(DESCRIBE_SHARDS_DEFAULT)).unwrap_or(usize::MAX);
        self.with(|model, now| {
            let stream = model.stream(name, now)?;
            stream.refresh_all(now);
            let from = stream.after(input.text("ExclusiveStartShardId"))?;
            let mut shards: Vec<ShardView> =
                stream.listed(now, from).take(limit.saturating_add(1)).map(|(_, view)| view).collect();
            let has_more = shards.len() > limit;
            shards.truncate(limit);
            json(&answers::description(stream, &shards, has_more, now))
        })
    }

    fn list_streams(&self, input: &Input<'_>) -> Outcome {
        let after = input.text("NextToken").or_else(|| input.text("ExclusiveStartStreamName"));
        let limit = usize::try_from(input.count("Limit").unwrap_or(LIST_STREAMS_DEFAULT)).unwrap_or(usize::MAX);
        let names: Vec<String> = self.with(|model, now| {
            let known: Vec<String> = model.streams.keys().cloned().collect();
            known.into_iter().filter(|name| model.stream(name, now).is_ok()).collect()
        });
        let mut rest = names.iter().filter(|name| after.is_none_or(|after| name.as_str() > after));
        let page: Vec<&String> = rest.by_ref().take(limit).collect();
        let mut answer = json!({ "StreamNames": page, "HasMoreStreams": false });
        if let (Some(_), Some(last)) = (rest.next(), page.last()) {
            answer["HasMoreStreams"] = json!(true);
            answer["NextToken"] = json!(last);
        }
        json(&answer)
    }

    fn put_record(&self, input: &Input<'_>) -> Outcome {
        let (name, entry) = (input.stream()?, entry(input)?);
        self.with(|model, now| {
            let limits = model.limits;
            let stream = model.stream(name, now)?;
            check_writable(stream, now)?;
            entry.check(stream)?;
            json(&write(stream, entry, now, &limits)?)
        })
    }

    fn put_records(&self, input: &Input<'_>) -> Outcome {
        let name = input.stream()?;
        let entries = input.0.get("Records").and_then(Value::as_array).ok_or_else(|| missing("Records"))?;
        if !(1..=PUT_RECORDS_MAX).contains(&entries.len()) {
            return Err(invalid(format!("{} records, which are not between 1 and 500.", entries.len())));
        }
        // One entry that is wrong refuses them all; one that is too much fails alone.
        let entries = entries.iter().map(|value| entry(&Input(value))).collect::<Result<Vec<_>, _>>()?;
        if entries.iter().map(Entry::size).sum::<usize>() > PUT_BYTES_MAX {
            return Err(invalid(format!("Records' total data + partition key payload exceeds {PUT_BYTES_MAX} bytes")));
        }
        let (results, failed) = self.with(|model, now| {
            let limits = model.limits;
            let stream = model.stream(name, now)?;
            check_writable(stream, now)?;
            entries.iter().try_for_each(|entry| entry.check(stream))?;
            let mut failed = 0;
            let write = |entry| match write(stream, entry, now, &limits) {
                Ok(written) => written,
                Err(refusal) => {
                    failed += 1;
                    json!({ "ErrorCode": refusal.code, "ErrorMessage": refusal.message })
                }
            };
            let results: Vec<Value> = entries.into_iter().map(write).collect();
            Ok((results, failed))
        })?;
        json(&json!({ "FailedRecordCount": failed, "Records": results }))
    }

    fn change_retention(&self, input: &Input<'_>, check: impl Fn(u32, u32) -> Result<(), &'static str>) -> Outcome {
        let (name, hours) = (input.stream()?, input.required_count("RetentionPeriodHours")?);
        self.with(|model, now| {
            let stream = model.stream(name, now)?;
            check(hours, stream.retention_hours).map_err(|rule| {
                invalid(format!("Requested retention period ({hours} hours) for stream {name} can {rule}."))
            })?;
            stream.retention_hours = hours;
            empty()
        })
    }

    fn update_shard_count(&self, input: &Input<'_>) -> Outcome {
        let (name, target) = (input.stream()?, input.required_count("TargetShardCount")?);
        self.with(|model, now| {
            let current = model.stream(name, now)?.open_count();
            let wanted = target as usize;
            if wanted > current * 2 || wanted < current.div_ceil(2) {
                return Err(invalid(format!(
                    "UpdateShardCount cannot scale from {current} to {target} shards: more than double or less than half."
                )));
            }
            model.reshard(name, now, |stream| stream.scale(target, now))?;
            json(&json!({ "StreamName": name, "CurrentShardCount": current, "TargetShardCount": target }))
        })
    }
}

/// The page that a request of `ListShards` asks for.
fn first_or_following(input: &Input<'_>, model: &mut Model, now: Millis) -> Result<Listing, Refusal> {
    if let Some(token) = input.text("NextToken") {
        for member in ["StreamName", "StreamARN", "ShardFilter", "ExclusiveStartShardId", "StreamCreationTimestamp"] {
            if input.0.get(member).is_some_and(|value| !value.is_null()) {
                return Err(invalid(format!("NextToken and {member} cannot be provided together.")));
            }
        }
        let listing = Listing::decode(token).ok_or_else(|| invalid("NextToken is invalid."))?;
        let size =
            input.count("MaxResults").map_or(listing.size, |asked| Listing::page_size(Some(asked), &model.limits));
        return Ok(Listing { size, ..listing });
    }
    let (name, limits) = (input.stream()?, model.limits);
    let stream = model.stream(name, now)?;
    Ok(Listing {
        stream: name.to_owned(),
        created: stream.created,
        filter: filter(input)?,
        from: stream.after(input.text("ExclusiveStartShardId"))?,
        size: Listing::page_size(input.count("MaxResults"), &limits),
        issued: now,
    })
}

fn filter(input: &Input<'_>) -> Result<Filter, Refusal> {
    let Some(filter) = input.0.get("ShardFilter").filter(|filter| !filter.is_null()).map(Input) else {
        return Ok(Filter::All);
    };
    let timestamp =
        || filter.timestamp("Timestamp").ok_or_else(|| invalid("Timestamp is required for this ShardFilter."));
    match filter.required("Type")? {
        "AFTER_SHARD_ID" => {
            let id = filter.text("ShardId").ok_or_else(|| invalid("ShardId is required for this ShardFilter."))?;
            let number = super::shard::shard_number(id).ok_or_else(|| invalid(format!("Invalid ShardId {id}.")))?;
            Ok(Filter::AfterShard(number))
        }
        "AT_TRIM_HORIZON" => Ok(Filter::AtTrimHorizon),
        "FROM_TRIM_HORIZON" => Ok(Filter::FromTrimHorizon),
        "AT_LATEST" => Ok(Filter::AtLatest),
        "AT_TIMESTAMP" => Ok(Filter::AtTimestamp(timestamp()?)),
        "FROM_TIMESTAMP" => Ok(Filter::FromTimestamp(timestamp()?)),
        other => Err(invalid(format!("Invalid ShardFilter type {other}."))),
    }
}

/// One entry of `PutRecord` or `PutRecords`, checked.
struct Entry<'a> {
    key: &'a str,
    data: Vec<u8>,
    hash: u128,
}

impl Entry<'_> {
    fn size(&self) -> usize {
        self.data.len() + self.key.len()
    }

    /// Whether the stream takes records of this size.
    fn check(&self, stream: &Stream) -> Result<(), Refusal> {
        let (size, max) = (self.size(), stream.record_kib_max * 1024);
        let refusal = || invalid(format!("Record of {size} bytes, its partition key included, exceeds {max} bytes."));
        (size <= max).then_some(()).ok_or_else(refusal)
    }
}

fn entry<'a>(input: &Input<'a>) -> Result<Entry<'a>, Refusal> {
    let (key, data) = (input.required("PartitionKey")?, input.required("Data")?);
    if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) {
        let message = format!(
            "1 validation error detected: Value '{key}' at 'partitionKey' failed to satisfy constraint: Member must have length between 1 and {KEY_CHARS_MAX}"
        );
        return Err(Refusal::client("ValidationException", message));
    }
    let data =
        base64::decode(data).map_err(|_malformed| Refusal::client("SerializationException", "Data is no base64."))?;
    let hash = match input.text("ExplicitHashKey") {
        None => hash_of(key),
        Some(text) => text.parse().map_err(|_not_a_number| {
            invalid(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
            ))
        })?,
    };
    Ok(Entry { key, data, hash })
}

fn check_writable(stream: &Stream, now: Millis) -> Result<(), Refusal> {
    if stream.status(now) == Status::Creating {
        stream.check_active(now)?;
    }
    stream.check_key()
}

fn write(stream: &mut Stream, entry: Entry<'_>, now: Millis, limits: &Limits) -> Result<Value, Refusal> {
    let Entry { key, data, hash } = entry;
    stream.check_entry(hash)?;
    let record = stream.put(hash, (key.to_owned(), data), now, limits)?;
    let mut written = json!({ "ShardId": shard_id(record.shard), "SequenceNumber": record.sequence.to_string() });
    if record.encrypted {
        written["EncryptionType"] = json!("KMS");
    }
    Ok(written)
}
