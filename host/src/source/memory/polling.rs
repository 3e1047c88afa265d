//! Reading by iterators and pages.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::shard::{Position, ShardDescription, ShardId};

use super::state::Shard;
use super::{Call, Children, Lag, LastPage, MemoryStream, Written, own};
use crate::columns::{BATCH_DATA_BYTES_MAX, cut};
use crate::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use crate::source::classify::{CallSite, SourceError};

/// `Limit` of `GetRecords`, as the service has it.
const READ_RECORDS_MAX: usize = 10_000;
/// What one page holds at most, in bytes of data, as the service has it.
const PAGE_DATA_BYTES_MAX: usize = 10 * 1024 * 1024;

impl MemoryStream {
    fn iterator(&self, shard: &ShardId, from: &Position) -> Result<ShardIterator, SourceError> {
        let state = self.state();
        let index = state.index(shard).ok_or_else(|| self.not_found(Call::Open, shard))?;
        let records = &state.shards[index].records;
        let next = match from {
            Position::TrimHorizon => 0,
            Position::AtTimestamp(at) => records.partition_point(|&record| state.written[record].arrival < *at),
            Position::After { sequence, .. } => {
                records.partition_point(|&record| state.written[record].sequence <= *sequence)
            }
            Position::ShardEnd => return Err(self.invalid(Call::Open, shard, "a shard that has ended is not opened")),
        };
        Ok(state.encode(shard, next))
    }

    fn page(&self, shard: &ShardId, iterator: &ShardIterator, limit: u32) -> Result<Page, SourceError> {
        let state = self.state();
        let index = state.index(shard).ok_or_else(|| self.not_found(Call::Read, shard))?;
        let Some((generation, from)) = decode(shard, iterator) else {
            return Err(self.invalid(Call::Read, shard, "not an iterator of this shard"));
        };
        if generation < state.generation {
            let site = CallSite { place: &self.place, operation: Call::Read.operation(), shard: Some(shard) };
            return Err(site.answered(Some("ExpiredIteratorException"), 400, "scripted"));
        }
        let Shard { description, records, trimmed } = &state.shards[index];
        let from = from.max(*trimmed).min(records.len());
        let limit = usize::try_from(limit).unwrap_or(READ_RECORDS_MAX).clamp(1, READ_RECORDS_MAX);
        let mut bytes = 0;
        let fits = |&&record: &&usize| {
            bytes += state.written[record].data.len();
            bytes <= PAGE_DATA_BYTES_MAX
        };
        let taken: Vec<&Written> =
            records[from..].iter().take(limit).take_while(fits).map(|&r| &state.written[r]).collect();
        let to = from + taken.len();
        let ended = description.closed
            && to == records.len()
            && match state.last_page {
                LastPage::WithRecords => true,
                LastPage::Empty => taken.is_empty(),
            };
        let told = match state.children {
            Children::Told => ended,
            Children::Omitted => false,
        };
        Ok(Page {
            batches: cut(&taken, BATCH_DATA_BYTES_MAX, |record| record.view()),
            next: (!ended).then(|| state.encode(shard, to)),
            millis_behind_latest: match state.lag {
                Lag::Told => Some(i64::try_from(records.len() - to).unwrap_or(i64::MAX)),
                Lag::Zero => Some(0),
                Lag::Omitted => None,
            },
            children: if told { state.children_of(shard) } else { Vec::new() },
        })
    }
}

fn decode(shard: &ShardId, iterator: &ShardIterator) -> Option<(u64, usize)> {
    let mut parts = iterator.0.splitn(3, '|');
    let (generation, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.next()? == shard.as_str()).then_some((generation, next))
}

impl StreamApi for MemoryStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, SourceError>> {
        async {
            self.begin(Call::Describe, None)?;
            let state = self.state();
            Ok(StreamDescription {
                arn: self.arn(),
                created: state.created,
                retention_hours: state.retention_hours,
                service_time: state.service_time,
                status: state.status,
                max_record_bytes: state.max_record_bytes,
                places_by_key: state.places_by_key,
            })
        }
        .boxed()
    }

    fn list_shards<'a>(
        &'a self,
        after: Option<&'a ShardId>,
    ) -> BoxFuture<'a, Result<Vec<ShardDescription>, SourceError>> {
        async move {
            self.begin(Call::ListShards, None)?;
            let mut shards = self.state().listing();
            shards.retain(|shard| after.is_none_or(|after| shard.id > own(after)));
            Ok(shards)
        }
        .boxed()
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> BoxFuture<'a, Result<ShardIterator, SourceError>> {
        async move {
            let shard = own(shard);
            self.begin(Call::Open, Some(&shard))?;
            self.iterator(&shard, from)
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
            let shard = own(shard);
            self.begin(Call::Read, Some(&shard))?;
            self.until(|state| !state.hung.contains(&shard)).await;
            self.page(&shard, iterator, limit)
        }
        .boxed()
    }
}
