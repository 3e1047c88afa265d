//! Which shard takes a hash key, as far as the service has told.
//!
//! The map is made of a listing at the start, and made anew when an answer names a shard that it does not have: that is how
//! a split or a merge shows, for what a closed shard owned goes to shards that are younger than the map. No timer asks for
//! it. The look-up reads a finished map under a lock that is never held over a call, and one task lists, so that a thousand
//! answers that name the new shard cause one listing.
//!
//! A map that is old, or none at all because listing is not permitted, harms nothing but the pace: entries still reach the
//! shard that owns them, and what is throttled is put down to the wrong destination. So a listing that fails never stops
//! the sink, and one that did not tell what was asked for, as listings may lag, is made again later and later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use host_core::batching::Destination;
use host_core::shard::{HashRange, ShardDescription, ShardId};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::ports::{Put, StreamApi};
use crate::source::classify::SourceError;

/// Where everything goes whose shard is not known.
pub(super) const ANYWHERE: Destination = Destination(0);
/// The shortest time between two listings.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest one, while listings do not tell what is asked for.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Whether a destination is to be written to from now on, or never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

/// What one listing after another told.
#[derive(Debug, Default)]
struct Routes {
    /// The open shards by their first hash key; they do not overlap.
    open: Vec<(HashRange, Destination)>,
    /// The number of each open shard. A number is never given twice.
    numbers: BTreeMap<ShardId, Destination>,
    /// Every shard that was ever listed.
    known: BTreeSet<ShardId>,
    last: u32,
    changes: Vec<(Destination, Change)>,
}

impl Routes {
    fn learn(&mut self, listing: &[ShardDescription]) {
        // A listing may tell the children before it tells that their parent is closed.
        let parents: BTreeSet<&ShardId> = listing.iter().flat_map(|shard| &shard.parents).collect();
        let is_open = |shard: &&ShardDescription| !shard.closed && !parents.contains(&shard.id);
        let mut before = std::mem::take(&mut self.numbers);
        self.open.clear();
        for shard in listing.iter().filter(is_open) {
            let Some(range) = shard.range else { continue };
            let number = before.remove(&shard.id).unwrap_or_else(|| {
                self.last += 1;
                self.changes.push((Destination(self.last), Change::Opened));
                Destination(self.last)
            });
            self.numbers.insert(shard.id.clone(), number);
            self.open.push((range, number));
        }
        self.open.sort_by_key(|(range, _)| range.start);
        self.changes.extend(before.into_values().map(|number| (number, Change::Closed)));
        self.known.extend(listing.iter().map(|shard| shard.id.clone()));
    }

    fn destination(&self, hash: u128) -> Destination {
        let after = self.open.partition_point(|(range, _)| range.start <= hash);
        let found = after.checked_sub(1).and_then(|index| self.open.get(index));
        found.filter(|(range, _)| hash <= range.end).map_or(ANYWHERE, |(_, number)| *number)
    }
}

/// The map of one stream.
pub(super) struct ShardMap {
    api: Arc<dyn StreamApi>,
    stream: String,
    routes: RwLock<Routes>,
    /// A shard that was named and is not known.
    asked: Mutex<Option<ShardId>>,
    wanted: Notify,
    /// Somebody was told that listing fails.
    is_told: Mutex<bool>,
}

impl ShardMap {
    /// A map of the stream of that name, empty.
    pub(super) fn new(api: Arc<dyn StreamApi>, stream: &str) -> Self {
        Self {
            api,
            stream: stream.to_owned(),
            routes: RwLock::default(),
            asked: Mutex::default(),
            wanted: Notify::new(),
            is_told: Mutex::default(),
        }
    }

    /// Starts the task that keeps it up to date, for as long as what is returned lives.
    pub(super) fn keep(self) -> Kept {
        let map = Arc::new(self);
        Kept { keeper: tokio::spawn(keep(Arc::clone(&map))), map }
    }

    fn routes(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes a hash key.
    pub(super) fn destination(&self, hash: u128) -> Destination {
        self.routes().destination(hash)
    }

    /// What has changed since this was last asked.
    pub(super) fn changes(&self) -> Vec<(Destination, Change)> {
        if self.routes().changes.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.change().changes)
    }

    /// Looks at where entries went; a shard that is not known is asked for soon.
    pub(super) fn told(&self, puts: &[Put]) {
        let routes = self.routes();
        let mut named = puts.iter().filter_map(|put| put.shard.as_ref());
        let Some(unknown) = named.find(|shard| !routes.known.contains(shard)) else { return };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(unknown.clone());
        self.wanted.notify_one();
    }

    /// Lists. Whether what was asked for is known now.
    pub(super) async fn look(&self) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if asked.as_ref().is_some_and(|shard| self.routes().known.contains(shard)) {
            return true;
        }
        match self.api.list_shards(None).await {
            Ok(listing) => {
                self.learn(&listing);
                asked.is_none_or(|shard| self.routes().known.contains(&shard))
            }
            Err(error) => {
                self.fails(&error);
                false
            }
        }
    }

    fn learn(&self, listing: &[ShardDescription]) {
        let mut routes = self.change();
        routes.learn(listing);
        let shards = routes.open.len();
        drop(routes);
        tracing::debug!(stream = self.stream, shards, "the shards of a sink's stream are listed");
        let mut is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *is_told) {
            tracing::info!(stream = self.stream, shards, "the shards of a sink's stream can be listed again");
        }
    }

    fn fails(&self, error: &SourceError) {
        let mut is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_told, true) {
            tracing::debug!(stream = self.stream, %error, "the shards of a sink's stream cannot be listed");
        } else {
            tracing::warn!(
                stream = self.stream,
                %error,
                "the shards of a sink's stream cannot be listed: entries are written all the same, but paced together \
                 instead of shard by shard"
            );
        }
    }
}

/// A map, and the task that keeps it up to date.
pub(super) struct Kept {
    map: Arc<ShardMap>,
    keeper: JoinHandle<()>,
}

impl Deref for Kept {
    type Target = ShardMap;

    fn deref(&self) -> &ShardMap {
        &self.map
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Lists whenever an answer asks for it, one at a time and never in haste.
async fn keep(map: Arc<ShardMap>) {
    let mut pause = PAUSE_MIN;
    loop {
        map.wanted.notified().await;
        let is_answered = map.look().await;
        pause = if is_answered { PAUSE_MIN } else { pause.saturating_mul(2).min(PAUSE_MAX) };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: u32, range: (u128, u128), parents: &[u32]) -> ShardDescription {
        ShardDescription {
            id: name(id),
            parents: parents.iter().map(|parent| name(*parent)).collect(),
            range: Some(HashRange { start: range.0, end: range.1 }),
            closed: false,
        }
    }

    fn closed(shard: ShardDescription) -> ShardDescription {
        ShardDescription { closed: true, ..shard }
    }

    fn name(id: u32) -> ShardId {
        ShardId::new(&format!("shardId-{id:012}"))
    }

    fn learned(routes: &mut Routes, listing: &[ShardDescription]) -> Vec<(u32, Change)> {
        routes.learn(listing);
        std::mem::take(&mut routes.changes).into_iter().map(|(number, change)| (number.0, change)).collect()
    }

    #[test]
    fn each_end_of_a_range_belongs_to_its_shard_and_what_nobody_owns_goes_anywhere() {
        let mut routes = Routes::default();
        assert_eq!(routes.destination(7), ANYWHERE);
        routes.learn(&[shard(1, (100, 199), &[]), shard(0, (0, 99), &[]), shard(2, (300, u128::MAX), &[])]);
        let at = |hash| routes.destination(hash).0;
        assert_eq!([at(0), at(99)], [2, 2]);
        assert_eq!([at(100), at(199)], [1, 1]);
        assert_eq!([at(200), at(299)], [ANYWHERE.0; 2]);
        assert_eq!([at(300), at(u128::MAX)], [3, 3]);
    }

    #[test]
    fn numbers_stay_as_long_as_their_shard_is_open_and_are_never_given_again() {
        let mut routes = Routes::default();
        let halves = [shard(0, (0, 99), &[]), shard(1, (100, 199), &[])];
        assert_eq!(learned(&mut routes, &halves), [(1, Change::Opened), (2, Change::Opened)]);
        assert_eq!(learned(&mut routes, &halves), []);
        let split = [closed(halves[0].clone()), halves[1].clone(), shard(2, (0, 49), &[0]), shard(3, (50, 99), &[0])];
        let changes = learned(&mut routes, &split);
        assert_eq!(changes, [(3, Change::Opened), (4, Change::Opened), (1, Change::Closed)]);
        assert_eq!((routes.destination(49).0, routes.destination(50).0, routes.destination(100).0), (3, 4, 2));
        let merged = [shard(4, (0, 199), &[2, 1])];
        let changes = learned(&mut routes, &merged);
        assert_eq!(changes[0], (5, Change::Opened));
        assert_eq!(changes.len(), 4, "{changes:?}");
        assert!((0..5).all(|id| routes.known.contains(&name(id))), "late answers name closed shards");
    }

    #[test]
    fn a_listing_that_tells_children_before_the_end_of_their_parent_is_read_right() {
        let mut routes = Routes::default();
        routes.learn(&[shard(0, (0, 99), &[])]);
        routes.learn(&[shard(0, (0, 99), &[]), shard(2, (50, 99), &[0]), shard(1, (0, 49), &[0])]);
        assert_eq!((routes.destination(49).0, routes.destination(50).0), (3, 2));
    }
}
