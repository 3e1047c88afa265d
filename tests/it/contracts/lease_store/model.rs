//! Random histories against a plain map: both stores take and refuse the same commits, and hold the same rows.

use std::collections::BTreeMap;

use host_core::checkpoint::{Commit, ShardRow};
use host_core::shard::{Position, ShardId};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Harness, LeaseStore, MemoryStore, Sqlite, StartPoint, advance, owner, pipeline, row, rows_found, shard, started,
    stream,
};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    /// The process dies and another takes over.
    TakeOver,
}

#[derive(Clone, Debug)]
enum Change {
    Create(u8, Position),
    /// From where the row is, if it is anywhere; otherwise from the given position.
    Advance(u8, Position),
    /// From a position of its own, mostly wrong.
    AdvanceFrom(u8, Position, Position),
    Forget(u8),
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        2 => Just(Position::TrimHorizon),
        6 => (0_u32..12).prop_map(super::after),
        2 => Just(Position::ShardEnd),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_u8..4, position()).prop_map(|(shard, at)| Change::Create(shard, at)),
        6 => (0_u8..4, position()).prop_map(|(shard, to)| Change::Advance(shard, to)),
        1 => (0_u8..4, position(), position()).prop_map(|(shard, from, to)| Change::AdvanceFrom(shard, from, to)),
        1 => (0_u8..4).prop_map(Change::Forget),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(change(), 1..4).prop_map(Step::Commit),
        1 => Just(Step::TakeOver),
    ]
}

type Model = BTreeMap<ShardId, Position>;

fn rank(position: &Position) -> (u8, u64) {
    match position {
        Position::TrimHorizon | Position::AtTimestamp(_) => (0, 0),
        Position::After { sequence, .. } => (1, sequence.as_str().parse().expect("small")),
        Position::ShardEnd => (2, 0),
    }
}

/// The commit that `changes` make, and the model after it, if it is allowed.
fn commit_of(changes: &[Change], model: &Model) -> (Commit, Option<Model>) {
    let name = |shard: &u8| format!("shard-{shard}");
    let mut commit = Commit::default();
    for change in changes {
        match change {
            Change::Create(id, at) => commit.create.push(row(&name(id), at.clone())),
            Change::Advance(id, to) => {
                let from = model.get(&shard(&name(id))).cloned().unwrap_or(Position::TrimHorizon);
                commit.advance.push(advance(&name(id), from, to.clone()));
            }
            Change::AdvanceFrom(id, from, to) => commit.advance.push(advance(&name(id), from.clone(), to.clone())),
            Change::Forget(id) => commit.forget.push(shard(&name(id))),
        }
    }
    let after = apply(&commit, model.clone());
    (commit, after)
}

fn apply(commit: &Commit, mut model: Model) -> Option<Model> {
    for row in &commit.create {
        if model.insert(row.shard.clone(), row.position.clone()).is_some() {
            return None;
        }
    }
    for advance in &commit.advance {
        let at = model.get_mut(&advance.shard)?;
        if *at != advance.from || rank(&advance.to) <= rank(at) {
            return None;
        }
        *at = advance.to.clone();
    }
    for shard in &commit.forget {
        if model.remove(shard)? != Position::ShardEnd {
            return None;
        }
    }
    Some(model)
}

fn run(harness: &dyn Harness, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut store: Box<dyn LeaseStore> = started(harness);
    let mut model = Model::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::TakeOver => {
                drop(store);
                store = harness.open(&pipeline("quakes"));
                let claimed = store.claim(&owner("next:2", 5_000), &[]).expect("nobody is left");
                prop_assert_eq!(claimed.streams[0].start, StartPoint::TrimHorizon);
            }
            Step::Commit(changes) => {
                let (commit, allowed) = commit_of(changes, &model);
                let done = store.commit(&stream(), &commit, &[]);
                prop_assert_eq!(done.is_ok(), allowed.is_some(), "step {}: {:?} gave {:?}", at, commit, done);
                model = allowed.unwrap_or(model);
            }
        }
    }
    let expected: Vec<ShardRow> = model.iter().map(|(shard, at)| row(shard.as_str(), at.clone())).collect();
    prop_assert_eq!(rows_found(harness, store), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn both_stores_behave_as_a_plain_map(steps in vec(step(), 1..16)) {
        run(&MemoryStore::default(), &steps)?;
        run(&Sqlite::new(), &steps)?;
    }
}
