//! The shell around the core: performs each action as the host does, and tells the oracle.

use std::ops::AddAssign;
use std::time::Duration;

use host_core::cursor::{Cursor, PageFacts};
use host_core::gap;
use host_core::moment::{EpochMillis, Moment};
use host_core::patience::{RetryLimits, Trouble, Verdict};
use host_core::shard::Position;
use host_core::subscription::{Action, Failure, SILENCE_MAX, Subscription, Why};

use crate::dice::Dice;
use crate::oracle::{Judgement, Oracle};
use crate::plan::{Plan, Start};
use crate::service::{Event, Item, Outcome, Service, epoch, sequence};

/// After the trouble: a call that hangs, a pause that others caused, a silence.
const RECOVERY: u64 = 35_000 + 90_000 + 15_000;

/// What happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    steps: u64,
    calls: u64,
    events: u64,
    records: u64,
    breaks: u64,
    takeovers: u64,
    silences: u64,
    renewals: u64,
    pauses: u64,
    gaps: u64,
    tips: u64,
    struggles: u64,
    ends: u64,
    caught_up: u64,
    denied: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.calls += other.calls;
        self.events += other.events;
        self.records += other.records;
        self.breaks += other.breaks;
        self.takeovers += other.takeovers;
        self.silences += other.silences;
        self.renewals += other.renewals;
        self.pauses += other.pauses;
        self.gaps += other.gaps;
        self.tips += other.tips;
        self.struggles += other.struggles;
        self.ends += other.ends;
        self.caught_up += other.caught_up;
        self.denied += other.denied;
    }
}

impl Tally {
    /// Everything that can happen has happened.
    pub(crate) fn is_rich(&self) -> bool {
        let rarest = [
            self.calls,
            self.events,
            self.records,
            self.breaks,
            self.takeovers,
            self.silences,
            self.renewals,
            self.pauses,
            self.gaps,
            self.tips,
            self.struggles,
            self.ends,
            self.caught_up,
            self.denied,
        ];
        rarest.iter().all(|count| *count >= 20)
    }
}

enum Heard {
    Item(Item),
    Nothing,
}

pub(crate) struct History {
    plan: Plan,
    dice: Dice,
    service: Service,
    oracle: Oracle,
    state: Subscription,
    now: u64,
    /// The service's time before which the next event was not made.
    asked_at: EpochMillis,
    /// There is no room for the next event until then.
    room_at: Option<u64>,
    tally: Tally,
    /// When it subscribed.
    calls: Vec<u64>,
    traced: bool,
}

const fn moment(at: u64) -> Moment {
    Moment::from_millis(at)
}

/// Timers fire late, never early.
fn millis(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_nanos().div_ceil(1_000_000)).expect("small")
}

impl History {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        Self::of(plan, dice, traced)
    }

    pub(crate) fn of(plan: Plan, mut dice: Dice, traced: bool) -> Self {
        let service = Service::new(plan.clone(), Dice::new(dice.between(0, u64::MAX - 1)));
        let (from, known) = match plan.start {
            Start::Horizon => (Position::TrimHorizon, None),
            Start::At(at) => (Position::AtTimestamp(epoch(at)), None),
            Start::After(index) => {
                let (at, number) = service.records[index];
                (Position::after(sequence(number)), Some(epoch(at)))
            }
        };
        let stop_at = plan.until_caught_up.then(|| epoch(plan.begins_at));
        let was_closed = plan.closes_at.is_some_and(|closed| closed <= plan.begins_at);
        let cursor = Cursor::new(from, stop_at).to_its_end(was_closed).with_complete_until(known);
        let mut state = Subscription::new(cursor, RetryLimits::default(), moment(plan.begins_at));
        if let Start::At(at) = plan.start {
            state = state.starting_at(moment(at - plan.clock_error));
        }
        let oracle = Oracle::new(&plan, &service);
        let (now, asked_at) = (plan.begins_at, EpochMillis(0));
        Self {
            plan,
            dice,
            service,
            oracle,
            state,
            now,
            asked_at,
            room_at: None,
            tally: Tally::default(),
            calls: Vec::new(),
            traced,
        }
    }

    fn trace(&self, what: impl Fn() -> String) {
        if self.traced {
            eprintln!("{:>8} {}", self.now, what());
        }
    }

    fn earliest(&self) -> EpochMillis {
        EpochMillis(epoch(self.now).0 - self.plan.clock_error.cast_signed())
    }

    fn ends_at(&self) -> u64 {
        let last = self.plan.closes_at.unwrap_or(0).max(self.plan.calm_at + 120_000) + 40_000;
        last.max(self.plan.calm_at + self.plan.timeout + RECOVERY)
    }

    pub(crate) fn run(mut self) -> Result<Tally, String> {
        self.trace(|| format!("{:?}", self.plan));
        let outcome = self.read();
        outcome.map_err(|violation| format!("{violation} (at {})", self.now))?;
        Ok(self.tally)
    }

    /// When it called.
    pub(crate) fn calls(mut self) -> Result<Vec<u64>, String> {
        self.read()?;
        Ok(self.calls)
    }

    fn read(&mut self) -> Judgement {
        while self.now < self.ends_at() {
            self.tally.steps += 1;
            if self.tally.steps > 200_000 {
                return Err("it spins".into());
            }
            self.obey_pause();
            let action = self.state.next(moment(self.now));
            self.trace(|| format!("{action:?}"));
            match action {
                Action::Finished(finish) => {
                    self.tally.ends += u64::from(finish == host_core::cursor::Finish::End);
                    self.tally.caught_up += u64::from(finish == host_core::cursor::Finish::CaughtUp);
                    return self.oracle.finished(&self.service, &self.plan, finish);
                }
                Action::Wait(until) => self.pass_until(millis(until)),
                Action::Paused(until) => {
                    self.oracle.waits_paused(self.now)?;
                    self.pass_until(until.map_or(u64::MAX, millis));
                }
                Action::LetGo(why) => self.let_go(why)?,
                Action::Subscribe { from } => {
                    if self.subscribe(&from)? {
                        return Ok(());
                    }
                }
                Action::Receive => {
                    self.oracle.listens(self.now)?;
                    if let Heard::Item(item) = self.listen()?
                        && self.take(item)?
                    {
                        return Ok(());
                    }
                }
            }
        }
        self.is_all_read()
    }

    fn is_all_read(&self) -> Judgement {
        if self.plan.closes_at.is_some() {
            return Err(format!("the shard's end is not reached: {:?}", self.state));
        }
        match self.oracle.owed(&self.service) {
            Some(owed) if self.service.records[owed].0 + 10_000 < self.now => {
                Err(format!("record {owed} was never read: {:?}", self.state))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn obey_pause(&mut self) {
        let is_paused = self.plan.pauses.partition_point(|at| *at <= self.now) % 2 == 1;
        if is_paused {
            self.state.pause(moment(self.now));
        } else {
            self.state.resume();
        }
        self.oracle.paused(self.now, is_paused);
    }

    /// When somebody pauses or resumes the reader next.
    fn changes_at(&self) -> u64 {
        self.plan.pauses.get(self.plan.pauses.partition_point(|at| *at <= self.now)).copied().unwrap_or(u64::MAX)
    }

    fn pass_until(&mut self, until: u64) {
        self.pass(until.min(self.changes_at()).min(self.ends_at()));
    }

    fn pass(&mut self, until: u64) {
        self.now = self.now.max(until);
        self.service.advance(self.now);
    }

    /// True if the reader stops.
    fn subscribe(&mut self, from: &Position) -> Result<bool, String> {
        self.oracle.subscribes(self.now, from)?;
        self.tally.calls += 1;
        self.calls.push(self.now);
        let asked_at = self.earliest();
        let (answered, outcome) = self.service.subscribe(from);
        self.now = answered;
        match outcome {
            Outcome::Granted => {
                self.asked_at = asked_at;
                self.room_at = None;
                self.state.subscribed(moment(self.now), self.dice.jitter());
                self.oracle.granted(self.now);
                Ok(false)
            }
            Outcome::Failed(failure) => self.fail(failure),
        }
    }

    fn listen(&mut self) -> Result<Heard, String> {
        let until = millis(self.state.listen(moment(self.now)));
        if until > self.now + 35_000 {
            return Err(format!("it would listen until {until}"));
        }
        let line = self.service.line.as_ref().expect("who listens is subscribed");
        if line.buffer.front().is_none_or(|front| front.arrives_at > self.now) {
            // What comes now was not made long ago. What has been on hand may have been.
            let lately = EpochMillis(self.earliest().0 - i64::try_from(SILENCE_MAX.as_millis()).expect("small"));
            self.asked_at = self.asked_at.max(lately);
        }
        loop {
            let line = self.service.line.as_ref().expect("who listens is subscribed");
            let front = line.buffer.front();
            if let Some(arriving) = front.filter(|front| front.arrives_at <= self.now) {
                let room_at = *self.room_at.get_or_insert(self.now + arriving.no_room);
                if room_at <= self.now || self.now >= self.plan.calm_at {
                    self.room_at = None;
                    let line = self.service.line.as_mut().expect("who listens is subscribed");
                    return Ok(Heard::Item(line.buffer.pop_front().expect("it was there").item));
                }
            }
            let due = front.map_or(u64::MAX, |front| front.arrives_at.max(self.room_at.unwrap_or(0)));
            let next = due.min(self.service.next_happening().unwrap_or(u64::MAX));
            let limit = until.min(self.changes_at());
            if next <= limit {
                self.pass(next);
                continue;
            }
            self.pass(limit);
            if limit == until && self.changes_at() > until && self.room_at.is_some() {
                self.state.heard();
                self.oracle.hears();
            }
            return Ok(Heard::Nothing);
        }
    }

    fn take(&mut self, item: Item) -> Result<bool, String> {
        match item {
            Item::Event(event) => {
                self.event(&event)?;
                Ok(false)
            }
            Item::End => {
                self.service.line = None;
                let verdict = self.state.ended(moment(self.now), self.dice.jitter());
                self.trace(|| format!("ended: {verdict:?}"));
                self.oracle.fails(self.now, None, verdict)?;
                Ok(false)
            }
            Item::Broken(failure) => self.fail(failure),
        }
    }

    fn event(&mut self, event: &Event) -> Judgement {
        self.trace(|| format!("{event:?}"));
        self.oracle.hears();
        let claimed = self.state.cursor().complete_until();
        let latest = epoch(self.now + self.plan.clock_error);
        let told = gap::possible_loss(claimed, latest, Duration::from_millis(self.plan.retention));
        if let Some((_, until)) = told {
            self.tally.gaps += 1;
            self.state.cursor_mut().passed_over(until);
        }
        self.oracle.arrives(&self.service, event, claimed, told.map(|(_, until)| until))?;
        self.hand_over();
        let records = &self.service.records[event.from..event.to];
        let last = records.last().copied();
        let facts = PageFacts {
            records: u64::try_from(records.len()).expect("small"),
            bytes: 0,
            last: last.map(|(_, number)| Position::after(sequence(number))),
            newest_arrival: last.map(|(at, _)| epoch(at)),
            last_arrival: last.map(|(at, _)| epoch(at)),
            asked_at: Some(self.asked_at),
            has_next: !event.is_last,
            millis_behind: event.behind,
        };
        self.tally.events += 1;
        self.tally.records += facts.records;
        let ended = self.state.event(moment(self.now), &facts, event.continuation.map(sequence));
        self.service.permit();
        self.oracle.handed(self.now, event, ended)?;
        if let Some(until) = self.state.cursor().complete_until() {
            self.oracle.complete(&self.service, until, "complete until")?;
        }
        if let Some(at) = self.state.cursor_mut().tip(moment(self.now)) {
            self.tally.tips += 1;
            self.oracle.tip(&self.service, event, at)?;
        }
        Ok(())
    }

    /// The sinks may be slow for minutes.
    fn hand_over(&mut self) {
        let is_slow = self.now < self.plan.calm_at && self.dice.percent(self.plan.slow_hand_over);
        let lasts = if is_slow { self.dice.between(1, self.plan.hand_over_max) } else { self.dice.between(0, 20) };
        let limit = self.plan.calm_at.max(self.now + 20);
        self.pass((self.now + lasts).min(limit));
        if let Some((_, until)) = self.plan.sinks_stop.filter(|(from, until)| (*from..*until).contains(&self.now)) {
            self.pass(until);
        }
    }

    fn let_go(&mut self, why: Why) -> Judgement {
        let line = self.service.line.take().expect("it was held");
        let arrived = line.buffer.front().is_some_and(|front| front.arrives_at < self.now);
        let verdict = self.state.let_go(moment(self.now), why, self.dice.jitter());
        self.oracle.lets_go(self.now, why, arrived)?;
        self.tally.silences += u64::from(why == Why::Silent);
        self.tally.renewals += u64::from(why == Why::Renewed);
        self.tally.pauses += u64::from(why == Why::Paused);
        self.oracle.bears(self.now, verdict, why == Why::Silent, false)
    }

    fn fail(&mut self, failure: Failure) -> Result<bool, String> {
        let was_subscribed = self.service.line.take().is_some();
        let verdict = self.state.failed(moment(self.now), failure, self.dice.jitter());
        self.trace(|| format!("{failure:?}: {verdict:?}"));
        self.tally.breaks += u64::from(was_subscribed);
        self.tally.takeovers += u64::from(was_subscribed && failure == Failure::InUse);
        self.oracle.fails(self.now, Some(failure), verdict)?;
        match verdict {
            Verdict::Again { struggling, .. } => {
                self.tally.struggles += u64::from(struggling.is_some());
                Ok(false)
            }
            Verdict::GiveUp => {
                self.tally.denied += 1;
                if failure == Failure::Trouble(Trouble::Denied) {
                    Ok(true)
                } else {
                    Err(format!("{failure:?} ends it"))
                }
            }
        }
    }
}
