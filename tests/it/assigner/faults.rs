//! A sin of an assigner has a name, is known within its limits, and the next round finds a fresh instance.

use std::time::{Duration, Instant};

use host::assigner::{Assigned, Assigner, KnownShards};
use host::clock::Clock;
use host::component::{ComponentError, ConfigValue, ErrorClass, Limits, ShardAssigner, Violation};
use host_core::shard::ShardId;

use super::{open, patient, round, shard, subtasks, try_open};

/// Far above any limit that a test sets, far below for ever.
const BOUNDED: Duration = Duration::from_secs(60);

fn sin(assigner: &mut ShardAssigner, sin: &str) -> ComponentError {
    let began = Instant::now();
    let answer = assigner.assign(&round(vec![shard("honest"), shard(sin)]), super::TIME);
    assert!(began.elapsed() < BOUNDED, "{sin} took {:?}", began.elapsed());
    match answer {
        Ok(decisions) => panic!("{sin} was believed: {decisions:?}"),
        Err(error) => {
            assert!(!error.to_string().contains('\n') && error.is_components_fault(), "{error}");
            error
        }
    }
}

/// The round after a failure works, in the instance with this number.
fn works_again(assigner: &mut ShardAssigner, instances: u32) {
    let round = round(vec![shard("a"), shard("b"), shard("c")]);
    let decisions = assigner.assign(&round, super::TIME).expect("an honest round");
    assert_eq!(subtasks(&round, &decisions), [Some(0), Some(1), Some(0)]);
    assert_eq!(assigner.instances(), instances);
}

/// ISO-1: a trap ends the instance, and nothing else.
#[test]
fn a_trap_is_named_and_the_next_round_runs_in_a_fresh_instance() {
    let mut assigner = open("faulty", patient());
    let error = sin(&mut assigner, "assign-trap");
    assert!(matches!(&error, ComponentError::Trapped { during: "assign", .. }), "{error}");
    works_again(&mut assigner, 2);
}

/// ISO-1: a loop is stopped from outside.
#[test]
fn an_endless_round_is_stopped_by_the_cpu_budget_or_by_the_clock() {
    let budget = Duration::from_millis(200);
    let mut assigner = open("faulty", Limits { cpu_per_batch: budget, ..patient() });
    let error = sin(&mut assigner, "assign-spin");
    assert!(matches!(error, ComponentError::CpuBudgetExceeded { budget: spent, .. } if spent == budget), "{error}");
    assert!(error.to_string().contains("raise `limits.cpu_per_batch`"), "{error}");
    works_again(&mut assigner, 2);
    let mut assigner = open("faulty", Limits { wall_per_batch: budget, ..patient() });
    let error = sin(&mut assigner, "assign-spin");
    assert!(matches!(error, ComponentError::TimedOut { during: "assign", .. }), "{error}");
}

/// ISO-1: the limits that are set where nobody set any stop it too.
#[test]
fn the_default_limits_stop_an_endless_round() {
    let mut assigner = open("faulty", Limits::of_assigner());
    let error = sin(&mut assigner, "assign-spin");
    // On a machine with more to do the time on the wall runs out first.
    let is_stopped = matches!(
        &error,
        ComponentError::CpuBudgetExceeded { budget, .. } if *budget == Duration::from_secs(1)
    ) || matches!(error, ComponentError::TimedOut { during: "assign", .. });
    assert!(is_stopped, "{error}");
}

/// ISO-1, LIM-1: memory and answers are bounded.
#[test]
fn growing_and_flooding_have_names() {
    let mut assigner = open("faulty", Limits { memory: 16 << 20, ..patient() });
    let error = sin(&mut assigner, "assign-grow");
    assert!(matches!(error, ComponentError::OutOfMemory { during: "assign", .. }), "{error}");
    works_again(&mut assigner, 2);
    let error = sin(&mut assigner, "assign-flood");
    assert!(matches!(error, ComponentError::OutputTooLarge { during: "assign", limit } if limit == 1 << 20), "{error}");
    assert!(!error.to_string().contains("raise"), "no limit is worth raising: {error}");
    works_again(&mut assigner, 3);
}

/// ASN-1, ISO-1: an answer that breaks a rule is the component's error, and nothing of it is used.
#[test]
fn every_lie_is_a_violation_of_its_own_kind() {
    type Expected = fn(&Violation) -> bool;
    let lies: [(&str, Expected); 4] = [
        ("assign-foreign", |lie| matches!(lie, Violation::UnknownShard { shard: 2, offered: 2, .. })),
        ("assign-twice", |lie| matches!(lie, Violation::DecidedTwice { first: 0, second: 1, shard: 1 })),
        ("assign-more", |lie| matches!(lie, Violation::TooManyDecisions { found: 3, offered: 2 })),
        ("assign-nobody", |lie| matches!(lie, Violation::NoReader { at: 0, subtask: 2, .. })),
    ];
    let mut assigner = open("faulty", patient());
    for (instances, (lie, expected)) in (2..).zip(lies) {
        let error = sin(&mut assigner, lie);
        let ComponentError::Violation(violation) = &error else { panic!("{lie}: {error}") };
        assert!(expected(violation), "{lie}: {violation}");
        works_again(&mut assigner, instances);
    }
}

#[test]
fn a_refusal_keeps_its_class_and_only_a_fatal_one_costs_the_instance() {
    let mut assigner = open("faulty", patient());
    for (word, class, instances) in [
        ("assign-refuse", ErrorClass::Poison, 1),
        ("assign-retry", ErrorClass::Retryable, 1),
        ("assign-fatal", ErrorClass::Fatal, 2),
    ] {
        let error = sin(&mut assigner, word);
        assert!(
            matches!(&error, ComponentError::Refused { during: "assign", error } if error.class == class),
            "{error}"
        );
        works_again(&mut assigner, instances);
    }
}

#[test]
fn deciding_nothing_is_no_sin() {
    let mut assigner = open("faulty", patient());
    let decisions = assigner.assign(&round(vec![shard("assign-nothing")]), super::TIME).expect("an answer");
    assert_eq!(decisions, []);
    works_again(&mut assigner, 1);
}

#[test]
fn a_round_of_nothing_is_answered_with_nothing() {
    let mut assigner = open("faulty", patient());
    let empty = host::component::assigner::Round::default();
    assert_eq!(assigner.assign(&empty, super::TIME).expect("an answer"), []);
    let nobody = host::component::assigner::Round { readers: Vec::new(), ..round(vec![shard("a")]) };
    assert_eq!(assigner.assign(&nobody, super::TIME).expect("an answer"), []);
}

#[test]
fn opening_is_refused_with_an_error_of_its_own() {
    for (word, retryable) in [("refuse", false), ("retry", true)] {
        let error = try_open("faulty", &[("open", ConfigValue::Text(word.into()))], patient()).expect_err("refused");
        assert!(matches!(&error, ComponentError::Refused { during: "open", .. }), "{error}");
        assert_eq!(error.is_retryable(), retryable);
    }
}

#[test]
fn an_instance_that_does_not_open_fails_its_round_and_the_next_round_tries_again() {
    let second = [("open", ConfigValue::Text("refuse".into())), ("open_attempt", ConfigValue::Integer(2))];
    let mut assigner = try_open("faulty", &second, patient()).expect("the first one opens");
    assert!(matches!(sin(&mut assigner, "assign-trap"), ComponentError::Trapped { .. }));
    assert!(matches!(sin(&mut assigner, "honest"), ComponentError::Refused { during: "open", .. }));
    works_again(&mut assigner, 3);
}

/// ASN-1: the thread answers each round, and an assigner that failed one gets the next.
#[test]
fn a_round_that_failed_is_answered_with_the_reason_and_the_next_one_with_decisions() {
    let once = [("assign", ConfigValue::Text("assign-trap".into())), ("assign_attempt", ConfigValue::Integer(1))];
    let component = try_open("faulty", &once, patient()).expect("it opens");
    let (tell, answers) = std::sync::mpsc::channel();
    let tell = move |answer: Assigned| tell.send(answer).is_ok();
    let readers = host::assigner::readers(2, "here");
    let assigner =
        Assigner::spawn("test", Box::new(component), readers, Clock::start(), tell).expect("there is a thread");
    let known = KnownShards::new([super::STREAM.into()]);
    let ask = |round| {
        let unassigned = vec![ShardId::new("a"), ShardId::new("b")];
        let round = host_core::coordinator::Round { round, unassigned, current: Vec::new() };
        assigner.ask(&round, &known).expect("the thread waits for a round");
        answers.recv_timeout(BOUNDED).expect("an answer in time")
    };
    let failed = ask(7);
    assert_eq!(failed.round, 7);
    let why = failed.answer.expect_err("it traps");
    assert!(why.starts_with("the component trapped in assign"), "{why}");
    let decided = ask(8);
    assert_eq!(decided.round, 8);
    assert_eq!(decided.answer, Ok(vec![(ShardId::new("a"), 0), (ShardId::new("b"), 1)]));
}
