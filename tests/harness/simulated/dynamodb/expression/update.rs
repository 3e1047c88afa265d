//! Updates: read, and done to an item.

use std::collections::{BTreeMap, BTreeSet};

use super::{Placeholders, Reader, Token};
use crate::simulated::dynamodb::number::Number;
use crate::simulated::dynamodb::value::{Attribute, Item};
use crate::simulated::service::Refusal;

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Path(String),
    Value(Attribute),
    IfNotExists(String, Box<Source>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Set(Source, Option<(Sign, Source)>),
    Remove,
    Add(Attribute),
}

/// What an `UpdateExpression` does, by attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::simulated::dynamodb) struct Update(BTreeMap<String, Action>);

/// Why an update cannot be done to an item: the message of the service's refusal.
const NO_ATTRIBUTE: &str = "The provided expression refers to an attribute that does not exist in the item";
const WRONG_TYPE: &str = "An operand in the update expression has an incorrect data type";

impl Update {
    /// Reads the whole of an expression.
    pub(in crate::simulated::dynamodb) fn read(text: &str, placeholders: &Placeholders) -> Result<Self, Refusal> {
        Reader::whole("UpdateExpression", text, placeholders, Reader::update)
    }

    /// The attributes that it changes.
    pub(in crate::simulated::dynamodb) fn targets(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The item afterwards. Every operand is read from the item as it was.
    pub(in crate::simulated::dynamodb) fn done_to(&self, before: &Item) -> Result<Item, String> {
        let mut after = before.clone();
        for (name, action) in &self.0 {
            let value = match action {
                Action::Set(source, None) => source.of(before)?,
                Action::Set(left, Some((sign, right))) => {
                    let (left, right) = (left.number(before)?, right.number(before)?);
                    Attribute::Number(match sign {
                        Sign::Plus => left.plus(&right)?,
                        Sign::Minus => left.minus(&right)?,
                    })
                }
                Action::Remove => {
                    after.remove(name);
                    continue;
                }
                Action::Add(more) => sum(before.get(name), more)?,
            };
            after.insert(name.clone(), value);
        }
        Ok(after)
    }
}

impl Source {
    fn of(&self, item: &Item) -> Result<Attribute, String> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Path(name) => item.get(name).cloned().ok_or_else(|| NO_ATTRIBUTE.to_owned()),
            Self::IfNotExists(name, otherwise) => match item.get(name) {
                Some(value) => Ok(value.clone()),
                None => otherwise.of(item),
            },
        }
    }

    fn number(&self, item: &Item) -> Result<Number, String> {
        if let Attribute::Number(number) = self.of(item)? { Ok(number) } else { Err(WRONG_TYPE.to_owned()) }
    }
}

/// What `ADD` makes of a number or a set.
fn sum(before: Option<&Attribute>, more: &Attribute) -> Result<Attribute, String> {
    fn union<T: Ord + Clone>(left: &BTreeSet<T>, right: &BTreeSet<T>) -> BTreeSet<T> {
        left.union(right).cloned().collect()
    }
    match (before, more) {
        (None, more) => Ok(more.clone()),
        (Some(Attribute::Number(before)), Attribute::Number(more)) => before.plus(more).map(Attribute::Number),
        (Some(Attribute::Texts(before)), Attribute::Texts(more)) => Ok(Attribute::Texts(union(before, more))),
        (Some(Attribute::Numbers(before)), Attribute::Numbers(more)) => Ok(Attribute::Numbers(union(before, more))),
        (Some(Attribute::ByteStrings(before)), Attribute::ByteStrings(more)) => {
            Ok(Attribute::ByteStrings(union(before, more)))
        }
        (Some(_), _) => Err(WRONG_TYPE.to_owned()),
    }
}

impl Reader<'_> {
    fn update(&mut self) -> Result<Update, String> {
        let mut update = Update::default();
        let mut seen = BTreeSet::new();
        while let Some(Token::Word(word)) = self.peek() {
            let clause = word.to_ascii_uppercase();
            if !["SET", "REMOVE", "ADD", "DELETE"].contains(&clause.as_str()) {
                return Err(self.syntax());
            }
            if clause == "DELETE" {
                return Err("the simulation does not know DELETE".to_owned());
            }
            if !seen.insert(clause.clone()) {
                return Err(format!("The \"{clause}\" section can only be used once in an update expression;"));
            }
            self.at += 1;
            loop {
                let (name, action) = self.action(&clause)?;
                if update.0.insert(name.clone(), action).is_some() {
                    return Err(format!(
                        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [{name}], path two: [{name}]"
                    ));
                }
                if !self.takes(",") {
                    break;
                }
            }
        }
        Ok(update)
    }

    fn action(&mut self, clause: &str) -> Result<(String, Action), String> {
        let name = self.path()?;
        let action = match clause {
            "REMOVE" => Action::Remove,
            "ADD" => {
                let value = self.value()?.ok_or_else(|| self.syntax())?;
                if !matches!(value.kind(), "N" | "SS" | "NS" | "BS") {
                    return Err(format!(
                        "Incorrect operand type for operator or function; operator: ADD, operand type: {}",
                        value.kind()
                    ));
                }
                Action::Add(value)
            }
            _ => {
                self.expects("=")?;
                let left = self.source()?;
                let sign = if self.takes("+") {
                    Some(Sign::Plus)
                } else if self.takes("-") {
                    Some(Sign::Minus)
                } else {
                    None
                };
                let right = sign.map(|sign| Ok::<_, String>((sign, self.source()?))).transpose()?;
                Action::Set(left, right)
            }
        };
        Ok((name, action))
    }

    fn source(&mut self) -> Result<Source, String> {
        if let Some(function) = self.call() {
            if function != "if_not_exists" {
                return Err(match function.as_str() {
                    "list_append" => "the simulation does not know the function list_append".to_owned(),
                    other => format!("Invalid function name; function: {other}"),
                });
            }
            let name = self.path()?;
            self.expects(",")?;
            let otherwise = Box::new(self.source()?);
            self.expects(")")?;
            return Ok(Source::IfNotExists(name, otherwise));
        }
        Ok(match self.value()? {
            Some(value) => Source::Value(value),
            None => Source::Path(self.path()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::simulated::dynamodb::value;

    fn done(text: &str, item: &Value) -> Result<Value, String> {
        let input = json!({
            "ExpressionAttributeNames": { "#n": "name" },
            "ExpressionAttributeValues": {
                ":zero": { "N": "0" }, ":one": { "N": "1" }, ":me": { "S": "me" }, ":set": { "SS": ["b", "c"] },
            },
        });
        let placeholders = Placeholders::read(&input).expect("well formed");
        let update = Update::read(text, &placeholders).map_err(|refusal| refusal.message)?;
        update.done_to(&value::read(item).expect("well formed")).map(|item| value::to_json(&item))
    }

    #[test]
    fn updates_change_what_they_say_and_nothing_else() {
        let item = json!({ "id": { "S": "a" }, "n": { "N": "41" }, "s": { "SS": ["a", "b"] } });
        for (text, changed) in [
            ("SET #n = :me", json!({ "name": { "S": "me" } })),
            ("SET n = n + :one, m = n", json!({ "n": { "N": "42" }, "m": { "N": "41" } })),
            ("set n = :one - n", json!({ "n": { "N": "-40" } })),
            ("SET b = if_not_exists(b, :zero) + :one", json!({ "b": { "N": "1" } })),
            ("SET n = if_not_exists(n, :zero) + :one REMOVE s", json!({ "n": { "N": "42" }, "s": null })),
            ("REMOVE s, absent", json!({ "s": null })),
            (
                "ADD n :one, s :set, k :one",
                json!({ "n": { "N": "42" }, "s": { "SS": ["a", "b", "c"] }, "k": { "N": "1" } }),
            ),
        ] {
            let mut expected = item.clone();
            for (name, value) in changed.as_object().expect("a map") {
                if value.is_null() {
                    expected.as_object_mut().expect("a map").remove(name);
                } else {
                    expected[name] = value.clone();
                }
            }
            assert_eq!(done(text, &item).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_done_says_so() {
        let item = json!({ "id": { "S": "a" }, "s": { "SS": ["a"] } });
        for (text, message) in [
            ("SET a = absent", NO_ATTRIBUTE),
            ("SET a = absent + :one", NO_ATTRIBUTE),
            ("SET a = :me + :one", WRONG_TYPE),
            ("ADD s :one", WRONG_TYPE),
            ("ADD s :me", "operator: ADD, operand type: S"),
            ("SET a = :one, a = :zero", "Two document paths overlap"),
            ("SET a = :one REMOVE a", "Two document paths overlap"),
            ("SET a = :one SET b = :one", "can only be used once"),
            ("SET a = list_append(a, :one)", "the simulation does not know the function list_append"),
            ("SET a = nonsense(a)", "Invalid function name; function: nonsense"),
            ("DELETE s :set", "the simulation does not know DELETE"),
            ("SET a[0] = :one", "the simulation knows no paths"),
            ("CHANGE a = :one", "Syntax error; token: \"CHANGE\""),
            ("SET a = :one b", "Syntax error"),
            ("SET a", "Syntax error; token: \"<EOF>\""),
        ] {
            let refused = done(text, &item).expect_err(text);
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }
}
