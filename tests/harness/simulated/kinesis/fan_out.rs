//! From JSON to the model and back: the operations of enhanced fan-out.

use serde_json::{Value, json};

use super::consumers::{no_such_arn, parse};
use super::input::{Input, invalid, missing};
use super::reading::is_shard_id;
use super::requests::{Outcome, empty, json};
use super::subscription::Subscription;
use super::{Kinesis, Model, answers};
use crate::simulated::clock::Millis;
use crate::simulated::service::{Events, Refusal};

const LIST_CONSUMERS_DEFAULT: u64 = 100;

/// The stream's and the consumer's name that a request tells, by ARN or by both names, and the ARN if it does.
fn named<'a>(input: &Input<'a>) -> Result<(&'a str, &'a str, Option<&'a str>), Refusal> {
    let Some(arn) = input.text("ConsumerARN") else {
        input.required("StreamARN")?;
        return Ok((input.stream()?, input.required("ConsumerName")?, None));
    };
    let (stream, consumer) = parse(arn).ok_or_else(|| invalid(format!("Invalid ConsumerARN {arn}.")))?;
    if input.text("ConsumerName").is_some_and(|name| name != consumer)
        || (input.text("StreamARN").is_some() && input.stream()? != stream)
    {
        return Err(invalid("ConsumerARN does not match StreamARN and ConsumerName."));
    }
    Ok((stream, consumer, Some(arn)))
}

/// Whether a name can be a consumer's.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

/// Refuses an ARN whose stream is not there, or whose consumer is another one by now.
fn check_arn(model: &mut Model, (stream, name, arn): (&str, &str, Option<&str>), now: Millis) -> Result<(), Refusal> {
    let Some(arn) = arn else { return Ok(()) };
    let consumer = model.stream(stream, now)?.consumer(name, now).map_err(|_by_name| no_such_arn(arn))?;
    if consumer.arn == arn { Ok(()) } else { Err(no_such_arn(arn)) }
}

impl Kinesis {
    pub(super) fn register_stream_consumer(&self, input: &Input<'_>) -> Outcome {
        input.required("StreamARN")?;
        let (stream, name) = (input.stream()?, input.required("ConsumerName")?);
        if !is_name(name) {
            return Err(invalid(format!("Invalid ConsumerName {name}.")));
        }
        let view = self.with(|model, now| {
            let (limits, until) = (model.limits, model.until(now));
            model.stream(stream, now)?.register(name, now, until, &limits)
        })?;
        json(&json!({ "Consumer": answers::consumer(&view) }))
    }

    pub(super) fn describe_stream_consumer(&self, input: &Input<'_>) -> Outcome {
        let (stream, name, arn) = named(input)?;
        let view = self.with(|model, now| {
            check_arn(model, (stream, name, arn), now)?;
            let limits = model.limits;
            model.stream(stream, now)?.describe_consumer(name, now, &limits)
        })?;
        let mut description = answers::consumer(&view);
        description["StreamARN"] = json!(self.arn(stream));
        json(&json!({ "ConsumerDescription": description }))
    }

    pub(super) fn list_stream_consumers(&self, input: &Input<'_>) -> Outcome {
        input.required("StreamARN")?;
        let (stream, after) = (input.stream()?, input.text("NextToken"));
        let size = usize::try_from(input.count("MaxResults").unwrap_or(LIST_CONSUMERS_DEFAULT)).unwrap_or(usize::MAX);
        let consumers = self.with(|model, now| Ok(model.stream(stream, now)?.all_consumers(now)))?;
        let mut rest = consumers.iter().filter(|consumer| after.is_none_or(|after| consumer.name.as_str() > after));
        let page: Vec<_> = rest.by_ref().take(size.max(1)).collect();
        let shown: Vec<Value> = page.iter().copied().map(answers::consumer).collect();
        let mut answer = json!({ "Consumers": shown });
        if let (Some(_), Some(last)) = (rest.next(), page.last()) {
            answer["NextToken"] = json!(last.name);
        }
        json(&answer)
    }

    pub(super) fn deregister_stream_consumer(&self, input: &Input<'_>) -> Outcome {
        let (stream, name, arn) = named(input)?;
        self.with(|model, now| {
            check_arn(model, (stream, name, arn), now)?;
            let until = model.until(now);
            model.stream(stream, now)?.deregister(name, now, until)
        })?;
        empty()
    }

    pub(super) fn subscribe(&self, input: &Input<'_>) -> Result<Events, Refusal> {
        let (arn, id) = (input.required("ConsumerARN")?, input.required("ShardId")?);
        let (stream_name, name, _) = named(input)?;
        let position = input.0.get("StartingPosition").map(Input).ok_or_else(|| missing("StartingPosition"))?;
        let from = position.start_at(position.required("Type")?, position.text("SequenceNumber"))?;
        let subscription = self.with(|model, now| {
            check_arn(model, (stream_name, name, Some(arn)), now)?;
            let limits = model.limits;
            let stream = model.stream(stream_name, now)?;
            if !is_shard_id(id) {
                return Err(stream.no_such_shard(id));
            }
            stream.check_key()?;
            let (next, shard) = stream.place(id, &from, now, "SubscribeToShard")?;
            let token = stream.hold(name, shard, now, limits.subscription_gap)?;
            Ok(Subscription {
                kinesis: self.clone(),
                stream: stream_name.to_owned(),
                created: stream.created,
                consumer: name.to_owned(),
                arn: arn.to_owned(),
                shard,
                token,
                next,
                bell: stream.bell(shard),
                until: limits.subscription_life.begin(&self.clock),
                silent_until: limits.heartbeat.begin(&self.clock),
                is_over: false,
            })
        })?;
        Ok(subscription.events())
    }
}
