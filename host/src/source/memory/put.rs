//! Writing through the port: what is put can be read, and is refused as the service refuses it.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::state::State;
use super::{Call, MemoryStream};
use crate::entry::KinesisEntry;
use crate::ports::{Put, PutApi, StreamStatus};
use crate::sink::kinesis::{
    PARTITION_KEY_CHARS_MAX, RECORD_BYTES_MAX, RECORD_BYTES_USUAL, REQUEST_BYTES_MAX, REQUEST_ENTRIES_MAX,
};
use crate::source::classify::{CallSite, Place, Role, SourceError};
use crate::source::kinesis::{Said, judge};

const THROTTLED: &str = "ProvisionedThroughputExceededException";
const INVALID: &str = "InvalidArgumentException";

impl MemoryStream {
    /// The same as the stream of a sink: errors speak of writing, not of reading.
    #[must_use]
    pub fn as_target(self) -> Self {
        Self { place: Arc::new(Place { role: Role::Target, ..(*self.place).clone() }), ..self }
    }

    /// Sets what descriptions say of the stream's status.
    pub fn become_status(&self, status: StreamStatus) {
        self.state().status = status;
    }

    /// Sets the largest record that it takes, which descriptions tell.
    pub fn take_records_of(&self, bytes: u64) {
        self.state().max_record_bytes = Some(bytes.min(RECORD_BYTES_MAX));
    }

    /// Sets whether it says that partition keys place records.
    pub fn place_by_key(&self, places_by_key: bool) {
        self.state().places_by_key = places_by_key;
    }

    /// Lets every shard take so many bytes more before it throttles, or any number.
    pub fn limit_shards(&self, room: Option<u64>) {
        let mut state = self.state();
        state.room = room;
        state.taken.clear();
    }
}

/// What is wrong with a request, in the service's words.
fn fault(entries: &[Arc<KinesisEntry>], record_bytes_max: u64) -> Option<String> {
    if !(1..=REQUEST_ENTRIES_MAX).contains(&entries.len()) {
        return Some(format!("{} records are not 1 to {REQUEST_ENTRIES_MAX}", entries.len()));
    }
    if entries.iter().map(|entry| entry.bytes()).sum::<u64>() > REQUEST_BYTES_MAX {
        return Some(format!("records and partition keys exceed {REQUEST_BYTES_MAX} bytes"));
    }
    let is_key = |entry: &KinesisEntry| (1..=PARTITION_KEY_CHARS_MAX).contains(&entry.partition_key.chars().count());
    let odd = entries.iter().position(|entry| !is_key(entry) || entry.bytes() > record_bytes_max)?;
    Some(format!("records.{}.member is too large, or its partitionKey is not 1 to 256 characters", odd + 1))
}

impl State {
    /// Takes one entry, or says with which code it does not.
    fn take(&mut self, entry: &KinesisEntry) -> Result<super::ShardId, String> {
        *self.calls.entry(Call::PutEntry).or_default() += 1;
        let index = self.owner(entry.hash_key()).ok_or("InternalFailure")?;
        let shard = self.shards[index].description.id.clone();
        if let Some(code) = self.scripted_failure(Call::PutEntry, Some(&shard)) {
            return Err(code);
        }
        let taken = self.taken.get(&shard).copied().unwrap_or_default() + entry.bytes();
        if self.room.is_some_and(|room| taken > room) {
            return Err(THROTTLED.to_owned());
        }
        self.taken.insert(shard.clone(), taken);
        self.write(index, &entry.partition_key, &entry.data);
        Ok(shard)
    }
}

impl PutApi for MemoryStream {
    fn put_records<'a>(&'a self, entries: &'a [Arc<KinesisEntry>]) -> BoxFuture<'a, Result<Vec<Put>, SourceError>> {
        async move {
            self.begin(Call::PutRecords, None)?;
            let site = CallSite { place: &self.place, operation: Call::PutRecords.operation(), shard: None };
            let mut state = self.state();
            if let Some(fault) = fault(entries, state.max_record_bytes.unwrap_or(RECORD_BYTES_USUAL)) {
                return Err(site.answered(Some(INVALID), 400, &fault));
            }
            let taken: Vec<_> = entries.iter().map(|entry| state.take(entry)).collect();
            drop(state);
            self.changed.notify_waiters();
            let said = taken.iter().map(|taken| match taken {
                Ok(shard) => Said { shard: Some(shard.as_str()), refusal: None },
                Err(code) => Said { shard: None, refusal: Some((code, "scripted")) },
            });
            judge(site, said)
        }
        .boxed()
    }
}
