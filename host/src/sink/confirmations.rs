//! The task that turns confirmations into receipts.
//!
//! It alone tells the loop what the sinks have, where there are sinks that write to services. Deliveries that are not
//! confirmed are bounded in number: each has a permit, given back when its receipt leaves, and the sinks' thread waits for
//! one. After a failure nobody gets one any more, so that the data plane ends instead of waiting for receipts that do not
//! come.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use host_core::coordinator::{Event, Receipt};
use host_core::delivery::PoisonPolicy;
use host_core::moment::Moment;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::pipeline::failure::Failure;
use crate::pipeline::{Input, Totals};
use crate::sink::receipts::{Ready, Receipts};
use crate::sink::service::{Claim, Desk, Handed, Service, Settler};
use crate::subtask::{Made, StreamLabel};

/// Deliveries that are not confirmed, at most. Each is a receipt; its entries are in the budgets of its sinks.
const UNCONFIRMED_MAX: usize = 16_384;
/// Words that wait for the task.
const WORDS: usize = 1_024;
/// Deliveries that wait for one service, beside what it has in its buffer.
const HANDED: usize = 2;

/// What is said to the task.
#[derive(Debug)]
pub(super) enum Word {
    /// A delivery begins; said before any service has anything of it.
    Opened {
        /// Its name.
        delivery: u64,
        /// Its entries, of all services.
        entries: u64,
        /// What leaves once they are settled.
        leaving: Box<Leaving>,
    },
    /// Entries of deliveries are settled.
    Settled(Vec<(u64, u64)>),
    /// A subtask's thread ended without a word.
    Lost {
        /// Which one.
        subtask: u32,
    },
    /// The pipeline is to stop.
    Failed(Failure),
}

/// A receipt before it leaves.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) receipt: Receipt,
    pub(super) made: Option<Made>,
    pub(super) elements: u64,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What services work with, and the task that listens to them.
#[derive(Clone)]
pub struct Surroundings {
    /// Whether a sink has marks: see [`super::receipts`].
    pub has_marks: bool,
    /// Whether entries should not wait for company.
    pub eager: watch::Receiver<bool>,
    /// Cancelled when patience with services is over, and when the run is.
    pub cut: CancellationToken,
    /// What to do with entries that will never be written.
    pub policy: PoisonPolicy,
    /// The streams, by their index in the source.
    pub streams: Arc<[StreamLabel]>,
    /// The pipeline's claim.
    pub claim: Claim,
    /// Time.
    pub clock: Clock,
    /// Where the tasks run.
    pub runtime: Handle,
}

/// The sinks' thread's side of it.
pub(super) struct Confirmations {
    around: Surroundings,
    totals: Arc<Totals>,
    pub(super) words: mpsc::Sender<Word>,
    pub(super) permits: Arc<Semaphore>,
}

/// The task is gone: it has failed and said so, or patience is over.
#[derive(Debug)]
pub(super) struct Gone;

impl Confirmations {
    /// Starts the task.
    pub(super) fn start(around: Surroundings, output: mpsc::Sender<Input>, totals: Arc<Totals>) -> Self {
        let (words, listening) = mpsc::channel(WORDS);
        let permits = Arc::new(Semaphore::new(UNCONFIRMED_MAX));
        let task = Task {
            receipts: Receipts::new(around.has_marks),
            words: listening,
            output,
            totals: Arc::clone(&totals),
            permits: Arc::clone(&permits),
        };
        let cut = around.cut.clone();
        // Cut off or not: what it holds goes with it.
        around.runtime.spawn(async move { cut.run_until_cancelled_owned(task.run()).await });
        Self { around, totals, words, permits }
    }

    /// Starts the task of a service; what is returned leads to it.
    pub(super) fn serve(&self, name: &str, service: Box<dyn Service>) -> mpsc::Sender<Handed> {
        let (sender, intake) = mpsc::channel(HANDED);
        let totals = self.totals.sink(name);
        let word = Settler {
            name: name.into(),
            words: self.words.clone(),
            policy: self.around.policy,
            streams: Arc::clone(&self.around.streams),
            totals: Arc::clone(&totals),
        };
        let desk = Desk {
            intake,
            word: word.clone(),
            eager: self.around.eager.clone(),
            clock: self.around.clock,
            totals,
            health: Arc::clone(&self.totals.health),
            claim: self.around.claim.clone(),
        };
        let cut = self.around.cut.clone();
        self.around.runtime.spawn(async move {
            let working = AssertUnwindSafe(service.run(desk)).catch_unwind();
            if let Some(Err(_)) = cut.run_until_cancelled_owned(working).await {
                word.failed(Failure::Vanished { part: "task of a sink" }).await;
            }
        });
        sender
    }

    /// Now, by the clock of the runtime that the services run on: a thread has another where a test pauses that one.
    pub(super) fn now(&self) -> Moment {
        let _runtime = self.around.runtime.enter();
        self.around.clock.now()
    }

    /// Waits for room for one more delivery that is not confirmed.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, Gone> {
        let (permits, cut) = (Arc::clone(&self.permits), &self.around.cut);
        let acquired = self.around.runtime.block_on(cut.run_until_cancelled(permits.acquire_owned()));
        match acquired {
            // A run that is over writes nothing more to the sinks on this machine either: they may be the next run's.
            Some(Ok(permit)) if !cut.is_cancelled() => Ok(permit),
            Some(_) | None => Err(Gone),
        }
    }

    /// Says something.
    pub(super) fn say(&self, word: Word) -> Result<(), Gone> {
        self.words.blocking_send(word).map_err(|_gone| Gone)
    }
}

struct Task {
    receipts: Receipts<Box<Leaving>>,
    words: mpsc::Receiver<Word>,
    output: mpsc::Sender<Input>,
    totals: Arc<Totals>,
    permits: Arc<Semaphore>,
}

impl Task {
    async fn run(mut self) {
        while let Some(word) = self.words.recv().await {
            let failure = self.hear(word);
            let ready: Vec<_> = self.receipts.ready().collect();
            for ready in ready {
                let input = match ready {
                    Ready::Receipt(leaving) => Input::Event(Event::Delivered(self.leave(*leaving))),
                    Ready::Lost(subtask) => Input::Lost { subtask },
                };
                if self.output.send(input).await.is_err() {
                    return;
                }
            }
            if let Some(failure) = failure {
                self.permits.close();
                if self.output.send(Input::Failed(failure)).await.is_err() {
                    return;
                }
            }
        }
    }

    fn hear(&mut self, word: Word) -> Option<Failure> {
        match word {
            Word::Opened { delivery, entries, leaving } => {
                let (shard, session) = (leaving.receipt.shard.clone(), leaving.receipt.session);
                self.receipts.opened(delivery, entries, &shard, session, leaving);
            }
            Word::Settled(settled) => {
                settled.into_iter().for_each(|(delivery, entries)| self.receipts.settled(delivery, entries));
            }
            Word::Lost { subtask } => self.receipts.lost(subtask),
            Word::Failed(failure) => return Some(failure),
        }
        None
    }

    fn leave(&self, leaving: Leaving) -> Receipt {
        let Leaving { mut receipt, made, elements, permit } = leaving;
        self.totals.elements_out.add(elements);
        receipt.event_time = made.map(Made::delivered);
        drop(permit);
        receipt
    }
}
