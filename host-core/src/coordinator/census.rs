//! All shards of a run, and counts of them.
//!
//! Ten thousand shards bring ten thousand times as many events, so nothing may visit all shards because of one event. What
//! an event needs to know about all of them is counted here, at the only place where a shard can be changed.

#[cfg(test)]
use std::cell::Cell;
use std::collections::BTreeMap;

use super::session::Shard;
use super::{Census, ShardState};
use crate::shard::ShardId;

/// The shards, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Shards {
    shards: BTreeMap<ShardId, Shard>,
    census: Census,
    /// How often a shard was looked at: a measure of work that does not depend on the machine.
    #[cfg(test)]
    visits: Cell<u64>,
}

impl Shards {
    pub(super) fn get(&self, id: &ShardId) -> Option<&Shard> {
        self.visit(1);
        self.shards.get(id)
    }

    pub(super) fn insert(&mut self, id: ShardId, shard: Shard) {
        self.remove(&id);
        self.census.add(&shard);
        self.shards.insert(id, shard);
    }

    pub(super) fn remove(&mut self, id: &ShardId) {
        if let Some(shard) = self.shards.remove(id) {
            self.census.subtract(&shard);
        }
    }

    /// Changes a shard; `None` if there is no such shard.
    pub(super) fn update<R>(&mut self, id: &ShardId, change: impl FnOnce(&mut Shard) -> R) -> Option<R> {
        self.visit(1);
        let shard = self.shards.get_mut(id)?;
        self.census.subtract(shard);
        let result = change(shard);
        self.census.add(shard);
        Some(result)
    }

    /// Visits every shard: for timers, and for what happens once in a run.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ShardId, &Shard)> {
        self.shards.iter().inspect(|_| self.visit(1))
    }

    /// Visits every shard of one stream.
    pub(super) fn of_stream(&self, stream: u32) -> impl Iterator<Item = (&ShardId, &Shard)> {
        let shards = self.shards.range(ShardId::in_stream(stream, "")..);
        shards.take_while(move |(id, _)| id.stream() == stream).inspect(|_| self.visit(1))
    }

    pub(super) const fn census(&self) -> Census {
        self.census
    }

    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }

    #[cfg(test)]
    pub(super) fn visits(&self) -> u64 {
        self.visits.get()
    }

    #[cfg(test)]
    fn visit(&self, shards: u64) {
        self.visits.set(self.visits.get() + shards);
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests count")]
    const fn visit(&self, _shards: u64) {}
}

impl Census {
    fn add(&mut self, shard: &Shard) {
        *self.count(shard.stage.state()) += 1;
        self.unsettled += usize::from(!shard.is_settled());
    }

    fn subtract(&mut self, shard: &Shard) {
        *self.count(shard.stage.state()) -= 1;
        self.unsettled -= usize::from(!shard.is_settled());
    }

    const fn count(&mut self, state: ShardState) -> &mut usize {
        match state {
            ShardState::Waiting => &mut self.waiting,
            ShardState::Reading => &mut self.reading,
            ShardState::Ending => &mut self.ending,
            ShardState::CaughtUp => &mut self.caught_up,
            ShardState::Closing => &mut self.closing,
            ShardState::Closed => &mut self.closed,
            ShardState::Reopening => &mut self.reopening,
            ShardState::Gone => &mut self.gone,
            ShardState::Finished => &mut self.finished,
        }
    }
}
