//! What was asked for: counts by operation and shard, the highest rates, the last requests, and a way to wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use super::clock::Millis;
use super::service::Subject;

/// How many requests are remembered word for word.
const REQUESTS_MAX: usize = 1024;
/// Bodies longer than this are not remembered: they hold data, not questions.
const BODY_BYTES_MAX: usize = 4096;
/// How long anything may take before a test gives up on it: far beyond what it needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
const WINDOW: Millis = 1000;

/// Calls of one operation, of one shard or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that arrived.
    pub calls: u64,
    /// Calls that were answered without a refusal.
    pub answered: u64,
    /// Refusals, by code.
    pub refused: BTreeMap<String, u64>,
    /// The most calls in any second of the service's time.
    pub peak: usize,
    recent: VecDeque<Millis>,
}

impl Tally {
    fn arrived(&mut self, now: Millis) {
        self.calls += 1;
        while self.recent.pop_front_if(|at| *at <= now - WINDOW).is_some() {}
        self.recent.push_back(now);
        self.peak = self.peak.max(self.recent.len());
    }
}

/// One request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The operation.
    pub operation: String,
    /// What it was about.
    pub subject: Subject,
    /// Its members.
    pub input: Value,
    /// When it came, by the service's clock.
    pub at: Millis,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Subscriptions, to one shard or to all. What was pushed is what was made for the connection to take: at most one event
/// more than it had room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// Open right now.
    pub open: usize,
    /// Of these, over HTTP/1.1.
    pub over_http1: usize,
    /// Of these, over HTTP/2.
    pub over_http2: usize,
    /// Ever opened.
    pub opened: u64,
    /// The most that were open at once.
    pub most: usize,
    /// Events pushed, the message that opens a stream and exceptions not counted.
    pub events: u64,
    /// Bytes of these on the wire.
    pub bytes: u64,
}

/// All counts of a service.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    operations: BTreeMap<String, Tally>,
    subjects: BTreeMap<Subject, BTreeMap<String, Tally>>,
    tables: BTreeMap<String, BTreeMap<String, Tally>>,
    requests: VecDeque<Request>,
    subscribed: Subscribed,
    subscribed_to: BTreeMap<Subject, Subscribed>,
    /// Calls that hang right now.
    pub hung: usize,
    /// Event streams that are stalled right now.
    pub stalled: usize,
    /// Connections that are open right now.
    pub connections: usize,
    /// Connections that were ever opened.
    pub connected: u64,
    /// Connections that speak HTTP/1.1 right now.
    pub http1: usize,
    /// Connections that speak HTTP/2 right now.
    pub http2: usize,
    /// Streams of HTTP/2 that are open right now: calls whose answer has not ended.
    pub http2_streams: usize,
}

impl Tallies {
    /// How often an operation was called.
    #[must_use]
    pub fn calls(&self, operation: &str) -> u64 {
        self.operations.get(operation).map_or(0, |tally| tally.calls)
    }

    /// How often an operation was called for a shard of a stream.
    #[must_use]
    pub fn calls_of(&self, operation: &str, stream: &str, shard: &str) -> u64 {
        self.of(operation, stream, shard).calls
    }

    /// All about an operation.
    #[must_use]
    pub fn operation(&self, operation: &str) -> Tally {
        self.operations.get(operation).cloned().unwrap_or_default()
    }

    /// All about an operation on one shard.
    #[must_use]
    pub fn of(&self, operation: &str, stream: &str, shard: &str) -> Tally {
        let subject = of_shard(stream, shard);
        self.subjects.get(&subject).and_then(|by_operation| by_operation.get(operation)).cloned().unwrap_or_default()
    }

    /// All about an operation on one table, others being in the same request or not.
    #[must_use]
    pub fn of_table(&self, operation: &str, table: &str) -> Tally {
        self.tables.get(table).and_then(|by_operation| by_operation.get(operation)).cloned().unwrap_or_default()
    }

    /// Subscriptions to all shards.
    #[must_use]
    pub const fn subscribed(&self) -> Subscribed {
        self.subscribed
    }

    /// Subscriptions to one shard, whoever the consumer.
    #[must_use]
    pub fn subscribed_to(&self, stream: &str, shard: &str) -> Subscribed {
        let subject = of_shard(stream, shard);
        self.subscribed_to.get(&subject).copied().unwrap_or_default()
    }

    pub(crate) fn each_subscribed(&mut self, subject: &Subject, change: impl Fn(&mut Subscribed)) {
        change(&mut self.subscribed);
        if !self.subscribed_to.contains_key(subject) {
            self.subscribed_to.insert(subject.clone(), Subscribed::default());
        }
        change(self.subscribed_to.get_mut(subject).expect("inserted right above"));
    }

    /// The highest rate of an operation on any one subject, in calls within a second of the service's time.
    #[must_use]
    pub fn peak_of_any(&self, operation: &str) -> usize {
        let of_subjects = self.subjects.values().filter_map(|by_operation| by_operation.get(operation));
        of_subjects.map(|tally| tally.peak).max().unwrap_or(0)
    }

    /// The last thousand requests of an operation, the oldest first.
    #[must_use]
    pub fn requests(&self, operation: &str) -> Vec<Request> {
        self.requests.iter().filter(|request| request.operation == operation).cloned().collect()
    }
}

/// Counts that can be waited for.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    tallies: Mutex<Tallies>,
    changed: Notify,
}

impl Counts {
    pub(crate) fn read(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Tallies) -> T) -> T {
        let changed = change(&mut self.read());
        self.changed.notify_waiters();
        changed
    }

    pub(crate) fn arrived(&self, request: Request, size: usize) {
        self.change(|tallies| {
            let Request { operation, subject, at, .. } = &request;
            tally(&mut tallies.operations, operation).arrived(*at);
            let of_subject = match tallies.subjects.get_mut(subject) {
                Some(of_subject) => of_subject,
                None => tallies.subjects.entry(subject.clone()).or_default(),
            };
            tally(of_subject, operation).arrived(*at);
            for table in &subject.tables {
                let of_table = tallies.tables.entry(table.clone()).or_default();
                tally(of_table, operation).arrived(*at);
            }
            if size <= BODY_BYTES_MAX {
                if tallies.requests.len() == REQUESTS_MAX {
                    tallies.requests.pop_front();
                }
                tallies.requests.push_back(request);
            }
        });
    }

    /// `refusal` is the code of what was refused.
    pub(crate) fn settled(&self, operation: &str, subject: &Subject, refusal: Option<&str>) {
        self.change(|tallies| {
            let of_subject = tallies.subjects.get_mut(subject).and_then(|of_subject| of_subject.get_mut(operation));
            let of_tables = tallies.tables.iter_mut().filter(|(table, _)| subject.tables.contains(*table));
            let of_tables = of_tables.filter_map(|(_, by_operation)| by_operation.get_mut(operation));
            for tally in tallies.operations.get_mut(operation).into_iter().chain(of_subject).chain(of_tables) {
                match refusal {
                    None => tally.answered += 1,
                    Some(code) => *tally.refused.entry(code.to_owned()).or_default() += 1,
                }
            }
        });
    }

    /// Waits until `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Tallies) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Registered before the look, so that no change falls between the two.
                changed.as_mut().enable();
                if holds(&self.read()) {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain for {what}");
        }
    }
}

fn of_shard(stream: &str, shard: &str) -> Subject {
    Subject { stream: Some(stream.to_owned()), shard: Some(shard.to_owned()), ..Subject::default() }
}

fn tally<'a>(tallies: &'a mut BTreeMap<String, Tally>, operation: &str) -> &'a mut Tally {
    if !tallies.contains_key(operation) {
        tallies.insert(operation.to_owned(), Tally::default());
    }
    tallies.get_mut(operation).expect("inserted right above")
}
