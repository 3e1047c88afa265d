//! What every [`StreamApi`] owes its readers. A backend that cannot keep a claim says so, with the reason, in its
//! [`Deviations`]; a test never asks which backend it runs on.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use ferrokinesis::shard_iterator::create_shard_iterator;
use host::columns::{BATCH_DATA_BYTES_MAX, RecordColumns, drop_before};
use host::ports::{Page, ShardIterator, StreamApi};
use host::source::classify::SourceErrorKind;
use host::source::kinesis::KinesisStream;
use host::source::memory::MemoryStream;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardDescription, ShardId};
use tests::ferro::Ferro;

/// No shard of these tests takes more pages than this to read to its end.
const PAGES_MAX: usize = 100;

/// Where a backend differs from the service, and why. `None`: it does not.
#[derive(Default)]
struct Deviations {
    /// Pages of a timestamp past the last record hold older ones, up to the whole shard.
    replays_past_the_last_record: Option<&'static str>,
    /// The last page of a closed shard tells no children.
    tells_no_children: Option<&'static str>,
}

/// A stream under test and the hand that writes to it.
trait Backend: Sized {
    const DEVIATIONS: Deviations;

    /// A stream with open shards and no records.
    fn start(shards: u32) -> impl Future<Output = Self>;
    fn api(&self) -> &dyn StreamApi;
    /// The same service, asked for a stream that it does not have.
    fn of_missing_stream(&self) -> impl Future<Output = Arc<dyn StreamApi>>;
    /// Writes to the open shard that owns the start of `range`.
    fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) -> impl Future<Output = ()>;
    fn split(&self, shard: &ShardDescription) -> impl Future<Output = ()>;
    fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) -> impl Future<Output = ()>;
    /// An iterator of the shard that has expired.
    fn expired_iterator(&self, shard: &ShardId) -> impl Future<Output = ShardIterator>;
}

struct Memory(MemoryStream);

impl Backend for Memory {
    const DEVIATIONS: Deviations = Deviations { replays_past_the_last_record: None, tells_no_children: None };

    async fn start(shards: u32) -> Self {
        Self(MemoryStream::new("quakes", shards))
    }

    fn api(&self) -> &dyn StreamApi {
        &self.0
    }

    async fn of_missing_stream(&self) -> Arc<dyn StreamApi> {
        let other = MemoryStream::new("missing", 1);
        other.delete();
        Arc::new(other)
    }

    async fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) {
        let owns = |shard: &ShardDescription| {
            !shard.closed && shard.range.is_some_and(|owned| owned.start <= range.start && range.start <= owned.end)
        };
        let shard = self.0.shards().into_iter().find(owns).expect("an open shard owns every key");
        for (key, data) in records {
            self.0.put_to(&shard.id, key, data);
        }
    }

    async fn split(&self, shard: &ShardDescription) {
        self.0.split(&shard.id);
    }

    async fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) {
        self.0.merge(&shard.id, &adjacent.id);
    }

    async fn expired_iterator(&self, shard: &ShardId) -> ShardIterator {
        let iterator = self.0.open(shard, &Position::TrimHorizon).await.expect("an iterator");
        self.0.expire_iterators();
        iterator
    }
}

struct Ferrokinesis {
    ferro: Ferro,
    stream: KinesisStream,
}

const STREAM: &str = "quakes";

impl Backend for Ferrokinesis {
    const DEVIATIONS: Deviations = Deviations {
        replays_past_the_last_record: Some(
            "ferrokinesis 0.7 starts at the oldest record when it finds none at the timestamp",
        ),
        tells_no_children: Some("ferrokinesis 0.7 sends no ChildShards with GetRecords"),
    };

    async fn start(shards: u32) -> Self {
        let ferro = Ferro::start().await;
        ferro.create(STREAM, i32::try_from(shards).expect("few")).await;
        let stream = ferro.stream(STREAM).await;
        Self { ferro, stream }
    }

    fn api(&self) -> &dyn StreamApi {
        &self.stream
    }

    async fn of_missing_stream(&self) -> Arc<dyn StreamApi> {
        Arc::new(self.ferro.stream("missing").await)
    }

    async fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) {
        self.ferro.put(STREAM, Some(range.start), records).await;
    }

    async fn split(&self, shard: &ShardDescription) {
        let HashRange { start, end } = range(shard);
        self.ferro.split(STREAM, shard.id.as_str(), start + (end - start) / 2 + 1).await;
    }

    async fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) {
        self.ferro.merge(STREAM, shard.id.as_str(), adjacent.id.as_str()).await;
    }

    async fn expired_iterator(&self, shard: &ShardId) -> ShardIterator {
        // The same text that the endpoint gives out, made a second after the epoch.
        let first = "49590338271490256608559692538361571095921575989136588898";
        ShardIterator(create_shard_iterator(STREAM, shard.as_str(), first, 1_000))
    }
}

fn range(shard: &ShardDescription) -> HashRange {
    shard.range.expect("Kinesis tells every shard's range")
}

fn numbered(count: usize, size: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|index| (format!("key-{}", index % 7), format!("{index:0size$}").into_bytes())).collect()
}

fn records_in(batches: &[RecordColumns]) -> Vec<(String, Vec<u8>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a partition key is text");
    let of_batch = |batch: &RecordColumns| {
        let rows = batch.partition_key.iter().zip(batch.data.iter());
        rows.map(|(key, data)| (text(key), data.to_vec())).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

fn sequences(batches: &[RecordColumns]) -> Vec<SequenceNumber> {
    let parse = |bytes: &[u8]| SequenceNumber::parse(std::str::from_utf8(bytes).expect("ASCII")).expect("decimal");
    batches.iter().flat_map(|batch| batch.sequence_number.iter().map(parse).collect::<Vec<_>>()).collect()
}

async fn shards(backend: &impl Backend) -> Vec<ShardDescription> {
    backend.api().list_shards(None).await.expect("a listing")
}

async fn open_shards(backend: &impl Backend) -> Vec<ShardDescription> {
    shards(backend).await.into_iter().filter(|shard| !shard.closed).collect()
}

/// Reads until `count` records are there or the shard ends.
async fn read(api: &dyn StreamApi, shard: &ShardId, from: &Position, count: usize, limit: u32) -> Vec<Page> {
    let mut next = Some(api.open(shard, from).await.expect("an iterator"));
    let mut pages: Vec<Page> = Vec::new();
    let mut records = 0;
    while let Some(iterator) = next.take().filter(|_| records < count) {
        let page = api.read(shard, &iterator, limit).await.expect("a page");
        records += page.batches.iter().map(RecordColumns::len).sum::<usize>();
        next.clone_from(&page.next);
        pages.push(page);
        assert!(pages.len() < PAGES_MAX, "{records} of {count} records after {PAGES_MAX} pages");
    }
    pages
}

fn batches(pages: Vec<Page>) -> Vec<RecordColumns> {
    pages.into_iter().flat_map(|page| page.batches).collect()
}

async fn all_shards_are_listed_and_their_ranges_cover_the_key_space<B: Backend>() {
    let backend = B::start(5).await;
    let mut listed = shards(&backend).await;
    listed.sort_by_key(|shard| range(shard).start);
    assert_eq!(listed.len(), 5);
    assert!(listed.iter().all(|shard| shard.parents.is_empty() && !shard.closed), "{listed:?}");
    assert_eq!((range(&listed[0]).start, range(&listed[4]).end), (0, u128::MAX));
    assert!(listed.windows(2).all(|pair| range(&pair[0]).end + 1 == range(&pair[1]).start), "{listed:?}");
    let ids: BTreeSet<_> = listed.iter().map(|shard| &shard.id).collect();
    assert_eq!(ids.len(), 5);
}

async fn a_listing_after_a_shard_has_the_later_ones_only<B: Backend>() {
    let backend = B::start(5).await;
    let mut ids: Vec<ShardId> = shards(&backend).await.into_iter().map(|shard| shard.id).collect();
    ids.sort();
    for (index, after) in ids.iter().enumerate() {
        let listed = backend.api().list_shards(Some(after)).await.expect("a listing");
        let mut listed: Vec<ShardId> = listed.into_iter().map(|shard| shard.id).collect();
        listed.sort();
        assert_eq!(listed, ids[index + 1..], "after {after}");
    }
    let missing = ShardId::new("shardId-000000000003x");
    assert_eq!(backend.api().list_shards(Some(&missing)).await.expect("a listing").len(), 1);
}

async fn a_description_identifies_the_stream<B: Backend>() {
    let backend = B::start(1).await;
    let description = backend.api().describe().await.expect("a description");
    assert!(description.arn.ends_with(":stream/quakes"), "{description:?}");
    assert!(description.created > EpochMillis(0) && description.retention_hours == 24, "{description:?}");
    assert_eq!(backend.api().describe().await.expect("again"), description);
}

async fn records_come_in_order_and_whole<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let mut written = numbered(50, 300);
    // Whatever bytes: they are nobody's text.
    written.push(("grüße 🌋".to_owned(), (0..=255).collect()));
    written.push(("empty".to_owned(), vec![0]));
    backend.put(range(&shard), &written).await;
    let read = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, written.len(), 10_000).await);
    assert_eq!(records_in(&read), written);
    assert!(sequences(&read).windows(2).all(|pair| pair[0] < pair[1]));
    assert!(read.iter().all(|batch| batch.arrival.len() == batch.len() && batch.arrival.iter().all(|at| *at > 0)));
}

async fn reading_after_a_record_begins_with_the_next<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let written = numbered(20, 8);
    backend.put(range(&shard), &written).await;
    let first = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 10_000).await);
    for index in [0, 9, 18] {
        let from = Position::after(sequences(&first)[index].clone());
        let rest = batches(read(backend.api(), &shard.id, &from, 19 - index, 10_000).await);
        assert_eq!(records_in(&rest), written[index + 1..]);
    }
    let from = Position::after(sequences(&first)[19].clone());
    backend.put(range(&shard), &numbered(1, 3)).await;
    let rest = batches(read(backend.api(), &shard.id, &from, 1, 10_000).await);
    assert_eq!(records_in(&rest), numbered(1, 3));
}

async fn reading_at_a_timestamp_misses_no_record_that_arrived_then_or_later<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(20, 8)).await;
    let all = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 10_000).await);
    let arrivals: Vec<i64> = all.iter().flat_map(|batch| batch.arrival.clone()).collect();
    for at in [arrivals[0] - 5_000, arrivals[0], arrivals[10], arrivals[19]] {
        let wanted = arrivals.iter().filter(|arrival| **arrival >= at).count();
        let from = Position::AtTimestamp(EpochMillis(at));
        let found = batches(read(backend.api(), &shard.id, &from, wanted, 10_000).await);
        let kept: Vec<_> = found.into_iter().map(|batch| drop_before(batch, EpochMillis(at))).collect();
        let kept = sequences(&kept);
        assert!(kept.ends_with(&sequences(&all)[20 - wanted..]), "{at}: {kept:?}");
    }
}

async fn reading_past_the_last_record_gives_nothing_old<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(20, 8)).await;
    let all = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 10_000).await);
    let last = all.last().and_then(|batch| batch.arrival.last()).expect("20 records");
    // At the very second of the last record every backend keeps its word: past it, deviations begin.
    let past = EpochMillis(if B::DEVIATIONS.replays_past_the_last_record.is_some() { *last } else { last + 1 });
    let iterator = backend.api().open(&shard.id, &Position::AtTimestamp(past)).await.expect("an iterator");
    let page = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    let kept: Vec<_> = page.batches.into_iter().map(|batch| drop_before(batch, past)).collect();
    assert!(kept.iter().all(|batch| batch.arrival.iter().all(|arrival| *arrival >= past.0)), "{kept:?}");
}

async fn a_closed_shard_ends_without_a_next_iterator_after_its_last_record<B: Backend>() {
    let backend = B::start(1).await;
    let parent = shards(&backend).await.remove(0);
    let written = numbered(10, 8);
    backend.put(range(&parent), &written).await;
    backend.split(&parent).await;
    let pages = read(backend.api(), &parent.id, &Position::TrimHorizon, usize::MAX, 4).await;
    let last = pages.last().expect("pages");
    assert!(last.next.is_none() && pages[..pages.len() - 1].iter().all(|page| page.next.is_some()));
    let mut children: Vec<_> = last.children.iter().map(|child| child.id.clone()).collect();
    assert_eq!(records_in(&batches(pages)), written);

    let listed = shards(&backend).await;
    let closed: Vec<_> = listed.iter().filter(|shard| shard.closed).map(|shard| &shard.id).collect();
    assert_eq!(closed, [&parent.id]);
    let mut real: Vec<_> =
        listed.iter().filter(|shard| shard.parents == [parent.id.clone()]).map(|c| c.id.clone()).collect();
    assert_eq!(real.len(), 2);
    if B::DEVIATIONS.tells_no_children.is_some() {
        real.clear();
    }
    children.sort();
    real.sort();
    assert_eq!(children, real);
}

async fn the_child_of_a_merge_has_both_parents_and_takes_what_follows<B: Backend>() {
    let backend = B::start(2).await;
    let mut parents = shards(&backend).await;
    parents.sort_by_key(|shard| range(shard).start);
    backend.put(range(&parents[0]), &numbered(3, 8)).await;
    backend.merge(&parents[0], &parents[1]).await;
    let [child] = <[_; 1]>::try_from(open_shards(&backend).await).expect("one child");
    let ids: BTreeSet<_> = parents.iter().map(|parent| parent.id.clone()).collect();
    assert_eq!(child.parents.iter().cloned().collect::<BTreeSet<_>>(), ids);
    assert_eq!(range(&child), HashRange { start: 0, end: u128::MAX });
    backend.put(range(&child), &numbered(2, 5)).await;
    let read = batches(read(backend.api(), &child.id, &Position::TrimHorizon, 2, 10_000).await);
    assert_eq!(records_in(&read), numbered(2, 5));
}

async fn batches_are_cut_below_the_bound_and_a_larger_record_travels_alone<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let mut written = numbered(300, 1024);
    written.insert(7, ("large".to_owned(), vec![1; 300 * 1024]));
    backend.put(range(&shard), &written).await;
    let read = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, written.len(), 10_000).await);
    assert_eq!(records_in(&read), written);
    for batch in &read {
        assert!(batch.len() == 1 || batch.data.bytes.len() <= BATCH_DATA_BYTES_MAX, "{} bytes", batch.data.bytes.len());
    }
    assert!(read.len() <= 6, "cut into {} batches, where 3 and the large one would do", read.len());
}

async fn a_page_holds_no_more_records_than_asked_for<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let written = numbered(20, 8);
    backend.put(range(&shard), &written).await;
    let pages = read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 7).await;
    let lengths: Vec<usize> = pages.iter().map(|page| page.batches.iter().map(RecordColumns::len).sum()).collect();
    assert!(lengths.iter().all(|length| *length <= 7), "{lengths:?}");
    assert_eq!(records_in(&batches(pages)), written);
}

async fn a_page_of_five_thousand_records_arrives_intact<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let written = numbered(5_000, 300);
    backend.put(range(&shard), &written).await;
    let iterator = backend.api().open(&shard.id, &Position::TrimHorizon).await.expect("an iterator");
    let page = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    assert!(records_in(&page.batches) == written, "records differ");
}

async fn an_iterator_can_be_read_again<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(5, 8)).await;
    let iterator = backend.api().open(&shard.id, &Position::TrimHorizon).await.expect("an iterator");
    let once = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    let twice = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    assert_eq!(once.batches, twice.batches);
}

async fn an_expired_iterator_is_told_as_such<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let iterator = backend.expired_iterator(&shard.id).await;
    let error = backend.api().read(&shard.id, &iterator, 10).await.expect_err("expired");
    assert_eq!(error.kind, SourceErrorKind::ExpiredIterator, "{error}");
    assert!(error.to_string().contains(shard.id.as_str()), "{error}");
}

async fn a_text_that_is_no_iterator_is_invalid<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let error = backend.api().read(&shard.id, &ShardIterator("AAAA".to_owned()), 10).await.expect_err("no iterator");
    assert_eq!(error.kind, SourceErrorKind::Invalid, "{error}");
}

async fn what_does_not_exist_is_not_found_by_name<B: Backend>() {
    let backend = B::start(1).await;
    let missing = backend.of_missing_stream().await;
    let shard = ShardId::new("shardId-000000000000");
    let errors =
        [missing.describe().await.expect_err("no stream"), missing.list_shards(None).await.expect_err("no stream")];
    for error in errors {
        assert_eq!(error.kind, SourceErrorKind::StreamGone, "{error}");
        assert!(error.to_string().contains("stream \"missing\" does not exist in us-east-1"), "{error}");
    }
    // A service may miss the shard first, which is why a missing shard is a reason to look for its stream.
    let error = missing.open(&shard, &Position::TrimHorizon).await.expect_err("no stream");
    assert!(matches!(error.kind, SourceErrorKind::StreamGone | SourceErrorKind::ShardGone), "{error}");
    let shard = ShardId::new("shardId-000000000099");
    let error = backend.api().open(&shard, &Position::TrimHorizon).await.expect_err("no shard");
    assert_eq!(error.kind, SourceErrorKind::ShardGone, "{error}");
    assert!(error.to_string().starts_with("shard shardId-000000000099 of stream \"quakes\""), "{error}");
}

macro_rules! every_claim_on {
    ($module:ident, $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim::<$backend>().await;
            })+
        }
    };
}

macro_rules! contract {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $(every_claim_on! { $module, $backend:
            all_shards_are_listed_and_their_ranges_cover_the_key_space,
            a_listing_after_a_shard_has_the_later_ones_only,
            a_description_identifies_the_stream,
            records_come_in_order_and_whole,
            reading_after_a_record_begins_with_the_next,
            reading_at_a_timestamp_misses_no_record_that_arrived_then_or_later,
            reading_past_the_last_record_gives_nothing_old,
            a_closed_shard_ends_without_a_next_iterator_after_its_last_record,
            the_child_of_a_merge_has_both_parents_and_takes_what_follows,
            batches_are_cut_below_the_bound_and_a_larger_record_travels_alone,
            a_page_holds_no_more_records_than_asked_for,
            a_page_of_five_thousand_records_arrives_intact,
            an_iterator_can_be_read_again,
            an_expired_iterator_is_told_as_such,
            a_text_that_is_no_iterator_is_invalid,
            what_does_not_exist_is_not_found_by_name,
        })+
    };
}

contract! { in_memory = super::Memory, over_ferrokinesis = super::Ferrokinesis }
