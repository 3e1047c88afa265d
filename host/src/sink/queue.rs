//! Sinks that write batches: one task each, which performs what [`host_core::batching`] decides.
//!
//! The task takes entries while there is room for them, has requests under way, limits their time, and tells what became of
//! each entry. A request whose time is over is dropped, and with it the connection's interest in it: no late answer can
//! ever be mistaken for one of a later request.
//!
//! What stops the pipeline (a refusal for good, an entry that is dead where the manifest says to stop) is told at once.
//! From then on nothing new is sent; what is under way is waited for, because what it confirms need not be done again.

pub(super) mod fares;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use host_core::batching::{
    self, Action, Batcher, Cause, Contradiction, Counts, Fate, Options, Outcome, Refusal, RequestId, Setback,
};
use host_core::moment::Moment;
use host_core::patience::{Trouble, Verdict};
use tokio::sync::mpsc::error::TryRecvError;

use crate::entry::OneOf;
use crate::flow::Held;
use crate::pipeline::failure::Failure;
use crate::ports::SinkError;
use crate::sink::batched::{Batched, Facts, WriteError, Written};
use crate::sink::service::{Desk, Handed, Origin, Service};

use self::fares::Fares;

/// How a sink writes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What goes into a request, and when.
    pub options: Options,
    /// Time for one request, after which it is cancelled.
    pub request_timeout: Duration,
    /// Whether a request that takes longer stops the pipeline.
    pub fail_on_timeout: bool,
    /// Whether the first entry or request that the service does not take stops the pipeline.
    pub fail_on_error: bool,
}

/// A sink that writes batches to `target`.
///
/// # Errors
/// The options contradict each other.
pub fn service<B>(target: Arc<B>, settings: Settings) -> Result<Box<dyn Service>, Contradiction>
where
    B: Batched<Entry: OneOf>,
{
    let batcher = Batcher::new(settings.options.clone())?;
    Ok(Box::new(Queue { target, settings, batcher }))
}

struct Queue<B: Batched> {
    target: Arc<B>,
    settings: Settings,
    batcher: Batcher<Ticket<B::Entry>>,
}

impl<B: Batched<Entry: OneOf>> Service for Queue<B> {
    fn run(self: Box<Self>, desk: Desk) -> BoxFuture<'static, ()> {
        let Self { target, settings, batcher } = *self;
        let fares = Fares::new(desk.word.sink(), settings.options.retry, Arc::clone(&desk.health));
        let running = Running {
            target,
            settings,
            batcher,
            desk,
            has_ended: false,
            pending: None,
            requests: FuturesUnordered::new(),
            footprint: 0,
            told: Counts::default(),
            fares,
            has_failed: false,
        };
        Box::pin(running.run())
    }
}

/// An entry and where it came from.
struct Ticket<E> {
    entry: Arc<E>,
    origin: Arc<Origin>,
    record: u32,
    /// [`OneOf::footprint`].
    footprint: u64,
}

impl<E> Clone for Ticket<E> {
    fn clone(&self) -> Self {
        let Self { record, footprint, .. } = *self;
        Self { entry: Arc::clone(&self.entry), origin: Arc::clone(&self.origin), record, footprint }
    }
}

/// An entry, and what is known of it or why it can never be written.
type Known<E> = (Ticket<E>, Result<Facts, String>);

/// Entries of a delivery that did not find room yet.
struct Pending<E> {
    origin: Arc<Origin>,
    arrived: Moment,
    entries: std::iter::Zip<std::vec::IntoIter<E>, std::vec::IntoIter<u32>>,
    next: Option<Known<E>>,
    /// Given back with the last entry.
    _held: Option<Arc<Held>>,
}

/// What came of a request.
struct Answer<E> {
    request: RequestId,
    took: Duration,
    /// What was in it, where somebody may have to name it.
    entries: Vec<Arc<E>>,
    /// `None`: nothing, in time.
    result: Option<Result<Written, WriteError>>,
}

struct Running<B: Batched> {
    target: Arc<B>,
    settings: Settings,
    batcher: Batcher<Ticket<B::Entry>>,
    desk: Desk,
    /// Nothing more comes.
    has_ended: bool,
    pending: Option<Pending<B::Entry>>,
    requests: FuturesUnordered<BoxFuture<'static, Answer<B::Entry>>>,
    /// What the entries that are held take of this machine's memory, in bytes.
    footprint: u64,
    /// What totals know of.
    told: Counts,
    fares: Fares,
    /// The pipeline is to stop, and knows.
    has_failed: bool,
}

impl<B: Batched<Entry: OneOf>> Running<B> {
    async fn run(mut self) {
        self.hear_news();
        loop {
            self.take().await;
            let is_eager = *self.desk.eager.borrow_and_update();
            // What waits for room waits for whatever is held, however small it is to the service.
            self.batcher.hurry(is_eager || self.has_ended || self.pending.is_some());
            let wake = self.send();
            self.settle().await;
            self.count();
            if self.is_over() {
                return;
            }
            let is_taking = !self.has_ended && self.pending.is_none();
            let clock = self.desk.clock;
            tokio::select! {
                biased;
                Some(answer) = self.requests.next() => self.hear(answer).await,
                handed = self.desk.intake.recv(), if is_taking => self.hand(handed),
                () = until(wake, |at| clock.wait_until(at)) => {}
                // Without a sender there is nothing to hear of.
                Ok(()) = self.desk.eager.changed() => {}
            }
            self.settle().await;
        }
    }

    /// Everything is settled and nothing more comes; or it failed, and nothing is under way.
    fn is_over(&self) -> bool {
        let is_done = self.has_ended && self.pending.is_none() && self.batcher.counts().oldest.is_none();
        self.requests.is_empty() && (self.has_failed || is_done)
    }

    fn hand(&mut self, handed: Option<Handed>) {
        let Some(Handed { origin, entries, record, arrived, held }) = handed else {
            self.has_ended = true;
            return;
        };
        let entries = <B::Entry as OneOf>::all(entries).expect("a converter makes the entries that its sink takes");
        self.pending =
            Some(Pending { origin, arrived, entries: entries.into_iter().zip(record), next: None, _held: held });
    }

    /// Takes entries while there is room for them, so that requests are as full as can be.
    async fn take(&mut self) {
        while !self.has_failed {
            let Some(mut pending) = self.pending.take() else {
                match self.desk.intake.try_recv() {
                    Ok(handed) => self.hand(Some(handed)),
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => {
                        self.has_ended = true;
                        return;
                    }
                }
                continue;
            };
            match self.push(&mut pending) {
                Pushed::All => {}
                Pushed::NoRoom => {
                    self.pending = Some(pending);
                    return;
                }
                Pushed::Dead(ticket, reason) => {
                    self.pending = Some(pending);
                    self.bury(ticket, reason).await;
                }
            }
        }
    }

    fn push(&mut self, pending: &mut Pending<B::Entry>) -> Pushed<B::Entry> {
        loop {
            let Some((ticket, facts)) = pending.next.take().or_else(|| self.next_of(pending)) else {
                return Pushed::All;
            };
            let facts = match facts {
                Ok(facts) => facts,
                Err(reason) => return Pushed::Dead(ticket, reason),
            };
            let max = self.settings.options.max_record_bytes;
            if facts.bytes <= max && !(self.batcher.has_room(facts.bytes) && self.has_room(ticket.footprint)) {
                pending.next = Some((ticket, Ok(facts)));
                return Pushed::NoRoom;
            }
            let Facts { key, destination, bytes } = facts;
            let footprint = ticket.footprint;
            let entry = batching::Entry { ticket, key, destination, bytes, arrived: pending.arrived };
            if let Err(refused) = self.batcher.push(self.desk.clock.now(), entry) {
                let reason = match refused.why {
                    why @ Refusal::TooLarge { .. } => why.to_string(),
                    Refusal::Full | Refusal::Closed => unreachable!("it has room, and is never closed"),
                };
                return Pushed::Dead(refused.ticket, reason);
            }
            self.footprint += footprint;
        }
    }

    /// Whether there is memory for an entry. One that is larger than all of it is held alone.
    fn has_room(&self, footprint: u64) -> bool {
        self.footprint == 0 || self.footprint + footprint <= self.settings.options.max_buffered_bytes
    }

    fn next_of(&self, pending: &mut Pending<B::Entry>) -> Option<Known<B::Entry>> {
        let (entry, record) = pending.entries.next()?;
        let facts = self.target.facts(&entry);
        let footprint = entry.footprint();
        Some((Ticket { entry: Arc::new(entry), origin: Arc::clone(&pending.origin), record, footprint }, facts))
    }

    /// Sends what is to be sent now; says when to look again.
    fn send(&mut self) -> Option<Moment> {
        if self.has_failed {
            return None;
        }
        loop {
            match self.batcher.next(self.desk.clock.now()) {
                Action::Send { request, entries, bytes: _ } => self.request(request, entries),
                Action::Wait(at) => return Some(at),
                Action::Idle => return None,
            }
        }
    }

    fn request(&mut self, request: RequestId, entries: Vec<Ticket<B::Entry>>) {
        self.desk.totals.requests.add(1);
        let entries: Vec<_> = entries.into_iter().map(|ticket| ticket.entry).collect();
        let named = if self.settings.fail_on_error { entries.clone() } else { Vec::new() };
        let (target, clock, timeout) = (Arc::clone(&self.target), self.desk.clock, self.settings.request_timeout);
        self.requests.push(Box::pin(async move {
            let sent = clock.now();
            let result = tokio::time::timeout(timeout, target.write(entries)).await.ok();
            Answer { request, took: clock.now().since(sent), entries: named, result }
        }));
    }

    async fn hear(&mut self, answer: Answer<B::Entry>) {
        let Answer { request, took, entries, result } = answer;
        self.desk.totals.note(|load| load.last_request = Some(took));
        let heard = match result {
            Some(Ok(written)) => self.answered(request, &entries, written),
            Some(Err(error)) => self.refused(request, &entries, error),
            None => self.timed_out(request),
        };
        self.hear_news();
        // What was taken is told first: a failure ends the run.
        self.settle().await;
        if let Err(failure) = heard {
            self.fail(failure).await;
        }
    }

    fn answered(&mut self, request: RequestId, entries: &[Arc<B::Entry>], written: Written) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        let Written { outcomes, codes } = written;
        for (code, count) in &codes {
            self.desk.totals.refused(code, *count);
        }
        let retried = |outcome: &&Outcome| matches!(outcome, Outcome::Retry(_));
        let code = codes.first().map(|(code, _)| code.as_str());
        let first = if self.settings.fail_on_error { first_refused(&outcomes, code) } else { None };
        let is_taken = outcomes.iter().any(|outcome| !retried(&outcome));
        let first = first.map(|(index, said)| self.not_taken(entries.get(index), said));
        // What ends a spell is told by `fares`, which knows of refusals entry by entry as well.
        let _ended = self.batcher.answered(now, request, outcomes, fastrand::f64());
        if is_taken {
            self.fares.taken(now);
        } else {
            self.fares.nothing_taken(now, code.unwrap_or("throttled"));
        }
        first.map_or(Ok(()), Err)
    }

    fn refused(&mut self, request: RequestId, entries: &[Arc<B::Entry>], error: WriteError) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        self.desk.totals.refused(error.source().kind.name(), count.max(1));
        let said = error.source().message.clone();
        let (failure, trouble, source) = match error {
            WriteError::Fatal(source) => return Err(self.service_error(source)),
            WriteError::Rejected(source) => (batching::Failure::Rejected(said.clone()), None, source),
            WriteError::Trouble(trouble, source) => (batching::Failure::Trouble(trouble), Some(trouble), source),
        };
        let verdict = self.batcher.failed(now, request, failure, fastrand::f64());
        // What may not be written to is refused for every entry, and what to grant is what matters then.
        let is_denied = trouble == Some(Trouble::Denied);
        if self.settings.fail_on_error && is_denied {
            return Err(self.service_error(source));
        }
        if self.settings.fail_on_error {
            return Err(self.not_taken(entries.first(), said));
        }
        match (verdict, trouble) {
            (Verdict::GiveUp, _) => return Err(self.service_error(source)),
            (Verdict::Again { .. }, Some(trouble)) => self.fares.failed(now, trouble, &source),
            (Verdict::Again { .. }, None) => {}
        }
        Ok(())
    }

    fn timed_out(&mut self, request: RequestId) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        self.desk.totals.timeouts.add(1);
        let verdict = self.batcher.timed_out(now, request, fastrand::f64());
        if self.settings.fail_on_timeout {
            let millis = u64::try_from(self.settings.request_timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(SinkError::TimedOut { sink: self.desk.word.sink().to_owned(), millis }.into());
        }
        match verdict {
            Verdict::Again { .. } => self.fares.nothing_heard(now),
            Verdict::GiveUp => unreachable!("a run bears what is transient"),
        }
        Ok(())
    }

    fn service_error(&self, source: crate::source::classify::SourceError) -> Failure {
        SinkError::Service { sink: self.desk.word.sink().to_owned(), source: Box::new(source) }.into()
    }

    fn not_taken(&self, entry: Option<&Arc<B::Entry>>, said: String) -> Failure {
        let name = entry.map(|entry| self.target.name(entry));
        let what = name.map_or_else(|| "a request".to_owned(), |name| format!("entry {name}"));
        SinkError::NotTaken { sink: self.desk.word.sink().to_owned(), what, said }.into()
    }

    fn hear_news(&mut self) {
        let now = self.desk.clock.now();
        for (destination, quota) in self.target.news() {
            match quota {
                Some(quota) => self.batcher.set_quota(now, destination, quota),
                None => self.batcher.forget(destination),
            }
        }
    }

    /// Tells what became of entries.
    async fn settle(&mut self) {
        let settled: Vec<_> = self.batcher.settled().collect();
        if settled.is_empty() {
            return;
        }
        let (mut deliveries, mut dead) = (BTreeMap::<u64, u64>::new(), Vec::new());
        let mut confirmed = 0;
        for settled in settled {
            match settled {
                batching::Settled::Confirmed(ticket) => {
                    confirmed += 1;
                    self.footprint -= ticket.footprint;
                    *deliveries.entry(ticket.origin.delivery).or_default() += 1;
                }
                batching::Settled::DeadLetter(ticket, cause) => {
                    self.footprint -= ticket.footprint;
                    dead.push((ticket, reason(cause)));
                }
            }
        }
        self.desk.totals.confirmed.add(confirmed);
        self.desk.word.settled(deliveries).await;
        for (ticket, reason) in dead {
            self.bury(ticket, reason).await;
        }
    }

    /// An entry will never be written.
    async fn bury(&mut self, ticket: Ticket<B::Entry>, reason: String) {
        let Ticket { entry, origin, record, .. } = ticket;
        match self.desk.word.dead_letter(&origin, record, self.target.name(&entry), reason) {
            Ok(()) => self.desk.word.settled([(origin.delivery, 1)]).await,
            Err(failure) => self.fail(failure).await,
        }
    }

    /// The first failure is told; others follow from it.
    async fn fail(&mut self, failure: Failure) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.desk.word.failed(failure).await;
        }
        self.desk.intake.close();
        (self.has_ended, self.pending) = (true, None);
    }

    fn count(&mut self) {
        let (counts, totals) = (self.batcher.counts(), &self.desk.totals);
        totals.sent.add(counts.sent - self.told.sent);
        totals.repeated.add(counts.repeated - self.told.repeated);
        totals.note(|load| {
            (load.buffered, load.bytes, load.in_flight) = (counts.buffered, self.footprint, counts.in_flight);
            load.oldest = counts.oldest;
        });
        self.told = counts;
    }
}

/// What became of what was pending.
enum Pushed<E> {
    /// All of it is taken.
    All,
    /// Some of it waits for room.
    NoRoom,
    /// This one will never be written; the others are still there.
    Dead(Ticket<E>, String),
}

/// The first entry that was not taken, and what was said of it.
fn first_refused(outcomes: &[Outcome], code: Option<&str>) -> Option<(usize, String)> {
    let said = |outcome: &Outcome| match outcome {
        Outcome::Done => None,
        Outcome::Poison(reason) => Some(reason.clone()),
        Outcome::Retry(Setback::Throttled) => Some(code.unwrap_or("throttled").to_owned()),
        Outcome::Retry(Setback::Failed) => Some(code.unwrap_or("failed").to_owned()),
    };
    outcomes.iter().enumerate().find_map(|(index, outcome)| said(outcome).map(|said| (index, said)))
}

fn reason(cause: Cause) -> String {
    match cause {
        Cause::Poison(reason) => reason,
        Cause::Exhausted { attempts, fate } => {
            let fate = match fate {
                Fate::NotWritten => "the service has not taken it",
                Fate::Unknown => "an attempt was never answered, so the service may have it",
            };
            format!("given up after {attempts} attempts (max_attempts, max_entry_age): {fate}")
        }
    }
}

async fn until<F: Future<Output = ()>>(wake: Option<Moment>, wait: impl FnOnce(Moment) -> F) {
    match wake {
        Some(at) => wait(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
