//! The host around the core, with a clock of its own: readers, a sink, a store, and a process that dies.

use std::collections::{BTreeMap, BTreeSet};

use host_core::checkpoint::Commit;
use host_core::coordinator::{
    Census, Coordinator, Effect, Event, Gap, GapReason, Notice, OnGap, Receipt, Scope, Settings, ShardState,
    StartPoint, StreamSettings,
};
use host_core::cursor::Cursor;
use host_core::moment::{EpochMillis, Moment};
use host_core::shard::{ShardDescription, ShardId};

use crate::dice::Dice;
use crate::faults::{Ending, Plan, Run};
use crate::oracle::{Oracle, Verdict};
use crate::readers::{Batch, Reader};
use crate::retention::Decay;
use crate::served::Served;
use crate::subtasks::{Hazards, Subtasks};
use crate::times::Times;
use crate::world::World;

/// A run that is not over by then, in steps and in time after the world is quiet, never will be.
const STEPS_MAX: u64 = 200_000;
const PATIENCE: u64 = 300_000;
/// What is about to happen.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Write,
    Reshard,
    Deliver(Event),
    List { stream: u32, scope: Scope },
    Answer { stream: u32, scope: Scope, shards: BTreeSet<usize>, listing: Vec<ShardDescription> },
    Poll { shard: usize, session: u64 },
    Sink(Batch),
    Receipt { shard: usize, index: usize, receipt: Receipt },
    Store(Commit),
    Lose(u32),
    TellLoss(u32),
    Decide(u64, Result<Vec<(ShardId, u32)>, String>),
    Drain,
    Abandon,
    Crash,
}

/// One life of the process.
pub(crate) struct Process {
    pub(crate) core: Coordinator,
    pub(crate) run: Run,
    pub(crate) readers: BTreeMap<usize, Reader>,
    /// By stream: what the first full listing of the run showed.
    pub(crate) first_listed: BTreeMap<u32, BTreeSet<usize>>,
    effects_left: Option<u64>,
    pub(crate) subtasks: Subtasks,
    pub(crate) times: Times,
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Crashed,
    Finished,
}

pub(crate) struct History {
    pub(crate) plan: Plan,
    pub(crate) hazards: Hazards,
    /// How the sink's service answers.
    pub(crate) served: Served,
    /// The service trims.
    pub(crate) decay: Option<Decay>,
    /// Policy of this run.
    pub(crate) on_gap: OnGap,
    pub(crate) dice: Dice,
    pub(crate) world: World,
    pub(crate) oracle: Oracle,
    pub(crate) now: u64,
    agenda: BTreeMap<(u64, u64), (u64, Item)>,
    scheduled: u64,
    /// Things of an earlier life do not happen in a later one.
    pub(crate) life: u64,
    steps: u64,
    pub(crate) drained: bool,
    abandoned: bool,
    traced: bool,
}

impl History {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut plan = Plan::draw(&mut dice);
        let decay = Decay::draw(seed, &mut plan);
        let world = World::new(&plan, &mut dice);
        let start = plan.start_at.map(|at| EpochMillis(i64::try_from(at).expect("small")));
        let mut oracle = Oracle::new(plan.preserve_order, start);
        oracle.losses.on = decay.is_some();
        let mut hazards = Hazards::draw(seed, &plan);
        if decay.is_some() {
            // Who waits for whom hangs on tips, which are told in these histories alone.
            hazards.max_drift = None;
        }
        let served = Served::draw(seed, &plan);
        let mut history = Self {
            hazards,
            served,
            decay,
            on_gap: OnGap::Fail,
            plan,
            dice,
            world,
            oracle,
            now: 0,
            agenda: BTreeMap::new(),
            scheduled: 0,
            life: 0,
            steps: 0,
            drained: false,
            abandoned: false,
            traced,
        };
        history.write_the_worlds_fate();
        history
    }

    /// Runs the history to its end; returns how many things happened.
    pub(crate) fn run(mut self) -> Result<u64, String> {
        self.trace(|history| format!("{:#?}\n{:?}\n{:?}", history.plan, history.hazards, history.served));
        self.pass_until(self.plan.begins_at)?;
        if self.decay.is_none() {
            self.world.expire_history(self.now, &self.plan, &mut self.dice);
        }
        let last = self.plan.runs.len() - 1;
        for (index, run) in self.plan.runs.clone().into_iter().enumerate() {
            // Who sees shards again that expired long ago may take their parents for lost.
            let policy = if self.plan.listing_repeats > 0 { OnGap::Continue } else { OnGap::Fail };
            self.on_gap = self.decay.as_mut().map_or(policy, |decay| decay.policy(index == last));
            self.pass_until(run.starts_at)?;
            self.live(run)?;
        }
        self.oracle.is_over(&self.world)?;
        Ok(self.steps)
    }

    fn write_the_worlds_fate(&mut self) {
        for _ in 0..self.plan.writes {
            let at = self.dice.between(1, self.plan.quiet_at);
            self.schedule_at(at, 0, Item::Write);
        }
        for _ in 0..self.plan.reshards {
            let at = self.dice.between(1, self.plan.quiet_at);
            self.schedule_at(at, 0, Item::Reshard);
        }
    }

    pub(crate) fn schedule_at(&mut self, at: u64, life: u64, item: Item) {
        self.scheduled += 1;
        self.agenda.insert((at.max(self.now), self.scheduled), (life, item));
    }

    pub(crate) fn schedule(&mut self, delay_max: u64, item: Item) {
        let at = self.now + self.dice.between(0, delay_max);
        self.schedule_at(at, self.life, item);
    }

    fn trace(&self, line: impl FnOnce(&Self) -> String) {
        if self.traced {
            eprintln!("{:>7} {}", self.now, line(self));
        }
    }

    /// The world goes on while no process lives.
    fn pass_until(&mut self, until: u64) -> Verdict {
        self.life += 1;
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 < until) {
            let ((at, _), (_, item)) = entry.remove_entry();
            self.pass(self.now.max(at));
            self.happen_in_the_world(&item);
        }
        self.pass(self.now.max(until));
        Ok(())
    }

    fn pass(&mut self, now: u64) {
        self.now = now;
        if let Some(decay) = &self.decay {
            self.world.decay(now, decay);
        }
    }

    fn happen_in_the_world(&mut self, item: &Item) -> bool {
        let (write, reshard) = (matches!(item, Item::Write), matches!(item, Item::Reshard));
        if write {
            self.world.write(self.now, &mut self.dice);
        }
        if reshard {
            self.world.reshard(self.now, &mut self.dice);
        }
        write || reshard
    }

    fn live(&mut self, run: Run) -> Verdict {
        self.life += 1;
        self.oracle.run_starts();
        self.oracle.losses.run_starts(self.on_gap);
        (self.drained, self.abandoned) = (false, false);
        let run = Run { starts_at: self.now, ..run };
        self.trace(|_| format!("--- {run:?}"));
        let (life, mut effects_left) = (self.life, None);
        match run.ending {
            Ending::CrashAt(at) => self.schedule_at(at, life, Item::Crash),
            Ending::CrashAtEffect(effects) => effects_left = Some(effects),
            Ending::DrainAt(at) => self.schedule_at(at, life, Item::Drain),
            Ending::AbandonAt(at) => {
                self.schedule_at(at, life, Item::Drain);
                let patience = self.dice.between(0, 1_000);
                self.schedule_at(at + patience, life, Item::Abandon);
            }
            Ending::Complete => {}
        }
        let core =
            Coordinator::new(self.settings(run), self.oracle.rows.values().cloned().collect(), Moment::default());
        let (subtasks, times) = (Subtasks::default(), Times::default());
        let (readers, first_listed) = (BTreeMap::new(), BTreeMap::new());
        let mut process = Process { core, run, readers, first_listed, effects_left, subtasks, times };
        self.plan_losses();
        let mut end = self.handle(&mut process, Event::Tick)?;
        while end.is_none() {
            end = self.step(&mut process)?;
        }
        self.trace(|_| format!("--- {end:?}"));
        self.oracle.losses.run_ends(self.now, self.life);
        if end == Some(End::Finished) && !self.abandoned {
            self.oracle.ended_cleanly(&self.world)?;
            if run.until_caught_up && !self.drained {
                self.oracle.is_complete(&self.world, run.starts_at)?;
            }
        }
        Ok(())
    }

    fn settings(&self, run: Run) -> Settings {
        let at = |at| StartPoint::AtTimestamp(EpochMillis(i64::try_from(at).expect("small")));
        let stream = StreamSettings {
            start: self.plan.start_at.map_or(StartPoint::TrimHorizon, at),
            start_spent: false,
            retention: std::time::Duration::from_millis(self.plan.retention),
        };
        Settings {
            streams: vec![stream; usize::try_from(self.plan.streams).expect("small")],
            parallelism: self.plan.parallelism,
            assigner: self.hazards.assigner,
            discovery_interval: self.plan.discovery_interval,
            audit_interval: self.plan.audit_interval,
            checkpoint_interval: self.plan.checkpoint_interval,
            preserve_shard_order: self.plan.preserve_order,
            until_caught_up: run.until_caught_up,
            idle_after: self.plan.idle_after,
            max_drift: self.hazards.max_drift,
            on_gap: self.on_gap,
        }
    }

    /// The next thing happens, or the core's deadline passes.
    fn step(&mut self, process: &mut Process) -> Result<Option<End>, String> {
        self.steps += 1;
        let patience = PATIENCE + self.decay.as_ref().map_or(0, |decay| 6 * decay.retention);
        if self.steps > STEPS_MAX || self.now > self.plan.quiet_at.max(process.run.starts_at) + patience {
            return Err(format!("LIV-1: the run does not end: {:?}", process.core.shards().collect::<Vec<_>>()));
        }
        let started = process.run.starts_at;
        let deadline = process.core.next_deadline().map(|at| started + u64::try_from(at.0.as_millis()).expect("small"));
        let next = self.agenda.first_key_value().map(|(key, _)| key.0);
        match (deadline, next) {
            (None, None) => Err("LIV-1: nothing will ever happen".into()),
            (Some(at), next) if next.is_none_or(|next| at < next) => {
                self.pass(self.now.max(at));
                self.handle(process, Event::Tick)
            }
            (_, Some(_) | None) => {
                let ((at, _), (life, item)) = self.agenda.pop_first().expect("just seen");
                self.pass(self.now.max(at));
                if self.happen_in_the_world(&item) || life != self.life {
                    return Ok(None);
                }
                self.happen(process, item)
            }
        }
    }

    fn happen(&mut self, process: &mut Process, item: Item) -> Result<Option<End>, String> {
        match item {
            Item::Write | Item::Reshard => Ok(None),
            Item::Deliver(event) => self.handle(process, event),
            Item::List { stream, scope } => {
                self.list(stream, scope);
                Ok(None)
            }
            Item::Answer { stream, scope, shards, listing } => {
                if scope.is_full() {
                    if !shards.is_empty() {
                        process.first_listed.entry(stream).or_insert_with(|| shards.clone());
                    }
                    self.oracle.listed(stream, shards);
                }
                self.handle(process, Event::Listed { stream, scope, shards: listing })
            }
            Item::Poll { shard, session } => {
                self.poll(process, shard, session);
                Ok(None)
            }
            Item::Sink(batch) => {
                if !process.subtasks.dead.contains(&batch.session) {
                    self.sink(&batch)?;
                }
                Ok(None)
            }
            Item::Receipt { shard, index, mut receipt } => {
                let count = usize::try_from(receipt.count).expect("small");
                self.oracle.confirmed(&self.world, shard, index, count);
                self.note_delivered(process, shard, index, &mut receipt);
                self.handle(process, Event::Delivered(receipt))
            }
            Item::Store(commit) => {
                self.oracle.expire(&mut self.world, self.now, self.plan.retention);
                self.oracle.committed(&self.world, &commit)?;
                self.schedule(50, Item::Deliver(Event::Committed { id: commit.id }));
                Ok(None)
            }
            Item::Lose(subtask) => {
                self.lose(process, subtask);
                Ok(None)
            }
            Item::TellLoss(subtask) => {
                let event = self.tell_loss(process, subtask);
                self.handle(process, event)
            }
            Item::Decide(round, answer) => {
                self.decide(process, round, &answer);
                self.handle(process, Event::Assigned { round, answer })
            }
            Item::Drain => {
                self.drained = true;
                self.handle(process, Event::Drain)
            }
            Item::Abandon => {
                self.abandoned = true;
                self.handle(process, Event::Abandon)
            }
            Item::Crash => Ok(Some(End::Crashed)),
        }
    }

    fn handle(&mut self, process: &mut Process, event: Event) -> Result<Option<End>, String> {
        self.trace(|_| format!("{event:?}"));
        let look = matches!(event, Event::Committed { .. } | Event::Listed { .. });
        if let Event::Read(report) = &event {
            self.note_in_flight(process, report);
        }
        let mut effects = Vec::new();
        let wall = EpochMillis(i64::try_from(self.now).expect("small"));
        process.core.handle(Moment::from_millis(self.now - process.run.starts_at), wall, event, &mut effects);
        Self::recount(&process.core)?;
        for effect in effects {
            match &mut process.effects_left {
                Some(0) => return Ok(Some(End::Crashed)),
                Some(left) => *left -= 1,
                None => {}
            }
            self.trace(|_| format!("    {effect:?}"));
            if effect == Effect::Finished {
                return Ok(Some(End::Finished));
            }
            self.perform(process, effect)?;
        }
        self.check_times(process)?;
        self.drain_when_complete(process, look);
        Ok(None)
    }

    /// What is counted as it changes is what a count of all shards gives.
    fn recount(core: &Coordinator) -> Verdict {
        let mut count = Census::default();
        for view in core.shards() {
            *match view.state {
                ShardState::Waiting => &mut count.waiting,
                ShardState::Reading => &mut count.reading,
                ShardState::Ending => &mut count.ending,
                ShardState::CaughtUp => &mut count.caught_up,
                ShardState::Closing => &mut count.closing,
                ShardState::Closed => &mut count.closed,
                ShardState::Reopening => &mut count.reopening,
                ShardState::Gone => &mut count.gone,
                ShardState::Finished => &mut count.finished,
            } += 1;
        }
        // Receipts that came too early are not in the view: nothing in flight may still be unsettled.
        let in_flight = core.shards().filter(|view| view.in_flight > 0).count();
        let census = core.census();
        count.unsettled = census.unsettled;
        if census != count || census.unsettled < in_flight || core.totals().finished != count.finished {
            return Err(format!("the census is {census:?}, and a count gives {count:?} with {in_flight} unsettled"));
        }
        Ok(())
    }

    /// A run that has no end of its own is drained once everything is there.
    fn drain_when_complete(&mut self, process: &Process, look: bool) {
        let endless = process.run.ending == Ending::Complete && !process.run.until_caught_up;
        if look && endless && !self.drained && self.now > self.plan.quiet_at && self.oracle.is_over(&self.world).is_ok()
        {
            self.drained = true;
            self.schedule(500, Item::Drain);
        }
    }

    fn perform(&mut self, process: &mut Process, effect: Effect) -> Verdict {
        match effect {
            Effect::List { stream, scope } => self.schedule(200, Item::List { stream, scope }),
            Effect::Open { shard, session, subtask, from, range, complete_until, to_its_end } => {
                let index = self.world.find(&shard);
                self.placed(process, index, session, subtask)?;
                process.times.opened(index, self.now);
                if range != self.world.describe(index).range {
                    return Err(format!("ASN-1: {shard} has another range"));
                }
                self.oracle.opened(&self.world, index, &from)?;
                let reader = Reader {
                    session,
                    subtask,
                    read: Cursor::new(from.clone(), None).with_complete_until(complete_until),
                    halted: false,
                    cursor: from,
                    ordinal: 0,
                    to_its_end,
                    closing: false,
                    paused: false,
                    finished: false,
                    polling: true,
                    reported_at: self.now,
                    sunk_at: self.now,
                };
                process.readers.insert(index, reader);
                self.schedule(100, Item::Poll { shard: index, session });
            }
            Effect::Close { shard, session } => {
                self.tell(process, self.world.find(&shard), session, |reader| reader.closing = true);
            }
            Effect::Commit(commit) => self.schedule(100, Item::Store(commit)),
            Effect::Stop(gap) => {
                if self.on_gap != OnGap::Fail {
                    return Err(format!("GAP-1: the run goes on by policy, and is stopped: {gap:?}"));
                }
                self.drained = true;
                self.gap_told(&gap)?;
            }
            Effect::Notice(Notice::Gap(gap)) => self.gap_told(&gap)?,
            Effect::Pause { shard, session } => {
                let shard = self.world.find(&shard);
                self.check_pause(process, shard)?;
                self.tell(process, shard, session, |reader| reader.paused = true);
            }
            Effect::Resume { shard, session } => {
                let shard = self.world.find(&shard);
                self.tell(process, shard, session, |reader| reader.paused = false);
            }
            Effect::Assign(round) => self.ask(process, &round)?,
            Effect::Notice(_) | Effect::Finished => {}
        }
        Ok(())
    }

    fn gap_told(&mut self, gap: &Gap) -> Verdict {
        let Some(decay) = &self.decay else {
            let expired = self.world.shards[self.world.find(&gap.shard)].expired;
            if self.plan.listing_repeats > 0 && gap.reason == GapReason::ShardGone && expired {
                return Ok(());
            }
            return Err(format!("GAP-1: a gap is told where nothing is lost: {gap:?}"));
        };
        self.oracle.gap_told(&self.world, gap, self.now, decay.retention)
    }

    /// When the last receipt of `sessions` reaches the core.
    pub(crate) fn last_receipt(&self, sessions: &BTreeSet<u64>) -> Option<u64> {
        let theirs = self.agenda.iter().filter(|(_, (life, item))| {
            *life == self.life && matches!(item, Item::Receipt { receipt, .. } if sessions.contains(&receipt.session))
        });
        theirs.map(|((at, _), _)| *at).max()
    }

    fn list(&mut self, stream: u32, scope: Scope) {
        let unlisted = self.plan.unlisted.is_some_and(|(other, until)| other == stream && self.now < until);
        if unlisted || self.dice.percent(self.plan.listing_fails) {
            return self.schedule(300, Item::Deliver(Event::ListingFailed { stream }));
        }
        self.oracle.expire(&mut self.world, self.now, self.plan.retention);
        let listing = self.world.list(self.now, stream, &scope, &self.plan, &mut self.dice);
        let shards = listing.iter().map(|description| self.world.find(&description.id)).collect();
        self.schedule(300, Item::Answer { stream, scope, shards, listing });
    }
}
