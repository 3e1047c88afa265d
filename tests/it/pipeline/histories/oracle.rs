//! What must hold, told by the service's log, the stream and the commits; nothing here asks the pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use host::pipeline::totals::SinkLoad;
use host::sink::memory_target::{Asked, Happened, MemoryTarget};
use host_core::batching::Options;
use host_core::shard::{Position, ShardId};
use tests::rig::Rig;
use tests::served::Served;

/// A timer rings up to a millisecond late.
const TICK: Duration = Duration::from_millis(2);

/// A position that is about to be durable.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What the service's log held then.
    pub(super) behind: usize,
    pub(super) shard: ShardId,
    pub(super) to: Position,
}

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) again: u64,
    pub(super) dropped: u64,
    pub(super) failed: u64,
    pub(super) kept: u64,
    pub(super) twice: u64,
    pub(super) in_time: u64,
    pub(super) full: u64,
}

impl Seen {
    pub(super) const fn add(&mut self, other: &Self) {
        self.again += other.again;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.kept += other.kept;
        self.twice += other.twice;
        self.in_time += other.in_time;
        self.full += other.full;
    }
}

pub(super) struct Oracle {
    target: MemoryTarget,
    options: Options,
    /// How much of the log was read.
    read: usize,
    /// What the sink was told is taken, in any run, and where the log says so.
    confirmed: BTreeMap<Vec<u8>, usize>,
    seen: Seen,
}

/// One run, as far as its log was read.
#[derive(Default)]
struct Run {
    /// Under way, by number.
    out: BTreeMap<usize, Asked>,
    /// Known to the sink and not confirmed: since when.
    open: BTreeMap<Vec<u8>, Duration>,
    sent: BTreeSet<Vec<u8>>,
    /// By key: the number of the last one that was sent for the first time.
    latest: BTreeMap<String, u64>,
    /// Something was not taken, so that others may have to wait.
    is_troubled: bool,
    /// When an answer last made room for others.
    freed: Duration,
}

impl Oracle {
    pub(super) fn new(served: &Served) -> Self {
        Self {
            target: served.target.clone(),
            options: served.settings.options.clone(),
            read: 0,
            confirmed: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// LIM-1, by the sink's own count.
    pub(super) fn loaded(&mut self, load: SinkLoad) -> Result<(), String> {
        let Options { max_buffered, max_buffered_bytes, .. } = self.options;
        check(load.buffered <= max_buffered && load.bytes <= max_buffered_bytes, || format!("LIM-1: {load:?}"))
    }

    /// A run is over.
    pub(super) fn ran(&mut self, rig: &Rig, has_failed: bool, kept: &[Kept]) -> Result<(), String> {
        self.seen.failed += u64::from(has_failed);
        let log = self.target.log();
        let mut run = Run::default();
        for (index, happened) in log.iter().enumerate().skip(self.read) {
            self.happened(&mut run, index, happened).map_err(|violation| format!("{violation} (log {index})"))?;
        }
        check(run.out.is_empty(), || format!("still under way after the run: {:?}", run.out))?;
        check(self.target.in_flight_most() <= self.options.max_in_flight, || {
            format!("{} requests under way", self.target.in_flight_most())
        })?;
        self.read = log.len();
        kept.iter().try_for_each(|kept| self.kept(rig, kept))
    }

    fn happened(&mut self, run: &mut Run, index: usize, happened: &Happened) -> Result<(), String> {
        match happened {
            Happened::Offered { at, data } => {
                run.open.insert(data.clone(), *at);
                self.within_limits(run)
            }
            Happened::Asked(asked) => {
                self.asked(run, asked)?;
                run.out.insert(asked.number, asked.clone());
                Ok(())
            }
            Happened::Heard { at, number, done } => {
                let asked = run.out.remove(number).ok_or("heard and not asked")?;
                run.is_troubled |= done.is_empty() || done.contains(&false);
                run.freed = *at;
                for (data, _) in asked.data.iter().zip(done).filter(|(_, done)| **done) {
                    run.open.remove(data);
                    self.confirmed.entry(data.clone()).or_insert(index);
                }
                Ok(())
            }
            Happened::Dropped { number } => {
                self.seen.dropped += 1;
                run.is_troubled = true;
                run.out.remove(number).map(drop).ok_or_else(|| "given up and not asked".to_owned())
            }
        }
    }

    /// LIM-1: one more may be known than are held, because it is looked at before it is taken.
    fn within_limits(&mut self, run: &Run) -> Result<(), String> {
        let held: u64 = run.open.keys().map(|data| size(data)).sum();
        let (count, most) = (run.open.len(), self.options.max_buffered + 1);
        self.seen.full += u64::from(count == most);
        check(count <= most, || format!("LIM-1: {count} entries held"))?;
        let most = self.options.max_buffered_bytes + self.options.max_record_bytes;
        check(held <= most, || format!("LIM-1: {held} bytes held"))
    }

    /// BAT-1 and ORD-1.
    fn asked(&mut self, run: &mut Run, asked: &Asked) -> Result<(), String> {
        let Options { max_count, max_bytes, max_age, max_in_flight, .. } = self.options;
        let bytes: u64 = asked.data.iter().map(|data| size(data)).sum();
        check(!asked.data.is_empty() && asked.data.len() <= max_count, || {
            format!("BAT-1: {} entries in a request", asked.data.len())
        })?;
        check(bytes <= max_bytes, || format!("BAT-1: {bytes} bytes in a request"))?;
        check(run.out.len() < max_in_flight, || "one request too many is under way".to_owned())?;
        let keys: BTreeSet<&String> = asked.keys.iter().collect();
        check(keys.len() == asked.keys.len(), || format!("ORD-1: a key twice in {:?}", asked.keys))?;
        for (key, data) in asked.keys.iter().zip(&asked.data) {
            let under_way = run.out.values().any(|other| other.keys.contains(key));
            check(!under_way, || format!("ORD-1: {key} is under way already"))?;
            let since = run.open.get(data).copied();
            let since = since.ok_or_else(|| format!("sent, and not open: {}", String::from_utf8_lossy(data)))?;
            let number = number(data);
            let is_older = |other: &Vec<u8>| name(other) == key.as_str() && self::number(other) < number;
            let older = run.open.keys().find(|other| is_older(other));
            check(older.is_none(), || format!("ORD-1: {key} {number} is sent while {older:?} is not confirmed"))?;
            if !run.sent.insert(data.clone()) {
                self.seen.again += 1;
                continue;
            }
            let latest = run.latest.insert(key.clone(), number);
            check(latest < Some(number), || format!("ORD-1: {key} {number} is first sent after {latest:?}"))?;
            if run.is_troubled {
                continue;
            }
            self.seen.in_time += 1;
            check(asked.at <= (since + max_age).max(run.freed) + TICK, || {
                format!("BAT-1: {key} {number} waited from {since:?} to {:?}, free since {:?}", asked.at, run.freed)
            })?;
        }
        Ok(())
    }

    /// CKP-1: everything before a position was confirmed when it was kept.
    fn kept(&mut self, rig: &Rig, kept: &Kept) -> Result<(), String> {
        self.seen.kept += 1;
        let is_before = |sequence| match &kept.to {
            Position::TrimHorizon | Position::AtTimestamp(_) => false,
            Position::After { sequence: last, .. } => sequence <= last,
            Position::ShardEnd => true,
        };
        for record in rig.stream.written().iter().filter(|record| record.shard == kept.shard) {
            let confirmed = self.confirmed.get(&record.data).is_some_and(|index| *index < kept.behind);
            check(confirmed || !is_before(&record.sequence), || {
                format!("CKP-1: {kept:?} passes {}", String::from_utf8_lossy(&record.data))
            })?;
        }
        Ok(())
    }

    /// DEL-1, and ORD-1 beyond a run: first appearances are in order.
    pub(super) fn concludes(mut self, rig: &Rig) -> Result<Seen, String> {
        let (mut taken, mut latest) = (BTreeSet::new(), BTreeMap::new());
        for (key, data) in self.target.taken() {
            let number = number(&data);
            if !taken.insert(data) {
                self.seen.twice += 1;
                continue;
            }
            let before = latest.insert(key.clone(), number);
            check(before < Some(number), || format!("ORD-1: {key} {number} first appears after {before:?}"))?;
        }
        for record in rig.stream.written() {
            check(taken.contains(&record.data) && self.confirmed.contains_key(&record.data), || {
                format!("DEL-1: {} is missing", String::from_utf8_lossy(&record.data))
            })?;
        }
        if rig.has_sink {
            rig.expect_exact();
        }
        Ok(self.seen)
    }
}

/// As the service counts it: records are their key and a number.
fn size(data: &[u8]) -> u64 {
    (data.len() + name(data).len()) as u64
}

fn name(data: &[u8]) -> &str {
    let text = std::str::from_utf8(data).expect("text");
    text.split(' ').next().unwrap_or_default()
}

fn number(data: &[u8]) -> u64 {
    let text = std::str::from_utf8(data).expect("text");
    text.split(' ').nth(1).and_then(|number| number.parse().ok()).expect("a key and a number")
}

fn check(holds: bool, violation: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(violation()) }
}
