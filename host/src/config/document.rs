//! The text as a tree with positions, variables replaced, and what must not be shown marked.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Mistake;

/// A value and the bytes of the text that hold it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// A value of TOML, variables replaced.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text {
        text: String,
        /// What stands in the file, if a variable was replaced: the text itself is then never quoted.
        written: Option<String>,
    },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date, a time or both.
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A value whose mistake is already told.
    Faulty,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node,
}

/// A parsed text.
pub(super) struct Document {
    /// The keys of the top, in the order of the text.
    pub(super) entries: Vec<Entry>,
    /// Spans whose content is not shown.
    pub(super) masked: Vec<Range<usize>>,
    /// What went wrong so far: syntax or variables.
    pub(super) mistakes: Vec<Mistake>,
    /// Whether the text is TOML at all; if not, `entries` is not to be judged.
    pub(super) is_toml: bool,
}

impl Document {
    pub(super) fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut masked = suspicious_lines(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        // One: what follows the first error is a guess.
        match errors.into_iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) {
            None => {
                // The tree knows better than the lines where a value ends.
                masked.clear();
                let mut reading = Reading { env, masked, mistakes: Vec::new() };
                let entries = reading.table(table.get_ref(), false);
                Self { entries, masked: reading.masked, mistakes: reading.mistakes, is_toml: true }
            }
            Some(error) => {
                let message = format!("this is not TOML: {}", reason(error.message()));
                let help = syntax_help(error.message(), text, error.span());
                let mistakes = vec![Mistake { span: Some(error.span().unwrap_or(0..0)), message, help }];
                Self { entries: Vec::new(), masked, mistakes, is_toml: false }
            }
        }
    }
}

struct Reading<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    masked: Vec<Range<usize>>,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>, secret: bool) -> Vec<Entry> {
        // A table with one secret is shown without any of its values: a typo in a key must not unveil the value.
        let secret = secret || table.keys().any(|key| is_secret_key(key.get_ref()));
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_span: key.span(),
                node: self.node(value, secret || ["basic", "process"].contains(&key.get_ref().as_ref())),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    fn node(&mut self, node: &Spanned<DeValue<'_>>, secret: bool) -> Node {
        let span = node.span();
        let value = match node.get_ref() {
            DeValue::String(text) => self.text(text, &span),
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => self.faulty(&span, "this number does not fit into 64 bits", None),
            },
            DeValue::Float(digits) => digits.as_str().parse().map_or(Value::Faulty, Value::Float),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(moment) => Value::Datetime(moment.to_string()),
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item, secret)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, secret)),
        };
        let hidden = secret || matches!(node.get_ref(), DeValue::String(text) if holds_password(text));
        if hidden && !matches!(value, Value::List(_) | Value::Table(_)) {
            self.masked.push(span.clone());
        }
        Node { span, value }
    }

    /// Replaces `${NAME}` and turns `$${` into `${`.
    fn text(&mut self, written: &str, span: &Range<usize>) -> Value {
        let (mut text, mut rest, mut replaced, mut faulty) = (String::new(), written, false, false);
        while let Some(dollar) = rest.find("${") {
            if rest[..dollar].ends_with('$') {
                text.push_str(&rest[..dollar - 1]);
                text.push_str("${");
                rest = &rest[dollar + 2..];
                continue;
            }
            text.push_str(&rest[..dollar]);
            let Some((name, behind)) = rest[dollar + 2..].split_once('}').filter(|(name, _)| is_variable(name)) else {
                let help =
                    "write `${NAME}` with a name of letters, digits and `_`, or `$${` for the two characters `${`";
                return self.faulty(span, "`${` does not begin a variable", Some(help.to_owned()));
            };
            if let Some(value) = (self.env)(name) {
                text.push_str(&value);
                replaced = true;
            } else {
                let message = format!("the environment variable {name} is not set");
                let help = format!("set it (`export {name}=…`), or write `$${{{name}}}` if that text itself is meant");
                self.faulty(span, &message, Some(help));
                faulty = true;
            }
            rest = behind;
        }
        text.push_str(rest);
        if faulty { Value::Faulty } else { Value::Text { text, written: replaced.then(|| written.to_owned()) } }
    }

    fn faulty(&mut self, span: &Range<usize>, message: &str, help: Option<String>) -> Value {
        self.mistakes.push(Mistake { span: Some(span.clone()), message: message.to_owned(), help });
        Value::Faulty
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a key's value is not shown, whether or not the key exists. A command's arguments may hold a password.
fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    // Where a token lies is no secret.
    !key.ends_with("_file")
        && ["secret", "token", "passw", "access_key", "access-key", "accesskey", "command"]
            .iter()
            .any(|word| key.contains(word))
}

/// Whether a text may hold `user:password@host`, spoiled or not.
pub(super) fn holds_password(text: &str) -> bool {
    let named = |rest: &str| rest.split_once(':').is_some_and(|(_, word)| word.starts_with(char::is_alphabetic));
    text.split_once(':').is_some_and(|(_, rest)| rest.contains('@'))
        || text.split_once("://").is_some_and(|(_, rest)| named(rest))
}

/// Spans of a text that is not TOML which could hold a secret: all values under a header that names `basic` or `process`,
/// and from a line that names a secret to the next line that begins a key or a table.
fn suspicious_lines(text: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let (mut offset, mut hiding, mut in_secrets) = (0, false, false);
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        let key: String = content.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-.\"' ".contains(*c)).collect();
        let begins = content.starts_with('[') || (content[key.len()..].starts_with('=') && !key.is_empty());
        if content.starts_with('[') {
            in_secrets = content.contains("basic") || content.contains("process");
        }
        hiding = in_secrets || is_secret_key(line) || holds_password(line) || (hiding && !begins);
        if hiding {
            let value = if begins { line.find('=').map_or(0, |equals| equals + 1) } else { 0 };
            let value = value + line[value..].len() - line[value..].trim_start().len();
            let end = line.trim_end().len();
            // A header holds no value, unless a line's end is missing behind it.
            if (!content.starts_with('[') || line.contains('=')) && value < end {
                spans.push(offset + value..offset + end);
            }
        }
        offset += line.len();
    }
    spans
}

/// The parser's reason in one line, without a guess that misleads.
fn reason(message: &str) -> String {
    let (first, _) = message.split_once(", expected").unwrap_or((message, ""));
    let told = if first.contains("must be quoted") { first } else { message };
    told.trim_end().replace('\n', ", ")
}

fn syntax_help(message: &str, text: &str, span: Option<Range<usize>>) -> Option<String> {
    let line = span.map(|span| {
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        text[start..].lines().next().unwrap_or_default()
    })?;
    if line.starts_with('{') {
        return Some("a manifest is written in TOML, not in JSON".to_owned());
    }
    if message.contains("duplicate key") {
        return Some(
            "a key stands once in a table, and a table once in a file; only headers in [[two brackets]] repeat"
                .to_owned(),
        );
    }
    let Some((_, value)) = line.split_once('=') else {
        return line.contains(':').then(|| "between key and value stands `=`: key = \"value\"".to_owned());
    };
    let value = value.trim();
    if message.contains("invalid basic string") {
        return Some(
            r#"a text ends with a quote on its line; inside, `\"` stands for a quote and `\\` for a backslash"#
                .to_owned(),
        );
    }
    if value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.') {
        return Some("text stands in quotes: key = \"value\"".to_owned());
    }
    if value.starts_with(|c: char| c.is_ascii_digit()) {
        return Some("an amount with a unit is a text and stands in quotes: key = \"10s\"".to_owned());
    }
    None
}
