use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use crate::Error;
use crate::log::Level;

/// A line that a component logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// The message.
    pub message: String,
    /// Names and values, in the order they were given.
    pub fields: Vec<(String, String)>,
}

/// The stand-in for the host. One for each thread, so tests do not see each other.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) lines: Vec<Line>,
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) metrics: BTreeMap<String, f64>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

pub(crate) fn with_world<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(look)
}

pub(crate) fn now() -> i64 {
    with_world(|world| world.now)
}

pub(crate) fn max_level() -> Level {
    Level::Trace
}

pub(crate) fn emit(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    let line = Line { level, message: message.to_owned(), fields };
    with_world(|world| world.lines.push(line));
}

pub(crate) fn config_get(key: &str) -> Result<Option<String>, Error> {
    Ok(with_world(|world| world.values.get(key).cloned()))
}

pub(crate) fn config_secret(name: &str) -> Result<Vec<u8>, Error> {
    with_world(|world| world.secrets.get(name).cloned())
        .ok_or_else(|| Error::poison("not-granted", format_args!("`{name}` is not among the component's grants")))
}

fn series(name: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

#[derive(Debug)]
pub(crate) struct Counter(String);

impl Counter {
    pub(crate) fn new(name: &str, labels: &[(String, String)]) -> Self {
        Self(series(name, labels))
    }

    pub(crate) fn add(&self, delta: u64) {
        with_world(|world| *world.metrics.entry(self.0.clone()).or_default() += delta as f64);
    }
}

#[derive(Debug)]
pub(crate) struct Gauge(String);

impl Gauge {
    pub(crate) fn new(name: &str, labels: &[(String, String)]) -> Self {
        Self(series(name, labels))
    }

    pub(crate) fn set(&self, value: f64) {
        with_world(|world| world.metrics.insert(self.0.clone(), value));
    }
}

#[derive(Debug)]
pub(crate) struct Histogram(String);

impl Histogram {
    pub(crate) fn new(name: &str, labels: &[(String, String)]) -> Self {
        Self(series(name, labels))
    }

    pub(crate) fn observe(&self, value: f64) {
        with_world(|world| *world.metrics.entry(self.0.clone()).or_default() += value);
    }
}
