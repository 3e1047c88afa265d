//! A sink in which a record takes effect exactly once: requests and the position behind them are written together.
//!
//! One task performs what [`host_core::transacting`] decides for each shard ([`lane`]). Each shard has a row in the table
//! beside the pipeline's positions, which tells how far the sink has applied it and for whom: a transaction happens only if
//! the row is of this run's generation and where the transaction expects it. So what an older owner of the pipeline sends
//! after its row was claimed is refused by the table itself, however late it comes.
//!
//! The row is the truth for this sink, the pipeline's position is not: it follows at each checkpoint. After a crash the
//! stream is read from there, and what the row says was applied is settled without a write. Nothing may therefore be behind
//! a row's position that was not settled before it moved, and that includes dead letters: where the manifest says to stop
//! for one, nothing that comes after it is sent, for the next run must meet it again.

mod lane;
mod row;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use host_core::moment::Moment;
use host_core::patience::{RetryLimits, Trouble, Verdict};
use host_core::shard::ShardId;
use host_core::transacting::{Action, Options, Record, Request, Settled};
use tokio::sync::mpsc::error::TryRecvError;

use self::lane::{Lane, Step};
use self::row::Applied;
use crate::clock::Clock;
use crate::entry::{self, ItemRequest, OneOf as _};
use crate::flow::Held;
use crate::item::Item;
use crate::pipeline::failure::Failure;
use crate::ports::{SinkError, TableApi, TransactApi, TransactError};
use crate::sink::dynamodb::key::KeySchema;
use crate::sink::dynamodb::{check_add, check_put, describe};
use crate::sink::queue::fares::Fares;
use crate::sink::service::{Desk, Handed, Origin, Service};
use crate::source::classify::SourceError;
use crate::state::dynamodb::applied_key;

/// Shards whose rows stay claimed although nothing of theirs is on its way.
const LANES_KEPT: usize = 1024;

/// How a sink writes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What goes into a transaction, and when.
    pub options: Options,
    /// Bytes of an item, at most.
    pub max_record_bytes: u64,
    /// Calls under way, at most.
    pub max_in_flight: usize,
    /// Requests on items that are held, at most; those of one record are, whatever their number.
    pub max_buffered: usize,
    /// What they take of this machine's memory, in bytes, at most.
    pub max_buffered_bytes: u64,
    /// Time for one call, after which it is cancelled and repeated.
    pub request_timeout: Duration,
    /// Whether a call that takes longer stops the pipeline.
    pub fail_on_timeout: bool,
    /// Whether the first request or transaction that the service does not take stops the pipeline.
    pub fail_on_error: bool,
}

/// A table and the rows of positions that belong to it.
#[derive(Clone)]
pub struct Target {
    /// The table, as it tells of itself (`TableArn`).
    pub arn: String,
    /// Its key.
    pub schema: KeySchema,
    /// Writes to both.
    pub api: Arc<dyn TransactApi>,
    /// The table of the rows, which is there once the pipeline is claimed.
    pub positions: Arc<dyn TableApi>,
}

/// A sink that writes to `target`.
#[must_use]
pub fn service(target: Target, settings: Settings) -> Box<dyn Service> {
    Box::new(ExactlyOnce { target, settings })
}

struct ExactlyOnce {
    target: Target,
    settings: Settings,
}

impl Service for ExactlyOnce {
    fn run(self: Box<Self>, desk: Desk) -> BoxFuture<'static, ()> {
        let Self { target, settings } = *self;
        let fares = Fares::new(desk.word.sink(), settings.options.retry, Arc::clone(&desk.health));
        let running = Running {
            target,
            settings,
            desk,
            fares,
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            wakes: BTreeSet::new(),
            calls: FuturesUnordered::new(),
            pending: None,
            buffer: Buffer::default(),
            is_hurried: false,
            has_ended: false,
            has_failed: false,
        };
        Box::pin(running.run())
    }
}

/// A request, and where it came from.
#[derive(Clone)]
struct Ticket {
    /// Never given twice.
    id: u64,
    request: Arc<ItemRequest>,
    origin: Arc<Origin>,
    record: u32,
    /// [`OneOf::footprint`].
    footprint: u64,
    arrived: Moment,
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// A record, and what of it can never be written, with the reasons.
type Known = (Record<Ticket, Applied>, Vec<(Ticket, String)>);

/// Entries of a delivery that did not find room yet.
struct Pending {
    origin: Arc<Origin>,
    arrived: Moment,
    entries: std::iter::Peekable<std::iter::Zip<std::vec::IntoIter<ItemRequest>, std::vec::IntoIter<u32>>>,
    /// The next record, and what of it can never be written.
    next: Option<Known>,
    /// Given back with the last entry.
    _held: Option<Arc<Held>>,
}

/// What is held.
#[derive(Default)]
struct Buffer {
    requests: usize,
    bytes: u64,
    arrivals: BTreeMap<Moment, usize>,
    tickets: u64,
}

impl Buffer {
    fn take(&mut self, ticket: &Ticket) {
        self.requests += 1;
        self.bytes += ticket.footprint;
        *self.arrivals.entry(ticket.arrived).or_default() += 1;
    }

    fn give_back(&mut self, ticket: &Ticket) {
        self.requests -= 1;
        self.bytes -= ticket.footprint;
        if let Some(left) = self.arrivals.get_mut(&ticket.arrived) {
            *left -= 1;
            if *left == 0 {
                self.arrivals.remove(&ticket.arrived);
            }
        }
    }
}

/// What came of a call; a result of `None`: nothing, in time.
enum Answer {
    Claimed(Option<Result<Option<Item>, TransactError>>),
    Found(Option<Result<Option<Item>, TransactError>>),
    Transacted(Option<Result<(), TransactError>>, Vec<Arc<ItemRequest>>),
}

struct Running {
    target: Target,
    settings: Settings,
    desk: Desk,
    fares: Fares,
    lanes: BTreeMap<ShardId, Lane>,
    /// Shards to be looked at, in turn.
    ready: VecDeque<ShardId>,
    /// When to look at others.
    wakes: BTreeSet<(Moment, ShardId)>,
    calls: FuturesUnordered<BoxFuture<'static, (ShardId, Duration, Answer)>>,
    pending: Option<Pending>,
    buffer: Buffer,
    is_hurried: bool,
    /// Nothing more comes.
    has_ended: bool,
    /// The pipeline is to stop, and knows.
    has_failed: bool,
}

impl Running {
    async fn run(mut self) {
        let (word, clock) = (self.desk.word.clone(), self.desk.clock);
        let checked = in_one_place(self.target.clone(), word.sink(), self.settings.options.retry, clock).await;
        if let Err(error) = checked {
            self.fail(error.into()).await;
        }
        loop {
            self.take().await;
            self.hurry();
            let wake = self.send().await;
            self.count();
            if self.is_over() {
                return;
            }
            let is_taking = !self.has_ended && self.pending.is_none();
            let clock = self.desk.clock;
            tokio::select! {
                biased;
                Some((shard, took, answer)) = self.calls.next() => self.hear(shard, took, answer).await,
                handed = self.desk.intake.recv(), if is_taking => self.hand(handed),
                () = until(wake, |at| clock.wait_until(at)) => {}
                // Without a sender there is nothing to hear of.
                Ok(()) = self.desk.eager.changed() => {}
            }
        }
    }

    /// Everything is settled and nothing more comes; or it failed, and nothing is under way.
    fn is_over(&self) -> bool {
        let is_done = self.has_ended && self.pending.is_none() && self.buffer.requests == 0;
        self.calls.is_empty() && (self.has_failed || is_done)
    }

    fn hand(&mut self, handed: Option<Handed>) {
        let Some(Handed { origin, entries, record, arrived, held }) = handed else {
            self.has_ended = true;
            return;
        };
        let entries = ItemRequest::all(entries).expect("a converter makes the entries that its sink takes");
        let entries = entries.into_iter().zip(record).peekable();
        self.pending = Some(Pending { origin, arrived, entries, next: None, _held: held });
    }

    /// Takes records while there is room for them.
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
            let Some((record, dead)) = pending.next.take().or_else(|| self.record(&mut pending)) else { continue };
            if !self.has_room(&record) {
                pending.next = Some((record, dead));
                self.pending = Some(pending);
                return;
            }
            self.pending = Some(pending);
            for (ticket, reason) in dead {
                self.bury(ticket, reason).await;
            }
            if !self.has_failed {
                self.push(record);
            }
        }
    }

    /// All that is to be done for the next record of a delivery, and what of it can never be.
    fn record(&mut self, pending: &mut Pending) -> Option<Known> {
        let (_, at) = pending.entries.peek()?;
        let (at, arrived) = (*at, pending.arrived);
        let position = pending.origin.position(at).as_ref().and_then(row::applied);
        let position = position.expect("a sink that keeps positions is told them");
        let (mut requests, mut dead) = (Vec::new(), Vec::new());
        while let Some((request, _)) = pending.entries.next_if(|(_, of)| *of == at) {
            let facts = facts(&self.target.schema, &request, self.settings.max_record_bytes);
            let (request, origin) = (Arc::new(request), Arc::clone(&pending.origin));
            let (id, footprint) = (self.buffer.tickets, request.footprint());
            self.buffer.tickets += 1;
            let replaces = request.action != entry::Action::Add;
            let ticket = Ticket { id, request, origin, record: at, footprint, arrived };
            match facts {
                Ok((key, bytes)) => requests.push(Request { ticket, key, bytes, replaces }),
                Err(reason) => dead.push((ticket, reason)),
            }
        }
        Some((Record { position, requests, arrived }, dead))
    }

    fn has_room(&self, record: &Record<Ticket, Applied>) -> bool {
        let Settings { max_buffered, max_buffered_bytes, .. } = self.settings;
        let bytes: u64 = record.requests.iter().map(|request| request.ticket.footprint).sum();
        let fits = self.buffer.requests + record.requests.len() <= max_buffered
            && self.buffer.bytes + bytes <= max_buffered_bytes;
        fits || self.buffer.requests == 0
    }

    fn push(&mut self, record: Record<Ticket, Applied>) {
        let Some(first) = record.requests.first() else { return };
        let origin = Arc::clone(&first.ticket.origin);
        record.requests.iter().for_each(|request| self.buffer.take(&request.ticket));
        if self.lanes.len() > LANES_KEPT && !self.lanes.contains_key(&origin.shard) {
            self.lanes.retain(|_, lane| !lane.is_idle() || lane.is_ready);
        }
        let options = self.settings.options;
        let lane = self.lanes.entry(origin.shard.clone()).or_insert_with(|| Lane::new(options));
        lane.take(origin.session, record);
        self.ready(&origin.shard);
    }

    /// A shard is to be looked at.
    fn ready(&mut self, shard: &ShardId) {
        let Some(lane) = self.lanes.get_mut(shard) else { return };
        if let Some(at) = lane.wakes_at.take() {
            self.wakes.remove(&(at, shard.clone()));
        }
        if !std::mem::replace(&mut lane.is_ready, true) {
            self.ready.push_back(shard.clone());
        }
    }

    /// Nothing waits for company if others wait for it, if nothing more comes, or if there is no room for any.
    fn hurry(&mut self) {
        let is_eager = *self.desk.eager.borrow_and_update();
        let is_hurried = is_eager || self.has_ended || self.pending.is_some();
        if std::mem::replace(&mut self.is_hurried, is_hurried) != is_hurried {
            let shards: Vec<_> = self.wakes.iter().map(|(_, shard)| shard.clone()).collect();
            shards.iter().for_each(|shard| self.ready(shard));
        }
    }

    /// Calls what is to be called now; says when to look again.
    async fn send(&mut self) -> Option<Moment> {
        let now = self.desk.clock.now();
        while let Some((at, shard)) = self.wakes.first().cloned()
            && at <= now
        {
            self.ready(&shard);
        }
        while !self.has_failed && self.calls.len() < self.settings.max_in_flight {
            let Some(shard) = self.ready.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&shard) else { continue };
            lane.is_ready = false;
            lane.feed();
            let settled = lane.settled();
            // A dead letter may stop everything: first that, then what comes after it.
            self.settle(settled).await;
            if !self.has_failed {
                self.step(now, shard);
            }
        }
        (!self.has_failed).then(|| self.wakes.first().map(|(at, _)| *at)).flatten()
    }

    fn step(&mut self, now: Moment, shard: ShardId) {
        let Some(lane) = self.lanes.get_mut(&shard) else { return };
        match lane.next(now, self.is_hurried) {
            Step::Claim => self.look(shard, Answer::Claimed),
            Step::Do(Action::Look) => self.look(shard, Answer::Found),
            Step::Do(Action::Send { token, from, to, tickets }) => {
                let token = format!("{}-{token:x}", lane.name);
                let is_repeating = std::mem::replace(&mut lane.is_repeating, true);
                let count = tickets.len() as u64;
                self.desk.totals.sent.add(count);
                self.desk.totals.repeated.add(if is_repeating { count } else { 0 });
                self.transact(shard, token, (from, to), tickets);
            }
            Step::Do(Action::Wait(at)) => {
                lane.wakes_at = Some(at);
                self.wakes.insert((at, shard));
            }
            Step::Do(Action::Idle) => {}
        }
    }

    fn key(&self, shard: &ShardId) -> Item {
        let index = usize::try_from(shard.stream()).unwrap_or(usize::MAX);
        let stream = self.desk.claim.streams.get(index).expect("a shard is of a stream of the source");
        applied_key(self.desk.word.sink(), stream, shard.as_str())
    }

    fn look(&mut self, shard: ShardId, as_answer: fn(Option<Result<Option<Item>, TransactError>>) -> Answer) {
        let (api, clock, timeout) = (Arc::clone(&self.target.api), self.desk.clock, self.settings.request_timeout);
        let (key, generation) = (self.key(&shard), self.desk.claim.generation);
        self.desk.totals.requests.add(1);
        self.calls.push(Box::pin(async move {
            let asked = clock.now();
            let answer = tokio::time::timeout(timeout, api.claim(&key, generation)).await.ok();
            (shard, clock.now().since(asked), as_answer(answer))
        }));
    }

    fn transact(
        &mut self,
        shard: ShardId,
        token: String,
        (from, to): (Option<Applied>, Applied),
        tickets: Vec<Ticket>,
    ) {
        let (api, clock, timeout) = (Arc::clone(&self.target.api), self.desk.clock, self.settings.request_timeout);
        let position = row::moved(&self.key(&shard), self.desk.claim.generation, from.as_ref(), &to);
        let requests: Vec<_> = tickets.into_iter().map(|ticket| ticket.request).collect();
        self.desk.totals.requests.add(1);
        self.calls.push(Box::pin(async move {
            let sent = clock.now();
            let answer = tokio::time::timeout(timeout, api.transact(&token, &position, &requests)).await.ok();
            (shard, clock.now().since(sent), Answer::Transacted(answer, requests))
        }));
    }

    async fn hear(&mut self, shard: ShardId, took: Duration, answer: Answer) {
        self.desk.totals.note(|load| load.last_request = Some(took));
        let heard = match answer {
            Answer::Claimed(Some(Ok(found))) => self.claimed(&shard, found.as_ref()),
            Answer::Found(Some(Ok(found))) => self.found(&shard, found.as_ref()),
            Answer::Transacted(Some(Ok(())), _) => self.done(&shard),
            Answer::Claimed(Some(Err(error))) | Answer::Found(Some(Err(error))) => match error {
                TransactError::Fenced => Err(SinkError::TakenOver { sink: self.desk.word.sink().to_owned() }.into()),
                TransactError::Refused { at: _, message } => Err(self.damaged(&shard, message)),
                TransactError::Failed(error) => self.failed(&shard, error, 0),
            },
            Answer::Transacted(Some(Err(error)), requests) => self.not_transacted(&shard, error, &requests),
            Answer::Claimed(None) | Answer::Found(None) | Answer::Transacted(None, _) => self.timed_out(&shard),
        };
        let settled = self.lanes.get_mut(&shard).map(Lane::settled).unwrap_or_default();
        // What was taken is told first: a failure ends the run.
        self.settle(settled).await;
        self.ready(&shard);
        if let Err(failure) = heard {
            self.fail(failure).await;
        }
    }

    fn claimed(&mut self, shard: &ShardId, row: Option<&Item>) -> Result<(), Failure> {
        let applied = row::read(row).map_err(|why| self.damaged(shard, why))?;
        tracing::debug!(sink = self.desk.word.sink(), %shard, ?applied, "claimed how far the table is");
        if let Some(lane) = self.lanes.get_mut(shard) {
            lane.claimed(applied);
        }
        self.fares.taken(self.desk.clock.now());
        Ok(())
    }

    fn found(&mut self, shard: &ShardId, row: Option<&Item>) -> Result<(), Failure> {
        let applied = row::read(row).map_err(|why| self.damaged(shard, why))?;
        let now = self.desk.clock.now();
        let Some(lane) = self.lanes.get_mut(shard) else { return Ok(()) };
        let Some(transactions) = lane.transactions() else { return Ok(()) };
        let found = transactions.found(now, applied.as_ref());
        found.map_err(|_fenced| self.damaged(shard, "somebody else has moved it".to_owned()))
    }

    fn done(&mut self, shard: &ShardId) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        if let Some(lane) = self.lanes.get_mut(shard) {
            lane.is_repeating = false;
            if let Some(transactions) = lane.transactions() {
                transactions.done(now);
            }
        }
        self.fares.taken(now);
        Ok(())
    }

    fn not_transacted(
        &mut self,
        shard: &ShardId,
        error: TransactError,
        requests: &[Arc<ItemRequest>],
    ) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        match error {
            TransactError::Fenced => {
                if let Some(transactions) = self.lanes.get_mut(shard).and_then(Lane::transactions) {
                    transactions.fenced();
                }
                Ok(())
            }
            TransactError::Refused { at, message } => {
                self.desk.totals.refused("rejected", requests.len() as u64);
                if self.settings.fail_on_error {
                    return Err(self.not_taken(requests.get(at.unwrap_or(0)), message));
                }
                if let Some(transactions) = self.lanes.get_mut(shard).and_then(Lane::transactions) {
                    transactions.refused(now, at, &message);
                }
                Ok(())
            }
            TransactError::Failed(error) if self.settings.fail_on_error => {
                self.desk.totals.refused(error.kind.name(), requests.len() as u64);
                Err(self.not_taken(requests.first(), error.message))
            }
            TransactError::Failed(error) => self.failed(shard, error, requests.len() as u64),
        }
    }

    /// A call failed, which was about so many requests.
    fn failed(&mut self, shard: &ShardId, error: SourceError, requests: u64) -> Result<(), Failure> {
        self.desk.totals.refused(error.kind.name(), requests.max(1));
        let Some(trouble) = error.kind.trouble() else { return Err(self.service_error(error)) };
        let now = self.desk.clock.now();
        match self.again(now, shard, trouble) {
            Verdict::Again { struggling, .. } => {
                self.fares.failed(now, trouble, &error);
                if let Some(spell) = struggling.filter(|_| !self.fares.is_struggling()) {
                    let (sink, attempts) = (self.desk.word.sink(), spell.attempts);
                    tracing::warn!(sink, %shard, attempts, %error, "what comes next of this shard is tried on; others are written");
                }
                Ok(())
            }
            Verdict::GiveUp => Err(self.service_error(error)),
        }
    }

    fn timed_out(&mut self, shard: &ShardId) -> Result<(), Failure> {
        let now = self.desk.clock.now();
        self.desk.totals.timeouts.add(1);
        if self.settings.fail_on_timeout {
            let millis = u64::try_from(self.settings.request_timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(SinkError::TimedOut { sink: self.desk.word.sink().to_owned(), millis }.into());
        }
        match self.again(now, shard, Trouble::Transient) {
            Verdict::Again { .. } => self.fares.nothing_heard(now),
            Verdict::GiveUp => unreachable!("a run bears what is transient"),
        }
        Ok(())
    }

    fn again(&mut self, now: Moment, shard: &ShardId, trouble: Trouble) -> Verdict {
        let lane = self.lanes.get_mut(shard).expect("a shard with a call under way is kept");
        lane.failed(now, trouble, fastrand::f64())
    }

    fn service_error(&self, source: SourceError) -> Failure {
        SinkError::Service { sink: self.desk.word.sink().to_owned(), source: Box::new(source) }.into()
    }

    fn not_taken(&self, request: Option<&Arc<ItemRequest>>, said: String) -> Failure {
        let name = request.map(|request| self.target.schema.shown(&request.item));
        let what = name.map_or_else(|| "a transaction".to_owned(), |name| format!("a transaction with {name}"));
        SinkError::NotTaken { sink: self.desk.word.sink().to_owned(), what, said }.into()
    }

    fn damaged(&self, shard: &ShardId, why: String) -> Failure {
        SinkError::Applied { sink: self.desk.word.sink().to_owned(), shard: shard.clone(), why }.into()
    }

    /// Tells what became of requests.
    async fn settle(&mut self, settled: Vec<Settled<Ticket>>) {
        if settled.is_empty() {
            return;
        }
        let (mut deliveries, mut dead) = (BTreeMap::<u64, u64>::new(), Vec::new());
        let mut confirmed = 0;
        for settled in settled {
            let ticket = match settled {
                Settled::Applied(ticket) | Settled::AppliedBefore(ticket) => ticket,
                Settled::DeadLetter(ticket, reason) => {
                    self.buffer.give_back(&ticket);
                    dead.push((ticket, reason));
                    continue;
                }
            };
            confirmed += 1;
            self.buffer.give_back(&ticket);
            *deliveries.entry(ticket.origin.delivery).or_default() += 1;
        }
        self.desk.totals.confirmed.add(confirmed);
        self.desk.word.settled(deliveries).await;
        for (ticket, reason) in dead {
            self.bury(ticket, reason).await;
        }
    }

    /// A request will never be carried out.
    async fn bury(&mut self, ticket: Ticket, reason: String) {
        let Ticket { request, origin, record, .. } = ticket;
        let name = self.target.schema.shown(&request.item);
        match self.desk.word.dead_letter(&origin, record, name, reason) {
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

    fn count(&self) {
        let (buffer, in_flight) = (&self.buffer, self.calls.len());
        self.desk.totals.note(|load| {
            (load.buffered, load.bytes, load.in_flight) = (buffer.requests, buffer.bytes, in_flight);
            load.oldest = buffer.arrivals.first_key_value().map(|(at, _)| *at);
        });
    }
}

/// A transaction spans neither regions nor accounts.
async fn in_one_place(target: Target, sink: &str, retry: RetryLimits, clock: Clock) -> Result<(), SinkError> {
    let positions = describe(&*target.positions, sink, retry, clock).await?.arn;
    let place = |arn: &str| arn.split(':').take(5).map(str::to_owned).collect::<Vec<_>>();
    if place(&positions) == place(&target.arn) {
        return Ok(());
    }
    Err(SinkError::Apart { sink: sink.to_owned(), table: target.arn, positions })
}

/// The key and the size of a request.
///
/// # Errors
/// It can never be carried out, and why: a clause that names no payload.
fn facts(schema: &KeySchema, request: &ItemRequest, bytes_max: u64) -> Result<(Vec<u8>, u64), String> {
    let key = schema.canonical(&request.item)?;
    let bytes = match request.action {
        entry::Action::Put => check_put(request)?,
        entry::Action::Delete => schema.project(&request.item).size(),
        entry::Action::Add => {
            check_add(schema, &request.item)?;
            request.item.size()
        }
    };
    if bytes > bytes_max {
        return Err(format!("the entry has {bytes} bytes, more than {bytes_max} (max_record_bytes)"));
    }
    Ok((key, bytes))
}

async fn until<F: Future<Output = ()>>(wake: Option<Moment>, wait: impl FnOnce(Moment) -> F) {
    match wake {
        Some(at) => wait(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
