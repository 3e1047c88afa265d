//! Records as columns. A variable-length column is one run of bytes and the exclusive end of each value, so a batch of
//! records is a handful of allocations and crosses into a component with one copy per column.

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
    /// `ApproximateArrivalTimestamp`, milliseconds since the epoch.
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

    /// What the batch holds in memory, in bytes: the unit of every budget.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns = [&self.sequence_number, &self.partition_key, &self.data];
        columns.iter().map(|column| column.bytes.len() + 4 * column.ends.len()).sum::<usize>()
            + 8 * (self.arrival.len() + self.sub_sequence.len())
            + self.encryption.len()
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
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// Keeps the first `elements` elements.
    pub fn truncate(&mut self, elements: usize) {
        self.event_time.truncate(elements);
        self.key.truncate(elements);
        self.route.truncate(elements);
        self.payload.truncate(elements);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
