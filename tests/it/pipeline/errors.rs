//! What a component may do to a batch, and what becomes of the records: order, counters, positions.

use std::collections::BTreeSet;
use std::sync::Arc;

use host::app::load::load;
use host::columns::ElementBatch;
use host::component::ComponentMetrics;
use host::component::deserializer::{Delivery, KinesisDeserializer, OpenContext, RecordError};
use host::component::engine::Engine;
use host::component::error::{ComponentError, ErrorClass, GuestError};
use host::component::limits::Limits;
use host::config::{PoisonPolicy, TrapPolicy};
use host::convert::Convert;
use host::entry::{Converted, Entries};
use host::pipeline::failure::Failure;
use host::subtask::Converting;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use tests::rig::{Asked, Rig, Verdict};

/// Does what the last word of a record says.
fn obey(asked: Asked<'_>) -> Verdict {
    let class = |word: &str| match word {
        "poison" => Some(ErrorClass::Poison),
        "retry" => Some(ErrorClass::Retryable),
        "fatal" => Some(ErrorClass::Fatal),
        _ => None,
    };
    let text = String::from_utf8_lossy(asked.data);
    match text.rsplit(' ').next().unwrap_or_default() {
        "filter" => Verdict::Filter,
        "trap" => Verdict::Trap,
        "no-room" => Verdict::NoRoom,
        "retry-twice" if asked.attempt <= 2 => Verdict::Refuse(ErrorClass::Retryable),
        "batch-retry-twice" if asked.attempt <= 2 => Verdict::RefuseBatch(ErrorClass::Retryable),
        word => match (class(word), word.strip_prefix("batch-").and_then(class)) {
            (Some(class), _) => Verdict::Refuse(class),
            (None, Some(class)) => Verdict::RefuseBatch(class),
            (None, None) => Verdict::Pass,
        },
    }
}

/// One shard with a record for each word.
fn saying(words: &[&str]) -> (Rig, ShardId) {
    let rig = Rig::new(1).scripted(obey);
    let shard = rig.shards()[0].clone();
    for word in words {
        rig.say(&shard, word);
    }
    (rig, shard)
}

fn skipping(words: &[&str]) -> Rig {
    let (mut rig, _) = saying(words);
    rig.manifest.on_error.poison = PoisonPolicy::Skip;
    rig
}

/// The last words of what the sink has.
fn said(rig: &Rig) -> Vec<String> {
    rig.elements().iter().filter_map(|text| Some(text.rsplit_once(' ')?.1.to_owned())).collect()
}

fn after(rig: &Rig, index: usize) -> Position {
    Position::After { sequence: rig.stream.written()[index].sequence.clone(), sub_sequence: 0 }
}

/// DEL-1: what is no element is filtered or skipped, and counted as that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_records_are_skipped_one_by_one_and_every_record_is_counted_once() {
    let rig = skipping(&["poison", "a", "filter", "poison", "b", "poison", "poison", "filter", "c", "poison"]);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(said(&rig), ["a", "b", "c"]);
    assert_eq!(totals.records_in.get(), 10);
    assert_eq!((totals.elements_out.get(), totals.filtered.get(), totals.skipped.get()), (3, 2, 5));
    assert_eq!(totals.restarts.get(), 0);
    assert_eq!(rig.catch_up().await.expect_success().records_in.get(), 0, "what was skipped is done");
}

/// CKP-1, DEL-1: the position is right before the record that stopped the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_in_the_middle_delivers_what_comes_before_and_stops_right_there() {
    for word in ["poison", "trap", "fatal", "retry", "batch-poison", "batch-retry", "batch-fatal"] {
        for place in [0, 1, 4, 8] {
            let mut words = ["x"; 9];
            words[place] = word;
            let (rig, shard) = saying(&words);
            let failure = rig.catch_up().await.expect_failure();
            let (named, done) = if let Failure::Poison { sequence, .. } = &failure {
                (sequence, place)
            } else if let Failure::Trap { first, .. } = &failure
                && word == "batch-retry"
            {
                // A whole batch that is refused until attempts run out has no culprit.
                (first, 0)
            } else {
                panic!("{word} at {place}: {failure}")
            };
            assert_eq!(*named, rig.stream.written()[done].sequence.to_string(), "{word} at {place}");
            assert_eq!(said(&rig).len(), done, "{word} at {place}");
            let before = if done == 0 { Position::TrimHorizon } else { after(&rig, done - 1) };
            assert_eq!(rig.durable()[&shard], before, "{word} at {place}");
            // Mended, the rest follows.
            let mended = rig.scripted(|_| Verdict::Pass);
            mended.catch_up().await.expect_success();
            mended.expect_exact();
        }
    }
}

/// ISO-1: the record that breaks the component is found by halving; all others are delivered in order, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bisection_passes_over_the_culprits_alone_and_keeps_the_order() {
    for word in ["trap", "fatal", "batch-poison", "batch-retry", "batch-fatal"] {
        for culprits in [vec![0], vec![7], vec![15], vec![0, 1], vec![3, 12, 13]] {
            let mut words = ["x"; 16];
            for &culprit in &culprits {
                words[culprit] = word;
            }
            let mut rig = skipping(&words);
            rig.manifest.on_error.max_attempts = 1;
            let totals = rig.catch_up().await.expect_success();
            let wanted: Vec<_> = rig.stream.written().into_iter().map(|record| record.data).collect();
            let wanted: Vec<_> =
                wanted.into_iter().enumerate().filter(|(i, _)| !culprits.contains(i)).map(|(_, data)| data).collect();
            assert_eq!(rig.sink.elements(), wanted, "{word} at {culprits:?}");
            assert_eq!(totals.skipped.get(), culprits.len() as u64, "{word} at {culprits:?}");
            assert_eq!(totals.filtered.get(), 0, "{word} at {culprits:?}");
        }
    }
}

/// ISO-1: the work of finding a culprit is bounded: each half once, the culprit alone as often as the manifest says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bisection_asks_for_each_half_once_and_for_the_culprit_alone_as_often_as_said() {
    let rig = skipping(&["x", "x", "x", "x", "x", "trap", "x", "x"]);
    let totals = rig.catch_up().await.expect_success();
    let log = rig.log.lock().expect("no test panics here");
    let calls: Vec<_> = log.calls.iter().map(|(_, records, attempt)| (*records, *attempt)).collect();
    assert_eq!(calls, [(8, 1), (4, 1), (4, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 3), (2, 1)]);
    assert_eq!(totals.restarts.get(), 6, "one for each call that trapped");
}

/// ISO-1: where the manifest says to stop, it names the whole batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_stops_the_run_before_its_batch_if_the_policy_says_so() {
    let (mut rig, shard) = saying(&["x", "x", "trap", "x"]);
    rig.manifest.on_error.trap = TrapPolicy::Fail;
    let failure = rig.catch_up().await.expect_failure();
    let Failure::Trap { first, last, .. } = failure else { panic!("{failure}") };
    let written = rig.stream.written();
    assert_eq!((first, last), (written[0].sequence.to_string(), written[3].sequence.to_string()));
    assert_eq!(rig.durable()[&shard], Position::TrimHorizon);
    assert!(rig.elements().is_empty());
}

/// DEL-1, ORD-1: what a later attempt can do is not skipped, and nothing overtakes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_succeeds_later_is_delivered_in_its_place() {
    for word in ["retry-twice", "batch-retry-twice"] {
        let rig = skipping(&["x", word, "y", "z"]);
        let totals = rig.catch_up().await.expect_success();
        assert_eq!(said(&rig), ["x", word, "y", "z"]);
        assert_eq!((totals.skipped.get(), totals.filtered.get(), totals.restarts.get()), (0, 0, 0));
    }
}

/// ISO-1: an instance that calls itself suspect is dropped before it is asked again, whether or not the record is skipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_calls_itself_suspect_does_not_see_another_record() {
    let mut rig = skipping(&["x", "fatal"]);
    rig.manifest.on_error.max_attempts = 1;
    let totals = rig.catch_up().await.expect_success();
    assert_eq!((totals.skipped.get(), totals.elements_out.get()), (1, 1));
    // Once for the rest of the batch, once for the record that was alone.
    let renewals = rig.log.lock().expect("no test panics here").renewals;
    assert_eq!((u64::from(renewals), totals.restarts.get()), (1, 1));
}

/// Makes nothing of elements, and refuses those that say so.
struct Refusing;

impl Convert for Refusing {
    fn convert(&mut self, elements: &ElementBatch, _delivery: Delivery) -> Result<Converted, ComponentError> {
        let error = || GuestError {
            class: ErrorClass::Poison,
            code: "bad-element".to_owned(),
            message: "as it says itself".to_owned(),
        };
        let refused = (0_u32..).zip(elements.payload.iter()).filter(|(_, payload)| payload.ends_with(b"refuse"));
        let errors = refused.map(|(input_index, _)| RecordError { input_index, error: error() }).collect();
        Ok(Converted { input_index: Vec::new(), entries: Entries::Kinesis(Vec::new()), errors })
    }

    fn renew(&mut self) {}

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

/// CKP-1, DEL-1: a converter's refusal keeps a record from all sinks, and the position is right before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_converters_refusal_in_the_middle_delivers_what_comes_before_and_stops_right_there() {
    let (mut rig, shard) = saying(&["x", "y", "refuse", "z"]);
    rig.converters = Arc::new(|_| {
        let converter = Box::new(Refusing);
        vec![Converting { sink: 1, name: "strong".to_owned(), when: Vec::new(), converter }]
    });
    let failure = rig.catch_up().await.expect_failure();
    let Failure::Poison { sequence, reason, .. } = failure else { panic!("{failure}") };
    assert_eq!(sequence, rig.stream.written()[2].sequence.to_string());
    assert_eq!(reason, "sink \"strong\": bad-element: as it says itself");
    assert_eq!(said(&rig), ["x", "y"]);
    assert_eq!(rig.durable()[&shard], after(&rig, 1));
    rig.manifest.on_error.poison = PoisonPolicy::Skip;
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(said(&rig), ["x", "y", "z"]);
    assert_eq!((totals.skipped.get(), totals.filtered.get()), (1, 0));
}

/// DEL-1: no record is passed over because the host, not the component, had a difficulty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_room_for_an_instance_skips_nothing() {
    let mut rig = skipping(&["x", "no-room", "y"]);
    rig.manifest.on_error.max_attempts = 2;
    let outcome = rig.catch_up().await;
    assert_eq!(outcome.totals.skipped.get(), 0);
    let failure = outcome.expect_failure().to_string();
    assert!(failure.contains("no room"), "{failure}");
    let mended = rig.scripted(|_| Verdict::Pass);
    mended.catch_up().await.expect_success();
    mended.expect_exact();
}

/// ISO-1: a pipeline whose component stops the run takes nobody with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_fails_leaves_its_neighbour_alone() {
    let (broken, _) = saying(&["x", "trap"]);
    let sound = Rig::new(2);
    sound.write(100);
    let run = sound.start().await;
    drop(broken.catch_up().await.expect_failure());
    sound.write(100);
    sound.until_all_delivered().await;
    run.drained().await.expect_success();
    sound.expect_exact();
}

/// The real sandbox with the component of all sins.
fn sandboxed(folder: &std::path::Path) -> Rig {
    let mut rig = Rig::new(2);
    rig.manifest.path = folder.join("pipeline.toml");
    rig.manifest.deserializer.component = tests::component("faulty");
    rig.manifest.on_error.poison = PoisonPolicy::Skip;
    rig.manifest.on_error.max_attempts = 1;
    rig.manifest.parallelism = 2;
    let engine = Engine::new().expect("an engine");
    let ready = load(rig.manifest.clone(), &engine).expect("the component loads");
    rig.component = Arc::new(move |subtask| {
        let context = OpenContext {
            tenant: "default".to_owned(),
            pipeline: "rig".to_owned(),
            stage: "deserializer".to_owned(),
            subtask,
            parallelism: 2,
            config: Vec::new(),
            shadow: false,
        };
        let metrics = Arc::new(ComponentMetrics::default());
        let opened =
            KinesisDeserializer::open(&ready.deserializer, context, Limits::default(), metrics, EpochMillis(0));
        Box::new(opened.expect("the component opens"))
    });
    rig
}

/// ISO-1, DEL-1: in the sandbox, each sin costs the record that asked for it and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sin_of_a_sandboxed_component_costs_its_own_record_only() {
    const SINS: [&str; 10] =
        ["trap", "spin", "grow", "refuse", "retry", "fatal", "fail-batch", "lie-ends", "lie-index", "lie-both"];
    let folder = tempfile::tempdir().expect("a folder");
    let rig = sandboxed(folder.path());
    let [sinner, innocent]: [ShardId; 2] = rig.shards().try_into().expect("two shards");
    let mut wanted = BTreeSet::new();
    for (number, sin) in SINS.iter().enumerate() {
        for place in 0..3 {
            let text = format!("honest {number} {place}");
            rig.stream.put_to(&sinner, "key", text.as_bytes());
            wanted.insert(text);
        }
        rig.stream.put_to(&sinner, "key", sin.as_bytes());
        let text = format!("innocent {number}");
        rig.stream.put_to(&innocent, "key", text.as_bytes());
        wanted.insert(text);
    }
    let totals = rig.catch_up().await.expect_success();
    let elements = rig.elements();
    assert_eq!(elements.iter().cloned().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(elements.len(), wanted.len(), "nothing twice");
    let honest = elements.iter().filter(|text| text.starts_with("honest"));
    assert!(honest.is_sorted(), "{elements:?}");
    assert_eq!(totals.skipped.get(), SINS.len() as u64);
    assert!(totals.restarts.get() > 0);
}

/// ISO-1: an endless loop is ended by its budget, and a stop does not wait for it longer than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_the_sandbox_stops_its_own_run_with_a_typed_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = sandboxed(folder.path());
    rig.manifest.on_error.poison = PoisonPolicy::Fail;
    let shard = rig.shards()[0].clone();
    rig.stream.put_to(&shard, "key", b"honest");
    rig.stream.put_to(&shard, "key", b"spin");
    let failure = rig.catch_up().await.expect_failure();
    assert!(matches!(failure, Failure::Poison { .. }), "{failure}");
    assert!(failure.to_string().contains("limits.cpu_per_batch"), "{failure}");
    assert_eq!(rig.elements(), ["honest"]);
    assert_eq!(rig.durable()[&shard], after(&rig, 0));
}
