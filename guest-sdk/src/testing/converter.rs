//! Elements for converters.

use crate::bindings::dynamodb_converter::sluicebox::pipeline::dynamodb_values::ValueTable;
use crate::bindings::kinesis::sluicebox::pipeline::elements::ElementBatch;
use crate::bindings::sluicebox::pipeline::types::{ConfigValue, RecordError};
use crate::columns::{self, append, number, value};
use crate::dynamodb::{self, Action, Item, Number, Value};
use crate::testing::config_of;
use crate::{Error, kinesis};

/// Where the manifest names a converter in tests.
const STAGE: &str = "sink.test.converter";

/// An element to convert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestElement {
    /// What it holds.
    pub payload: Vec<u8>,
    /// `key` unless set.
    pub key: Vec<u8>,
    /// Milliseconds since the epoch; 0 unless set.
    pub event_time: i64,
    /// `None`, every sink, unless set.
    pub route: Option<String>,
}

impl TestElement {
    /// An element with this payload.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), key: b"key".to_vec(), event_time: 0, route: None }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = key.into();
        self
    }

    /// Happened at this time, in milliseconds since the epoch.
    #[must_use]
    pub fn event_time(mut self, millis: i64) -> Self {
        self.event_time = millis;
        self
    }

    /// Sent to the sinks of this route.
    #[must_use]
    pub fn route(mut self, name: impl Into<String>) -> Self {
        self.route = Some(name.into());
        self
    }
}

/// An entry for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestEntry {
    /// The element it came from, counted from 0 in the batch.
    pub input: usize,
    /// `PartitionKey`; the key of the element where the converter set none.
    pub partition_key: String,
    /// `ExplicitHashKey`.
    pub hash_key: Option<u128>,
    /// `Data`.
    pub data: Vec<u8>,
}

/// What became of a batch for a stream. An element in neither list was filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryOutcome {
    /// In the order they were made.
    pub entries: Vec<TestEntry>,
    /// Elements that failed, counted from 0 in the batch.
    pub errors: Vec<(usize, Error)>,
}

/// A request on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRequest {
    /// The element it came from, counted from 0 in the batch.
    pub input: usize,
    /// What to do.
    pub action: Action,
    /// The item, the key, or the key and the numbers.
    pub item: Item<'static>,
}

/// What became of a batch for a table. An element in neither list was filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOutcome {
    /// In the order they were made.
    pub requests: Vec<TestRequest>,
    /// Elements that failed, counted from 0 in the batch.
    pub errors: Vec<(usize, Error)>,
}

/// An opened converter for Kinesis sinks.
#[derive(Debug)]
pub struct KinesisConverterInstance<C> {
    converter: C,
}

impl<C: kinesis::ElementConverter> KinesisConverterInstance<C> {
    /// Opens a converter with this configuration.
    ///
    /// # Errors
    /// Those of the converter's `open`.
    pub fn open<'k>(entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Result<Self, Error> {
        Ok(Self { converter: C::open(&config_of(STAGE, entries))? })
    }

    /// Converts one batch.
    ///
    /// # Panics
    /// The batch as a whole failed, which only data written by taking away earlier ones can bring about; or an entry without
    /// a partition key of its own came from an element whose key is no UTF-8.
    pub fn convert(&mut self, elements: &[TestElement]) -> EntryOutcome {
        let batch = element_batch(elements);
        let packed = kinesis::convert(&mut self.converter, &batch).expect("data is only appended to");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a partition key is UTF-8");
        let entries = (0..packed.data.ends.len())
            .map(|index| {
                let input = packed.input_index.get(index).map_or(index, |input| *input as usize);
                let own_key = !packed.partition_key.ends.is_empty();
                let key = if own_key { value(&packed.partition_key, index) } else { &elements[input].key };
                let has_hash_keys = !packed.explicit_hash_key.ends.is_empty();
                let digits = if has_hash_keys { value(&packed.explicit_hash_key, index) } else { b"" };
                TestEntry {
                    input,
                    partition_key: text(key),
                    hash_key: text(digits).parse().ok(),
                    data: value(&packed.data, index).to_vec(),
                }
            })
            .collect();
        EntryOutcome { entries, errors: errors(packed.errors) }
    }

    /// The converter itself, to look at its state.
    #[must_use]
    pub fn converter(&self) -> &C {
        &self.converter
    }

    /// The converter itself, to call `close` or `restore`.
    pub fn converter_mut(&mut self) -> &mut C {
        &mut self.converter
    }
}

/// An opened converter for DynamoDB sinks.
#[derive(Debug)]
pub struct DynamodbConverterInstance<C> {
    converter: C,
}

impl<C: dynamodb::ElementConverter> DynamodbConverterInstance<C> {
    /// Opens a converter with this configuration.
    ///
    /// # Errors
    /// Those of the converter's `open`.
    pub fn open<'k>(entries: impl IntoIterator<Item = (&'k str, ConfigValue)>) -> Result<Self, Error> {
        Ok(Self { converter: C::open(&config_of(STAGE, entries))? })
    }

    /// Converts one batch.
    pub fn convert(&mut self, elements: &[TestElement]) -> RequestOutcome {
        let packed = dynamodb::convert(&mut self.converter, &element_batch(elements));
        let requests = (0..packed.request.len())
            .map(|index| TestRequest {
                input: packed.input_index.get(index).map_or(index, |input| *input as usize),
                action: match packed.request[index] {
                    0 => Action::Put,
                    1 => Action::Delete,
                    _ => Action::Add,
                },
                item: item(&packed.values, packed.root[index] as usize),
            })
            .collect();
        RequestOutcome { requests, errors: errors(packed.errors) }
    }

    /// The converter itself, to look at its state.
    #[must_use]
    pub fn converter(&self) -> &C {
        &self.converter
    }

    /// The converter itself, to call `close` or `restore`.
    pub fn converter_mut(&mut self) -> &mut C {
        &mut self.converter
    }
}

/// The columns of a batch as the host hands them over.
pub(crate) fn element_batch(elements: &[TestElement]) -> ElementBatch {
    let mut batch = ElementBatch {
        event_time: Vec::new(),
        key: columns::empty(),
        route: Vec::new(),
        routes: Vec::new(),
        payload: columns::empty(),
    };
    for element in elements {
        batch.event_time.push(element.event_time);
        append(&mut batch.key, &element.key);
        append(&mut batch.payload, &element.payload);
        let route = element.route.as_ref().map_or(0, |name| {
            let known = batch.routes.iter().position(|known| known == name).unwrap_or(batch.routes.len());
            if known == batch.routes.len() {
                batch.routes.push(name.clone());
            }
            number(known + 1)
        });
        batch.route.push(route);
    }
    if batch.routes.is_empty() {
        batch.route.clear();
    }
    batch
}

fn errors(errors: Vec<RecordError>) -> Vec<(usize, Error)> {
    errors.into_iter().map(|error| (error.input_index as usize, error.error.into())).collect()
}

/// Reads a root as the host does.
fn item(values: &ValueTable, root: usize) -> Item<'static> {
    map(values, values.root_first[root], values.root_count[root])
}

fn map(values: &ValueTable, first: u32, count: u32) -> Item<'static> {
    (first..first + count).map(|node| (text(value(&values.name, node as usize)), node_value(values, node))).collect()
}

fn node_value(values: &ValueTable, node: u32) -> Value<'static> {
    let index = node as usize;
    let scalar = |index: usize| value(&values.scalar, index).to_vec();
    let first = values.first_child[index];
    let children = || (first..first + values.child_count[index]).map(|child| child as usize);
    match values.kind[index] {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::from(text(&scalar(index))),
        4 => Value::Number(decimal(&scalar(index))),
        5 => Value::from(scalar(index)),
        6 => Value::texts(children().map(|child| text(&scalar(child)))),
        7 => Value::numbers(children().map(|child| decimal(&scalar(child)))),
        8 => Value::byte_strings(children().map(scalar)),
        9 => Value::List((first..first + values.child_count[index]).map(|child| node_value(values, child)).collect()),
        _ => Value::Map(map(values, first, values.child_count[index])),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it was written as text")
}

fn decimal(bytes: &[u8]) -> Number {
    Number::parse(&text(bytes)).expect("it was written as a number")
}
