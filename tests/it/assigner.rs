//! Components that give shards to subtasks: what they may decide, what happens when they sin, and what the commands say
//! of them.

mod faults;
mod sticky;
mod commands;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use host::component::assigner::{Decision, Parent, Placement, Reader, Round, Shard};
use host::component::{ComponentError, ConfigValue, Engine, Grants, Limits, Loaded, OpenContext, Role, ShardAssigner};
use host_core::moment::EpochMillis;
use host_core::shard::ShardId;
use tests::component;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("this machine runs components"));

const TIME: EpochMillis = EpochMillis(1_517_443_200_000);
const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes";

/// Limits that are never reached by accident on a slow machine.
fn patient() -> Limits {
    let time = Duration::from_secs(120);
    Limits { cpu_per_batch: time, wall_per_batch: time, ..Limits::of_assigner() }
}

/// Kept, so that each example is compiled once for all tests.
fn load(name: &'static str) -> Loaded {
    static LOADED: Mutex<BTreeMap<&str, Loaded>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().expect("an example that does not load fails every test");
    let load = || {
        host::component::load(&ENGINE, None, &component(name), &Grants::default(), Role::ShardAssigner)
            .expect("the example fits its world")
    };
    loaded.entry(name).or_insert_with(load).clone()
}

fn try_open(
    name: &'static str,
    config: &[(&str, ConfigValue)],
    limits: Limits,
) -> Result<ShardAssigner, ComponentError> {
    let context = OpenContext {
        tenant: "seismology".into(),
        pipeline: "earthquakes".into(),
        stage: "assigner".into(),
        subtask: 0,
        parallelism: 2,
        config: config.iter().map(|(key, value)| ((*key).into(), value.clone())).collect(),
        shadow: false,
    };
    ShardAssigner::open(&load(name), context, limits, Arc::default(), TIME)
}

fn open(name: &'static str, limits: Limits) -> ShardAssigner {
    try_open(name, &[], limits).expect("it opens")
}

fn shard(id: &str) -> Shard {
    Shard { stream_arn: STREAM.into(), shard: ShardId::new(id), parents: Vec::new(), range: None }
}

fn child(id: &str, parents: &[(&str, Option<u32>)]) -> Shard {
    let parent = |(id, subtask): &(&str, Option<u32>)| Parent { shard: ShardId::new(id), subtask: *subtask };
    Shard { parents: parents.iter().map(parent).collect(), ..shard(id) }
}

fn placed(id: &str, subtask: u32) -> Placement {
    Placement { stream_arn: STREAM.into(), shard: ShardId::new(id), subtask, pending: false }
}

fn readers(weights: &[u32]) -> Vec<Reader> {
    (0..).zip(weights).map(|(subtask, weight)| Reader { subtask, location: "here".into(), weight: *weight }).collect()
}

fn round(unassigned: Vec<Shard>) -> Round {
    Round { unassigned, current: Vec::new(), readers: readers(&[1, 1]) }
}

/// The subtask of each shard of the round, in its order.
fn subtasks(round: &Round, decisions: &[Decision]) -> Vec<Option<u32>> {
    let mut subtasks = vec![None; round.unassigned.len()];
    for decision in decisions {
        let before = subtasks[decision.shard as usize].replace(decision.subtask);
        assert_eq!(before, None, "a shard is decided once");
    }
    subtasks
}
