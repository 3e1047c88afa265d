//! Shard assigners: which subtask reads a shard.
//!
//! ```
//! use sluicebox_guest::assigner::{Decision, Placement, Reader, Shard, ShardAssigner};
//! use sluicebox_guest::{Config, Error};
//!
//! /// Hands shards out in turn.
//! struct InTurn {
//!     next: usize,
//! }
//!
//! impl ShardAssigner for InTurn {
//!     fn open(_config: &Config) -> Result<Self, Error> {
//!         Ok(Self { next: 0 })
//!     }
//!
//!     fn assign(&mut self, unassigned: &[Shard], _: &[Placement], readers: &[Reader]) -> Result<Vec<Decision>, Error> {
//!         let turns = readers.iter().cycle().skip(self.next);
//!         self.next = (self.next + unassigned.len()) % readers.len();
//!         Ok(unassigned.iter().zip(turns).map(|(shard, reader)| shard.on(reader.subtask)).collect())
//!     }
//! }
//!
//! sluicebox_guest::shard_assigner!(InTurn);
//!
//! # fn main() -> Result<(), Error> {
//! // Natively, without a sandbox, the `testing` module runs the same code.
//! use sluicebox_guest::testing::{AssignerInstance, TestShard, readers};
//! let mut in_turn = AssignerInstance::<InTurn>::open([])?;
//! let three = [TestShard::new("a"), TestShard::new("b"), TestShard::new("c")];
//! assert_eq!(in_turn.assign(&three, &[], &readers([1, 1]))?, [Some(0), Some(1), Some(0)]);
//! assert_eq!(in_turn.assign(&three[..1], &[], &readers([1, 1]))?, [Some(1)]);
//! # Ok(())
//! # }
//! ```

use std::ops::RangeInclusive;

use crate::bindings::assigner::exports::sluicebox::pipeline::shard_assigner as raw;
use crate::{Config, Error};

pub use crate::bindings::assigner::exports::sluicebox::pipeline::shard_assigner::{
    Decision, Parent, Placement, Reader,
};

/// Decides which subtask reads a shard. Export an implementation with [`shard_assigner`](crate::shard_assigner).
///
/// There is one instance for each pipeline. It may remember what it likes between rounds, and loses it with a trap, a
/// timeout, a fatal error or a restart: everything it must know is in the arguments of [`assign`](Self::assign).
pub trait ShardAssigner: Sized + 'static {
    /// Makes an instance. Reads its configuration, makes its metrics.
    ///
    /// # Errors
    /// A retryable error is tried again in a new instance, any other stops the pipeline.
    fn open(config: &Config) -> Result<Self, Error>;

    /// Decides for the shards of one round, with at most one decision for each: [`Shard::on`] makes it. Shards come after
    /// their parents. What is left out is offered again in the next round, three times in all.
    ///
    /// `current` are the shards that have a subtask and were not read to their end, `readers` all subtasks, at least one.
    ///
    /// # Errors
    /// The built-in assigner decides the round; the next round comes to this instance again, after a fatal error to a new
    /// one.
    fn assign(
        &mut self,
        unassigned: &[Shard],
        current: &[Placement],
        readers: &[Reader],
    ) -> Result<Vec<Decision>, Error>;

    /// Called before an orderly end, never after a trap. What it returns is handed to [`restore`](Self::restore) of the
    /// instance that follows.
    ///
    /// # Errors
    /// Written to the log; the pipeline ends all the same.
    fn close(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    /// Takes over what the instance before this one returned from [`close`](Self::close).
    ///
    /// # Errors
    /// The instance is not used.
    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), Error> {
        Err(Error::poison("no-snapshots", "the component has no use for a snapshot"))
    }
}

/// A shard to be assigned.
#[derive(Clone, Debug)]
pub struct Shard {
    index: u32,
    stream_arn: String,
    shard_id: String,
    parents: Vec<Parent>,
    range: Option<RangeInclusive<u128>>,
}

impl Shard {
    /// `StreamARN`. A pipeline may read several streams, and shard ids are unique only within one.
    #[must_use]
    pub fn stream_arn(&self) -> &str {
        &self.stream_arn
    }

    /// `ShardId`.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        &self.shard_id
    }

    /// None for a shard that was there first, one after a split, two after a merge.
    #[must_use]
    pub fn parents(&self) -> &[Parent] {
        &self.parents
    }

    /// The hash keys of its records. `None` for DynamoDB streams.
    #[must_use]
    pub fn range(&self) -> Option<RangeInclusive<u128>> {
        self.range.clone()
    }

    /// The decision that `subtask` reads this shard.
    #[must_use]
    pub fn on(&self, subtask: u32) -> Decision {
        Decision { shard: self.index, subtask }
    }
}

/// Runs an assigner over one round as the host sends it. For components that implement the raw traits of
/// [`bindings::assigner`](crate::bindings::assigner) themselves.
///
/// # Errors
/// Those of the assigner.
pub fn assign<A: ShardAssigner>(
    assigner: &mut A,
    unassigned: Vec<raw::Shard>,
    current: &[Placement],
    readers: &[Reader],
) -> Result<Vec<Decision>, Error> {
    let key = |key: raw::HashKey| u128::from(key.high) << 64 | u128::from(key.low);
    let shards: Vec<_> = (0..)
        .zip(unassigned)
        .map(|(index, shard)| Shard {
            index,
            stream_arn: shard.stream_arn,
            shard_id: shard.shard_id,
            parents: shard.parents,
            range: shard.range.map(|range| key(range.start)..=key(range.end)),
        })
        .collect();
    assigner.assign(&shards, current, readers)
}

/// Makes a component of a [`ShardAssigner`]: once, in a crate of type `cdylib` that is built for `wasm32-wasip2`.
/// Elsewhere it only checks that the type can be exported.
#[macro_export]
macro_rules! shard_assigner {
    ($assigner:ty) => {
        const _: () = {
            use $crate::assigner::ShardAssigner;
            use $crate::bindings::assigner::exports::sluicebox::pipeline::shard_assigner;
            use $crate::bindings::sluicebox::pipeline::types::GuestError;

            $crate::__component!($assigner as ShardAssigner);

            impl shard_assigner::Guest for Component {
                fn assign(
                    unassigned: ::std::vec::Vec<shard_assigner::Shard>,
                    current: ::std::vec::Vec<shard_assigner::Placement>,
                    readers: ::std::vec::Vec<shard_assigner::Reader>,
                ) -> ::std::result::Result<::std::vec::Vec<shard_assigner::Decision>, GuestError> {
                    INSTANCE.with(|slot| {
                        slot.with(|assigner| $crate::assigner::assign(assigner, unassigned, &current, &readers))
                    })
                }
            }

    $crate::export_component!(Component: shard_assigner);
        };
    };
}
