//! ISO-1: a component that loops, grows, traps, floods or lies stops itself only. Plus what the example components do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use host::columns::RecordColumns;
use host::component::{
    ComponentError, ComponentMetrics, ConfigValue, Delivery, Deserialized, ElementFormat, Engine, ErrorClass, Grants,
    KinesisDeserializer, Limits, LoadError, Loaded, OpenContext, Origin, Role, ShardContext, Violation, Wasi,
};
use host_core::moment::EpochMillis;
use tests::component;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("this machine runs components"));

const TIME: EpochMillis = EpochMillis(1_517_443_200_000);

/// Limits that are never reached by accident on a slow machine.
fn patient() -> Limits {
    Limits { cpu_per_batch: Duration::from_secs(120), wall_per_batch: Duration::from_secs(120), ..Limits::default() }
}

/// Kept, so that each example is compiled once for all tests.
fn load(name: &'static str) -> Loaded {
    static LOADED: Mutex<BTreeMap<&str, Loaded>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().expect("an example that does not load fails every test");
    let load = || {
        host::component::load(&ENGINE, None, &component(name), &Grants::default(), Role::KinesisDeserializer)
            .expect("the example fits its world")
    };
    loaded.entry(name).or_insert_with(load).clone()
}

fn context(config: &[(&str, ConfigValue)]) -> OpenContext {
    OpenContext {
        tenant: "seismology".into(),
        pipeline: "earthquakes".into(),
        stage: "deserializer".into(),
        subtask: 0,
        parallelism: 1,
        config: config.iter().map(|(key, value)| ((*key).into(), value.clone())).collect(),
        shadow: false,
    }
}

fn try_open(
    name: &'static str,
    config: &[(&str, ConfigValue)],
    limits: Limits,
) -> Result<KinesisDeserializer, ComponentError> {
    KinesisDeserializer::open(&load(name), context(config), limits, Arc::new(ComponentMetrics::default()), TIME)
}

fn open(name: &'static str, limits: Limits) -> KinesisDeserializer {
    try_open(name, &[], limits).expect("it opens")
}

fn records(data: &[&[u8]]) -> RecordColumns {
    let mut records = RecordColumns::default();
    for (index, data) in data.iter().enumerate() {
        records.sequence_number.push(format!("{}", 49_500_000_000_u64 + index as u64).as_bytes());
        records.arrival.push(TIME.0);
        records.partition_key.push(b"key");
        records.data.push(data);
    }
    records
}

fn call(deserializer: &mut KinesisDeserializer, data: &[&[u8]]) -> Result<Deserialized, ComponentError> {
    let shard = ShardContext {
        stream_arn: "arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes".into(),
        shard_id: "shardId-000000000000".into(),
        millis_behind_latest: Some(0),
    };
    deserializer.deserialize(&shard, &records(data), Delivery { attempt: 1, time: TIME })
}

fn payloads(batch: &Deserialized) -> Vec<&[u8]> {
    batch.elements.payload.iter().collect()
}

/// The batch after a failure works, in a fresh instance.
fn works_again(deserializer: &mut KinesisDeserializer, instances: u32) {
    let batch = call(deserializer, &[b"one", b"two"]).expect("a fresh instance does its work");
    assert_eq!(payloads(&batch), [b"one".as_slice(), b"two"]);
    assert_eq!(deserializer.instances(), instances);
}

#[test]
fn every_example_fits_its_world_and_opens() {
    for name in ["passthrough", "earthquakes", "projection", "faulty"] {
        let opened = open(name, patient());
        assert_eq!(opened.instances(), 1, "{name}");
        opened.close(TIME);
    }
    assert_eq!(open("earthquakes", patient()).produced().format, ElementFormat::Json);
}

#[test]
fn passthrough_gives_every_record_back_with_its_origin() {
    let mut deserializer = open("passthrough", patient());
    let batch = call(&mut deserializer, &[b"a", b"", b"ccc"]).expect("it passes through");
    assert_eq!(payloads(&batch), [b"a".as_slice(), b"", b"ccc"]);
    assert_eq!(batch.input_index, [0, 1, 2], "the identity is filled in");
    assert!(batch.errors.is_empty());
}

#[test]
fn earthquakes_keeps_strong_events_with_their_time_and_key_and_refuses_the_rest() {
    let feed = include_str!("../../data/earthquakes.ndjson");
    let first = feed.lines().next().expect("the feed has events");
    let mut deserializer = open("earthquakes", patient());
    let batch = call(&mut deserializer, &[first.as_bytes(), b"not json"]).expect("errors are of records");
    assert_eq!(batch.input_index, [0]);
    assert_eq!(batch.elements.event_time, [1_517_363_399_650]);
    assert_eq!(batch.elements.key.get(0), b"uw61345682");
    let element: serde_json::Value = serde_json::from_slice(batch.elements.payload.get(0)).expect("JSON");
    assert_eq!(element["magnitude"], 0.31);
    assert_eq!(element["place"], "37km NNE of Amboy, Washington");
    let [error] = &*batch.errors else { panic!("one error: {:?}", batch.errors) };
    assert_eq!((error.input_index, error.error.class), (1, ErrorClass::Poison));

    let config = [("minimum_magnitude", ConfigValue::Float(2.5))];
    let mut strict = try_open("earthquakes", &config, patient()).expect("it opens");
    let batch = call(&mut strict, &[first.as_bytes()]).expect("it filters");
    assert_eq!(batch, Deserialized::default(), "a weak event is filtered");
}

#[test]
fn the_whole_feed_is_deserialized_or_filtered_without_an_error() {
    let feed = include_str!("../../data/earthquakes.ndjson");
    let lines: Vec<_> = feed.lines().map(str::as_bytes).collect();
    let mut deserializer = open("earthquakes", patient());
    let (mut elements, mut errors) = (0, 0);
    for chunk in lines.chunks(150) {
        let batch = call(&mut deserializer, chunk).expect("real data");
        elements += batch.elements.payload.len();
        errors += batch.errors.len();
    }
    assert_eq!(errors, 0);
    assert!(elements > 1_600, "{elements} of {} events have a magnitude above zero", lines.len());
    assert_eq!(deserializer.instances(), 1);
}

/// ISO-1: a trap ends the instance, and nothing else.
#[test]
fn a_trap_is_named_and_the_next_batch_runs_in_a_fresh_instance() {
    let mut deserializer = open("faulty", patient());
    let error = call(&mut deserializer, &[b"trap"]).expect_err("it traps");
    assert!(
        matches!(&error, ComponentError::Trapped { during: "deserialize", reason, .. } if reason.contains("unreachable")),
        "{error}"
    );
    assert!(!error.to_string().contains('\n') && error.is_components_fault());
    works_again(&mut deserializer, 2);
}

/// ISO-1: a loop is stopped from outside.
#[test]
fn an_endless_loop_is_stopped_by_the_cpu_budget_or_by_the_clock() {
    let budget = Duration::from_millis(10);
    let mut deserializer = open("faulty", Limits { cpu_per_batch: budget, ..patient() });
    let error = call(&mut deserializer, &[b"spin"]).expect_err("it loops");
    assert!(matches!(error, ComponentError::CpuBudgetExceeded { budget: spent, .. } if spent == budget), "{error}");
    let mut deserializer = open("faulty", Limits { wall_per_batch: budget, ..patient() });
    let error = call(&mut deserializer, &[b"spin"]).expect_err("it loops");
    assert!(matches!(error, ComponentError::TimedOut { .. }), "{error}");
    works_again_slowly(deserializer);
}

/// With a budget this small a good batch may run into it too: only the fresh instance is claimed.
fn works_again_slowly(mut deserializer: KinesisDeserializer) {
    for _ in 0..100 {
        if call(&mut deserializer, &[b"one"]).is_ok() {
            return;
        }
    }
    panic!("no batch of one record was done within its budget");
}

/// ISO-1, LIM-1: memory is bounded, and running out of it has a name.
#[test]
fn growing_for_ever_is_out_of_memory_not_a_mystery() {
    let mut deserializer = open("faulty", Limits { memory: 8 << 20, ..patient() });
    let error = call(&mut deserializer, &[b"grow"]).expect_err("it grows");
    assert!(matches!(error, ComponentError::OutOfMemory { limit, .. } if limit == 8 << 20), "{error}");
    works_again(&mut deserializer, 2);
}

#[test]
fn a_component_that_does_not_fit_its_memory_cannot_even_start() {
    let error = try_open("passthrough", &[], Limits { memory: 64 << 10, ..patient() }).expect_err("too little");
    assert!(matches!(error, ComponentError::OutOfMemory { during: "start", .. }), "{error}");
}

/// ISO-1, LIM-1: output is bounded before it is held.
#[test]
fn output_beyond_the_limit_is_refused_before_the_host_holds_it() {
    let mut deserializer = open("faulty", patient());
    let error = call(&mut deserializer, &[b"flood"]).expect_err("8 MiB of a few bytes");
    assert!(matches!(error, ComponentError::OutputTooLarge { limit, .. } if limit == 1 << 20), "{error}");
    works_again(&mut deserializer, 2);
    let mut tight = open("passthrough", Limits { output_floor: 0, output_cap: 1_000, ..patient() });
    let error = call(&mut tight, &[&[b'x'; 2_000]]).expect_err("the cap holds whatever the ratio says");
    assert!(matches!(error, ComponentError::OutputTooLarge { limit: 1_000, .. }), "{error}");
}

/// ISO-1: a flood of log lines drowns nobody.
#[test]
fn a_flood_of_log_lines_is_dropped_and_the_record_passes() {
    let mut deserializer = open("faulty", patient());
    let batch = call(&mut deserializer, &[b"log-flood"]).expect("logging is no sin of the record");
    assert_eq!(payloads(&batch), [b"log-flood"]);
}

#[test]
fn errors_of_records_keep_their_class_and_the_instance() {
    let mut deserializer = open("faulty", patient());
    let batch = call(&mut deserializer, &[b"a", b"refuse", b"retry", b"b"]).expect("errors are of records");
    assert_eq!(payloads(&batch), [b"a".as_slice(), b"b"]);
    assert_eq!(batch.input_index, [0, 3]);
    let errors: Vec<_> = batch.errors.iter().map(|error| (error.input_index, error.error.class)).collect();
    assert_eq!(errors, [(1, ErrorClass::Poison), (2, ErrorClass::Retryable)]);
    works_again(&mut deserializer, 1);
}

#[test]
fn a_refused_batch_keeps_the_instance_and_a_fatal_one_does_not() {
    let mut deserializer = open("faulty", patient());
    let error = call(&mut deserializer, &[b"fail-batch"]).expect_err("refused");
    assert!(matches!(&error, ComponentError::Refused { error, .. } if error.code == "batch-refused"), "{error}");
    works_again(&mut deserializer, 1);
    let error = call(&mut deserializer, &[b"good", b"fatal"]).expect_err("a record's fatal error is the batch's");
    assert!(matches!(&error, ComponentError::Refused { error, .. } if error.class == ErrorClass::Fatal), "{error}");
    works_again(&mut deserializer, 2);
}

/// ISO-1: what a component returns is checked before it is used.
#[test]
fn every_lie_is_a_violation_of_its_own_kind() {
    type Expected = fn(&Violation) -> bool;
    let lies: [(&str, Expected); 11] = [
        ("lie-ends", |violation| matches!(violation, Violation::EndsDecrease { column: "payload", .. })),
        ("lie-last-end", |violation| matches!(violation, Violation::EndsMissBytes { column: "payload", .. })),
        ("lie-index", |violation| matches!(violation, Violation::InputIndexRange { .. })),
        ("lie-order", |violation| matches!(violation, Violation::InputIndexDecreases { .. })),
        ("lie-both", |violation| matches!(violation, Violation::OutputAndError { .. })),
        ("lie-error-index", |violation| matches!(violation, Violation::ErrorRange { .. })),
        ("lie-routes", |violation| matches!(violation, Violation::TooManyRoutes { found: 257 })),
        ("lie-route", |violation| matches!(violation, Violation::UnknownRoute { .. })),
        ("lie-times", |violation| matches!(violation, Violation::Length { column: "event-time", .. })),
        ("lie-keys", |violation| matches!(violation, Violation::Length { column: "key", .. })),
        ("lie-identity", |violation| matches!(violation, Violation::NoInputIndex { .. })),
    ];
    let mut deserializer = open("faulty", patient());
    for (instances, (lie, expected)) in (2..).zip(lies) {
        match call(&mut deserializer, &[b"honest", lie.as_bytes()]) {
            Err(ComponentError::Violation(violation)) => assert!(expected(&violation), "{lie}: {violation}"),
            other => panic!("{lie} was believed: {other:?}"),
        }
        works_again(&mut deserializer, instances);
    }
}

#[test]
fn opening_is_refused_trapped_or_stopped_with_an_error_of_its_own() {
    let with = |sin: &str| try_open("faulty", &[("open", ConfigValue::Text(sin.into()))], patient()).expect_err(sin);
    let refused = with("refuse");
    assert!(matches!(&refused, ComponentError::Refused { during: "open", error } if error.class == ErrorClass::Poison));
    let retry = with("retry");
    assert!(
        matches!(&retry, ComponentError::Refused { during: "open", error } if error.class == ErrorClass::Retryable)
    );
    assert!(matches!(with("trap"), ComponentError::Trapped { during: "open", .. }));
    assert!(matches!(with("spin"), ComponentError::CpuBudgetExceeded { during: "open", .. }));
}

/// ISO-1: another instance does not notice.
#[test]
fn one_components_sins_do_not_touch_another_instance_of_it() {
    let mut good = open("faulty", patient());
    works_again(&mut good, 1);
    for sin in [b"trap".as_slice(), b"lie-ends"] {
        let mut bad = open("faulty", patient());
        call(&mut bad, &[sin]).expect_err("it sins");
        works_again(&mut good, 1);
    }
    std::thread::scope(|scope| {
        let bad = scope.spawn(|| {
            let mut bad = open("faulty", Limits { cpu_per_batch: Duration::from_millis(100), ..patient() });
            call(&mut bad, &[b"spin"]).expect_err("it loops")
        });
        for _ in 0..100 {
            works_again(&mut good, 1);
        }
        assert!(matches!(bad.join().expect("no panic"), ComponentError::CpuBudgetExceeded { .. }));
    });
}

#[test]
fn the_next_process_finds_the_code_in_the_cache() {
    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("cache");
    let origin = || {
        let engine = Engine::new().expect("this machine runs components");
        let path = component("passthrough");
        let loaded = host::component::load(&engine, Some(&cache), &path, &Grants::default(), Role::KinesisDeserializer)
            .expect("it loads");
        let mut opened =
            KinesisDeserializer::open(&loaded, context(&[]), patient(), Arc::default(), TIME).expect("it opens");
        works_again(&mut opened, 1);
        loaded.origin()
    };
    assert_eq!(origin(), Origin::Compiled);
    assert_eq!(origin(), Origin::Cached);
    let file = std::fs::read_dir(&cache).expect("readable").next().expect("one file").expect("readable").path();
    let code = std::fs::read(&file).expect("readable");
    std::fs::write(&file, &code[..code.len() - 1]).expect("writable");
    assert_eq!(origin(), Origin::Compiled, "a damaged file is compiled again");
    assert_eq!(origin(), Origin::Cached);
}

#[test]
fn without_wasi_the_imports_that_were_not_granted_are_listed() {
    let grants = Grants { wasi: Wasi::None };
    let error = host::component::load(&ENGINE, None, &component("passthrough"), &grants, Role::KinesisDeserializer)
        .expect_err("built for WASI");
    let LoadError::NotGranted { imports, advice, .. } = &error else { panic!("{error}") };
    assert!(imports.iter().all(|import| import.starts_with("wasi:")), "{imports:?}");
    assert!(advice.contains("inert"), "{advice}");
}

#[test]
fn a_deserializer_is_no_assigner_and_the_error_says_what_it_is() {
    let path = component("passthrough");
    let error =
        host::component::load(&ENGINE, None, &path, &Grants::default(), Role::ShardAssigner).expect_err("another role");
    let text = error.to_string();
    assert!(matches!(error, LoadError::WrongRole { .. }), "{text}");
    assert!(text.contains("shard-assigner@0.1.0") && text.contains("it is a kinesis-deserializer"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("no/such.wasm");
    let error = host::component::load(&ENGINE, None, path, &Grants::default(), Role::KinesisDeserializer)
        .expect_err("not there");
    assert!(error.to_string().contains("no/such.wasm"), "{error}");
}

#[test]
fn inspection_tells_roles_imports_tools_and_what_can_be_touched() {
    let report = host::component::inspect::inspect(&component("earthquakes")).expect("a component");
    assert_eq!(report.roles, [Role::KinesisDeserializer]);
    assert!(report.imports.other.is_empty() && report.touches.refused.is_empty());
    assert!(!report.touches.network);
    assert!(report.producers.values().flatten().any(|tool| tool.contains("wit-bindgen")), "{:?}", report.producers);
    let text = report.to_string();
    assert!(text.contains("kinesis-deserializer") && text.contains(&report.digest.to_string()), "{text}");
    let json = serde_json::to_value(&report).expect("it serializes");
    assert_eq!(json["roles"][0], "kinesis-deserializer");
}
