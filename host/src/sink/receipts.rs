//! Which receipts may leave, when sinks that write to services confirm entry by entry and in any order.
//!
//! A delivery is confirmed once every sink has all that it was given of it. Its receipt then waits for those before it:
//! those of its session, because event times are told in their order; or all of them, if a sink has marks, because a mark
//! is the place after everything that was handed over before, and beside any other positions it would be a lie.
//!
//! Nothing here is ever gone through: a confirmation costs a look-up, a receipt that leaves another one.

use std::collections::{BTreeMap, VecDeque};

use host_core::shard::ShardId;

/// What may be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ready<R> {
    /// This delivery is confirmed.
    Receipt(R),
    /// This subtask is lost; every receipt of what it delivered came before.
    Lost(u32),
}

/// Deliveries that are not confirmed, or wait for others that are not.
#[derive(Debug)]
pub(super) struct Receipts<R> {
    is_global: bool,
    open: BTreeMap<u64, Open<R>>,
    lines: BTreeMap<Line, VecDeque<u64>>,
    /// Lost subtasks, and the last delivery before the word of it.
    lost: VecDeque<(Option<u64>, u32)>,
    last: Option<u64>,
    ready: VecDeque<Ready<R>>,
}

#[derive(Debug)]
struct Open<R> {
    line: Line,
    /// Entries that are not settled.
    left: u64,
    receipt: R,
}

/// Receipts that leave in the order of their deliveries: those of a shard's session, or all.
type Line = Option<(ShardId, u64)>;

impl<R> Receipts<R> {
    /// Nothing is open. With `is_global`, receipts leave in the order of all deliveries.
    #[must_use]
    pub(super) const fn new(is_global: bool) -> Self {
        Self {
            is_global,
            open: BTreeMap::new(),
            lines: BTreeMap::new(),
            lost: VecDeque::new(),
            last: None,
            ready: VecDeque::new(),
        }
    }

    /// A delivery was handed over, as so many entries: maybe none. Each has a greater `id` than the one before.
    pub(super) fn opened(&mut self, id: u64, entries: u64, shard: &ShardId, session: u64, receipt: R) {
        let line = (!self.is_global).then(|| (shard.clone(), session));
        self.lines.entry(line.clone()).or_default().push_back(id);
        self.open.insert(id, Open { line: line.clone(), left: entries, receipt });
        self.last = Some(id);
        self.release(&line);
    }

    /// So many more entries of a delivery are settled.
    pub(super) fn settled(&mut self, id: u64, entries: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.left = open.left.saturating_sub(entries);
        if open.left == 0 {
            let line = open.line.clone();
            self.release(&line);
        }
    }

    /// A subtask is lost: to be passed on behind all that was handed over so far.
    pub(super) fn lost(&mut self, subtask: u32) {
        self.lost.push_back((self.last, subtask));
        self.release_lost();
    }

    /// What may be passed on now, in this order; each is told once.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = Ready<R>> + '_ {
        self.ready.drain(..)
    }

    fn release(&mut self, line: &Line) {
        let Some(ids) = self.lines.get_mut(line) else { return };
        while let Some(id) = ids.front()
            && self.open.get(id).is_some_and(|open| open.left == 0)
        {
            self.ready.extend(self.open.remove(id).map(|open| Ready::Receipt(open.receipt)));
            ids.pop_front();
        }
        if ids.is_empty() {
            self.lines.remove(line);
        }
        self.release_lost();
    }

    fn release_lost(&mut self) {
        let first = self.open.first_key_value().map(|(id, _)| *id);
        let is_ready = |behind: &Option<u64>| first.is_none_or(|first| behind.is_none_or(|last| first > last));
        while let Some((_, subtask)) = self.lost.pop_front_if(|(behind, _)| is_ready(behind)) {
            self.ready.push_back(Ready::Lost(subtask));
        }
    }
}

#[cfg(test)]
mod tests;
