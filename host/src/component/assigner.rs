//! A component that gives shards to subtasks, as the host sees it: one value for each pipeline, which owns an instance
//! and replaces it when the component broke it.
//!
//! The component is asked about rounds and decides nothing by itself: its answer is checked here for what the contract
//! says, and whoever asked may still overrule it. Two promises of the contract are kept here, whatever the caller hands
//! over: a shard comes after its parents, and a decision is one of the shards that were offered.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, ShardId};

use crate::component::bindings::assigner::ShardAssignerRole;
use crate::component::bindings::assigner::exports::sluicebox::pipeline::shard_assigner as wit;
use crate::component::cache::Digest;
use crate::component::deserializer::OpenContext;
use crate::component::error::ComponentError;
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::{Instance, guest_error};
use crate::component::limits::Limits;
use crate::component::load::Loaded;
use crate::component::maker::Maker;
use crate::component::validate;

/// What an assigner is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Shards that need a subtask, each once, in any order.
    pub unassigned: Vec<Shard>,
    /// Shards that have one and were not read to their end.
    pub current: Vec<Placement>,
    /// All subtasks; at least one.
    pub readers: Vec<Reader>,
}

/// A shard that needs a subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// `StreamARN`.
    pub stream_arn: Arc<str>,
    /// `ShardId`.
    pub shard: ShardId,
    /// Its parents, of the same stream: none, one (split) or two (merge).
    pub parents: Vec<Parent>,
    /// Absent where the service has none (DynamoDB Streams).
    pub range: Option<HashRange>,
}

/// A parent of a shard that needs a subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent.
    pub shard: ShardId,
    /// Who reads it or read it to its end, in this run.
    pub subtask: Option<u32>,
}

/// A shard that has its subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// `StreamARN`.
    pub stream_arn: Arc<str>,
    /// `ShardId`.
    pub shard: ShardId,
    /// Whose it is.
    pub subtask: u32,
    /// It waits for a parent and is not read yet.
    pub pending: bool,
}

/// A subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Its number, 0 to `parallelism - 1`.
    pub subtask: u32,
    /// The host that runs it, as the operator named it.
    pub location: Arc<str>,
    /// Its share of the work relative to the others, at least 1.
    pub weight: u32,
}

/// An answer for one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its place in [`Round::unassigned`].
    pub shard: u32,
    /// Who reads it: one of [`Round::readers`].
    pub subtask: u32,
}

/// A shard assigner: one pipeline's. Its methods block, and spend CPU on the calling thread.
pub struct ShardAssigner {
    maker: Maker,
    instance: Option<Instance<ShardAssignerRole>>,
}

impl fmt::Debug for ShardAssigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardAssigner").field("maker", &self.maker).finish_non_exhaustive()
    }
}

impl ShardAssigner {
    /// Makes the first instance and opens it at `time`.
    ///
    /// # Errors
    /// The component traps, overspends or refuses; [`ComponentError::Refused`] of class retryable may be tried again.
    ///
    /// # Panics
    /// `loaded` was loaded for another role.
    pub fn open(
        loaded: &Loaded,
        context: OpenContext,
        limits: Limits,
        metrics: Arc<ComponentMetrics>,
        time: EpochMillis,
    ) -> Result<Self, ComponentError> {
        let mut maker = Maker::new(loaded.clone(), context, limits, metrics);
        let instance = Some(maker.fresh(time)?);
        Ok(Self { maker, instance })
    }

    /// The digest of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.maker.digest()
    }

    /// How many instances there were, the present one included.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.maker.made()
    }

    /// Asks about one round, in a fresh instance if the last one broke. The answer has at most one decision for each
    /// shard, in the component's order; a shard without one is to be offered again.
    ///
    /// # Errors
    /// No decision was made. See [`ComponentError`]: the instance survives only a refusal that is not fatal.
    pub fn assign(&mut self, round: &Round, time: EpochMillis) -> Result<Vec<Decision>, ComponentError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.maker.fresh(time)?,
        };
        let answer = instance.assign(self.maker.limits(), round, time);
        if answer.as_ref().err().is_none_or(ComponentError::leaves_the_instance_usable) {
            self.instance = Some(instance);
        }
        answer
    }

    /// Ends the instance in order, if there is one. What it says is of no consequence: nothing may depend on it.
    pub fn close(self, time: EpochMillis) {
        self.maker.close(self.instance, time);
    }
}

impl Instance<ShardAssignerRole> {
    fn assign(&mut self, limits: &Limits, round: &Round, time: EpochMillis) -> Result<Vec<Decision>, ComponentError> {
        let order = parents_first(&round.unassigned);
        let offered = || order.iter().map(|index| &round.unassigned[*index as usize]);
        let parents: Vec<Vec<_>> = offered().map(|shard| shard.parents.iter().map(lower_parent).collect()).collect();
        let unassigned: Vec<_> = offered().zip(&parents).map(|(shard, parents)| lower_shard(shard, parents)).collect();
        let current: Vec<_> = round.current.iter().map(lower_placement).collect();
        let readers: Vec<_> = round.readers.iter().map(lower_reader).collect();
        let bytes = limits.output_bytes(order.len().saturating_mul(size_of::<wit::Decision>()));
        let answer = self.run("assign", time, limits.batch(), bytes, |_, role, store| {
            role.sluicebox_pipeline_shard_assigner().call_assign(store, &unassigned, &current, &readers)
        })?;
        let answer = answer.map_err(|error| ComponentError::Refused { during: "assign", error: guest_error(error) })?;
        let decision = |decision: &wit::Decision| Decision { shard: decision.shard, subtask: decision.subtask };
        let mut decisions: Vec<_> = answer.iter().map(decision).collect();
        validate::decisions(&decisions, order.len(), &round.readers)?;
        for decision in &mut decisions {
            decision.shard = order[decision.shard as usize];
        }
        Ok(decisions)
    }
}

/// The places of `shards` in an order in which each comes after those of its parents that are among them. Lineage that
/// goes in circles, which no service should tell, is cut somewhere.
fn parents_first(shards: &[Shard]) -> Vec<u32> {
    let places: HashMap<_, _> =
        (0_u32..).zip(shards).map(|(at, shard)| ((&*shard.stream_arn, &shard.shard), at)).collect();
    let mut order = Vec::with_capacity(shards.len());
    let mut begun = vec![false; shards.len()];
    let mut open = Vec::new();
    for (at, _) in (0_u32..).zip(shards) {
        open.push((at, false));
        while let Some((at, is_after_parents)) = open.pop() {
            if is_after_parents {
                order.push(at);
            } else if !std::mem::replace(&mut begun[at as usize], true) {
                open.push((at, true));
                let shard = &shards[at as usize];
                let parents = shard.parents.iter().rev();
                let here = parents.filter_map(|parent| places.get(&(&*shard.stream_arn, &parent.shard)).copied());
                open.extend(here.map(|parent| (parent, false)));
            }
        }
    }
    order
}

fn lower_shard<'a>(shard: &'a Shard, parents: &'a [wit::Parent<'a>]) -> wit::Shard<'a> {
    let key = |key: u128| wit::HashKey { high: (key >> 64) as u64, low: key as u64 };
    wit::Shard {
        stream_arn: &shard.stream_arn,
        shard_id: shard.shard.as_str(),
        parents,
        range: shard.range.map(|range| wit::HashRange { start: key(range.start), end: key(range.end) }),
    }
}

fn lower_parent(parent: &Parent) -> wit::Parent<'_> {
    wit::Parent { shard_id: parent.shard.as_str(), subtask: parent.subtask }
}

fn lower_placement(placement: &Placement) -> wit::Placement<'_> {
    wit::Placement {
        stream_arn: &placement.stream_arn,
        shard_id: placement.shard.as_str(),
        subtask: placement.subtask,
        pending: placement.pending,
    }
}

fn lower_reader(reader: &Reader) -> wit::Reader<'_> {
    wit::Reader { subtask: reader.subtask, location: &reader.location, weight: reader.weight }
}
