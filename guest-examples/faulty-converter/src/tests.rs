use sluicebox_guest::bindings::kinesis::sluicebox::pipeline::columns::BytesColumn;
use sluicebox_guest::dynamodb::Action;
use sluicebox_guest::testing::{DynamodbConverterInstance, KinesisConverterInstance, TestElement};

use super::*;

fn elements() -> [TestElement; 4] {
    ["fine", "refuse", "add", "delete"].map(|payload| TestElement::new(payload).key(format!("k-{payload}")))
}

#[test]
fn honest_answers_are_honest() {
    let entries = KinesisConverterInstance::<Faulty>::open([]).expect("it opens").convert(&elements());
    let keys: Vec<_> = entries.entries.iter().map(|entry| entry.partition_key.as_str()).collect();
    assert_eq!((keys, entries.errors.len()), (vec!["k-fine", "k-add", "k-delete"], 1));

    let requests = DynamodbConverterInstance::<Faulty>::open([]).expect("it opens").convert(&elements()).requests;
    let actions: Vec<_> = requests.iter().map(|request| request.action).collect();
    assert_eq!(actions, [Action::Put, Action::Add, Action::Delete]);
    assert_eq!(requests[0].item, Item::new().with("id", "k-fine").with("payload", "fine"));
    assert_eq!(requests[1].item, Item::new().with("id", "k-add").with("count", 1));
}

/// An honest element, and one that asks for a lie.
fn batch(lie: &str) -> kinesis_element_converter::ElementBatch {
    let payload = format!("fine{lie}");
    kinesis_element_converter::ElementBatch {
        event_time: vec![0, 0],
        key: BytesColumn { ends: vec![1, 2], bytes: b"ab".to_vec() },
        route: Vec::new(),
        routes: Vec::new(),
        payload: BytesColumn { ends: vec![4, payload.len() as u32], bytes: payload.into_bytes() },
    }
}

#[test]
fn every_lie_changes_the_answer() {
    let origins = ["lie-index", "lie-order", "lie-both", "lie-error-index", "lie-identity", "lie-ends", "lie-last-end"];
    let of_streams = ["lie-keys", "lie-no-key", "lie-long-key", "lie-key-bytes", "lie-hash-key", "lie-hash-text"];
    for lie in origins.iter().chain(&of_streams) {
        let honest = kinesis::convert(&mut Faulty::default(), &batch(lie)).expect("an answer");
        let told = <Component as kinesis_element_converter::Guest>::convert(batch(lie)).expect("an answer");
        assert_ne!(format!("{told:?}"), format!("{honest:?}"), "{lie}");
    }
    let of_tables = [
        "lie-request",
        "lie-root",
        "lie-shared-root",
        "lie-kind",
        "lie-columns",
        "lie-cycle",
        "lie-children",
        "lie-shared-child",
        "lie-deep",
        "lie-number",
        "lie-text",
        "lie-twins",
        "lie-empty-set",
    ];
    for lie in origins.iter().chain(&of_tables) {
        let honest = dynamodb::convert(&mut Faulty::default(), &batch(lie));
        let told = <Component as dynamodb_element_converter::Guest>::convert(batch(lie)).expect("an answer");
        assert_ne!(format!("{told:?}"), format!("{honest:?}"), "{lie}");
    }
}

#[test]
fn every_batch_begins_with_the_sin_that_is_configured() {
    let mut faulty = Faulty { always: Some("refuse".into()), is_first: true, ..Faulty::default() };
    for _ in 0..2 {
        faulty.is_first = true;
        let output = kinesis::convert(&mut faulty, &batch("fine")).expect("an answer");
        assert_eq!((output.input_index, output.errors[0].input_index), (vec![1], 0));
    }
}
