//! How many bytes a pipeline holds between the stream and its sinks.
//!
//! A reader reserves room before it asks for a page, because once the answer is here it is too late to refuse it. It
//! cannot know the page's size, so it reserves what the shard's pages have lately needed and settles the difference
//! when the page is there. What is held is therefore at most the budget plus, for each page that was larger than the
//! shard's last ones, the difference; the service bounds a page to 10 MB.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit: small enough to count batches, large enough that a budget of any size fits a semaphore.
const GRAIN: usize = 1024;

/// The byte budget of a pipeline.
#[derive(Clone, Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    grains: u32,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub struct Held {
    permit: Option<OwnedSemaphorePermit>,
    room: Arc<Semaphore>,
}

impl Budget {
    /// A budget of `bytes` bytes, at least one grain.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let grains =
            u32::try_from(bytes / GRAIN as u64).unwrap_or(u32::MAX).clamp(1, (Semaphore::MAX_PERMITS >> 1) as u32);
        Self { room: Arc::new(Semaphore::new(grains as usize)), grains }
    }

    /// Waits until `bytes` bytes are free and takes them; never more than the whole budget.
    pub async fn reserve(&self, bytes: usize) -> Held {
        let wanted = grains(bytes).min(self.grains);
        let permit = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        Held { permit: permit.ok(), room: Arc::clone(&self.room) }
    }

    /// How many bytes are held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        (self.grains as usize).saturating_sub(self.room.available_permits()) as u64 * GRAIN as u64
    }
}

impl Held {
    /// Splits off the share of `bytes` bytes, growing the whole if it is too small for it. The growth does not wait: the
    /// bytes are here already, and whoever reserves next waits for them instead.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> Self {
        let wanted = grains(bytes) as usize;
        let have = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let permit = match &mut self.permit {
            Some(permit) if have >= wanted => permit.split(wanted),
            _ => {
                let rest = self.permit.take();
                let missing = u32::try_from(wanted - have).unwrap_or(u32::MAX);
                let more = Arc::clone(&self.room).try_acquire_many_owned(missing).ok();
                merged(rest, more)
            }
        };
        Self { permit, room: Arc::clone(&self.room) }
    }
}

fn merged(one: Option<OwnedSemaphorePermit>, other: Option<OwnedSemaphorePermit>) -> Option<OwnedSemaphorePermit> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.merge(other);
            Some(one)
        }
        (one, other) => one.or(other),
    }
}

fn grains(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX)
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

    /// LIM-1: who reserves waits for room.
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
