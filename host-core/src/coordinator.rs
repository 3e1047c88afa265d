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
//! A reader that does not find its shard leaves it Reopening; one that listings lack again and again is Gone, and its end
//! is made durable without having been read, once that was told (GAP-1).
//!
//! A shard is read by one subtask, which it gets when it is first about to be opened (ASN-1). One whose subtask is lost is
//! Lost until what is confirmed of it is durable, and is opened again with another session. A reader may be paused: that
//! is no stage, because whatever it asked for before still comes, and its end may be in it.
//!
//! The shell performs effects in the order given and reports back; the coordinator survives every report that comes late,
//! twice or not at all (a reader of an earlier session, a listing nobody waits for).

mod vocabulary;
mod session;
mod census;
mod stream;
mod listing;
mod vanishing;
mod reading;
mod committing;
mod finishing;
mod assigning;
mod aligning;
mod losing;

use std::collections::{BTreeMap, BTreeSet};

pub use self::vocabulary::{
    AssignerPolicy, Census, Effect, Event, Notice, Placement, ReadReport, Receipt, Round, Settings, ShardState,
    ShardView, StartPoint, StreamSettings, Totals,
};
pub use crate::discovery::Scope;
pub use crate::gap::{Gap, GapReason, OnGap};

use self::aligning::Comparison;
use self::census::Shards;
use self::committing::Commits;
use self::finishing::Mode;
use self::session::{Session, Shard, Stage};
use self::stream::Stream;
use self::vanishing::index;
use crate::assignment::Assignments;
use crate::checkpoint::ShardRow;
use crate::lineage::Lineage;
use crate::moment::{EpochMillis, Moment};
use crate::shard::ShardId;
use crate::watermark::StreamWatermark;

/// The state of one pipeline over its streams.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: Settings,
    mode: Mode,
    /// The store's rows as the last answered commit left them: the only ground for opening a shard.
    rows: BTreeMap<ShardId, ShardRow>,
    shards: Shards,
    streams: Vec<Stream>,
    commits: Commits,
    /// Sessions opened so far.
    sessions: u64,
    /// Shards to look at after this event, and at a time.
    to_look: BTreeSet<ShardId>,
    look_at: BTreeSet<(Moment, ShardId)>,
    /// Something changed that the end of the run may have waited for.
    stirred: bool,
    /// A gap stops the run.
    stopped: bool,
    assignments: Assignments,
    watermark: StreamWatermark,
    comparison: Comparison,
    totals: Totals,
}

impl Coordinator {
    /// A run that continues from the store's rows. Nothing happens before the first event, which is [`Event::Tick`]. Rows of
    /// streams that `settings` do not have are left alone.
    #[must_use]
    pub fn new(settings: Settings, restored: Vec<ShardRow>, now: Moment) -> Self {
        let stream = |of: &StreamSettings| Stream::new(*of, settings.discovery_interval, settings.audit_interval, now);
        let mut streams: Vec<Stream> = settings.streams.iter().map(stream).collect();
        let (mut shards, mut rows) = (Shards::default(), BTreeMap::new());
        for row in restored {
            let Some(of) = streams.get_mut(index(row.shard.stream())) else { continue };
            of.lineage.restore(&row);
            (of.start_spent, of.continued) = (true, true);
            shards.insert(row.shard.clone(), Shard::restored(&row, now));
            rows.insert(row.shard.clone(), row);
        }
        Self {
            mode: Mode::Running,
            to_look: rows.keys().cloned().collect(),
            rows,
            shards,
            streams,
            commits: Commits::new(now + settings.checkpoint_interval),
            sessions: 0,
            look_at: BTreeSet::new(),
            stirred: true,
            stopped: false,
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
            Event::Listed { stream, scope, shards } => self.listed(now, wall, stream, &scope, shards, effects),
            Event::ListingFailed { stream } => {
                if let Some(of) = self.streams.get_mut(index(stream)) {
                    of.discovery.failed(now);
                }
            }
            Event::Read(report) => self.read(now, &report),
            Event::ReadToEnd { shard, session, children } => self.read_to_end(now, &shard, session, children, effects),
            Event::AtTip { shard, session, at } => self.at_tip(now, &shard, session, at),
            Event::ShardGone { shard, session } => self.shard_gone(now, &shard, session),
            Event::Gap(gap) => self.tell_gap(gap, effects),
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
        let listings = self.streams.iter().filter_map(|of| of.discovery.deadline());
        let due = [self.assignments.deadline(), self.comparison.deadline(), self.look_at.first().map(|(at, _)| *at)];
        listings.chain(commit).chain(due.into_iter().flatten()).min()
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

    /// How many shards stand where.
    #[must_use]
    pub const fn census(&self) -> Census {
        self.shards.census()
    }

    /// Sums over the run so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { shards: self.shards.len(), finished: self.shards.census().finished, ..self.totals }
    }

    /// The event time up to which all shards that are not idle are complete. Never falls.
    #[must_use]
    pub const fn watermark(&self) -> Option<EpochMillis> {
        self.watermark.value()
    }

    /// What may be due after any event, in the order in which one thing enables the next.
    fn go_on(&mut self, now: Moment, wall: EpochMillis, effects: &mut Vec<Effect>) {
        let running = self.mode == Mode::Running;
        if running {
            for (stream, of) in (0..).zip(&mut self.streams) {
                if let Some(scope) = of.discovery.ask(now, of.lineage.greatest()) {
                    effects.push(Effect::List { stream, scope });
                }
            }
        }
        self.give_up_assigner(now, effects);
        self.look_around(now, running, effects);
        if running {
            self.ask_assigner(now, effects);
        }
        self.compare_watermarks(now, effects);
        self.finish(now, wall, effects);
        self.stirred = false;
    }

    fn lineage(&self, shard: &ShardId) -> Option<&Lineage> {
        self.streams.get(index(shard.stream())).map(|of| &of.lineage)
    }

    fn parents<'a>(&'a self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.lineage(shard).into_iter().flat_map(|lineage| lineage.parents(shard))
    }

    fn is_unfinished(&self, shard: &ShardId) -> bool {
        self.shards.get(shard).is_some_and(|shard| !matches!(shard.stage, Stage::Finished))
    }

    /// The shard's own durable watermark, or where its parents ended.
    fn inherited_watermark(&self, shard: &ShardId) -> Option<EpochMillis> {
        let own = self.rows.get(shard).and_then(|row| row.watermark);
        let parents = self.parents(shard).filter_map(|parent| self.rows.get(parent)?.watermark).min();
        own.max(parents)
    }
}

#[cfg(test)]
mod tests;
