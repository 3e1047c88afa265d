//! Operations on tables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::table::{Billing, KeyType, Schema, Table, arn};
use super::value::{self, invalid};
use super::{Input, Model, Moment};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// Names in one `ListTables`.
const NAMES_MAX: usize = 100;

fn schema(input: &Value) -> Result<Schema, Refusal> {
    let list = |member: &str| input.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut types = BTreeMap::new();
    for definition in list("AttributeDefinitions") {
        let of = match definition["AttributeType"].as_str() {
            Some("S") => KeyType::Text,
            Some("N") => KeyType::Number,
            Some("B") => KeyType::Bytes,
            Some(_) | None => {
                return Err(invalid("Member must satisfy enum value set: [B, N, S] at 'attributeType'"));
            }
        };
        types.insert(definition["AttributeName"].as_str().unwrap_or_default().to_owned(), of);
    }
    let mut attributes = Vec::new();
    for (element, (kind, place)) in list("KeySchema").iter().zip([("HASH", "first"), ("RANGE", "second")]) {
        if element["KeyType"] != kind {
            return Err(invalid(format!("Invalid KeySchema: The {place} KeySchemaElement is not a {kind} key type")));
        }
        let name = element["AttributeName"].as_str().unwrap_or_default().to_owned();
        let of = types.get(&name).copied().ok_or_else(|| {
            invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions.")
        })?;
        attributes.push((name, of));
    }
    let named: BTreeSet<&String> = attributes.iter().map(|(name, _)| name).collect();
    if named.len() != attributes.len() {
        return Err(invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name"));
    }
    if types.len() != attributes.len() || list("KeySchema").len() > 2 {
        return Err(invalid(
            "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
        ));
    }
    let mut attributes = attributes.into_iter();
    let partition = attributes.next().ok_or_else(|| invalid("Invalid KeySchema: No HASH key"))?;
    Ok(Schema { partition, sort: attributes.next() })
}

fn billing(input: &Value) -> Result<Billing, Refusal> {
    let units = |member: &str| input.pointer(&format!("/ProvisionedThroughput/{member}")).and_then(Value::as_u64);
    let provisioned = (units("ReadCapacityUnits"), units("WriteCapacityUnits"));
    match (input["BillingMode"].as_str(), provisioned) {
        (Some("PAY_PER_REQUEST"), (None, None)) => Ok(Billing::OnDemand),
        (Some("PAY_PER_REQUEST"), _) => Err(invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (_, (Some(read @ 1..), Some(write @ 1..))) => Ok(Billing::Provisioned(read, write)),
        (_, _) => Err(invalid(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
    }
}

pub(super) fn create(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let name = Input(input).required("TableName")?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !(3..=255).contains(&name.len()) || !name.bytes().all(is_part) {
        return Err(invalid(
            "TableName must be at least 3 characters long and at most 255 characters long, of a-z, A-Z, 0-9, '_', '-' and '.'",
        ));
    }
    let (schema, billing) = (schema(input)?, billing(input)?);
    let table = model.create(name, schema, billing, moment.now)?;
    Ok(json!({ "TableDescription": description(table, moment.now) }))
}

pub(super) fn delete(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let name = Input(input).required("TableName")?.to_owned();
    let until = model.until(moment.now);
    let table = model.table(&name, moment.now)?;
    if table.status(moment.now) != "ACTIVE" {
        return Err(Refusal::client(
            "ResourceInUseException",
            format!("Attempt to change a resource which is still in use: Table is being changed: {name}"),
        ));
    }
    table.gone_from = Some(until);
    Ok(json!({ "TableDescription": description(table, moment.now) }))
}

pub(super) fn describe(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let table = model.table(Input(input).required("TableName")?, moment.now)?;
    Ok(json!({ "Table": description(table, moment.now) }))
}

pub(super) fn list(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    model.forget_gone(moment.now);
    let limit = input.get("Limit").and_then(Value::as_u64).map_or(NAMES_MAX, |limit| limit as usize);
    if limit == 0 || limit > NAMES_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value between 1 and {NAMES_MAX}"
        )));
    }
    let from = Input(input).text("ExclusiveStartTableName");
    let mut names = model.tables.keys().filter(|name| from.is_none_or(|from| name.as_str() > from));
    let page: Vec<&String> = names.by_ref().take(limit).collect();
    let mut answer = json!({ "TableNames": page });
    if names.next().is_some() {
        answer["LastEvaluatedTableName"] = json!(page.last());
    }
    Ok(answer)
}

fn description(table: &Table, now: Millis) -> Value {
    let attributes: Vec<_> = table.schema.attributes().zip(["HASH", "RANGE"]).collect();
    let schema = attributes.iter().map(|((name, _), kind)| json!({ "AttributeName": name, "KeyType": kind }));
    let defined =
        attributes.iter().map(|((name, of), _)| json!({ "AttributeName": name, "AttributeType": of.as_str() }));
    let (read, write) = match table.billing {
        Billing::OnDemand => (0, 0),
        Billing::Provisioned(read, write) => (read, write),
    };
    let mut description = json!({
        "TableName": table.name,
        "TableArn": arn(&table.name),
        "TableStatus": table.status(now),
        "CreationDateTime": table.created as f64 / 1000.0,
        "KeySchema": schema.collect::<Value>(),
        "AttributeDefinitions": defined.collect::<Value>(),
        "ItemCount": table.items.len(),
        "TableSizeBytes": table.items.values().map(|item| value::size(item)).sum::<usize>(),
        "ProvisionedThroughput":
            { "ReadCapacityUnits": read, "WriteCapacityUnits": write, "NumberOfDecreasesToday": 0 },
    });
    if table.billing == Billing::OnDemand {
        description["BillingModeSummary"] = json!({ "BillingMode": "PAY_PER_REQUEST" });
    }
    description
}
