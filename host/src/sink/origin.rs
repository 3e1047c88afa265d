//! Where entries come from: the delivery that they are part of, and the position of the record that each was made of.
//!
//! Every sink that writes to a service gets these positions, and few ever ask: a sink that keeps positions itself, and
//! whoever has to name the record of an entry that will never be written. So they travel as the service sent them, one
//! column of text, and become positions when somebody asks. Records that no entry came from are left out: an origin lives
//! as long as the slowest of its entries, and one entry of a thousand records must not keep a thousand sequence numbers.

use host_core::shard::{Position, ShardId};

use crate::columns::{Column, RecordColumns};
use crate::pipeline::failure::sequence_text;
use crate::source::reader::position_at;

/// A delivery.
#[derive(Debug)]
pub struct Origin {
    /// Its name: never given twice in a run.
    pub delivery: u64,
    /// The shard that its records come from.
    pub shard: ShardId,
    /// The session of the shard's reader.
    pub session: u64,
    /// The position after its last record.
    pub last: Position,
    /// Where the records stand that its entries came from.
    pub stations: Stations,
}

impl Origin {
    /// The position after a record, counted within the delivery, that an entry came from.
    #[must_use]
    pub fn position(&self, record: u32) -> Option<Position> {
        self.stations.position(record)
    }

    /// The sequence number of a record, for people.
    #[must_use]
    pub fn sequence(&self, record: u32) -> String {
        sequence_text(self.position(record).as_ref())
    }
}

/// Where some of the records of a delivery stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stations {
    /// The records, counted within the delivery: increasing.
    record: Vec<u32>,
    /// `SequenceNumber` of each.
    sequence: Column,
    /// Index of each inside an aggregated record; empty when nothing is aggregated.
    sub_sequence: Vec<u64>,
}

impl Stations {
    /// Of these records, which never decrease, where they stand.
    ///
    /// # Panics
    /// There is no such record.
    #[must_use]
    pub fn of(records: &RecordColumns, entries: &[u32]) -> Self {
        let mut record = entries.to_vec();
        record.dedup();
        let sequence = records.sequence_number.select(&record);
        let sub_sequence = match records.sub_sequence.as_slice() {
            [] => Vec::new(),
            all => record.iter().map(|record| all[*record as usize]).collect(),
        };
        Self { record, sequence, sub_sequence }
    }

    /// The position after a record; `None` if it is none of these.
    #[must_use]
    pub fn position(&self, record: u32) -> Option<Position> {
        let index = self.record.binary_search(&record).ok()?;
        position_at(&self.sequence, &self.sub_sequence, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{RecordView, cut};

    fn records(sequence_numbers: &[&str]) -> RecordColumns {
        cut(sequence_numbers, usize::MAX, |sequence_number| RecordView {
            sequence_number,
            arrival: 0,
            partition_key: "key",
            kms: false,
            data: b"",
        })
        .remove(0)
    }

    fn told(stations: &Stations, record: u32) -> Option<String> {
        stations.position(record).map(|position| sequence_text(Some(&position)))
    }

    #[test]
    fn each_record_with_an_entry_stands_where_the_service_put_it_and_no_other_is_kept() {
        let stations = Stations::of(&records(&["100", "1007", "102", "2103"]), &[1, 1, 3, 3, 3]);
        let all: Vec<_> = (0..5).map(|record| told(&stations, record)).collect();
        assert_eq!(all, [None, Some("1007".to_owned()), None, Some("2103".to_owned()), None]);
        assert_eq!(stations.sequence.bytes.len(), 8);
    }

    #[test]
    fn a_record_inside_an_aggregated_one_has_its_index_there() {
        let columns = RecordColumns { sub_sequence: vec![0, 1, 2], ..records(&["7", "7", "7"]) };
        let stations = Stations::of(&columns, &[0, 2]);
        assert_eq!(told(&stations, 0).as_deref(), Some("7"));
        assert_eq!(told(&stations, 2).as_deref(), Some("7/2"));
    }
}
