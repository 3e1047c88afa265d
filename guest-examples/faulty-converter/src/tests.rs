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
