//! The data plane: readers of shards, and the sink they feed.

use std::ops::Range;

use host_core::checkpoint::SinkMark;
use host_core::coordinator::{Event, Gap, GapReason, OnGap, ReadReport, Receipt};
use host_core::cursor::{Cursor, PageFacts};
use host_core::gap;
use host_core::moment::{EpochMillis, Moment};
use host_core::shard::{Position, ShardDescription, ShardId};

use crate::oracle::Verdict;
use crate::shell::{History, Item, Process};
use crate::world::{STAMPS_AHEAD_MAX, Shard};

#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) shard: usize,
    pub(crate) session: u64,
    /// Ordinal within the session, and index within the shard, of the first record.
    pub(crate) ordinal: u64,
    pub(crate) index: usize,
    pub(crate) count: usize,
}

pub(crate) struct Reader {
    pub(crate) session: u64,
    pub(crate) subtask: u32,
    pub(crate) cursor: Position,
    pub(crate) ordinal: u64,
    /// It looks for no other end than the shard's.
    pub(crate) to_its_end: bool,
    pub(crate) closing: bool,
    pub(crate) paused: bool,
    /// It has said its last word.
    pub(crate) finished: bool,
    /// Whether it has a call out, or will.
    pub(crate) polling: bool,
    /// Reports of one reader arrive in their order.
    pub(crate) reported_at: u64,
    /// So do its records at the sink.
    pub(crate) sunk_at: u64,
    /// What its pages say of completeness and tips.
    pub(crate) read: Cursor,
    /// It found a gap that stops the run, and waits to be closed.
    pub(crate) halted: bool,
}

impl History {
    fn report(&mut self, reader: &mut Reader, event: Event) {
        reader.reported_at = reader.reported_at.max(self.now + self.dice.between(0, 20));
        self.schedule_at(reader.reported_at, self.life, Item::Deliver(event));
    }

    pub(crate) fn poll(&mut self, process: &mut Process, shard: usize, session: u64) {
        let Some(mut reader) = process.readers.remove(&shard) else { return };
        if reader.session == session {
            reader.polling = false;
            self.poll_reader(process, &mut reader, shard);
        }
        process.readers.insert(shard, reader);
    }

    fn poll_reader(&mut self, process: &mut Process, reader: &mut Reader, shard: usize) {
        let session = reader.session;
        let id = self.world.shards[shard].id.clone();
        if reader.closing {
            self.oracle.stopped(shard);
            reader.finished = true;
            return self.report(reader, Event::Closed { shard: id, session });
        }
        if self.decay.is_some() && self.world.shards[shard].expired {
            self.oracle.stopped(shard);
            reader.finished = true;
            return self.report(reader, Event::ShardGone { shard: id, session });
        }
        let Some(index) = self.place(reader, shard) else { return };
        let there = if self.world.shards[shard].expired && self.decay.is_none() {
            index
        } else {
            self.world.shards[shard].records.len()
        };
        let page = self.dice.size(1, self.plan.page_max);
        let count = (there - index).min(page);
        if count > 0 {
            self.page(process, reader, shard, index, count);
        }
        let caught_up = process.run.until_caught_up
            && !reader.to_its_end
            && (count == 0 || self.seem_late(process, shard, index..index + count));
        let is_end = self.world.shards[shard].closed_at.is_some() && index + count >= there;
        if self.decay.is_some() {
            self.note_page(process, reader, shard, index..index + count, !is_end);
        }
        if is_end {
            let children = self.children(shard);
            self.oracle.stopped(shard);
            reader.finished = true;
            self.report(reader, Event::ReadToEnd { shard: id, session, children });
        } else if caught_up {
            self.oracle.stopped(shard);
            reader.finished = true;
            self.report(reader, Event::CaughtUp { shard: id, session });
        } else if !reader.paused {
            // One that is told to pause has one call out at most.
            reader.polling = true;
            let pause = if count == 0 { 1_000 } else { 100 };
            match &mut self.decay {
                Some(decay) => {
                    let at = self.now + decay.pause(count);
                    self.schedule_at(at, self.life, Item::Poll { shard, session });
                }
                None => self.schedule(pause, Item::Poll { shard, session }),
            }
        }
    }

    /// Where the next page begins, as the service gives it; `None` if the reader found a gap there and goes no further.
    fn place(&mut self, reader: &mut Reader, shard: usize) -> Option<usize> {
        let index = self.world.reached(shard, &reader.cursor).expect("a cursor is a place in its shard");
        let Some(decay) = &self.decay else { return Some(index) };
        let now = EpochMillis(i64::try_from(self.now).expect("small"));
        let retention = std::time::Duration::from_millis(decay.retention);
        let there = index.max(self.world.horizon(shard));
        self.oracle.passes(&self.world, shard, index, there);
        let complete_until = reader.read.complete_until();
        let Some((since, until)) = gap::possible_loss(complete_until, now, retention) else { return Some(there) };
        let gap = Gap {
            shard: self.world.shards[shard].id.clone(),
            reason: if reader.ordinal == 0 { GapReason::StalePosition } else { GapReason::Trimmed },
            from: reader.cursor.clone(),
            to: self.world.shards[shard].records.get(there).map(|record| record.sequence.clone()),
            since: Some(since),
            until: Some(until),
        };
        let retention = decay.retention;
        self.oracle.gap_found(shard, reader.session, self.now, self.life, retention);
        self.report(reader, Event::Gap(gap));
        if self.on_gap == OnGap::Fail {
            reader.halted = true;
            return None;
        }
        reader.read.passed_over(until);
        Some(there)
    }

    /// The reader learns from a page how complete the shard is, and tells of its tip.
    fn note_page(&mut self, process: &Process, reader: &mut Reader, shard: usize, page: Range<usize>, has_next: bool) {
        let now = EpochMillis(i64::try_from(self.now).expect("small"));
        let (id, session, is_empty) = (self.world.shards[shard].id.clone(), reader.session, page.is_empty());
        let rest = &self.world.shards[shard].records[page.end..];
        let facts = PageFacts {
            records: u64::try_from(page.len()).expect("small"),
            bytes: 0,
            last: (!is_empty).then(|| reader.cursor.clone()),
            newest_arrival: None,
            last_arrival: self.world.shards[shard].records[page].last().map(|record| record.arrival),
            asked_at: Some(now),
            has_next,
            millis_behind: Some(rest.first().map_or(0, |next| (now.0 - next.arrival.0).max(1))),
        };
        let moment = Moment::from_millis(self.now - process.run.starts_at);
        reader.read.take(&facts);
        if is_empty && has_next && !process.subtasks.dead.contains(&session) {
            self.oracle.losses.tip(shard, self.now, self.life, session);
        }
        if let Some(at) = reader.read.tip(moment) {
            self.report(reader, Event::AtTip { shard: id, session, at });
        }
    }

    /// Whether the stamps of records say that they were written after the run began. In a shard that the run's first listing
    /// shows children of they may say anything.
    fn seem_late(&mut self, process: &Process, shard: usize, records: Range<usize>) -> bool {
        let Shard { id, children, records: all, .. } = &self.world.shards[shard];
        let listed = process.first_listed.get(&id.stream());
        if children.iter().any(|child| listed.is_some_and(|listed| listed.contains(child))) && self.dice.percent(50) {
            return true;
        }
        let end = EpochMillis(i64::try_from(process.run.starts_at + STAMPS_AHEAD_MAX).expect("small"));
        all[records].iter().any(|record| record.arrival > end)
    }

    /// The reader is told something: it may be waiting for just that.
    pub(crate) fn tell(&mut self, process: &mut Process, shard: usize, session: u64, word: fn(&mut Reader)) {
        let reader = process.readers.get_mut(&shard).filter(|reader| reader.session == session);
        let Some(reader) = reader else { return };
        word(reader);
        if !reader.polling && !reader.finished && (reader.closing || !(reader.paused || reader.halted)) {
            reader.polling = true;
            self.schedule(100, Item::Poll { shard, session });
        }
    }

    fn page(&mut self, process: &mut Process, reader: &mut Reader, shard: usize, index: usize, count: usize) {
        let records = &self.world.shards[shard].records[index..index + count];
        let last = Position::after(records[count - 1].sequence.clone());
        let report = ReadReport {
            shard: self.world.shards[shard].id.clone(),
            session: reader.session,
            records: u64::try_from(count).expect("small"),
            last: last.clone(),
            earliest: records.iter().map(|record| record.arrival).min(),
        };
        let batch = Batch { shard, session: reader.session, ordinal: reader.ordinal, index, count };
        reader.ordinal += report.records;
        reader.cursor = last;
        self.report(reader, Event::Read(report));
        if process.subtasks.dead.contains(&batch.session) {
            return;
        }
        self.note_made(process, &batch);
        let slow = if u64::try_from(shard).expect("small") % 3 == 0 { 1 + self.plan.slow_shard } else { 1 };
        let delay = self.dice.between(0, self.plan.sink_delay_max * slow / 3 + 1);
        reader.sunk_at = reader.sunk_at.max(reader.reported_at + delay);
        self.schedule_at(reader.sunk_at, self.life, Item::Sink(batch));
    }

    fn children(&mut self, shard: usize) -> Vec<ShardDescription> {
        if !self.dice.percent(self.plan.children_with_end) {
            return Vec::new();
        }
        let children = self.world.shards[shard].children.iter();
        children.filter(|child| !self.world.shards[**child].expired).map(|child| self.world.describe(*child)).collect()
    }

    /// A batch reaches the sink; its receipt comes in one piece or in several, in any order.
    pub(crate) fn sink(&mut self, batch: &Batch) -> Verdict {
        let mut first = 0;
        while first < batch.count {
            let count =
                if self.dice.percent(60) { batch.count - first } else { 1 + self.dice.index(batch.count - first) };
            let mut mark = 0;
            for index in batch.index + first..batch.index + first + count {
                mark = self.oracle.delivered(&self.world, batch.shard, index)?;
            }
            let last = &self.world.shards[batch.shard].records[batch.index + first + count - 1];
            let receipt = Receipt {
                shard: self.world.shards[batch.shard].id.clone(),
                session: batch.session,
                first: batch.ordinal + u64::try_from(first).expect("small"),
                count: u64::try_from(count).expect("small"),
                last: Position::after(last.sequence.clone()),
                arrived: Some(last.arrival),
                event_time: None,
                marks: vec![SinkMark { sink: 0, mark: u64::try_from(mark).expect("small") }],
            };
            self.answer(batch.shard, batch.index + first, receipt);
            first += count;
        }
        Ok(())
    }

    fn answer(&mut self, shard: usize, index: usize, receipt: Receipt) {
        if self.dice.percent(self.plan.foreign_receipt) {
            self.schedule(100, Item::Deliver(Event::Delivered(self.foreign(&receipt))));
        }
        let delay = self.plan.receipt_delay_max;
        let due = self.now + self.dice.between(0, delay);
        let at = self.served.receipt_at(self.life, receipt.session, due);
        if self.dice.percent(self.plan.duplicate_receipt) {
            // It is told twice, one after the other.
            let again = at + self.dice.between(0, delay);
            self.schedule_at(again, self.life, Item::Receipt { shard, index, receipt: receipt.clone() });
        }
        self.schedule_at(at, self.life, Item::Receipt { shard, index, receipt });
    }

    /// A receipt of a reader that is no more: it claims everything, and means nothing.
    fn foreign(&self, receipt: &Receipt) -> Receipt {
        let shard: &ShardId = &receipt.shard;
        let records = &self.world.shards[self.world.find(shard)].records;
        let last = records.last().map_or(Position::TrimHorizon, |record| Position::after(record.sequence.clone()));
        let event_time = Some((EpochMillis(i64::MAX), EpochMillis(i64::MAX)));
        let session = receipt.session + 1_000;
        Receipt { session, first: 0, count: 1_000, last, event_time, marks: Vec::new(), ..receipt.clone() }
    }
}
