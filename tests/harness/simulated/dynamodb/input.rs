//! A request's members.

use serde_json::Value;

use super::value::invalid;
use crate::simulated::service::Refusal;

/// One request's members.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a Value);

impl<'a> Input<'a> {
    pub(super) fn text(&self, member: &str) -> Option<&'a str> {
        self.0.get(member)?.as_str()
    }

    pub(super) fn member(&self, member: &str) -> Result<&'a Value, Refusal> {
        self.0.get(member).ok_or_else(|| {
            let (first, rest) = member.split_at(1);
            let member = first.to_ascii_lowercase() + rest;
            invalid(format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not be null"
            ))
        })
    }

    pub(super) fn required(&self, member: &str) -> Result<&'a str, Refusal> {
        Ok(self.member(member)?.as_str().unwrap_or_default())
    }

    pub(super) fn tells_capacity(&self) -> bool {
        matches!(self.text("ReturnConsumedCapacity"), Some("TOTAL" | "INDEXES"))
    }

    /// Refuses members that would otherwise be ignored.
    pub(super) fn knows(&self, members: &[&str]) -> Result<(), Refusal> {
        let mut unknown =
            self.0.as_object().into_iter().flatten().filter(|(name, _)| !members.contains(&name.as_str()));
        match unknown.next() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("the simulation does not know the member {name}"))),
        }
    }
}
