//! Operations on one item.

use serde_json::{Value, json};

use super::expression::{self, Placeholders};
use super::step::{Against, Kind, Step};
use super::value::{self, Item, invalid};
use super::{Input, Model, Moment};
use crate::simulated::service::Refusal;

/// What a refused condition says.
pub(super) const CONDITION_FAILED: &str = "The conditional request failed";

/// `PutItem`, `DeleteItem`, `UpdateItem`.
pub(super) fn write(model: &mut Model, kind: Kind, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let returned = returned(kind, input)?;
    let step = Step::read(kind, input)?;
    let table = model.writable(&step.table, moment.now)?;
    let key = step.key(table)?;
    let plan = step.plan(table, key).map_err(|against| match against {
        Against::Invalid(message) => invalid(message),
        Against::Condition(item) => {
            let refusal = Refusal::client("ConditionalCheckFailedException", CONDITION_FAILED);
            match item {
                Some(item) => refusal.with("Item", value::to_json(&item)),
                None => refusal,
            }
        }
    })?;
    let units = plan.units;
    if !table.charge(units, moment.now) {
        return Err(table.throttled());
    }
    let (before, after) = (plan.before.clone(), plan.after.clone());
    model.carry_out(plan, moment);
    let targets = step.targets();
    let only = |item: &Item| item.iter().filter(|(name, _)| targets.contains(name)).map(own).collect::<Item>();
    let attributes = match returned {
        Returned::None => None,
        Returned::Old => before.as_deref().cloned(),
        Returned::New => after.as_deref().cloned(),
        Returned::UpdatedOld => before.as_deref().map(only),
        Returned::UpdatedNew => after.as_deref().map(only),
    };
    let mut answer = json!({});
    if let Some(attributes) = attributes.filter(|attributes| !attributes.is_empty()) {
        answer["Attributes"] = value::to_json(&attributes);
    }
    if Input(input).tells_capacity() {
        answer["ConsumedCapacity"] = json!({ "TableName": step.table, "CapacityUnits": units as f64 });
    }
    Ok(answer)
}

fn own((name, value): (&String, &value::Attribute)) -> (String, value::Attribute) {
    (name.clone(), value.clone())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returned {
    None,
    Old,
    New,
    UpdatedOld,
    UpdatedNew,
}

fn returned(kind: Kind, input: &Value) -> Result<Returned, Refusal> {
    let text = Input(input).text("ReturnValues").unwrap_or("NONE");
    let returned = match text {
        "NONE" => Returned::None,
        "ALL_OLD" => Returned::Old,
        "ALL_NEW" => Returned::New,
        "UPDATED_OLD" => Returned::UpdatedOld,
        "UPDATED_NEW" => Returned::UpdatedNew,
        other => {
            return Err(invalid(format!(
                "1 validation error detected: Value '{other}' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
            )));
        }
    };
    match (kind, returned) {
        (Kind::Update, _) | (_, Returned::None | Returned::Old) => Ok(returned),
        (Kind::Put | Kind::Delete | Kind::Check, Returned::New | Returned::UpdatedOld | Returned::UpdatedNew) => {
            Err(invalid("ReturnValues can only be ALL_OLD or NONE"))
        }
    }
}

/// `GetItem`. Every read is consistent, whatever is asked for: an inconsistent one may be, too.
pub(super) fn get(model: &mut Model, input: &Value, moment: Moment) -> Result<Value, Refusal> {
    let members = Input(input);
    let placeholders = Placeholders::read(input)?;
    let projection = members.text("ProjectionExpression");
    let projection = projection.map(|text| expression::projection(text, &placeholders)).transpose()?;
    placeholders.check_used(projection.is_some())?;
    let key = value::read(members.member("Key")?)?;
    let table = model.readable(members.required("TableName")?, moment.now)?;
    let key = table.schema.key(&key)?;
    let Some(item) = table.items.get(&key) else { return Ok(json!({})) };
    let is_asked = |name: &String| projection.as_ref().is_none_or(|names| names.contains(name));
    let item: Item = item.iter().filter(|(name, _)| is_asked(name)).map(own).collect();
    Ok(json!({ "Item": value::to_json(&item) }))
}
