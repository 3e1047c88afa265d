//! A stream in memory, scripted by whoever holds a handle: the fake behind [`StreamApi`](crate::ports::StreamApi) in tests of the whole host, and
//! the only backend that misbehaves on demand. It passes the same contract suite as the real service.
//!
//! It keeps the truth: everything that was ever written, in order, whatever was trimmed, split or hung afterwards, so
//! that a test can compare what came out with what went in.

mod vocabulary;
mod state;
mod polling;
mod fan_out;
mod put;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, ShardDescription, ShardId};
use tokio::sync::Notify;

pub use self::fan_out::Subscriptions;
use self::state::{Failure, State};
pub use self::vocabulary::{Call, Children, Lag, LastPage, ListingOrder, Written};
use crate::entry::hash_key;
use crate::source::classify::{CallSite, Place, Role, SourceError};

/// A handle to the stream; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct MemoryStream {
    state: Arc<Mutex<State>>,
    /// Something changed: a release, a call counted.
    changed: Arc<Notify>,
    place: Arc<Place>,
}

impl MemoryStream {
    /// A stream of `shards` open shards that divide the key space evenly; at least one.
    #[must_use]
    pub fn new(name: &str, shards: u32) -> Self {
        let place = Place {
            stream: name.to_owned(),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            endpoint: Some("memory:".to_owned()),
            credentials: "no credentials".to_owned(),
            role: Role::Source,
        };
        Self {
            state: Arc::new(Mutex::new(State::new(shards))),
            changed: Arc::new(Notify::new()),
            place: Arc::new(place),
        }
    }

    /// A panic of another test thread leaves the state as it was: every change below is whole when the lock is let go.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The truth.

    /// Everything ever written, in order.
    #[must_use]
    pub fn written(&self) -> Vec<Written> {
        self.state().written.clone()
    }

    /// The data of every partition key, in the order in which it was written.
    #[must_use]
    pub fn written_by_key(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut keys: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for record in &self.state().written {
            keys.entry(record.partition_key.clone()).or_default().push(record.data.clone());
        }
        keys
    }

    /// All shards as they really are, whatever listings say.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardDescription> {
        self.state().shards.iter().map(|shard| shard.description.clone()).collect()
    }

    /// How often a call was made, failed ones included.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.state().calls.get(&call).copied().unwrap_or_default()
    }

    /// Waits until a call was made at least `count` times. Cancel-safe.
    pub async fn until_calls(&self, call: Call, count: u64) {
        self.until(|state| state.calls.get(&call).is_some_and(|made| *made >= count)).await;
    }

    // Writing and resharding.

    /// Writes a record to the open shard that owns its key. Each record arrives a millisecond after the one before.
    ///
    /// # Panics
    /// No open shard owns the key.
    pub fn put(&self, partition_key: &str, data: &[u8]) -> Written {
        let mut state = self.state();
        let index = state.owner(hash_key(partition_key)).expect("the test has closed the shard of this key");
        let written = state.write(index, partition_key, data);
        drop(state);
        self.changed.notify_waiters();
        written
    }

    /// Writes a record to a shard, whatever its key, closed or not.
    ///
    /// # Panics
    /// There is no such shard.
    pub fn put_to(&self, shard: &ShardId, partition_key: &str, data: &[u8]) -> Written {
        let mut state = self.state();
        let index = state.index(shard).expect("the test writes to a shard that exists");
        let written = state.write(index, partition_key, data);
        drop(state);
        self.changed.notify_waiters();
        written
    }

    /// Sets the arrival time of the next record.
    pub fn set_now(&self, now: EpochMillis) {
        self.state().now = now.0;
    }

    /// Splits a shard in the middle of its range.
    ///
    /// # Panics
    /// There is no such open shard, or its range is a single key.
    pub fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        let mut state = self.state();
        let range = state.close(shard);
        assert!(range.start < range.end, "a range of one key has no middle");
        let middle = range.start + (range.end - range.start) / 2;
        let lower = state.add_shard(vec![shard.clone()], HashRange { start: range.start, end: middle });
        let upper = state.add_shard(vec![shard.clone()], HashRange { start: middle + 1, end: range.end });
        self.changed.notify_waiters();
        [lower, upper]
    }

    /// Merges two neighbours.
    ///
    /// # Panics
    /// There are no such open shards.
    pub fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId {
        let mut state = self.state();
        let (a, b) = (state.close(shard), state.close(adjacent));
        let range = HashRange { start: a.start.min(b.start), end: a.end.max(b.end) };
        self.changed.notify_waiters();
        state.add_shard(vec![shard.clone(), adjacent.clone()], range)
    }

    /// Closes a shard without children, as a deleted table's stream does.
    ///
    /// # Panics
    /// There is no such open shard.
    pub fn close(&self, shard: &ShardId) {
        self.state().close(shard);
        self.changed.notify_waiters();
    }

    /// Takes the oldest `count` records of a shard out of the stream: retention has passed. The truth keeps them.
    ///
    /// # Panics
    /// There is no such shard.
    pub fn trim(&self, shard: &ShardId, count: usize) {
        let mut state = self.state();
        let index = state.index(shard).expect("the test trims a shard that exists");
        let shard = &mut state.shards[index];
        shard.trimmed = (shard.trimmed + count).min(shard.records.len());
    }

    /// Takes a shard out of the stream, records and all: retention has passed since it was closed.
    pub fn expire_shard(&self, shard: &ShardId) {
        self.state().shards.retain(|other| other.description.id != *shard);
        self.changed.notify_waiters();
    }

    /// Deletes the stream.
    pub fn delete(&self) {
        self.state().exists = false;
        self.changed.notify_waiters();
    }

    /// Deletes the stream and makes it anew under its name: no consumers, no records, open shards with the old names and ranges of the
    /// first ones, a later creation time.
    pub fn recreate(&self) {
        let mut state = self.state();
        state.exists = true;
        state.created = EpochMillis(state.now);
        state.generation += 1;
        state.shards.retain(|shard| shard.description.parents.is_empty());
        for shard in &mut state.shards {
            shard.description.closed = false;
            shard.records.clear();
            shard.trimmed = 0;
        }
        state.fan_out.forget();
        self.changed.notify_waiters();
    }

    /// Sets what descriptions say of the service's time; `None` says nothing, which is the default.
    pub fn tell_service_time(&self, at: Option<EpochMillis>) {
        self.state().service_time = at;
    }

    // Misbehaving.

    /// Lets the next `times` calls of a kind fail with an exception of the service, for one shard or for all. A
    /// [`Call::Event`] that fails ends its subscription, and does so at once.
    pub fn fail_next(&self, call: Call, shard: Option<&ShardId>, code: &str, times: u32) {
        self.state().failures.push(Failure { call, shard: shard.cloned(), code: code.to_owned(), left: times });
        self.changed.notify_waiters();
    }

    /// Calls fail no longer.
    pub fn mend(&self) {
        self.state().failures.clear();
    }

    /// Lets every iterator given out so far expire.
    pub fn expire_iterators(&self) {
        self.state().generation += 1;
    }

    /// Lets reads of a shard, and subscriptions to it that are not granted yet, wait until [`Self::release`].
    pub fn hang(&self, shard: &ShardId) {
        self.state().hung.insert(shard.clone());
    }

    /// Lets what waits for a shard go on.
    pub fn release(&self, shard: &ShardId) {
        let mut state = self.state();
        state.hung.remove(shard);
        state.fan_out.stalled.remove(shard);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Leaves shards out of listings, until called again; they can be read all the same.
    pub fn leave_unlisted(&self, shards: impl IntoIterator<Item = ShardId>) {
        self.state().unlisted = shards.into_iter().collect();
    }

    /// Sets the order of listings.
    pub fn list_in(&self, order: ListingOrder) {
        self.state().order = order;
    }

    /// Sets what the last page of a closed shard says of its children.
    pub fn tell_children(&self, children: Children) {
        self.state().children = children;
    }

    /// Sets what pages say of the distance to the end.
    pub fn tell_lag(&self, lag: Lag) {
        self.state().lag = lag;
    }

    /// Sets how a closed shard ends.
    pub fn end_with(&self, last_page: LastPage) {
        self.state().last_page = last_page;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Counts a call, and fails it if the script says so.
    fn begin(&self, call: Call, shard: Option<&ShardId>) -> Result<(), SourceError> {
        let site = CallSite { place: &self.place, operation: call.operation(), shard };
        let mut state = self.state();
        *state.calls.entry(call).or_default() += 1;
        self.changed.notify_waiters();
        if let Some(code) = state.scripted_failure(call, shard) {
            return Err(site.answered(Some(&code), 400, "scripted"));
        }
        if state.exists {
            Ok(())
        } else {
            Err(site.answered(Some("ResourceNotFoundException"), 400, "Stream not found."))
        }
    }

    fn arn(&self) -> String {
        let Place { stream, region, account, .. } = &*self.place;
        format!("arn:aws:kinesis:{region}:{account}:stream/{stream}")
    }

    fn not_found(&self, call: Call, shard: &ShardId) -> SourceError {
        let site = CallSite { place: &self.place, operation: call.operation(), shard: Some(shard) };
        site.answered(Some("ResourceNotFoundException"), 400, &format!("Shard {shard} does not exist"))
    }

    fn invalid(&self, call: Call, shard: &ShardId, message: &str) -> SourceError {
        let site = CallSite { place: &self.place, operation: call.operation(), shard: Some(shard) };
        site.answered(Some("InvalidArgumentException"), 400, message)
    }
}

/// A shard as the stream knows it, which does not know its place in a source.
fn own(shard: &ShardId) -> ShardId {
    ShardId::new(shard.as_str())
}

#[cfg(test)]
mod tests;
