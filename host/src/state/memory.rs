//! The store without a disk: for tests and simulated runs. It keeps every promise of the port but durability, and fails
//! where it is told to.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_core::checkpoint::{Commit, ShardRow};

use super::error::age_of;
use super::model::Pipeline;
use super::{
    Claimed, ComponentDigest, LeaseStore, Owner, PipelineId, RegisteredConsumer, StartPoint, StoreError, StreamIdentity,
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
    pipelines: BTreeMap<PipelineId, Kept>,
    handles: u64,
    /// Writes from now until the failure.
    failure: Option<(u64, Failure)>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// The handle that holds the lock.
    locked_by: Option<(u64, Owner)>,
    pipeline: Pipeline,
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
        let mut kept = shared.pipelines.get(id).cloned().unwrap_or_default();
        let newer = kept.pipeline.generation;
        if newer != ours {
            let by = kept.pipeline.claim.map(|claim| claim.owner);
            return Err(StoreError::Fenced { pipeline: id.clone(), by, newer, ours });
        }
        change(&mut kept.pipeline)?;
        shared.persist(id, kept)
    }
}

impl LeaseStore for MemoryLeases {
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError> {
        let mut shared = lock(&self.shared);
        let mut kept = shared.pipelines.get(&self.pipeline).cloned().unwrap_or_default();
        if let Some((handle, holder)) = &kept.locked_by
            && *handle != self.handle
        {
            return Err(StoreError::OwnedByAnother {
                pipeline: self.pipeline.clone(),
                age: age_of(holder, owner.since),
                owner: Some(holder.clone()),
            });
        }
        self.ours = None;
        kept.locked_by = Some((self.handle, owner.clone()));
        let claimed = kept.pipeline.claim(owner, components);
        let persisted = shared.persist(&self.pipeline, kept);
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
        self.write(|pipeline| pipeline.start_stream(stream, start, rows))
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        self.write(|pipeline| pipeline.forget_stream(stream))
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.write(|pipeline| pipeline.note_consumer(stream, consumer))
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        self.write(|pipeline| pipeline.commit(streams, commit, sinks))
    }

    fn release(&mut self) -> Result<(), StoreError> {
        let released = self.write(|pipeline| {
            pipeline.release();
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

impl Shared {
    /// The moment at which a write becomes durable.
    fn persist(&mut self, id: &PipelineId, kept: Kept) -> Result<(), StoreError> {
        let failure = match &mut self.failure {
            None => None,
            Some((0, _)) => mem::take(&mut self.failure).map(|(_, failure)| failure),
            Some((writes, _)) => {
                *writes -= 1;
                None
            }
        };
        if failure != Some(Failure::Before) {
            self.pipelines.insert(id.clone(), kept);
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
