//! What is known of each stream of the source. One stream's listings, failures and questions are its own; only the
//! assignment of shards, the watermark and the commits are common to all.

use std::time::Duration;

use super::listing::Coverage;
use super::vocabulary::{Scope, Settings, StartPoint, StreamSettings};
use super::{Coordinator, Effect};
use crate::discovery::{Discovery, Extent};
use crate::lineage::Lineage;
use crate::moment::Moment;
use crate::shard::{Position, ShardId};

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) lineage: Lineage,
    pub(super) discovery: Discovery,
    pub(super) coverage: Coverage,
    pub(super) retention: Duration,
    start: StartPoint,
    /// Whether the configured start is spent: it holds for the first shards ever seen and for no others.
    start_spent: bool,
    /// The last full listing that an end asked for.
    pub(super) end_ticket: u64,
    /// The largest identifier ever listed.
    newest: Option<ShardId>,
    /// A full listing came in since finished shards were last looked through.
    pub(super) may_forget: bool,
}

impl Stream {
    pub(super) fn new(settings: &Settings, stream: &StreamSettings, now: Moment) -> Self {
        Self {
            lineage: Lineage::default(),
            discovery: Discovery::new(settings.discovery_interval, settings.audit_interval, now),
            coverage: Coverage::default(),
            retention: stream.retention,
            start: stream.start,
            start_spent: stream.start_spent,
            end_ticket: 0,
            newest: None,
            may_forget: false,
        }
    }

    /// The start of shards that are new in a listing (LIN-3).
    pub(super) const fn spend_start(&mut self, lists_any: bool) -> Position {
        if self.start_spent {
            return Position::TrimHorizon;
        }
        self.start_spent = lists_any;
        self.start.position()
    }

    pub(super) fn note_newest<'a>(&mut self, listed: impl Iterator<Item = &'a ShardId>) {
        let newest = listed.max();
        if self.newest.as_ref() < newest {
            self.newest = newest.cloned();
        }
    }

    /// Everything that was asked of listings is answered.
    pub(super) fn is_settled(&self) -> bool {
        self.discovery.has_answered(1)
            && self.discovery.has_answered(self.end_ticket)
            && self.coverage.is_settled()
            && !self.lineage.is_investigating()
    }
}

impl Coordinator {
    /// The stream of a shard. Every shard here is of one of the settings' streams.
    pub(super) fn stream(&self, shard: &ShardId) -> &Stream {
        &self.streams[shard.stream() as usize]
    }

    pub(super) fn stream_mut(&mut self, shard: &ShardId) -> &mut Stream {
        &mut self.streams[shard.stream() as usize]
    }

    pub(super) fn lineage(&self, shard: &ShardId) -> &Lineage {
        &self.stream(shard).lineage
    }

    pub(super) fn has_stream(&self, index: u32) -> bool {
        (index as usize) < self.streams.len()
    }

    pub(super) fn ask_for_listings(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (index, stream) in (0_u32..).zip(&mut self.streams) {
            let scope = match (stream.discovery.ask(now, stream.newest.is_some()), &stream.newest) {
                (None, _) => continue,
                (Some(Extent::Incremental), Some(newest)) => Scope::After(newest.clone()),
                (Some(Extent::Full | Extent::Incremental), _) => Scope::Full,
            };
            effects.push(Effect::List { stream: index, scope });
        }
    }
}
