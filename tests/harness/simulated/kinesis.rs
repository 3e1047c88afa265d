//! Kinesis Data Streams. [`Kinesis`] is two things over one model: the service that the transport asks, and the hand of a
//! test that creates, writes, splits, trims and scripts without asking. One lock, never held while anything waits, and
//! never while a page is turned into text.
//!
//! A subscription is a third: a handle to the same model that looks again when the bell of its shard rings.
//!
//! One account and one region each. Where AWS is not documented, this follows what is told of its answers, and says so
//! nowhere else: a stream that is being deleted can still be read; one that is being created has no shards; a refused
//! call uses up no rate.

mod sequence;
mod limits;
mod shard;
mod habits;
mod stream;
mod listing;
mod reading;
mod consumers;
mod subscription;
mod input;
mod requests;
mod fan_out;
mod answers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use md5::{Digest as _, Md5};

use self::reading::StartAt;
use self::stream::{RefusedEntries, Status, Stream};
use crate::simulated::clock::{Clock, Millis};
use crate::simulated::service::Refusal;
use crate::simulated::truth::Truth;

pub use self::consumers::{ConsumerStatus, ConsumerView};
pub use self::habits::{Children, Encryption, Filters, Habits, Lag, LastPage, TakeOver};
pub use self::limits::Limits;
pub use self::sequence::Sequence;
pub use self::shard::{KeyRange, Record, ShardView};

/// The region of every stream.
pub const REGION: &str = "us-east-1";
/// The account of every stream.
pub const ACCOUNT: &str = "000000000000";

/// The service; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Kinesis {
    clock: Clock,
    model: Arc<Mutex<Model>>,
}

#[derive(Debug)]
struct Model {
    limits: Limits,
    /// How long streams take to be created, changed, deleted.
    transition: Duration,
    streams: BTreeMap<String, Stream>,
    /// Incarnations that were deleted.
    former: Vec<Stream>,
    summaries: limits::Window,
}

/// The hash of a partition key.
fn hash_of(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
}

impl Model {
    fn not_found(name: &str) -> Refusal {
        Refusal::client("ResourceNotFoundException", format!("Stream {name} under account {ACCOUNT} not found."))
    }

    fn stream(&mut self, name: &str, now: Millis) -> Result<&mut Stream, Refusal> {
        let is_over = |stream: &Stream| matches!(stream.changing, Some((Status::Deleting, until)) if until <= now);
        if self.streams.get(name).is_some_and(is_over) {
            self.former.extend(self.streams.remove(name));
        }
        self.streams.get_mut(name).ok_or_else(|| Self::not_found(name))
    }

    fn until(&self, now: Millis) -> Millis {
        now + i64::try_from(self.transition.as_millis()).unwrap_or(i64::MAX)
    }

    fn create(&mut self, name: &str, shards: u32, now: Millis) -> Result<(), Refusal> {
        if self.stream(name, now).is_ok() {
            return Err(Refusal::client(
                "ResourceInUseException",
                format!("Stream {name} under account {ACCOUNT} already exists."),
            ));
        }
        // Two incarnations differ in their creation, down to the seconds that sequence numbers hold.
        let former = self.former.iter().filter(|former| former.name == name).map(|former| former.created + 1000).max();
        let created = former.map_or(now, |former| former.max(now));
        let mut stream = Stream::new(name, (REGION, ACCOUNT), shards, created);
        stream.change(Status::Creating, self.until(now));
        self.streams.insert(name.to_owned(), stream);
        Ok(())
    }

    fn delete(&mut self, name: &str, now: Millis) -> Result<(), Refusal> {
        let until = self.until(now);
        let stream = self.stream(name, now)?;
        stream.change(Status::Deleting, until);
        stream.ring();
        Ok(())
    }

    /// Changes shards, which must be at rest.
    fn reshard<T>(
        &mut self,
        name: &str,
        now: Millis,
        change: impl FnOnce(&mut Stream) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let until = self.until(now);
        let stream = self.stream(name, now)?;
        stream.check_active(now)?;
        let changed = change(stream)?;
        stream.change(Status::Updating, until);
        Ok(changed)
    }
}

impl Kinesis {
    pub(crate) fn new(clock: Clock, limits: Limits) -> Self {
        let model = Model {
            limits,
            transition: Duration::ZERO,
            streams: BTreeMap::new(),
            former: Vec::new(),
            summaries: limits::Window::default(),
        };
        Self { clock, model: Arc::new(Mutex::new(model)) }
    }

    /// Every change is whole when the lock is let go, so a panic of another test leaves nothing half done.
    fn with<T>(&self, act: impl FnOnce(&mut Model, Millis) -> T) -> T {
        let now = self.clock.now();
        act(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    #[track_caller]
    fn on<T>(&self, name: &str, act: impl FnOnce(&mut Stream, Millis) -> T) -> T {
        self.with(|model, now| match model.stream(name, now) {
            Ok(stream) => act(stream, now),
            Err(refusal) => panic!("{}", refusal.message),
        })
    }

    /// Sets what the service gives; what was metered so far counts on.
    pub fn limit(&self, limits: Limits) {
        self.with(|model, _| model.limits = limits);
    }

    /// Sets how long streams take to be created, changed and deleted, in the service's time. At first: no time.
    pub fn take_time(&self, transition: Duration) {
        self.with(|model, _| model.transition = transition);
    }

    /// Creates a stream of `shards` open shards that divide the key space evenly.
    ///
    /// # Panics
    /// It exists.
    pub fn create(&self, name: &str, shards: u32) {
        self.with(|model, now| model.create(name, shards, now)).expect("the name is free");
    }

    /// Deletes a stream.
    ///
    /// # Panics
    /// It does not exist.
    pub fn delete(&self, name: &str) {
        self.with(|model, now| model.delete(name, now)).expect("the stream exists");
    }

    /// The ARN of a stream of that name, whether it exists or not.
    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
    }

    /// When the stream was created.
    #[must_use]
    pub fn created(&self, name: &str) -> Millis {
        self.on(name, |stream, _| stream.created)
    }

    /// Writes a record to the shard that owns its key, whatever the limits.
    pub fn put(&self, name: &str, key: &str, data: impl Into<Vec<u8>>) -> Arc<Record> {
        self.put_at(name, hash_of(key), key, data.into())
    }

    /// Writes a record to that shard, whatever its key.
    ///
    /// # Panics
    /// The shard is not open.
    pub fn put_to(&self, name: &str, shard: &str, key: &str, data: impl Into<Vec<u8>>) -> Arc<Record> {
        let hash = self.shard(name, shard).range.start;
        let record = self.put_at(name, hash, key, data.into());
        assert_eq!(shard::shard_id(record.shard), shard, "shard {shard} of stream {name} is not open");
        record
    }

    fn put_at(&self, name: &str, hash: u128, key: &str, data: Vec<u8>) -> Arc<Record> {
        let put = |stream: &mut Stream, now| stream.put(hash, (key.to_owned(), data), now, &Limits::any_rate());
        self.on(name, put).expect("any rate is allowed")
    }

    /// Splits an open shard in the middle; returns the children, the lower one first.
    ///
    /// # Panics
    /// The shard is not open.
    pub fn split(&self, name: &str, shard: &str) -> [String; 2] {
        let KeyRange { start, end } = self.shard(name, shard).range;
        let split = |stream: &mut Stream, now| stream.split(shard, start + (end - start) / 2 + 1, now);
        self.on(name, split).expect("the shard can be split").map(shard::shard_id)
    }

    /// Merges two open neighbours; returns the child.
    ///
    /// # Panics
    /// They are none.
    pub fn merge(&self, name: &str, shard: &str, adjacent: &str) -> String {
        let merge = |stream: &mut Stream, now| stream.merge(shard, adjacent, now);
        shard::shard_id(self.on(name, merge).expect("the shards can be merged"))
    }

    /// Scales to `target` equal shards, by the splits and merges that `UpdateShardCount` makes.
    pub fn scale(&self, name: &str, target: u32) {
        self.on(name, |stream, now| stream.scale(target, now)).expect("any count can be reached");
    }

    /// Trims the oldest `count` records of a shard, now.
    pub fn trim(&self, name: &str, shard: &str, count: u64) {
        let trim = |stream: &mut Stream, now| stream.shard(shard, now).map(|shard| shard.trim(count));
        self.on(name, trim).expect("the shard exists");
    }

    /// Lets a shard vanish with all that it holds, as if it had closed longer ago than records are kept.
    pub fn expire(&self, name: &str, shard: &str) {
        let expire = |stream: &mut Stream, now| {
            stream.shard(shard, now).map(|shard| {
                shard.is_gone = true;
                shard.bell.notify_waiters();
            })
        };
        self.on(name, expire).expect("the shard exists");
    }

    /// Leaves a shard out of every listing, though it can be read.
    pub fn hide(&self, name: &str, shard: &str) {
        let hide = |stream: &mut Stream, now| stream.shard(shard, now).map(|shard| shard.is_hidden = true);
        self.on(name, hide).expect("the shard exists");
    }

    /// Lists a hidden shard again.
    pub fn show(&self, name: &str, shard: &str) {
        let show = |stream: &mut Stream, now| stream.shard(shard, now).map(|shard| shard.is_hidden = false);
        self.on(name, show).expect("the shard exists");
    }

    /// Changes how a stream differs from the default.
    pub fn habits(&self, name: &str, change: impl FnOnce(&mut Habits)) {
        self.on(name, |stream, _| change(&mut stream.habits));
    }

    /// Sets the key of a stream and what comes of using it.
    pub fn encrypt(&self, name: &str, encryption: Encryption) {
        self.on(name, |stream, _| {
            stream.encryption = encryption;
            stream.ring();
        });
    }

    /// Refuses the next `entries` of `PutRecords` for a shard, each by itself, with this code.
    pub fn refuse_entries(&self, name: &str, shard: &str, code: &str, entries: usize) {
        let refused = RefusedEntries { shard: shard.to_owned(), code: code.to_owned(), left: entries };
        self.on(name, |stream, _| stream.refused.push(refused));
    }

    /// Refuses no entry by itself any more.
    pub fn accept_entries(&self, name: &str) {
        self.on(name, |stream, _| stream.refused.clear());
    }

    /// Sets the size of the largest record, partition key included (`UpdateMaxRecordSize`).
    pub fn take_records_of(&self, name: &str, kib: usize) {
        self.on(name, |stream, _| stream.record_kib_max = kib);
    }

    /// Sets how long records are kept, in hours of the service's time; any number, unlike the API.
    pub fn retain(&self, name: &str, hours: u32) {
        self.on(name, |stream, _| stream.retention_hours = hours);
    }

    /// All shards that are not gone, hidden ones too, in the order they were made.
    #[must_use]
    pub fn shards(&self, name: &str) -> Vec<ShardView> {
        self.on(name, |stream, now| {
            stream.refresh_all(now);
            stream.all().iter().filter(|shard| !shard.is_gone).map(|shard| shard.view(now)).collect()
        })
    }

    /// The ids of the shards that can be written to.
    #[must_use]
    pub fn open_shards(&self, name: &str) -> Vec<String> {
        self.shards(name).into_iter().filter(|shard| !shard.is_closed()).map(|shard| shard.id).collect()
    }

    #[track_caller]
    fn shard(&self, name: &str, id: &str) -> ShardView {
        self.on(name, |stream, now| stream.shard(id, now).map(|shard| shard.view(now))).expect("the shard exists")
    }

    /// Keeps no truth about a stream any more: what was trimmed is then gone from memory, too, which long runs need.
    pub fn forget_truth(&self, name: &str) {
        self.on(name, |stream, _| {
            stream.keeps_truth = false;
            stream.written = Vec::new();
        });
    }

    /// Everything that was ever written under this name, former incarnations included, and what became of it.
    #[must_use]
    pub fn truth(&self, name: &str) -> Truth {
        self.with(|model, now| {
            let mut truth = Truth::default();
            for former in model.former.iter().filter(|former| former.name == name) {
                truth.extend(former.written.iter().map(|record| (Arc::clone(record), false)));
            }
            if let Ok(stream) = model.stream(name, now) {
                stream.refresh_all(now);
                let kept = |record: &Arc<Record>| (Arc::clone(record), stream.is_kept(record));
                truth.extend(stream.written.iter().map(kept));
            }
            truth
        })
    }

    /// An iterator that has expired already, for a shard of a stream.
    #[must_use]
    pub fn expired_iterator(&self, name: &str, shard: &str) -> String {
        self.on(name, |stream, now| {
            let any_rate = Limits::any_rate();
            let mut iterator = stream.iterator(shard, &StartAt::TrimHorizon, now, &any_rate).expect("the shard exists");
            iterator.issued -= 301_000;
            iterator.encode()
        })
    }
}
