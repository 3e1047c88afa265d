//! What is confirmed of one reader's session: the only place where a durable position comes from.
//!
//! A session's records have dense ordinals from 0. Receipts name ranges of them and come in any order; the position is
//! that of the end of the longest confirmed prefix. So the ledger needs no list of what was read, only of receipts that
//! came too early, and a receipt that comes twice changes nothing.

use std::collections::BTreeMap;

use crate::checkpoint::SinkMark;
use crate::coordinator::Receipt;
use crate::moment::EpochMillis;
use crate::shard::Position;

/// Receipts of one session.
#[derive(Clone, Debug)]
pub struct Ledger {
    read: u64,
    confirmed: u64,
    position: Position,
    /// Receipts beyond a gap, by their first ordinal.
    early: BTreeMap<u64, Receipt>,
}

/// What one receipt made certain, together with receipts that had waited for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records newly confirmed without a gap.
    pub records: u64,
    /// Whether the receipt said anything that was not known.
    pub is_news: bool,
    /// Their latest arrival.
    pub arrived: Option<EpochMillis>,
    /// Latest event time delivered so far, as their receipts tell it.
    pub latest: Option<EpochMillis>,
    /// Their sinks' marks, in order.
    pub marks: Vec<SinkMark>,
}

impl Ledger {
    /// Nothing read yet; everything up to `position` is durable.
    #[must_use]
    pub const fn new(position: Position) -> Self {
        Self { read: 0, confirmed: 0, position, early: BTreeMap::new() }
    }

    /// `records` more were handed out. Returns the ordinal after the last of them.
    pub const fn read(&mut self, records: u64) -> u64 {
        self.read = self.read.saturating_add(records);
        self.read
    }

    /// Takes in a receipt. It may overtake the report of its read.
    pub fn confirm(&mut self, receipt: Receipt) -> Progress {
        let mut progress = Progress::default();
        if end(&receipt) > self.confirmed {
            let known = self.early.get(&receipt.first).map_or(0, end);
            if end(&receipt) > known {
                progress.is_news = true;
                self.early.insert(receipt.first, receipt);
            }
        }
        while self.early.first_key_value().is_some_and(|(first, _)| *first <= self.confirmed) {
            let (_, receipt) = self.early.pop_first().expect("the entry just looked at");
            self.take(receipt, &mut progress);
        }
        progress
    }

    /// Up to where all is confirmed.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// Confirmed without a gap, from ordinal 0.
    #[must_use]
    pub const fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Read and not confirmed.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.read.saturating_sub(self.confirmed)
    }

    /// Whether everything read is confirmed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.confirmed >= self.read && self.early.is_empty()
    }

    fn take(&mut self, receipt: Receipt, progress: &mut Progress) {
        let end = end(&receipt);
        if end <= self.confirmed {
            return;
        }
        progress.records += end - self.confirmed;
        progress.arrived = progress.arrived.max(receipt.arrived);
        progress.latest = progress.latest.max(receipt.event_time.map(|(_, latest)| latest));
        progress.marks.extend(receipt.marks);
        self.confirmed = end;
        // An end is not a record's position: it is decided on, never confirmed.
        if receipt.last.is_past(&self.position) && !receipt.last.is_end() {
            self.position = receipt.last;
        }
    }
}

const fn end(receipt: &Receipt) -> u64 {
    receipt.first.saturating_add(receipt.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{SequenceNumber, ShardId};

    fn after(ordinal: u64) -> Position {
        Position::after(SequenceNumber::parse(&ordinal.to_string()).expect("decimal"))
    }

    fn receipt(first: u64, count: u64) -> Receipt {
        let last = after(first + count);
        let arrived = i64::try_from(first).ok().map(EpochMillis);
        let marks = vec![SinkMark { sink: 0, mark: first + count }];
        Receipt { shard: ShardId::new("s"), session: 1, first, count, last, arrived, event_time: None, marks }
    }

    #[test]
    fn a_position_moves_over_receipts_that_touch() {
        let mut ledger = Ledger::new(Position::TrimHorizon);
        ledger.read(10);
        assert_eq!(ledger.confirm(receipt(6, 4)).records, 0);
        assert_eq!(ledger.confirm(receipt(3, 3)).records, 0);
        assert_eq!(ledger.position(), &Position::TrimHorizon);
        let progress = ledger.confirm(receipt(0, 3));
        assert_eq!((progress.records, ledger.position()), (10, &after(10)));
        assert_eq!(progress.marks.last(), Some(&SinkMark { sink: 0, mark: 10 }));
        assert!(ledger.is_settled());
    }

    #[test]
    fn repeated_and_overlapping_receipts_count_once() {
        let mut ledger = Ledger::new(Position::TrimHorizon);
        ledger.read(9);
        assert_eq!(ledger.confirm(receipt(0, 4)).records, 4);
        assert_eq!(ledger.confirm(receipt(0, 4)), Progress::default());
        assert_eq!(ledger.confirm(receipt(2, 4)).records, 2);
        ledger.confirm(receipt(7, 2));
        ledger.confirm(receipt(7, 1));
        assert_eq!(ledger.confirm(receipt(6, 1)).records, 3);
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_receipt_may_overtake_the_report_of_its_read() {
        let mut ledger = Ledger::new(Position::TrimHorizon);
        ledger.confirm(receipt(0, 4));
        assert_eq!(ledger.in_flight(), 0);
        ledger.read(6);
        assert_eq!(ledger.in_flight(), 2);
        assert!(!ledger.is_settled());
    }

    #[test]
    fn a_receipt_neither_ends_a_shard_nor_moves_it_back() {
        let mut ledger = Ledger::new(after(50));
        ledger.read(2);
        ledger.confirm(Receipt { last: after(49), ..receipt(0, 1) });
        ledger.confirm(Receipt { last: Position::ShardEnd, ..receipt(1, 1) });
        assert_eq!(ledger.position(), &after(50));
        assert!(ledger.is_settled());
    }
}
