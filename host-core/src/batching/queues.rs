//! The entries of each key, oldest first, where their order is kept: whose turn it is, and since when nobody's may be.
//!
//! A request that was given up without an answer may be carried out by the service later. What it held, its keys are
//! *haunted* by: until `late_after` has passed, only the same entry may be sent again, because a late landing then repeats
//! what is there already. Anything newer would be overwritten by it, or be followed by something older. A key stays haunted
//! when its entry is settled, and is remembered until it is no longer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::lanes::Place;
use super::vocabulary::Order;
use crate::moment::Moment;

pub(super) type Key = Arc<[u8]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody's turn.
    Free,
    /// The oldest waits for its time, or to be sent.
    Scheduled,
    /// One is under way.
    Out,
}

#[derive(Clone, Copy, Debug)]
struct Haunt {
    until: Moment,
    by: Place,
}

#[derive(Clone, Debug)]
struct Queue {
    places: VecDeque<Place>,
    stage: Stage,
    haunt: Option<Haunt>,
    /// What a key without entries counts for.
    ghost_bytes: u64,
}

impl Queue {
    fn holds(&self, place: Place) -> bool {
        self.places.binary_search(&place).is_ok()
    }

    fn haunt_at(&self, now: Moment) -> Option<Haunt> {
        self.haunt.filter(|haunt| haunt.until > now)
    }
}

/// What a key does once an entry of it is no longer under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is this one's turn, at this moment or later.
    Turn(Place, Moment),
    /// Nothing is left but a memory until this moment.
    Haunted(Moment),
    /// Nothing.
    Gone,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<Key, Queue>,
    ghosts: usize,
    ghost_bytes: u64,
}

impl Queues {
    /// Keys that are remembered although they have no entries.
    pub(super) const fn ghosts(&self) -> usize {
        self.ghosts
    }

    /// Their bytes.
    pub(super) const fn ghost_bytes(&self) -> u64 {
        self.ghost_bytes
    }

    /// Takes an entry. Returns its key, and when its turn is, if it is next.
    pub(super) fn push(&mut self, now: Moment, key: Vec<u8>, place: Place) -> (Key, Option<Moment>) {
        if let Some((shared, _)) = self.queues.get_key_value(key.as_slice()) {
            let shared = Arc::clone(shared);
            let queue = self.queues.get_mut(&shared).expect("it was just found");
            if queue.places.is_empty() {
                self.ghosts -= 1;
                self.ghost_bytes -= queue.ghost_bytes;
            }
            queue.places.push_back(place);
            if queue.stage != Stage::Free {
                return (shared, None);
            }
            queue.stage = Stage::Scheduled;
            let at = queue.haunt_at(now).map_or(now, |haunt| haunt.until);
            return (shared, Some(at));
        }
        let shared: Key = key.into();
        let queue = Queue { places: [place].into(), stage: Stage::Scheduled, haunt: None, ghost_bytes: 0 };
        self.queues.insert(Arc::clone(&shared), queue);
        (shared, Some(now))
    }

    /// The entry that is sent when it is the turn of this key: what haunts it, or else its newest if `order` lets that one
    /// stand for the others, or else its oldest. So nothing is sent that is older than what may have been written.
    pub(super) fn pick(&self, now: Moment, key: &Key, order: Order) -> Option<Place> {
        let queue = self.queues.get(key)?;
        if let Some(haunt) = queue.haunt_at(now) {
            return Some(haunt.by).filter(|by| queue.holds(*by));
        }
        match order {
            Order::Newest => queue.places.back().copied(),
            Order::Free | Order::Distinct | Order::PerKey => queue.places.front().copied(),
        }
    }

    /// An entry of this key is under way.
    pub(super) fn sent(&mut self, key: &Key) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.stage = Stage::Out;
        }
    }

    /// `place` went out and nobody knows what becomes of it before `until`.
    pub(super) fn haunt(&mut self, key: &Key, by: Place, until: Moment) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.haunt = Some(Haunt { until, by });
        }
    }

    /// Takes out the oldest entry of this key, if that is `last` or older.
    pub(super) fn pop_up_to(&mut self, key: &Key, last: Place) -> Option<Place> {
        self.queues.get_mut(key)?.places.pop_front_if(|place| *place <= last)
    }

    /// Takes out one entry.
    pub(super) fn remove(&mut self, key: &Key, place: Place) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        if let Ok(index) = queue.places.binary_search(&place) {
            queue.places.remove(index);
        }
    }

    /// Nothing of this key is under way any more; nothing of it is sent before `not_before`. `bytes` is what the entry
    /// counted for that was settled last, if one was.
    pub(super) fn release(&mut self, now: Moment, key: &Key, not_before: Moment, bytes: u64) -> Next {
        let Some(queue) = self.queues.get_mut(key) else { return Next::Gone };
        queue.haunt = queue.haunt_at(now);
        let Some(oldest) = queue.places.front().copied() else {
            queue.stage = Stage::Free;
            let Some(haunt) = queue.haunt else {
                self.queues.remove(key);
                return Next::Gone;
            };
            queue.ghost_bytes = bytes.min(u64::try_from(key.len()).unwrap_or(u64::MAX));
            self.ghosts += 1;
            self.ghost_bytes += queue.ghost_bytes;
            return Next::Haunted(haunt.until);
        };
        queue.stage = Stage::Scheduled;
        let haunted_until = queue.haunt.filter(|haunt| !queue.holds(haunt.by)).map(|haunt| haunt.until);
        Next::Turn(oldest, haunted_until.map_or(not_before, |until| until.max(not_before)))
    }

    /// The time of a memory has come: it goes, unless something new keeps it.
    pub(super) fn forget(&mut self, now: Moment, key: &Key) {
        let Some(queue) = self.queues.get(key) else { return };
        if queue.places.is_empty() && queue.haunt_at(now).is_none() {
            self.ghosts -= 1;
            self.ghost_bytes -= queue.ghost_bytes;
            self.queues.remove(key);
        }
    }
}
