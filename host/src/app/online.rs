//! What a manifest names, looked at as a start looks at it, and left as it is: nothing is claimed, created or written to.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use host_core::patience::RetryLimits;

use crate::app::RunSettings;
use crate::app::sinks::Sinks;
use crate::app::start::{aws, find_stream};
use crate::aws::Access;
use crate::clock::Clock;
use crate::config::{Guarantee, Manifest, Sink, SinkOutput, StateStore, StreamArn, Table};
use crate::pipeline::Totals;
use crate::pipeline::failure::Failure;
use crate::ports::{StreamStatus, TableApi as _, TableDescription};
use crate::sink::dynamodb::api::DynamodbTable;
use crate::sink::dynamodb::key::KeySchema;
use crate::source::classify::SourceErrorKind;
use crate::source::health::{PatientCall, Purpose, Subject};
use crate::state::dynamodb::tables_of;

/// What was found at a stream or table, in words for people; or why a start would end there.
pub type Found = Result<String, Failure>;

/// Looks at everything that a manifest names, all at the same time: the streams of the source, then the streams and tables
/// that sinks write to, then the tables of positions.
pub async fn look(manifest: &Manifest) -> Vec<Found> {
    let access = aws(manifest, &RunSettings::default()).access().await;
    let (clock, totals) = (Clock::start(), Totals::default());
    let looking = Looking { manifest, access: &access, clock, totals: &totals };
    let streams = manifest.source.streams.iter().map(|arn| looking.source(arn).boxed());
    let sinks = manifest.sinks.iter().filter_map(|sink| looking.sink(sink));
    join_all(streams.chain(sinks).chain(looking.positions())).await
}

struct Looking<'a> {
    manifest: &'a Manifest,
    access: &'a Access,
    clock: Clock,
    totals: &'a Totals,
}

impl<'a> Looking<'a> {
    async fn source(&self, arn: &StreamArn) -> Found {
        let found = find_stream(arn, self.manifest, self.access, self.clock, self.totals).await?;
        let description = found.description;
        let state = match description.status {
            StreamStatus::Creating => "being created",
            StreamStatus::Active => "active",
            StreamStatus::Updating => "active, its shards being changed",
            StreamStatus::Deleting => "being deleted",
        };
        Ok(format!(
            "source: stream {} is {state} and keeps records for {} hours",
            arn.as_str(),
            description.retention_hours
        ))
    }

    /// `None` for a sink that writes to no service.
    fn sink(&'a self, sink: &'a Sink) -> Option<BoxFuture<'a, Found>> {
        let (name, sinks) = (sink.name.as_str(), self.sinks());
        match &sink.output {
            SinkOutput::Kinesis(kinesis) => Some(
                async move {
                    sinks.kinesis(name, kinesis).await?;
                    Ok(format!("sink {name:?}: stream {} takes records", kinesis.stream.as_str()))
                }
                .boxed(),
            ),
            SinkOutput::Dynamodb(dynamodb) => Some(
                async move {
                    let table = sinks.described(name, dynamodb).await?;
                    let how = match dynamodb.guarantee {
                        Guarantee::AtLeastOnce => "",
                        Guarantee::ExactlyOnce => " in transactions with positions,",
                    };
                    Ok(format!("sink {name:?}: table {} takes items,{how} {}", table.arn, facts(&table)))
                }
                .boxed(),
            ),
            SinkOutput::Stdout | SinkOutput::File { .. } | SinkOutput::Discard => None,
        }
    }

    fn sinks(&self) -> Sinks<'a> {
        Sinks { manifest: self.manifest, access: self.access, clock: self.clock, totals: self.totals }
    }

    /// None if positions are kept on this machine.
    fn positions(&'a self) -> impl Iterator<Item = BoxFuture<'a, Found>> {
        let tables = match &self.manifest.checkpoint.store {
            StateStore::Sqlite(_) => Vec::new(),
            StateStore::Dynamodb(table) => {
                tables_of(&table.name).into_iter().map(|(name, key)| (Table { name, ..table.clone() }, key)).collect()
            }
        };
        tables.into_iter().map(|(table, key)| self.table_of_positions(table, key).boxed())
    }

    async fn table_of_positions(&self, table: Table, key: &'static str) -> Found {
        let (name, region) = (table.name.clone(), table.region.clone());
        let access = self.access.in_region(&region);
        let api = DynamodbTable::new(access.dynamodb(), table, access.settings());
        let subject = Subject { stream: name.clone(), purpose: Purpose::Describing };
        let limits = RetryLimits::from(&self.manifest.aws.retry);
        let mut call = PatientCall::starting(subject, limits, Arc::clone(&self.totals.health), self.clock);
        let described = call.repeat(|| api.describe()).await;
        match described {
            Ok(found) if found.partition_key.name == key && found.sort_key.is_none() => {
                let state = if found.is_writable { "is there" } else { "is there and takes no writes yet" };
                Ok(format!("positions: table {} {state}", found.arn))
            }
            Ok(found) => Err(Failure::NoTableOfPositions {
                table: found.arn.clone(),
                key: KeySchema::of(&found).to_string(),
                wanted: key,
            }),
            Err(error) if error.kind == SourceErrorKind::TableGone => {
                Ok(format!("positions: table {name:?} in {region} is not there yet; the first run creates it"))
            }
            Err(error) => Err(Failure::Source(error)),
        }
    }
}

fn facts(table: &TableDescription) -> String {
    let key = KeySchema::of(table);
    match table.write_units {
        Some(units) => format!("key {key}, {units} write units a second"),
        None => format!("key {key}, on demand"),
    }
}
