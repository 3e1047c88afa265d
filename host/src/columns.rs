//! Records as columns. A variable-length column is one run of bytes and the exclusive end of each value, so a batch of
//! records is a handful of allocations and crosses into a component with one copy per column.

use std::ops::Range;

use host_core::moment::EpochMillis;

/// How much data a source puts into one batch, in bytes: large enough that the cost of a call into a component vanishes,
/// small enough to stay in the processor's cache.
pub const BATCH_DATA_BYTES_MAX: usize = 128 * 1024;

/// The arrival time of a record whose service told none. No record arrived before 1970.
pub const NO_ARRIVAL: i64 = -1;

/// Values of any length, back to back: value `i` is `bytes[ends[i-1]..ends[i]]`, with `ends[-1] = 0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Exclusive ends; never decreasing, the last equals `bytes.len()`.
    pub ends: Vec<u32>,
    /// All values.
    pub bytes: Vec<u8>,
}

impl Column {
    /// An empty column with room for `values` values of `bytes` bytes in all.
    #[must_use]
    pub fn with_capacity(values: usize, bytes: usize) -> Self {
        Self { ends: Vec::with_capacity(values), bytes: Vec::with_capacity(bytes) }
    }

    /// Appends a value. The column must stay below 4 GiB, which batches of at most a few MiB do.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Value `index`.
    ///
    /// # Panics
    /// `index` is out of range.
    #[must_use]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Keeps the first `values` values.
    pub fn truncate(&mut self, values: usize) {
        if values < self.len() {
            self.ends.truncate(values);
            self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
    }

    /// Keeps the values for whose index `is_kept` says so, in place.
    pub fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        let (mut start, mut kept, mut length) = (0, 0, 0);
        for index in 0..self.ends.len() {
            let end = self.ends[index] as usize;
            if is_kept(index) {
                self.bytes.copy_within(start..end, length);
                length += end - start;
                self.ends[kept] = u32::try_from(length).unwrap_or(u32::MAX);
                kept += 1;
            }
            start = end;
        }
        self.ends.truncate(kept);
        self.bytes.truncate(length);
    }

    /// The values with these indices as a column of their own.
    pub(crate) fn select(&self, chosen: &[u32]) -> Self {
        let bytes = chosen.iter().map(|&index| self.get(index as usize).len()).sum();
        let mut column = Self::with_capacity(chosen.len(), bytes);
        for &index in chosen {
            column.push(self.get(index as usize));
        }
        column
    }

    /// Appends all values of another column.
    fn append(&mut self, other: &Self) {
        for value in other.iter() {
            self.push(value);
        }
    }

    /// The values `from..to` as a column of their own.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let base = if from == 0 { 0 } else { self.ends[from - 1] };
        let end = if to == 0 { 0 } else { self.ends[to - 1] };
        Self {
            ends: self.ends[from..to].iter().map(|end| end - base).collect(),
            bytes: self.bytes[base as usize..end as usize].to_vec(),
        }
    }
}

/// Records of one shard in stream order, as columns of equal length. Cut by the source at about 128 KiB of data; a
/// larger record travels alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordColumns {
    /// `SequenceNumber`: decimal ASCII.
    pub sequence_number: Column,
    /// Index inside an aggregated record; empty when nothing is aggregated.
    pub sub_sequence: Vec<u64>,
    /// `ApproximateArrivalTimestamp`, milliseconds since the epoch; [`NO_ARRIVAL`] where the service told none.
    pub arrival: Vec<i64>,
    /// `PartitionKey`: UTF-8, 1 to 256 characters.
    pub partition_key: Column,
    /// `EncryptionType`: 0 none, 1 KMS; empty = none at all.
    pub encryption: Vec<u8>,
    /// `Data`.
    pub data: Column,
}

impl RecordColumns {
    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// An empty batch with room for exactly what is told.
    fn with_capacity(records: usize, sequence_bytes: usize, key_bytes: usize, data_bytes: usize) -> Self {
        Self {
            sequence_number: Column::with_capacity(records, sequence_bytes),
            sub_sequence: Vec::new(),
            arrival: Vec::with_capacity(records),
            partition_key: Column::with_capacity(records, key_bytes),
            encryption: Vec::new(),
            data: Column::with_capacity(records, data_bytes),
        }
    }

    /// Appends a record that is no part of an aggregate. The encryption column appears with the first encrypted record.
    fn push(&mut self, record: &RecordView<'_>) {
        if record.kms && self.encryption.is_empty() {
            self.encryption = vec![0; self.len()];
        }
        if record.kms || !self.encryption.is_empty() {
            self.encryption.push(u8::from(record.kms));
        }
        self.sequence_number.push(record.sequence_number.as_bytes());
        self.arrival.push(record.arrival);
        self.partition_key.push(record.partition_key.as_bytes());
        self.data.push(record.data);
    }

    /// What the batch holds in memory, in bytes: the unit of every budget.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns = [&self.sequence_number, &self.partition_key, &self.data];
        columns.iter().map(|column| column.bytes.len() + 4 * column.ends.len()).sum::<usize>()
            + 8 * (self.arrival.len() + self.sub_sequence.len())
            + self.encryption.len()
    }

    /// Appends the records of a batch with the same optional columns.
    fn append(&mut self, other: &Self) {
        self.sequence_number.append(&other.sequence_number);
        self.sub_sequence.extend_from_slice(&other.sub_sequence);
        self.arrival.extend_from_slice(&other.arrival);
        self.partition_key.append(&other.partition_key);
        self.encryption.extend_from_slice(&other.encryption);
        self.data.append(&other.data);
    }

    /// The records `from..to` as a batch of their own.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let part = |column: &Column| column.slice(from, to);
        Self {
            sequence_number: part(&self.sequence_number),
            sub_sequence: self.sub_sequence.get(from..to).unwrap_or_default().to_vec(),
            arrival: self.arrival[from..to].to_vec(),
            partition_key: part(&self.partition_key),
            encryption: self.encryption.get(from..to).unwrap_or_default().to_vec(),
            data: part(&self.data),
        }
    }
}

/// Elements that a deserializer made of one batch of records, as columns. `event_time`, `key` and `route` are either empty
/// (nothing said for any element) or as long as `payload`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementBatch {
    /// Milliseconds since the epoch; empty = the records' arrival times hold.
    pub event_time: Vec<i64>,
    /// Empty = the records' partition keys hold.
    pub key: Column,
    /// 0 = to every sink, `n` = to the sinks that take `routes[n - 1]`; empty = to every sink.
    pub route: Vec<u32>,
    /// The names that `route` counts into.
    pub routes: Vec<String>,
    /// What the elements are.
    pub payload: Column,
}

impl ElementBatch {
    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// What the batch holds in memory, in bytes: the unit of every budget.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns = [&self.key, &self.payload];
        columns.iter().map(|column| column.bytes.len() + 4 * column.ends.len()).sum::<usize>()
            + 8 * self.event_time.len()
            + 4 * self.route.len()
            + self.routes.iter().map(String::len).sum::<usize>()
    }

    /// Keeps the first `elements` elements.
    pub fn truncate(&mut self, elements: usize) {
        self.event_time.truncate(elements);
        self.key.truncate(elements);
        self.route.truncate(elements);
        self.payload.truncate(elements);
    }

    /// Keeps the elements for whose index `is_kept` says so, in place.
    pub fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        keep(&mut self.event_time, &is_kept);
        self.key.retain(&is_kept);
        keep(&mut self.route, &is_kept);
        self.payload.retain(&is_kept);
    }

    /// The elements with these indices as a batch of their own.
    ///
    /// # Panics
    /// An index is out of range.
    #[must_use]
    pub fn select(&self, chosen: &[u32]) -> Self {
        let key = if self.key.is_empty() { Column::default() } else { self.key.select(chosen) };
        Self {
            event_time: pick(&self.event_time, chosen),
            key,
            route: pick(&self.route, chosen),
            routes: self.routes.clone(),
            payload: self.payload.select(chosen),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// Keeps the values for whose index `is_kept` says so, in place.
pub(crate) fn keep<T>(values: &mut Vec<T>, is_kept: impl Fn(usize) -> bool) {
    let mut index = 0;
    values.retain(|_| {
        let kept = is_kept(index);
        index += 1;
        kept
    });
}

/// The values with these indices; none of a column that is empty.
fn pick<T: Copy>(values: &[T], chosen: &[u32]) -> Vec<T> {
    if values.is_empty() { Vec::new() } else { chosen.iter().map(|&index| values[index as usize]).collect() }
}

/// One record on its way into a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// `SequenceNumber`.
    pub sequence_number: &'a str,
    /// `ApproximateArrivalTimestamp` in milliseconds since the epoch, or [`NO_ARRIVAL`].
    pub arrival: i64,
    /// `PartitionKey`.
    pub partition_key: &'a str,
    /// Whether `EncryptionType` is KMS.
    pub kms: bool,
    /// `Data`.
    pub data: &'a [u8],
}

/// Puts records into batches of at most `data_bytes_max` bytes of data each; a larger record travels alone. Two passes,
/// the first over lengths only, so that every column is allocated once and holds no slack.
pub fn cut<R>(records: &[R], data_bytes_max: usize, view: impl Fn(&R) -> RecordView<'_>) -> Vec<RecordColumns> {
    let mut batches = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (mut taken, mut sequence_bytes, mut key_bytes, mut data_bytes) = (0, 0, 0, 0_usize);
        for record in rest.iter().map(&view) {
            if taken > 0 && data_bytes.saturating_add(record.data.len()) > data_bytes_max {
                break;
            }
            taken += 1;
            sequence_bytes += record.sequence_number.len();
            key_bytes += record.partition_key.len();
            data_bytes += record.data.len();
        }
        let mut batch = RecordColumns::with_capacity(taken, sequence_bytes, key_bytes, data_bytes);
        for record in rest[..taken].iter().map(&view) {
            batch.push(&record);
        }
        batches.push(batch);
        rest = &rest[taken..];
    }
    batches
}

/// Leaves out the records that arrived before `at`, for a reader that starts at a timestamp: the stream may give more
/// than it was asked for. An emulator replays a whole shard when `at` lies past its last record, and a source asks from
/// the full second on ([`crate::ports::StreamApi::open`]).
///
/// Some services stamp whole seconds. A record stamped with the very second of `at` may have arrived after it, so it
/// stays: at most a second too much, never a record too few. A record without an arrival time stays too.
#[must_use]
pub fn drop_before(batch: RecordColumns, at: EpochMillis) -> RecordColumns {
    let second = at.0.div_euclid(1000) * 1000;
    let is_before = |&arrival: &i64| arrival != NO_ARRIVAL && arrival < at.0 && arrival != second;
    if !batch.arrival.iter().any(is_before) {
        return batch;
    }
    let mut kept = RecordColumns::default();
    for run in runs(&batch.arrival, |arrival| !is_before(arrival)) {
        kept.append(&batch.slice(run.start, run.end));
    }
    kept
}

/// The maximal runs of indices whose values are wanted.
fn runs<'a, T>(values: &'a [T], wanted: impl Fn(&T) -> bool + 'a) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + values[from..].iter().position(&wanted)?;
        let end = values[start..].iter().position(|value| !wanted(value)).map_or(values.len(), |length| start + length);
        from = end;
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_of(arrivals: &[i64]) -> RecordColumns {
        let rows: Vec<(String, i64)> =
            arrivals.iter().enumerate().map(|(index, &arrival)| (index.to_string(), arrival)).collect();
        let batches = cut(&rows, usize::MAX, |(name, arrival)| RecordView {
            sequence_number: name,
            arrival: *arrival,
            partition_key: "k",
            kms: name == "1",
            data: name.as_bytes(),
        });
        batches.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn batches_stay_below_the_bound_and_a_larger_record_travels_alone() {
        let sizes = [40_usize, 60, 1, 200, 100, 100, 0, 0];
        let data: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![7; size]).collect();
        let batches = cut(&data, 100, |data| RecordView {
            sequence_number: "1",
            arrival: 0,
            partition_key: "",
            kms: false,
            data,
        });
        let cuts: Vec<Vec<usize>> = batches.iter().map(|batch| batch.data.iter().map(<[u8]>::len).collect()).collect();
        assert_eq!(cuts, [vec![40, 60], vec![1], vec![200], vec![100], vec![100, 0, 0]]);
        assert!(batches.iter().all(|batch| batch.encryption.is_empty() && batch.sequence_number.len() == batch.len()));
        assert!(batches.iter().all(|batch| batch.data.bytes.capacity() == batch.data.bytes.len()));
    }

    #[test]
    fn the_encryption_column_appears_with_the_first_encrypted_record() {
        assert_eq!(batch_of(&[5, 6, 7]).encryption, [0, 1, 0]);
        assert!(batch_of(&[5]).encryption.is_empty());
    }

    #[test]
    fn records_before_the_timestamp_are_dropped_wherever_they_stand() {
        let kept = drop_before(batch_of(&[1999, 7300, 6999, 7250, 7249]), EpochMillis(7250));
        assert_eq!(kept.arrival, [7300, 7250]);
        assert_eq!(kept.data.iter().collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(kept.encryption, [1, 0]);
        assert_eq!((kept.sequence_number.len(), kept.partition_key.len()), (2, 2));
    }

    #[test]
    fn a_record_that_may_have_arrived_in_time_is_never_dropped() {
        let whole_second_or_unknown = batch_of(&[7000, NO_ARRIVAL, 8000]);
        assert_eq!(drop_before(whole_second_or_unknown.clone(), EpochMillis(7999)), whole_second_or_unknown);
        assert!(drop_before(batch_of(&[7000, 6000]), EpochMillis(8000)).is_empty());
    }

    #[test]
    fn elements_are_left_out_in_place_and_chosen_into_a_batch_of_their_own() {
        let column = |values: &[&str]| {
            let mut column = Column::default();
            values.iter().for_each(|value| column.push(value.as_bytes()));
            column
        };
        let batch = ElementBatch {
            event_time: vec![5, 6, 7, 8],
            key: Column::default(),
            route: vec![0, 1, 1, 2],
            routes: vec!["a".to_owned(), "b".to_owned()],
            payload: column(&["one", "", "three", "four"]),
        };
        let mut kept = batch.clone();
        kept.retain(|index| index != 0 && index != 2);
        let wanted =
            ElementBatch { event_time: vec![6, 8], route: vec![1, 2], payload: column(&["", "four"]), ..batch.clone() };
        assert_eq!(kept, wanted);
        assert_eq!(batch.select(&[1, 3]), wanted);
        assert_eq!(batch.select(&[]).len(), 0);
        kept.retain(|_| false);
        assert!(kept.is_empty() && kept.payload.bytes.is_empty());
    }

    #[test]
    fn a_slice_holds_the_same_values_from_zero() {
        let mut column = Column::default();
        for value in ["a", "", "ccc", "dd"] {
            column.push(value.as_bytes());
        }
        let slice = column.slice(1, 4);
        assert_eq!(slice.iter().collect::<Vec<_>>(), [b"".as_slice(), b"ccc", b"dd"]);
        assert_eq!(slice.ends, [0, 3, 5]);
        assert_eq!(column.slice(0, 0), Column::default());
        column.truncate(2);
        assert_eq!((column.ends.as_slice(), column.bytes.as_slice()), ([1, 1].as_slice(), b"a".as_slice()));
    }
}
