//! How many calls of a pipeline's readers may be under way at a time.
//!
//! Every call under way is a connection, and a process has only so many file descriptors; ten thousand readers that start
//! together would open ten thousand connections at once. So a call needs a place, and places are
//! given in the order they are asked for: nobody starves. A call that hangs keeps its place until its time is over, and
//! so would a link that swallows the calls of a thousand shards keep the others out. Therefore a quarter of the places is
//! set apart for calls that are made again after a failure: shards that go on failing wait for one another.

use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Calls under way at most. At 20 ms each these are fifty thousand a second, more than a machine can digest.
const PLACES_MAX: usize = 1024;

/// The places of one pipeline.
#[derive(Debug)]
pub struct Places {
    first: Semaphore,
    again: Semaphore,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place<'a> {
    _permit: SemaphorePermit<'a>,
}

impl Default for Places {
    /// As many as the process may have connections, leaving half of its file descriptors to everything else.
    fn default() -> Self {
        // No limit at all is none.
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new(usize::try_from(files / 2).unwrap_or(PLACES_MAX).min(PLACES_MAX))
    }
}

impl Places {
    /// This many places, at least one of each kind.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let again = (places / 4).max(1);
        Self { first: Semaphore::new(places.saturating_sub(again).max(1)), again: Semaphore::new(again) }
    }

    /// Waits for a place; `failed` says whether the same shard's last call failed.
    pub async fn take(&self, failed: bool) -> Place<'_> {
        let places = if failed { &self.again } else { &self.first };
        Place { _permit: places.acquire().await.expect("nobody closes it") }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn calls_that_are_made_again_take_no_place_from_the_others() {
        let places = Places::new(4);
        let hung = places.take(true).now_or_never().expect("a place");
        assert!(places.take(true).now_or_never().is_none(), "a quarter is all that they have");
        let healthy: Vec<_> = (0..3).map(|_| places.take(false).now_or_never().expect("a place")).collect();
        assert!(places.take(false).now_or_never().is_none());
        drop((hung, healthy));
        assert!(places.take(true).now_or_never().is_some() && places.take(false).now_or_never().is_some());
    }
}
