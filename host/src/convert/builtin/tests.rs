use proptest::prelude::*;

use super::*;
use crate::columns::Column;
use crate::item::{Item, Value};

const ONCE: Delivery = Delivery { attempt: 1, time: EpochMillis(0) };

fn batch(elements: &[(&[u8], &[u8])]) -> ElementBatch {
    let mut batch = ElementBatch { event_time: vec![0; elements.len()], ..ElementBatch::default() };
    for (key, payload) in elements {
        batch.key.push(key);
        batch.payload.push(payload);
    }
    batch
}

fn item(json: &str) -> Result<Item, (String, String)> {
    let elements = batch(&[(b"k", json.as_bytes())]);
    let converted = JsonToItem.convert(&elements, ONCE).expect("it never fails as a whole");
    let Entries::Dynamodb(mut requests) = converted.entries else { panic!("a table takes requests") };
    match requests.pop() {
        Some(request) => Ok(request.item),
        None => {
            let error = converted.errors.into_iter().next().expect("an element has an entry or an error").error;
            Err((error.code, error.message))
        }
    }
}

fn code(json: &str) -> String {
    item(json).expect_err(json).0
}

#[test]
fn an_element_passes_under_its_key_and_a_bad_key_costs_only_its_own() {
    let long = [b'x'; 257];
    let elements =
        batch(&[(b"a", b"one"), (b"", b"two"), (b"\xfe\xff", b""), (&long, b"four"), ("ü".as_bytes(), b"5")]);
    let converted = Passthrough.convert(&elements, ONCE).expect("it never fails as a whole");
    let Entries::Kinesis(entries) = converted.entries else { panic!("a stream takes records") };
    let keys: Vec<_> = entries.iter().map(|entry| entry.partition_key.as_str()).collect();
    assert_eq!(keys, ["a", "feff", "ü"]);
    assert_eq!(entries.iter().map(|entry| entry.data.as_slice()).collect::<Vec<_>>(), [b"one".as_slice(), b"", b"5"]);
    assert_eq!(converted.input_index, [0, 2, 4]);
    let errors: Vec<_> = converted.errors.iter().map(|error| (error.input_index, error.error.code.as_str())).collect();
    assert_eq!(errors, [(1, "invalid-partition-key"), (3, "invalid-partition-key")]);
}

#[test]
fn every_digit_of_a_number_arrives() {
    let item = item(r#"{"n": 12345678901234567890.123, "e": [1E-130, -0.10], "z": 0}"#).expect("an object");
    let number = |text: &str| Value::Number(text.to_owned());
    assert_eq!(item.get("n"), Some(&number("12345678901234567890.123")));
    assert_eq!(item.get("e"), Some(&Value::List(vec![number("1E-130"), number("-0.10")])));
    assert_eq!(item.get("z"), Some(&number("0")));
}

#[test]
fn every_kind_of_json_has_its_type() {
    let item = item(
        " { \"s\": \"a\\u00e4\\n\", \"t\":true, \"f\" : false,\"0\":null, \"m\": {\"\\u006b\": []}, \"l\": [ {} , \"\" ] } ",
    );
    let expected = vec![
        ("s".to_owned(), Value::Text("aä\n".into())),
        ("t".to_owned(), Value::Bool(true)),
        ("f".to_owned(), Value::Bool(false)),
        ("0".to_owned(), Value::Null),
        ("m".to_owned(), Value::Map(vec![("k".into(), Value::List(vec![]))])),
        ("l".to_owned(), Value::List(vec![Value::Map(vec![]), Value::Text(String::new())])),
    ];
    assert_eq!(item, Ok(Item(expected)));
}

#[test]
fn what_is_no_object_is_an_error_of_its_element() {
    for text in ["[1]", "1", "\"a\"", "null", "true"] {
        assert_eq!(code(text), "not-an-object", "{text}");
    }
    for text in
        ["", "{", "{\"a\":01}", "{\"a\":1} x", "{a:1}", "{\"a\":1,}", "{\"a\":NaN}", "\u{feff}{}", "{\"a\":\"\n\"}"]
    {
        assert_eq!(code(text), "not-json", "{text}");
    }
    let elements = batch(&[(b"k", b"{\"a\":\"\xff\"}")]);
    let converted = JsonToItem.convert(&elements, ONCE).expect("it never fails as a whole");
    assert_eq!(converted.errors[0].error.code, "not-json", "not UTF-8");
}

#[test]
fn names_that_repeat_are_refused_wherever_they_are() {
    let (code, message) = item(r#"{"a": [1, {"b": 1, "\u0062": 2}]}"#).expect_err("twice");
    assert_eq!((code.as_str(), message.as_str()), ("repeated-name", "`a[1].b` is there twice"));
    assert_eq!(self::code(r#"{"a": 1, "a": 1}"#), "repeated-name");
    assert_eq!(self::code(r#"{"": 1}"#), "invalid-name");
}

#[test]
fn a_number_that_no_table_takes_names_its_path() {
    let (code, message) = item(r#"{"station": {"readings": [1, 1e126]}}"#).expect_err("too large");
    assert_eq!(code, "invalid-number");
    assert_eq!(message, "`station.readings[1]` is beyond 9.99E125, the largest number of a table");
    let digits = format!("{{\"n\": {}}}", "7".repeat(39));
    assert_eq!(item(&digits).expect_err("too precise").1, "`n` has more than 38 significant digits");
}

#[test]
fn a_half_of_a_surrogate_pair_is_no_text() {
    let (code, message) = item(r#"{"a": ["\ud800"]}"#).expect_err("no text");
    assert_eq!((code.as_str(), message.as_str()), ("not-utf8", "`a[0]` is not UTF-8"));
    assert_eq!(self::code(r#"{"\udfff": 1}"#), "not-utf8");
    assert_eq!(item(r#"{"a": "\ud83d\ude00"}"#).expect("a pair").get("a"), Some(&Value::Text("😀".into())));
}

#[test]
fn levels_end_where_those_of_the_service_end() {
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(item(&nested(31)).is_ok(), "the number is at level 32");
    assert_eq!(code(&nested(32)), "too-deep");
    assert_eq!(code(&nested(100_000)), "too-deep", "the stack does not grow with the text");
}

#[test]
fn a_long_path_is_cut_and_escaped() {
    let (_, message) = item(&format!("{{\"{}\\u001b\": 1e999}}", "n".repeat(5_000))).expect_err("too large");
    assert!(message.len() <= 1_024 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn columns_of_no_elements_become_nothing() {
    let elements = ElementBatch { key: Column::default(), ..ElementBatch::default() };
    assert!(Passthrough.convert(&elements, ONCE).expect("nothing to do").entries.is_empty());
    assert!(JsonToItem.convert(&elements, ONCE).expect("nothing to do").entries.is_empty());
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Text(text) => serde_json::to_string(text).expect("text"),
        Value::Number(text) => text.clone(),
        Value::List(members) => format!("[{}]", members.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => written_object(entries),
        Value::Bytes(_) | Value::Texts(_) | Value::Numbers(_) | Value::ByteStrings(_) => panic!("not of JSON"),
    }
}

fn written_object(entries: &[(String, Value)]) -> String {
    let member =
        |(name, value): &(String, Value)| format!("{}:{}", serde_json::to_string(name).expect("text"), written(value));
    format!("{{{}}}", entries.iter().map(member).collect::<Vec<_>>().join(" ,"))
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::Text),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,17})?([eE][-+]?[0-9]{1,2})?".prop_map(Value::Number),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let entries = prop::collection::btree_map("\\PC{1,4}", inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::List),
            entries.prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_as_json_is_read_as_it_was(members in prop::collection::btree_map("\\PC{1,4}", values(), 0..4)) {
        let members: Vec<_> = members.into_iter().collect();
        prop_assert_eq!(item(&written_object(&members)), Ok(Item(members)));
    }

    #[test]
    fn no_text_is_a_panic(text in "[{}\\[\\]\",:0-9eEa\\\\ud\\-. tfn]{0,40}") {
        let _outcome = item(&text);
    }
}
