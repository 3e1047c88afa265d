//! What a store holds of one pipeline, and what each write makes of it: the rules of the port, without a disk.

use std::collections::BTreeMap;

use host_core::checkpoint::{Commit, ShardRow};
use host_core::shard::{Position, ShardId};

use super::{
    Claimed, ComponentDigest, Ending, Owner, PreviousClaim, RegisteredConsumer, StartPoint, StoreError, StreamIdentity,
    StreamState, in_stream, rules,
};

/// One pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pipeline {
    pub(super) generation: u64,
    pub(super) claim: Option<PreviousClaim>,
    pub(super) streams: BTreeMap<StreamIdentity, Stream>,
    pub(super) marks: BTreeMap<String, u64>,
}

/// One stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) start: StartPoint,
    pub(super) consumer: Option<RegisteredConsumer>,
    /// By the shard's text; the shards in them are of stream 0.
    pub(super) rows: BTreeMap<String, ShardRow>,
}

impl Pipeline {
    /// [`super::LeaseStore::claim`].
    pub(super) fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Claimed {
        self.generation += 1;
        let claim = PreviousClaim { owner: owner.clone(), components: components.to_vec(), ending: Ending::Unreleased };
        let previous = self.claim.replace(claim);
        self.claimed(previous)
    }

    /// What a claim finds.
    pub(super) fn claimed(&self, previous: Option<PreviousClaim>) -> Claimed {
        Claimed {
            generation: self.generation,
            previous,
            streams: self.streams.iter().map(|(identity, stream)| stream.state(identity)).collect(),
            marks: self.marks.iter().map(|(sink, mark)| (sink.clone(), *mark)).collect(),
        }
    }

    /// [`super::LeaseStore::start_stream`].
    pub(super) fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        if let Some(found) = self.streams.get(stream) {
            return Err(StoreError::AlreadyStarted { arn: stream.arn.clone(), start: found.start });
        }
        let mut started = Stream { start, consumer: None, rows: BTreeMap::new() };
        rows.iter().try_for_each(|row| started.create(row))?;
        self.streams.insert(stream.clone(), started);
        Ok(())
    }

    /// [`super::LeaseStore::forget_stream`].
    pub(super) fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        match self.streams.remove(stream) {
            Some(_) => Ok(()),
            None => Err(rules::not_started(stream)),
        }
    }

    /// [`super::LeaseStore::note_consumer`].
    pub(super) fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        let found = self.streams.get_mut(stream).ok_or_else(|| rules::not_started(stream))?;
        found.consumer = consumer.cloned();
        Ok(())
    }

    /// [`super::LeaseStore::commit`].
    pub(super) fn commit(
        &mut self,
        streams: &[StreamIdentity],
        commit: &Commit,
        sinks: &[String],
    ) -> Result<(), StoreError> {
        for row in &commit.create {
            self.stream_of(&row.shard, streams)?.create(row)?;
        }
        for advance in &commit.advance {
            let rows = &mut self.stream_of(&advance.shard, streams)?.rows;
            let found = rows.get_mut(advance.shard.as_str());
            let found = found.ok_or_else(|| rules::absent(&advance.shard, &advance.from))?;
            *found = in_stream(&rules::advanced(found, advance)?, 0);
        }
        for shard in &commit.forget {
            let rows = &mut self.stream_of(shard, streams)?.rows;
            let found = rows.remove(shard.as_str()).ok_or_else(|| rules::absent(shard, &Position::ShardEnd))?;
            rules::forgotten(&found)?;
        }
        for mark in &commit.marks {
            let sink = rules::mark(mark, sinks)?;
            self.marks.insert(sink.to_owned(), mark.mark);
        }
        Ok(())
    }

    /// [`super::LeaseStore::release`].
    pub(super) const fn release(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.ending = Ending::Released;
        }
    }

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
