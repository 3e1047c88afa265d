#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use super::*;
use crate::component::validate::Violation;

const PATIENCE: Duration = Duration::from_secs(30);

fn id(text: &str) -> ShardId {
    ShardId::new(text)
}

fn described(shard: &str, parents: &[&str]) -> ShardDescription {
    let range = Some(HashRange { start: 1, end: 2 });
    ShardDescription { id: id(shard), parents: parents.iter().map(|parent| id(parent)).collect(), range, closed: false }
}

fn known() -> KnownShards {
    KnownShards::new(["arn:first".into(), "arn:second".into()])
}

fn round(number: u64, unassigned: &[&str]) -> Round {
    Round { round: number, unassigned: unassigned.iter().map(|shard| id(shard)).collect(), current: Vec::new() }
}

/// An assigner that answers what it is told to, when it is told to.
struct Puppet {
    answers: std_mpsc::Receiver<Result<Vec<Decision>, ComponentError>>,
    closed: std_mpsc::Sender<()>,
}

impl Assign for Puppet {
    fn assign(&mut self, _: &assigner::Round, _: EpochMillis) -> Result<Vec<Decision>, ComponentError> {
        self.answers.recv_timeout(PATIENCE).unwrap()
    }

    fn close(self: Box<Self>, _: EpochMillis) {
        let _nobody_waits = self.closed.send(());
    }
}

struct Scene {
    assigner: Assigner,
    answer: std_mpsc::Sender<Result<Vec<Decision>, ComponentError>>,
    told: std_mpsc::Receiver<Assigned>,
    closed: std_mpsc::Receiver<()>,
}

fn scene() -> Scene {
    let (answer, answers) = std_mpsc::channel();
    let (tell, told) = std_mpsc::channel();
    let (is_closed, closed) = std_mpsc::channel();
    let puppet = Box::new(Puppet { answers, closed: is_closed });
    let tell = move |assigned| tell.send(assigned).is_ok();
    let assigner = Assigner::spawn("test", puppet, readers(2, "here"), Clock::start(), tell).unwrap();
    Scene { assigner, answer, told, closed }
}

fn decision(shard: u32, subtask: u32) -> Decision {
    Decision { shard, subtask }
}

#[test]
fn a_round_is_described_with_streams_parents_and_who_read_them() {
    let mut known = known();
    known.listed(0, true, &[described("parent", &[])]);
    known.opened(&id("parent"), 3);
    known.listed(1, true, &[described("other", &[]).in_stream(1)]);
    known.listed(0, false, &[described("child", &["parent", "gone"])]);
    let other = ShardId::in_stream(1, "other");
    let placement = Placement { shard: other.clone(), subtask: 1, pending: true };
    let asked = Round { current: vec![placement], ..round(1, &["child", "unheard-of"]) };
    let told = known.describe(&asked, &readers(1, "here"));
    let parents = vec![Parent { shard: id("parent"), subtask: Some(3) }, Parent { shard: id("gone"), subtask: None }];
    let range = Some(HashRange { start: 1, end: 2 });
    let child = Shard { stream_arn: "arn:first".into(), shard: id("child"), parents, range };
    let unheard = Shard { stream_arn: "arn:first".into(), shard: id("unheard-of"), parents: vec![], range: None };
    assert_eq!(told.unassigned, [child, unheard]);
    let other = assigner::Placement { stream_arn: "arn:second".into(), shard: other, subtask: 1, pending: true };
    assert_eq!(told.current, [other]);
    assert_eq!(told.readers, [Reader { subtask: 0, location: "here".into(), weight: 1 }]);
}

/// The core asks about children as soon as their parent's end tells them, which no listing may have shown yet.
#[test]
fn children_told_with_their_parents_end_are_known() {
    let mut known = known();
    known.listed(0, true, &[described("a", &[]), described("b", &[])]);
    known.opened(&id("a"), 3);
    known.ended(&id("a"), &[described("child", &[])]);
    known.ended(&id("b"), &[described("child", &["a", "b"])]);
    let told = known.describe(&round(1, &["child"]), &readers(1, "here"));
    let parents = vec![Parent { shard: id("a"), subtask: Some(3) }, Parent { shard: id("b"), subtask: None }];
    let range = Some(HashRange { start: 1, end: 2 });
    assert_eq!(told.unassigned, [Shard { stream_arn: "arn:first".into(), shard: id("child"), parents, range }]);
}

#[test]
fn what_three_full_listings_of_its_stream_lack_is_forgotten() {
    let mut known = known();
    known.listed(0, true, &[described("old", &[])]);
    known.listed(1, true, &[described("other", &[]).in_stream(1)]);
    for _ in 0..2 {
        known.listed(0, true, &[described("new", &[])]);
        known.listed(0, false, &[]);
    }
    assert!(known.shards.contains_key(&id("old")), "a listing may be incomplete");
    known.opened(&id("new"), 1);
    known.listed(0, true, &[described("new", &[])]);
    assert!(!known.shards.contains_key(&id("old")));
    assert_eq!(known.subtask(&id("new")), Some(1), "a repeated listing forgets nothing");
    assert!(known.shards.contains_key(&ShardId::in_stream(1, "other")), "another stream's listing says nothing of it");
}

#[test]
fn asking_never_waits_and_each_round_is_answered_once() {
    let scene = scene();
    let known = known();
    scene.assigner.ask(&round(1, &["a", "b"]), &known).unwrap();
    scene.answer.send(Ok(vec![decision(1, 0)])).unwrap();
    let first = scene.told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first, Assigned { round: 1, answer: Ok(vec![(id("b"), 0)]) });
    // The assigner is busy with the second round and the third one waits; or both wait.
    scene.assigner.ask(&round(2, &["a"]), &known).unwrap();
    let refused = (3..6).map(|number| scene.assigner.ask(&round(number, &["a"]), &known)).find(Result::is_err);
    assert_eq!(refused, Some(Err(NotAsked::Busy)));
    let lie = Violation::TooManyDecisions { found: 9, offered: 1 };
    scene.answer.send(Err(ComponentError::Violation(lie))).unwrap();
    let second = scene.told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second.round, 2);
    assert!(second.answer.unwrap_err().contains("9 decisions came for 1 shards"));
}

#[test]
fn a_decision_for_a_shard_that_was_not_asked_about_fails_the_round() {
    let scene = scene();
    scene.assigner.ask(&round(1, &["a"]), &known()).unwrap();
    scene.answer.send(Ok(vec![decision(0, 0), decision(u32::MAX, 0)])).unwrap();
    let told = scene.told.recv_timeout(PATIENCE).unwrap();
    assert!(told.answer.unwrap_err().contains("shard 4294967295 of 1"));
}

#[test]
fn when_nobody_asks_any_more_the_assigner_is_closed() {
    let Scene { assigner, closed, .. } = scene();
    drop(assigner);
    closed.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn when_nobody_listens_any_more_the_thread_ends_and_says_so() {
    let Scene { assigner, answer, told, closed } = scene();
    drop(told);
    assigner.ask(&round(1, &["a"]), &known()).unwrap();
    answer.send(Ok(Vec::new())).unwrap();
    closed.recv_timeout(PATIENCE).unwrap();
    // The channel closes right after the assigner.
    while assigner.ask(&round(2, &["a"]), &known()) != Err(NotAsked::Gone) {
        thread::yield_now();
    }
}
