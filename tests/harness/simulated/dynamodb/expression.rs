//! Expressions, as far as a well-kept lease store and a sink use them: top-level attributes, comparisons, `BETWEEN`, `IN`,
//! `attribute_exists`, `attribute_not_exists`, `begins_with`, `SET` with one sum and `if_not_exists`, `REMOVE`, `ADD`. What
//! is beyond that is refused in words of our own, which no service has: a test that meets them asks too much of this
//! module, and notices.

mod condition;
mod update;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::value::{Attribute, invalid};
use crate::simulated::service::Refusal;

pub(super) use self::condition::{Comparison, Condition, Operand};
pub(super) use self::update::Update;

/// Bytes of one expression.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// Words that cannot be attributes' names unless a placeholder stands for them.
static RESERVED: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| include_str!("expression/reserved.txt").split_whitespace().collect());

/// What the placeholders of one request stand for.
pub(super) struct Placeholders {
    names: BTreeMap<String, String>,
    values: BTreeMap<String, Attribute>,
    used: RefCell<BTreeSet<String>>,
}

impl Placeholders {
    /// `ExpressionAttributeNames` and `ExpressionAttributeValues`.
    pub(super) fn read(input: &Value) -> Result<Self, Refusal> {
        let members = |member: &str| input.get(member).and_then(Value::as_object);
        for member in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
            if members(member).is_some_and(serde_json::Map::is_empty) {
                return Err(invalid(format!("{member} must not be empty")));
            }
        }
        let names = members("ExpressionAttributeNames").into_iter().flatten();
        let names = names.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        let mut values = BTreeMap::new();
        for (name, value) in members("ExpressionAttributeValues").into_iter().flatten() {
            let value = Attribute::read(value).map_err(|refusal| {
                let message = refusal.message;
                invalid(format!("ExpressionAttributeValues contains invalid value: {message} for key {name}"))
            })?;
            values.insert(name.clone(), value);
        }
        Ok(Self { names, values, used: RefCell::default() })
    }

    /// Whether every placeholder was used by some expression.
    pub(super) fn check_used(&self, has_expression: bool) -> Result<(), Refusal> {
        let used = self.used.borrow();
        let names: BTreeSet<&String> = self.names.keys().filter(|name| !used.contains(*name)).collect();
        let values: BTreeSet<&String> = self.values.keys().filter(|name| !used.contains(*name)).collect();
        for (member, unused) in [("ExpressionAttributeNames", names), ("ExpressionAttributeValues", values)] {
            if !unused.is_empty() && !has_expression {
                return Err(invalid(format!("{member} can only be specified when using expressions")));
            }
            if !unused.is_empty() {
                let unused: Vec<&str> = unused.into_iter().map(String::as_str).collect();
                let keys = unused.join(", ");
                return Err(invalid(format!("Value provided in {member} unused in expressions: keys: {{{keys}}}")));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `#n`.
    Name(String),
    /// `:v`.
    Value(String),
    Symbol(&'static str),
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Value(text) => text,
            Self::Symbol(text) => text,
        }
    }
}

const SYMBOLS: [&str; 14] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "+", "-", ".", "[", "]"];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |other: char| other.is_alphanumeric() || other == '_';
        let length = if is_part(first) || first == '#' || first == ':' {
            first.len_utf8()
                + rest[first.len_utf8()..].find(|other| !is_part(other)).unwrap_or(rest.len() - first.len_utf8())
        } else {
            SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).map_or(0, |symbol| symbol.len())
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match first {
            '#' => Token::Name(token.to_owned()),
            ':' => Token::Value(token.to_owned()),
            _ if is_part(first) => Token::Word(token.to_owned()),
            _ => match SYMBOLS.iter().find(|symbol| **symbol == token) {
                Some(symbol) => Token::Symbol(symbol),
                None => return Err(format!("Syntax error; token: \"{first}\", near: \"{rest}\"")),
            },
        });
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// An expression that is being read.
struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    placeholders: &'a Placeholders,
}

impl<'a> Reader<'a> {
    /// Reads the whole of an expression, which `what` names in the service's refusals.
    fn whole<T>(
        what: &str,
        text: &str,
        placeholders: &'a Placeholders,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, Refusal> {
        let expression = || {
            if text.trim().is_empty() {
                return Err("The expression can not be empty;".to_owned());
            }
            if text.len() > EXPRESSION_BYTES_MAX {
                return Err(format!(
                    "Expression size has exceeded the maximum allowed size; expression size: {}",
                    text.len()
                ));
            }
            let mut reader = Self { tokens: tokens(text)?, at: 0, placeholders };
            let whole = read(&mut reader)?;
            if reader.at == reader.tokens.len() { Ok(whole) } else { Err(reader.syntax()) }
        };
        expression().map_err(|message| invalid(format!("Invalid {what}: {message}")))
    }

    fn syntax(&self) -> String {
        let token = self.tokens.get(self.at).map_or("<EOF>", Token::text);
        let near = self.tokens[self.at.saturating_sub(1)..self.tokens.len().min(self.at + 2)].iter();
        let near: Vec<&str> = near.map(Token::text).collect();
        format!("Syntax error; token: \"{token}\", near: \"{}\"", near.join(" "))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    fn expects(&mut self, symbol: &str) -> Result<(), String> {
        if self.takes(symbol) { Ok(()) } else { Err(self.syntax()) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    /// The name of a function, if one is called here.
    fn call(&mut self) -> Option<String> {
        let (Some(Token::Word(name)), Some(Token::Symbol("("))) = (self.peek(), self.tokens.get(self.at + 1)) else {
            return None;
        };
        let name = name.clone();
        self.at += 2;
        Some(name)
    }

    /// A top-level attribute.
    fn path(&mut self) -> Result<String, String> {
        let name = match self.peek() {
            Some(Token::Word(name)) if RESERVED.contains(name.to_ascii_uppercase().as_str()) => {
                return Err(format!("Attribute name is a reserved keyword; reserved keyword: {name}"));
            }
            Some(Token::Word(name)) => name.clone(),
            Some(Token::Name(placeholder)) => {
                let name = self.placeholders.names.get(placeholder).ok_or_else(|| {
                    format!(
                        "An expression attribute name used in the document path is not defined; attribute name: {placeholder}"
                    )
                })?;
                self.placeholders.used.borrow_mut().insert(placeholder.clone());
                name.clone()
            }
            Some(Token::Value(_) | Token::Symbol(_)) | None => return Err(self.syntax()),
        };
        self.at += 1;
        if matches!(self.peek(), Some(Token::Symbol("." | "["))) {
            return Err(format!("the simulation knows no paths below the top level, such as this one of {name}"));
        }
        Ok(name)
    }

    /// What `:v` stands for, if one is here.
    fn value(&mut self) -> Result<Option<Attribute>, String> {
        let Some(Token::Value(placeholder)) = self.peek() else { return Ok(None) };
        let value = self.placeholders.values.get(placeholder).ok_or_else(|| {
            format!("An expression attribute value used in expression is not defined; attribute value: {placeholder}")
        })?;
        self.placeholders.used.borrow_mut().insert(placeholder.clone());
        let value = value.clone();
        self.at += 1;
        Ok(Some(value))
    }
}

/// The names of a `ProjectionExpression`.
pub(super) fn projection(text: &str, placeholders: &Placeholders) -> Result<BTreeSet<String>, Refusal> {
    Reader::whole("ProjectionExpression", text, placeholders, |reader| {
        let mut names = BTreeSet::from([reader.path()?]);
        while reader.takes(",") {
            names.insert(reader.path()?);
        }
        Ok(names)
    })
}
