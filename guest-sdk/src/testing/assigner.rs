//! Rounds for assigners.

use std::ops::RangeInclusive;

use crate::assigner::{self, Parent, Placement, Reader, ShardAssigner};
use crate::bindings::assigner::exports::sluicebox::pipeline::shard_assigner as raw;
use crate::bindings::sluicebox::pipeline::types::ConfigValue;
use crate::testing::STREAM;
use crate::{Error, testing};

/// A shard to be assigned.
#[derive(Clone, Debug)]
pub struct TestShard {
    /// `StreamARN`; always the same one unless set.
    pub stream_arn: String,
    /// `ShardId`.
    pub shard_id: String,
    /// None unless added.
    pub parents: Vec<Parent>,
    /// The hash keys of its records, none unless set.
    pub range: Option<RangeInclusive<u128>>,
}

impl TestShard {
    /// A shard with this id.
    pub fn new(shard_id: impl Into<String>) -> Self {
        Self { stream_arn: STREAM.into(), shard_id: shard_id.into(), parents: Vec::new(), range: None }
    }

    /// In this stream.
    #[must_use]
    pub fn stream(mut self, arn: impl Into<String>) -> Self {
        self.stream_arn = arn.into();
        self
    }

    /// With one more parent, and the subtask that reads or read it.
    #[must_use]
    pub fn parent(mut self, shard_id: impl Into<String>, subtask: Option<u32>) -> Self {
        self.parents.push(Parent { shard_id: shard_id.into(), subtask });
        self
    }

    /// With this range of hash keys.
    #[must_use]
    pub fn range(mut self, range: RangeInclusive<u128>) -> Self {
        self.range = Some(range);
        self
    }

    /// The shard as one that this subtask reads.
    #[must_use]
    pub fn on(&self, subtask: u32) -> Placement {
        let (stream_arn, shard_id) = (self.stream_arn.clone(), self.shard_id.clone());
        Placement { stream_arn, shard_id, subtask, pending: false }
    }
}

/// Subtasks 0, 1 and so on with these weights, all in one place.
pub fn readers(weights: impl IntoIterator<Item = u32>) -> Vec<Reader> {
    (0..).zip(weights).map(|(subtask, weight)| Reader { subtask, location: "here".into(), weight }).collect()
}

/// An opened assigner.
#[derive(Debug)]
pub struct AssignerInstance<A> {
    assigner: A,
}

impl<A: ShardAssigner> AssignerInstance<A> {
    /// Opens an assigner with this configuration.
    ///
    /// # Errors
    /// Those of the assigner's `open`.
    pub fn open<'k>(entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Result<Self, Error> {
        Ok(Self { assigner: A::open(&testing::config_of("assigner", entries))? })
    }

    /// Asks for one round. The subtask of each shard in the order of `unassigned`, `None` for one without a decision.
    ///
    /// # Errors
    /// Those of the assigner.
    ///
    /// # Panics
    /// The answer is one that a host refuses: a shard twice, or a subtask that is none of `readers`.
    pub fn assign(
        &mut self,
        unassigned: &[TestShard],
        current: &[Placement],
        readers: &[Reader],
    ) -> Result<Vec<Option<u32>>, Error> {
        let decisions = assigner::assign(&mut self.assigner, unassigned.iter().map(lower).collect(), current, readers)?;
        let mut answer = vec![None; unassigned.len()];
        for decision in decisions {
            let subtask = decision.subtask;
            assert!(readers.iter().any(|reader| reader.subtask == subtask), "subtask {subtask} is no reader");
            let before = answer[decision.shard as usize].replace(subtask);
            assert_eq!(before, None, "{} was decided twice", unassigned[decision.shard as usize].shard_id);
        }
        Ok(answer)
    }

    /// The assigner itself, to look at its state.
    #[must_use]
    pub fn assigner(&self) -> &A {
        &self.assigner
    }

    /// The assigner itself, to call `close` or `restore`.
    pub fn assigner_mut(&mut self) -> &mut A {
        &mut self.assigner
    }
}

fn lower(shard: &TestShard) -> raw::Shard {
    let key = |key: u128| raw::HashKey { high: (key >> 64) as u64, low: key as u64 };
    raw::Shard {
        stream_arn: shard.stream_arn.clone(),
        shard_id: shard.shard_id.clone(),
        parents: shard.parents.clone(),
        range: shard.range.as_ref().map(|range| raw::HashRange { start: key(*range.start()), end: key(*range.end()) }),
    }
}
