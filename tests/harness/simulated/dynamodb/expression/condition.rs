//! Conditions: read, and held against an item.

use std::cmp::Ordering;

use super::{Placeholders, Reader, Token};
use crate::simulated::dynamodb::value::{Attribute, Item};
use crate::simulated::service::Refusal;

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulated::dynamodb) enum Operand {
    Path(String),
    Value(Attribute),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulated::dynamodb) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulated::dynamodb) enum Condition {
    Exists(String),
    BeginsWith(Operand, Operand),
    Compare(Operand, Comparison, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Operand {
    fn of<'a>(&'a self, item: &'a Item) -> Option<&'a Attribute> {
        match self {
            Self::Path(name) => item.get(name),
            Self::Value(value) => Some(value),
        }
    }
}

/// The order of two values of one type that has an order.
fn order(left: &Attribute, right: &Attribute) -> Option<Ordering> {
    match (left, right) {
        (Attribute::Text(left), Attribute::Text(right)) => Some(left.cmp(right)),
        (Attribute::Number(left), Attribute::Number(right)) => Some(left.cmp(right)),
        (Attribute::Bytes(left), Attribute::Bytes(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

impl Comparison {
    fn holds(self, left: Option<&Attribute>, right: Option<&Attribute>) -> bool {
        // What is missing differs from everything.
        let (Some(left), Some(right)) = (left, right) else { return self == Self::Unequal };
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => order(left, right).is_some_and(Ordering::is_lt),
            Self::AtMost => order(left, right).is_some_and(Ordering::is_le),
            Self::Greater => order(left, right).is_some_and(Ordering::is_gt),
            Self::AtLeast => order(left, right).is_some_and(Ordering::is_ge),
        }
    }
}

impl Condition {
    /// Reads the whole of an expression.
    pub(in crate::simulated::dynamodb) fn read(
        what: &str,
        text: &str,
        placeholders: &Placeholders,
    ) -> Result<Self, Refusal> {
        Reader::whole(what, text, placeholders, Reader::condition)
    }

    /// Whether an item, which is empty where there is none, is as the condition says.
    pub(in crate::simulated::dynamodb) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::Exists(name) => item.contains_key(name),
            Self::BeginsWith(whole, begin) => match (whole.of(item), begin.of(item)) {
                (Some(Attribute::Text(whole)), Some(Attribute::Text(begin))) => whole.starts_with(begin.as_str()),
                (Some(Attribute::Bytes(whole)), Some(Attribute::Bytes(begin))) => whole.starts_with(begin),
                _ => false,
            },
            Self::Compare(left, comparison, right) => comparison.holds(left.of(item), right.of(item)),
            Self::Between(operand, low, high) => {
                Comparison::AtLeast.holds(operand.of(item), low.of(item))
                    && Comparison::AtMost.holds(operand.of(item), high.of(item))
            }
            Self::In(operand, all) => all.iter().any(|other| Comparison::Equal.holds(operand.of(item), other.of(item))),
            Self::Not(condition) => !condition.holds(item),
            Self::And(left, right) => left.holds(item) && right.holds(item),
            Self::Or(left, right) => left.holds(item) || right.holds(item),
        }
    }
}

impl Reader<'_> {
    fn condition(&mut self) -> Result<Condition, String> {
        let mut left = self.conjunction()?;
        while self.takes_word("OR") {
            left = Condition::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Condition, String> {
        let mut left = self.negation()?;
        while self.takes_word("AND") {
            left = Condition::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Condition, String> {
        if self.takes_word("NOT") {
            return Ok(Condition::Not(Box::new(self.negation()?)));
        }
        if self.takes("(") {
            let inner = self.condition()?;
            self.expects(")")?;
            return Ok(inner);
        }
        if let Some(function) = self.call() {
            let condition = self.function(&function)?;
            self.expects(")")?;
            return Ok(condition);
        }
        self.comparison()
    }

    fn function(&mut self, name: &str) -> Result<Condition, String> {
        match name {
            "attribute_exists" => Ok(Condition::Exists(self.path()?)),
            "attribute_not_exists" => Ok(Condition::Not(Box::new(Condition::Exists(self.path()?)))),
            "begins_with" => {
                let whole = self.operand()?;
                self.expects(",")?;
                Ok(Condition::BeginsWith(whole, self.operand()?))
            }
            "attribute_type" | "contains" | "size" => Err(format!("the simulation does not know the function {name}")),
            other => Err(format!("Invalid function name; function: {other}")),
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        if let Some(function) = self.call() {
            return Err(format!("the simulation does not know the function {function} as an operand"));
        }
        Ok(match self.value()? {
            Some(value) => Operand::Value(value),
            None => Operand::Path(self.path()?),
        })
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        if self.takes_word("BETWEEN") {
            let low = self.operand()?;
            if !self.takes_word("AND") {
                return Err(self.syntax());
            }
            return Ok(Condition::Between(left, low, self.operand()?));
        }
        if self.takes_word("IN") {
            self.expects("(")?;
            let mut all = vec![self.operand()?];
            while self.takes(",") {
                all.push(self.operand()?);
            }
            self.expects(")")?;
            return Ok(Condition::In(left, all));
        }
        let comparison = match self.peek() {
            Some(Token::Symbol("=")) => Comparison::Equal,
            Some(Token::Symbol("<>")) => Comparison::Unequal,
            Some(Token::Symbol("<")) => Comparison::Less,
            Some(Token::Symbol("<=")) => Comparison::AtMost,
            Some(Token::Symbol(">")) => Comparison::Greater,
            Some(Token::Symbol(">=")) => Comparison::AtLeast,
            Some(Token::Word(_) | Token::Name(_) | Token::Value(_) | Token::Symbol(_)) | None => {
                return Err(self.syntax());
            }
        };
        self.at += 1;
        let right = self.operand()?;
        if comparison != Comparison::Equal && comparison != Comparison::Unequal {
            for operand in [&left, &right] {
                if let Operand::Value(value) = operand
                    && order(value, value).is_none()
                {
                    let symbol = self.tokens[self.at - 2].text();
                    let kind = value.kind();
                    return Err(format!(
                        "Incorrect operand type for operator or function; operator or function: {symbol}, operand type: {kind}"
                    ));
                }
            }
        }
        Ok(Condition::Compare(left, comparison, right))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulated::dynamodb::value;

    fn read(text: &str) -> Result<Condition, String> {
        let input = json!({
            "ExpressionAttributeNames": { "#o": "owner" },
            "ExpressionAttributeValues": {
                ":one": { "N": "1.0" }, ":two": { "N": "2" }, ":me": { "S": "me" }, ":m": { "S": "m" },
                ":map": { "M": {} },
            },
        });
        let placeholders = Placeholders::read(&input).expect("well formed");
        Condition::read("ConditionExpression", text, &placeholders).map_err(|refusal| refusal.message)
    }

    #[test]
    fn conditions_hold_as_documented() {
        let item = value::read(&json!({ "id": { "S": "a" }, "epoch": { "N": "1" }, "owner": { "S": "me" } }));
        let item = item.expect("well formed");
        for (text, expected) in [
            ("attribute_exists(id)", true),
            ("attribute_not_exists(id)", false),
            ("attribute_not_exists(id) OR epoch = :one", true),
            ("#o = :me AND epoch < :two", true),
            ("#o=:me AND NOT epoch<=:two", false),
            ("NOT (#o <> :me OR epoch >= :two)", true),
            ("absent = :one", false),
            ("absent <> :one", true),
            ("absent < :one", false),
            ("epoch = :me", false),
            ("epoch <> :me", true),
            ("epoch < :me", false),
            ("epoch BETWEEN :one AND :two AND begins_with(#o, :m)", true),
            ("#o IN (:one, :me)", true),
            ("attribute_exists(id) OR attribute_exists(x) AND attribute_exists(y)", true),
            ("epoch > id", false),
        ] {
            assert_eq!(read(text).expect(text).holds(&item), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_says_so() {
        for (text, message) in [
            ("", "The expression can not be empty;"),
            ("attribute_exists(#x)", "is not defined; attribute name: #x"),
            ("id = :x", "is not defined; attribute value: :x"),
            ("name = :me", "reserved keyword: name"),
            ("a.b = :me", "the simulation knows no paths"),
            ("size(id) > :one", "the simulation does not know the function size"),
            ("contains(id, :me)", "the simulation does not know the function contains"),
            ("exists(id)", "Invalid function name; function: exists"),
            ("id = ", "Syntax error; token: \"<EOF>\", near: \"=\""),
            ("id == :me", "Syntax error; token: \"=\", near: \"= = :me\""),
            ("(id = :me", "Syntax error"),
            ("id = :me :me", "Syntax error"),
            ("id ! :me", "Syntax error; token: \"!\""),
            ("id < :map", "operator or function: <, operand type: M"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.starts_with("Invalid ConditionExpression: ") && refused.contains(message), "{refused}");
        }
    }
}
