//! WMK-1 and the drift between shards, told by what the core was told.

use std::collections::BTreeMap;

use host_core::coordinator::{Coordinator, ReadReport, Receipt, ShardState};
use host_core::moment::EpochMillis;

use crate::oracle::Verdict;
use crate::readers::Batch;
use crate::shell::{History, Process};

/// How long the core may look away from watermarks, with few shards.
const INTERVAL: u64 = 100;

/// Times of one life.
#[derive(Default)]
pub(crate) struct Times {
    /// Arrivals read and not confirmed, by shard and index, as the core knows them.
    in_flight: BTreeMap<(usize, usize), EpochMillis>,
    /// Event times made and not confirmed.
    made: BTreeMap<(usize, usize), EpochMillis>,
    /// The earliest of them, by shard, as the last receipt told it.
    told: BTreeMap<usize, EpochMillis>,
    /// The latest event time delivered, by session.
    latest: BTreeMap<u64, EpochMillis>,
    /// When a shard was opened, and when a page of it was last told.
    opened_at: BTreeMap<usize, u64>,
    active_at: BTreeMap<usize, u64>,
    /// Since when a shard is too far ahead and reads on.
    ahead_since: BTreeMap<usize, u64>,
}

impl Times {
    pub(crate) fn opened(&mut self, shard: usize, now: u64) {
        self.opened_at.insert(shard, now);
        self.active_at.insert(shard, now);
    }

    /// Elements made by a subtask that is lost count as not made; arrivals read there are still not delivered.
    /// Where readers sleep, the shard falls idle before they are read again.
    pub(crate) fn lost(&mut self, shard: usize, readers_sleep: bool) {
        self.in_flight.retain(|(of, _), _| *of != shard || !readers_sleep);
        self.made.retain(|(of, _), _| *of != shard);
        self.told.remove(&shard);
    }
}

impl History {
    pub(crate) fn note_in_flight(&self, process: &mut Process, report: &ReadReport) {
        let shard = self.world.find(&report.shard);
        if process.subtasks.over.contains(&report.session) {
            return;
        }
        let end = self.world.reached(shard, &report.last).expect("the reader's own position");
        for index in end - usize::try_from(report.records).expect("small")..end {
            process.times.in_flight.insert((shard, index), self.world.shards[shard].records[index].arrival);
        }
        process.times.active_at.insert(shard, self.now);
    }

    pub(crate) fn note_made(&self, process: &mut Process, batch: &Batch) {
        for index in batch.index..batch.index + batch.count {
            process.times.made.insert((batch.shard, index), self.world.shards[batch.shard].records[index].event_time);
        }
    }

    /// Records are delivered: puts the event times on their receipt as they are now.
    pub(crate) fn note_delivered(&self, process: &mut Process, shard: usize, index: usize, receipt: &mut Receipt) {
        let times = &mut process.times;
        let mut news = false;
        for index in index..index + usize::try_from(receipt.count).expect("small") {
            news |= times.in_flight.remove(&(shard, index)).is_some();
            times.made.remove(&(shard, index));
            let time = self.world.shards[shard].records[index].event_time;
            let latest = times.latest.entry(receipt.session).or_insert(time);
            *latest = time.max(*latest);
        }
        if !self.hazards.event_times {
            return;
        }
        let latest = times.latest[&receipt.session];
        let held = times.made.range((shard, 0)..=(shard, usize::MAX)).map(|(_, time)| *time).min();
        receipt.event_time = Some((held.unwrap_or(latest), latest));
        if news {
            times.told.remove(&shard);
            times.told.extend(held.filter(|held| *held != latest).map(|held| (shard, held)));
        }
    }

    /// WMK-1, and nobody runs ahead unnoticed.
    pub(crate) fn check_times(&mut self, process: &mut Process) -> Verdict {
        // What is trimmed will not be read again.
        let is_there = |of: &(usize, usize)| self.world.shards[of.0].records[of.1].written_at >= self.world.trimmed;
        let times = &process.times;
        let in_flight = times.in_flight.iter().filter(|(of, _)| is_there(of)).map(|(_, arrival)| arrival);
        let earliest = if self.hazards.event_times { times.told.values().min() } else { in_flight.min() };
        self.oracle.watermark(process.core.watermark(), earliest.copied())?;
        self.check_drift(process)
    }

    fn check_drift(&self, process: &mut Process) -> Verdict {
        let Some(max_drift) = self.hazards.max_drift.filter(|_| !self.drained) else { return Ok(()) };
        let max_drift = i64::try_from(max_drift.as_millis()).expect("small");
        let least = self.least_active(&process.core, &process.times);
        for view in process.core.shards() {
            let shard = self.world.find(view.shard);
            let ahead = match (view.watermark, least) {
                (Some(_), Some(None)) => true,
                (Some(watermark), Some(Some(least))) => watermark.0 - least.0 > max_drift,
                (None, _) | (_, None) => false,
            };
            if view.state != ShardState::Reading || view.paused || !ahead {
                process.times.ahead_since.remove(&shard);
                continue;
            }
            let since = *process.times.ahead_since.entry(shard).or_insert(self.now);
            if self.now >= since + INTERVAL {
                return Err(format!("drift: {view:?} runs ahead of {least:?} since {since}"));
            }
        }
        Ok(())
    }

    /// The least watermark of those that are surely read and surely not idle.
    fn least_active(&self, core: &Coordinator, times: &Times) -> Option<Option<EpochMillis>> {
        let idle_after = u64::try_from(self.plan.idle_after.as_millis()).expect("small");
        let recent = |at: Option<&u64>| at.is_some_and(|at| self.now < at + idle_after);
        let active = core.shards().filter(|view| {
            let shard = self.world.find(view.shard);
            let since = if view.watermark.is_none() { &times.opened_at } else { &times.active_at };
            view.state == ShardState::Reading && recent(since.get(&shard))
        });
        active.map(|view| view.watermark).min()
    }

    /// A pause has a reason: somebody is more than the drift behind.
    pub(crate) fn check_pause(&self, process: &Process, shard: usize) -> Verdict {
        let Some(max_drift) = self.hazards.max_drift else { return Err("drift: nobody asked for alignment".into()) };
        let max_drift = i64::try_from(max_drift.as_millis()).expect("small");
        let id = &self.world.shards[shard].id;
        let own = process.core.shards().find(|view| view.shard == id).and_then(|view| view.watermark);
        let Some(own) = own else { return Err(format!("drift: {id} pauses and has no watermark")) };
        let behind = |watermark: Option<EpochMillis>| watermark.is_none_or(|other| own.0 - other.0 > max_drift);
        let unfinished = process.core.shards().filter(|view| view.state != ShardState::Finished);
        if unfinished.map(|view| view.watermark).any(behind) {
            Ok(())
        } else {
            Err(format!("drift: {id} pauses, and nobody is behind"))
        }
    }
}
