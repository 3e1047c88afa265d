use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::columns::Column;
use crate::item::{Decimal, Item, Value};

/// One element for each request.
fn elements(count: usize) -> ElementBatch {
    let mut batch = ElementBatch { event_time: vec![0; count], ..ElementBatch::default() };
    for _ in 0..count {
        batch.key.push(b"k");
        batch.payload.push(b"");
    }
    batch
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(truth) => 1 + u8::from(*truth),
        Value::Text(_) => 3,
        Value::Number(_) => 4,
        Value::Bytes(_) => 5,
        Value::Texts(_) => 6,
        Value::Numbers(_) => 7,
        Value::ByteStrings(_) => 8,
        Value::List(_) => 9,
        Value::Map(_) => 10,
    }
}

/// The members of a value, as values with names.
fn members(value: &Value) -> Vec<(String, Value)> {
    let nameless = |value| (String::new(), value);
    match value {
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Number(_) | Value::Bytes(_) => vec![],
        Value::Texts(texts) => texts.iter().cloned().map(Value::Text).map(nameless).collect(),
        Value::Numbers(texts) => texts.iter().cloned().map(Value::Number).map(nameless).collect(),
        Value::ByteStrings(strings) => strings.iter().cloned().map(Value::Bytes).map(nameless).collect(),
        Value::List(members) => members.iter().cloned().map(nameless).collect(),
        Value::Map(entries) => entries.clone(),
    }
}

fn scalar(value: &Value) -> &[u8] {
    match value {
        Value::Text(text) | Value::Number(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Null
        | Value::Bool(_)
        | Value::Texts(_)
        | Value::Numbers(_)
        | Value::ByteStrings(_)
        | Value::List(_)
        | Value::Map(_) => &[],
    }
}

/// What a component would return for these items: breadth first, all roots before anything else.
fn written(items: &[Item]) -> DynamodbRequests {
    let mut table = ValueTable::default();
    let mut queue = VecDeque::new();
    let mut taken = 0_u32;
    let mut take = |members: &[(String, Value)]| {
        let count = u32::try_from(members.len()).expect("few");
        let first = if count == 0 { 0 } else { taken };
        taken += count;
        (first, count)
    };
    for Item(attributes) in items {
        let (first, count) = take(attributes);
        table.root_first.push(first);
        table.root_count.push(count);
        queue.extend(attributes.iter().cloned());
    }
    while let Some((name, value)) = queue.pop_front() {
        let members = members(&value);
        let (first, count) = take(&members);
        table.kind.push(kind(&value));
        table.first_child.push(first);
        table.child_count.push(count);
        table.name.push(name.as_bytes());
        table.scalar.push(scalar(&value));
        queue.extend(members);
    }
    let count = u32::try_from(items.len()).expect("few");
    DynamodbRequests {
        request: (0..count).map(|at| (at % 3) as u8).collect(),
        root: (0..count).collect(),
        values: table,
        ..DynamodbRequests::default()
    }
}

/// The nodes that are reached from these, in the order in which they are.
fn reached(table: &ValueTable, first: u32, count: u32, nodes: &mut Vec<u32>) {
    for node in first..first + count {
        nodes.push(node);
        reached(table, table.first_child[node as usize], table.child_count[node as usize], nodes);
    }
}

/// The obvious way to read a table: no check but that of every index.
fn naive(table: &ValueTable, root: u32) -> Option<Item> {
    let (first, count) = (*table.root_first.get(root as usize)?, *table.root_count.get(root as usize)?);
    Some(Item(naive_members(table, first, count)?))
}

fn naive_members(table: &ValueTable, first: u32, count: u32) -> Option<Vec<(String, Value)>> {
    let mut all = vec![];
    for node in first..first.checked_add(count)? {
        let node = node as usize;
        let of = |column: &Column| (node < column.len()).then(|| column.get(node).to_vec());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let members = naive_members(table, *table.first_child.get(node)?, *table.child_count.get(node)?)?;
        let values: Vec<_> = members.iter().map(|(_, value)| value.clone()).collect();
        let texts = || values.iter().map(|value| text(scalar(value).to_vec())).collect::<Option<Vec<_>>>();
        let value = match *table.kind.get(node)? {
            0 => Value::Null,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => Value::Text(text(of(&table.scalar)?)?),
            4 => Value::Number(text(of(&table.scalar)?)?),
            5 => Value::Bytes(of(&table.scalar)?),
            6 => Value::Texts(texts()?),
            7 => Value::Numbers(texts()?),
            8 => Value::ByteStrings(values.iter().map(|value| scalar(value).to_vec()).collect()),
            9 => Value::List(values),
            10 => Value::Map(members),
            _ => return None,
        };
        all.push((text(of(&table.name)?)?, value));
    }
    Some(all)
}

/// Whether the service takes attributes at this level, by comparing everything with everything.
fn is_taken(attributes: &[(String, Value)], level: usize) -> bool {
    let names = attributes.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    distinct(&names)
        && names.iter().all(|name| !name.is_empty() && name.len() <= 65_535)
        && attributes.iter().all(|(_, value)| value_is_taken(value, level))
}

fn value_is_taken(value: &Value, level: usize) -> bool {
    let is_number = |text: &String| Decimal::parse(text).is_ok();
    level <= 32
        && match value {
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => true,
            Value::Number(text) => is_number(text),
            Value::Texts(texts) => !texts.is_empty() && distinct(texts),
            Value::ByteStrings(strings) => !strings.is_empty() && distinct(strings),
            Value::Numbers(texts) => {
                let numbers: Vec<_> = texts.iter().map(|text| Decimal::parse(text)).collect();
                !texts.is_empty() && texts.iter().all(is_number) && distinct(&numbers)
            }
            Value::List(members) => members.iter().all(|member| value_is_taken(member, level + 1)),
            Value::Map(entries) => is_taken(entries, level + 1),
        }
}

fn distinct<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(at, value)| !values[..at].contains(value))
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![9 => "-?[0-9]{1,3}(\\.[0-9]{1,2})?", 1 => "[-0-9e.]{0,45}"]
}

/// Values of every kind, some of which no table takes.
fn values() -> impl Strategy<Value = Value> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..3);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        ".{0,3}".prop_map(Value::Text),
        numbers().prop_map(Value::Number),
        bytes().prop_map(Value::Bytes),
        prop::collection::vec("[a-z]{0,2}", 1..4).prop_map(Value::Texts),
        prop::collection::vec(numbers(), 1..4).prop_map(Value::Numbers),
        prop::collection::vec(bytes(), 0..4).prop_map(Value::ByteStrings),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec(("[a-e]{1,3}", inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let name = prop_oneof![19 => "[a-z]{2,3}", 1 => "a{0,1}"];
    let attributes = prop::collection::vec((name, values()), 0..4).prop_map(Item);
    prop::collection::vec(attributes, 0..4)
}

/// Changes one cell, or the length of one column.
fn mutate(table: &mut ValueTable, column: u8, at: Index, value: u32) -> Option<()> {
    fn cell<T>(cells: &mut [T], at: Index) -> Option<&mut T> {
        (!cells.is_empty()).then(|| at.get_mut(cells))
    }
    fn swap<T>(cells: &mut [T], at: Index, other: u32) -> Option<()> {
        let last = cells.len().checked_sub(1)?;
        cells.swap(at.index(last + 1), other as usize % (last + 1));
        Some(())
    }
    let nodes = u32::try_from(table.kind.len()).ok()? + 1;
    let near = if value.is_multiple_of(5) { value } else { value % nodes };
    match column {
        0 => *cell(&mut table.kind, at)? = (value % 12) as u8,
        1 => *cell(&mut table.first_child, at)? = near,
        2 => *cell(&mut table.child_count, at)? = near,
        3 => *cell(&mut table.root_first, at)? = near,
        4 => *cell(&mut table.root_count, at)? = near,
        5 => *cell(&mut table.name.ends, at)? = value % 8,
        6 => *cell(&mut table.scalar.ends, at)? = value % 8,
        7 => *cell(&mut table.name.bytes, at)? = value as u8,
        8 => *cell(&mut table.scalar.bytes, at)? = value as u8,
        9 => drop(table.kind.pop()?),
        10 => drop(table.root_first.pop()?),
        11 => table.child_count.push(near),
        12 => drop(table.scalar.ends.pop()?),
        // One more than there are: the next one, which is another's.
        13 => *cell(&mut table.child_count, at)? += 1,
        14 => *cell(&mut table.root_count, at)? += 1,
        15 => swap(&mut table.first_child, at, value)?,
        _ => swap(&mut table.root_count, at, value)?,
    }
    Some(())
}

/// What is accepted is what the naive way reads, every node once; what the service refuses is an error of its element.
fn agrees(answer: &DynamodbRequests) -> Result<(), TestCaseError> {
    let elements = elements(answer.request.len());
    let Ok(converted) = accept(answer.clone(), &elements, &Limits::default()) else { return Ok(()) };
    let (mut nodes, mut requests, mut origins, mut failed) = (vec![], vec![], vec![], vec![]);
    for (at, root) in (0_u32..).zip(&answer.root) {
        let action = [Action::Put, Action::Delete, Action::Add][usize::from(answer.request[at as usize])];
        let table = &answer.values;
        reached(table, table.root_first[*root as usize], table.root_count[*root as usize], &mut nodes);
        match naive(table, *root) {
            Some(item) if is_taken(&item.0, 1) => {
                requests.push(ItemRequest { action, item });
                origins.push(at);
            }
            Some(_) | None => failed.push(at),
        }
    }
    prop_assert_eq!(converted.entries, Entries::Dynamodb(requests));
    prop_assert_eq!(converted.input_index, origins);
    prop_assert_eq!(converted.errors.iter().map(|error| error.input_index).collect::<Vec<_>>(), &failed[..]);
    nodes.sort_unstable();
    prop_assert!((0_u32..).zip(&nodes).all(|(node, reached)| node == *reached), "every node once: {nodes:?}");
    prop_assert_eq!(nodes.len(), answer.values.kind.len());
    Ok(())
}

proptest! {
    #[test]
    fn items_arrive_as_they_were_written(items in items()) {
        let answer = written(&items);
        let converted = accept(answer.clone(), &elements(items.len()), &Limits::default());
        let converted = converted.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let Entries::Dynamodb(requests) = converted.entries else { panic!("a table takes requests") };
        let taken: Vec<_> = items.into_iter().filter(|item| is_taken(&item.0, 1)).collect();
        prop_assert_eq!(requests.into_iter().map(|request| request.item).collect::<Vec<_>>(), taken);
        agrees(&answer)?;
    }

    #[test]
    fn a_changed_table_is_refused_or_read_as_the_naive_way_reads_it(
        items in items(),
        changes in prop::collection::vec((0_u8..17, any::<Index>(), any::<u32>()), 1..4),
    ) {
        let mut answer = written(&items);
        for (column, at, value) in changes {
            let _changed = mutate(&mut answer.values, column, at, value);
        }
        agrees(&answer)?;
    }
}

/// An item of lists in each other, whose innermost is at `level` and holds a set.
fn nested(level: usize) -> Item {
    let innermost = Value::Texts(vec!["a".into()]);
    let value = (1..level).fold(innermost, |value, _| Value::List(vec![value]));
    Item(vec![("l".into(), value)])
}

#[test]
fn levels_end_where_those_of_the_service_end_and_sets_add_none() {
    let answer = written(&[nested(32), nested(33), nested(500)]);
    let converted = accept(answer, &elements(3), &Limits::default()).expect("it keeps the rules");
    assert_eq!(converted.input_index, [0]);
    let codes: Vec<_> = converted.errors.iter().map(|error| error.error.code.as_str()).collect();
    assert_eq!(codes, ["too-deep", "too-deep"]);
}

#[test]
fn two_requests_of_one_element_stand_or_fall_together() {
    let good = Item(vec![("k".into(), Value::Text("a".into()))]);
    let bad = Item(vec![("k".into(), Value::Number("none".into()))]);
    let answer = DynamodbRequests { input_index: vec![0, 0, 1], ..written(&[good.clone(), bad, good.clone()]) };
    let converted = accept(answer, &elements(2), &Limits::default()).expect("it keeps the rules");
    let expected = ItemRequest { action: Action::Add, item: good };
    assert_eq!((converted.input_index, converted.entries), (vec![1], Entries::Dynamodb(vec![expected])));
    assert_eq!(converted.errors[0].error.message, "`k` is not written as a decimal number");
}

#[test]
fn a_table_that_is_no_forest_breaks_the_contract() {
    let mut answer = written(&[nested(2)]);
    answer.values.kind[0] = 99;
    let error = accept(answer, &elements(1), &Limits::default()).expect_err("there is no such kind");
    assert!(matches!(error, ComponentError::Violation(_)), "{error}");
}
