//! Opens the sinks of a manifest. Those that write to services look at their target first, all at the same time: a stream or
//! table that is missing, or may not be written to, ends the start before anything is claimed.

use std::sync::Arc;

use futures_util::future::try_join_all;
use host_core::patience::RetryLimits;

use crate::app::load::Ready;
use crate::app::open;
use crate::aws::Access;
use crate::clock::Clock;
use crate::config::{
    DynamodbSink, Guarantee, KinesisSink, Manifest, Sink as Described, SinkBatch, SinkOutput, StateStore, Table,
};
use crate::pipeline::Totals;
use crate::pipeline::failure::Failure;
use crate::ports::SinkError;
use crate::sink::batched::Batched;
use crate::sink::discard::Discard;
use crate::sink::dynamodb::api::DynamodbTable;
use crate::sink::dynamodb::key::KeySchema;
use crate::sink::dynamodb::transactions::DynamodbTransactions;
use crate::sink::dynamodb::{self, DynamodbTarget};
use crate::sink::exactly_once;
use crate::sink::file::LineFile;
use crate::sink::kinesis::{KinesisTarget, Opening};
use crate::sink::queue::{self, Settings};
use crate::sink::service::Service;
use crate::sink::stdout::Stdout;
use crate::sink::thread::{Output, RoutedSink};
use crate::source::kinesis::KinesisStream;
use crate::state::dynamodb::beside;
use crate::subtask::Converting;

/// What sinks are opened with.
pub(super) struct Sinks<'a> {
    pub(super) manifest: &'a Manifest,
    /// The way to AWS, in whatever region.
    pub(super) access: &'a Access,
    pub(super) clock: Clock,
    pub(super) totals: &'a Totals,
}

impl Sinks<'_> {
    /// All of them, in the manifest's order.
    pub(super) async fn all(&self) -> Result<Vec<RoutedSink>, Failure> {
        let opened = self.manifest.sinks.iter().map(|sink| async {
            Ok::<_, Failure>(RoutedSink {
                name: sink.name.to_string(),
                when: sink.when.clone().unwrap_or_default(),
                output: self.output(sink).await?,
            })
        });
        try_join_all(opened).await
    }

    async fn output(&self, sink: &Described) -> Result<Output, Failure> {
        let name = sink.name.as_str();
        Ok(match &sink.output {
            SinkOutput::Stdout => Output::Local(Box::new(Stdout::new(name))),
            SinkOutput::File { path } => Output::Local(Box::new(LineFile::new(name, path))),
            SinkOutput::Discard => Output::Local(Box::new(Discard)),
            SinkOutput::Kinesis(kinesis) => Output::Service(self.kinesis(name, kinesis).await?),
            SinkOutput::Dynamodb(dynamodb) => Output::Service(self.dynamodb(name, dynamodb).await?),
        })
    }

    async fn kinesis(&self, name: &str, sink: &KinesisSink) -> Result<Box<dyn Service>, SinkError> {
        let access = self.access.in_region(sink.stream.region()).within(sink.batch.request_timeout);
        let stream = KinesisStream::new(access.kinesis(), sink.stream.clone(), access.settings()).as_target();
        let stream = Arc::new(stream);
        let opening = Opening {
            sink: name.to_owned(),
            retry: self.retry(),
            health: Arc::clone(&self.totals.health),
            clock: self.clock,
        };
        let (target, options) = KinesisTarget::open(Arc::clone(&stream) as _, stream as _, sink, opening).await?;
        let settings = settings(options, &sink.batch, sink.fail_on_error);
        service(name, target, settings)
    }

    async fn dynamodb(&self, name: &str, sink: &DynamodbSink) -> Result<Box<dyn Service>, SinkError> {
        let access = self.access.in_region(&sink.table.region).within(sink.batch.request_timeout);
        let table = DynamodbTable::new(access.dynamodb(), sink.table.clone(), access.settings());
        if sink.guarantee == Guarantee::ExactlyOnce {
            return self.exactly_once(name, sink, &access, table).await;
        }
        let target = DynamodbTarget::open(Arc::new(table), name, self.retry(), self.clock).await?;
        let options = dynamodb::options(sink, &self.manifest.aws.retry);
        let settings = settings(options, &sink.batch, sink.fail_on_error);
        service(name, target, settings)
    }

    async fn exactly_once(
        &self,
        name: &str,
        sink: &DynamodbSink,
        access: &Access,
        table: DynamodbTable,
    ) -> Result<Box<dyn Service>, SinkError> {
        let store = match &self.manifest.checkpoint.store {
            StateStore::Dynamodb(store) => store,
            StateStore::Sqlite(_) => unreachable!("a manifest with exactly-once keeps its positions in a table"),
        };
        let described = dynamodb::describe(&table, name, self.retry(), self.clock).await?;
        let positions = Table { name: beside(&store.name), ..store.clone() };
        let rows = DynamodbTable::new(access.dynamodb(), positions.clone(), access.settings());
        let target = exactly_once::Target {
            schema: KeySchema::of(&described),
            arn: described.arn,
            api: Arc::new(DynamodbTransactions::new(Arc::new(table), positions, access.settings())),
            positions: Arc::new(rows),
        };
        Ok(exactly_once::service(target, dynamodb::exactly_once_settings(sink, &self.manifest.aws.retry)))
    }

    fn retry(&self) -> RetryLimits {
        RetryLimits::from(&self.manifest.aws.retry)
    }
}

fn settings(options: host_core::batching::Options, batch: &SinkBatch, fail_on_error: bool) -> Settings {
    Settings { options, request_timeout: batch.request_timeout, fail_on_timeout: batch.fail_on_timeout, fail_on_error }
}

fn service<B>(name: &str, target: B, settings: Settings) -> Result<Box<dyn Service>, SinkError>
where
    B: Batched<Entry: crate::entry::OneOf>,
{
    let contradicts = |source| SinkError::Limits { sink: name.to_owned(), source };
    queue::service(Arc::new(target), settings).map_err(contradicts)
}

/// What opens the converters of a subtask: at the start, and again if the subtask is lost.
pub(super) fn converters(
    ready: &Ready,
    clock: Clock,
) -> impl Fn(u32) -> Result<Vec<Converting>, Failure> + Send + Sync + 'static {
    let sinks = (0_u32..).zip(ready.manifest.sinks.iter().enumerate());
    let openers: Vec<_> = sinks
        .filter_map(|(index, (place, sink))| {
            let open = open::converter(ready, place, clock)?;
            let wants_positions = match &sink.output {
                SinkOutput::Dynamodb(sink) => sink.guarantee == Guarantee::ExactlyOnce,
                SinkOutput::Kinesis(_) | SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => false,
            };
            Some((index, sink.name.to_string(), sink.when.clone().unwrap_or_default(), wants_positions, open))
        })
        .collect();
    move |subtask| {
        let converting = |(sink, name, when, wants_positions, open): &(u32, String, Vec<String>, bool, _)| {
            let open: &open::OpenConverter = open;
            Ok(Converting {
                sink: *sink,
                name: name.clone(),
                when: when.clone(),
                wants_positions: *wants_positions,
                converter: open(subtask)?,
            })
        };
        openers.iter().map(converting).collect()
    }
}
