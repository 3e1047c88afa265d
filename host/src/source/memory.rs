//! A stream in memory, scripted by whoever holds a handle: the fake behind [`StreamApi`] in tests of the whole host, and
//! the only backend that misbehaves on demand. It passes the same contract suite as the real service.
//!
//! It keeps the truth: everything that was ever written, in order, whatever was trimmed, split or hung afterwards, so
//! that a test can compare what came out with what went in.

mod fan_out;
mod put;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardDescription, ShardId};
use tokio::sync::Notify;

pub use self::fan_out::Subscriptions;
use self::state::{Failure, Shard, State};
use crate::columns::{BATCH_DATA_BYTES_MAX, RecordView, cut};
use crate::entry::hash_key;
use crate::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use crate::source::classify::{CallSite, Place, Role, SourceError};

/// `Limit` of `GetRecords`, as the service has it.
const READ_RECORDS_MAX: usize = 10_000;
/// What one page holds at most, in bytes of data, as the service has it.
const PAGE_DATA_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The calls of the ports, for scripts and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`StreamApi::describe`].
    Describe,
    /// [`StreamApi::list_shards`].
    ListShards,
    /// [`StreamApi::open`].
    Open,
    /// [`StreamApi::read`].
    Read,
    /// [`FanOutApi::describe_consumer`](crate::ports::FanOutApi::describe_consumer).
    DescribeConsumer,
    /// [`FanOutApi::list_consumers`](crate::ports::FanOutApi::list_consumers).
    ListConsumers,
    /// [`FanOutApi::register_consumer`](crate::ports::FanOutApi::register_consumer).
    RegisterConsumer,
    /// [`FanOutApi::deregister_consumer`](crate::ports::FanOutApi::deregister_consumer).
    DeregisterConsumer,
    /// [`FanOutApi::subscribe`](crate::ports::FanOutApi::subscribe).
    Subscribe,
    /// An event of a subscription; counted once it is told.
    Event,
    /// [`PutApi::put_records`](crate::ports::PutApi::put_records).
    PutRecords,
    /// One entry of it; counted, and fails by itself.
    PutEntry,
}

impl Call {
    const fn operation(self) -> &'static str {
        match self {
            Self::Describe => "DescribeStreamSummary",
            Self::ListShards => "ListShards",
            Self::Open => "GetShardIterator",
            Self::Read => "GetRecords",
            Self::DescribeConsumer => "DescribeStreamConsumer",
            Self::ListConsumers => "ListStreamConsumers",
            Self::RegisterConsumer => "RegisterStreamConsumer",
            Self::DeregisterConsumer => "DeregisterStreamConsumer",
            Self::Subscribe | Self::Event => "SubscribeToShard",
            Self::PutRecords | Self::PutEntry => "PutRecords",
        }
    }
}

/// What the last page of a closed shard says of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// `ChildShards` is there, as the service does.
    Told,
    /// It is missing, as with most emulators.
    Omitted,
}

/// What pages say of the distance to the stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// The truth: one millisecond per record still to come.
    Told,
    /// Always 0, as most emulators say.
    Zero,
    /// Nothing.
    Omitted,
}

/// How a closed shard ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastPage {
    /// The page with the last records has no next iterator.
    WithRecords,
    /// An empty page follows.
    Empty,
}

/// In which order shards are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingOrder {
    /// As they were made.
    Creation,
    /// The youngest first: children before their parents.
    Reverse,
    /// Shuffled, the same way for the same number.
    Shuffled(u64),
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its sequence number, larger than any before in the stream.
    pub sequence: SequenceNumber,
    /// When it arrived.
    pub arrival: EpochMillis,
    /// Its partition key.
    pub partition_key: String,
    /// Its data.
    pub data: Vec<u8>,
}

impl Written {
    fn view(&self) -> RecordView<'_> {
        RecordView {
            sequence_number: self.sequence.as_str(),
            arrival: self.arrival.0,
            partition_key: &self.partition_key,
            kms: false,
            data: &self.data,
        }
    }
}

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

    fn iterator(&self, shard: &ShardId, from: &Position) -> Result<ShardIterator, SourceError> {
        let state = self.state();
        let index = state.index(shard).ok_or_else(|| self.not_found(Call::Open, shard))?;
        let records = &state.shards[index].records;
        let next = match from {
            Position::TrimHorizon => 0,
            Position::AtTimestamp(at) => records.partition_point(|&record| state.written[record].arrival < *at),
            Position::After { sequence, .. } => {
                records.partition_point(|&record| state.written[record].sequence <= *sequence)
            }
            Position::ShardEnd => return Err(self.invalid(Call::Open, shard, "a shard that has ended is not opened")),
        };
        Ok(state.encode(shard, next))
    }

    fn page(&self, shard: &ShardId, iterator: &ShardIterator, limit: u32) -> Result<Page, SourceError> {
        let state = self.state();
        let index = state.index(shard).ok_or_else(|| self.not_found(Call::Read, shard))?;
        let Some((generation, from)) = decode(shard, iterator) else {
            return Err(self.invalid(Call::Read, shard, "not an iterator of this shard"));
        };
        if generation < state.generation {
            let site = CallSite { place: &self.place, operation: Call::Read.operation(), shard: Some(shard) };
            return Err(site.answered(Some("ExpiredIteratorException"), 400, "scripted"));
        }
        let Shard { description, records, trimmed } = &state.shards[index];
        let from = from.max(*trimmed).min(records.len());
        let limit = usize::try_from(limit).unwrap_or(READ_RECORDS_MAX).clamp(1, READ_RECORDS_MAX);
        let mut bytes = 0;
        let fits = |&&record: &&usize| {
            bytes += state.written[record].data.len();
            bytes <= PAGE_DATA_BYTES_MAX
        };
        let taken: Vec<&Written> =
            records[from..].iter().take(limit).take_while(fits).map(|&r| &state.written[r]).collect();
        let to = from + taken.len();
        let ended = description.closed
            && to == records.len()
            && match state.last_page {
                LastPage::WithRecords => true,
                LastPage::Empty => taken.is_empty(),
            };
        let told = match state.children {
            Children::Told => ended,
            Children::Omitted => false,
        };
        Ok(Page {
            batches: cut(&taken, BATCH_DATA_BYTES_MAX, |record| record.view()),
            next: (!ended).then(|| state.encode(shard, to)),
            millis_behind_latest: match state.lag {
                Lag::Told => Some(i64::try_from(records.len() - to).unwrap_or(i64::MAX)),
                Lag::Zero => Some(0),
                Lag::Omitted => None,
            },
            children: if told { state.children_of(shard) } else { Vec::new() },
        })
    }
}

fn decode(shard: &ShardId, iterator: &ShardIterator) -> Option<(u64, usize)> {
    let mut parts = iterator.0.splitn(3, '|');
    let (generation, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.next()? == shard.as_str()).then_some((generation, next))
}

/// A shard as the stream knows it, which does not know its place in a source.
fn own(shard: &ShardId) -> ShardId {
    ShardId::new(shard.as_str())
}

impl StreamApi for MemoryStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, SourceError>> {
        async {
            self.begin(Call::Describe, None)?;
            let state = self.state();
            Ok(StreamDescription {
                arn: self.arn(),
                created: state.created,
                retention_hours: state.retention_hours,
                service_time: state.service_time,
                status: state.status,
                max_record_bytes: state.max_record_bytes,
                places_by_key: state.places_by_key,
            })
        }
        .boxed()
    }

    fn list_shards<'a>(
        &'a self,
        after: Option<&'a ShardId>,
    ) -> BoxFuture<'a, Result<Vec<ShardDescription>, SourceError>> {
        async move {
            self.begin(Call::ListShards, None)?;
            let mut shards = self.state().listing();
            shards.retain(|shard| after.is_none_or(|after| shard.id > own(after)));
            Ok(shards)
        }
        .boxed()
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> BoxFuture<'a, Result<ShardIterator, SourceError>> {
        async move {
            let shard = own(shard);
            self.begin(Call::Open, Some(&shard))?;
            self.iterator(&shard, from)
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        shard: &'a ShardId,
        iterator: &'a ShardIterator,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, SourceError>> {
        async move {
            let shard = own(shard);
            self.begin(Call::Read, Some(&shard))?;
            self.until(|state| !state.hung.contains(&shard)).await;
            self.page(&shard, iterator, limit)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::classify::SourceErrorKind;

    fn only(stream: &MemoryStream) -> ShardId {
        stream.shards()[0].id.clone()
    }

    async fn read_all(stream: &MemoryStream, shard: &ShardId) -> Page {
        let iterator = stream.open(shard, &Position::TrimHorizon).await.expect("an iterator");
        stream.read(shard, &iterator, 10_000).await.expect("a page")
    }

    fn count(page: &Page) -> usize {
        page.batches.iter().map(crate::columns::RecordColumns::len).sum()
    }

    #[tokio::test]
    async fn keys_go_to_the_shard_that_owns_them_and_the_truth_keeps_their_order() {
        let stream = MemoryStream::new("quakes", 4);
        for round in 0..25_u8 {
            for key in 0..40 {
                stream.put(&key.to_string(), &[round]);
            }
        }
        let shards: std::collections::BTreeSet<_> = stream.written().into_iter().map(|record| record.shard).collect();
        assert_eq!(shards.len(), 4);
        let keys = stream.written_by_key();
        assert_eq!(keys.len(), 40);
        assert!(keys.values().all(|data| data.iter().map(|data| data[0]).eq(0..25)));
        let mut read = 0;
        for shard in stream.shards() {
            read += count(&read_all(&stream, &shard.id).await);
        }
        assert_eq!(read, 1000);
    }

    #[tokio::test]
    async fn a_scripted_failure_happens_as_often_as_told_and_only_where_told() {
        let stream = MemoryStream::new("quakes", 2);
        let [a, b] = [0, 1].map(|index| stream.shards()[index].id.clone());
        stream.fail_next(Call::Read, Some(&a), "ProvisionedThroughputExceededException", 2);
        let iterator = stream.open(&a, &Position::TrimHorizon).await.expect("an iterator");
        for _ in 0..2 {
            let error = stream.read(&a, &iterator, 1).await.expect_err("scripted");
            assert_eq!(error.kind, SourceErrorKind::Throttled);
            read_all(&stream, &b).await;
        }
        stream.read(&a, &iterator, 1).await.expect("the script is over");
        assert_eq!(stream.calls(Call::Read), 5);
    }

    #[tokio::test]
    async fn a_hung_shard_waits_for_its_release_and_its_siblings_do_not() {
        let stream = MemoryStream::new("quakes", 2);
        let [a, b] = [0, 1].map(|index| stream.shards()[index].id.clone());
        stream.hang(&a);
        let waiting = tokio::spawn({
            let (stream, a) = (stream.clone(), a.clone());
            async move { read_all(&stream, &a).await }
        });
        stream.until_calls(Call::Read, 1).await;
        read_all(&stream, &b).await;
        assert!(!waiting.is_finished());
        stream.put_to(&a, "k", b"late");
        stream.release(&a);
        assert_eq!(count(&waiting.await.expect("released")), 1);
    }

    #[tokio::test]
    async fn listings_are_partial_and_reordered_as_told_and_lie_about_nothing_else() {
        let stream = MemoryStream::new("quakes", 1);
        let [low, high] = stream.split(&only(&stream));
        let merged = stream.merge(&low, &high);
        stream.list_in(ListingOrder::Reverse);
        let ids: Vec<_> = stream.list_shards(None).await.expect("listed").into_iter().map(|shard| shard.id).collect();
        assert_eq!(ids, [merged, high.clone(), low.clone(), only(&stream)]);
        stream.leave_unlisted([high.clone()]);
        let listed = stream.list_shards(None).await.expect("listed");
        assert!(listed.len() == 3 && listed.iter().all(|shard| shard.id != high));
        assert!(read_all(&stream, &high).await.next.is_none());
        stream.leave_unlisted([]);
        for seed in 0..9 {
            stream.list_in(ListingOrder::Shuffled(seed));
            let mut shuffled = stream.list_shards(None).await.expect("listed");
            shuffled.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(shuffled, stream.shards());
        }
    }

    #[tokio::test]
    async fn the_end_of_a_shard_is_told_as_scripted() {
        let stream = MemoryStream::new("quakes", 1);
        let shard = only(&stream);
        stream.put("k", b"1");
        let children = stream.split(&shard);
        let page = read_all(&stream, &shard).await;
        assert_eq!((count(&page), &page.next, page.millis_behind_latest), (1, &None, Some(0)));
        assert_eq!(page.children.into_iter().map(|child| child.id).collect::<Vec<_>>(), children);

        stream.end_with(LastPage::Empty);
        stream.tell_children(Children::Omitted);
        stream.tell_lag(Lag::Omitted);
        let page = read_all(&stream, &shard).await;
        let next = page.next.clone().expect("one more page");
        assert_eq!((count(&page), page.millis_behind_latest), (1, None));
        let last = stream.read(&shard, &next, 10).await.expect("the last page");
        assert_eq!((count(&last), &last.next, last.children.len()), (0, &None, 0));
    }

    #[tokio::test]
    async fn what_is_trimmed_is_gone_from_the_stream_and_not_from_the_truth() {
        let stream = MemoryStream::new("quakes", 1);
        let shard = only(&stream);
        for data in [b"1", b"2", b"3"] {
            stream.put("k", data);
        }
        stream.trim(&shard, 2);
        let page = read_all(&stream, &shard).await;
        assert_eq!(page.batches[0].data.iter().collect::<Vec<_>>(), [b"3"]);
        assert_eq!(stream.written().len(), 3);
        stream.expire_shard(&shard);
        let error = stream.open(&shard, &Position::TrimHorizon).await.expect_err("gone");
        assert_eq!(error.kind, SourceErrorKind::ShardGone);
    }

    #[tokio::test]
    async fn a_recreated_stream_has_the_old_names_and_another_creation_time() {
        let stream = MemoryStream::new("quakes", 1);
        let before = stream.describe().await.expect("described");
        stream.put("k", b"old");
        stream.split(&only(&stream));
        stream.recreate();
        let after = stream.describe().await.expect("described");
        assert!(after.created > before.created && after.arn == before.arn);
        assert_eq!(stream.shards().len(), 1);
        assert_eq!(count(&read_all(&stream, &only(&stream)).await), 0);
    }
}
