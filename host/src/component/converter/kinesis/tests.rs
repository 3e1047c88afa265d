use super::*;
use crate::columns::Column;
use crate::component::deserializer::RecordError;
use crate::component::error::{ErrorClass, GuestError};

fn elements(keys: &[&[u8]]) -> ElementBatch {
    let mut batch = ElementBatch { event_time: vec![0; keys.len()], ..ElementBatch::default() };
    for key in keys {
        batch.key.push(key);
        batch.payload.push(b"");
    }
    batch
}

fn column(values: &[&[u8]]) -> Column {
    let mut column = Column::default();
    for value in values {
        column.push(value);
    }
    column
}

fn entry(key: &str, hash_key: Option<u128>, data: &[u8]) -> KinesisEntry {
    KinesisEntry { partition_key: key.to_owned(), explicit_hash_key: hash_key, data: data.to_vec() }
}

#[test]
fn entries_without_keys_take_those_of_their_elements() {
    let answer =
        KinesisEntries { input_index: vec![0, 0, 2], data: column(&[b"1", b"2", b"3"]), ..KinesisEntries::default() };
    let converted = accept(answer, &elements(&[b"a", b"b", b"c"]), &Limits::default()).expect("it keeps the rules");
    assert_eq!(converted.input_index, [0, 0, 2]);
    let expected = vec![entry("a", None, b"1"), entry("a", None, b"2"), entry("c", None, b"3")];
    assert_eq!(converted.entries, Entries::Kinesis(expected));
}

#[test]
fn entries_without_origins_are_the_elements_one_by_one() {
    let answer = KinesisEntries {
        partition_key: column(&[b"x", b"y"]),
        explicit_hash_key: column(&[b"", b"007"]),
        data: column(&[b"1", b"2"]),
        ..KinesisEntries::default()
    };
    let converted = accept(answer, &elements(&[b"a", b"b"]), &Limits::default()).expect("it keeps the rules");
    assert_eq!(converted.input_index, [0, 1]);
    assert_eq!(converted.entries, Entries::Kinesis(vec![entry("x", None, b"1"), entry("y", Some(7), b"2")]));
}

#[test]
fn a_value_that_no_stream_takes_is_an_error_of_its_element() {
    let told = GuestError { class: ErrorClass::Retryable, code: "later".into(), message: String::new() };
    let answer = KinesisEntries {
        input_index: vec![0, 1, 1, 2, 4, 5],
        partition_key: column(&[b"", b"x", b"y", b"\xff", b"z", &[b'k'; 257]]),
        explicit_hash_key: column(&[b"", b"", b"-1", b"", b"", b""]),
        data: column(&[b"0", b"1", b"2", b"3", b"4", b"5"]),
        errors: vec![RecordError { input_index: 3, error: told }],
    };
    let converted = accept(answer, &elements(&[b"k".as_slice(); 6]), &Limits::default()).expect("it keeps the rules");
    assert_eq!(converted.entries, Entries::Kinesis(vec![entry("z", None, b"4")]));
    assert_eq!(converted.input_index, [4]);
    let errors: Vec<_> = converted.errors.iter().map(|error| (error.input_index, error.error.code.as_str())).collect();
    let expected = [
        (0, "invalid-partition-key"),
        (1, "invalid-hash-key"),
        (2, "invalid-partition-key"),
        (3, "later"),
        (5, "invalid-partition-key"),
    ];
    assert_eq!(errors, expected);
}

#[test]
fn a_key_that_an_entry_takes_of_its_element_is_a_partition_key_too() {
    let answer = KinesisEntries { data: column(&[b"1", b"2", b"3"]), ..KinesisEntries::default() };
    let converted = accept(answer, &elements(&[b"", b"b", b"\xff"]), &Limits::default()).expect("it keeps the rules");
    assert_eq!(converted.input_index, [1]);
    assert_eq!(converted.errors.iter().map(|error| error.input_index).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_fatal_error_of_one_element_is_one_of_the_whole_batch() {
    let told = GuestError { class: ErrorClass::Fatal, code: "broken".into(), message: String::new() };
    let answer = KinesisEntries {
        input_index: vec![0],
        data: column(&[b"0"]),
        errors: vec![RecordError { input_index: 1, error: told }],
        ..KinesisEntries::default()
    };
    let error =
        accept(answer, &elements(&[b"k".as_slice(); 2]), &Limits::default()).expect_err("the instance is suspect");
    assert!(matches!(&error, ComponentError::Refused { during: "convert", .. }), "{error}");
    assert!(!error.leaves_the_instance_usable());
}
