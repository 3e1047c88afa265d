//! The service: one shard, and the rules of `SubscribeToShard`.

use std::collections::VecDeque;

use host_core::moment::EpochMillis;
use host_core::patience::Trouble;
use host_core::shard::{Position, SequenceNumber};
use host_core::subscription::Failure;

use crate::dice::Dice;
use crate::plan::Plan;

/// The service's clock when the world begins.
pub(crate) const EPOCH: i64 = 1_700_000_000_000;
const LIFE: u64 = 300_000;
const INTERVAL: u64 = 5_000;
/// Sequence numbers a millisecond.
const NUMBERS: u64 = 1_000;

/// What the transport brings.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Event(Event),
    End,
    Broken(Failure),
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Records `from..to` of the shard.
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) made_at: u64,
    pub(crate) continuation: Option<u64>,
    pub(crate) is_last: bool,
    pub(crate) behind: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Arriving {
    pub(crate) arrives_at: u64,
    /// How long there is no room for it, once it is listened for.
    pub(crate) no_room: u64,
    pub(crate) item: Item,
}

/// A subscription, and what is on its way.
#[derive(Debug)]
pub(crate) struct Line {
    next: usize,
    last_push: u64,
    beat: u64,
    ends_at: u64,
    breaks_at: u64,
    stalls_at: u64,
    /// Nothing more is put into it.
    is_over: bool,
    pub(crate) buffer: VecDeque<Arriving>,
}

/// What a call comes to, and when.
pub(crate) enum Outcome {
    Granted,
    Failed(Failure),
}

pub(crate) struct Service {
    plan: Plan,
    dice: Dice,
    pub(crate) now: u64,
    /// Arrivals and sequence numbers.
    pub(crate) records: Vec<(u64, u64)>,
    last_grant: Option<u64>,
    pub(crate) line: Option<Line>,
    others: VecDeque<u64>,
    denials: u32,
}

pub(crate) const fn epoch(at: u64) -> EpochMillis {
    EpochMillis(EPOCH + at.cast_signed())
}

pub(crate) fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber::parse(&number.to_string()).expect("decimal")
}

pub(crate) fn number(sequence: &SequenceNumber) -> u64 {
    sequence.as_str().parse().expect("one of ours")
}

impl Service {
    pub(crate) fn new(plan: Plan, dice: Dice) -> Self {
        let (mut records, mut before) = (Vec::new(), 0);
        for at in &plan.writes {
            before = (at * NUMBERS + 1).max(before + 1);
            records.push((*at, before));
        }
        let others = plan.others.iter().copied().collect();
        Self { now: plan.begins_at, plan, dice, records, last_grant: None, line: None, others, denials: 0 }
    }

    const fn is_calm(&self) -> bool {
        self.now >= self.plan.calm_at
    }

    /// The oldest record that is kept.
    pub(crate) fn horizon(&self, now: u64) -> usize {
        self.records.partition_point(|(at, _)| at + self.plan.retention < now)
    }

    fn written(&self, now: u64) -> usize {
        self.records.partition_point(|(at, _)| *at <= now)
    }

    /// The record that a reader at `from` is owed first.
    pub(crate) fn place(&self, from: &Position) -> usize {
        match from {
            Position::TrimHorizon => 0,
            Position::AtTimestamp(at) => self.records.partition_point(|(arrival, _)| epoch(*arrival) < *at),
            Position::After { sequence, .. } => {
                let after = number(sequence);
                self.records.partition_point(|(_, number)| *number <= after)
            }
            Position::ShardEnd => self.records.len(),
        }
    }

    /// Passes the time until then, without anybody listening.
    pub(crate) fn advance(&mut self, to: u64) {
        while let Some(at) = self.next_happening().filter(|at| *at <= to) {
            self.happen(at);
        }
        self.now = self.now.max(to);
    }

    /// When something happens next.
    pub(crate) fn next_happening(&self) -> Option<u64> {
        let line = self.line.as_ref().filter(|line| !line.is_over).map(|line| self.line_happens_at(line));
        let other = self.others.front().copied();
        line.into_iter().chain(other).min().filter(|at| *at < u64::MAX).map(|at| at.max(self.now))
    }

    fn line_happens_at(&self, line: &Line) -> u64 {
        self.push_at(line).min(line.ends_at).min(line.breaks_at).max(self.now)
    }

    fn push_at(&self, line: &Line) -> u64 {
        if line.buffer.len() >= self.plan.window {
            return u64::MAX;
        }
        let due = match (self.records.get(line.next), self.plan.closes_at) {
            (Some((at, _)), _) => (*at).min(line.last_push + line.beat),
            (None, Some(closed)) => closed.min(line.last_push + line.beat),
            (None, None) => line.last_push + line.beat,
        };
        let at = due.max(line.last_push + 20).max(self.now);
        if at >= line.stalls_at { u64::MAX } else { at }
    }

    /// Performs what is next, at `at`.
    pub(crate) fn happen(&mut self, at: u64) {
        self.now = at;
        if self.others.front().is_some_and(|other| *other <= at) {
            self.others.pop_front();
            if self.last_grant.is_none_or(|last| at >= last + INTERVAL) {
                self.last_grant = Some(at);
                self.break_off(Failure::InUse);
            }
            return;
        }
        let Some(line) = self.line.take() else { return };
        if line.ends_at <= at || line.breaks_at <= at {
            let is_end = line.ends_at <= at;
            self.line = Some(line);
            if is_end {
                self.put(Item::End, true);
            } else {
                let failure = self.trouble();
                self.break_off(failure);
            }
            return;
        }
        let is_due = self.push_at(&line) <= at;
        self.line = Some(line);
        if is_due {
            self.push();
        }
    }

    fn trouble(&mut self) -> Failure {
        let troubles = [Trouble::Transient, Trouble::Throttled, Trouble::Unreachable];
        let which = self.dice.size(0, 2);
        Failure::Trouble(*troubles.get(which).expect("three"))
    }

    /// The connection breaks: some of what is on its way is lost with it.
    fn break_off(&mut self, failure: Failure) {
        let Some(line) = self.line.as_mut().filter(|line| !line.is_over) else { return };
        let kept = self.dice.between(0, u64::try_from(line.buffer.len()).expect("small"));
        line.buffer.truncate(usize::try_from(kept).expect("small"));
        self.put(Item::Broken(failure), true);
    }

    fn put(&mut self, item: Item, is_over: bool) {
        let transit_max = if self.is_calm() { 5 } else { self.plan.transit_max };
        let arrives_at = self.now + self.dice.between(1, transit_max.max(1));
        let no_room =
            if !self.is_calm() && self.dice.percent(self.plan.no_room) { self.dice.between(1, 120_000) } else { 0 };
        let beat = self.dice.between(500, self.plan.beat_max);
        let now = self.now;
        let line = self.line.as_mut().expect("there is one");
        let arrives_at = arrives_at.max(line.buffer.back().map_or(0, |last| last.arrives_at));
        line.buffer.push_back(Arriving { arrives_at, no_room, item });
        line.is_over |= is_over;
        (line.last_push, line.beat) = (now, beat);
    }

    fn push(&mut self) {
        let now = self.now;
        let (horizon, written) = (self.horizon(now), self.written(now));
        let line = self.line.as_ref().expect("there is one");
        let from = line.next.max(horizon).min(written.max(line.next));
        let scans = from < written && self.dice.percent(self.plan.scans);
        let to = if scans { from } else { written.min(from + self.plan.page_max).max(from) };
        let is_closed = self.plan.closes_at.is_some_and(|closed| closed <= now);
        let is_read = is_closed && to == self.records.len();
        let is_last = is_read && (from == to || self.dice.percent(self.plan.end_with_records));
        let behind = self.records.get(to).filter(|_| to < written).map_or(0, |(at, _)| now - at + 1);
        // After everything that was sent, before anything that was not.
        let scanned = if to < written { self.records[to].1 - 1 } else { (now * NUMBERS).max(self.last_before(to)) };
        let continuation = if is_last {
            None
        } else if self.dice.percent(self.plan.lagging) {
            (to > from).then(|| self.records[from].1)
        } else {
            Some(scanned)
        };
        let behind = if to > from && self.dice.percent(self.plan.lagging) { None } else { Some(behind.cast_signed()) };
        self.line.as_mut().expect("there is one").next = to;
        self.put(Item::Event(Event { from, to, made_at: now, continuation, is_last, behind }), is_last);
    }

    fn last_before(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.records[before].1)
    }

    /// `SubscribeToShard`, which is answered at the time given with it.
    pub(crate) fn subscribe(&mut self, from: &Position) -> (u64, Outcome) {
        let asked = self.now;
        let way = self.dice.between(5, 150);
        self.advance(asked + way);
        let outcome = self.decide(asked, from);
        let answered = match outcome {
            Some(_) => self.now + self.dice.between(5, 150),
            None => asked + self.plan.timeout,
        };
        self.advance(answered);
        (answered, outcome.unwrap_or(Outcome::Failed(Failure::Trouble(Trouble::Transient))))
    }

    /// `None`: no answer ever comes.
    fn decide(&mut self, asked: u64, from: &Position) -> Option<Outcome> {
        let calm = self.is_calm();
        if self.plan.denied_at.is_some_and(|at| asked >= at) {
            return Some(Outcome::Failed(Failure::Trouble(Trouble::Denied)));
        }
        if self.plan.outage.is_some_and(|(begin, end)| (begin..end).contains(&asked)) {
            let failure = self.trouble();
            return Some(Outcome::Failed(failure));
        }
        if !calm && self.dice.percent(self.plan.call_fails) {
            let failure = self.trouble();
            return Some(Outcome::Failed(failure));
        }
        if !calm && self.denials < 2 && self.dice.percent(self.plan.call_denied) {
            self.denials += 1;
            return Some(Outcome::Failed(Failure::Trouble(Trouble::Denied)));
        }
        if matches!(from, Position::AtTimestamp(at) if *at > epoch(self.now)) {
            return Some(Outcome::Failed(Failure::TooEarly));
        }
        if self.last_grant.is_some_and(|last| self.now < last + INTERVAL) {
            return Some(Outcome::Failed(Failure::InUse));
        }
        let hangs = !calm && self.dice.percent(self.plan.call_hangs);
        if hangs && self.dice.percent(50) {
            return None;
        }
        self.last_grant = Some(self.now);
        if hangs {
            // Granted, and nobody learns of it.
            return None;
        }
        self.line = Some(self.open(from));
        Some(Outcome::Granted)
    }

    fn open(&mut self, from: &Position) -> Line {
        let (now, calm) = (self.now, self.is_calm());
        let (plan, dice) = (&self.plan, &mut self.dice);
        let mut chance = |chance| !calm && dice.percent(chance);
        let (early, late, breaks) = (chance(plan.early_ends), chance(plan.late_ends), chance(plan.breaks));
        let (stalls, is_short) = (chance(plan.stalls), chance(plan.empty_lives));
        let life = match (is_short, early, late) {
            (true, _, _) => 0,
            (false, true, _) => dice.between(500, LIFE),
            (false, false, true) => LIFE + dice.between(0, 60_000),
            (false, false, false) => LIFE,
        };
        let later = |dice: &mut Dice, is: bool| {
            let at = now + dice.between(0, LIFE);
            if is && at < plan.calm_at { at } else { u64::MAX }
        };
        let (breaks_at, stalls_at) = (later(dice, breaks), later(dice, stalls));
        let breaks_at = plan.cut_at.filter(|cut| *cut > now).map_or(breaks_at, |cut| breaks_at.min(cut));
        let ends_at = if stalls_at < u64::MAX { u64::MAX } else { now + life };
        let next = self.place(from).max(self.horizon(now));
        Line { next, last_push: now, beat: 50, ends_at, breaks_at, stalls_at, is_over: false, buffer: VecDeque::new() }
    }

    /// An event was handed on: who was denied now may again.
    pub(crate) const fn permit(&mut self) {
        self.denials = 0;
    }
}
