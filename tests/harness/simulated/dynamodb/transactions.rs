//! `TransactWriteItems`: all parts or none, once for each token.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::singles::CONDITION_FAILED;
use super::step::{Against, Kind, Plan, Step};
use super::table::Billing;
use super::value::{self, invalid};
use super::{Input, Model, Moment, Oddity};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

const PARTS_MAX: usize = 100;
const BYTES_MAX: usize = 4 * 1024 * 1024;
const TOKEN_CHARS_MAX: usize = 36;
/// How long a token stands for its request.
const TOKEN_LIFE: Millis = 600_000;

/// Requests that were carried out, by token.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<String, (Value, Millis)>);

/// Why a part stands against its transaction: `CancellationReasons`, one for each part.
struct Reason {
    code: &'static str,
    message: Option<String>,
    item: Option<Value>,
}

impl Reason {
    const NONE: Self = Self { code: "None", message: None, item: None };

    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), item: None }
    }

    fn to_json(&self) -> Value {
        let mut reason = json!({ "Code": self.code });
        if let Some(message) = &self.message {
            reason["Message"] = json!(message);
        }
        if let Some(item) = &self.item {
            reason["Item"] = item.clone();
        }
        reason
    }
}

fn cancelled(reasons: &[Reason]) -> Refusal {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    Refusal::client("TransactionCanceledException", message)
        .with("CancellationReasons", reasons.iter().map(Reason::to_json).collect())
}

fn steps(parts: &[Value]) -> Result<Vec<Step>, Refusal> {
    let mut steps = Vec::new();
    for part in parts {
        let kinds =
            [("Put", Kind::Put), ("Delete", Kind::Delete), ("Update", Kind::Update), ("ConditionCheck", Kind::Check)];
        let mut found = kinds.iter().filter_map(|(name, kind)| Some((*name, *kind, part.get(name)?)));
        let (name, kind, input) = found.next().ok_or_else(|| {
            invalid("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
        })?;
        if found.next().is_some() {
            return Err(invalid("TransactItems can only contain one of Check, Put, Update or Delete"));
        }
        Input(input).knows(&[
            "TableName",
            if name == "Put" { "Item" } else { "Key" },
            if name == "Update" { "UpdateExpression" } else { "TableName" },
            "ConditionExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "ReturnValuesOnConditionCheckFailure",
        ])?;
        let needed = match kind {
            Kind::Update => Some("UpdateExpression"),
            Kind::Check => Some("ConditionExpression"),
            Kind::Put | Kind::Delete => None,
        };
        needed.map(|member| Input(input).required(member)).transpose()?;
        steps.push(Step::read(kind, input)?);
    }
    Ok(steps)
}

fn judge(model: &mut Model, steps: &[Step], now: Millis) -> Result<Vec<Result<Plan, Reason>>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut keys = Vec::new();
    for step in steps {
        let table = model.writable(&step.table, now)?;
        let key = match step.key(table) {
            Err(refusal) if refusal.message.contains("cannot contain an empty") => return Err(refusal),
            key => key,
        };
        if let Ok(key) = &key
            && !seen.insert((step.table.clone(), key.clone()))
        {
            return Err(invalid("Transaction request cannot include multiple operations on one item"));
        }
        keys.push(key);
    }
    if steps.iter().map(Step::size).sum::<usize>() > BYTES_MAX {
        return Err(invalid(
            "Collection size of items exceeded, which can also be caused by the aggregate size of the items in the transaction exceeding the 4MB limit",
        ));
    }
    let mut judged = Vec::new();
    for (step, key) in steps.iter().zip(keys) {
        let table = model.writable(&step.table, now)?;
        let planned = key.map_err(|refusal| Against::Invalid(refusal.message)).and_then(|key| step.plan(table, key));
        judged.push(planned.map_err(|against| match against {
            Against::Invalid(message) => Reason::new("ValidationError", message),
            Against::Condition(item) => Reason {
                item: item.map(|item| value::to_json(&item)),
                ..Reason::new("ConditionalCheckFailed", CONDITION_FAILED)
            },
        }));
    }
    Ok(judged)
}

/// Takes the units of every table, or of none and returns those that lack them. Transactions take double.
fn charge<'a>(model: &mut Model, plans: &'a [Plan], now: Millis) -> Result<BTreeMap<&'a str, u64>, BTreeSet<&'a str>> {
    let mut units: BTreeMap<&str, u64> = BTreeMap::new();
    for plan in plans {
        *units.entry(&plan.table).or_default() += 2 * plan.units;
    }
    let mut lacking = BTreeSet::new();
    let mut taken = Vec::new();
    for (name, units) in &units {
        if model.tables.get_mut(*name).is_some_and(|table| table.charge(*units, now)) {
            taken.push((*name, *units));
        } else {
            lacking.insert(*name);
        }
    }
    if lacking.is_empty() {
        return Ok(units);
    }
    for (name, units) in taken {
        if let Some(bucket) = model.tables.get_mut(name).and_then(|table| table.writes.as_mut()) {
            bucket.give_back(units);
        }
    }
    Err(lacking)
}

fn throttled(model: &Model, plans: &[Plan], lacking: &BTreeSet<&str>) -> Refusal {
    let reason = |plan: &Plan| {
        let table = model.tables.get(&plan.table).filter(|_| lacking.contains(plan.table.as_str()));
        table.map_or(Reason::NONE, |table| {
            let code = match table.billing {
                Billing::Provisioned(..) => "ProvisionedThroughputExceeded",
                Billing::OnDemand => "ThrottlingError",
            };
            Reason::new(code, table.throttled().message)
        })
    };
    cancelled(&plans.iter().map(reason).collect::<Vec<_>>())
}

pub(super) fn write(
    model: &mut Model,
    input: &Value,
    moment: Moment,
    oddity: Option<Oddity>,
) -> Result<Value, Refusal> {
    let parts = input.get("TransactItems").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX {
        let (than, length) = if parts.is_empty() { ("greater", 1) } else { ("less", PARTS_MAX) };
        return Err(invalid(format!(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length {than} than or equal to {length}"
        )));
    }
    let token = Input(input).text("ClientRequestToken");
    if let Some(token) = token.filter(|token| token.is_empty() || token.len() > TOKEN_CHARS_MAX) {
        let (than, length) = if token.is_empty() { ("greater", 1) } else { ("less", TOKEN_CHARS_MAX) };
        return Err(invalid(format!(
            "1 validation error detected: Value '{token}' at 'clientRequestToken' failed to satisfy constraint: Member must have length {than} than or equal to {length}"
        )));
    }
    let steps = steps(parts)?;
    if let Some(Oddity::Conflict { part }) = oddity {
        let conflict = || Reason::new("TransactionConflict", "Transaction is ongoing for the item");
        let reason = |index| if index == part.min(parts.len() - 1) { conflict() } else { Reason::NONE };
        return Err(cancelled(&(0..parts.len()).map(reason).collect::<Vec<_>>()));
    }
    let now = moment.now;
    model.tokens.0.retain(|_, (_, at)| now - *at < TOKEN_LIFE);
    if let Some((asked, _)) = token.and_then(|token| model.tokens.0.get(token)) {
        if asked == &input["TransactItems"] {
            return Ok(json!({}));
        }
        return Err(Refusal::client(
            "IdempotentParameterMismatchException",
            "An error occurred (IdempotentParameterMismatchException)",
        ));
    }
    let judged = judge(model, &steps, now)?;
    if judged.iter().any(Result::is_err) {
        let reasons: Vec<Reason> = judged.into_iter().map(|judged| judged.err().unwrap_or(Reason::NONE)).collect();
        return Err(cancelled(&reasons));
    }
    let plans: Vec<Plan> = judged.into_iter().flatten().collect();
    let consumed = match charge(model, &plans, now) {
        Ok(units) => {
            units.into_iter().map(|(table, units)| json!({ "TableName": table, "CapacityUnits": units as f64 }))
        }
        Err(lacking) => return Err(throttled(model, &plans, &lacking)),
    };
    let consumed: Value = consumed.collect();
    for plan in plans {
        model.carry_out(plan, moment);
    }
    if let Some(token) = token {
        model.tokens.0.insert(token.to_owned(), (input["TransactItems"].clone(), now));
    }
    Ok(if Input(input).tells_capacity() { json!({ "ConsumedCapacity": consumed }) } else { json!({}) })
}
