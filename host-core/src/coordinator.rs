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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::vocabulary::{
    AssignerPolicy, Census, Effect, Event, Notice, Placement, ReadReport, Receipt, Round, Settings, ShardState,
    ShardView, StartPoint, StreamSettings, Totals,
};
pub use crate::discovery::Scope;
pub use crate::gap::{Gap, GapReason, OnGap};

use self::census::Shards;
use self::committing::Commits;
use self::finishing::Mode;
use self::session::{Shard, Stage};
use self::stream::Stream;
use self::vanishing::index;
use crate::assignment;
use crate::checkpoint::ShardRow;
use crate::lineage::Lineage;
use crate::moment::{EpochMillis, Moment};
use crate::shard::ShardId;
use crate::watermark::StreamWatermark;

/// How often the watermark over all shards is taken: it visits every shard, and events come by the thousand.
const WATERMARK_INTERVAL: Duration = Duration::from_millis(100);
/// For how many shards that interval is long enough; it grows with their number.
const WATERMARK_SHARDS: usize = 1_000;

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
    watermark: StreamWatermark,
    watermark_due: Moment,
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
            of.start_spent = true;
            shards.insert(row.shard.clone(), Shard::restored(&row));
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
            watermark_due: now,
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
            // Uniform decides for everybody; a subtask that is lost takes its run along.
            Event::Tick | Event::Assigned { .. } | Event::SubtaskLost { .. } => {}
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
            Event::Gap(gap) => self.gap(gap, effects),
            Event::CaughtUp { shard, session } => self.stopped(&shard, session, Stage::CaughtUp),
            Event::Closed { shard, session } => self.stopped(&shard, session, Stage::Closed),
            Event::Delivered(receipt) => self.delivered(receipt),
            Event::Committed { id } => self.committed(id, effects),
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
        listings.chain(commit).chain(self.look_at.first().map(|(at, _)| *at)).min()
    }

    /// Every known shard, in the order of their ids.
    pub fn shards(&self) -> impl Iterator<Item = ShardView<'_>> {
        self.shards.iter().map(|(id, shard)| {
            let row = self.rows.get(id);
            let session = shard.session();
            ShardView {
                shard: id,
                subtask: Some(self.subtask(id)),
                state: shard.stage.state(),
                paused: false,
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
        self.look_around(now, running, effects);
        if now >= self.watermark_due {
            let scale = u32::try_from(1 + self.shards.len() / WATERMARK_SHARDS).unwrap_or(u32::MAX);
            self.watermark_due = now + WATERMARK_INTERVAL.saturating_mul(scale);
            self.raise_watermark(now);
        }
        self.finish(now, wall, effects);
        self.stirred = false;
    }

    fn subtask(&self, shard: &ShardId) -> u32 {
        let range = self.lineage(shard).and_then(|lineage| lineage.range(shard));
        assignment::uniform(shard, range, self.settings.parallelism)
    }

    fn lineage(&self, shard: &ShardId) -> Option<&Lineage> {
        self.streams.get(index(shard.stream())).map(|of| &of.lineage)
    }

    fn parents<'a>(&'a self, shard: &ShardId) -> impl Iterator<Item = &'a ShardId> {
        self.lineage(shard).into_iter().flat_map(|lineage| lineage.parents(shard))
    }

    fn raise_watermark(&mut self, now: Moment) {
        let idle_after = self.settings.idle_after;
        let held_by_parent = |id: &ShardId| self.parents(id).any(|parent| self.is_unfinished(parent));
        let holding = self.shards.iter().filter_map(|(id, shard)| match &shard.stage {
            Stage::Finished | Stage::Gone(None, _) => None,
            // A parent that is still read speaks for its children.
            Stage::Waiting => (!held_by_parent(id)).then(|| self.inherited_watermark(id)),
            Stage::Reading(session)
            | Stage::Ending(session, _)
            | Stage::CaughtUp(session)
            | Stage::Closing(session)
            | Stage::Closed(session)
            | Stage::Reopening(session, _)
            | Stage::Gone(Some(session), _) => (!session.is_idle(now, idle_after)).then(|| session.watermark.holding()),
        });
        let mut watermark = self.watermark;
        watermark.raise(holding);
        self.watermark = watermark;
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
