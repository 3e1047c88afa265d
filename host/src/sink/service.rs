//! What the sinks' thread and a sink that writes to a service have to do with each other.
//!
//! ```text
//!  sinks' thread --Handed--> service (a task) --settled--> confirmations (a task) --receipts--> the loop
//!        '--------------------- opened ------------------------^
//! ```
//!
//! A service takes what it is handed when it has room for it, and says of each entry, once, that it is settled: the target
//! has it, or it never will and that is told. Everything else is its own affair. It ends by itself when nothing more comes
//! and everything is settled; it is dropped, with all that it has under way, when patience is over.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use host_core::delivery::PoisonPolicy;
use host_core::moment::Moment;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::entry::Entries;
use crate::flow::Held;
use crate::pipeline::failure::{DeadLetter, Failure};
use crate::pipeline::totals::SinkTotals;
use crate::sink::confirmations::Word;
pub use crate::sink::origin::{Origin, Stations};
use crate::source::health::Health;
use crate::state::StreamIdentity;
use crate::subtask::StreamLabel;

/// A sink that writes to a service.
pub trait Service: Send {
    /// Writes what comes in, until nothing more comes and all of it is settled. The future is dropped when patience ends,
    /// and what it has under way with it. A panic ends the pipeline.
    fn run(self: Box<Self>, desk: Desk) -> BoxFuture<'static, ()>;
}

/// Entries of one delivery, for one sink.
#[derive(Debug)]
pub struct Handed {
    /// Where they come from.
    pub origin: Arc<Origin>,
    /// The entries; at least one.
    pub entries: Entries,
    /// The record that each entry came from, counted within the delivery: never decreasing.
    pub record: Vec<u32>,
    /// When they were handed over.
    pub arrived: Moment,
    /// The delivery's share of the byte budget. To be dropped once all entries are counted in a budget of the sink's own.
    pub held: Option<Arc<Held>>,
}

/// What a service works with.
pub struct Desk {
    /// What it is to write, in this order. Ends when nothing more will come.
    pub intake: mpsc::Receiver<Handed>,
    /// What it says.
    pub word: Settler,
    /// Whether others wait for what it has: no entry should wait for company then. It may change at any time.
    pub eager: watch::Receiver<bool>,
    /// Time.
    pub clock: Clock,
    /// What it counts.
    pub totals: Arc<SinkTotals>,
    /// Where its struggles are told.
    pub health: Arc<Health>,
    /// The pipeline's claim, for a sink that keeps positions itself.
    pub claim: Claim,
}

/// The claim that a run stands on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its generation: whatever is written under an older one is refused.
    pub generation: u64,
    /// The streams, by their index in the source.
    pub streams: Arc<[StreamIdentity]>,
}

/// How a service tells what became of entries. Clones tell the same.
#[derive(Clone)]
pub struct Settler {
    pub(super) name: Arc<str>,
    pub(super) words: mpsc::Sender<Word>,
    pub(super) policy: PoisonPolicy,
    pub(super) streams: Arc<[StreamLabel]>,
    pub(super) totals: Arc<SinkTotals>,
}

impl Settler {
    /// The sink's name in the manifest.
    #[must_use]
    pub fn sink(&self) -> &str {
        &self.name
    }

    /// So many entries of these deliveries are settled: each entry is said so of once.
    pub async fn settled(&self, deliveries: impl IntoIterator<Item = (u64, u64)> + Send) {
        let settled: Vec<(u64, u64)> = deliveries.into_iter().collect();
        if !settled.is_empty() {
            // A pipeline that is gone does not want to know.
            drop(self.words.send(Word::Settled(settled)).await);
        }
    }

    /// The pipeline is to stop. What is under way may still be settled.
    pub async fn failed(&self, failure: Failure) {
        drop(self.words.send(Word::Failed(failure)).await);
    }

    /// An entry will never be written. It is counted and told, and counts as settled then.
    ///
    /// # Errors
    /// The manifest says to stop: it is not settled, and the failure is to be told.
    pub fn dead_letter(&self, origin: &Origin, record: u32, entry: String, reason: String) -> Result<(), Failure> {
        self.totals.dead_letters.add(1);
        let index = usize::try_from(origin.shard.stream()).unwrap_or(usize::MAX);
        let stream = self.streams.get(index).map(|stream| stream.name.clone()).unwrap_or_default();
        let (sink, sequence) = (self.sink(), origin.sequence(record));
        match self.policy {
            PoisonPolicy::Skip => {
                tracing::warn!(sink, entry, stream, shard = %origin.shard, sequence, reason, "skipped an entry");
                Ok(())
            }
            PoisonPolicy::Fail => {
                let shard = origin.shard.clone();
                let letter = DeadLetter { sink: sink.to_owned(), entry, stream, shard, sequence, reason };
                Err(Failure::DeadLetter(Box::new(letter)))
            }
        }
    }
}
