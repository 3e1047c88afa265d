//! `BatchWriteItem` and `BatchGetItem`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::step::{Plan, whole_item};
use super::table::exceeded;
use super::value::{self, Item, invalid};
use super::{Input, Model, Moment, Oddity};
use crate::simulated::service::Refusal;

/// Requests of one `BatchWriteItem`.
const WRITES_MAX: usize = 25;
/// Keys of one `BatchGetItem`.
const READS_MAX: usize = 100;

/// One request of a batch.
struct Entry {
    table: String,
    asked: Value,
    /// The whole item of a put, the key of a deletion.
    told_by: Item,
    is_put: bool,
}

fn entries(tables: &Map<String, Value>) -> Result<Vec<Entry>, Refusal> {
    let mut entries = Vec::new();
    for (table, requests) in tables {
        for asked in requests.as_array().into_iter().flatten() {
            let (told_by, is_put) = match (asked.pointer("/PutRequest/Item"), asked.pointer("/DeleteRequest/Key")) {
                (Some(item), None) => (whole_item(item)?, true),
                (None, Some(key)) => (value::read(key)?, false),
                (Some(_), Some(_)) | (None, None) => {
                    return Err(invalid(
                        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
                    ));
                }
            };
            entries.push(Entry { table: table.clone(), asked: asked.clone(), told_by, is_put });
        }
    }
    Ok(entries)
}

/// Which of `count` things are chosen by chance.
fn chosen(count: usize, how_many: usize, mut draw: u64) -> BTreeSet<usize> {
    let mut left: Vec<usize> = (0..count).collect();
    let mut chosen = BTreeSet::new();
    while chosen.len() < how_many && !left.is_empty() {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = (draw >> 33) as usize % left.len();
        chosen.insert(left.swap_remove(index));
    }
    chosen
}

pub(super) fn write(
    model: &mut Model,
    input: &Value,
    moment: Moment,
    oddity: Option<Oddity>,
) -> Result<Value, Refusal> {
    let tables = input.get("RequestItems").and_then(Value::as_object).filter(|tables| !tables.is_empty());
    let tables = tables.ok_or_else(|| invalid("The requestItems parameter is required for BatchWriteItem"))?;
    let counts = tables.values().map(|requests| requests.as_array().map_or(0, Vec::len));
    if counts.clone().sum::<usize>() > WRITES_MAX || counts.clone().any(|count| count == 0) {
        return Err(invalid(
            "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]",
        ));
    }
    let entries = entries(tables)?;
    let mut keys = Vec::new();
    for entry in &entries {
        let table = model.writable(&entry.table, moment.now)?;
        table.check(&entry.told_by)?;
        let schema = &table.schema;
        let key = if entry.is_put { schema.key_of_item(&entry.told_by) } else { schema.key(&entry.told_by) }?;
        if keys.contains(&(&entry.table, key.clone())) {
            return Err(invalid("Provided list of item keys contains duplicates"));
        }
        keys.push((&entry.table, key));
    }
    let spared = match oddity {
        Some(Oddity::Unprocessed { count, draw }) => chosen(entries.len(), count, draw),
        Some(Oddity::Conflict { .. }) | None => BTreeSet::new(),
    };
    let mut unprocessed: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    let mut consumed: BTreeMap<&str, f64> = BTreeMap::new();
    for (index, (entry, (_, key))) in entries.iter().zip(keys).enumerate() {
        let table = model.writable(&entry.table, moment.now)?;
        let plan = Plan::unconditional(table, key, entry.is_put.then(|| entry.told_by.clone()));
        let units = plan.units;
        if spared.contains(&index) || !table.charge(units, moment.now) {
            unprocessed.entry(&entry.table).or_default().push(&entry.asked);
            continue;
        }
        *consumed.entry(&entry.table).or_default() += units as f64;
        model.carry_out(plan, moment);
    }
    if consumed.is_empty() && spared.is_empty() {
        return Err(exceeded());
    }
    let mut answer = json!({ "UnprocessedItems": unprocessed });
    if Input(input).tells_capacity() {
        let one = |(table, units): (&str, f64)| json!({ "TableName": table, "CapacityUnits": units });
        answer["ConsumedCapacity"] = consumed.into_iter().map(one).collect();
    }
    Ok(answer)
}

pub(super) fn get(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let tables = input.get("RequestItems").and_then(Value::as_object).filter(|tables| !tables.is_empty());
    let tables = tables.ok_or_else(|| invalid("The requestItems parameter is required for BatchGetItem"))?;
    let mut found: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut count = 0;
    for (name, asked) in tables {
        Input(asked).knows(&["Keys", "ConsistentRead"])?;
        let table = model.readable(name, moment.now)?;
        let of_table = found.entry(name).or_default();
        let mut keys = BTreeSet::new();
        for key in asked.get("Keys").and_then(Value::as_array).into_iter().flatten() {
            count += 1;
            let key = table.schema.key(&value::read(key)?)?;
            of_table.extend(table.items.get(&key).map(|item| value::to_json(item)));
            if !keys.insert(key) {
                return Err(invalid("Provided list of item keys contains duplicates"));
            }
        }
    }
    if count > READS_MAX {
        return Err(invalid("Too many items requested for the BatchGetItem call"));
    }
    Ok(json!({ "Responses": found, "UnprocessedKeys": {} }))
}
