//! What is known of one stream apart from its shards. Streams share nothing but the sinks: each is listed, and fails to
//! be listed, by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::StreamSettings;
use super::listing::{Coverage, Suspicion};
use crate::discovery::Discovery;
use crate::lineage::Lineage;
use crate::moment::Moment;
use crate::shard::ShardId;

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) settings: StreamSettings,
    pub(super) lineage: Lineage,
    pub(super) discovery: Discovery,
    pub(super) coverage: Coverage,
    /// Whether the configured start is spent: it holds for the first shards ever seen and for no others.
    pub(super) start_spent: bool,
    /// An earlier run has rows of it: shards may have come and gone since.
    pub(super) continued: bool,
    /// The last full listing that a question waits for.
    pub(super) question: u64,
    /// Shards whose ends wait for listings to show their children.
    pub(super) ends: BTreeSet<ShardId>,
    /// Shards that are not finished and that full listings lack.
    pub(super) vanishing: BTreeMap<ShardId, Suspicion>,
    /// Of a run until caught up: the shards that its first full listing names as parents.
    pub(super) closed_at_start: Option<BTreeSet<ShardId>>,
    /// Shards forgotten in this run, with the full listings since that lack them: one that is listed again is not new.
    pub(super) forgotten: BTreeMap<ShardId, Suspicion>,
}

impl Stream {
    pub(super) fn new(settings: StreamSettings, interval: Duration, audit_interval: Duration, now: Moment) -> Self {
        Self {
            settings,
            lineage: Lineage::default(),
            discovery: Discovery::new(interval, audit_interval, now),
            coverage: Coverage::default(),
            start_spent: settings.start_spent,
            continued: false,
            question: 1,
            ends: BTreeSet::new(),
            vanishing: BTreeMap::new(),
            closed_at_start: None,
            forgotten: BTreeMap::new(),
        }
    }

    /// Asks for a full listing at `at` or sooner. The run is not over before it is in.
    pub(super) fn ask(&mut self, at: Moment) -> u64 {
        self.question = self.discovery.want(at);
        self.question
    }

    /// Whether no listing is owed that could show more.
    pub(super) fn is_settled(&self) -> bool {
        self.discovery.has_answered(self.question) && self.coverage.is_settled() && !self.lineage.is_investigating()
    }
}
