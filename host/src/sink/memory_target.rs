//! The fake of a service that takes batches: does what a script says, and remembers every request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use host_core::batching::{Destination, Outcome, Quota, Setback};
use host_core::patience::Trouble;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::entry::KinesisEntry;
use crate::sink::batched::{Batched, Facts, WriteError, Written};
use crate::source::classify::{CallSite, Place, Role, SourceError};

/// A service in memory that takes entries for streams. Clones look at the same service.
#[derive(Clone)]
pub struct MemoryTarget {
    shared: Arc<Mutex<Shared>>,
    changed: Arc<Notify>,
    started: Instant,
}

/// What the service does with requests.
pub type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

struct Shared {
    script: Script,
    requests: Vec<Asked>,
    taken: Vec<(String, Vec<u8>)>,
    in_flight: usize,
    in_flight_most: usize,
    dropped: usize,
    news: Vec<(Destination, Option<Quota>)>,
    log: Vec<Happened>,
}

/// Something that happened between the service and whoever writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// An entry became known to the sink.
    Offered {
        /// When, since the service was made.
        at: Duration,
        /// Its data.
        data: Vec<u8>,
    },
    /// A request came.
    Asked(Asked),
    /// The answer to a request was heard.
    Heard {
        /// When, since the service was made.
        at: Duration,
        /// Which one.
        number: usize,
        /// Entry by entry, whether it was said to be taken; empty if the request failed as a whole.
        done: Vec<bool>,
    },
    /// A request was given up before its answer.
    Dropped {
        /// Which one.
        number: usize,
    },
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// How many requests there were before it.
    pub number: usize,
    /// When it came, since the service was made.
    pub at: Duration,
    /// Partition keys of its entries.
    pub keys: Vec<String>,
    /// Their data.
    pub data: Vec<Vec<u8>>,
}

/// What the service does with a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// How long it takes; `None`: for ever.
    pub after: Option<Duration>,
    /// What it answers.
    pub answer: Answer,
    /// Whether entries are taken before that time and not after it: a request that is given up has had its way then.
    pub takes_first: bool,
}

/// What the service answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This for every entry.
    All(Outcome),
    /// These, entry by entry.
    Each(Vec<Outcome>),
    /// The request fails as a whole, and nothing is taken.
    Fail(WriteError),
    /// Everything is taken and nobody hears of it: as if the connection broke.
    TakeAndFail(WriteError),
    /// The code that talks to the service panics.
    Panic,
}

impl From<Answer> for Reply {
    /// At once.
    fn from(answer: Answer) -> Self {
        Self { after: Some(Duration::ZERO), answer, takes_first: false }
    }
}

impl Reply {
    /// Everything is taken, at once.
    #[must_use]
    pub fn done() -> Self {
        Answer::All(Outcome::Done).into()
    }

    /// Nothing is taken of it: there is too much.
    #[must_use]
    pub fn throttled() -> Self {
        Answer::All(Outcome::Retry(Setback::Throttled)).into()
    }

    /// The request fails with an error of this code, for a reason that another attempt may mend.
    #[must_use]
    pub fn trouble(trouble: Trouble, code: &str) -> Self {
        Answer::Fail(WriteError::Trouble(trouble, error(code))).into()
    }

    /// The caller may not.
    #[must_use]
    pub fn denied() -> Self {
        Self::trouble(Trouble::Denied, "AccessDeniedException")
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after: Some(after), ..self }
    }

    /// The same, but what is taken is taken at once.
    #[must_use]
    pub fn taking_first(self) -> Self {
        Self { takes_first: true, ..self }
    }

    /// The same, never.
    #[must_use]
    pub fn never(self) -> Self {
        Self { after: None, ..self }
    }
}

/// What the service says with this code.
#[must_use]
pub fn error(code: &str) -> SourceError {
    let place = Place {
        stream: "memory".to_owned(),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        endpoint: None,
        credentials: "no credentials".to_owned(),
        role: Role::Target,
    };
    CallSite { place: &place, operation: "PutRecords", shard: None }.answered(Some(code), 400, "as the script says")
}

impl Default for MemoryTarget {
    fn default() -> Self {
        let shared = Shared {
            script: Arc::new(|_| Reply::done()),
            requests: Vec::new(),
            taken: Vec::new(),
            in_flight: 0,
            in_flight_most: 0,
            dropped: 0,
            news: Vec::new(),
            log: Vec::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)), changed: Arc::default(), started: Instant::now() }
    }
}

impl fmt::Debug for MemoryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTarget").finish_non_exhaustive()
    }
}

impl MemoryTarget {
    /// A service that does what `script` says; by default it takes everything at once.
    #[must_use]
    pub fn scripted(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let target = Self::default();
        target.does(script);
        target
    }

    /// From now on the service does this.
    pub fn does(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        self.locked().script = Arc::new(script);
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Asked> {
        self.locked().requests.clone()
    }

    /// Keys and data of what it has, in the order in which it took them; what was written twice is there twice.
    #[must_use]
    pub fn taken(&self) -> Vec<(String, Vec<u8>)> {
        self.locked().taken.clone()
    }

    /// Everything that happened so far, in its order.
    #[must_use]
    pub fn log(&self) -> Vec<Happened> {
        self.locked().log.clone()
    }

    /// How many things happened so far.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.locked().log.len()
    }

    /// The most requests that were under way at a time.
    #[must_use]
    pub fn in_flight_most(&self) -> usize {
        self.locked().in_flight_most
    }

    /// Requests that were given up by whoever made them.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.locked().dropped
    }

    /// Where entries with this key go: few keys share a destination.
    #[must_use]
    pub fn destination(key: &str) -> Destination {
        Destination(key.bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())))
    }

    /// Something becomes known of a destination.
    pub fn tell(&self, destination: Destination, quota: Option<Quota>) {
        self.locked().news.push((destination, quota));
    }

    /// Waits until the service is as told. Cancel-safe.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, entries: &[Arc<KinesisEntry>]) -> (Asked, Reply) {
        let mut shared = self.locked();
        let asked = Asked {
            number: shared.requests.len(),
            at: self.started.elapsed(),
            keys: entries.iter().map(|entry| entry.partition_key.clone()).collect(),
            data: entries.iter().map(|entry| entry.data.clone()).collect(),
        };
        shared.requests.push(asked.clone());
        shared.log.push(Happened::Asked(asked.clone()));
        shared.in_flight += 1;
        shared.in_flight_most = shared.in_flight_most.max(shared.in_flight);
        let script = Arc::clone(&shared.script);
        drop(shared);
        self.changed.notify_waiters();
        let reply = script(&asked);
        (asked, reply)
    }

    /// Takes what the answer says it takes.
    fn take(&self, asked: &Asked, answer: &Answer) {
        let is_taken = |index: usize| match answer {
            Answer::All(outcome) => *outcome == Outcome::Done,
            Answer::Each(outcomes) => outcomes.get(index) == Some(&Outcome::Done),
            Answer::TakeAndFail(_) => true,
            Answer::Fail(_) | Answer::Panic => false,
        };
        let entries = asked.keys.iter().cloned().zip(asked.data.iter().cloned());
        let taken = entries.enumerate().filter_map(|(index, entry)| is_taken(index).then_some(entry));
        self.locked().taken.extend(taken);
    }

    fn answer(&self, asked: &Asked, answer: Answer) -> Result<Written, WriteError> {
        let outcomes = match answer {
            Answer::All(outcome) => vec![outcome; asked.keys.len()],
            Answer::Each(outcomes) => outcomes,
            Answer::Fail(error) | Answer::TakeAndFail(error) => return Err(error),
            Answer::Panic => panic!("as the script says"),
        };
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Retry(_))).count() as u64;
        let codes = if refused > 0 { vec![("Throttled".to_owned(), refused)] } else { Vec::new() };
        Ok(Written { outcomes, codes })
    }
}

/// Notices a request that is given up.
struct UnderWay {
    target: MemoryTarget,
    number: usize,
    is_answered: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut shared = self.target.locked();
        shared.in_flight -= 1;
        shared.dropped += usize::from(!self.is_answered);
        if !self.is_answered {
            let number = self.number;
            shared.log.push(Happened::Dropped { number });
        }
        drop(shared);
        self.target.changed.notify_waiters();
    }
}

impl Batched for MemoryTarget {
    type Entry = KinesisEntry;

    /// Data that begins with `unwritable` can never be written.
    fn facts(&self, entry: &KinesisEntry) -> Result<Facts, String> {
        if entry.data.starts_with(b"unwritable") {
            return Err("the script forbids it".to_owned());
        }
        let at = self.started.elapsed();
        self.locked().log.push(Happened::Offered { at, data: entry.data.clone() });
        let bytes = (entry.partition_key.len() + entry.data.len()) as u64;
        let destination = Self::destination(&entry.partition_key);
        Ok(Facts { key: entry.partition_key.clone().into_bytes(), destination, bytes })
    }

    fn name(&self, entry: &KinesisEntry) -> String {
        entry.partition_key.clone()
    }

    fn write(&self, entries: Vec<Arc<KinesisEntry>>) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let (asked, reply) = self.begin(&entries);
            let mut under_way = UnderWay { target: self.clone(), number: asked.number, is_answered: false };
            if reply.takes_first {
                self.take(&asked, &reply.answer);
            }
            match reply.after {
                Some(after) if after.is_zero() => {}
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            if !reply.takes_first {
                self.take(&asked, &reply.answer);
            }
            let answer = self.answer(&asked, reply.answer);
            let done = answer.iter().flat_map(|written| &written.outcomes).map(|outcome| *outcome == Outcome::Done);
            let (at, number, done) = (self.started.elapsed(), asked.number, done.collect());
            self.locked().log.push(Happened::Heard { at, number, done });
            under_way.is_answered = true;
            answer
        })
    }

    fn news(&self) -> Vec<(Destination, Option<Quota>)> {
        std::mem::take(&mut self.locked().news)
    }
}
