//! What every [`PutApi`] owes its writers. A backend that cannot keep a claim has an entry in the one list of
//! [deviations](crate::deviations). [`crate::put_contract!`] makes a test of each claim.

use std::future::Future;
use std::sync::Arc;

use host::columns::RecordColumns;
use host::entry::KinesisEntry;
use host::ports::{Put, PutApi, StreamApi};
use host::sink::kinesis::{PARTITION_KEY_CHARS_MAX, RECORD_BYTES_USUAL, REQUEST_BYTES_MAX, REQUEST_ENTRIES_MAX};
use host::source::classify::{SourceError, SourceErrorKind};
use host_core::batching::{Outcome, Setback};
use host_core::shard::{Position, ShardDescription, ShardId};

use crate::deviations::{BackendName, Difference, judge};
use crate::stream_contract::{range, records_in};

/// What the shards of a stream take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// Anything.
    Any,
    /// 1 MiB a second each.
    OfAShard,
}

/// A stream under test.
pub trait PutBackend: Sized {
    /// What the list of deviations calls it.
    const NAME: BackendName;

    /// A stream with open shards and no records.
    fn start(shards: u32, rates: Rates) -> impl Future<Output = Self>;
    /// The stream to be written to.
    fn put(&self) -> &dyn PutApi;
    /// The same to be read from.
    fn stream(&self) -> &dyn StreamApi;
    /// The same service, asked for the stream `missing`, which it does not have.
    fn of_missing_stream(&self) -> impl Future<Output = Arc<dyn PutApi>>;
}

fn entry(partition_key: &str, data: Vec<u8>) -> Arc<KinesisEntry> {
    Arc::new(KinesisEntry { partition_key: partition_key.to_owned(), explicit_hash_key: None, data })
}

fn at(hash: u128, partition_key: &str, data: Vec<u8>) -> Arc<KinesisEntry> {
    let explicit_hash_key = Some(hash);
    Arc::new(KinesisEntry { partition_key: partition_key.to_owned(), explicit_hash_key, data })
}

/// An entry of so many bytes, key included.
fn of_bytes(bytes: u64) -> Arc<KinesisEntry> {
    let key = "grüße";
    entry(key, vec![7; usize::try_from(bytes).expect("small") - key.len()])
}

fn owner(shards: &[ShardDescription], entry: &KinesisEntry) -> ShardId {
    let hash = entry.hash_key();
    let owns = |shard: &&ShardDescription| range(shard).start <= hash && hash <= range(shard).end;
    shards.iter().find(owns).expect("ranges cover the key space").id.clone()
}

async fn shards(backend: &impl PutBackend) -> Vec<ShardDescription> {
    backend.stream().list_shards(None).await.expect("a listing")
}

/// The records of a shard, in order.
async fn stored(backend: &impl PutBackend, shard: &ShardId) -> Vec<(String, Vec<u8>)> {
    let api = backend.stream();
    let mut iterator = api.open(shard, &Position::TrimHorizon).await.expect("an iterator");
    let mut records = Vec::new();
    loop {
        let page = api.read(shard, &iterator, 10_000).await.expect("a page");
        if page.batches.iter().all(RecordColumns::is_empty) {
            return records;
        }
        records.extend(records_in(&page.batches));
        iterator = page.next.expect("the shard is open");
    }
}

async fn stored_anywhere(backend: &impl PutBackend) -> usize {
    let mut count = 0;
    for shard in shards(backend).await {
        count += stored(backend, &shard.id).await.len();
    }
    count
}

async fn put(backend: &impl PutBackend, entries: &[Arc<KinesisEntry>]) -> Result<Vec<Put>, SourceError> {
    backend.put().put_records(entries).await
}

async fn is_taken(backend: &impl PutBackend, entries: &[Arc<KinesisEntry>]) -> bool {
    match put(backend, entries).await {
        Ok(puts) => {
            assert_eq!(puts.len(), entries.len());
            assert!(puts.iter().all(|put| put.outcome == Outcome::Done), "{puts:?}");
            true
        }
        Err(error) => {
            assert_eq!(error.kind, SourceErrorKind::Rejected, "{error}");
            false
        }
    }
}

/// Claims that answers come in the order of the entries and that records land where their hash says.
///
/// # Panics
/// It does not hold.
pub async fn answers_come_in_order_and_records_land_where_their_hash_says<B: PutBackend>() {
    let backend = B::start(4, Rates::Any).await;
    let shards = shards(&backend).await;
    let entries: Vec<_> =
        (0..120).map(|number| entry(&format!("schlüssel-{}", number % 17), number.to_string().into())).collect();
    let puts = put(&backend, &entries).await.expect("written");
    let told: Vec<_> = puts.iter().map(|put| (put.outcome.clone(), put.shard.clone(), put.code.clone())).collect();
    let wanted: Vec<_> = entries.iter().map(|entry| (Outcome::Done, Some(owner(&shards, entry)), None)).collect();
    assert_eq!(told, wanted);
    for shard in &shards {
        let wanted: Vec<_> = entries
            .iter()
            .filter(|entry| owner(&shards, entry) == shard.id)
            .map(|entry| (entry.partition_key.clone(), entry.data.clone()))
            .collect();
        assert!(!wanted.is_empty(), "seventeen keys reach four shards");
        assert_eq!(stored(&backend, &shard.id).await, wanted, "{}", shard.id);
    }
}

/// Claims that an explicit hash key wins over the partition key, at both ends of every range.
///
/// # Panics
/// It does not hold.
pub async fn an_explicit_hash_key_wins_at_both_ends_of_every_range<B: PutBackend>() {
    let backend = B::start(3, Rates::Any).await;
    for shard in shards(&backend).await {
        let ends = [range(&shard).start, range(&shard).end];
        let entries = ends.map(|hash| at(hash, "one key", hash.to_string().into()));
        let puts = put(&backend, &entries).await.expect("written");
        assert!(puts.iter().all(|put| put.shard.as_ref() == Some(&shard.id)), "{puts:?}");
        let wanted = ends.map(|hash| ("one key".to_owned(), hash.to_string().into_bytes()));
        assert_eq!(stored(&backend, &shard.id).await, wanted);
    }
}

/// Claims that a partition key has 256 characters of any script, and no more.
///
/// # Panics
/// It does not hold.
pub async fn a_partition_key_has_256_characters_of_any_script<B: PutBackend>() {
    let backend = B::start(1, Rates::Any).await;
    let shard = shards(&backend).await.remove(0);
    let keys = ["k", "ü", "🌋"].map(|character| character.repeat(PARTITION_KEY_CHARS_MAX));
    assert!(is_taken(&backend, &[entry(&keys[0], vec![1])]).await);
    let takes_two_bytes = is_taken(&backend, &[entry(&keys[1], vec![1])]).await;
    judge(B::NAME, Difference::CountsBytesOfKeys, !takes_two_bytes, &keys[1]);
    let takes_four_bytes = is_taken(&backend, &[entry(&keys[2], vec![1])]).await;
    judge(B::NAME, Difference::CountsUnitsOfKeys, takes_two_bytes && !takes_four_bytes, &keys[2]);
    let before = stored(&backend, &shard.id).await;
    assert_eq!(before[0].0, keys[0]);
    let with_another = |wrong: String| [entry("good", vec![2]), entry(&wrong, vec![3])];
    assert!(!is_taken(&backend, &with_another("k".repeat(PARTITION_KEY_CHARS_MAX + 1))).await);
    let is_none_taken = is_taken(&backend, &with_another(String::new())).await;
    judge(B::NAME, Difference::TakesEmptyKeys, is_none_taken, &is_none_taken);
    if is_none_taken {
        return;
    }
    assert_eq!(stored(&backend, &shard.id).await, before, "a request that is refused writes nothing");
}

/// Claims that a record holds a mebibyte with its key, and not a byte more.
///
/// # Panics
/// It does not hold.
pub async fn a_record_holds_a_mebibyte_with_its_key_and_not_a_byte_more<B: PutBackend>() {
    let backend = B::start(1, Rates::Any).await;
    assert!(is_taken(&backend, &[of_bytes(RECORD_BYTES_USUAL)]).await);
    let is_more_taken = is_taken(&backend, &[of_bytes(RECORD_BYTES_USUAL + 1)]).await;
    judge(B::NAME, Difference::CountsNoKeys, is_more_taken, &is_more_taken);
    assert_eq!(stored_anywhere(&backend).await, 1 + usize::from(is_more_taken));
}

/// Claims that a request holds ten mebibytes with its keys, and not a byte more.
///
/// # Panics
/// It does not hold.
pub async fn a_request_holds_ten_mebibytes_with_its_keys_and_not_a_byte_more<B: PutBackend>() {
    let backend = B::start(1, Rates::Any).await;
    let full =
        |bytes: u64| -> Vec<_> { (0..bytes / RECORD_BYTES_USUAL).map(|_| of_bytes(RECORD_BYTES_USUAL)).collect() };
    let is_full_taken = is_taken(&backend, &full(REQUEST_BYTES_MAX)).await;
    judge(B::NAME, Difference::TakesHalfARequest, !is_full_taken, &is_full_taken);
    let bytes_max = if is_full_taken { REQUEST_BYTES_MAX } else { REQUEST_BYTES_MAX / 2 };
    assert!(is_full_taken || is_taken(&backend, &full(bytes_max)).await);
    // One byte moves from the last record into a key of its own, and one more comes.
    let mut more = full(bytes_max);
    more.pop();
    more.extend([of_bytes(RECORD_BYTES_USUAL - 1), entry("k", vec![7])]);
    let is_more_taken = is_taken(&backend, &more).await;
    judge(B::NAME, Difference::TakesMoreThanARequest, is_more_taken, &is_more_taken);
}

/// Claims that a request holds five hundred records.
///
/// # Panics
/// It does not hold.
pub async fn a_request_holds_five_hundred_records<B: PutBackend>() {
    let backend = B::start(2, Rates::Any).await;
    let entries: Vec<_> = (0..=REQUEST_ENTRIES_MAX).map(|number| entry(&number.to_string(), vec![1])).collect();
    assert!(is_taken(&backend, &entries[1..]).await);
    assert_eq!(stored_anywhere(&backend).await, REQUEST_ENTRIES_MAX);
    let is_more_taken = is_taken(&backend, &entries).await;
    judge(B::NAME, Difference::TakesAnyCount, is_more_taken, &is_more_taken);
}

/// Claims that a missing stream is told by its name.
///
/// # Panics
/// It does not hold.
pub async fn a_missing_stream_is_told_by_its_name<B: PutBackend>() {
    let backend = B::start(1, Rates::Any).await;
    let missing = backend.of_missing_stream().await;
    let error = missing.put_records(&[entry("key", vec![1])]).await.expect_err("no stream");
    assert_eq!(error.kind, SourceErrorKind::StreamGone, "{error}");
    assert!(error.to_string().starts_with("stream \"missing\" does not exist in us-east-1"), "{error}");
    assert_eq!(error.operation, "PutRecords");
}

/// Claims that what a shard does not take is thrown back and everything else is taken.
///
/// # Panics
/// It does not hold.
pub async fn what_a_shard_does_not_take_is_thrown_back_and_the_rest_is_taken<B: PutBackend>() {
    let backend = B::start(2, Rates::OfAShard).await;
    let shards = shards(&backend).await;
    let [busy, idle] = [0, 1].map(|index| range(&shards[index]).start);
    let large = |number: u8| at(busy, "busy", vec![number; 300_000]);
    let entries =
        [large(0), large(1), at(idle, "idle", vec![9]), large(2), large(3), at(idle, "idle", vec![9]), large(4)];
    let puts = put(&backend, &entries).await.expect("some are written");
    let outcomes: Vec<_> = puts.iter().map(|put| put.outcome.clone()).collect();
    let takes_all = outcomes.iter().all(|outcome| *outcome == Outcome::Done);
    judge(B::NAME, Difference::TakesAnyRate, takes_all, &outcomes);
    if takes_all {
        return;
    }
    let (done, thrown) = (Outcome::Done, Outcome::Retry(Setback::Throttled));
    assert_eq!(outcomes, [&done, &done, &done, &done, &thrown, &done, &thrown].map(Clone::clone));
    let codes: Vec<_> = puts.iter().filter_map(|put| put.code.as_deref()).collect();
    assert_eq!(codes, ["ProvisionedThroughputExceededException"; 2]);
    assert!(puts.iter().all(|put| put.shard.is_some() == (put.outcome == Outcome::Done)), "{puts:?}");
    let written: Vec<u8> = stored(&backend, &shards[0].id).await.iter().map(|(_, data)| data[0]).collect();
    assert_eq!(written, [0, 1, 2]);
    assert_eq!(stored(&backend, &shards[1].id).await.len(), 2);
}

/// The whole contract as tests: `put_contract! { in_memory = super::Memory }`.
#[macro_export]
macro_rules! put_contract {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $($crate::put_contract_claims! { $module, $backend:
            answers_come_in_order_and_records_land_where_their_hash_says,
            an_explicit_hash_key_wins_at_both_ends_of_every_range,
            a_partition_key_has_256_characters_of_any_script,
            a_record_holds_a_mebibyte_with_its_key_and_not_a_byte_more,
            a_request_holds_ten_mebibytes_with_its_keys_and_not_a_byte_more,
            a_request_holds_five_hundred_records,
            a_missing_stream_is_told_by_its_name,
            what_a_shard_does_not_take_is_thrown_back_and_the_rest_is_taken,
        })+
    };
}

/// Makes a test of one claim each, in a module that is named after the backend.
#[macro_export]
macro_rules! put_contract_claims {
    ($module:ident, $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test]
            async fn $claim() {
                $crate::put_contract::$claim::<$backend>().await;
            })+
        }
    };
}
