//! What must hold, told by what the service knows and what the reader did.

use host_core::cursor::Finish;
use host_core::moment::EpochMillis;
use host_core::patience::{Spell, Trouble, Verdict};
use host_core::shard::Position;
use host_core::subscription::{Failure, Why};

use crate::plan::{Plan, Start};
use crate::service::{Event, Service, epoch, number};

pub(crate) type Judgement = Result<(), String>;

const SECOND: u64 = 1_000;

/// The reader's subscription, as it knows of it.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: u64,
    heard: bool,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    /// The first record that is owed.
    next: usize,
    /// Arrivals before this have been told as lost.
    passed: Option<EpochMillis>,
    last_grant: Option<u64>,
    held: Option<Held>,
    paused_since: Option<u64>,
    listening_since: Option<u64>,
    /// The last continuation and the last record.
    reached: u64,
    told: bool,
    failing_since: Option<u64>,
    failures: u32,
    denied: u32,
    disputed: bool,
    /// Nothing but time has ended the last subscription.
    of_age: bool,
}

impl Oracle {
    pub(crate) fn new(plan: &Plan, service: &Service) -> Self {
        let next = match plan.start {
            Start::Horizon => 0,
            Start::After(index) => index + 1,
            Start::At(at) => service.place(&Position::AtTimestamp(epoch(at))),
        };
        Self {
            next,
            passed: None,
            last_grant: None,
            held: None,
            paused_since: None,
            listening_since: None,
            reached: 0,
            told: false,
            failing_since: None,
            failures: 0,
            denied: 0,
            disputed: false,
            of_age: false,
        }
    }

    pub(crate) fn paused(&mut self, now: u64, is_paused: bool) {
        if is_paused {
            self.paused_since.get_or_insert(now);
            self.listening_since = None;
        } else {
            self.paused_since = None;
        }
    }

    /// Nobody who is paused keeps a subscription for long.
    pub(crate) fn waits_paused(&self, now: u64) -> Judgement {
        match (self.paused_since, self.held) {
            (None, _) => Err("it waits for a resumption that was there".into()),
            (Some(since), Some(_)) if now >= since + 10 * SECOND => {
                Err(format!("paused since {since}, and the subscription is still held"))
            }
            (Some(_), _) => Ok(()),
        }
    }

    pub(crate) fn subscribes(&self, now: u64, from: &Position) -> Judgement {
        if self.paused_since.is_some() {
            return Err("it subscribes while paused".into());
        }
        if let Some(last) = self.last_grant.filter(|last| now < last + 5 * SECOND) {
            return Err(format!("a call within five seconds of the one granted at {last}"));
        }
        match from {
            Position::After { sequence, .. } if number(sequence) < self.reached => {
                Err(format!("it begins at {sequence}, behind {}", self.reached))
            }
            Position::TrimHorizon | Position::AtTimestamp(_) if self.reached > 0 => {
                Err(format!("it begins {from}, behind {}", self.reached))
            }
            Position::TrimHorizon | Position::AtTimestamp(_) | Position::After { .. } => Ok(()),
            Position::ShardEnd => Err("it begins at the end".into()),
        }
    }

    pub(crate) const fn granted(&mut self, now: u64) {
        self.last_grant = Some(now);
        self.held = Some(Held { since: now, heard: false });
        self.listening_since = None;
    }

    pub(crate) fn listens(&mut self, now: u64) -> Judgement {
        if self.paused_since.is_some() {
            return Err("it listens while paused".into());
        }
        let Some(held) = self.held else { return Err("it listens to nothing".into()) };
        if now >= held.since + 330 * SECOND {
            return Err(format!("the subscription of {} outlives itself", held.since));
        }
        let since = *self.listening_since.get_or_insert(now);
        if now >= since + 35 * SECOND { Err(format!("silent since {since}, and still listened to")) } else { Ok(()) }
    }

    /// An event is here, or there is no room for it.
    pub(crate) const fn hears(&mut self) {
        self.listening_since = None;
    }

    pub(crate) fn lets_go(&mut self, now: u64, why: Why, arrived: bool) -> Judgement {
        let Some(held) = self.held.take() else { return Err("it lets go of nothing".into()) };
        let listened = self.listening_since.take();
        match why {
            Why::Silent if arrived => Err("something has arrived, and it is left as silent".into()),
            Why::Silent if listened.is_none_or(|since| now < since + 35 * SECOND) => {
                Err(format!("listened to since {listened:?} only, and left as silent"))
            }
            Why::Paused if self.paused_since.is_none_or(|since| now < since + 10 * SECOND) => {
                Err(format!("paused since {:?} only, and let go", self.paused_since))
            }
            Why::Renewed if now < held.since + 29 * SECOND => Err(format!("renewed after {} ms", now - held.since)),
            Why::Renewed if self.of_age && now < held.since + 330 * SECOND => {
                Err(format!("out of step already, and renewed after {} ms", now - held.since))
            }
            Why::Renewed => {
                // Who was busy meanwhile may be late.
                self.of_age = listened.is_some();
                Ok(())
            }
            Why::Silent | Why::Paused => {
                self.of_age = false;
                Ok(())
            }
        }
    }

    /// The subscription or a call failed; `None`: the service ended it in order.
    pub(crate) fn fails(&mut self, now: u64, failure: Option<Failure>, verdict: Verdict) -> Judgement {
        let held = self.held.take();
        self.listening_since = None;
        self.of_age = false;
        match (failure, held) {
            (None, Some(Held { heard: true, since })) => {
                self.of_age = (285 * SECOND..305 * SECOND).contains(&(now - since));
                return self.bears(now, verdict, false, false);
            }
            (None, Some(Held { heard: false, .. })) => {}
            (None, None) => return Err("nothing was there to end".into()),
            (Some(Failure::TooEarly), _) => return self.bears(now, verdict, false, false),
            (Some(Failure::Trouble(Trouble::Denied)), _) => self.denied += 1,
            (Some(Failure::InUse), Some(_)) => {
                self.disputed = true;
                return self.bears(now, verdict, true, true);
            }
            (Some(Failure::InUse | Failure::Trouble(_)), _) => {}
        }
        self.bears(now, verdict, true, false)
    }

    /// What is told of it.
    pub(crate) fn bears(&mut self, now: u64, verdict: Verdict, counts: bool, at_once: bool) -> Judgement {
        let Verdict::Again { after, struggling } = verdict else {
            return if self.denied >= 3 { Ok(()) } else { Err(format!("gives up after {} denials", self.denied)) };
        };
        if self.denied >= 3 {
            return Err(format!("denied {} times, and goes on", self.denied));
        }
        if after.as_secs() > 90 {
            return Err(format!("a pause of {after:?}"));
        }
        self.failures += u32::from(counts);
        let since = if counts { *self.failing_since.get_or_insert(now) } else { now };
        let is_due = at_once || self.failures >= 50 || now >= since + 30 * SECOND;
        match (struggling, self.told) {
            (Some(_), true) => Err("told twice".into()),
            (Some(_), false) if !is_due => Err(format!("told after {} failures since {since}", self.failures)),
            (Some(_), false) => {
                self.told = true;
                Ok(())
            }
            (None, false) if counts && is_due => Err(format!("{} failures since {since}, untold", self.failures)),
            (None, true | false) => Ok(()),
        }
    }

    /// Records arrive; `claimed` is how complete the shard was read before.
    pub(crate) fn arrives(
        &mut self,
        service: &Service,
        event: &Event,
        claimed: Option<EpochMillis>,
        told: Option<EpochMillis>,
    ) -> Judgement {
        let horizon = service.horizon(event.made_at);
        self.passed = self.passed.max(told);
        if claimed.is_none() {
            // It begins with what is kept.
            self.next = self.next.max(horizon);
        }
        if event.from == event.to {
            return Ok(());
        }
        if event.from < self.next {
            return Err(format!("record {} comes again, after {}", event.from, self.next));
        }
        let mut missed = (self.next..event.from).filter(|index| !self.is_told(service, *index));
        if let Some(missed) = missed.next() {
            let fate = if missed < horizon { "trimmed and untold" } else { "left out" };
            return Err(format!("record {missed} is {fate}, record {} comes", event.from));
        }
        self.next = event.to;
        self.reached = self.reached.max(service.records[event.to - 1].1);
        Ok(())
    }

    fn is_told(&self, service: &Service, index: usize) -> bool {
        self.passed.is_some_and(|passed| epoch(service.records[index].0) < passed)
    }

    /// The event was handed on.
    pub(crate) fn handed(&mut self, now: u64, event: &Event, ended: Option<Spell>) -> Judgement {
        let Some(held) = &mut self.held else { return Err("an event without a subscription".into()) };
        held.heard = true;
        self.listening_since = None;
        self.reached = self.reached.max(event.continuation.unwrap_or(0));
        self.denied = 0;
        if self.disputed && now < held.since + 60 * SECOND {
            return if ended.is_some() { Err("a takeover counts as over at once".into()) } else { Ok(()) };
        }
        (self.disputed, self.failing_since, self.failures) = (false, None, 0);
        if ended.is_some() != std::mem::take(&mut self.told) {
            return Err(format!("a struggle ends as {ended:?}"));
        }
        Ok(())
    }

    /// Every record that arrived before `until` was handed on, or its loss was told.
    pub(crate) fn complete(&self, service: &Service, until: EpochMillis, what: &str) -> Judgement {
        match self.owed(service) {
            Some(owed) if epoch(service.records[owed].0) < until => Err(format!(
                "{what} {until:?} is claimed, and record {owed} of {:?} was not handed on",
                epoch(service.records[owed].0)
            )),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn tip(&self, service: &Service, event: &Event, at: EpochMillis) -> Judgement {
        if event.is_last || event.to > event.from {
            return Err(format!("a tip with {event:?}"));
        }
        self.complete(service, at, "a tip at")
    }

    /// The first record that is still to be handed on.
    pub(crate) fn owed(&self, service: &Service) -> Option<usize> {
        (self.next..service.records.len()).find(|index| !self.is_told(service, *index))
    }

    pub(crate) fn finished(&self, service: &Service, plan: &Plan, finish: Finish) -> Judgement {
        match (finish, self.owed(service)) {
            (_, None) => Ok(()),
            (Finish::End, Some(owed)) => Err(format!("the end, and record {owed} is owed")),
            (Finish::CaughtUp, Some(owed)) if service.records[owed].0 < plan.begins_at => {
                Err(format!("caught up, and record {owed} is owed"))
            }
            (Finish::CaughtUp, Some(_)) => Ok(()),
        }
    }
}
