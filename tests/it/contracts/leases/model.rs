//! Random histories against plain maps: both stores take and refuse the same commits, and hold the same rows. What a
//! commit means is said by the core (`Commit::apply`); what a store adds to it is that a row is forgotten only at its
//! end, and that the streams are told apart.

use std::collections::BTreeMap;

use host::state::{LeaseStore, RegisteredConsumer, StartPoint};
use host_core::checkpoint::{Advance, Commit, ShardRow};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use proptest::collection::vec;
use proptest::prelude::*;
use tests::lease_store_contract::{
    Harness, Sqlite, advance_in, both_started, found, other_stream, owner, pipeline, row_in, stream,
};

use super::{MemoryStore, after};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    /// The consumer of a stream, by the number that stays.
    Note(u8, Option<RegisteredConsumer>),
    /// The process dies and another takes over, whose manifest lists the streams in the other order.
    TakeOver,
}

/// A shard: its stream, by a number that stays, and its number there.
type Which = (u8, u8);

#[derive(Clone, Debug)]
enum Change {
    Create(Which, Position),
    /// From where the row is, if it is anywhere; otherwise from the given position.
    Advance(Which, Position, Option<i64>),
    /// To where the row is.
    Stay(Which, i64),
    /// From a position of its own, mostly wrong.
    AdvanceFrom(Which, Position, Position),
    Forget(Which),
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        2 => Just(Position::TrimHorizon),
        6 => (0_u32..12).prop_map(after),
        2 => Just(Position::ShardEnd),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    (0_u8..2, 0_u8..3)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (which(), position()).prop_map(|(which, at)| Change::Create(which, at)),
        6 => (which(), position(), prop::option::of(0_i64..20))
            .prop_map(|(which, to, until)| Change::Advance(which, to, until)),
        2 => (which(), 0_i64..20).prop_map(|(which, until)| Change::Stay(which, until)),
        1 => (which(), position(), position()).prop_map(|(which, from, to)| Change::AdvanceFrom(which, from, to)),
        1 => which().prop_map(Change::Forget),
    ]
}

fn noted() -> impl Strategy<Value = RegisteredConsumer> {
    (0_u8..2, prop::option::of(0_u8..2)).prop_map(|(name, arn)| RegisteredConsumer {
        name: format!("consumer-{name}"),
        arn: arn.map(|arn| format!("arn:{arn}")),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(change(), 1..4).prop_map(Step::Commit),
        2 => (0_u8..2, prop::option::of(noted())).prop_map(|(stream, consumer)| Step::Note(stream, consumer)),
        1 => Just(Step::TakeOver),
    ]
}

/// The rows, with the number of their stream as its index.
type Model = BTreeMap<ShardId, ShardRow>;

fn id(which: Which) -> ShardId {
    ShardId::in_stream(which.0.into(), &format!("shard-{}", which.1))
}

/// The commit that `changes` make.
fn commit_of(changes: &[Change], model: &Model) -> Commit {
    let at = |which| model.get(&id(which)).map_or(Position::TrimHorizon, |row| row.position.clone());
    let advance = |which: Which, from, to| advance_in(which.0.into(), id(which).as_str(), from, to);
    let mut commit = Commit::default();
    for change in changes.iter().cloned() {
        match change {
            Change::Create(which, at) => commit.create.push(row_in(which.0.into(), id(which).as_str(), at)),
            Change::Advance(which, to, until) => {
                commit.advance.push(Advance { complete_until: until.map(EpochMillis), ..advance(which, at(which), to) })
            }
            Change::Stay(which, until) => commit
                .advance
                .push(Advance { complete_until: Some(EpochMillis(until)), ..advance(which, at(which), at(which)) }),
            Change::AdvanceFrom(which, from, to) => commit.advance.push(advance(which, from, to)),
            Change::Forget(which) => commit.forget.push(id(which)),
        }
    }
    commit
}

/// The model after a commit, if it is allowed: step by step, since a row may be advanced twice.
fn apply(commit: &Commit, mut model: Model) -> Option<Model> {
    let one = |commit: Commit, model: &mut Model| commit.apply(model).ok();
    for row in &commit.create {
        one(Commit { create: vec![row.clone()], ..Commit::default() }, &mut model)?;
    }
    for advance in &commit.advance {
        one(Commit { advance: vec![advance.clone()], ..Commit::default() }, &mut model)?;
    }
    for shard in &commit.forget {
        model.get(shard).filter(|row| row.position.is_end())?;
        one(Commit { forget: vec![shard.clone()], ..Commit::default() }, &mut model)?;
    }
    Some(model)
}

/// Every shard of a commit with the index that its stream has now.
fn indexed(commit: &Commit, swapped: bool) -> Commit {
    let moved = |shard: &ShardId| ShardId::in_stream(shard.stream() ^ u32::from(swapped), shard.as_str());
    Commit {
        create: commit.create.iter().map(|row| ShardRow { shard: moved(&row.shard), ..row.clone() }).collect(),
        advance: commit.advance.iter().map(|to| Advance { shard: moved(&to.shard), ..to.clone() }).collect(),
        forget: commit.forget.iter().map(moved).collect(),
        ..commit.clone()
    }
}

fn run(harness: &dyn Harness, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut store: Box<dyn LeaseStore> = both_started(harness);
    let mut model = Model::new();
    let mut consumers = [None, None];
    let (mut streams, mut swapped) = ([stream(), other_stream()], false);
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::TakeOver => {
                drop(store);
                store = harness.open(&pipeline("quakes"));
                let claimed = store.claim(&owner("next:2", 5_000), &[]).expect("nobody is left");
                prop_assert_eq!(claimed.streams[1].start, StartPoint::TrimHorizon);
                streams.swap(0, 1);
                swapped = !swapped;
            }
            Step::Note(stream, consumer) => {
                let stream = usize::from(*stream);
                store.note_consumer(&streams[stream ^ usize::from(swapped)], consumer.as_ref()).expect("it is started");
                consumers[stream].clone_from(consumer);
            }
            Step::Commit(changes) => {
                let commit = commit_of(changes, &model);
                let allowed = apply(&commit, model.clone());
                let done = store.commit(&streams, &indexed(&commit, swapped), &[]);
                prop_assert_eq!(done.is_ok(), allowed.is_some(), "step {}: {:?} gave {:?}", at, commit, done);
                model = allowed.unwrap_or(model);
            }
        }
    }
    let rows =
        |stream| -> Vec<ShardRow> { model.values().filter(|row| row.shard.stream() == stream).cloned().collect() };
    let states = found(harness, store).0;
    prop_assert_eq!([&states[1].consumer, &states[0].consumer], [&consumers[0], &consumers[1]]);
    prop_assert_eq!(states[1].rows_in(0), rows(0));
    prop_assert_eq!(states[0].rows_in(1), rows(1));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn both_stores_behave_as_plain_maps(steps in vec(step(), 1..16)) {
        run(&MemoryStore::default(), &steps)?;
        run(&Sqlite::default(), &steps)?;
    }
}
