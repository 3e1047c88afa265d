//! The store without a disk: for tests and simulated runs. It keeps every promise of the port but durability, and fails
//! where it is told to.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_core::checkpoint::{Commit, ShardRow};
use host_core::shard::{Position, ShardId};

use super::error::age_of;
use super::{
    Claimed, ComponentDigest, Ending, LeaseStore, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint,
    StoreError, StreamIdentity, StreamState, in_stream, rules,
};

/// Where an injected failure strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing becomes durable.
    Before,
    /// All of it is durable, and the caller learns of a failure nevertheless.
    After,
}

/// What all handles share: the "disk".
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    pipelines: BTreeMap<PipelineId, Pipeline>,
    handles: u64,
    /// Writes from now until the failure.
    failure: Option<(u64, Failure)>,
}

#[derive(Clone, Debug, Default)]
struct Pipeline {
    /// The handle that holds the lock.
    locked_by: Option<(u64, Owner)>,
    generation: u64,
    claim: Option<PreviousClaim>,
    streams: BTreeMap<StreamIdentity, Stream>,
    marks: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Stream {
    start: StartPoint,
    consumer: Option<RegisteredConsumer>,
    /// By the shard's text; the shards in them are of stream 0.
    rows: BTreeMap<String, ShardRow>,
}

impl MemoryStore {
    /// A handle of its own for a pipeline, as another process would have.
    #[must_use]
    pub fn open(&self, pipeline: &PipelineId) -> MemoryLeases {
        let mut shared = lock(&self.shared);
        shared.handles += 1;
        MemoryLeases {
            shared: Arc::clone(&self.shared),
            pipeline: pipeline.clone(),
            handle: shared.handles,
            ours: None,
        }
    }

    /// Lets one write fail: the next one after `writes` that succeed.
    pub fn fail_after(&self, writes: u64, failure: Failure) {
        lock(&self.shared).failure = Some((writes, failure));
    }

    /// Takes the lock away from whoever holds it, as a file system without working locks does: from here on only the
    /// generation stands between two writers.
    pub fn break_lock(&self, pipeline: &PipelineId) {
        if let Some(pipeline) = lock(&self.shared).pipelines.get_mut(pipeline) {
            pipeline.locked_by = None;
        }
    }
}

/// One handle. Dropping it is the death of its process.
#[derive(Debug)]
pub struct MemoryLeases {
    shared: Arc<Mutex<Shared>>,
    pipeline: PipelineId,
    handle: u64,
    ours: Option<u64>,
}

impl MemoryLeases {
    /// Runs `change` on a copy, which replaces the original if all of it worked.
    fn write(&mut self, change: impl FnOnce(&mut Pipeline) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let id = &self.pipeline;
        let Some(ours) = self.ours else { return Err(StoreError::NotClaimed { pipeline: id.clone() }) };
        let mut shared = lock(&self.shared);
        let mut pipeline = shared.pipelines.get(id).cloned().unwrap_or_default();
        if pipeline.generation != ours {
            let by = pipeline.claim.map(|claim| claim.owner);
            return Err(StoreError::Fenced { pipeline: id.clone(), by, newer: pipeline.generation, ours });
        }
        change(&mut pipeline)?;
        shared.persist(id, pipeline)
    }
}

impl LeaseStore for MemoryLeases {
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError> {
        let mut shared = lock(&self.shared);
        let mut pipeline = shared.pipelines.get(&self.pipeline).cloned().unwrap_or_default();
        if let Some((handle, holder)) = &pipeline.locked_by
            && *handle != self.handle
        {
            return Err(StoreError::OwnedByAnother {
                pipeline: self.pipeline.clone(),
                age: age_of(holder, owner.since),
                owner: Some(holder.clone()),
            });
        }
        self.ours = None;
        pipeline.locked_by = Some((self.handle, owner.clone()));
        pipeline.generation += 1;
        let claim = PreviousClaim { owner: owner.clone(), components: components.to_vec(), ending: Ending::Unreleased };
        let claimed = Claimed {
            generation: pipeline.generation,
            previous: pipeline.claim.replace(claim),
            streams: pipeline.streams.iter().map(|(identity, stream)| stream.state(identity)).collect(),
            marks: pipeline.marks.iter().map(|(sink, mark)| (sink.clone(), *mark)).collect(),
        };
        let persisted = shared.persist(&self.pipeline, pipeline);
        drop(shared);
        match persisted {
            Ok(()) => {
                self.ours = Some(claimed.generation);
                Ok(claimed)
            }
            Err(error) => {
                self.unlock();
                Err(error)
            }
        }
    }

    fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        self.write(|pipeline| {
            if let Some(found) = pipeline.streams.get(stream) {
                return Err(StoreError::AlreadyStarted { arn: stream.arn.clone(), start: found.start });
            }
            let mut started = Stream { start, consumer: None, rows: BTreeMap::new() };
            rows.iter().try_for_each(|row| started.create(row))?;
            pipeline.streams.insert(stream.clone(), started);
            Ok(())
        })
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        self.write(|pipeline| match pipeline.streams.remove(stream) {
            Some(_) => Ok(()),
            None => Err(rules::not_started(stream)),
        })
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.write(|pipeline| {
            let found = pipeline.streams.get_mut(stream).ok_or_else(|| rules::not_started(stream))?;
            found.consumer = consumer.cloned();
            Ok(())
        })
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        self.write(|pipeline| {
            for row in &commit.create {
                pipeline.stream_of(&row.shard, streams)?.create(row)?;
            }
            for advance in &commit.advance {
                let rows = &mut pipeline.stream_of(&advance.shard, streams)?.rows;
                let found = rows.get_mut(advance.shard.as_str());
                let found = found.ok_or_else(|| rules::absent(&advance.shard, &advance.from))?;
                *found = in_stream(&rules::advanced(found, advance)?, 0);
            }
            for shard in &commit.forget {
                let rows = &mut pipeline.stream_of(shard, streams)?.rows;
                let found = rows.remove(shard.as_str()).ok_or_else(|| rules::absent(shard, &Position::ShardEnd))?;
                rules::forgotten(&found)?;
            }
            for mark in &commit.marks {
                let sink = rules::mark(mark, sinks)?;
                pipeline.marks.insert(sink.to_owned(), mark.mark);
            }
            Ok(())
        })
    }

    fn release(&mut self) -> Result<(), StoreError> {
        let released = self.write(|pipeline| {
            if let Some(claim) = &mut pipeline.claim {
                claim.ending = Ending::Released;
            }
            Ok(())
        });
        self.ours = None;
        self.unlock();
        released
    }
}

impl MemoryLeases {
    fn unlock(&self) {
        if let Some(pipeline) = lock(&self.shared).pipelines.get_mut(&self.pipeline)
            && pipeline.locked_by.as_ref().is_some_and(|(handle, _)| *handle == self.handle)
        {
            pipeline.locked_by = None;
        }
    }
}

impl Drop for MemoryLeases {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl Pipeline {
    fn stream_of(&mut self, shard: &ShardId, streams: &[StreamIdentity]) -> Result<&mut Stream, StoreError> {
        let stream = rules::stream_of(shard, streams)?;
        self.streams.get_mut(stream).ok_or_else(|| rules::not_started(stream))
    }
}

impl Stream {
    fn state(&self, identity: &StreamIdentity) -> StreamState {
        StreamState {
            identity: identity.clone(),
            start: self.start,
            consumer: self.consumer.clone(),
            rows: self.rows.values().cloned().collect(),
        }
    }

    fn create(&mut self, row: &ShardRow) -> Result<(), StoreError> {
        rules::created(row)?;
        match self.rows.insert(row.shard.as_str().to_owned(), in_stream(row, 0)) {
            None => Ok(()),
            Some(found) => Err(rules::present(&found)),
        }
    }
}

impl Shared {
    /// The moment at which a write becomes durable.
    fn persist(&mut self, id: &PipelineId, pipeline: Pipeline) -> Result<(), StoreError> {
        let failure = match &mut self.failure {
            None => None,
            Some((0, _)) => mem::take(&mut self.failure).map(|(_, failure)| failure),
            Some((writes, _)) => {
                *writes -= 1;
                None
            }
        };
        if failure != Some(Failure::Before) {
            self.pipelines.insert(id.clone(), pipeline);
        }
        match failure {
            None => Ok(()),
            Some(Failure::Before | Failure::After) => {
                Err(StoreError::Io { doing: "write", path: "memory".into(), source: "an injected failure".into() })
            }
        }
    }
}

/// A poisoned lock means that a test panicked elsewhere; the state behind it is whole, since changes replace it at once.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
