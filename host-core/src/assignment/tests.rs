use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

fn id(text: &str) -> ShardId {
    ShardId::new(text)
}

fn ids(texts: &[&str]) -> Vec<ShardId> {
    texts.iter().map(|text| id(text)).collect()
}

const fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

fn slice(index: u128, of: u128) -> Option<HashRange> {
    let size = u128::MAX / of;
    let start = size * index;
    Some(HashRange { start, end: if index + 1 == of { u128::MAX } else { start + (size - 1) } })
}

/// A component that was asked for `shards` in its first round.
fn asked(shards: &[&str]) -> Assignments {
    let mut assignments = Assignments::new(AssignerPolicy::Component, 4, INTERVAL);
    for shard in shards {
        assert_eq!(assignments.assign(at(0), &id(shard), None), None);
    }
    let round = assignments.ask(at(0), |_| false).expect("a question");
    assert_eq!((round.round, round.unassigned), (1, ids(shards)));
    assignments
}

fn overruled(outcome: &Outcome) -> &str {
    outcome.overruled.as_deref().expect("the component was overruled")
}

#[test]
fn the_hash_is_fnv_1a() {
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn equal_slices_go_to_equal_shares() {
    for index in 0..4_u32 {
        let range = slice(u128::from(index), 4);
        assert_eq!(uniform(&id("s"), range, 4), index);
        assert_eq!(uniform(&id("s"), range, 2), index / 2);
    }
}

#[test]
fn the_whole_key_space_has_its_midpoint_just_below_the_middle() {
    let all = HashRange { start: 0, end: u128::MAX };
    assert_eq!(midpoint(all), u128::MAX / 2);
    assert_eq!(uniform(&id("s"), Some(all), 2), 0);
    let last = HashRange { start: u128::MAX, end: u128::MAX };
    assert_eq!(uniform(&id("s"), Some(last), u32::MAX), u32::MAX - 1);
    assert_eq!(uniform(&id("s"), Some(last), 0), 0);
}

#[test]
fn shards_without_ranges_keep_their_subtask() {
    let subtask = |text: &str| uniform(&id(text), None, 4);
    assert_eq!(subtask("foobar"), 0);
    assert_eq!(subtask("a"), 0);
    assert_eq!(subtask("shardId-00000001700000000000-0a1b2c3d"), subtask("shardId-00000001700000000000-0a1b2c3d"));
}

#[test]
fn the_same_slice_of_every_stream_goes_to_another_subtask() {
    let range = slice(2, 5);
    let of = |stream| uniform(&ShardId::in_stream(stream, "s"), range, 4);
    let mut subtasks: Vec<_> = (0..4).map(of).collect();
    assert_eq!(of(0), uniform(&id("s"), range, 4), "one stream alone is not turned");
    subtasks.sort_unstable();
    assert_eq!(subtasks, [0, 1, 2, 3]);
    assert_eq!(of(u32::MAX), of(3));
}

#[test]
fn the_least_loaded_subtask_wins_and_the_lowest_of_equals() {
    let mut assignments = Assignments::new(AssignerPolicy::Fewest, 3, INTERVAL);
    let mut assign =
        |text: &str| assignments.assign(at(0), &id(text), slice(0, 1)).expect("a built-in decides at once");
    let subtasks: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|text| assign(text)).collect();
    assert_eq!(subtasks, [0, 1, 2, 0, 1]);
    assert_eq!(assign("a"), 0, "whoever has a subtask keeps it");
    assignments.release(&id("b"));
    assignments.release(&id("b"));
    assignments.release(&id("e"));
    assert_eq!(assignments.subtask(&id("b")), None);
    let subtasks: Vec<_> = ["f", "g", "h"].iter().map(|text| assignments.assign(at(0), &id(text), None)).collect();
    assert_eq!(subtasks, [Some(1), Some(1), Some(2)], "a place that is given back is taken");
}

#[test]
fn a_component_decides_and_its_decisions_stay() {
    let mut assignments = asked(&["a", "b"]);
    let outcome = assignments.answered(at(1), 1, Ok(vec![(id("b"), 3), (id("a"), 0)]));
    assert_eq!(outcome, Outcome { assigned: ids(&["a", "b"]), overruled: None });
    assert_eq!(assignments.assign(at(2), &id("b"), None), Some(3));
    assert_eq!(assignments.deadline(), None);
    assert_eq!(assignments.assign(at(2), &id("c"), None), None);
    assert_eq!(assignments.deadline(), Some(at(2)), "a new shard does not wait");
    let round = assignments.ask(at(2), |shard| *shard == id("a")).expect("a question");
    let placement = |text, subtask, pending| Placement { shard: id(text), subtask, pending };
    assert_eq!(round.current, [placement("a", 0, true), placement("b", 3, false)]);
    assert_eq!((round.round, round.unassigned), (2, ids(&["c"])));
}

#[test]
fn one_round_is_out_at_a_time_and_an_answer_to_another_is_ignored() {
    let mut assignments = asked(&["a"]);
    assignments.assign(at(1), &id("b"), None);
    assert_eq!(assignments.ask(at(1), |_| false), None);
    assert_eq!(assignments.answered(at(1), 2, Ok(vec![(id("a"), 1)])), Outcome::default());
    assert_eq!(assignments.subtask(&id("a")), None);
    assignments.answered(at(2), 1, Ok(vec![(id("a"), 2)]));
    assert_eq!(assignments.answered(at(3), 1, Ok(vec![(id("a"), 1)])), Outcome::default());
    assert_eq!(assignments.subtask(&id("a")), Some(2));
    assert_eq!(assignments.ask(at(3), |_| false).map(|round| round.unassigned), Some(ids(&["b"])));
}

#[test]
fn a_wrong_answer_is_told_and_uniform_decides_the_whole_round() {
    let wrong = [
        (vec![(id("a"), 1), (id("x"), 1)], "it decided on shard x, which it was not asked for"),
        (vec![(id("a"), 1), (id("a"), 1)], "it decided on shard a twice"),
        (vec![(id("a"), 1), (id("b"), 4)], "it gave shard b to subtask 4, and there are 4, from 0"),
    ];
    let answers = wrong.map(|(answer, why)| (Ok(answer), why));
    for (answer, why) in answers.into_iter().chain([(Err("it trapped".into()), "it trapped")]) {
        let mut assignments = asked(&["a", "b"]);
        let outcome = assignments.answered(at(1), 1, answer);
        assert_eq!((overruled(&outcome), &outcome.assigned), (why, &ids(&["a", "b"])));
        for shard in ["a", "b"] {
            assert_eq!(assignments.subtask(&id(shard)), Some(uniform(&id(shard), None, 4)));
        }
    }
}

#[test]
fn a_component_that_says_nothing_is_given_up_in_the_end() {
    let mut assignments = asked(&["a"]);
    assert_eq!(assignments.deadline(), Some(at(30_000)));
    assert_eq!(assignments.give_up(at(29_999)), Outcome::default());
    let outcome = assignments.give_up(at(30_000));
    assert_eq!((overruled(&outcome), &outcome.assigned), ("it gave no answer within 30 s", &ids(&["a"])));
    assert_eq!(assignments.answered(at(30_001), 1, Ok(vec![(id("a"), 3)])), Outcome::default());
    assert_eq!(assignments.subtask(&id("a")), Some(0));
    assert_eq!(assignments.deadline(), None);
}

#[test]
fn a_shard_that_is_left_out_is_offered_again_later_and_not_for_ever() {
    let mut assignments = asked(&["a", "b"]);
    let outcome = assignments.answered(at(1), 1, Ok(vec![(id("a"), 1)]));
    assert_eq!(outcome, Outcome { assigned: ids(&["a"]), overruled: None });
    assert_eq!(assignments.deadline(), Some(at(10_001)));
    assert_eq!(assignments.assign(at(2), &id("b"), None), None);
    assert_eq!(assignments.ask(at(10_000), |_| false), None, "asking again does not bring it forward");
    for (round, answered) in [(2, 10_001), (3, 20_001)] {
        assert_eq!(assignments.ask(at(answered), |_| false).map(|round| round.unassigned), Some(ids(&["b"])));
        let outcome = assignments.answered(at(answered), round, Ok(Vec::new()));
        assert_eq!(outcome.overruled.is_some(), round == 3);
    }
    assert_eq!(assignments.subtask(&id("b")), Some(uniform(&id("b"), None, 4)));
}

#[test]
fn a_shard_that_goes_while_it_is_asked_about_gets_no_place() {
    let mut assignments = asked(&["a", "b"]);
    assignments.release(&id("a"));
    let outcome = assignments.answered(at(1), 1, Ok(vec![(id("a"), 1), (id("b"), 1)]));
    assert_eq!(outcome, Outcome { assigned: ids(&["b"]), overruled: None });
    let mut assignments = asked(&["a"]);
    assignments.release(&id("a"));
    assert_eq!(assignments.answered(at(1), 1, Err("it trapped".into())).assigned, []);
    assert_eq!(assignments.deadline(), None);
}
