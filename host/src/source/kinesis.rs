//! A stream of Kinesis Data Streams, read by polling and written to through the official SDK.
//!
//! The service knows a stream by ARN and by name. The ARN is exact, across accounts too, so it is what we send; but some
//! emulators accept only the name in some operations. Behind an endpoint of the manifest's own choice a call that is
//! refused over its ARN is made again with the name, and if that works the name it is from then on. Against AWS itself
//! this never happens: there a name means a stream of the *caller's* account, which may be another stream.

mod answers;
mod fan_out;
mod lines;
mod metered;
mod put;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::list_shards::{ListShardsError, ListShardsOutput};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, ShardIteratorType, StreamStatus as SdkStatus};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardDescription, ShardId};

use self::answers::{describe_shard, millis, page};
use self::lines::Lines;
use crate::aws::{AwsSettings, Connections};
use crate::config::StreamArn;
use crate::ports::{Page, ShardIterator, StreamApi, StreamDescription, StreamStatus};
use crate::source::classify::{CallSite, Place, Role, SourceError};

pub(in crate::source) use self::put::{Said, judge};

/// `MaxResults` of `ListShards`: the most that the service allows, so that most streams are one page.
const LIST_PAGE_SHARDS: i32 = 10_000;
/// How often a listing is begun before it is given up. A token lives for five minutes, so one that is refused twice was
/// never good.
const LISTING_ATTEMPTS: u32 = 3;
/// `Limit` of `GetRecords`: the most that the service allows.
const READ_RECORDS_MAX: u32 = 10_000;

/// A Kinesis stream. Calls are independent: any number may be under way.
#[derive(Debug)]
pub struct KinesisStream {
    client: Client,
    arn: StreamArn,
    place: Place,
    /// The service refused the ARN once and took the name.
    by_name: AtomicBool,
    lines: Lines,
}

/// How a request names the stream: exactly one of both.
struct Address {
    arn: Option<String>,
    name: Option<String>,
}

impl KinesisStream {
    /// A stream to be read with `client`, which must be made from `settings` and not retry.
    #[must_use]
    pub fn new(client: Client, arn: StreamArn, settings: &AwsSettings) -> Self {
        let connections = Connections::of_environment();
        Self::connected_by(client, arn, settings, move || connections.client())
    }

    /// The same, with subscriptions over HTTP clients of the caller's choice: each that `connect` makes must have
    /// connections of its own, and `client` is for all other calls.
    #[must_use]
    pub fn connected_by(
        client: Client,
        arn: StreamArn,
        settings: &AwsSettings,
        connect: impl Fn() -> SharedHttpClient + Send + Sync + 'static,
    ) -> Self {
        let place = Place::of(&arn, settings);
        let lines = Lines::new(client.config(), Box::new(connect));
        Self { client, arn, place, by_name: AtomicBool::new(false), lines }
    }

    /// A stream with a client of its own. Opens no connection.
    pub async fn connect(arn: StreamArn, settings: &AwsSettings) -> Self {
        Self::new(settings.kinesis().await, arn, settings)
    }

    /// The same as the stream of a sink: errors speak of writing, not of reading.
    #[must_use]
    pub const fn as_target(mut self) -> Self {
        self.place.role = Role::Target;
        self
    }

    /// Where the stream is, as error messages tell it.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    fn address(&self, by_name: bool) -> Address {
        if by_name {
            Address { arn: None, name: Some(self.arn.name().to_owned()) }
        } else {
            Address { arn: Some(self.arn.as_str().to_owned()), name: None }
        }
    }

    const fn site<'a>(&'a self, operation: &'static str, shard: Option<&'a ShardId>) -> CallSite<'a> {
        CallSite { place: &self.place, operation, shard }
    }

    /// Makes a call by ARN, and by name where the service does not know ARNs.
    async fn call<T, E, F, Fut>(&self, site: CallSite<'_>, send: F) -> Result<T, SourceError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Address) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let by_name = self.by_name.load(Ordering::Relaxed);
        let refused = match send(self.address(by_name)).await {
            Ok(output) => return Ok(output),
            Err(error) if by_name || self.place.endpoint.is_none() || !is_about_the_name(&error) => {
                return Err(site.sdk_error(&error));
            }
            Err(error) => error,
        };
        match send(self.address(true)).await {
            Ok(output) => {
                self.by_name.store(true, Ordering::Relaxed);
                tracing::debug!(refused = %site.sdk_error(&refused), "the service takes stream names only");
                Ok(output)
            }
            Err(error) => Err(site.sdk_error(&error)),
        }
    }

    async fn first_page(&self, after: Option<&ShardId>) -> Result<ListShardsOutput, SourceError> {
        let send = |address: Address| {
            let request = self.client.list_shards().max_results(LIST_PAGE_SHARDS);
            let after = after.map(|after| after.as_str().to_owned());
            request.set_stream_arn(address.arn).set_stream_name(address.name).set_exclusive_start_shard_id(after).send()
        };
        self.call(self.site("ListShards", None), send).await
    }

    /// All pages of one listing; `None` if the service refused to go on with it, so that it must begin again.
    async fn all_pages(&self, after: Option<&ShardId>) -> Result<Option<Vec<ShardDescription>>, SourceError> {
        let site = self.site("ListShards", None);
        let mut shards = Vec::new();
        let mut page = self.first_page(after).await?;
        loop {
            shards.extend(page.shards.unwrap_or_default().into_iter().map(describe_shard));
            let Some(token) = page.next_token else { return Ok(Some(shards)) };
            // A following page carries the token and nothing else, or the service refuses it.
            page = match self.client.list_shards().next_token(&token).send().await {
                Ok(page) if page.next_token.as_ref() == Some(&token) => {
                    return Err(site.malformed("NextToken repeats: the listing never ends"));
                }
                Ok(page) => page,
                Err(error) if is_about_the_token(&error) => {
                    tracing::debug!(refused = %site.sdk_error(&error), "the listing begins again");
                    return Ok(None);
                }
                Err(error) => return Err(site.sdk_error(&error)),
            };
        }
    }
}

/// Where to begin, as requests say it.
struct Start {
    kind: ShardIteratorType,
    sequence: Option<String>,
    timestamp: Option<DateTime>,
}

impl Start {
    fn of(from: &Position, site: CallSite<'_>) -> Result<Self, SourceError> {
        let start = |kind| Self { kind, sequence: None, timestamp: None };
        match from {
            Position::TrimHorizon => Ok(start(ShardIteratorType::TrimHorizon)),
            // The full second: services that stamp whole seconds would withhold records of this very second.
            Position::AtTimestamp(at) => {
                let timestamp = Some(DateTime::from_secs(at.0.div_euclid(1000)));
                Ok(Self { timestamp, ..start(ShardIteratorType::AtTimestamp) })
            }
            Position::After { sequence, .. } => {
                let sequence = Some(sequence.as_str().to_owned());
                Ok(Self { sequence, ..start(ShardIteratorType::AfterSequenceNumber) })
            }
            Position::ShardEnd => Err(site.malformed("a shard that has ended is not opened")),
        }
    }
}

/// Whether a following page was refused over its token, which is all that it carries.
fn is_about_the_token(error: &SdkError<ListShardsError, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(code, Some("ExpiredNextTokenException" | "InvalidArgumentException" | "ValidationException"))
}

/// Whether a request was refused because of how it named the stream.
fn is_about_the_name<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let Some(refusal) = error.as_service_error() else { return false };
    let is_refusal = matches!(
        refusal.code(),
        Some("InvalidArgumentException" | "ValidationException" | "SerializationException" | "MissingParameter")
    );
    let message = refusal.message().unwrap_or_default().to_ascii_lowercase();
    is_refusal && (message.contains("streamarn") || message.contains("streamname"))
}

impl StreamApi for KinesisStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, SourceError>> {
        async {
            let site = self.site("DescribeStreamSummary", None);
            let date = DateHeader::default();
            let send = |address: Address| {
                let request = self.client.describe_stream_summary();
                let request = request.set_stream_arn(address.arn).set_stream_name(address.name);
                request.customize().interceptor(date.clone()).send()
            };
            let output = self.call(site, send).await?;
            let summary =
                output.stream_description_summary.ok_or_else(|| site.malformed("no StreamDescriptionSummary"))?;
            Ok(StreamDescription {
                created: EpochMillis(millis(&summary.stream_creation_timestamp)),
                retention_hours: u32::try_from(summary.retention_period_hours).unwrap_or_default(),
                status: match summary.stream_status {
                    SdkStatus::Creating => StreamStatus::Creating,
                    SdkStatus::Deleting => StreamStatus::Deleting,
                    SdkStatus::Updating => StreamStatus::Updating,
                    // The SDK's enum may grow; what is not known to be unusable is used.
                    SdkStatus::Active | _ => StreamStatus::Active,
                },
                max_record_bytes: summary
                    .max_record_size_in_kib
                    .and_then(|kib| u64::try_from(kib).ok())
                    .filter(|kib| *kib > 0)
                    .map(|kib| kib * 1024),
                places_by_key: summary.record_distribution_strategy != Some(RecordDistributionStrategy::Auto),
                arn: summary.stream_arn,
                service_time: date.told(),
            })
        }
        .boxed()
    }

    fn list_shards<'a>(
        &'a self,
        after: Option<&'a ShardId>,
    ) -> BoxFuture<'a, Result<Vec<ShardDescription>, SourceError>> {
        async move {
            for _attempt in 0..LISTING_ATTEMPTS {
                if let Some(shards) = self.all_pages(after).await? {
                    return Ok(shards);
                }
            }
            Err(self.site("ListShards", None).answered(Some("ExpiredNextTokenException"), 400, "refused every time"))
        }
        .boxed()
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> BoxFuture<'a, Result<ShardIterator, SourceError>> {
        async move {
            let site = self.site("GetShardIterator", Some(shard));
            let Start { kind, sequence, timestamp } = Start::of(from, site)?;
            let send = |address: Address| {
                let request = self.client.get_shard_iterator().shard_id(shard.as_str());
                request
                    .set_stream_arn(address.arn)
                    .set_stream_name(address.name)
                    .shard_iterator_type(kind.clone())
                    .set_starting_sequence_number(sequence.clone())
                    .set_timestamp(timestamp)
                    .send()
            };
            let output = self.call(site, send).await?;
            output.shard_iterator.map(ShardIterator).ok_or_else(|| site.malformed("no ShardIterator"))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        shard: &'a ShardId,
        iterator: &'a ShardIterator,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, SourceError>> {
        async move {
            let site = self.site("GetRecords", Some(shard));
            let limit = i32::try_from(limit.clamp(1, READ_RECORDS_MAX)).unwrap_or(i32::MAX);
            // There is no StreamName here: the iterator tells the stream, the ARN only helps the service to route.
            let send = |address: Address| {
                let request = self.client.get_records().shard_iterator(&iterator.0).limit(limit);
                request.set_stream_arn(address.arn).send()
            };
            let output = self.call(site, send).await?;
            page(output).map_err(|what| site.malformed(&what))
        }
        .boxed()
    }
}

/// Notes the `Date` of an answer, which the SDK's outputs do not show.
#[derive(Clone, Debug, Default)]
struct DateHeader(Arc<Mutex<Option<EpochMillis>>>);

impl DateHeader {
    fn told(&self) -> Option<EpochMillis> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for DateHeader {
    fn name(&self) -> &'static str {
        "DateHeader"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = context.response().headers().get("date");
        let date = header.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| EpochMillis(millis(&date)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
