//! What goes into the next transaction of a shard, for a sink in which a record takes effect exactly once.
//!
//! A transaction carries out the requests of consecutive records and moves the shard's position from before the first of
//! them to behind the last: both or neither. So a record is never in two transactions, and whoever comes after a crash reads
//! in the table itself how far it got. One transaction of a shard is under way at a time, because the next one expects what
//! this one sets; shards do not wait for each other.
//!
//! - **What.** Whole records, in order, up to `max_count` requests on distinct items and `max_bytes`. A request that replaces
//!   what was asked of its item before (a put, a delete) takes the older one's place; before one that does not (an addition)
//!   the transaction is cut.
//! - **Again.** What was sent is sent again as it was, under the same token, until there is an answer: the service knows the
//!   token and does it once. When the token is forgotten, the position stands guard: it is not where the transaction expects
//!   it. That may be our own doing, so a transaction that is *fenced* makes us look where the position is.
//! - **Never.** A request that the service will never take leaves its transaction, which is another one from then on and has
//!   another token. If the service does not say which it is, the transaction is halved until one record is alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::moment::Moment;
use crate::patience::{Patience, Phase, RetryLimits, Trouble, Verdict};

/// One request on one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<T> {
    /// Whatever the caller knows it by.
    pub ticket: T,
    /// The item: equal exactly if the service takes the keys for equal.
    pub key: Vec<u8>,
    /// Its size as the service counts it.
    pub bytes: u64,
    /// Whether what was asked of the item before makes no difference.
    pub replaces: bool,
}

/// What is to be done for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T, P> {
    /// Where the shard is after it.
    pub position: P,
    /// Its requests, in order.
    pub requests: Vec<Request<T>>,
    /// Since when it waits.
    pub arrived: Moment,
}

/// How much goes into a transaction, and when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Requests in one, at most, beside the position (`TransactWriteItems`: 99).
    pub max_count: usize,
    /// Bytes in one, at most (`TransactWriteItems`: 4 MB).
    pub max_bytes: u64,
    /// How long a record waits for company.
    pub max_age: Duration,
    /// Pauses between attempts.
    pub retry: RetryLimits,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<T, P> {
    /// Carry this out. It is answered by `done`, `failed`, `fenced` or `refused`.
    Send {
        /// Names the transaction within this session of the shard: an attempt at the same one has the same number.
        token: u64,
        /// Where the position is expected; `None`: nowhere yet.
        from: Option<P>,
        /// Where it is moved.
        to: P,
        /// The requests, on distinct items.
        tickets: Vec<T>,
    },
    /// Look where the position is, and say so to `found`.
    Look,
    /// Nothing before this moment, unless a record comes.
    Wait(Moment),
    /// Nothing before a record or an answer comes.
    Idle,
}

/// What became of a request. There is exactly one of these for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// It took effect, or one that replaces it did, with its record's position.
    Applied(T),
    /// It took effect before this session began.
    AppliedBefore(T),
    /// It never will.
    DeadLetter(T, String),
}

/// The position is where neither this transaction nor the one before has put it: somebody else writes for this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody else moves the shard's position")]
pub struct Fenced;

#[derive(Clone, Debug)]
struct Transaction<T, P> {
    token: u64,
    to: P,
    /// Records at the head of the queue that are in it.
    records: usize,
    tickets: Vec<T>,
    is_sent: bool,
    must_look: bool,
}

/// The transactions of one shard in one session.
#[derive(Clone, Debug)]
pub struct Transactions<T, P> {
    options: Options,
    applied: Option<P>,
    queue: VecDeque<Record<T, P>>,
    current: Option<Transaction<T, P>>,
    settled: VecDeque<Settled<T>>,
    patience: Patience,
    resume_at: Moment,
    next_token: u64,
    /// Records in a transaction, at most, while one of them is refused and nobody says which.
    records_max: Option<usize>,
    is_hurried: bool,
}

impl<T: Clone, P: Clone + Ord> Transactions<T, P> {
    /// A session that begins where the table says that the shard is.
    #[must_use]
    pub const fn new(options: Options, applied: Option<P>) -> Self {
        Self {
            applied,
            queue: VecDeque::new(),
            current: None,
            settled: VecDeque::new(),
            patience: Patience::new(options.retry, Phase::Running),
            options,
            resume_at: Moment(Duration::ZERO),
            next_token: 0,
            records_max: None,
            is_hurried: false,
        }
    }

    /// Takes the next record of the shard. One that took effect already is settled; one that fits into no transaction is a
    /// dead letter as a whole, for half of a record is none.
    pub fn push(&mut self, record: Record<T, P>) {
        if self.applied.as_ref().is_some_and(|applied| record.position <= *applied) {
            self.settled.extend(record.requests.into_iter().map(|request| Settled::AppliedBefore(request.ticket)));
            return;
        }
        let mut load = Load::default();
        if let Err(why) = load.add(&record, &self.options) {
            let dead = |request: Request<T>| Settled::DeadLetter(request.ticket, why.clone());
            self.settled.extend(record.requests.into_iter().map(dead));
        } else if !record.requests.is_empty() {
            self.queue.push_back(record);
        }
    }

    /// Whether records leave without waiting for company: nothing more will come, or somebody waits for these.
    pub const fn hurry(&mut self, is_hurried: bool) {
        self.is_hurried = is_hurried;
    }

    /// What to do now. A transaction that is returned counts as under way.
    #[must_use]
    pub fn next(&mut self, now: Moment) -> Action<T, P> {
        if self.current.as_ref().is_some_and(|current| current.is_sent) {
            return Action::Idle;
        }
        if self.resume_at > now && !self.queue.is_empty() {
            return Action::Wait(self.resume_at);
        }
        if self.current.is_none() {
            let Some(first) = self.queue.front() else { return Action::Idle };
            let due = first.arrived + self.options.max_age;
            let (cut, is_full) = self.cut();
            if !(is_full || self.is_hurried || due <= now) {
                return Action::Wait(due);
            }
            self.current = Some(cut);
            self.next_token += 1;
        }
        let from = self.applied.clone();
        let Some(current) = &mut self.current else { return Action::Idle };
        current.is_sent = true;
        if current.must_look {
            return Action::Look;
        }
        Action::Send { token: current.token, from, to: current.to.clone(), tickets: current.tickets.clone() }
    }

    /// The records at the head of the queue that go together, and whether more would not fit.
    fn cut(&self) -> (Transaction<T, P>, bool) {
        let records_max = self.records_max.unwrap_or(usize::MAX);
        let mut probe = Load::default();
        let fit = |record: &&Record<T, P>| probe.add(record, &self.options).is_ok();
        let records = self.queue.iter().take(records_max).take_while(fit).count();
        // The probe has had a part of the record that did not fit.
        let mut load = Load::default();
        for record in self.queue.iter().take(records) {
            load.add(record, &self.options).expect("it fitted a moment ago");
        }
        let is_full = records < self.queue.len()
            || load.slots.len() >= self.options.max_count
            || load.bytes >= self.options.max_bytes;
        let to = self.queue.get(records.saturating_sub(1)).map(|record| record.position.clone());
        let to = to.expect("a record that is queued fits into a transaction of its own");
        let tickets = load.slots.into_iter().map(|(ticket, _)| ticket).collect();
        (Transaction { token: self.next_token, to, records, tickets, is_sent: false, must_look: false }, is_full)
    }

    /// The transaction under way happened.
    pub fn done(&mut self, now: Moment) {
        let Some(current) = self.current.take() else { return };
        for record in self.queue.drain(..current.records) {
            self.settled.extend(record.requests.into_iter().map(|request| Settled::Applied(request.ticket)));
        }
        self.applied = Some(current.to);
        self.records_max = None;
        self.succeeded(now);
    }

    /// It failed for a reason that has nothing to do with what is in it, and may have happened all the same. It is sent again
    /// as it is. `jitter` is a fresh random number in 0..1.
    #[must_use]
    pub fn failed(&mut self, now: Moment, trouble: Trouble, jitter: f64) -> Verdict {
        if let Some(current) = &mut self.current {
            current.is_sent = false;
        }
        let verdict = self.patience.failed(now, trouble, jitter);
        if let Verdict::Again { after, .. } = verdict {
            self.resume_at = now + after;
        }
        verdict
    }

    /// The position was not where it was expected: an earlier attempt may have moved it.
    pub fn fenced(&mut self) {
        if let Some(current) = &mut self.current {
            current.is_sent = false;
            current.must_look = true;
        }
    }

    /// The position is here, and nobody newer has it.
    ///
    /// # Errors
    /// It is neither where it was nor where the transaction under way puts it.
    pub fn found(&mut self, now: Moment, position: Option<&P>) -> Result<(), Fenced> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if position == Some(&current.to) {
            self.done(now);
            return Ok(());
        }
        if position != self.applied.as_ref() {
            return Err(Fenced);
        }
        // It did not happen, and its token may be spent.
        current.token = self.next_token;
        self.next_token += 1;
        (current.is_sent, current.must_look) = (false, false);
        Ok(())
    }

    /// The service will never take one of the requests: which, counted from 0, if it says so.
    pub fn refused(&mut self, now: Moment, at: Option<usize>, why: &str)
    where
        T: PartialEq,
    {
        let Some(current) = self.current.take() else { return };
        let culprit = at.and_then(|at| current.tickets.get(at));
        match culprit {
            Some(culprit) => self.bury(|_, ticket| ticket == culprit, why),
            None if current.records > 1 => self.records_max = Some(current.records / 2),
            None => {
                self.bury(|record, _| record == 0, why);
                self.records_max = None;
            }
        }
        self.succeeded(now);
    }

    /// Dead letters are these requests of the queue, by the place of their record and their ticket.
    fn bury(&mut self, is_dead: impl Fn(usize, &T) -> bool, why: &str) {
        for (place, record) in self.queue.iter_mut().enumerate() {
            let (dead, alive) = record.requests.drain(..).partition(|request| is_dead(place, &request.ticket));
            record.requests = alive;
            let dead: Vec<Request<T>> = dead;
            self.settled.extend(dead.into_iter().map(|request| Settled::DeadLetter(request.ticket, why.to_owned())));
        }
        self.queue.retain(|record| !record.requests.is_empty());
    }

    fn succeeded(&mut self, now: Moment) {
        self.resume_at = Moment(Duration::ZERO);
        // Whoever asks `patience` hears of the end of a struggle.
        let _spell = self.patience.succeeded(now);
    }

    /// What became of requests since this was last asked.
    pub fn settled(&mut self) -> impl Iterator<Item = Settled<T>> + '_ {
        self.settled.drain(..)
    }

    /// Whether every request is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.settled.is_empty()
    }

    /// How the shard's transactions fare.
    #[must_use]
    pub const fn patience(&self) -> &Patience {
        &self.patience
    }
}

/// What a transaction holds so far.
struct Load<T> {
    /// Requests on distinct items, and their sizes.
    slots: Vec<(T, u64)>,
    places: BTreeMap<Vec<u8>, usize>,
    bytes: u64,
}

impl<T> Default for Load<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), places: BTreeMap::new(), bytes: 0 }
    }
}

impl<T: Clone> Load<T> {
    /// Takes a whole record. After an error it holds a part of it, and is of no more use.
    fn add<P>(&mut self, record: &Record<T, P>, options: &Options) -> Result<(), String> {
        for request in &record.requests {
            match self.places.get(&request.key) {
                Some(place) if request.replaces => {
                    let slot = self.slots.get_mut(*place).expect("places are those of slots");
                    self.bytes = self.bytes + request.bytes - slot.1;
                    *slot = (request.ticket.clone(), request.bytes);
                }
                Some(_) => return Err("an item is to be written twice, which one transaction cannot".to_owned()),
                None => {
                    self.places.insert(request.key.clone(), self.slots.len());
                    self.slots.push((request.ticket.clone(), request.bytes));
                    self.bytes += request.bytes;
                }
            }
        }
        if self.slots.len() > options.max_count {
            return Err(format!("{} items are more than the {} of a transaction", self.slots.len(), options.max_count));
        }
        if self.bytes > options.max_bytes {
            return Err(format!("{} bytes are more than the {} of a transaction", self.bytes, options.max_bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
