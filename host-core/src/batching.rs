//! What goes to a sink when, in which requests, and what becomes of each entry.
//!
//! A sink that writes batches (`PutRecords`, `BatchWriteItem`) takes parts of a request and throws others back, throttles
//! one shard and not its neighbour, answers out of order or not at all. What is decided here, for any such service:
//!
//! - **When.** A request leaves once it is full (`max_count`, `max_bytes`), once an entry has waited for `max_age`, or at
//!   once if there is no room for more, nothing more will come (`close`), or others wait for what is here (`hurry`). An
//!   entry is due again as soon as its pause is over.
//! - **How fast.** Each destination has tokens of its own (`pace`); one without tokens keeps its entries, and no others.
//!   When nothing answers, all wait together, and one request tries.
//! - **In which order.** Where order is kept, a key has one entry under way. Two requests under way race each other, and
//!   within one request the service may throw back the first and take the second, so nothing weaker keeps it. And because
//!   a request that was given up may be carried out later, nothing newer of its keys is sent before that is over
//!   (`queues`). No sender can do more about a request that lands even later than that: a service that takes no condition
//!   with a write cannot tell it from a new one.
//! - **How often.** What counts as an attempt is what tells something about the entry:
//!
//! | | attempt | pause | may be written | its destination | the others |
//! |---|---|---|---|---|---|
//! | entry throttled | yes | its own, up to `max_delay` | no | slower | go on |
//! | entry failed | yes | its own, up to ten times that | no | as before | go on |
//! | request throttled | yes | its own, up to `max_delay` | no | slower | go on |
//! | request timed out, transient | yes | its own, up to ten times that | yes | as before | wait from the third in a row |
//! | request rejected | no | none | no | as before | go on; it is halved until the culprit is alone |
//! | unreachable, denied, contended | no | all together | no | as before | wait |
//!
//! An outage thus kills no entry, however few attempts it has; a request that never succeeds because of what is in it does
//! not go on for ever if `max_attempts` says so.
//!
//! The buffer is one for all destinations. It fills with what its slowest destination leaves, and then nothing is taken at
//! all: entries are taken in their order, so the one behind cannot be had without the one before.

mod vocabulary;
mod pace;
mod lanes;
mod queues;
mod settling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::moment::Moment;
use crate::patience::{Patience, Phase};
use lanes::{Lanes, Place};
use queues::{Key, Queues};
pub use vocabulary::{
    Action, Cause, Contradiction, Counts, Destination, Entry, Failure, Fate, Options, Order, Outcome, Quota, Refusal,
    Refused, RequestId, Setback, Settled,
};

/// An entry that is not settled.
#[derive(Clone, Debug)]
struct Held<T> {
    ticket: T,
    key: Key,
    destination: Destination,
    bytes: u64,
    arrived: Moment,
    due: Moment,
    /// Failed attempts at it, or at those that stood for it.
    attempts: u32,
    /// What the service has of it.
    fate: Fate,
}

/// An entry under way: whose turn it was, and what was sent. They differ where a newer one stands for an older one.
#[derive(Clone, Copy, Debug)]
struct Out {
    turn: Place,
    sent: Place,
}

#[derive(Clone, Debug)]
struct Request {
    outs: Vec<Out>,
    sent_at: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An entry may be sent again, or for the first time after a haunting.
    Turn(Place),
    /// A destination may be written to.
    Open(Destination),
    /// A key is haunted no more.
    Forget(Key),
}

/// The entries of one sink, from the moment they are taken until they are settled.
#[derive(Clone, Debug)]
pub struct Batcher<T> {
    options: Options,
    held: BTreeMap<Place, Held<T>>,
    bytes: u64,
    queues: Queues,
    lanes: Lanes,
    timers: BTreeSet<(Moment, Timer)>,
    requests: BTreeMap<RequestId, Request>,
    /// Parts of requests that were rejected: each is sent as it is.
    suspects: VecDeque<Vec<Out>>,
    settled: VecDeque<Settled<T>>,
    patience: Patience,
    /// Requests in a row that failed as a whole.
    failures: u32,
    resume_at: Moment,
    next_place: Place,
    next_request: u64,
    is_closing: bool,
    is_hurried: bool,
    sent: u64,
    repeated: u64,
    visits: u64,
}

impl<T: Clone> Batcher<T> {
    /// Holds nothing yet.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub fn new(options: Options) -> Result<Self, Contradiction> {
        options.check()?;
        Ok(Self {
            lanes: Lanes::new(options.quota),
            patience: Patience::new(options.retry, Phase::Running),
            options,
            held: BTreeMap::new(),
            bytes: 0,
            queues: Queues::default(),
            timers: BTreeSet::new(),
            requests: BTreeMap::new(),
            suspects: VecDeque::new(),
            settled: VecDeque::new(),
            failures: 0,
            resume_at: Moment::default(),
            next_place: 0,
            next_request: 0,
            is_closing: false,
            is_hurried: false,
            sent: 0,
            repeated: 0,
            visits: 0,
        })
    }

    /// Whether an entry of so many bytes would be taken now. A caller that does not know how large the next one is asks for
    /// `max_record_bytes`.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        let counts = self.counts();
        counts.buffered < self.options.max_buffered
            && counts.bytes.saturating_add(bytes) <= self.options.max_buffered_bytes
    }

    /// Takes an entry. Of two entries of a key, the one that is pushed first is the older one.
    ///
    /// # Errors
    /// If it is too large, if there is no room for it, or if the sink is being closed. The ticket comes back.
    pub fn push(&mut self, now: Moment, entry: Entry<T>) -> Result<(), Refused<T>> {
        let Entry { ticket, key, destination, bytes, arrived } = entry;
        if let Some(why) = self.refusal(bytes) {
            return Err(Refused { ticket, why });
        }
        let place = self.next_place;
        self.next_place += 1;
        self.visits += 1;
        // Items of two tables are two items. A partition key is one key, wherever its shard is now.
        let item = |key: Vec<u8>| [&destination.0.to_be_bytes()[..], key.as_slice()].concat();
        let (key, turn) = match self.options.order {
            Order::Free => (Key::without_queue(Vec::new()), Some(now)),
            Order::Distinct => (Key::without_queue(item(key)), Some(now)),
            Order::PerKey => self.queues.push(now, key, place),
            Order::Newest => self.queues.push(now, item(key), place),
        };
        let due = arrived + self.options.max_age;
        let held = Held { ticket, key, destination, bytes, arrived, due, attempts: 0, fate: Fate::NotWritten };
        self.held.insert(place, held);
        self.bytes += bytes;
        if let Some(at) = turn {
            self.schedule(now, place, at);
        }
        Ok(())
    }

    /// What to do now. A request that is returned counts as under way.
    #[must_use]
    pub fn next(&mut self, now: Moment) -> Action<T> {
        self.wake(now);
        if self.requests.len() >= self.in_flight_max() {
            return Action::Idle;
        }
        if self.resume_at > now && !self.held.is_empty() {
            return Action::Wait(self.resume_at);
        }
        if let Some(outs) = self.suspects.pop_front() {
            return self.send(now, outs);
        }
        if self.is_worth_sending(now) {
            let outs = self.fill(now);
            return self.send(now, outs);
        }
        let timer = self.timers.first().map(|(at, _)| *at);
        let until = self.lanes.first_due().into_iter().chain(timer).min();
        until.map_or(Action::Idle, Action::Wait)
    }

    /// Nothing more will come: what is left is sent without waiting for company.
    pub const fn close(&mut self) {
        self.is_closing = true;
    }

    /// Whether what is here is sent without waiting for company, as when closing; but entries are still taken. For times in
    /// which nothing goes on before these entries are settled.
    pub const fn hurry(&mut self, is_hurried: bool) {
        self.is_hurried = is_hurried;
    }

    /// What became of entries since this was last asked, in the order of its becoming. To be asked after every answer: what
    /// waits here counts no more.
    pub fn settled(&mut self) -> impl Iterator<Item = Settled<T>> + '_ {
        self.settled.drain(..)
    }

    /// How much is going on.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            buffered: self.held.len() + self.queues.ghosts(),
            bytes: self.bytes + self.queues.ghost_bytes(),
            in_flight: self.requests.len(),
            oldest: self.held.first_key_value().map(|(_, held)| held.arrived),
            sent: self.sent,
            repeated: self.repeated,
            visits: self.visits,
        }
    }

    /// How the sink fares as a whole.
    #[must_use]
    pub const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// What `destination` takes is known, or has changed.
    pub fn set_quota(&mut self, now: Moment, destination: Destination, quota: Quota) {
        if quota.is_sane() {
            self.lanes.requote(now, destination, quota);
        }
    }

    /// Nothing more will go to `destination` (a shard that is closed): what was learned of it may go.
    pub fn forget(&mut self, destination: Destination) {
        self.lanes.forget(destination);
    }

    fn refusal(&self, bytes: u64) -> Option<Refusal> {
        let max = self.options.max_record_bytes;
        if bytes > max {
            Some(Refusal::TooLarge { bytes, max })
        } else if self.is_closing {
            Some(Refusal::Closed)
        } else {
            (!self.has_room(bytes)).then_some(Refusal::Full)
        }
    }

    /// One request tries while nothing succeeds; on the way there they become fewer by halves.
    fn in_flight_max(&self) -> usize {
        (self.options.max_in_flight >> self.failures.min(16)).max(1)
    }

    fn schedule(&mut self, now: Moment, place: Place, at: Moment) {
        if at > now {
            self.timers.insert((at, Timer::Turn(place)));
        } else {
            self.ready(now, place);
        }
    }

    fn ready(&mut self, now: Moment, place: Place) {
        if let Some(held) = self.held.get(&place) {
            self.lanes.insert(now, held.destination, place, held.due, held.bytes);
        }
    }

    /// Does what the time has come for.
    fn wake(&mut self, now: Moment) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, timer)) = self.timers.pop_first() else { break };
            self.visits += 1;
            match timer {
                Timer::Turn(place) => self.ready(now, place),
                Timer::Open(destination) => self.lanes.open(now, destination),
                Timer::Forget(key) => self.queues.forget(now, &key),
            }
        }
    }

    fn is_worth_sending(&self, now: Moment) -> bool {
        let is_full = self.lanes.count() >= self.options.max_count || self.lanes.bytes() >= self.options.max_bytes;
        let is_due = self.lanes.first_due().is_some_and(|due| due <= now);
        let is_pressed = self.is_closing || self.is_hurried || !self.has_room(self.options.max_record_bytes);
        is_full || is_due || (is_pressed && self.lanes.count() > 0)
    }

    /// Takes the oldest entries that may be sent, as many as fit.
    fn fill(&mut self, now: Moment) -> Vec<Out> {
        let mut outs: Vec<Out> = Vec::new();
        let (mut bytes, mut keys, mut left) = (0, BTreeSet::new(), Vec::new());
        while outs.len() < self.options.max_count && left.len() < self.options.max_count {
            let Some((turn, destination)) = self.lanes.first() else { break };
            self.visits += 1;
            let sent = self.stands_for(now, turn);
            let held = self.held.get(&sent).expect("what is ready is held");
            if bytes + held.bytes > self.options.max_bytes {
                break;
            }
            self.lanes.remove(now, destination, turn);
            if self.options.order == Order::Distinct && !keys.insert(Key::clone(&held.key)) {
                left.push(turn);
                continue;
            }
            bytes += held.bytes;
            outs.push(Out { turn, sent });
            self.charge(now, destination, sent);
        }
        for place in left {
            self.ready(now, place);
        }
        outs
    }

    /// The entry to be sent when it is the turn of `turn`.
    fn stands_for(&self, now: Moment, turn: Place) -> Place {
        if !self.options.order.is_kept() {
            return turn;
        }
        let key = &self.held.get(&turn).expect("what is ready is held").key;
        let sent = self.queues.pick(now, key, self.options.order);
        sent.expect("a key that is haunted by what is gone has no turn")
    }

    fn charge(&mut self, now: Moment, destination: Destination, sent: Place) {
        let bytes = self.held.get(&sent).map_or(0, |held| held.bytes);
        if let Some(at) = self.lanes.spend(now, destination, bytes) {
            self.timers.insert((at, Timer::Open(destination)));
        }
    }

    fn send(&mut self, now: Moment, outs: Vec<Out>) -> Action<T> {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let (mut entries, mut bytes) = (Vec::with_capacity(outs.len()), 0);
        for out in &outs {
            let held = self.held.get(&out.sent).expect("what is sent is held");
            entries.push(held.ticket.clone());
            bytes += held.bytes;
            self.sent += 1;
            self.repeated += u64::from(held.attempts > 0);
            if self.options.order.is_kept() {
                self.queues.sent(&held.key);
            }
        }
        self.requests.insert(request, Request { outs, sent_at: now });
        Action::Send { request, entries, bytes }
    }
}

#[cfg(test)]
mod tests;
