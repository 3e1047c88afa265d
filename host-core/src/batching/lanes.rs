//! Entries that may be sent, by destination. A lane is open while its destination may be written to.
//!
//! Nothing here is ever gone through: what the open lanes hold together, which of them holds the oldest entry and which the
//! one that is due first is kept up to date lane by lane.

use std::collections::{BTreeMap, BTreeSet};

use super::pace::Pace;
use super::vocabulary::{Destination, Quota};
use crate::moment::Moment;

/// The place of an entry in the order of arrival.
pub(super) type Place = u64;

#[derive(Clone, Copy, Debug)]
struct Ready {
    due: Moment,
    bytes: u64,
}

/// What the sums and indexes say of a lane.
#[derive(Clone, Copy, Debug)]
struct Listed {
    head: Place,
    due: Moment,
    count: usize,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Lane {
    ready: BTreeMap<Place, Ready>,
    dues: BTreeSet<(Moment, Place)>,
    bytes: u64,
    pace: Pace,
    is_open: bool,
    listed: Option<Listed>,
}

impl Lane {
    fn listing(&self) -> Option<Listed> {
        let (head, _) = self.ready.first_key_value().filter(|_| self.is_open)?;
        let (due, _) = self.dues.first()?;
        Some(Listed { head: *head, due: *due, count: self.ready.len(), bytes: self.bytes })
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Destination, Lane>,
    quota: Option<Quota>,
    heads: BTreeSet<(Place, Destination)>,
    dues: BTreeSet<(Moment, Destination)>,
    count: usize,
    bytes: u64,
}

impl Lanes {
    pub(super) fn new(quota: Option<Quota>) -> Self {
        Self { quota, ..Self::default() }
    }

    /// Entries in open lanes.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Bytes in open lanes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first entry of an open lane is due.
    pub(super) fn first_due(&self) -> Option<Moment> {
        self.dues.first().map(|(due, _)| *due)
    }

    /// The oldest entry of an open lane.
    pub(super) fn first(&self) -> Option<(Place, Destination)> {
        self.heads.first().copied()
    }

    pub(super) fn insert(&mut self, now: Moment, to: Destination, place: Place, due: Moment, bytes: u64) {
        self.change(now, to, |lane| {
            lane.ready.insert(place, Ready { due, bytes });
            lane.dues.insert((due, place));
            lane.bytes += bytes;
        });
    }

    pub(super) fn remove(&mut self, now: Moment, from: Destination, place: Place) {
        self.change(now, from, |lane| {
            let Some(Ready { due, bytes }) = lane.ready.remove(&place) else { return };
            lane.dues.remove(&(due, place));
            lane.bytes -= bytes;
        });
    }

    /// Accounts for an entry that is sent. If the lane is closed by it, returns when it opens.
    pub(super) fn spend(&mut self, now: Moment, at: Destination, bytes: u64) -> Option<Moment> {
        self.change(now, at, |lane| {
            let opens = lane.pace.spend(now, bytes, (lane.ready.len(), lane.bytes));
            // A lane that is closed already has its time; what goes there all the same is charged and no more.
            let closes = opens.filter(|_| lane.is_open);
            lane.is_open &= closes.is_none();
            closes
        })
    }

    pub(super) fn open(&mut self, now: Moment, at: Destination) {
        self.change(now, at, |lane| {
            lane.pace.open(now);
            lane.is_open = true;
        });
    }

    pub(super) fn throttled(&mut self, now: Moment, at: Destination, sent_at: Moment, part: f64) {
        self.change(now, at, |lane| lane.pace.throttled(now, sent_at, part));
    }

    pub(super) fn taken(&mut self, now: Moment, at: Destination, sent_at: Moment) {
        self.change(now, at, |lane| lane.pace.taken(now, sent_at));
    }

    pub(super) fn requote(&mut self, now: Moment, at: Destination, quota: Quota) {
        self.change(now, at, |lane| lane.pace.requote(quota));
    }

    pub(super) fn forget(&mut self, destination: Destination) {
        if self.lanes.get(&destination).is_some_and(|lane| lane.ready.is_empty()) {
            self.lanes.remove(&destination);
        }
    }

    fn change<R>(&mut self, now: Moment, at: Destination, with: impl FnOnce(&mut Lane) -> R) -> R {
        let quota = self.quota;
        let lane = self.lanes.entry(at).or_insert_with(|| Lane {
            ready: BTreeMap::new(),
            dues: BTreeSet::new(),
            bytes: 0,
            pace: Pace::new(quota, now),
            is_open: true,
            listed: None,
        });
        let result = with(lane);
        let (before, after) = (lane.listed, lane.listing());
        lane.listed = after;
        if let Some(old) = before {
            self.count -= old.count;
            self.bytes -= old.bytes;
            if after.is_none_or(|new| new.head != old.head) {
                self.heads.remove(&(old.head, at));
            }
            if after.is_none_or(|new| new.due != old.due) {
                self.dues.remove(&(old.due, at));
            }
        }
        if let Some(new) = after {
            self.count += new.count;
            self.bytes += new.bytes;
            self.heads.insert((new.head, at));
            self.dues.insert((new.due, at));
        }
        result
    }
}
