//! What the walk knows of keys and tables, and which of them a misspelt one is meant for.

use super::forms::Literal;

/// Whether a key must be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Need {
    Required,
    /// It has a default.
    Default(Literal),
    /// It may be missing; when it has a meaning, if not always.
    Optional(&'static str),
}

/// A key as the walk knows it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    pub(super) need: Need,
    /// What it takes, for people.
    pub(super) takes: String,
    /// What it takes, as a JSON Schema.
    pub(super) schema: serde_json::Value,
}

/// How often a table may stand in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    /// A table that changes the meaning by being there.
    OptionalTable,
    /// One table for each item.
    List,
    /// Keys are the user's.
    Free,
}

/// A table as the walk knows it.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Keys from the top, joined by dots; the top's is empty.
    pub(super) path: String,
    pub(super) doc: &'static str,
    pub(super) kind: Kind,
    pub(super) keys: Vec<Key>,
}

impl Section {
    /// The path as a header: `[source.polling]`, `[[sink]]`.
    pub(super) fn header(&self) -> String {
        match self.kind {
            Kind::List => format!("[[{}]]", self.path),
            Kind::Table | Kind::OptionalTable | Kind::Free => format!("[{}]", self.path),
        }
    }

    fn parent_and_name(&self) -> Option<(&str, &str)> {
        if self.path.is_empty() { None } else { Some(self.path.rsplit_once('.').unwrap_or(("", &self.path))) }
    }
}

/// Sections directly inside the one at `path`, with their names.
pub(super) fn sections_in<'a>(all: &'a [Section], path: &'a str) -> impl Iterator<Item = (&'a str, &'a Section)> {
    all.iter().filter_map(move |section| {
        section.parent_and_name().filter(|(parent, _)| *parent == path).map(|(_, name)| (name, section))
    })
}

/// Names of the keys and tables that may stand at `path`.
pub(super) fn names_in<'a>(known: &'a [Section], path: &'a str) -> Vec<&'a str> {
    let section = known.iter().find(|section| section.path == path);
    let keys = section.into_iter().flat_map(|section| section.keys.iter().map(|key| key.name));
    keys.chain(sections_in(known, path).map(|(name, _)| name)).collect()
}

/// Where else `name` is known: "in [checkpoint]", "at the top".
pub(super) fn elsewhere(known: &[Section], path: &str, name: &str) -> Vec<String> {
    let named = |section: &&Section| section.path != path && section.keys.iter().any(|key| key.name == name);
    let keys = known.iter().filter(named).map(|section| match section.path.as_str() {
        "" => "at the top of the file".to_owned(),
        _ => format!("in {}", section.header()),
    });
    let tables = known.iter().filter_map(|section| {
        section.parent_and_name().filter(|(parent, last)| *last == name && *parent != path)?;
        Some(format!("under the header {}", section.header()))
    });
    keys.chain(tables).collect()
}

/// The name that `typed` must be meant for, if one is near enough.
pub(super) fn nearest<'a>(names: &[&'a str], typed: &str) -> Option<&'a str> {
    let plain =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let typed = plain(typed);
    let distance = |name: &str| strsim::osa_distance(&plain(name), &typed);
    let (distance, name) = names.iter().map(|name| (distance(name), *name)).min_by_key(|(distance, _)| *distance)?;
    let near = distance <= 1 + typed.chars().count().min(plain(name).chars().count()) / 4;
    (near && distance < plain(name).chars().count()).then_some(name)
}
