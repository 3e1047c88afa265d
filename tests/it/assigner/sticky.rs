//! The sticky example in its sandbox.

use std::time::{Duration, Instant};

use host::component::assigner::{Decision, Round, Shard};
use host::component::{ConfigValue, Limits, ShardAssigner};
use host_core::shard::{HashRange, ShardId};

use super::{child, open, patient, placed, readers, round, shard, subtasks, try_open};

fn ask(assigner: &mut ShardAssigner, round: &Round) -> Vec<u32> {
    let decisions = assigner.assign(round, super::TIME).expect("an honest round");
    subtasks(round, &decisions).into_iter().map(|subtask| subtask.expect("it decides for every shard")).collect()
}

#[test]
fn children_stay_on_the_subtask_of_their_parent() {
    let mut sticky = open("sticky_assigner", patient());
    let split = Round {
        current: vec![placed("other", 1), placed("another", 1)],
        ..round(vec![child("left", &[("parent", Some(1))]), child("right", &[("parent", Some(1))])])
    };
    assert_eq!(ask(&mut sticky, &split), [1, 1]);
    let merge =
        Round { current: vec![placed("other", 0)], ..round(vec![child("m", &[("a", Some(0)), ("b", Some(1))])]) };
    assert_eq!(ask(&mut sticky, &merge), [1], "the parent with less to do");
    assert_eq!(sticky.instances(), 1);
}

#[test]
fn weights_are_respected() {
    let mut sticky = open("sticky_assigner", patient());
    let shards = (0..40).map(|number| shard(&format!("shard-{number}"))).collect();
    let answer = ask(&mut sticky, &Round { readers: readers(&[1, 3]), ..round(shards) });
    assert_eq!(answer.iter().filter(|subtask| **subtask == 1).count(), 30);
}

#[test]
fn its_slack_comes_from_the_configuration() {
    let mut strict = try_open("sticky_assigner", &[("slack", ConfigValue::Integer(0))], patient()).expect("it opens");
    let crowd =
        Round { current: vec![placed("x", 1), placed("y", 1)], ..round(vec![child("left", &[("parent", Some(1))])]) };
    assert_eq!(ask(&mut strict, &crowd), [0]);
    assert_eq!(ask(&mut open("sticky_assigner", patient()), &crowd), [1]);
    let bad = [("slack", ConfigValue::Text("much".into()))];
    let error = try_open("sticky_assigner", &bad, patient()).expect_err("refused");
    assert!(error.to_string().contains("`slack` must be an integer"), "{error}");
}

/// A component sees parents first, in whatever order they are asked about, and the answer fits the question's order.
#[test]
fn families_that_come_upside_down_are_kept_together() {
    let mut sticky = open("sticky_assigner", patient());
    let family = round(vec![
        child("grandchild", &[("child", None)]),
        shard("stranger"),
        child("child", &[("parent", None)]),
        shard("parent"),
    ]);
    let answer = ask(&mut sticky, &family);
    assert_eq!((answer[0], answer[2]), (answer[3], answer[3]), "{answer:?}");
    assert_ne!(answer[1], answer[3], "the stranger goes where less is to do");
}

/// What no service should say is decided all the same.
#[test]
fn lineage_in_circles_and_shards_offered_twice_are_answered() {
    let mut sticky = open("sticky_assigner", patient());
    let circle = round(vec![
        child("a", &[("b", None)]),
        child("b", &[("a", None)]),
        child("self", &[("self", None)]),
        shard("twice"),
        shard("twice"),
        child("far", &[("parent", Some(u32::MAX))]),
    ]);
    assert_eq!(ask(&mut sticky, &circle).len(), 6);
}

/// Ten thousand shards: a third of them alone, then a split and a merge of each.
fn ten_thousand() -> Vec<Shard> {
    let id = |number: u32| format!("shardId-{number:012}");
    let all = |number: u32| {
        let width = u128::MAX / 10_000;
        let start = width * u128::from(number);
        let parents = match number {
            0..3_334 => vec![],
            3_334..6_667 => vec![(id(number - 3_334), None)],
            _ => vec![(id(number - 3_334), None), (id(number - 3_333), None)],
        };
        let parents: Vec<_> = parents.iter().map(|(id, subtask)| (id.as_str(), *subtask)).collect();
        Shard { range: Some(HashRange { start, end: start + (width - 1) }), ..child(&id(number), &parents) }
    };
    (0..10_000).map(all).collect()
}

/// LIM-1: the default limits are wide enough for a round of ten thousand shards over as many subtasks as a pipeline may have.
#[test]
fn ten_thousand_shards_are_assigned_in_one_round_within_the_default_limits() {
    let mut sticky = open("sticky_assigner", Limits::of_assigner());
    let shards = ten_thousand();
    let current = (0..10_000_u32).map(|number| placed(&format!("placed-{number:06}"), number % 1_024)).collect();
    let round = Round { unassigned: shards, current, readers: readers(&[1; 1_024]) };
    let began = Instant::now();
    let decisions = sticky.assign(&round, super::TIME).expect("within the limits");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let answer = subtasks(&round, &decisions);
    assert!(answer.iter().all(Option::is_some));
    let single_parents = answer[3_334..6_667].iter().zip(&answer);
    assert!(single_parents.clone().all(|(child, parent)| child == parent), "children stay");
    assert_eq!(single_parents.count(), 3_333);
}

/// Decisions name the shards of the question, not those of the order in which the component saw them.
#[test]
fn decisions_are_about_the_shards_that_were_asked_about() {
    let mut sticky = open("sticky_assigner", patient());
    let reversed = Round {
        unassigned: vec![child("child", &[("parent", None)]), shard("parent")],
        current: vec![placed("x", 0)],
        readers: readers(&[1, 1]),
    };
    let decisions = sticky.assign(&reversed, super::TIME).expect("an honest round");
    assert_eq!(decisions, [Decision { shard: 1, subtask: 1 }, Decision { shard: 0, subtask: 1 }]);
    assert_eq!(reversed.unassigned[1].shard, ShardId::new("parent"));
}
