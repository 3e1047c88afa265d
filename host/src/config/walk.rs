//! One walk over the manifest's keys, taken three ways.
//!
//! [`super::keys`] asks a [`Table`] for each key: its name, its form, its default, its meaning. Asked about a text, the
//! table answers with values and notes every mistake; a key that nobody asked for is unknown by that very fact. Asked
//! about nothing, it only notes the questions: that is the list of [`Section`]s from which suggestions, the JSON Schema and
//! the reference are made. So a key cannot be accepted and undocumented, or documented and refused.
//!
//! Every answer is an `Option`: `None` says that a mistake was noted, and the walk goes on to find the others.

use std::ops::Range;
use std::path::Path;

use super::diagnostic::Mistake;
use super::document::{Document, Entry, Node, Value};
use super::forms::{Complaint, Context, Form, Literal};
use super::section::{Key, Kind, Need, Section, elsewhere, names_in, nearest};
use super::{ConfigValue, Diagnostics, Manifest, keys};

/// All tables and keys there are.
pub(super) fn describe() -> Vec<Section> {
    let mut walk = Walk { known: None, described: Vec::new(), mistakes: Vec::new(), dir: Path::new("") };
    let top = Section { path: String::new(), doc: "The pipeline.", kind: Kind::Table, keys: Vec::new() };
    walk.described.push(top);
    let _nothing_to_read =
        Table::open(&mut walk, String::new(), Vec::new(), None, |table| keys::manifest(table, Path::new("")));
    walk.described
}

/// Reads a manifest.
pub(super) fn read(text: &str, path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Manifest, Diagnostics> {
    let document = Document::parse(text, env);
    let known = describe();
    let dir = path.parent().unwrap_or(Path::new(""));
    let mut walk = Walk { known: Some(&known), described: Vec::new(), mistakes: document.mistakes, dir };
    let other_version = document.entries.iter().find(|entry| entry.key == "version").and_then(other_version);
    let manifest = if let Some(mistake) = other_version {
        // Another version has other keys: nothing else can be judged.
        walk.mistakes = vec![mistake];
        None
    } else if document.is_toml {
        Table::open(&mut walk, String::new(), document.entries, Some(None), |table| keys::manifest(table, path))
    } else {
        None
    };
    match manifest {
        Some(manifest) if walk.mistakes.is_empty() => Ok(manifest),
        _ => Err(Diagnostics::new(path, text, walk.mistakes, &document.masked)),
    }
}

fn other_version(entry: &Entry) -> Option<Mistake> {
    let Value::Integer(version) = entry.node.value else { return None };
    (version != 1).then(|| Mistake {
        span: Some(entry.node.span.clone()),
        message: format!("version {version} of the manifest is not known"),
        help: Some("this release reads version 1".to_owned()),
    })
}

/// What one walk gathers.
struct Walk<'a> {
    /// All sections, while a text is read; `None` while the questions are noted.
    known: Option<&'a [Section]>,
    described: Vec<Section>,
    mistakes: Vec<Mistake>,
    dir: &'a Path,
}

impl Walk<'_> {
    fn describe(&mut self, section: Section) {
        if self.known.is_none() {
            self.described.push(section);
        }
    }
}

/// One table of the manifest while it is asked about its keys.
pub(super) struct Table<'t, 'w> {
    walk: &'t mut Walk<'w>,
    path: String,
    /// What nobody asked for yet.
    entries: Vec<Entry>,
    /// `None`: the table does not stand in the text. `Some(None)`: it is the whole text.
    stands: Option<Option<Range<usize>>>,
    /// Where the values of taken keys are.
    spans: Vec<(&'static str, Range<usize>)>,
    missing: Vec<(&'static str, String)>,
}

impl<'t, 'w> Table<'t, 'w> {
    fn open<T>(
        walk: &'t mut Walk<'w>,
        path: String,
        entries: Vec<Entry>,
        stands: Option<Option<Range<usize>>>,
        ask: impl FnOnce(&mut Table<'_, 'w>) -> Option<T>,
    ) -> Option<T> {
        let mut table = Table { walk, path, entries, stands, spans: Vec::new(), missing: Vec::new() };
        let answer = ask(&mut table);
        let complete = table.missing.is_empty();
        table.close();
        answer.filter(|_| complete)
    }

    /// A key that must be there.
    pub(super) fn required<F: Form>(&mut self, name: &'static str, form: F, doc: &'static str) -> Option<F::Value> {
        self.note(name, &form, doc, Need::Required);
        if let Some(node) = self.take(name) {
            return self.parse(name, &form, &form.example(), &node);
        }
        self.missing.push((name, form.example()));
        None
    }

    /// Notes that one of several keys must be there, and none is; `example` is what to write.
    pub(super) fn lacks(&mut self, name: &'static str, example: String) {
        if self.walk.known.is_some() {
            self.missing.push((name, example));
        }
    }

    /// A key with a default, which is written as the user would write it and goes the same way.
    pub(super) fn default<F: Form>(
        &mut self,
        name: &'static str,
        form: F,
        default: impl Into<Literal>,
        doc: &'static str,
    ) -> Option<F::Value> {
        let default = default.into();
        self.note(name, &form, doc, Need::Default(default));
        match self.take(name) {
            Some(node) => self.parse(name, &form, &default.to_string(), &node),
            None => {
                let value = form.parse(&default.value(), &Context { dir: self.walk.dir });
                Some(value.expect("a default has the form of its key"))
            }
        }
    }

    /// A key that may be missing; `when` says in which case it has a meaning, and is empty if always.
    pub(super) fn optional<F: Form>(
        &mut self,
        name: &'static str,
        form: F,
        when: &'static str,
        doc: &'static str,
    ) -> Option<Option<F::Value>> {
        self.note(name, &form, doc, Need::Optional(when));
        match self.take(name) {
            Some(node) => self.parse(name, &form, &form.example(), &node).map(Some),
            None => Some(None),
        }
    }

    /// A table inside this one. Where it is missing, its defaults hold.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        ask: impl FnOnce(&mut Table<'_, 'w>) -> Option<T>,
    ) -> Option<T> {
        let (path, node) = self.enter(name, doc, Kind::Table);
        match node {
            None => Table::open(self.walk, path, Vec::new(), None, ask),
            Some(node) => self.descend(path, node, ask),
        }
    }

    /// A table inside this one that changes the meaning by being there.
    pub(super) fn optional_section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        ask: impl FnOnce(&mut Table<'_, 'w>) -> Option<T>,
    ) -> Option<Option<T>> {
        let (path, node) = self.enter(name, doc, Kind::OptionalTable);
        match node {
            Some(node) => self.descend(path, node, ask).map(Some),
            None if self.walk.known.is_none() => Table::open(self.walk, path, Vec::new(), None, ask).map(Some),
            None => Some(None),
        }
    }

    /// One table for each item of a list; missing is empty.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        mut ask: impl FnMut(&mut Table<'_, 'w>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (path, node) = self.enter(name, doc, Kind::List);
        let Some(node) = node else {
            if self.walk.known.is_none() {
                let _nothing_to_read = Table::open(self.walk, path, Vec::new(), None, ask);
            }
            return Some(Vec::new());
        };
        let Value::List(items) = node.value else {
            let help = if matches!(node.value, Value::Table(_)) {
                format!("write two brackets around its header: [[{path}]]")
            } else {
                format!("write one table for each, under the header [[{path}]]")
            };
            self.refuse(&path, "is a list of tables", &node, help);
            return None;
        };
        // Each item is asked, whatever the others answered: all mistakes are wanted.
        let answers: Vec<Option<T>> =
            items.into_iter().map(|item| self.descend(path.clone(), item, &mut ask)).collect();
        answers.into_iter().collect()
    }

    /// A table whose keys are the user's.
    pub(super) fn free(&mut self, name: &'static str, doc: &'static str) -> Option<Vec<(String, ConfigValue)>> {
        let (path, node) = self.enter(name, doc, Kind::Free);
        let Some(node) = node else { return Some(Vec::new()) };
        let Value::Table(entries) = node.value else {
            self.refuse(&path, "is a table", &node, format!("write its keys under the header [{path}]"));
            return None;
        };
        let values: Vec<_> = entries.into_iter().map(|entry| self.free_value(entry)).collect();
        values.into_iter().collect()
    }

    fn free_value(&mut self, entry: Entry) -> Option<(String, ConfigValue)> {
        let key = entry.key;
        let (what, help) = match entry.node.value {
            Value::Text { text, .. } | Value::Datetime(text) => return Some((key, ConfigValue::Text(text))),
            Value::Integer(number) => return Some((key, ConfigValue::Integer(number))),
            Value::Float(number) if number.is_finite() => return Some((key, ConfigValue::Float(number))),
            Value::Boolean(flag) => return Some((key, ConfigValue::Boolean(flag))),
            Value::Faulty => return None,
            Value::Float(_) => {
                ("not a finite number", "leave the key out, or agree on a text with the component".to_owned())
            }
            Value::List(_) => ("a list", "write one text, and let the component split it".to_owned()),
            Value::Table(_) => {
                ("a table", format!("the keys are flat; a dot inside a quoted key is fine: \"{key}.…\" = …"))
            }
        };
        let message = format!("`{key}` is {what}, but a component is configured with texts, numbers, true and false");
        self.complain(Some(entry.key_span), message, help);
        None
    }

    /// Where the value of `name` stands, if it was given.
    pub(super) fn at(&self, name: &str) -> Option<Range<usize>> {
        self.spans.iter().find(|(taken, _)| *taken == name).map(|(_, span)| span.clone())
    }

    /// Where this table begins.
    pub(super) fn here(&self) -> Option<Range<usize>> {
        self.stands.clone().flatten()
    }

    /// Notes a mistake.
    pub(super) fn complain(&mut self, span: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) {
        self.walk.mistakes.push(Mistake { span, message: message.into(), help: Some(help.into()) });
    }

    fn note<F: Form>(&mut self, name: &'static str, form: &F, doc: &'static str, need: Need) {
        if self.walk.known.is_none() {
            let path = &self.path;
            let section = self.walk.described.iter_mut().rfind(|section| section.path == *path);
            let section = section.expect("a section is described before its keys");
            section.keys.push(Key { name, doc, need, takes: form.takes(), schema: form.schema() });
        }
    }

    fn enter(&mut self, name: &'static str, doc: &'static str, kind: Kind) -> (String, Option<Node>) {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.walk.describe(Section { path: path.clone(), doc, kind, keys: Vec::new() });
        (path, self.take(name))
    }

    fn descend<T>(&mut self, path: String, node: Node, ask: impl FnOnce(&mut Table<'_, 'w>) -> Option<T>) -> Option<T> {
        if let Value::Table(entries) = node.value {
            return Table::open(self.walk, path, entries, Some(Some(node.span)), ask);
        }
        if matches!(node.value, Value::List(_)) {
            self.refuse(&path, "is one table", &node, format!("write one bracket around its header: [{path}]"));
        } else {
            self.refuse(&path, "is a table", &node, format!("write its keys under the header [{path}]"));
        }
        None
    }

    fn refuse(&mut self, path: &str, is: &str, node: &Node, help: String) {
        if !matches!(node.value, Value::Faulty) {
            self.complain(Some(node.span.clone()), format!("`{path}` {is}, not {}", node.value.kind()), help);
        }
    }

    fn parse<F: Form>(&mut self, name: &'static str, form: &F, example: &str, node: &Node) -> Option<F::Value> {
        match form.parse(&node.value, &Context { dir: self.walk.dir }) {
            Ok(value) => Some(value),
            Err(Complaint::Told) => None,
            Err(Complaint::Type) => {
                let message = format!("`{name}` takes {}, not {}", form.takes(), node.value.kind());
                self.complain(Some(node.span.clone()), message, format!("write {name} = {example}"));
                None
            }
            Err(Complaint::Content { message, help }) => {
                self.complain(Some(node.span.clone()), format!("`{name}`: {message}"), help);
                None
            }
            Err(Complaint::Inside { span, message, help }) => {
                self.complain(Some(span), format!("`{name}`: {message}"), help);
                None
            }
        }
    }

    /// The value of `name`. If there is none but an unknown key that must be meant for it, that one's, and the mistake is
    /// the key's alone: neither is `name` missing then, nor do mistakes inside the value go unnoticed.
    fn take(&mut self, name: &'static str) -> Option<Node> {
        let exact =
            self.entries.iter().position(|entry| entry.key == name).map(|index| self.entries.remove(index).node);
        let node = match exact {
            // A table may be there by its inner tables alone, while its own header has the typo.
            Some(Node { span, value: Value::Table(mut entries) }) => {
                if let Some(Entry { node: Node { value: Value::Table(more), .. }, .. }) =
                    self.take_misnamed(name, |value| matches!(value, Value::Table(_)))
                {
                    entries.extend(more);
                }
                Node { span, value: Value::Table(entries) }
            }
            Some(node) => node,
            None => self.take_misnamed(name, |_| true)?.node,
        };
        self.spans.push((name, node.span.clone()));
        Some(node)
    }

    /// An unknown key that must be meant for `name`.
    fn take_misnamed(&mut self, name: &'static str, fits: impl Fn(&Value) -> bool) -> Option<Entry> {
        let known = self.walk.known?;
        let names = names_in(known, &self.path);
        let index = self.entries.iter().position(|entry| {
            fits(&entry.node.value)
                && !names.contains(&entry.key.as_str())
                && elsewhere(known, &self.path, &entry.key).is_empty()
                && nearest(&names, &entry.key) == Some(name)
        })?;
        let entry = self.entries.remove(index);
        let message = format!("unknown {} `{}`{}", entry.node.value.noun(), entry.key, self.place());
        self.complain(Some(entry.key_span.clone()), message, format!("did you mean `{name}`?"));
        Some(entry)
    }

    /// ` in [source]`, for a message.
    fn place(&self) -> String {
        match self.section_header() {
            Some(header) => format!(" in {header}"),
            None => String::new(),
        }
    }

    fn section_header(&self) -> Option<String> {
        let known = self.walk.known?;
        known.iter().find(|section| section.path == self.path && !section.path.is_empty()).map(Section::header)
    }

    /// Everything was asked: what is left is unknown, what was not found is missing.
    fn close(mut self) {
        let Some(known) = self.walk.known else { return };
        let place = self.place();
        for entry in std::mem::take(&mut self.entries) {
            let elsewhere = elsewhere(known, &self.path, &entry.key);
            let names = names_in(known, &self.path);
            let help = match nearest(&names, &entry.key) {
                _ if !elsewhere.is_empty() => format!("it belongs {}", elsewhere.join(" or ")),
                Some(name) => format!("`{name}` is there already; remove one of the two"),
                None => format!("known here: {}", names.join(", ")),
            };
            let message = format!("unknown {} `{}`{place}", entry.node.value.noun(), entry.key);
            self.complain(Some(entry.key_span), message, help);
        }
        let header = self.section_header().unwrap_or_default();
        let missing = std::mem::take(&mut self.missing);
        if let (None, false) = (&self.stands, missing.is_empty()) {
            let lines: Vec<String> = missing.iter().map(|(name, example)| format!("{name} = {example}")).collect();
            let message = format!("the table {header} is missing");
            self.complain(None, message, format!("add\n{header}\n{}", lines.join("\n")));
            return;
        }
        // Before what was found inside: a reader starts at the top.
        let at = self.here();
        let mistakes = missing.into_iter().map(|(name, example)| Mistake {
            span: at.clone(),
            message: format!("`{name}` is missing{place}"),
            help: Some(format!("add {name} = {example}")),
        });
        self.walk.mistakes.splice(0..0, mistakes);
    }
}
