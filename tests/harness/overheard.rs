//! Enhanced fan-out, listened in on: which subscriptions were asked for and when, and how much the byte budgets held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host::flow::Budget;
use host::ports::{ConsumerDescription, ConsumerKey, FanOutApi, Pushed, Subscription};
use host::source::classify::SourceError;
use host::source::memory::MemoryStream;
use host_core::shard::{Position, ShardId};
use tokio::time::Instant;

use crate::rig::Rig;

/// One call of `SubscribeToShard`.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was answered.
    pub at: Instant,
    /// For which shard.
    pub shard: ShardId,
    /// From where.
    pub from: Position,
    /// Whether it was granted.
    pub granted: bool,
}

/// Stands between a rig and its stream. Clones are the same.
#[derive(Clone)]
pub struct Overheard {
    stream: MemoryStream,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    asked: Vec<Asked>,
    /// What was held right after an event came, at most.
    held_most: u64,
}

struct Line {
    inner: Box<dyn Subscription>,
    budget: Budget,
    overheard: Overheard,
}

impl Overheard {
    /// From now on the rig's first stream is listened in on.
    pub fn over(rig: &mut Rig) -> Self {
        let overheard = Self { stream: rig.stream.clone(), book: Arc::default() };
        rig.fan_out[0] = Arc::new(overheard.clone());
        overheard
    }

    /// Every call so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.book().asked.clone()
    }

    /// When subscriptions to this shard were granted.
    #[must_use]
    pub fn granted(&self, shard: &ShardId) -> Vec<Instant> {
        let book = self.book();
        book.asked.iter().filter(|asked| asked.granted && asked.shard == *shard).map(|asked| asked.at).collect()
    }

    /// The most that one budget held right after an event, in bytes.
    #[must_use]
    pub fn held_most(&self) -> u64 {
        self.book().held_most
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FanOutApi for Overheard {
    fn describe_consumer<'a>(
        &'a self,
        consumer: ConsumerKey<'a>,
    ) -> BoxFuture<'a, Result<Option<ConsumerDescription>, SourceError>> {
        self.stream.describe_consumer(consumer)
    }

    fn list_consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerDescription>, SourceError>> {
        self.stream.list_consumers()
    }

    fn register_consumer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ConsumerDescription, SourceError>> {
        self.stream.register_consumer(name)
    }

    fn deregister_consumer<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), SourceError>> {
        self.stream.deregister_consumer(arn)
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        from: &'a Position,
        timeout: Duration,
        budget: &'a Budget,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, SourceError>> {
        async move {
            let answer = self.stream.subscribe(consumer_arn, shard, from, timeout, budget).await;
            let asked = Asked { at: Instant::now(), shard: shard.clone(), from: from.clone(), granted: answer.is_ok() };
            self.book().asked.push(asked);
            let line = Line { inner: answer?, budget: budget.clone(), overheard: self.clone() };
            Ok(Box::new(line) as Box<dyn Subscription>)
        }
        .boxed()
    }
}

impl Subscription for Line {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pushed>, SourceError>> {
        async {
            let told = self.inner.next().await;
            let mut book = self.overheard.book();
            book.held_most = book.held_most.max(self.budget.held());
            drop(book);
            told
        }
        .boxed()
    }

    fn awaits_room(&self) -> bool {
        self.inner.awaits_room()
    }

    fn silence(&self, lasted: Duration) -> SourceError {
        self.inner.silence(lasted)
    }
}
