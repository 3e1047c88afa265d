//! What holds in every history.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use host_core::batching::{Cause, Counts, Fate, Options, Order, Settled};

use crate::service::{Record, Service};

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) confirmed: u64,
    pub(crate) poisoned: u64,
    pub(crate) exhausted: u64,
    pub(crate) timed_out: u64,
    pub(crate) landed_late: u64,
    pub(crate) repeated: u64,
    pub(crate) throttled: u64,
    pub(crate) rejected: u64,
    pub(crate) superseded: u64,
    pub(crate) full: u64,
    pub(crate) slept: u64,
    /// Hurried with something to send or under way.
    pub(crate) hurried: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.confirmed += other.confirmed;
        self.poisoned += other.poisoned;
        self.exhausted += other.exhausted;
        self.timed_out += other.timed_out;
        self.landed_late += other.landed_late;
        self.repeated += other.repeated;
        self.throttled += other.throttled;
        self.rejected += other.rejected;
        self.superseded += other.superseded;
        self.full += other.full;
        self.slept += other.slept;
        self.hurried += other.hurried;
    }
}

/// Knows what was pushed, what is under way and what was said of it.
#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    options: Options,
    /// By ticket: tickets count up in the order of pushing.
    unsettled: BTreeMap<u32, Record>,
    /// By key.
    waiting: BTreeMap<u32, BTreeSet<u32>>,
    out: BTreeSet<u32>,
    fates: BTreeMap<u32, Result<(), Cause>>,
    pub(crate) seen: Seen,
}

impl Oracle {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            unsettled: BTreeMap::new(),
            waiting: BTreeMap::new(),
            out: BTreeSet::new(),
            fates: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn pushed(&mut self, record: &Record) {
        self.unsettled.insert(record.ticket, record.clone());
        self.waiting.entry(record.key).or_default().insert(record.ticket);
    }

    /// Whether everything is settled that was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// BAT-1, ORD-1: what is in one request.
    pub(crate) fn sent(&mut self, tickets: &[u32], bytes: u64, in_flight: usize) -> Result<Vec<Record>, String> {
        let records: Vec<_> = tickets.iter().filter_map(|ticket| self.unsettled.get(ticket)).cloned().collect();
        let sum: u64 = records.iter().map(|record| record.bytes).sum();
        check(records.len() == tickets.len(), || format!("{tickets:?}: sent although settled"))?;
        check(!tickets.is_empty() && tickets.len() <= self.options.max_count, || {
            format!("BAT-1: {} entries in a request", tickets.len())
        })?;
        check(sum == bytes && sum <= self.options.max_bytes, || format!("BAT-1: {sum} bytes, said to be {bytes}"))?;
        check(in_flight <= self.options.max_in_flight, || format!("{in_flight} requests under way"))?;
        let mut keys = BTreeSet::new();
        for Record { ticket, key, .. } in &records {
            let is_first = keys.insert(key);
            check(is_first || self.options.order == Order::Free, || format!("key {key} twice in {tickets:?}"))?;
            check(self.out.insert(*ticket), || format!("{ticket} is under way twice"))?;
            let family = &self.waiting[key];
            let is_alone = family.iter().filter(|other| self.out.contains(other)).count() == 1;
            let is_oldest = family.first() == Some(ticket);
            match self.options.order {
                Order::Free | Order::Distinct => {}
                Order::PerKey => check(is_oldest && is_alone, || format!("ORD-1: {ticket} before {family:?}"))?,
                Order::Newest => {
                    check(is_alone, || format!("ORD-1: {ticket} beside others of {family:?}"))?;
                    self.seen.superseded += u64::from(!is_oldest);
                }
            }
        }
        Ok(records)
    }

    pub(crate) fn over(&mut self, records: &[Record]) {
        for record in records {
            self.out.remove(&record.ticket);
        }
    }

    /// DEL-1: once each.
    pub(crate) fn settled(&mut self, settled: Settled<u32>) -> Result<(), String> {
        let (ticket, fate) = match settled {
            Settled::Confirmed(ticket) => (ticket, Ok(())),
            Settled::DeadLetter(ticket, cause) => (ticket, Err(cause)),
        };
        match &fate {
            Ok(()) => self.seen.confirmed += 1,
            Err(Cause::Poison(_)) => self.seen.poisoned += 1,
            Err(Cause::Exhausted { .. }) => self.seen.exhausted += 1,
        }
        let record = self.unsettled.remove(&ticket).ok_or_else(|| format!("DEL-1: {ticket} is settled twice"))?;
        check(!self.out.contains(&ticket), || format!("{ticket} is settled while under way"))?;
        self.waiting.get_mut(&record.key).expect("it was pushed").remove(&ticket);
        self.fates.insert(ticket, fate);
        Ok(())
    }

    /// LIM-1.
    pub(crate) fn counted(&self, counts: &Counts) -> Result<(), String> {
        let bytes: u64 = self.unsettled.values().map(|record| record.bytes).sum();
        let is_true = counts.buffered >= self.unsettled.len() && counts.bytes >= bytes;
        check(is_true, || format!("LIM-1: {counts:?} for {} entries of {bytes} bytes", self.unsettled.len()))?;
        let is_within = counts.buffered <= self.options.max_buffered && counts.bytes <= self.options.max_buffered_bytes;
        check(is_within, || format!("LIM-1: {counts:?}"))
    }

    /// The oldest entry, if nothing prevents it from being sent.
    pub(crate) fn oldest_idle(&self) -> Option<u32> {
        let (ticket, record) = self.unsettled.first_key_value()?;
        let is_held = self.waiting[&record.key].iter().any(|other| self.out.contains(other));
        (!is_held).then_some(*ticket)
    }

    /// What the service has must be what was said of it, in the order in which it was given.
    pub(crate) fn concludes(&mut self, pushed: &[Record], service: &Service) -> Result<(), String> {
        check(self.unsettled.is_empty(), || format!("DEL-1: never settled: {:?}", self.unsettled.keys()))?;
        for (key, written) in &service.written {
            let (mut newest, mut seen) = (None, BTreeSet::new());
            for (time, ticket) in written {
                self.seen.repeated += u64::from(!seen.insert(*ticket));
                if self.options.order == Order::PerKey || self.options.order == Order::Newest {
                    check(newest <= Some(*ticket), || {
                        format!("ORD-1: key {key} has {ticket} at {time} after {newest:?}: {written:?}")
                    })?;
                }
                newest = newest.max(Some(*ticket));
            }
        }
        for Record { ticket, key, .. } in pushed {
            let written = service.written.get(key).map_or(&[][..], Vec::as_slice);
            let has = written.iter().any(|(_, other)| other == ticket);
            let has_newer = written.iter().any(|(_, other)| other > ticket);
            let fate = self.fates.get(ticket).ok_or_else(|| format!("DEL-1: {ticket} is absent"))?;
            let is_true = match fate {
                Ok(()) => has || (self.options.order == Order::Newest && has_newer),
                Err(Cause::Poison(_) | Cause::Exhausted { fate: Fate::NotWritten, .. }) => !has,
                Err(Cause::Exhausted { fate: Fate::Unknown, .. }) => true,
            };
            check(is_true, || format!("DEL-1: {ticket} is said to be {fate:?}, and key {key} has {written:?}"))?;
        }
        Ok(())
    }
}

pub(crate) fn check(holds: bool, violation: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(violation()) }
}
