#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::kinesis::{self, ElementConverter};
use crate::testing::{EntryOutcome, KinesisConverterInstance, TestElement};
use crate::{Class, Config, Element};

/// Does what each element says, word by word.
struct Script;

impl ElementConverter for Script {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Entries<'_>) -> Result<(), Error> {
        for word in str::from_utf8(element.payload()).unwrap().split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("push", data) => out.push(data.as_bytes()),
                ("put", key) => out.put(key, b"put"),
                ("hash", key) => out.entry().hash_key(key.parse().unwrap()).push(b"hash"),
                ("both", key) => out.entry().partition_key(key).hash_key(7).push(b"both"),
                ("half", bytes) => {
                    let failed = out.entry().partition_key("lost").try_write(|column| {
                        column.extend_from_slice(bytes.as_bytes());
                        Err("half")
                    });
                    assert_eq!(failed, Err("half"));
                }
                ("shrink", _) => out.entry().write(|column| column.truncate(column.len() - 1)),
                ("drop", key) => drop(out.entry().partition_key(key)),
                ("time", _) => out.push(element.event_time().to_string().as_bytes()),
                ("route", _) => out.push(element.route().unwrap_or("everywhere").as_bytes()),
                ("poison", _) => return Err(Error::poison("asked", "as asked")),
                ("retry", _) => return Err(Error::retryable("asked", "as asked")),
                ("fatal", _) => return Err(Error::fatal("asked", "as asked")),
                (other, _) => panic!("unknown word {other}"),
            }
        }
        Ok(())
    }
}

fn elements(scripts: &[&str]) -> Vec<TestElement> {
    (0..).zip(scripts).map(|(index, script): (u32, _)| TestElement::new(*script).key(format!("k{index}"))).collect()
}

fn run(scripts: &[&str]) -> EntryOutcome {
    KinesisConverterInstance::<Script>::open([]).unwrap().convert(&elements(scripts))
}

/// The columns themselves.
fn pack(scripts: &[&str]) -> Result<EntryBatch, Error> {
    kinesis::convert(&mut Script, &crate::testing::element_batch(&elements(scripts)))
}

fn seen(outcome: &EntryOutcome) -> Vec<(usize, &str, Option<u128>, &str)> {
    let entries = outcome.entries.iter();
    entries
        .map(|entry| (entry.input, entry.partition_key.as_str(), entry.hash_key, str::from_utf8(&entry.data).unwrap()))
        .collect()
}

#[test]
fn an_element_that_fails_leaves_nothing_of_its_entries() {
    let scripts = ["push=a", "both=r push=lost poison", "push=b"];
    let outcome = run(&scripts);
    assert_eq!(seen(&outcome), [(0, "k0", None, "a"), (2, "k2", None, "b")]);
    assert_eq!(outcome.errors, [(1, Error::poison("asked", "as asked"))]);

    let packed = pack(&scripts).unwrap();
    assert_eq!((packed.data.bytes.as_slice(), packed.data.ends), (&b"ab"[..], vec![1, 2]));
    assert_eq!(packed.input_index, [0, 2]);
    assert_eq!((packed.partition_key.ends.len(), packed.partition_key.bytes.len()), (0, 0));
    assert_eq!((packed.explicit_hash_key.ends.len(), packed.explicit_hash_key.bytes.len()), (0, 0));
}

#[test]
fn a_rollback_keeps_the_keys_of_earlier_elements() {
    let outcome = run(&["both=kept", "put=x hash=9 both=lost fatal", "both=late"]);
    assert_eq!(seen(&outcome), [(0, "kept", Some(7), "both"), (2, "late", Some(7), "both")]);
}

#[test]
fn a_key_set_for_one_entry_changes_no_other() {
    let outcome = run(&["push=a", "put=p hash=340282366920938463463374607431768211455", "push=z"]);
    let all = [(0, "k0", None, "a"), (1, "p", None, "put"), (1, "k1", Some(u128::MAX), "hash"), (2, "k2", None, "z")];
    assert_eq!(seen(&outcome), all);
    let packed = pack(&["push=a", "put=p hash=1", "push=z"]).unwrap();
    assert_eq!((packed.partition_key.ends.len(), packed.explicit_hash_key.ends.len()), (4, 4));
}

#[test]
fn columns_that_nobody_set_stay_empty_and_one_entry_each_needs_no_index() {
    let packed = pack(&["push=a", "push=b"]).unwrap();
    assert!(packed.partition_key.ends.is_empty() && packed.explicit_hash_key.ends.is_empty());
    assert_eq!(packed.input_index, []);
    assert_eq!(pack(&["", "push=a push=b"]).unwrap().input_index, [1, 1]);
    assert_eq!(pack(&["push=a", "poison"]).unwrap().input_index, [0]);
}

#[test]
fn each_class_of_error_becomes_the_error_of_its_element() {
    let classes: Vec<_> = run(&["poison", "retry", "fatal"]).errors.iter().map(|(i, e)| (*i, e.class())).collect();
    assert_eq!(classes, [(0, Class::Poison), (1, Class::Retryable), (2, Class::Fatal)]);
}

#[test]
fn a_partition_key_that_the_service_refuses_fails_its_element() {
    let most = "ä".repeat(256);
    let outcome = run(&[&format!("put={most}"), &format!("push=lost put={most}ä"), "put=", "push=b"]);
    assert_eq!(seen(&outcome), [(0, most.as_str(), None, "put"), (3, "k3", None, "b")]);
    let codes: Vec<_> = outcome.errors.iter().map(|(input, error)| (*input, error.code())).collect();
    assert_eq!(codes, [(1, "invalid-partition-key"), (2, "invalid-partition-key")]);
    assert_eq!(outcome.errors[0].1.message(), "a partition key has 1 to 256 characters, not 257");
}

#[test]
fn an_entry_that_is_dropped_or_fails_to_be_written_leaves_nothing() {
    let outcome = run(&["push=a half=xyz drop=k push=b"]);
    assert_eq!(seen(&outcome), [(0, "k0", None, "a"), (0, "k0", None, "b")]);
}

#[test]
fn taking_away_the_data_of_another_element_fails_the_batch_and_its_own_the_element() {
    let error = pack(&["push=a", "shrink"]).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Fatal, "payload-shrunk"));
    let outcome = run(&["push=a", "push=b shrink push=c", "push=d"]);
    assert_eq!(seen(&outcome), [(0, "k0", None, "a"), (2, "k2", None, "d")]);
    assert_eq!(outcome.errors[0].1.code(), "payload-shrunk");
}

#[test]
fn an_element_tells_its_time_and_its_route() {
    let elements = [
        TestElement::new("time route").event_time(-5),
        TestElement::new("route").route("b"),
        TestElement::new("route").route("a"),
        TestElement::new("route").route("b"),
    ];
    let outcome = KinesisConverterInstance::<Script>::open([]).unwrap().convert(&elements);
    let data: Vec<_> = seen(&outcome).into_iter().map(|(_, _, _, data)| data.to_owned()).collect();
    assert_eq!(data, ["-5", "everywhere", "b", "a", "b"]);
}
