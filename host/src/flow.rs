//! How many bytes a subtask's share of a pipeline holds between the stream and the sinks.
//!
//! A reader reserves room before it asks for a page, because once the answer is here it is too late to refuse it. It
//! cannot know the page's size, so it reserves what the shard's pages have lately needed and settles the difference
//! when the page is there. A page that needs more than is free leaves a debt: what others give back pays it first, and
//! nobody gets in before it is paid. What is held is therefore at most the budget plus, for each page that was larger than
//! what was reserved for it, the difference; the service bounds a page to 10 MB.
//!
//! What is reserved is kept until the answer is here, and for a call that hangs that is until its time is over. So that
//! the others read on meanwhile, no page is reserved more than a quarter of the budget, and a shard whose last call
//! failed reserves next to nothing until it brings something again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// Bytes per permit: small enough to count batches, large enough that a budget of any size fits a semaphore.
const GRAIN: usize = 1024;

/// A byte budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Room>);

#[derive(Debug)]
struct Room {
    grains: usize,
    free: Semaphore,
    /// Grains held beyond the budget; while there are any, none are free.
    debt: Mutex<usize>,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub struct Held {
    grains: usize,
    room: Arc<Room>,
}

impl Budget {
    /// A budget of `bytes` bytes, at least one grain.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let grains = usize::try_from(bytes / GRAIN as u64).unwrap_or(most).clamp(1, most);
        Self(Arc::new(Room { grains, free: Semaphore::new(grains), debt: Mutex::new(0) }))
    }

    /// Waits until `bytes` bytes are free and takes them; never more than the whole budget.
    pub async fn reserve(&self, bytes: usize) -> Held {
        let room = &self.0;
        let grains = grains(bytes).min(room.grains);
        let permits = u32::try_from(grains).unwrap_or(u32::MAX);
        room.free.acquire_many(permits).await.expect("nobody closes it").forget();
        Held { grains, room: Arc::clone(room) }
    }

    /// No room, to be grown.
    #[must_use]
    pub fn nothing(&self) -> Held {
        Held { grains: 0, room: Arc::clone(&self.0) }
    }

    /// How many bytes it has, held or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.grains * GRAIN
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        let room = &self.0;
        let debt = room.debt();
        ((room.grains + *debt).saturating_sub(room.free.available_permits()) * GRAIN) as u64
    }
}

impl Room {
    /// The number behind the lock is whole after every change.
    fn debt(&self) -> MutexGuard<'_, usize> {
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Splits off the share of `bytes` bytes, growing the whole if it is too small for it. The growth does not wait: the
    /// bytes are here already, and whoever reserves next waits for them instead.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> Self {
        let wanted = grains(bytes);
        let missing = wanted.saturating_sub(self.grains);
        self.grains -= wanted - missing;
        let mut debt = self.room.debt();
        *debt += missing - self.room.free.forget_permits(missing);
        drop(debt);
        Self { grains: wanted, room: Arc::clone(&self.room) }
    }
}

impl Held {
    /// Holds `bytes` bytes more: they are here already, so it does not wait, and whoever reserves next waits for them instead.
    pub fn grow(&mut self, bytes: usize) {
        let more = grains(bytes);
        let mut debt = self.room.debt();
        *debt += more - self.room.free.forget_permits(more);
        drop(debt);
        self.grains += more;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut debt = self.room.debt();
        let paid = self.grains.min(*debt);
        *debt -= paid;
        self.room.free.add_permits(self.grains - paid);
    }
}

const fn grains(bytes: usize) -> usize {
    bytes.div_ceil(GRAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_split_off_comes_back_when_it_is_dropped() {
        let budget = Budget::new(64 << 10);
        let mut page = budget.reserve(32 << 10).await;
        let batch = page.take(10 << 10);
        assert_eq!(budget.held(), 32 << 10);
        drop(page);
        assert_eq!(budget.held(), 10 << 10);
        drop(batch);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn a_page_larger_than_its_reservation_takes_what_is_free_and_does_not_wait() {
        let budget = Budget::new(64 << 10);
        let mut page = budget.reserve(1 << 10).await;
        let batch = page.take(20 << 10);
        assert_eq!(budget.held(), 20 << 10);
        drop((page, batch));
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn what_a_share_grows_by_is_held_and_comes_back_with_it() {
        let budget = Budget::new(8 << 10);
        let mut page = budget.reserve(4 << 10).await;
        page.grow(10 << 10);
        assert_eq!(budget.held(), 14 << 10);
        drop(page);
        assert_eq!(budget.held(), 0);
        drop(budget.reserve(8 << 10).await);
    }

    /// LIM-1: who reserves waits for room.
    #[tokio::test]
    async fn a_page_larger_than_all_that_is_free_lets_nobody_in_until_the_last_of_it_is_gone() {
        let budget = Budget::new(8 << 10);
        let mut page = budget.reserve(8 << 10).await;
        let batches: Vec<_> = (0..5).map(|_| page.take(4 << 10)).collect();
        drop(page);
        assert_eq!(budget.held(), 20 << 10);
        for (batch, left) in batches.into_iter().zip([16, 12, 8, 4, 0]) {
            let mut next = Box::pin(budget.reserve(1));
            let is_let_in = tokio::select! {
                biased;
                _ = &mut next => true,
                () = std::future::ready(()) => false,
            };
            assert_eq!(is_let_in, left + 4 < 8, "{left} KiB and a batch are held");
            drop((next, batch));
            assert_eq!(budget.held(), left << 10);
        }
    }

    #[tokio::test]
    async fn a_full_budget_lets_nobody_in_until_something_is_given_back() {
        let budget = Budget::new(8 << 10);
        let all = budget.reserve(1 << 30).await;
        let mut next = Box::pin(budget.reserve(1));
        tokio::select! {
            biased;
            _ = &mut next => panic!("let in"),
            () = std::future::ready(()) => {}
        }
        drop(all);
        drop(next.await);
        assert_eq!(budget.held(), 0);
    }
}
