//! Asks the pipeline's shard assigner. It runs on a thread of its own, so a slow one delays no read, no record and no
//! checkpoint: shards that have their subtask go on, only those of its round wait, and not for longer than its limits on
//! time. What it answers is word for the core, which checks it again and decides itself where the assigner does not.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use host_core::coordinator::{Placement, Round};
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, ShardDescription, ShardId};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::clock::Clock;
use crate::component::ShardAssigner;
use crate::component::assigner::{self, Decision, Parent, Reader, Shard};
use crate::component::error::ComponentError;

/// Full listings without a shard after which nothing is known of it any more. One may be incomplete.
const ABSENCES_MAX: u8 = 3;

/// What decides: a component in its sandbox, or a stand-in in tests.
pub trait Assign: Send {
    /// Decides for the shards of a round, each at most once. After an error the next call finds a fresh instance.
    ///
    /// # Errors
    /// Nothing was decided, and why.
    fn assign(&mut self, round: &assigner::Round, time: EpochMillis) -> Result<Vec<Decision>, ComponentError>;

    /// Nothing more comes.
    fn close(self: Box<Self>, time: EpochMillis);
}

impl Assign for ShardAssigner {
    fn assign(&mut self, round: &assigner::Round, time: EpochMillis) -> Result<Vec<Decision>, ComponentError> {
        Self::assign(self, round, time)
    }

    fn close(self: Box<Self>, time: EpochMillis) {
        Self::close(*self, time);
    }
}

/// What the core is told: exactly one for each round that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Which round.
    pub round: u64,
    /// A subtask for each shard that was decided; or why nothing was.
    pub answer: Result<Vec<(ShardId, u32)>, String>,
}

/// What is known of the shards of all streams, which the core's rounds only name.
#[derive(Debug)]
pub struct KnownShards {
    streams: Vec<Arc<str>>,
    shards: BTreeMap<ShardId, Known>,
}

#[derive(Debug)]
struct Known {
    parents: Vec<ShardId>,
    range: Option<HashRange>,
    /// Who reads it or read it last.
    subtask: Option<u32>,
    /// Full listings in a row that lacked it.
    absences: u8,
}

impl KnownShards {
    /// Nothing is known yet of the shards of streams with these ARNs, in the manifest's order.
    #[must_use]
    pub fn new(streams: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { streams: streams.into_iter().collect(), shards: BTreeMap::new() }
    }

    /// A listing of a stream came in. What three full ones lack is forgotten.
    pub fn listed(&mut self, stream: u32, is_full: bool, shards: &[ShardDescription]) {
        if is_full {
            let of_stream = self.shards.iter_mut().filter(|(shard, _)| shard.stream() == stream);
            of_stream.for_each(|(_, known)| known.absences += 1);
        }
        for shard in shards {
            let (parents, range, subtask) = (shard.parents.clone(), shard.range, self.subtask(&shard.id));
            self.shards.insert(shard.id.clone(), Known { parents, range, subtask, absences: 0 });
        }
        self.shards.retain(|_, known| known.absences < ABSENCES_MAX);
    }

    /// A shard was read to its end, which told these children: the core may ask about them before any listing shows them.
    pub fn ended(&mut self, shard: &ShardId, children: &[ShardDescription]) {
        for child in children {
            let child = child.clone().in_stream(shard.stream());
            let known = self.shards.entry(child.id).or_insert(Known {
                parents: child.parents,
                range: child.range,
                subtask: None,
                absences: 0,
            });
            if !known.parents.contains(shard) {
                known.parents.push(shard.clone());
            }
        }
    }

    /// A shard is opened on a subtask.
    pub fn opened(&mut self, shard: &ShardId, subtask: u32) {
        if let Some(known) = self.shards.get_mut(shard) {
            known.subtask = Some(subtask);
        }
    }

    fn subtask(&self, shard: &ShardId) -> Option<u32> {
        self.shards.get(shard).and_then(|known| known.subtask)
    }

    fn arn(&self, shard: &ShardId) -> Arc<str> {
        self.streams.get(shard.stream() as usize).cloned().unwrap_or_default()
    }

    /// The round with everything that an assigner is told. Of an unknown shard it is told the name.
    fn describe(&self, round: &Round, readers: &[Reader]) -> assigner::Round {
        let shard = |shard: &ShardId| {
            let known = self.shards.get(shard);
            let parent = |parent: &ShardId| Parent { shard: parent.clone(), subtask: self.subtask(parent) };
            Shard {
                stream_arn: self.arn(shard),
                shard: shard.clone(),
                parents: known.map(|known| known.parents.iter().map(parent).collect()).unwrap_or_default(),
                range: known.and_then(|known| known.range),
            }
        };
        let placement = |placement: &Placement| assigner::Placement {
            stream_arn: self.arn(&placement.shard),
            shard: placement.shard.clone(),
            subtask: placement.subtask,
            pending: placement.pending,
        };
        assigner::Round {
            unassigned: round.unassigned.iter().map(shard).collect(),
            current: round.current.iter().map(placement).collect(),
            readers: readers.to_vec(),
        }
    }
}

/// The subtasks of a pipeline that runs in one process, on the host `location`: all alike.
#[must_use]
pub fn readers(parallelism: u32, location: &str) -> Vec<Reader> {
    let location: Arc<str> = location.into();
    (0..parallelism).map(|subtask| Reader { subtask, location: Arc::clone(&location), weight: 1 }).collect()
}

/// Why a round was not asked; the core is to be told so in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Rounds come one at a time, and two are waiting.
    #[error("the shard assigner has not answered earlier rounds yet")]
    Busy,
    /// The thread ended before its time.
    #[error("the shard assigner's thread is gone")]
    Gone,
}

/// The way to the assigner's thread. When it is dropped, the thread closes the assigner and ends.
#[derive(Debug)]
pub struct Assigner {
    rounds: mpsc::Sender<(u64, assigner::Round)>,
    readers: Vec<Reader>,
}

impl Assigner {
    /// Starts the thread. `tell` is called there with the answer to each round and blocks it; once it returns `false`
    /// nobody listens any more, and the thread ends.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(
        pipeline: &str,
        mut assigner: Box<dyn Assign>,
        readers: Vec<Reader>,
        clock: Clock,
        mut tell: impl FnMut(Assigned) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (rounds, mut questions) = mpsc::channel::<(u64, assigner::Round)>(1);
        thread::Builder::new().name(format!("{pipeline} assigner")).spawn(move || {
            while let Some((round, question)) = questions.blocking_recv() {
                // A panic is ours, and the shards of this round must not wait for what will never come.
                let decided = catch_unwind(AssertUnwindSafe(|| decide(assigner.as_mut(), &question, clock.wall())));
                let Ok(answer) = decided else {
                    tell(Assigned { round, answer: Err("its thread ended unexpectedly".to_owned()) });
                    return;
                };
                if !tell(Assigned { round, answer }) {
                    break;
                }
            }
            assigner.close(clock.wall());
        })?;
        Ok(Self { rounds, readers })
    }

    /// Asks about a round, without waiting. Its answer comes through the `tell` of [`Assigner::spawn`].
    ///
    /// # Errors
    /// No answer will come.
    pub fn ask(&self, round: &Round, known: &KnownShards) -> Result<(), NotAsked> {
        let question = known.describe(round, &self.readers);
        self.rounds.try_send((round.round, question)).map_err(|error| match error {
            TrySendError::Full(_) => NotAsked::Busy,
            TrySendError::Closed(_) => NotAsked::Gone,
        })
    }
}

fn decide(
    assigner: &mut dyn Assign,
    round: &assigner::Round,
    time: EpochMillis,
) -> Result<Vec<(ShardId, u32)>, String> {
    let decisions = assigner.assign(round, time).map_err(|error| error.to_string())?;
    let named = |decision: &Decision| {
        let shard = round.unassigned.get(decision.shard as usize);
        let shard =
            shard.ok_or_else(|| format!("it decided for shard {} of {}", decision.shard, round.unassigned.len()));
        shard.map(|shard| (shard.shard.clone(), decision.subtask))
    };
    decisions.iter().map(named).collect()
}

#[cfg(test)]
mod tests;
