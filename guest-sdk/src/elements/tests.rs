#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::testing::{Instance, Outcome, TestRecord};
use crate::{Class, Config, Record, kinesis};

/// Does what each record says, word by word.
struct Script;

impl kinesis::Deserializer for Script {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        for word in str::from_utf8(record.data()).unwrap().split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("emit", payload) => out.push(payload.as_bytes()),
                ("at", time) => out.element().event_time(time.parse().unwrap()).push(b"at"),
                ("key", key) => out.element().key(key).push(b"key"),
                ("route", name) => out.element().route(name).push(b"route"),
                ("all", name) => out.element().route(name).key(name).event_time(9).push(b"all"),
                ("half", bytes) => {
                    let failed = out.try_write(|column| {
                        column.extend_from_slice(bytes.as_bytes());
                        Err("half")
                    });
                    assert_eq!(failed, Err("half"));
                }
                ("shrink", _) => out.write(|column| column.truncate(column.len() - 1)),
                ("drop", key) => drop(out.element().key(key)),
                ("poison", _) => return Err(Error::poison("asked", "as asked")),
                ("retry", _) => return Err(Error::retryable("asked", "as asked")),
                ("fatal", _) => return Err(Error::fatal("asked", "as asked")),
                (other, _) => panic!("unknown word {other}"),
            }
        }
        Ok(())
    }
}

fn run(scripts: &[&str]) -> Outcome {
    let records: Vec<_> = (100..)
        .zip(scripts)
        .map(|(time, script)| TestRecord::new(*script).partition_key(format!("p{time}")).arrival_ms(time))
        .collect();
    Instance::<Script>::open([]).unwrap().deserialize(&records)
}

/// The columns themselves.
fn pack(scripts: &[&str]) -> Result<Deserialized, Error> {
    let mut data = column([]);
    let mut keys = column([]);
    for script in scripts {
        append(&mut data, script.as_bytes());
        append(&mut keys, b"pk");
    }
    let batch = crate::bindings::kinesis::sluicebox::pipeline::kinesis_source::RecordBatch {
        shard: crate::bindings::kinesis::sluicebox::pipeline::kinesis_source::ShardContext {
            stream_arn: String::new(),
            shard_id: String::new(),
            millis_behind_latest: None,
        },
        attempt: 1,
        sequence_number: column(scripts.iter().map(|_| b"1".as_slice())),
        sub_sequence: Vec::new(),
        approximate_arrival: vec![5; scripts.len()],
        partition_key: keys,
        explicit_hash_key: column([]),
        encryption: Vec::new(),
        data,
    };
    kinesis::deserialize(&mut Script, &batch)
}

fn column<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> BytesColumn {
    let mut column = BytesColumn { ends: Vec::new(), bytes: Vec::new() };
    values.into_iter().for_each(|value| append(&mut column, value));
    column
}

fn payloads(outcome: &Outcome) -> Vec<(usize, &str)> {
    outcome.elements.iter().map(|element| (element.input, str::from_utf8(&element.payload).unwrap())).collect()
}

#[test]
fn a_record_that_fails_leaves_nothing_of_what_it_emitted() {
    let outcome = run(&["emit=a", "all=r emit=lost poison", "emit=b"]);
    assert_eq!(payloads(&outcome), [(0, "a"), (2, "b")]);
    assert_eq!(outcome.errors, [(1, Error::poison("asked", "as asked"))]);

    let packed = pack(&["emit=a", "all=r emit=lost poison", "emit=b"]).unwrap();
    assert_eq!(packed.elements.payload.bytes, b"ab");
    assert_eq!(packed.elements.payload.ends, [1, 2]);
    assert_eq!(packed.input_index, [0, 2]);
    assert!(packed.elements.event_time.is_empty());
    assert!(packed.elements.key.ends.is_empty() && packed.elements.key.bytes.is_empty());
    assert!(packed.elements.route.is_empty() && packed.elements.routes.is_empty());
}

#[test]
fn a_rollback_keeps_the_optional_columns_of_earlier_records() {
    let outcome = run(&["all=kept", "emit=x all=lost all=kept fatal", "all=late"]);
    let seen: Vec<_> = outcome
        .elements
        .iter()
        .map(|element| (element.input, element.key.as_slice(), element.event_time, element.route.as_deref()))
        .collect();
    assert_eq!(seen, [(0, b"kept".as_slice(), 9, Some("kept")), (2, b"late", 9, Some("late"))]);
}

#[test]
fn each_class_of_error_becomes_the_error_of_its_record() {
    let outcome = run(&["poison", "retry", "fatal"]);
    let classes: Vec<_> = outcome.errors.iter().map(|(input, error)| (*input, error.class())).collect();
    assert_eq!(classes, [(0, Class::Poison), (1, Class::Retryable), (2, Class::Fatal)]);
}

#[test]
fn a_record_that_emits_nothing_is_filtered() {
    let outcome = run(&["", "emit=a", ""]);
    assert_eq!(payloads(&outcome), [(1, "a")]);
    assert_eq!(outcome.errors, []);
}

#[test]
fn one_element_for_each_record_and_no_error_needs_no_input_index() {
    assert_eq!(pack(&["emit=a", "emit=b"]).unwrap().input_index, []);
    assert_eq!(pack(&["", "emit=a emit=b"]).unwrap().input_index, [1, 1]);
    assert_eq!(pack(&["poison", "emit=a emit=b"]).unwrap().input_index, [1, 1]);
    assert_eq!(pack(&["emit=a", "poison"]).unwrap().input_index, [0]);
}

#[test]
fn columns_that_nobody_set_stay_empty() {
    let elements = pack(&["emit=a", "emit=b"]).unwrap().elements;
    assert!(elements.event_time.is_empty() && elements.key.ends.is_empty() && elements.route.is_empty());
    assert!(elements.routes.is_empty());
}

#[test]
fn a_column_set_for_one_element_changes_no_other() {
    let outcome = run(&["emit=a", "at=7", "key=k", "route=r", "emit=z"]);
    let seen: Vec<_> = outcome
        .elements
        .iter()
        .map(|element| (str::from_utf8(&element.key).unwrap(), element.event_time, element.route.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [("p100", 100, None), ("p101", 7, None), ("k", 102, None), ("p103", 103, Some("r")), ("p104", 104, None)]
    );
    let elements = pack(&["emit=a", "at=7 key=k route=r", "emit=z"]).unwrap().elements;
    assert_eq!((elements.event_time.len(), elements.key.ends.len(), elements.route.len()), (5, 5, 5));
}

#[test]
fn an_element_that_is_dropped_leaves_nothing() {
    let elements = pack(&["drop=k emit=a"]).unwrap().elements;
    assert_eq!((elements.payload.ends, elements.key.ends), (vec![1], vec![]));
}

#[test]
fn a_failed_write_takes_only_its_own_element_back() {
    let outcome = run(&["emit=a half=xyz emit=b"]);
    assert_eq!(payloads(&outcome), [(0, "a"), (0, "b")]);
}

#[test]
fn taking_away_the_payload_of_another_record_fails_the_batch() {
    let error = pack(&["emit=a", "shrink"]).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Fatal, "payload-shrunk"));
}

#[test]
fn taking_away_a_payload_of_its_own_fails_the_record() {
    let outcome = run(&["emit=a", "emit=b shrink emit=c", "emit=d"]);
    assert_eq!(payloads(&outcome), [(0, "a"), (2, "d")]);
    assert_eq!(outcome.errors[0].1.code(), "payload-shrunk");
}

#[test]
fn a_route_too_many_or_too_long_fails_its_record() {
    let fits: String = (0..ROUTES_MAX).map(|index| format!("route=r{index} ")).collect();
    let outcome = run(&[&fits, "route=one-more", "route=r0"]);
    assert_eq!(outcome.elements.len(), ROUTES_MAX + 1);
    assert_eq!(outcome.errors.len(), 1);
    assert_eq!(outcome.errors[0].1.code(), "too-many-routes");

    let outcome = run(&[&format!("route={}", "x".repeat(65))]);
    assert_eq!(outcome.errors[0].1.code(), "invalid-route");
}
