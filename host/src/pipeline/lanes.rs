//! The subtasks of a pipeline: how they start, and how one that was lost starts again while the others work on.
//!
//! A subtask's thread ends when nobody can send to it any more. If it ends in any other way (it panicked), it is *lost*:
//! whoever reads for it would wait for ever. Its last act is therefore to say so, through the sinks' thread, behind
//! everything that it had delivered: when the word arrives, every receipt of its is in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use host_core::moment::Moment;
use tokio::sync::mpsc;

use crate::flow::Budget;
use crate::pipeline::failure::Failure;
use crate::sink::thread::ToSinks;
use crate::subtask::{Components, Intake, Subtask, Surroundings};

/// Batches that wait for one subtask; the byte budget bounds what they hold.
const QUEUE: usize = 64;
/// A subtask that is lost more often than this within [`LOSS_WINDOW`] will be lost again: the run ends.
const LOSSES_MAX: usize = 3;
/// See [`LOSSES_MAX`].
const LOSS_WINDOW: Duration = Duration::from_secs(600);

/// Opens the components of a subtask, told its index: the deserializer and the sinks' converters.
pub type OpenComponents = Arc<dyn Fn(u32) -> Result<Components, Failure> + Send + Sync>;

/// What starts subtasks.
pub struct Lanes {
    /// The pipeline's name, for threads.
    pub name: String,
    /// What every subtask works with.
    pub surroundings: Surroundings,
    /// The way to the sinks.
    pub sinks: mpsc::Sender<ToSinks>,
    /// Bytes that may be read ahead for one subtask, so that one that stands still cannot take what others need.
    pub room: u64,
    /// Opens components for a subtask that starts again.
    pub reopen: OpenComponents,
    /// When subtasks were lost, of late.
    pub losses: Losses,
}

/// When subtasks were lost, of late.
#[derive(Debug, Default)]
pub struct Losses(VecDeque<Moment>);

impl Losses {
    /// Takes in a loss; says whether starting again is still worth while.
    pub fn bear(&mut self, now: Moment) -> bool {
        self.0.retain(|at| now.since(*at) < LOSS_WINDOW);
        self.0.push_back(now);
        self.0.len() <= LOSSES_MAX
    }
}

impl Lanes {
    /// Starts the thread of subtask `index` with components that are open.
    ///
    /// # Errors
    /// The machine has no thread to give.
    pub fn start(&self, index: u32, components: Components) -> Result<Intake, Failure> {
        self.spawn(index, move || Ok(components))
    }

    /// Starts subtask `index` again; its components are opened on its own thread.
    ///
    /// # Errors
    /// The machine has no thread to give.
    pub fn restart(&self, index: u32) -> Result<Intake, Failure> {
        let reopen = Arc::clone(&self.reopen);
        self.spawn(index, move || reopen(index))
    }

    fn spawn(
        &self,
        index: u32,
        open: impl FnOnce() -> Result<Components, Failure> + Send + 'static,
    ) -> Result<Intake, Failure> {
        let (queue, batches) = mpsc::channel(QUEUE);
        let subtask = Subtask { index, around: self.surroundings.clone(), sinks: self.sinks.clone() };
        let thread = subtask.spawn(&format!("{} {index}", self.name), open, batches);
        thread.map_err(|source| Failure::Thread { part: "a subtask".to_owned(), source })?;
        Ok(Intake { queue, room: Budget::new(self.room) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_losses_are_borne_and_a_series_is_not() {
        let mut losses = Losses::default();
        let at = |seconds: u64| Moment::from_millis(seconds * 1000);
        assert!((0..3).all(|second| losses.bear(at(second))));
        assert!(!losses.bear(at(3)));
        assert!(losses.bear(at(700)), "what lies long back is forgotten");
    }
}
