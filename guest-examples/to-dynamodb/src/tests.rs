use sluicebox_guest::dynamodb::{Action, Number};
use sluicebox_guest::testing::{DynamodbConverterInstance, RequestOutcome, TestElement};

use super::*;

fn convert(config: &[(&str, &str)], elements: &[&str]) -> RequestOutcome {
    let config = config.iter().map(|(key, value)| (*key, (*value).into()));
    let mut converter = DynamodbConverterInstance::<ToDynamodb>::open(config).expect("it opens");
    converter.convert(&elements.iter().map(|json| TestElement::new(*json)).collect::<Vec<_>>())
}

#[test]
fn an_object_becomes_an_item_of_the_same_values() {
    let json = r#" {"id":"a\n", "n": 0.1000000000000000055511151231257827021, "big": 12345678901234567890123,
        "on": true, "off": false, "no": null, "list": [1, [], {"x": "y"}], "map": {"deep": {}}} "#;
    let number = |text| Number::parse(text).expect("a number");
    let item = Item::new()
        .with("id", "a\n")
        .with("n", number("0.1000000000000000055511151231257827021"))
        .with("big", number("12345678901234567890123"))
        .with("on", true)
        .with("off", false)
        .with("no", Value::Null)
        .with("list", vec![Value::from(1), Value::List(Vec::new()), Value::from(Item::new().with("x", "y"))])
        .with("map", Item::new().with("deep", Item::new()));
    let outcome = convert(&[("key", "id")], &[json]);
    assert_eq!((outcome.requests[0].action, &outcome.requests[0].item), (Action::Put, &item));
}

#[test]
fn a_field_turns_an_object_into_a_delete_of_its_key() {
    let config = [("key", "id"), ("sort_key", "at"), ("delete_when", "gone")];
    let objects = [
        r#"{"id":"a","at":1,"gone":true,"more":2}"#,
        r#"{"id":"a","at":2,"gone":false}"#,
        r#"{"id":"a","at":3,"gone":null}"#,
        r#"{"id":"a","at":4}"#,
        r#"{"id":"a","at":5,"gone":"2018-01-31"}"#,
    ];
    let requests = convert(&config, &objects).requests;
    let actions: Vec<_> = requests.iter().map(|request| request.action).collect();
    assert_eq!(actions, [Action::Delete, Action::Put, Action::Put, Action::Put, Action::Delete]);
    assert_eq!(requests[0].item, Item::new().with("id", "a").with("at", 1));
}

#[test]
fn counting_adds_one_to_the_item_of_the_key() {
    let requests = convert(&[("key", "user"), ("count_attribute", "seen")], &[r#"{"user":7,"x":1}"#]).requests;
    assert_eq!((requests[0].action, &requests[0].item), (Action::Add, &Item::new().with("user", 7).with("seen", 1)));
}

#[test]
fn what_is_no_item_of_the_table_is_poison() {
    let deep = format!(r#"{{"id":1,"deep":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let objects =
        ["", "[]", r#"{"id":1"#, r#"{"at":1}"#, r#"{"id":true}"#, r#"{"id":1,"n":1e999}"#, &deep, r#"{"id":1}"#];
    let outcome = convert(&[("key", "id")], &objects);
    let codes: Vec<_> = outcome.errors.iter().map(|(input, error)| (*input, error.code())).collect();
    let expected = ["not-json", "not-json", "not-json", "no-key", "no-key", "invalid-number", "too-deep"];
    assert_eq!(codes, expected.into_iter().enumerate().collect::<Vec<_>>());
    assert_eq!(outcome.requests.len(), 1);
    assert!(DynamodbConverterInstance::<ToDynamodb>::open([("sort_key", "at".into())]).is_err());
}
