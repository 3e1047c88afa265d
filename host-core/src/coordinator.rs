//! The centre: everything that happens to a stream's shards comes in as an event, everything to be done goes out as an
//! effect.
//!
//! Per shard, a run goes one way:
//!
//! ```text
//! unknown --listed--> Waiting --row and parents' ends durable--> Reading --read to the end--> Ending --end durable--> Finished
//!                                                                   |--the run's end--> CaughtUp
//!                                                                   '--Close----------> Closing --> Closed
//! ```
//!
//! Three rules carry the guarantees. A shard is opened only on the strength of what is durable, never of what is merely
//! known (LIN-1, POS-1). A position is made from receipts that touch one another, never from reads (CKP-1). A commit is
//! built from the rows as they are durable, and the next one only after its answer, so that a commit can neither skip nor
//! repeat a step (CKP-2).
//!
//! The shell performs effects in the order given and reports back; the coordinator survives every report that comes late,
//! twice or not at all (a reader of an earlier session, a listing nobody waits for).

mod vocabulary;
mod session;
mod listing;
mod reading;
mod committing;
mod finishing;
mod assigning;
mod aligning;
mod losing;

use std::collections::BTreeMap;

pub use self::vocabulary::{
    AssignerPolicy, Effect, Event, Notice, Placement, ReadReport, Receipt, Round, Settings, ShardState, ShardView,
    StartPoint, Totals,
};

use self::aligning::Comparison;
use self::committing::Commits;
use self::finishing::Mode;
use self::listing::Coverage;
use self::session::{Session, Shard, Stage};
use crate::assignment::Assignments;
use crate::checkpoint::ShardRow;
use crate::discovery::Discovery;
use crate::lineage::Lineage;
use crate::moment::{EpochMillis, Moment};
use crate::shard::ShardId;
use crate::watermark::StreamWatermark;

/// The state of one pipeline over one stream.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    mode: Mode,
    /// The store's rows as the last answered commit left them: the only ground for opening a shard.
    rows: BTreeMap<ShardId, ShardRow>,
    shards: BTreeMap<ShardId, Shard>,
    lineage: Lineage,
    discovery: Discovery,
    coverage: Coverage,
    commits: Commits,
    /// Sessions opened so far.
    sessions: u64,
    /// Whether the configured start is spent: it holds for the first shards ever seen and for no others.
    start_spent: bool,
    /// A stage, a row or a parent may have changed: look at all shards again.
    look_again: bool,
    assignments: Assignments,
    watermark: StreamWatermark,
    comparison: Comparison,
    totals: Totals,
}

impl Coordinator {
    /// A run that continues from the store's rows. Nothing happens before the first event, which is [`Event::Tick`].
    #[must_use]
    pub fn new(settings: Settings, restored: Vec<ShardRow>, now: Moment) -> Self {
        let mut lineage = Lineage::default();
        restored.iter().for_each(|row| lineage.restore(row));
        let shards = restored.iter().map(|row| (row.shard.clone(), Shard::restored(row, now))).collect();
        Self {
            mode: Mode::Running,
            start_spent: !restored.is_empty(),
            rows: restored.into_iter().map(|row| (row.shard.clone(), row)).collect(),
            shards,
            lineage,
            discovery: Discovery::new(settings.discovery_interval, now),
            coverage: Coverage::default(),
            commits: Commits::new(now + settings.checkpoint_interval),
            sessions: 0,
            look_again: true,
            watermark: StreamWatermark::default(),
            comparison: Comparison::new(now),
            assignments: Assignments::new(settings.assigner, settings.parallelism, settings.discovery_interval),
            totals: Totals::default(),
            settings,
        }
    }

    /// Takes in one event and appends what is to be done. `wall` only stamps the end of shards and measures retention.
    pub fn handle(&mut self, now: Moment, wall: EpochMillis, event: Event, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Finished {
            return;
        }
        match event {
            Event::Tick => {}
            Event::Listed { shards } => self.listed(now, &shards, effects),
            Event::ListingFailed => self.discovery.failed(now),
            Event::Read(report) => self.read(now, &report),
            Event::ReadToEnd { shard, session, children } => {
                self.read_to_end(now, &shard, session, &children);
            }
            Event::CaughtUp { shard, session } => self.stopped(&shard, session, Stage::CaughtUp),
            Event::Closed { shard, session } => self.stopped(&shard, session, Stage::Closed),
            Event::Delivered(receipt) => self.delivered(now, receipt),
            Event::Committed { id } => self.committed(id, effects),
            Event::Assigned { round, answer } => self.assigned(now, round, answer, effects),
            Event::SubtaskLost { subtask } => self.subtask_lost(subtask, effects),
            Event::Drain => self.drain(effects),
            Event::Abandon => self.abandon(effects),
        }
        self.go_on(now, wall, effects);
    }

    /// When to send the next [`Event::Tick`] if nothing else happens; `None` while only events can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let commit = if self.mode == Mode::Finished { None } else { self.commits.deadline() };
        if self.mode != Mode::Running {
            return commit;
        }
        let due = [self.discovery.deadline(), self.assignments.deadline(), self.comparison.deadline()];
        due.into_iter().chain([commit]).flatten().min()
    }

    /// Every known shard, in the order of their ids.
    pub fn shards(&self) -> impl Iterator<Item = ShardView<'_>> {
        self.shards.iter().map(|(id, shard)| {
            let row = self.rows.get(id);
            let session = shard.session();
            ShardView {
                shard: id,
                subtask: self.assignments.subtask(id),
                state: shard.stage.state(),
                paused: session.is_some_and(Session::is_paused),
                position: row.map(|row| &row.position),
                in_flight: session.map_or(0, |session| session.ledger.in_flight()),
                watermark: session.map_or(row.and_then(|row| row.watermark), |session| session.watermark.value()),
            }
        })
    }

    /// Sums over the run so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let finished = self.rows.values().filter(|row| row.position.is_end()).count();
        Totals { shards: self.shards.len(), finished, ..self.totals }
    }

    /// The event time up to which all shards that are not idle are complete. Never falls.
    #[must_use]
    pub const fn watermark(&self) -> Option<EpochMillis> {
        self.watermark.value()
    }

    /// What may be due after any event, in the order in which one thing enables the next.
    fn go_on(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) {
        if self.mode == Mode::Running {
            if self.discovery.ask(now) {
                effects.push(Effect::List);
            }
            self.give_up_assigner(now, effects);
            if self.look_again {
                self.open_readable(now, effects);
            }
            self.ask_assigner(now, effects);
        }
        self.compare_watermarks(now, effects);
        self.finish(now, wall, effects);
        self.look_again = false;
    }

    fn is_unfinished(&self, shard: &ShardId) -> bool {
        self.shards.get(shard).is_some_and(|shard| !matches!(shard.stage, Stage::Finished))
    }

    /// The shard's own durable watermark, or where its parents ended.
    fn inherited_watermark(&self, shard: &ShardId) -> Option<EpochMillis> {
        let own = self.rows.get(shard).and_then(|row| row.watermark);
        let parents = self.lineage.parents(shard).filter_map(|parent| self.rows.get(parent)?.watermark).min();
        own.max(parents)
    }

    fn session_mut(&mut self, shard: &ShardId, session: u64) -> Option<&mut Session> {
        self.shards.get_mut(shard)?.session_mut().filter(|open| open.id == session)
    }
}

#[cfg(test)]
mod tests;
