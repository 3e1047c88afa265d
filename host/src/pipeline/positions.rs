//! The thread that keeps positions: settles the sinks, then commits, one commit at a time.

use std::thread::{self, JoinHandle};

use host_core::checkpoint::{Commit, SinkMark};
use host_core::coordinator::Event;
use tokio::sync::mpsc;

use crate::pipeline::Input;
use crate::pipeline::failure::Failure;
use crate::ports::Settle;
use crate::state::{LeaseStore, StreamIdentity};

/// What this thread is called when it is gone.
pub(super) const POSITIONS: &str = "positions";

/// What the thread works with.
pub struct Keeper {
    /// The claimed store.
    pub store: Box<dyn LeaseStore>,
    /// The stream whose rows are kept.
    pub stream: StreamIdentity,
    /// The sinks' names, by their index.
    pub sinks: Vec<String>,
    /// How each sink that needs it is settled, with its name.
    pub settles: Vec<(String, Settle)>,
    /// The marks that the sinks resumed at: they go with the first commit, so that a run which dies before its first
    /// receipt leaves a place to come back to.
    pub resumed: Vec<SinkMark>,
}

/// The loop's side: commits go out, answers come back. Dropping it releases the pipeline.
pub struct Positions {
    commits: Option<mpsc::UnboundedSender<Commit>>,
    answers: mpsc::UnboundedReceiver<Input>,
    thread: Option<JoinHandle<()>>,
}

impl Positions {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(pipeline: &str, mut keeper: Keeper) -> Result<Self, Failure> {
        // Unbounded, yet never more than one commit is out: the core waits for the answer.
        let (commits, mut orders) = mpsc::unbounded_channel::<Commit>();
        let (answer, answers) = mpsc::unbounded_channel();
        let builder = thread::Builder::new().name(format!("{pipeline} positions"));
        let spawned = builder.spawn(move || {
            while let Some(commit) = orders.blocking_recv() {
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
        Ok(Self { commits: Some(commits), answers, thread: Some(thread) })
    }

    /// Orders a commit.
    pub fn commit(&self, commit: Commit) {
        if let Some(commits) = &self.commits {
            // A thread that is gone has said so through its answers.
            drop(commits.send(commit));
        }
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
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the panic hook.
            drop(thread.join());
        }
    }
}

impl Keeper {
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
        self.store.commit(std::slice::from_ref(&self.stream), &commit, &self.sinks)?;
        Ok(commit.id)
    }
}
