//! Metrics. Make the handles in `open` and keep them; the host adds tenant, pipeline and stage.
//!
//! Names are 1 to 64 bytes of `a-z`, `0-9` and `_`; there are at most 8 labels and 128 handles an instance. A handle
//! beyond a limit counts nothing, and the host says so in the log.

use crate::host;

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A sum that only grows.
#[derive(Debug)]
pub struct Counter(host::Counter);

impl Counter {
    /// A counter of this name.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Counter::new(name, &owned(labels)))
    }

    /// Adds to the sum.
    pub fn add(&self, delta: u64) {
        self.0.add(delta);
    }
}

/// A value that goes up and down.
#[derive(Debug)]
pub struct Gauge(host::Gauge);

impl Gauge {
    /// A gauge of this name.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Gauge::new(name, &owned(labels)))
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }
}

/// A distribution.
#[derive(Debug)]
pub struct Histogram(host::Histogram);

impl Histogram {
    /// A histogram of this name. The host chooses the buckets.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self(host::Histogram::new(name, &owned(labels)))
    }

    /// Adds a value to the distribution.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }
}
