//! Metrics that components count. Their names and labels come from outside, so both are checked and the number of
//! series is bounded: a component that makes a label of every record's key counts nothing, and hurts nobody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;
use wasmtime::component::Resource;

use crate::component::bindings::sluicebox::pipeline::metrics as contract;
use crate::component::state::State;

/// Bytes of a name, at most.
const NAME_BYTES: usize = 64;
/// Labels of a series, at most.
const LABELS: usize = 8;
/// Bytes of a label's value, at most.
const VALUE_BYTES: usize = 128;
/// Handles of one instance, at most.
pub(crate) const HANDLES: u32 = 128;
/// Series of one registry, at most.
const SERIES: usize = 1_024;
/// Buckets of a histogram. The first holds values up to 2^-20 (about a millionth), each next one four times that, the
/// last everything above.
const BUCKETS: usize = 32;

/// Whose value a series is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesName {
    /// As the component gave it: 1 to 64 bytes of `a-z`, `0-9` and `_`.
    pub name: String,
    /// At most 8, sorted by name, each name once.
    pub labels: Vec<(String, String)>,
}

/// What a series holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesValue {
    /// A sum that only grows.
    Counter(u64),
    /// The last value set; 0 before the first.
    Gauge(f64),
    /// A distribution.
    Histogram {
        /// How many values there were.
        count: u64,
        /// Their sum.
        sum: f64,
        /// `(upper bound, values at or below it)`, cumulative; the last bound is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

#[derive(Clone, Debug)]
enum Cell {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Mutex<Distribution>>),
}

#[derive(Debug, Default)]
pub(crate) struct Distribution {
    count: u64,
    sum: f64,
    buckets: [u64; BUCKETS],
}

/// What the components of one stage count, all subtasks together. Shared: the host reads, instances write.
#[derive(Debug, Default)]
pub struct ComponentMetrics {
    series: Mutex<BTreeMap<SeriesName, Cell>>,
}

impl ComponentMetrics {
    /// Every series with its present value, ordered by name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(SeriesName, SeriesValue)> {
        self.lock().iter().map(|(name, cell)| (name.clone(), cell.value())).collect()
    }

    /// The series `name`, made if there is room. `None`: too many, or the name already has another kind.
    fn series(&self, name: SeriesName, new: Cell) -> Option<Cell> {
        let mut series = self.lock();
        let of_other_kind = |known: &Cell| std::mem::discriminant(known) != std::mem::discriminant(&new);
        let namesakes = series.range(SeriesName { name: name.name.clone(), labels: Vec::new() }..);
        let clashes = namesakes.take_while(|(known, _)| known.name == name.name).any(|(_, cell)| of_other_kind(cell));
        if clashes || (!series.contains_key(&name) && series.len() >= SERIES) {
            return None;
        }
        Some(series.entry(name).or_insert(new).clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SeriesName, Cell>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cell {
    fn value(&self) -> SeriesValue {
        match self {
            Self::Counter(sum) => SeriesValue::Counter(sum.load(Ordering::Relaxed)),
            Self::Gauge(bits) => SeriesValue::Gauge(f64::from_bits(bits.load(Ordering::Relaxed))),
            Self::Histogram(distribution) => {
                let distribution = distribution.lock().unwrap_or_else(PoisonError::into_inner);
                let mut below = 0;
                let buckets = distribution.buckets.iter().enumerate().map(|(index, count)| {
                    below += count;
                    (upper_bound(index), below)
                });
                let buckets = buckets.collect();
                SeriesValue::Histogram { count: distribution.count, sum: distribution.sum, buckets }
            }
        }
    }
}

/// The largest value that bucket `index` holds.
fn upper_bound(index: usize) -> f64 {
    if index + 1 == BUCKETS {
        return f64::INFINITY;
    }
    let power = i32::try_from(2 * index).unwrap_or(i32::MAX) - 20;
    2_f64.powi(power)
}

/// The handle of a component's counter. Holds nothing if it was beyond a limit.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Counter(Option<Arc<AtomicU64>>);

/// The handle of a component's gauge. Holds nothing if it was beyond a limit.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Gauge(Option<Arc<AtomicU64>>);

/// The handle of a component's histogram. Holds nothing if it was beyond a limit.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Histogram(Option<Arc<Mutex<Distribution>>>);

/// Name and labels if they keep the rules; otherwise which rule they break.
fn series_name(name: String, labels: Vec<(String, String)>) -> Result<SeriesName, &'static str> {
    let is_word = |text: &str| {
        (1..=NAME_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if !is_word(&name) {
        return Err("a name is 1 to 64 of a-z, 0-9 and _");
    }
    if labels.len() > LABELS {
        return Err("there are at most 8 labels");
    }
    if !labels.iter().all(|(label, value)| is_word(label) && value.len() <= VALUE_BYTES) {
        return Err("a label's name is 1 to 64 of a-z, 0-9 and _, its value at most 128 bytes");
    }
    let mut labels = labels;
    labels.sort();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("a label is given once");
    }
    Ok(SeriesName { name, labels })
}

impl State {
    fn series(&mut self, name: String, labels: Vec<(String, String)>, new: Cell) -> Option<Cell> {
        self.metric_handles = self.metric_handles.saturating_add(1);
        let made = if self.metric_handles > HANDLES {
            Err("an instance has at most 128 handles")
        } else {
            series_name(name, labels).and_then(|name| {
                self.metrics.series(name, new).ok_or("the stage has 1,024 series, or the name has another kind")
            })
        };
        match made {
            Ok(cell) => Some(cell),
            Err(reason) => {
                // Once for an instance: whoever makes one bad handle makes many.
                if !std::mem::replace(&mut self.metric_refused, true) {
                    let stage = self.log().stage();
                    warn!(target: "component", stage, reason, "a metric counts nothing");
                }
                None
            }
        }
    }
}

impl contract::Host for State {}

impl contract::HostCounter for State {
    fn new(&mut self, name: String, labels: Vec<(String, String)>) -> wasmtime::Result<Resource<Counter>> {
        let cell = match self.series(name, labels, Cell::Counter(Arc::default())) {
            Some(Cell::Counter(sum)) => Some(sum),
            Some(Cell::Gauge(_) | Cell::Histogram(_)) | None => None,
        };
        Ok(self.table.push(Counter(cell))?)
    }

    fn add(&mut self, counter: Resource<Counter>, delta: u64) -> wasmtime::Result<()> {
        if let Counter(Some(sum)) = self.table.get(&counter)? {
            // Counters wrap like Prometheus' reset, but a component cannot make one wrap by lying once.
            let _previous =
                sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_add(delta)));
        }
        Ok(())
    }

    fn drop(&mut self, counter: Resource<Counter>) -> wasmtime::Result<()> {
        self.table.delete(counter)?;
        Ok(())
    }
}

impl contract::HostGauge for State {
    fn new(&mut self, name: String, labels: Vec<(String, String)>) -> wasmtime::Result<Resource<Gauge>> {
        let cell = match self.series(name, labels, Cell::Gauge(Arc::default())) {
            Some(Cell::Gauge(bits)) => Some(bits),
            Some(Cell::Counter(_) | Cell::Histogram(_)) | None => None,
        };
        Ok(self.table.push(Gauge(cell))?)
    }

    fn set(&mut self, gauge: Resource<Gauge>, value: f64) -> wasmtime::Result<()> {
        if let Gauge(Some(bits)) = self.table.get(&gauge)? {
            bits.store(value.to_bits(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn drop(&mut self, gauge: Resource<Gauge>) -> wasmtime::Result<()> {
        self.table.delete(gauge)?;
        Ok(())
    }
}

impl contract::HostHistogram for State {
    fn new(&mut self, name: String, labels: Vec<(String, String)>) -> wasmtime::Result<Resource<Histogram>> {
        let cell = match self.series(name, labels, Cell::Histogram(Arc::default())) {
            Some(Cell::Histogram(distribution)) => Some(distribution),
            Some(Cell::Counter(_) | Cell::Gauge(_)) | None => None,
        };
        Ok(self.table.push(Histogram(cell))?)
    }

    fn observe(&mut self, histogram: Resource<Histogram>, value: f64) -> wasmtime::Result<()> {
        if let Histogram(Some(distribution)) = self.table.get(&histogram)?
            && value.is_finite()
        {
            let mut distribution = distribution.lock().unwrap_or_else(PoisonError::into_inner);
            let bucket = (0..BUCKETS).find(|index| value <= upper_bound(*index)).unwrap_or(BUCKETS - 1);
            distribution.buckets[bucket] += 1;
            distribution.count += 1;
            distribution.sum += value;
        }
        Ok(())
    }

    fn drop(&mut self, histogram: Resource<Histogram>) -> wasmtime::Result<()> {
        self.table.delete(histogram)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, labels: &[(&str, &str)]) -> Result<SeriesName, &'static str> {
        series_name(name.into(), labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect())
    }

    #[test]
    fn names_and_labels_keep_the_rules_of_the_contract() {
        assert_eq!(name("quakes_total", &[("b", "2"), ("a", "1")]), name("quakes_total", &[("a", "1"), ("b", "2")]));
        for bad in ["", "Quakes", "quakes-total", "q\n", &"q".repeat(65)] {
            assert!(name(bad, &[]).is_err(), "{bad:?}");
        }
        assert!(name("q", &[("a", "1"), ("a", "2")]).is_err());
        assert!(name("q", &[("a", &"v".repeat(129))]).is_err());
        assert!(name("q", &[("a", ""); 9]).is_err());
    }

    #[test]
    fn a_registry_holds_a_bounded_number_of_series_and_one_kind_for_a_name() {
        let metrics = ComponentMetrics::default();
        for value in 0..SERIES {
            let name = name("by_id", &[("id", &value.to_string())]).expect("a good name");
            assert!(metrics.series(name, Cell::Counter(Arc::default())).is_some());
        }
        let known = name("by_id", &[("id", "7")]).expect("a good name");
        assert!(metrics.series(known, Cell::Counter(Arc::default())).is_some(), "an old one is found again");
        let new = name("by_id", &[("id", "new")]).expect("a good name");
        assert!(metrics.series(new, Cell::Counter(Arc::default())).is_none());
        let metrics = ComponentMetrics::default();
        assert!(metrics.series(name("a", &[]).expect("good"), Cell::Counter(Arc::default())).is_some());
        assert!(metrics.series(name("a", &[("b", "c")]).expect("good"), Cell::Gauge(Arc::default())).is_none());
    }

    #[test]
    fn buckets_are_cumulative_and_the_last_is_infinite() {
        let distribution = Distribution { count: 2, sum: 3.0, ..Distribution::default() };
        let cell = Arc::new(Mutex::new(distribution));
        cell.lock().expect("nobody panicked").buckets[3] = 1;
        cell.lock().expect("nobody panicked").buckets[BUCKETS - 1] = 1;
        let SeriesValue::Histogram { buckets, .. } = Cell::Histogram(cell).value() else { panic!("a histogram") };
        assert_eq!(buckets[2].1, 0);
        assert_eq!(buckets[3], (2_f64.powi(-14), 1));
        assert_eq!(buckets[BUCKETS - 1], (f64::INFINITY, 2));
    }
}
