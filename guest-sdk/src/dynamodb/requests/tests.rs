#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use crate::dynamodb::{self, ElementConverter, Number, Value};
use crate::testing::{DynamodbConverterInstance, RequestOutcome, TestElement, element_batch};
use crate::{Config, Element};

/// Does what each element says, word by word.
struct Script;

impl ElementConverter for Script {
    fn open(_config: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Requests) -> Result<(), Error> {
        for word in str::from_utf8(element.payload()).unwrap().split_whitespace() {
            match word.split_once('=').unwrap_or((word, "")) {
                ("put", id) => out.put(&Item::new().with("id", id).with("all", everything())),
                ("delete", id) => out.delete(&Item::new().with("id", id)),
                ("add", id) => out.add(&Item::new().with("id", id).with("count", 1)),
                ("nothing", _) => out.put(&Item::new()),
                ("empty-set", _) => out.put(&Item::new().with("id", 1).with("set", Value::texts([""; 0]))),
                ("deep", levels) => out.put(&Item::new().with("id", deep(levels.parse().unwrap()))),
                ("name", length) => out.put(&Item::new().with("x".repeat(length.parse().unwrap()), true)),
                ("poison", _) => return Err(Error::poison("asked", "as asked")),
                (other, _) => panic!("unknown word {other}"),
            }
        }
        Ok(())
    }
}

/// A value whose innermost one lies at this level.
fn deep(levels: usize) -> Value<'static> {
    (1..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]))
}

/// A map with a value of each type.
fn everything() -> Item<'static> {
    let inner = Item::new().with("inner", Value::List(vec![Value::Null, Value::from(Item::new()), Value::from("")]));
    Item::new()
        .with("null", Value::Null)
        .with("false", false)
        .with("true", true)
        .with("text", "ä")
        .with("number", Number::parse("-1.50").unwrap())
        .with("bytes", vec![0, 255])
        .with("texts", Value::texts(["b", "a", "b"]))
        .with("numbers", Value::numbers([Number::parse("1.0").unwrap(), Number::from(1), Number::from(-2)]))
        .with("byte-strings", Value::byte_strings([b"x".as_slice(), b""]))
        .with("list", vec![Value::from(1), Value::from(vec![Value::from("deep")]), Value::from(inner)])
        .with("map", Item::new().with("a", Item::new().with("b", u64::MAX)))
}

fn elements(scripts: &[&str]) -> Vec<TestElement> {
    scripts.iter().map(|script| TestElement::new(*script)).collect()
}

fn run(scripts: &[&str]) -> RequestOutcome {
    DynamodbConverterInstance::<Script>::open([]).unwrap().convert(&elements(scripts))
}

/// The columns themselves.
fn pack(scripts: &[&str]) -> RequestBatch {
    dynamodb::convert(&mut Script, &element_batch(&elements(scripts)))
}

fn codes(outcome: &RequestOutcome) -> Vec<(usize, &str)> {
    outcome.errors.iter().map(|(input, error)| (*input, error.code())).collect()
}

#[test]
fn every_type_of_value_comes_back_as_it_went() {
    let outcome = run(&["put=1 delete=2", "add=3"]);
    let seen: Vec<_> = outcome.requests.iter().map(|request| (request.input, request.action)).collect();
    assert_eq!(seen, [(0, Action::Put), (0, Action::Delete), (1, Action::Add)]);
    assert_eq!(outcome.requests[0].item, Item::new().with("id", "1").with("all", everything()));
    assert_eq!(outcome.requests[1].item, Item::new().with("id", "2"));
    assert_eq!(outcome.requests[2].item, Item::new().with("id", "3").with("count", 1));
}

#[test]
fn nodes_stand_breadth_first_and_each_has_one_parent() {
    let values = pack(&["put=1 put=2", "nothing", "put=3"]).values;
    let nodes = values.kind.len();
    for column in [values.first_child.len(), values.child_count.len(), values.name.ends.len(), values.scalar.ends.len()]
    {
        assert_eq!(column, nodes);
    }
    let mut owned = vec![0; nodes];
    let mut own = |first: u32, count: u32| (first..first + count).for_each(|node| owned[node as usize] += 1);
    values.root_first.iter().zip(&values.root_count).for_each(|(first, count)| own(*first, *count));
    let mut next = 0;
    for ((node, first), count) in (0..).zip(&values.first_child).zip(&values.child_count) {
        own(*first, *count);
        if *count > 0 {
            assert!(*first > node && *first > next, "the children of {node} stand behind it and its brothers'");
            next = *first;
        } else {
            assert_eq!(*first, 0);
        }
    }
    assert!(owned.iter().all(|owners| *owners == 1), "{owned:?}");
    assert_eq!((values.root_first[2], values.root_count[2]), (0, 0));
}

#[test]
fn an_element_that_fails_leaves_nothing_of_its_requests() {
    let whole = pack(&["put=1", "", "put=3"]);
    let packed = pack(&["put=1", "put=x add=y poison", "put=3"]);
    assert_eq!((packed.request, packed.root, packed.input_index), (vec![0, 0], vec![0, 1], vec![0, 2]));
    assert_eq!(packed.values.kind, whole.values.kind);
    assert_eq!(packed.values.first_child, whole.values.first_child);
    assert_eq!(packed.values.child_count, whole.values.child_count);
    assert_eq!(packed.values.root_first, whole.values.root_first);
    assert_eq!(packed.values.root_count, whole.values.root_count);
    assert_eq!(packed.values.name.bytes, whole.values.name.bytes);
    assert_eq!(packed.values.scalar.ends, whole.values.scalar.ends);
    assert_eq!(packed.errors.len(), 1);
}

#[test]
fn what_the_service_would_refuse_fails_its_element_alone() {
    let outcome = run(&["put=1", "put=x empty-set", "deep=33", "name=65536", "deep=32", "name=65535", "put=7"]);
    assert_eq!(codes(&outcome), [(1, "empty-set"), (2, "too-deep"), (3, "invalid-name")]);
    let inputs: Vec<_> = outcome.requests.iter().map(|request| request.input).collect();
    assert_eq!(inputs, [0, 4, 5, 6]);
    assert_eq!(outcome.requests[1].item, Item::new().with("id", deep(32)));
}

#[test]
fn one_request_for_each_element_and_no_error_needs_no_input_index() {
    assert_eq!(pack(&["put=1", "delete=2"]).input_index, []);
    assert_eq!(pack(&["put=1", ""]).input_index, [0]);
    let packed = pack(&["put=1 delete=2 add=3"]);
    assert_eq!((packed.request, packed.root), (vec![0, 1, 2], vec![0, 1, 2]));
}

#[test]
fn an_attribute_set_twice_has_its_last_value() {
    let mut item = Item::new().with("a", 1).with("a", "two");
    assert_eq!((item.len(), item.get("a")), (1, Some(&Value::from("two"))));
    assert_eq!(item.remove("a"), Some(Value::from("two")));
    assert!(item.is_empty());
}
