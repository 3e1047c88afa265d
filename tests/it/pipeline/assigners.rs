//! A component that gives shards to subtasks, in a whole pipeline: it is obeyed where it decides as it may, overruled
//! where it does not, and no record waits for its sake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use host::assigner::Assign;
use host::component::assigner::{Decision, Round};
use host::component::{ComponentError, Engine, Grants, Limits, OpenContext, Role, ShardAssigner};
use host::config::Assigner;
use host_core::moment::EpochMillis;
use tests::component;
use tests::rig::{Gate, Rig};

/// What a stand-in answers to a round.
type Answer = Arc<dyn Fn(&Round) -> Result<Vec<Decision>, ComponentError> + Send + Sync>;

struct StandIn {
    answer: Answer,
    rounds: Arc<Mutex<Vec<Round>>>,
}

impl Assign for StandIn {
    fn assign(&mut self, round: &Round, _time: EpochMillis) -> Result<Vec<Decision>, ComponentError> {
        self.rounds.lock().expect("whole").push(round.clone());
        (self.answer)(round)
    }

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

/// Four shards on two subtasks, given out by a component.
fn assigned_by(
    answer: impl Fn(&Round) -> Result<Vec<Decision>, ComponentError> + Send + Sync + 'static,
) -> (Rig, Arc<Mutex<Vec<Round>>>) {
    let mut rig = Rig::new(4);
    rig.manifest.parallelism = 2;
    rig.manifest.assigner = Assigner::Component(rig.manifest.deserializer.clone());
    let (answer, rounds): (Answer, Arc<Mutex<Vec<Round>>>) = (Arc::new(answer), Arc::default());
    let seen = Arc::clone(&rounds);
    rig.assigner = Some(Box::new(move || Box::new(StandIn { answer: Arc::clone(&answer), rounds: Arc::clone(&seen) })));
    (rig, rounds)
}

/// The same subtask for every shard of the round.
fn all_to(round: &Round, subtask: u32) -> Vec<Decision> {
    (0..).zip(&round.unassigned).map(|(shard, _)| Decision { shard, subtask }).collect()
}

/// Which subtasks had each shard's records.
fn places(rig: &Rig) -> BTreeMap<String, Vec<u32>> {
    let mut places: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (_, shard, subtask) in rig.log.lock().expect("whole").places.clone() {
        places.entry(shard).or_default().push(subtask);
    }
    places
}

/// Delivers everything, with shards that come and go; returns where each shard was.
async fn run_through(rig: &Rig) -> BTreeMap<String, Vec<u32>> {
    rig.write(200);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    let shards = rig.shards();
    rig.stream.split(&shards[0]);
    rig.stream.merge(&shards[1], &shards[2]);
    rig.write(200);
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
    let places = places(rig);
    assert_eq!(places.len(), 7);
    assert!(places.values().all(|subtasks| subtasks.len() == 1), "a shard has one subtask: {places:?}");
    places
}

/// Where the built-in assigner puts the same shards.
async fn uniform() -> BTreeMap<String, Vec<u32>> {
    let mut rig = Rig::new(4);
    rig.manifest.parallelism = 2;
    run_through(&rig).await
}

/// ASN-1: children that come later are asked about with their parents' places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_component_decides_is_obeyed() {
    let (rig, rounds) = assigned_by(|round| Ok(all_to(round, 1)));
    let places = run_through(&rig).await;
    assert!(places.values().all(|subtasks| *subtasks == [1]), "{places:?}");
    let rounds = rounds.lock().expect("whole").clone();
    let asked: Vec<_> = rounds.iter().flat_map(|round| &round.unassigned).collect();
    assert_eq!(asked.len(), 7, "each shard is asked about once: {asked:?}");
    assert!(asked.iter().all(|shard| shard.stream_arn.ends_with(":stream/rig") && shard.range.is_some()));
    assert_eq!(rounds[0].readers.iter().map(|reader| reader.subtask).collect::<Vec<_>>(), [0, 1]);
    let parents: Vec<_> = asked.iter().flat_map(|shard| &shard.parents).collect();
    assert_eq!(parents.len(), 4);
    assert!(parents.iter().all(|parent| parent.subtask == Some(1)), "{parents:?}");
}

/// ASN-1: an answer that breaks a rule is not used, not even in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_does_not_decide_as_it_may_is_overruled_by_uniform() {
    let expected = uniform().await;
    let trap = || ComponentError::Trapped { during: "assign", reason: "unreachable".to_owned(), last_words: None };
    let foreign = |round: &Round| {
        let mut decisions = all_to(round, 1);
        decisions[0].shard = 99;
        Ok(decisions)
    };
    let twice = |round: &Round| {
        let mut decisions = all_to(round, 1);
        decisions.push(decisions[0]);
        Ok(decisions)
    };
    let answers: [(&str, Answer); 4] = [
        ("a shard that was not offered", Arc::new(foreign)),
        ("a shard twice", Arc::new(twice)),
        ("a subtask that does not exist", Arc::new(|round| Ok(all_to(round, 2)))),
        ("a trap", Arc::new(move |_| Err(trap()))),
    ];
    for (sin, answer) in answers {
        let (rig, rounds) = assigned_by(move |round| answer(round));
        assert_eq!(run_through(&rig).await, expected, "{sin}");
        assert!(!rounds.lock().expect("whole").is_empty());
    }
}

/// A component that leaves shards out is asked again, and not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_component_leaves_out_three_times_is_decided_by_uniform() {
    let expected = uniform().await;
    let (rig, rounds) = assigned_by(|_| Ok(Vec::new()));
    assert_eq!(run_through(&rig).await, expected);
    let rounds = rounds.lock().expect("whole").clone();
    let asked = |shard: &str| {
        rounds.iter().flat_map(|round| &round.unassigned).filter(|asked| asked.shard.as_str() == shard).count()
    };
    assert!(expected.keys().all(|shard| asked(shard) == 3), "{rounds:?}");
}

/// Its thread is its own: one that panics is as good as one that says nothing, and is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_whose_thread_panics_is_overruled() {
    let expected = uniform().await;
    let (rig, rounds) = assigned_by(|_| panic!("as the test says"));
    assert_eq!(run_through(&rig).await, expected);
    assert_eq!(rounds.lock().expect("whole").len(), 1);
}

/// A slow one delays the shards of its round and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_have_their_subtask_do_not_wait_for_a_slow_component() {
    let gate = Gate::default();
    let passed = gate.clone();
    let (rig, _) = assigned_by(move |round| {
        if round.unassigned.iter().any(|shard| !shard.parents.is_empty()) {
            passed.pass();
        }
        Ok(all_to(round, 0))
    });
    let shards = rig.shards();
    rig.write(100);
    let run = rig.start().await;
    rig.until_all_delivered().await;
    let [child, _] = rig.stream.split(&shards[0]);
    gate.until_waiting().await;
    rig.write_to(&shards[3], 100);
    rig.until_elements(200).await;
    rig.write_to(&child, 50);
    gate.open();
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// One that never answers is given up, and a run that stops does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_component_is_overruled_in_the_end_and_keeps_no_run_from_stopping() {
    let gate = Gate::default();
    let passed = gate.clone();
    let (rig, _) = assigned_by(move |round| {
        passed.pass();
        Ok(all_to(round, 0))
    });
    rig.write(100);
    let run = rig.start().await;
    gate.until_waiting().await;
    run.drained().await.expect_success();
    assert!(rig.elements().is_empty());
    let run = rig.start().await;
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
    gate.open();
}

/// The example, in its sandbox: a family stays together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sticky_example_keeps_children_on_the_subtask_of_their_parent() {
    let engine = Engine::new().expect("this machine runs components");
    let path = component("sticky_assigner");
    let loaded = host::component::load(&engine, None, &path, &Grants::default(), Role::ShardAssigner).expect("it fits");
    let (mut rig, _) = assigned_by(|_| unreachable!("replaced right below"));
    rig.assigner = Some(Box::new(move || {
        let context = OpenContext {
            tenant: "tenant".into(),
            pipeline: "rig".into(),
            stage: "assigner".into(),
            subtask: 0,
            parallelism: 2,
            config: Vec::new(),
            shadow: false,
        };
        let opened = ShardAssigner::open(&loaded, context, Limits::of_assigner(), Arc::default(), tests::rig::wall());
        Box::new(opened.expect("it opens"))
    }));
    let places = run_through(&rig).await;
    for shard in rig.stream.shards() {
        let mine = &places[shard.id.as_str()];
        if let [parent] = shard.parents.as_slice() {
            assert_eq!(*mine, places[parent.as_str()], "{} of {parent}: {places:?}", shard.id);
        } else if !shard.parents.is_empty() {
            assert!(shard.parents.iter().any(|parent| *mine == places[parent.as_str()]), "{places:?}");
        }
    }
    let first: Vec<_> = rig.shards()[..4].iter().map(|shard| &places[shard.as_str()]).collect();
    assert_eq!(first.iter().filter(|subtasks| ***subtasks == [0]).count(), 2, "and work is shared: {places:?}");
}
