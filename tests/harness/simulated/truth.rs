//! What was written, whatever became of it, and the verdict on what a reader got of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::kinesis::Record;

/// Everything that was ever written to a stream, in order.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    records: Vec<(Arc<Record>, bool)>,
}

/// What differs between the truth and what was received. Records are told by their data: give each its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Kept by the stream, and not received.
    pub missing: Vec<Arc<Record>>,
    /// Not received, and not there to be read any more: trimmed, or deleted with the stream.
    pub lost_by_trim: Vec<Arc<Record>>,
    /// Received more than once: key and data, once for each time too many.
    pub duplicated: Vec<(String, Vec<u8>)>,
    /// Received for the first time after a later record of its key: key and data.
    pub out_of_order: Vec<(String, Vec<u8>)>,
    /// Received, and never written: key and data.
    pub foreign: Vec<(String, Vec<u8>)>,
}

impl Verdict {
    /// Whether everything was received once and in order, trimmed or not.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing is missing that could be read, nothing is out of order and nothing foreign: what a reader owes that
    /// was killed in between.
    #[must_use]
    pub fn is_at_least_once(&self) -> bool {
        self.missing.is_empty() && self.out_of_order.is_empty() && self.foreign.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |data: &[u8]| String::from_utf8_lossy(&data[..data.len().min(60)]).into_owned();
        for (what, records) in [("missing", &self.missing), ("lost by trim", &self.lost_by_trim)] {
            let first = records.first().map(|record| format!(", first {:?} of {:?}", text(&record.data), record.key));
            write!(f, "{} {what}{}; ", records.len(), first.unwrap_or_default())?;
        }
        for (what, all) in
            [("duplicated", &self.duplicated), ("out of order", &self.out_of_order), ("foreign", &self.foreign)]
        {
            let first = all.first().map(|(key, data)| format!(", first {:?} of {key:?}", text(data)));
            write!(f, "{} {what}{}; ", all.len(), first.unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Truth {
    pub(crate) fn extend(&mut self, records: impl Iterator<Item = (Arc<Record>, bool)>) {
        self.records.extend(records);
    }

    /// How many records were ever written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Every record in the order it was written, and whether it can still be read.
    pub fn records(&self) -> impl Iterator<Item = (&Record, bool)> {
        self.records.iter().map(|(record, is_kept)| (&**record, *is_kept))
    }

    /// Compares with keys and data in the order they were received.
    pub fn compare<'a>(&self, received: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Verdict {
        let mut keys: BTreeMap<&str, Key<'_>> = BTreeMap::new();
        for (index, (record, _)) in self.records.iter().enumerate() {
            let written = &mut keys.entry(&record.key).or_default().written;
            written.entry(&record.data).or_default().push(index);
        }
        let mut verdict = Verdict::default();
        let mut was_received = vec![false; self.records.len()];
        for (name, data) in received {
            let own = || (name.to_owned(), data.to_vec());
            let Some((key, copies)) = keys.get_mut(name).and_then(|key| {
                let Key { written, latest } = key;
                written.get(data).map(|copies| (latest, copies))
            }) else {
                verdict.foreign.push(own());
                continue;
            };
            let Some(index) = copies.iter().copied().find(|index| !was_received[*index]) else {
                verdict.duplicated.push(own());
                continue;
            };
            was_received[index] = true;
            if key.is_some_and(|latest| index < latest) {
                verdict.out_of_order.push(own());
            }
            *key = (*key).max(Some(index));
        }
        for ((record, is_kept), _) in self.records.iter().zip(was_received).filter(|(_, was_received)| !was_received) {
            let side = if *is_kept { &mut verdict.missing } else { &mut verdict.lost_by_trim };
            side.push(Arc::clone(record));
        }
        verdict
    }

    /// Compares with data alone, in the order it was received; no two records of the stream have the same.
    pub fn compare_data<'a>(&self, received: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
        let key_of: BTreeMap<&[u8], &str> =
            self.records.iter().map(|(record, _)| (record.data.as_slice(), record.key.as_str())).collect();
        self.compare(received.into_iter().map(|data| (key_of.get(data).copied().unwrap_or_default(), data)))
    }
}

/// What was written under one key.
#[derive(Default)]
struct Key<'a> {
    /// Places in the order of writing, by data.
    written: BTreeMap<&'a [u8], Vec<usize>>,
    /// The latest place received so far.
    latest: Option<usize>,
}
