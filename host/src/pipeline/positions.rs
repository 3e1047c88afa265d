//! The thread that keeps positions: settles the sinks, then commits, one commit at a time.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use host_core::checkpoint::{Commit, SinkMark};
use host_core::coordinator::Event;
use tokio::sync::{mpsc, oneshot};

use crate::pipeline::Input;
use crate::pipeline::failure::Failure;
use crate::ports::Settle;
use crate::source::consumer::Note;
use crate::state::{LeaseStore, RegisteredConsumer, StoreError, StreamIdentity};

/// What this thread is called when it is gone.
pub(super) const POSITIONS: &str = "positions";

/// What the thread works with.
pub struct Keeper {
    /// The claimed store.
    pub store: Box<dyn LeaseStore>,
    /// The streams whose rows are kept, by their index in the source.
    pub streams: Vec<StreamIdentity>,
    /// The sinks' names, by their index.
    pub sinks: Vec<String>,
    /// How each sink that needs it is settled, with its name.
    pub settles: Vec<(String, Settle)>,
    /// The marks that the sinks resumed at: they go with the first commit, so that a run which dies before its first
    /// receipt leaves a place to come back to.
    pub resumed: Vec<SinkMark>,
}

/// What the thread is asked to do.
enum Order {
    Commit(Commit),
    /// Remember the consumer of the stream with this index, and answer.
    Note(usize, Option<RegisteredConsumer>, oneshot::Sender<Result<(), Failure>>),
}

/// The loop's side: commits go out, answers come back. Dropping it releases the pipeline.
pub struct Positions {
    orders: Option<mpsc::UnboundedSender<Order>>,
    answers: mpsc::UnboundedReceiver<Input>,
    thread: Option<JoinHandle<()>>,
}

impl Positions {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(pipeline: &str, mut keeper: Keeper) -> Result<Self, Failure> {
        // Unbounded, yet never more than one commit and one note for each stream are out: whoever orders waits for the answer.
        let (sender, mut orders) = mpsc::unbounded_channel::<Order>();
        let (answer, answers) = mpsc::unbounded_channel();
        let builder = thread::Builder::new().name(format!("{pipeline} positions"));
        let spawned = builder.spawn(move || {
            while let Some(order) = orders.blocking_recv() {
                let commit = match order {
                    Order::Commit(commit) => commit,
                    Order::Note(stream, consumer, noted) => {
                        // Who does not wait for it any more has no use for it either.
                        drop(noted.send(keeper.note(stream, consumer.as_ref())));
                        continue;
                    }
                };
                let input = match keeper.keep(commit) {
                    Ok(id) => Input::Event(Event::Committed { id }),
                    Err(failure) => Input::Failed(failure),
                };
                if answer.send(input).is_err() {
                    break;
                }
            }
            if let Err(error) = keeper.store.release() {
                tracing::warn!(%error, "the pipeline could not be released; the next start takes it over all the same");
            }
        });
        let thread = spawned.map_err(|source| Failure::Thread { part: "positions".to_owned(), source })?;
        Ok(Self { orders: Some(sender), answers, thread: Some(thread) })
    }

    /// Orders a commit.
    pub fn commit(&self, commit: Commit) {
        if let Some(orders) = &self.orders {
            // A thread that is gone has said so through its answers.
            drop(orders.send(Order::Commit(commit)));
        }
    }

    /// What notes the consumer of the stream with this index. It may outlive this, and then only fails.
    #[must_use]
    pub fn note_consumer(&self, stream: usize) -> Note {
        // Weak: the thread ends with the last order, and whoever drops this waits for that.
        let orders = self.orders.as_ref().map(mpsc::UnboundedSender::downgrade);
        Arc::new(move |consumer| {
            let (noted, answer) = oneshot::channel();
            if let Some(orders) = orders.as_ref().and_then(mpsc::WeakUnboundedSender::upgrade) {
                // One that is not taken drops `noted`, which tells.
                drop(orders.send(Order::Note(stream, consumer, noted)));
            }
            Box::pin(async move { answer.await.unwrap_or(Err(Failure::Vanished { part: POSITIONS })) })
        })
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Input {
        match self.answers.recv().await {
            Some(input) => input,
            None => Input::Failed(Failure::Vanished { part: POSITIONS }),
        }
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the panic hook.
            drop(thread.join());
        }
    }
}

impl Keeper {
    fn note(&mut self, stream: usize, consumer: Option<&RegisteredConsumer>) -> Result<(), Failure> {
        // An index that no stream has is a bug of ours, and the store's word for it fits.
        let identity = self.streams.get(stream).ok_or_else(|| StoreError::Invalid {
            what: format!("note a consumer of stream {stream} of {}", self.streams.len()),
        })?;
        Ok(self.store.note_consumer(identity, consumer)?)
    }

    fn keep(&mut self, mut commit: Commit) -> Result<u64, Failure> {
        for mark in std::mem::take(&mut self.resumed) {
            if !commit.marks.iter().any(|newer| newer.sink == mark.sink) {
                commit.marks.push(mark);
            }
        }
        for (sink, settle) in &mut self.settles {
            let target = "its file".to_owned();
            settle().map_err(|source| crate::ports::SinkError::Write { sink: sink.clone(), target, source })?;
        }
        self.store.commit(&self.streams, &commit, &self.sinks)?;
        Ok(commit.id)
    }
}

#[cfg(test)]
mod tests {
    use host_core::moment::EpochMillis;

    use super::*;
    use crate::state::memory::MemoryStore;
    use crate::state::{Owner, PipelineId, StartPoint};

    fn owner() -> Owner {
        Owner { name: "host:1".to_owned(), since: EpochMillis(0) }
    }

    #[tokio::test]
    async fn a_noted_consumer_is_durable_once_it_is_answered_for_and_its_note_holds_nobody_up() {
        let id = PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() };
        let stream = StreamIdentity { arn: "arn".to_owned(), created: EpochMillis(7) };
        let disk = MemoryStore::default();
        let mut store = disk.open(&id);
        store.claim(&owner(), &[]).expect("nobody owns it");
        store.start_stream(&stream, StartPoint::TrimHorizon, &[]).expect("not started yet");
        let keeper = Keeper {
            store: Box::new(store),
            streams: vec![stream],
            sinks: Vec::new(),
            settles: Vec::new(),
            resumed: Vec::new(),
        };
        let positions = Positions::start("quakes", keeper).expect("a thread");
        let (note, elsewhere) = (positions.note_consumer(0), positions.note_consumer(1));
        let consumer = Some(RegisteredConsumer { name: "fast".to_owned(), arn: None });
        note(consumer.clone()).await.expect("the owner");
        let refused = elsewhere(consumer.clone()).await;
        assert!(matches!(refused, Err(Failure::Store(StoreError::Invalid { .. }))), "{refused:?}");
        disk.break_lock(&id);
        let claimed = disk.open(&id).claim(&owner(), &[]).expect("the lock is lost");
        assert_eq!(claimed.streams[0].consumer, consumer);
        let fenced = note(None).await;
        assert!(matches!(fenced, Err(Failure::Store(StoreError::Fenced { .. }))), "{fenced:?}");
        drop(positions);
        let late = note(None).await;
        assert!(matches!(late, Err(Failure::Vanished { part: POSITIONS })), "{late:?}");
    }
}
