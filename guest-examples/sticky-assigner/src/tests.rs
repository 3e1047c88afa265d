use sluicebox_guest::testing::{AssignerInstance, TestShard, readers};

use super::*;

fn opened() -> AssignerInstance<Sticky> {
    AssignerInstance::open([]).expect("no configuration is needed")
}

fn with_slack(slack: i64) -> AssignerInstance<Sticky> {
    AssignerInstance::open([("slack", slack.into())]).expect("a number is a slack")
}

fn shards(count: usize) -> Vec<TestShard> {
    (0..count).map(|number| TestShard::new(format!("shardId-{number:012}"))).collect()
}

/// Asks, and expects a decision for each shard.
fn ask(
    sticky: &mut AssignerInstance<Sticky>,
    unassigned: &[TestShard],
    current: &[Placement],
    weights: &[u32],
) -> Vec<u32> {
    let answer = sticky.assign(unassigned, current, &readers(weights.iter().copied())).expect("it decides");
    answer.into_iter().map(|subtask| subtask.expect("every shard is decided")).collect()
}

#[test]
fn shards_without_parents_are_spread_evenly() {
    assert_eq!(ask(&mut opened(), &shards(5), &[], &[1, 1, 1]), [0, 1, 2, 0, 1]);
}

#[test]
fn what_is_placed_already_counts() {
    let placed = [TestShard::new("x").on(0), TestShard::new("y").on(0), TestShard::new("z").on(1)];
    assert_eq!(ask(&mut opened(), &shards(3), &placed, &[1, 1]), [1, 0, 1]);
}

#[test]
fn a_subtask_with_four_times_the_weight_gets_four_times_the_shards() {
    let answer = ask(&mut opened(), &shards(50), &[], &[1, 4]);
    assert_eq!(answer.iter().filter(|subtask| **subtask == 1).count(), 40);
}

#[test]
fn children_of_a_split_stay_on_their_parents_subtask_however_loaded() {
    let loaded: Vec<_> = (0..10).map(|number| TestShard::new(format!("busy-{number}")).on(2)).collect();
    let children =
        [TestShard::new("left").parent("parent", Some(2)), TestShard::new("right").parent("parent", Some(2))];
    assert_eq!(ask(&mut opened(), &children, &loaded, &[1, 1, 1]), [2, 2]);
}

#[test]
fn the_child_of_a_merge_goes_to_the_less_loaded_of_its_parents() {
    let loaded = [TestShard::new("busy").on(0)];
    let child = [TestShard::new("merged").parent("a", Some(0)).parent("b", Some(2))];
    assert_eq!(ask(&mut opened(), &child, &loaded, &[1, 1, 1]), [2]);
}

#[test]
fn a_parent_in_the_same_round_is_followed_through_generations() {
    let family = [
        TestShard::new("stranger"),
        TestShard::new("parent"),
        TestShard::new("child").parent("parent", None),
        TestShard::new("grandchild").parent("child", None),
    ];
    assert_eq!(ask(&mut opened(), &family, &[], &[1, 1]), [0, 1, 1, 1]);
}

#[test]
fn equal_ids_in_two_streams_are_no_relatives() {
    let shards = [
        TestShard::new("parent"),
        TestShard::new("child").parent("parent", None).stream("arn:aws:kinesis:us-east-1:000000000000:stream/other"),
    ];
    assert_eq!(ask(&mut opened(), &shards, &[], &[1, 1]), [0, 1]);
}

#[test]
fn beyond_the_slack_a_child_leaves() {
    let loaded: Vec<_> = (0..3).map(|number| TestShard::new(format!("busy-{number}")).on(0)).collect();
    let child = [TestShard::new("child").parent("parent", Some(0))];
    // Four shards on two subtasks: a share is 2, and the fourth would be 2 above it.
    assert_eq!(ask(&mut with_slack(2), &child, &loaded, &[1, 1]), [0]);
    assert_eq!(ask(&mut with_slack(1), &child, &loaded, &[1, 1]), [1]);
}

#[test]
fn a_parents_subtask_that_is_gone_is_no_place_for_its_children() {
    let child = [TestShard::new("child").parent("parent", Some(7))];
    assert_eq!(ask(&mut opened(), &child, &[], &[1, 1]), [0]);
}

#[test]
fn a_bad_slack_is_refused_when_opened() {
    for (slack, code) in [((-1).into(), "bad-slack"), ("much".into(), "invalid-config")] {
        let error = AssignerInstance::<Sticky>::open([("slack", slack)]).err().expect("refused");
        assert_eq!(error.code(), code, "{error}");
    }
    assert_eq!(with_slack(3).assigner().slack, Some(3));
}

#[test]
fn without_a_reader_it_refuses() {
    let error = opened().assign(&shards(1), &[], &[]).expect_err("nobody reads");
    assert_eq!(error.code(), "no-readers");
}
