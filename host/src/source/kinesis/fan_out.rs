//! Enhanced fan-out: consumers, and subscriptions to shards.
//!
//! Consumers are known by ARN only; a name is one of the stream with a given ARN, so no call here is made again by the
//! stream's name. What a subscription sends is an answer whose body takes five minutes: none of the limits that hold for
//! other calls may hold for it, and the wait for the grant alone is bounded.

use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{Consumer, ConsumerStatus as Status, StartingPosition};
use aws_sdk_kinesis::types::{SubscribeToShardEvent, SubscribeToShardEventStream};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::registration::ConsumerStatus;
use host_core::shard::{Position, SequenceNumber, ShardId};

use super::answers::{check_order, describe_child, view};
use super::lines::Line;
use super::metered::Meter;
use super::{KinesisStream, LISTING_ATTEMPTS, Start};
use crate::columns::{BATCH_DATA_BYTES_MAX, cut};
use crate::flow::{Budget, Held};
use crate::ports::{ConsumerDescription, ConsumerKey, FanOutApi, Pushed, Subscription};
use crate::source::classify::{CallSite, Place, SourceError, SourceErrorKind};

type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

impl KinesisStream {
    /// Where a subscription that begins after a record may repeat it. `ferrokinesis` as it comes takes note of the kind of a
    /// position only, and so begins every subscription at the horizon. As with names, AWS itself is believed.
    fn may_be_replayed(&self, from: &Position) -> Option<SequenceNumber> {
        match from {
            Position::After { sequence, .. } if self.place.endpoint.is_some() => Some(sequence.clone()),
            Position::After { .. } | Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd => None,
        }
    }

    /// All pages of one listing of consumers; `None` if its token expired, so that it must begin again.
    async fn all_consumers(&self) -> Result<Option<Vec<ConsumerDescription>>, SourceError> {
        let site = self.site("ListStreamConsumers", None);
        let mut consumers = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = self.client.list_stream_consumers().stream_arn(self.arn.as_str());
            let page = match request.set_next_token(token.clone()).send().await {
                Ok(page) => page,
                Err(error) if token.is_some() && has_code(&error, "ExpiredNextTokenException") => return Ok(None),
                Err(error) => return Err(site.sdk_error(&error)),
            };
            for consumer in page.consumers.unwrap_or_default() {
                consumers.push(describe(consumer, site)?);
            }
            match page.next_token {
                None => return Ok(Some(consumers)),
                next if next == token => return Err(site.malformed("NextToken repeats: the listing never ends")),
                next => token = next,
            }
        }
    }
}

fn has_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>, code: &str) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(code)
}

fn describe(consumer: Consumer, site: CallSite<'_>) -> Result<ConsumerDescription, SourceError> {
    let status = status(&consumer.consumer_status, site)?;
    Ok(ConsumerDescription { name: consumer.consumer_name, arn: consumer.consumer_arn, status })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK deprecates naming the variant of what it does not know")]
fn status(told: &Status, site: CallSite<'_>) -> Result<ConsumerStatus, SourceError> {
    match told {
        Status::Creating => Ok(ConsumerStatus::Creating),
        Status::Active => Ok(ConsumerStatus::Active),
        Status::Deleting => Ok(ConsumerStatus::Deleting),
        // The SDK's enum may grow.
        other => Err(site.malformed(&format!("ConsumerStatus {:?} is new", other.as_str()))),
    }
}

/// Whether what a call about a consumer misses is the consumer. An answer that does not tell is taken for that: whoever
/// then registers one learns that it is the stream.
const fn is_no_consumer(error: &SourceError) -> bool {
    matches!(error.kind, SourceErrorKind::ConsumerGone | SourceErrorKind::NotFound)
}

impl FanOutApi for KinesisStream {
    fn describe_consumer<'a>(
        &'a self,
        consumer: ConsumerKey<'a>,
    ) -> BoxFuture<'a, Result<Option<ConsumerDescription>, SourceError>> {
        async move {
            let site = self.site("DescribeStreamConsumer", None);
            let request = self.client.describe_stream_consumer();
            let request = match consumer {
                ConsumerKey::Name(name) => request.stream_arn(self.arn.as_str()).consumer_name(name),
                ConsumerKey::Arn(arn) => request.consumer_arn(arn),
            };
            let output = match request.send().await.map_err(|error| site.sdk_error(&error)) {
                Ok(output) => output,
                Err(error) if is_no_consumer(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let told = output.consumer_description.ok_or_else(|| site.malformed("no ConsumerDescription"))?;
            let status = status(&told.consumer_status, site)?;
            Ok(Some(ConsumerDescription { name: told.consumer_name, arn: told.consumer_arn, status }))
        }
        .boxed()
    }

    fn list_consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerDescription>, SourceError>> {
        async move {
            for _attempt in 0..LISTING_ATTEMPTS {
                if let Some(consumers) = self.all_consumers().await? {
                    return Ok(consumers);
                }
            }
            let site = self.site("ListStreamConsumers", None);
            Err(site.answered(Some("ExpiredNextTokenException"), 400, "refused every time"))
        }
        .boxed()
    }

    fn register_consumer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ConsumerDescription, SourceError>> {
        async move {
            let site = self.site("RegisterStreamConsumer", None);
            let request = self.client.register_stream_consumer().stream_arn(self.arn.as_str()).consumer_name(name);
            let output = request.send().await.map_err(|error| site.sdk_error(&error))?;
            describe(output.consumer.ok_or_else(|| site.malformed("no Consumer"))?, site)
        }
        .boxed()
    }

    fn deregister_consumer<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        async move {
            let site = self.site("DeregisterStreamConsumer", None);
            let sent = self.client.deregister_stream_consumer().consumer_arn(arn).send().await;
            match sent.map_err(|error| site.sdk_error(&error)) {
                Ok(_) => Ok(()),
                Err(error) if is_no_consumer(&error) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        from: &'a Position,
        timeout: Duration,
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>> {
        async move {
            let site = self.site("SubscribeToShard", Some(shard));
            let Start { kind, sequence, timestamp } = Start::of(from, site)?;
            let position = StartingPosition::builder().r#type(kind).set_sequence_number(sequence);
            let position =
                position.set_timestamp(timestamp).build().map_err(|error| site.malformed(&error.to_string()))?;
            let line = self.lines.lease();
            let request = line.client().subscribe_to_shard().consumer_arn(consumer_arn).shard_id(shard.as_str());
            let meter = Meter::new(budget.clone());
            let request = request.starting_position(position).customize().interceptor(meter.clone());
            // The SDK's own limits do not include its wait for the first event, so the limit is put around all of it.
            let sent = tokio::time::timeout(timeout, request.send()).await;
            let output = sent.map_err(|_elapsed| site.unanswered())?.map_err(|error| site.sdk_error(&error))?;
            let subscription = SdkSubscription {
                open: Some((output.event_stream, line)),
                meter,
                place: self.place.clone(),
                shard: shard.clone(),
                last: Vec::new(),
                replayed: self.may_be_replayed(from),
            };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        }
        .boxed()
    }
}

struct SdkSubscription {
    /// What is still to come; `None` once it has ended, one way or the other.
    open: Option<(Events, Line)>,
    meter: Meter,
    place: Place,
    shard: ShardId,
    /// The sequence number of the last record, as text.
    last: Vec<u8>,
    /// Records up to this one are passed over; `None` once one came that is past it.
    replayed: Option<SequenceNumber>,
}

impl Subscription for SdkSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>> {
        self.next_event().boxed()
    }

    fn awaits_room(&self) -> bool {
        self.meter.is_waiting()
    }

    fn silence(&self, lasted: Duration) -> SourceError {
        self.site().silent(lasted)
    }
}

impl SdkSubscription {
    const fn site(&self) -> CallSite<'_> {
        CallSite { place: &self.place, operation: "SubscribeToShard", shard: Some(&self.shard) }
    }

    /// The only wait is the SDK's for the next frame of the body, which it keeps in the receiver: nothing is lost with this
    /// future.
    async fn next_event(&mut self) -> Result<Option<Pushed>, SourceError> {
        loop {
            let Some((events, _)) = &mut self.open else { return Ok(None) };
            let received = events.recv().await;
            let told = match received {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                    let pushed = pushed(event, &mut self.last, &mut self.replayed, self.meter.last());
                    pushed.map(Some).map_err(|what| self.site().malformed(&what))
                }
                // An event of a kind that this SDK does not know yet.
                Ok(Some(_)) => continue,
                Ok(None) => Ok(None),
                Err(error) => Err(self.site().event_error(&error)),
            };
            if !matches!(told, Ok(Some(_))) {
                self.open = None;
            }
            return told;
        }
    }
}

/// Turns one event into columns and checks them against the record before.
fn pushed(
    mut event: SubscribeToShardEvent,
    last: &mut Vec<u8>,
    replayed: &mut Option<SequenceNumber>,
    held: Held,
) -> Result<Pushed, String> {
    let is_without_records = event.records.is_empty();
    if let Some(start) = replayed {
        let is_old = |text: &str| SequenceNumber::parse(text).is_ok_and(|number| number <= *start);
        let old = event.records.iter().take_while(|record| is_old(&record.sequence_number)).count();
        event.records.drain(..old);
        if !event.records.is_empty() {
            *replayed = None;
        }
    }
    let batches = cut(&event.records, BATCH_DATA_BYTES_MAX, view);
    check_order(&batches, last)?;
    if let Some(batch) = batches.last().filter(|batch| !batch.is_empty()) {
        last.clear();
        last.extend_from_slice(batch.sequence_number.get(batch.len() - 1));
    }
    let children: Vec<_> = event.child_shards.unwrap_or_default().into_iter().map(describe_child).collect();
    // The SDK shows one that is missing as an empty one.
    let is_told = !event.continuation_sequence_number.is_empty();
    let continuation = SequenceNumber::parse(&event.continuation_sequence_number).ok();
    // Some tell children together with a continuation from the moment of the split on, be there records left or not. What
    // is left follows in the next event, or after the continuation.
    let may_go_on = continuation.is_some() && !is_without_records;
    Ok(Pushed {
        batches,
        is_last: !is_told || (!children.is_empty() && !may_go_on),
        continuation,
        millis_behind_latest: Some(event.millis_behind_latest),
        children,
        held,
    })
}

#[cfg(test)]
mod tests;
