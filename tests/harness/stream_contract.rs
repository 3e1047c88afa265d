//! What every [`StreamApi`] owes its readers. A backend that cannot keep a claim has an entry in the one list of
//! [deviations](crate::deviations); no claim asks which backend it runs on. [`crate::stream_contract!`] makes a test of
//! each claim.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::columns::{BATCH_DATA_BYTES_MAX, RecordColumns, drop_before};
use host::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use host::source::classify::SourceErrorKind;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardDescription, ShardId};

use crate::deviations::{BackendName, Difference, judge};

/// No shard of these tests takes more pages than this to read to its end.
const PAGES_MAX: usize = 100;
/// A service that has not answered by then does not.
const ANSWER: Duration = Duration::from_secs(3);

/// A stream under test and the hand that writes to it.
pub trait Backend: Sized {
    /// What the list of deviations calls it.
    const NAME: BackendName;

    /// A stream with open shards and no records.
    fn start(shards: u32) -> impl Future<Output = Self>;
    /// The stream's name.
    fn stream(&self) -> &str;
    /// The stream as the host sees it.
    fn api(&self) -> &dyn StreamApi;
    /// The same service, asked for the stream `missing`, which it does not have.
    fn of_missing_stream(&self) -> impl Future<Output = Arc<dyn StreamApi>>;
    /// Writes to the open shard that owns the start of `range`.
    fn put(&self, range: HashRange, records: &[(String, Vec<u8>)]) -> impl Future<Output = ()>;
    /// Splits a shard in two halves.
    fn split(&self, shard: &ShardDescription) -> impl Future<Output = ()>;
    /// Merges two neighbours.
    fn merge(&self, shard: &ShardDescription, adjacent: &ShardDescription) -> impl Future<Output = ()>;
    /// An iterator of the shard that has expired.
    fn expired_iterator(&self, shard: &ShardId) -> impl Future<Output = ShardIterator>;
}

pub(crate) fn range(shard: &ShardDescription) -> HashRange {
    shard.range.expect("Kinesis tells every shard's range")
}

pub(crate) fn numbered(count: usize, size: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|index| (format!("key-{}", index % 7), format!("{index:0size$}").into_bytes())).collect()
}

/// Partition keys and data of records.
///
/// # Panics
/// A partition key is no text.
#[must_use]
pub fn records_in(batches: &[RecordColumns]) -> Vec<(String, Vec<u8>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a partition key is text");
    let of_batch = |batch: &RecordColumns| {
        let rows = batch.partition_key.iter().zip(batch.data.iter());
        rows.map(|(key, data)| (text(key), data.to_vec())).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

pub(crate) fn sequences(batches: &[RecordColumns]) -> Vec<SequenceNumber> {
    let parse = |bytes: &[u8]| SequenceNumber::parse(std::str::from_utf8(bytes).expect("ASCII")).expect("decimal");
    batches.iter().flat_map(|batch| batch.sequence_number.iter().map(parse).collect::<Vec<_>>()).collect()
}

pub(crate) async fn shards(backend: &impl Backend) -> Vec<ShardDescription> {
    backend.api().list_shards(None).await.expect("a listing")
}

pub(crate) async fn open_shards(backend: &impl Backend) -> Vec<ShardDescription> {
    shards(backend).await.into_iter().filter(|shard| !shard.closed).collect()
}

fn wall_clock() -> EpochMillis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    EpochMillis(i64::try_from(now).expect("before the year 292 million"))
}

/// No event tells that a second of the wall clock has passed, which the services stamp records with.
async fn until_the_clock_shows(time: EpochMillis) {
    while wall_clock() < time {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
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

/// Claims that all shards are listed and their ranges cover the key space.
///
/// # Panics
/// It does not hold.
pub async fn all_shards_are_listed_and_their_ranges_cover_the_key_space<B: Backend>() {
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

/// Claims that a listing after a shard has the later ones only.
///
/// # Panics
/// It does not hold.
pub async fn a_listing_after_a_shard_has_the_later_ones_only<B: Backend>() {
    let backend = B::start(5).await;
    let mut ids: Vec<ShardId> = shards(&backend).await.into_iter().map(|shard| shard.id).collect();
    ids.sort();
    for (index, after) in ids.iter().enumerate() {
        let listed = backend.api().list_shards(Some(after)).await.expect("a listing");
        let mut listed: Vec<ShardId> = listed.into_iter().map(|shard| shard.id).collect();
        listed.sort();
        assert_eq!(listed, ids[index + 1..], "after {after}");
    }
}

/// Claims that a description identifies the stream.
///
/// # Panics
/// It does not hold.
pub async fn a_description_identifies_the_stream<B: Backend>() {
    let backend = B::start(1).await;
    let description = backend.api().describe().await.expect("a description");
    assert!(description.arn.ends_with(&format!(":stream/{}", backend.stream())), "{description:?}");
    assert!(description.created > EpochMillis(0) && description.retention_hours == 24, "{description:?}");
    let again = backend.api().describe().await.expect("again");
    // The clock goes on.
    assert_eq!(StreamDescription { service_time: description.service_time, ..again }, description);
}

/// Claims that records come in order and whole.
///
/// # Panics
/// It does not hold.
pub async fn records_come_in_order_and_whole<B: Backend>() {
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

/// Claims that reading after a record begins with the next.
///
/// # Panics
/// It does not hold.
pub async fn reading_after_a_record_begins_with_the_next<B: Backend>() {
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

/// Claims that reading at a timestamp misses no record that arrived then or later.
///
/// # Panics
/// It does not hold.
pub async fn reading_at_a_timestamp_misses_no_record_that_arrived_then_or_later<B: Backend>() {
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

/// Claims that reading past the last record gives nothing old.
///
/// # Panics
/// It does not hold.
pub async fn reading_past_the_last_record_gives_nothing_old<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(20, 8)).await;
    let all = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 10_000).await);
    let last = all.last().and_then(|batch| batch.arrival.last()).expect("20 records");
    // The host asks by the full second, and no service takes a timestamp of the future.
    let past = EpochMillis((last.div_euclid(1_000) + 1) * 1_000);
    until_the_clock_shows(past).await;
    let at = Position::AtTimestamp(past);
    let opened = tokio::time::timeout(ANSWER, backend.api().open(&shard.id, &at)).await;
    judge(B::NAME, Difference::HangsPastTheLastRecord, opened.is_err(), &past);
    let Ok(opened) = opened else { return };
    let page = backend.api().read(&shard.id, &opened.expect("an iterator"), 10_000).await.expect("a page");
    let older = |batch: &RecordColumns| batch.arrival.iter().any(|arrival| *arrival < past.0);
    judge(B::NAME, Difference::ReplaysPastTheLastRecord, page.batches.iter().any(older), &page);
    let kept: Vec<_> = page.batches.into_iter().map(|batch| drop_before(batch, past)).collect();
    assert!(!kept.iter().any(older), "{kept:?}");
}

/// Claims that arrival times have milliseconds.
///
/// # Panics
/// It does not hold.
pub async fn arrival_times_have_milliseconds<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    // One record can arrive at a whole second; several calls do not.
    for _ in 0..5 {
        backend.put(range(&shard), &numbered(1, 8)).await;
    }
    let all = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 5, 10_000).await);
    let arrivals: Vec<i64> = all.iter().flat_map(|batch| batch.arrival.clone()).collect();
    let whole = arrivals.iter().all(|arrival| arrival % 1_000 == 0);
    judge(B::NAME, Difference::StampsWholeSeconds, whole, &arrivals);
}

/// Claims that the first record of a new shard arrives by the clock.
///
/// # Panics
/// It does not hold.
pub async fn the_first_record_of_a_new_shard_arrives_by_the_clock<B: Backend>() {
    let backend = B::start(1).await;
    let parent = shards(&backend).await.remove(0);
    backend.put(range(&parent), &numbered(1, 8)).await;
    backend.split(&parent).await;
    let child = open_shards(&backend).await.remove(0);
    backend.put(range(&child), &numbered(1, 8)).await;
    let now = wall_clock();
    let read = batches(read(backend.api(), &child.id, &Position::TrimHorizon, 1, 10_000).await);
    let arrival = read[0].arrival[0];
    // Services stamp finer than milliseconds, and those are rounded to the nearest.
    judge(B::NAME, Difference::StampsNewShardsAhead, arrival > now.0 + 1, &(arrival, now));
}

/// Claims that a page that leaves records says that it is behind.
///
/// # Panics
/// It does not hold.
pub async fn a_page_that_leaves_records_says_that_it_is_behind<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(20, 8)).await;
    let all = batches(read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 10_000).await);
    let last = all.last().and_then(|batch| batch.arrival.last()).expect("20 records");
    until_the_clock_shows(EpochMillis(last + 20)).await;
    let page = read(backend.api(), &shard.id, &Position::TrimHorizon, 1, 7).await.remove(0);
    judge(B::NAME, Difference::IsNeverBehind, page.millis_behind_latest == Some(0), &page.millis_behind_latest);
}

/// Claims that a closed shard ends without a next iterator after its last record.
///
/// # Panics
/// It does not hold.
pub async fn a_closed_shard_ends_without_a_next_iterator_after_its_last_record<B: Backend>() {
    let backend = B::start(1).await;
    let parent = shards(&backend).await.remove(0);
    let written = numbered(10, 8);
    backend.put(range(&parent), &written).await;
    backend.split(&parent).await;
    let listed = shards(&backend).await;
    let forgets = !listed.iter().any(|shard| shard.id == parent.id);
    judge(B::NAME, Difference::ForgetsParents, forgets, &listed);
    if forgets {
        return;
    }
    let pages = read(backend.api(), &parent.id, &Position::TrimHorizon, usize::MAX, 4).await;
    let last = pages.last().expect("pages");
    assert!(last.next.is_none() && pages[..pages.len() - 1].iter().all(|page| page.next.is_some()));
    let mut children: Vec<_> = last.children.iter().map(|child| child.id.clone()).collect();
    assert_eq!(records_in(&batches(pages)), written);

    let closed: Vec<_> = listed.iter().filter(|shard| shard.closed).map(|shard| &shard.id).collect();
    assert_eq!(closed, [&parent.id]);
    let mut real: Vec<_> =
        listed.iter().filter(|shard| shard.parents == [parent.id.clone()]).map(|c| c.id.clone()).collect();
    assert_eq!(real.len(), 2);
    children.sort();
    real.sort();
    judge(B::NAME, Difference::TellsNoChildren, children.is_empty(), &children);
    if !children.is_empty() {
        assert_eq!(children, real);
    }
}

/// Claims that the child of a merge has both parents and takes what follows.
///
/// # Panics
/// It does not hold.
pub async fn the_child_of_a_merge_has_both_parents_and_takes_what_follows<B: Backend>() {
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

/// Claims that batches are cut below the bound and a larger record travels alone.
///
/// # Panics
/// It does not hold.
pub async fn batches_are_cut_below_the_bound_and_a_larger_record_travels_alone<B: Backend>() {
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

/// Claims that a page holds no more records than asked for.
///
/// # Panics
/// It does not hold.
pub async fn a_page_holds_no_more_records_than_asked_for<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let written = numbered(20, 8);
    backend.put(range(&shard), &written).await;
    let pages = read(backend.api(), &shard.id, &Position::TrimHorizon, 20, 7).await;
    let lengths: Vec<usize> = pages.iter().map(|page| page.batches.iter().map(RecordColumns::len).sum()).collect();
    assert!(lengths.iter().all(|length| *length <= 7), "{lengths:?}");
    assert_eq!(records_in(&batches(pages)), written);
}

/// Claims that a page of five thousand records arrives intact.
///
/// # Panics
/// It does not hold.
pub async fn a_page_of_five_thousand_records_arrives_intact<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let written = numbered(5_000, 300);
    backend.put(range(&shard), &written).await;
    let iterator = backend.api().open(&shard.id, &Position::TrimHorizon).await.expect("an iterator");
    let page = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    assert!(records_in(&page.batches) == written, "records differ");
}

/// Claims that an iterator can be read again.
///
/// # Panics
/// It does not hold.
pub async fn an_iterator_can_be_read_again<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    backend.put(range(&shard), &numbered(5, 8)).await;
    let iterator = backend.api().open(&shard.id, &Position::TrimHorizon).await.expect("an iterator");
    let once = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    let twice = backend.api().read(&shard.id, &iterator, 10_000).await.expect("a page");
    assert_eq!(once.batches, twice.batches);
}

/// Claims that an expired iterator is told as such.
///
/// # Panics
/// It does not hold.
pub async fn an_expired_iterator_is_told_as_such<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let iterator = backend.expired_iterator(&shard.id).await;
    let error = backend.api().read(&shard.id, &iterator, 10).await.expect_err("expired");
    assert_eq!(error.kind, SourceErrorKind::ExpiredIterator, "{error}");
    assert!(error.to_string().contains(shard.id.as_str()), "{error}");
}

/// Claims that a text that is no iterator is invalid.
///
/// # Panics
/// It does not hold.
pub async fn a_text_that_is_no_iterator_is_invalid<B: Backend>() {
    let backend = B::start(1).await;
    let shard = shards(&backend).await.remove(0);
    let error = backend.api().read(&shard.id, &ShardIterator("AAAA".to_owned()), 10).await.expect_err("no iterator");
    judge(B::NAME, Difference::FailsOnNoIterator, error.kind == SourceErrorKind::Transient, &error);
    judge(B::NAME, Difference::CallsNoIteratorExpired, error.kind == SourceErrorKind::ExpiredIterator, &error);
    if !matches!(error.kind, SourceErrorKind::Transient | SourceErrorKind::ExpiredIterator) {
        assert_eq!(error.kind, SourceErrorKind::Invalid, "{error}");
    }
}

/// Claims that what does not exist is not found by name.
///
/// # Panics
/// It does not hold.
pub async fn what_does_not_exist_is_not_found_by_name<B: Backend>() {
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
    let told = format!("shard shardId-000000000099 of stream {:?}", backend.stream());
    assert!(error.to_string().starts_with(&told), "{error}");
}

/// Makes a test of one claim each, in a module that is named after the backend.
#[macro_export]
macro_rules! stream_contract_claims {
    ($module:ident, $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test]
            async fn $claim() {
                $crate::stream_contract::$claim::<$backend>().await;
            })+
        }
    };
}

/// The whole contract as tests: `stream_contract! { in_memory = super::Memory }`.
#[macro_export]
macro_rules! stream_contract {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $($crate::stream_contract_claims! { $module, $backend:
            all_shards_are_listed_and_their_ranges_cover_the_key_space,
            a_listing_after_a_shard_has_the_later_ones_only,
            a_description_identifies_the_stream,
            records_come_in_order_and_whole,
            reading_after_a_record_begins_with_the_next,
            reading_at_a_timestamp_misses_no_record_that_arrived_then_or_later,
            reading_past_the_last_record_gives_nothing_old,
            arrival_times_have_milliseconds,
            the_first_record_of_a_new_shard_arrives_by_the_clock,
            a_page_that_leaves_records_says_that_it_is_behind,
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
