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

/// A key, and where its queue is for as long as an entry of it is held: what happens to an entry finds its queue without a
/// search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    bytes: Arc<[u8]>,
    slot: usize,
}

impl Key {
    /// A key of an entry whose order is not kept.
    pub(super) fn without_queue(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), slot: usize::MAX }
    }
}

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
    key: Arc<[u8]>,
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
    slots: Vec<Option<Queue>>,
    vacant: Vec<usize>,
    /// The slots of all queues.
    index: BTreeMap<Arc<[u8]>, usize>,
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
        if let Some((shared, slot)) = self.index.get_key_value(key.as_slice()) {
            let key = Key { bytes: Arc::clone(shared), slot: *slot };
            let queue = self.slots.get_mut(key.slot).and_then(Option::as_mut).expect("the index knows queues only");
            if queue.places.is_empty() {
                self.ghosts -= 1;
                self.ghost_bytes -= queue.ghost_bytes;
            }
            queue.places.push_back(place);
            if queue.stage != Stage::Free {
                return (key, None);
            }
            queue.stage = Stage::Scheduled;
            let at = queue.haunt_at(now).map_or(now, |haunt| haunt.until);
            return (key, Some(at));
        }
        let bytes: Arc<[u8]> = key.into();
        let queue = Queue {
            key: Arc::clone(&bytes),
            places: [place].into(),
            stage: Stage::Scheduled,
            haunt: None,
            ghost_bytes: 0,
        };
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(queue);
        self.index.insert(Arc::clone(&bytes), slot);
        (Key { bytes, slot }, Some(now))
    }

    /// The queue of a key, unless it is gone.
    fn of(&self, key: &Key) -> Option<&Queue> {
        self.slots.get(key.slot)?.as_ref().filter(|queue| Arc::ptr_eq(&queue.key, &key.bytes))
    }

    fn of_mut(&mut self, key: &Key) -> Option<&mut Queue> {
        self.slots.get_mut(key.slot)?.as_mut().filter(|queue| Arc::ptr_eq(&queue.key, &key.bytes))
    }

    fn drop_queue(&mut self, key: &Key) {
        if self.index.remove(&key.bytes).is_some() {
            self.slots[key.slot] = None;
            self.vacant.push(key.slot);
        }
    }

    /// The entry that is sent when it is the turn of this key: what haunts it, or else its newest if `order` lets that one
    /// stand for the others, or else its oldest. So nothing is sent that is older than what may have been written.
    pub(super) fn pick(&self, now: Moment, key: &Key, order: Order) -> Option<Place> {
        let queue = self.of(key)?;
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
        if let Some(queue) = self.of_mut(key) {
            queue.stage = Stage::Out;
        }
    }

    /// `place` went out and nobody knows what becomes of it before `until`.
    pub(super) fn haunt(&mut self, key: &Key, by: Place, until: Moment) {
        if let Some(queue) = self.of_mut(key) {
            queue.haunt = Some(Haunt { until, by });
        }
    }

    /// Takes out the oldest entry of this key, if that is `last` or older.
    pub(super) fn pop_up_to(&mut self, key: &Key, last: Place) -> Option<Place> {
        self.of_mut(key)?.places.pop_front_if(|place| *place <= last)
    }

    /// Takes out one entry.
    pub(super) fn remove(&mut self, key: &Key, place: Place) {
        let Some(queue) = self.of_mut(key) else { return };
        if let Ok(index) = queue.places.binary_search(&place) {
            queue.places.remove(index);
        }
    }

    /// Nothing of this key is under way any more; nothing of it is sent before `not_before`. `bytes` is what the entry
    /// counted for that was settled last, if one was.
    pub(super) fn release(&mut self, now: Moment, key: &Key, not_before: Moment, bytes: u64) -> Next {
        let Some(queue) = self.of_mut(key) else { return Next::Gone };
        queue.haunt = queue.haunt_at(now);
        let Some(oldest) = queue.places.front().copied() else {
            queue.stage = Stage::Free;
            let Some(haunt) = queue.haunt else {
                self.drop_queue(key);
                return Next::Gone;
            };
            let ghost_bytes = bytes.min(u64::try_from(key.bytes.len()).unwrap_or(u64::MAX));
            queue.ghost_bytes = ghost_bytes;
            self.ghosts += 1;
            self.ghost_bytes += ghost_bytes;
            return Next::Haunted(haunt.until);
        };
        queue.stage = Stage::Scheduled;
        let haunted_until = queue.haunt.filter(|haunt| !queue.holds(haunt.by)).map(|haunt| haunt.until);
        Next::Turn(oldest, haunted_until.map_or(not_before, |until| until.max(not_before)))
    }

    /// The time of a memory has come: it goes, unless something new keeps it.
    pub(super) fn forget(&mut self, now: Moment, key: &Key) {
        let Some(queue) = self.of(key) else { return };
        if queue.places.is_empty() && queue.haunt_at(now).is_none() {
            let ghost_bytes = queue.ghost_bytes;
            self.ghosts -= 1;
            self.ghost_bytes -= ghost_bytes;
            self.drop_queue(key);
        }
    }
}
