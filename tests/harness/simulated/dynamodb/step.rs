//! One write, alone or as a part of a transaction: what is asked, what it would make of the item, and what stands against
//! it.

use std::sync::Arc;

use serde_json::Value;

use super::expression::{Condition, Placeholders, Update};
use super::table::{Key, Table};
use super::throughput::units;
use super::value::{self, ITEM_BYTES_MAX, Item, invalid};
use super::{Input, Write, table_name};
use crate::simulated::clock::Millis;
use crate::simulated::service::Refusal;

/// Which write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Delete,
    Update,
    Check,
}

#[derive(Debug)]
enum Change {
    Put(Item),
    Delete,
    Update(Option<Update>),
    Check,
}

/// A write as it is asked for, judged without knowing the table.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) table: String,
    /// The whole item of a put, the key of others.
    told_by: Item,
    change: Change,
    condition: Option<Condition>,
    tells_item: bool,
}

/// What a step would do.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) table: String,
    pub(super) key: Key,
    pub(super) before: Option<Arc<Item>>,
    pub(super) after: Option<Arc<Item>>,
    pub(super) units: u64,
    is_write: bool,
}

/// Why a step cannot be done.
#[derive(Debug)]
pub(super) enum Against {
    /// The condition, with the item if the request asks for it.
    Condition(Option<Arc<Item>>),
    Invalid(String),
}

fn too_large() -> Refusal {
    invalid("Item size has exceeded the maximum allowed size")
}

/// An item that can be put.
pub(super) fn whole_item(input: &Value) -> Result<Item, Refusal> {
    let item = value::read(input)?;
    if value::size(&item) > ITEM_BYTES_MAX { Err(too_large()) } else { Ok(item) }
}

impl Step {
    /// Reads the members that a lone request and a part of a transaction have in common.
    pub(super) fn read(kind: Kind, input: &Value) -> Result<Self, Refusal> {
        let input = Input(input);
        let table = table_name(input.required("TableName")?);
        let placeholders = Placeholders::read(input.0)?;
        let update = input.text("UpdateExpression");
        let condition = input.text("ConditionExpression");
        let update = update.map(|text| Update::read(text, &placeholders)).transpose()?;
        let condition =
            condition.map(|text| Condition::read("ConditionExpression", text, &placeholders)).transpose()?;
        placeholders.check_used(update.is_some() || condition.is_some())?;
        let (told_by, change) = match kind {
            Kind::Put => {
                let item = whole_item(input.member("Item")?)?;
                (item.clone(), Change::Put(item))
            }
            Kind::Delete => (value::read(input.member("Key")?)?, Change::Delete),
            Kind::Update => (value::read(input.member("Key")?)?, Change::Update(update)),
            Kind::Check => (value::read(input.member("Key")?)?, Change::Check),
        };
        let tells_item = input.text("ReturnValuesOnConditionCheckFailure") == Some("ALL_OLD");
        Ok(Self { table, told_by, change, condition, tells_item })
    }

    /// Bytes that it counts for in a transaction.
    pub(super) fn size(&self) -> usize {
        value::size(&self.told_by)
    }

    /// Which item of the table it is about.
    pub(super) fn key(&self, table: &Table) -> Result<Key, Refusal> {
        match &self.change {
            Change::Put(item) => table.schema.key_of_item(item),
            Change::Delete | Change::Update(_) | Change::Check => table.schema.key(&self.told_by),
        }
    }

    /// Attributes that an update names.
    pub(super) fn targets(&self) -> Vec<String> {
        match &self.change {
            Change::Update(Some(update)) => update.targets().cloned().collect(),
            Change::Update(None) | Change::Put(_) | Change::Delete | Change::Check => Vec::new(),
        }
    }

    /// What it would do now.
    pub(super) fn plan(&self, table: &Table, key: Key) -> Result<Plan, Against> {
        let before = table.items.get(&key).cloned();
        let none = Item::new();
        if !self.condition.as_ref().is_none_or(|condition| condition.holds(before.as_deref().unwrap_or(&none))) {
            return Err(Against::Condition(before.filter(|_| self.tells_item)));
        }
        let after = match &self.change {
            Change::Put(item) => Some(Arc::new(item.clone())),
            Change::Delete => None,
            Change::Check => before.clone(),
            Change::Update(update) => Some(Arc::new(self.updated(table, before.as_deref(), update.as_ref())?)),
        };
        let size = |item: &Option<Arc<Item>>| item.as_deref().map_or(0, value::size);
        let units = units(size(&before).max(size(&after)));
        let is_write = !matches!(self.change, Change::Check);
        Ok(Plan { table: self.table.clone(), key, before, after, units, is_write })
    }

    fn updated(&self, table: &Table, before: Option<&Item>, update: Option<&Update>) -> Result<Item, Against> {
        let before = before.unwrap_or(&self.told_by);
        let Some(update) = update else { return Ok(before.clone()) };
        for target in update.targets() {
            if table.schema.attributes().any(|(name, _)| name == target) {
                return Err(Against::Invalid(format!(
                    "One or more parameter values were invalid: Cannot update attribute {target}. This attribute is part of the key"
                )));
            }
        }
        let after = update.done_to(before).map_err(Against::Invalid)?;
        if value::is_too_deep(&after) {
            return Err(Against::Invalid("Nesting Levels have exceeded supported limits".to_owned()));
        }
        if value::size(&after) > ITEM_BYTES_MAX {
            return Err(Against::Invalid("Item size to update has exceeded the maximum allowed size".to_owned()));
        }
        Ok(after)
    }
}

impl Plan {
    /// The put or the deletion of a batch, which nothing stands against.
    pub(super) fn unconditional(table: &Table, key: Key, after: Option<Item>) -> Self {
        let before = table.items.get(&key).cloned();
        let size = before.as_deref().map_or(0, value::size).max(after.as_ref().map_or(0, value::size));
        Self { table: table.name.clone(), key, before, after: after.map(Arc::new), units: units(size), is_write: true }
    }

    /// Does it. Returns what the truth remembers, unless it only looked.
    pub(super) fn carry_out(
        self,
        table: &mut Table,
        (operation, request, at): (&'static str, u64, Millis),
    ) -> Option<Write> {
        if !self.is_write {
            return None;
        }
        let Self { key, before, after, .. } = self;
        let write = Write {
            order: 0,
            request,
            operation,
            at,
            key: table.schema.item_of(&key),
            before: before.as_deref().cloned(),
            after: after.as_deref().cloned(),
        };
        match after {
            Some(item) => table.items.insert(key, item),
            None => table.items.remove(&key),
        };
        Some(write)
    }
}
