//! `Query` and `Scan`.

use serde_json::{Value, json};

use super::expression::{self, Comparison, Condition, Operand, Placeholders};
use super::table::{Key, Schema, Table};
use super::value::{self, Attribute, Item, invalid};
use super::{Input, Model, Moment};
use crate::simulated::service::Refusal;

/// Bytes of items that one page looks at.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// The partition that a key condition is about, and what it asks of the sort key.
struct Wanted {
    partition: Attribute,
    condition: Condition,
}

fn parts<'a>(condition: &'a Condition, into: &mut Vec<&'a Condition>) {
    if let Condition::And(left, right) = condition {
        parts(left, into);
        parts(right, into);
    } else {
        into.push(condition);
    }
}

fn wanted(schema: &Schema, condition: Condition) -> Result<Wanted, Refusal> {
    let (partition_name, _) = &schema.partition;
    let mut all = Vec::new();
    parts(&condition, &mut all);
    let (mut partition, mut sorts) = (None, 0);
    for part in all {
        let (name, value, comparison) = match part {
            Condition::Compare(Operand::Path(name), comparison, Operand::Value(value)) => {
                (name, value, Some(*comparison))
            }
            Condition::Between(Operand::Path(name), Operand::Value(low), Operand::Value(_)) => (name, low, None),
            Condition::BeginsWith(Operand::Path(name), Operand::Value(value)) => (name, value, None),
            Condition::Exists(_)
            | Condition::BeginsWith(..)
            | Condition::Compare(..)
            | Condition::Between(..)
            | Condition::In(..)
            | Condition::Not(_)
            | Condition::And(..)
            | Condition::Or(..) => {
                return Err(invalid("Invalid operator used in KeyConditionExpression"));
            }
        };
        let (_, of) = schema
            .attributes()
            .find(|(other, _)| other == name)
            .ok_or_else(|| invalid(format!("Query condition missed key schema element: {partition_name}")))?;
        if value.kind() != of.as_str() {
            return Err(invalid(
                "One or more parameter values were invalid: Condition parameter type does not match schema type",
            ));
        }
        if name != partition_name {
            if comparison == Some(Comparison::Unequal) {
                return Err(invalid("Unsupported operator on KeyConditionExpression: operator: <>"));
            }
            sorts += 1;
        } else if comparison != Some(Comparison::Equal) {
            return Err(invalid("Query key condition not supported"));
        } else if partition.replace(value.clone()).is_some() {
            sorts = 2;
        }
    }
    if sorts > 1 {
        return Err(invalid(
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ));
    }
    let missed = || invalid(format!("Query condition missed key schema element: {partition_name}"));
    Ok(Wanted { partition: partition.ok_or_else(missed)?, condition })
}

/// What a page is asked to be.
struct Page {
    after: Option<Key>,
    limit: usize,
    filter: Option<Condition>,
    projection: Option<std::collections::BTreeSet<String>>,
}

impl Page {
    fn of<'a>(&self, table: &'a Table, items: impl Iterator<Item = (&'a Key, &'a Item)>) -> Value {
        let (mut bytes, mut scanned, mut last) = (0, 0, None);
        let mut found: Vec<Value> = Vec::new();
        for (key, item) in items {
            bytes += value::size(item);
            // A page has at least one item, however large.
            if scanned == self.limit || (bytes > PAGE_BYTES_MAX && scanned > 0) {
                return self.told(found, scanned, last.map(|key| table.schema.item_of(key)));
            }
            scanned += 1;
            last = Some(key);
            if self.filter.as_ref().is_none_or(|filter| filter.holds(item)) {
                let is_asked = |name: &String| self.projection.as_ref().is_none_or(|names| names.contains(name));
                let item: Item = item
                    .iter()
                    .filter(|(name, _)| is_asked(name))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                found.push(value::to_json(&item));
            }
        }
        // A limit that is reached exactly is told of, though nothing may be left.
        let last = last.filter(|_| scanned == self.limit);
        self.told(found, scanned, last.map(|key| table.schema.item_of(key)))
    }

    fn told(&self, items: Vec<Value>, scanned: usize, last: Option<Item>) -> Value {
        let mut page = json!({ "Count": items.len(), "ScannedCount": scanned, "Items": items });
        if let Some(last) = last {
            page["LastEvaluatedKey"] = value::to_json(&last);
        }
        page
    }
}

fn page(input: &Input<'_>, placeholders: &Placeholders, schema: &Schema) -> Result<Page, Refusal> {
    let limit = match input.0.get("Limit").and_then(Value::as_i64) {
        None => usize::MAX,
        Some(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(|| {
            invalid(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
            ))
        })?,
    };
    let filter = input.text("FilterExpression");
    let filter = filter.map(|text| Condition::read("FilterExpression", text, placeholders)).transpose()?;
    let projection = input.text("ProjectionExpression");
    let projection = projection.map(|text| expression::projection(text, placeholders)).transpose()?;
    placeholders
        .check_used(filter.is_some() || projection.is_some() || input.text("KeyConditionExpression").is_some())?;
    let after = input.0.get("ExclusiveStartKey").map(|key| {
        schema.key(&value::read(key)?).map_err(|refusal| {
            let message = refusal.message;
            invalid(format!("The provided starting key is invalid: {message}"))
        })
    });
    Ok(Page { after: after.transpose()?, limit, filter, projection })
}

pub(super) fn query(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let input = Input(input);
    let placeholders = Placeholders::read(input.0)?;
    let text = input.text("KeyConditionExpression").ok_or_else(|| {
        invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
    })?;
    let condition = Condition::read("KeyConditionExpression", text, &placeholders)?;
    let table = model.readable(input.required("TableName")?, moment.now)?;
    let page = page(&input, &placeholders, &table.schema)?;
    let Wanted { partition, condition } = wanted(&table.schema, condition)?;
    let (name, _) = &table.schema.partition;
    let is_wanted = |item: &Item| item.get(name) == Some(&partition) && condition.holds(item);
    let items = table.items.iter().map(|(key, item)| (key, &**item)).filter(|(_, item)| is_wanted(item));
    let is_forward = input.0.get("ScanIndexForward").and_then(Value::as_bool).unwrap_or(true);
    Ok(if is_forward {
        page.of(table, items.filter(|(key, _)| page.after.as_ref().is_none_or(|after| *key > after)))
    } else {
        page.of(table, items.rev().filter(|(key, _)| page.after.as_ref().is_none_or(|after| *key < after)))
    })
}

pub(super) fn scan(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let input = Input(input);
    let placeholders = Placeholders::read(input.0)?;
    let table = model.readable(input.required("TableName")?, moment.now)?;
    let page = page(&input, &placeholders, &table.schema)?;
    let items = table.items.iter().map(|(key, item)| (key, &**item));
    Ok(page.of(table, items.filter(|(key, _)| page.after.as_ref().is_none_or(|after| *key > after))))
}
