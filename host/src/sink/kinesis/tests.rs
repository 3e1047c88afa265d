use std::time::Duration;

use host_core::batching::{Outcome, Setback};
use host_core::patience::Trouble;
use host_core::shard::ShardId;

use super::*;
use crate::config::{BuiltinConverter, Converter, SinkBatch, StreamArn};
use crate::entry::hash_key;
use crate::source::classify::SourceErrorKind;
use crate::source::memory::{Call, MemoryStream};

const RETRY: RetryLimits =
    RetryLimits { max_attempts: 7, min_delay: Duration::from_millis(300), max_delay: Duration::from_secs(1) };

fn config() -> KinesisSink {
    KinesisSink {
        stream: StreamArn::parse("arn:aws:kinesis:us-east-1:000000000000:stream/quakes").expect("well formed"),
        converter: Converter::Builtin(BuiltinConverter::Passthrough),
        order: SinkOrder::PerKey,
        fail_on_error: false,
        max_records_per_second: Some(1000.0),
        max_bytes_per_second: Some(1_048_576),
        batch: SinkBatch {
            max_count: 500,
            max_bytes: 5 * 1_048_576,
            max_record_bytes: None,
            max_age: Duration::from_secs(5),
            max_in_flight: 50,
            max_buffered: 10_000,
            max_buffered_bytes: 64 * 1_048_576,
            request_timeout: Duration::from_secs(10),
            fail_on_timeout: false,
            max_attempts: None,
            max_entry_age: None,
        },
    }
}

async fn open_as(stream: &MemoryStream, config: &KinesisSink) -> Result<(KinesisTarget, Options), SinkError> {
    let stream = Arc::new(stream.clone().as_target());
    let opening = Opening { sink: "strong".to_owned(), retry: RETRY, health: Arc::default(), clock: Clock::start() };
    KinesisTarget::open(Arc::clone(&stream) as Arc<dyn StreamApi>, stream, config, opening).await
}

async fn open(stream: &MemoryStream) -> KinesisTarget {
    open_as(stream, &config()).await.expect("it opens").0
}

fn entry(key: &str) -> KinesisEntry {
    KinesisEntry { partition_key: key.to_owned(), explicit_hash_key: None, data: vec![7; 10] }
}

async fn write(target: &KinesisTarget, keys: &[&str]) -> Result<Written, WriteError> {
    target.write(keys.iter().map(|key| Arc::new(entry(key))).collect()).await
}

fn destination(target: &KinesisTarget, key: &str) -> Destination {
    target.facts(&entry(key)).expect("a good entry").destination
}

/// ORD-1: whichever shard an explicit hash key names.
#[tokio::test]
async fn an_entry_goes_where_its_hash_says_and_is_ordered_by_its_partition_key() {
    let stream = MemoryStream::new("quakes", 4);
    let target = open(&stream).await;
    let mut seen: BTreeMap<Destination, ShardId> = BTreeMap::new();
    for number in 0..50 {
        let key = format!("ключ-{number}");
        let facts = target.facts(&entry(&key)).expect("a good entry");
        assert_eq!((facts.key.as_slice(), facts.bytes), (key.as_bytes(), (key.len() + 10) as u64));
        let shard = stream.put(&key, b"").shard;
        assert_eq!(*seen.entry(facts.destination).or_insert_with(|| shard.clone()), shard, "one number for each shard");
    }
    assert_eq!(seen.len(), 4);
    let sent_elsewhere = KinesisEntry { explicit_hash_key: Some(!hash_key("ключ-1")), ..entry("ключ-1") };
    let facts = target.facts(&sent_elsewhere).expect("a good entry");
    assert_eq!(
        (facts.key.as_slice(), facts.bytes),
        ("ключ-1".as_bytes(), 20),
        "the key orders, the hash key weighs nothing"
    );
    assert_ne!(facts.destination, destination(&target, "ключ-1"));
}

#[tokio::test]
async fn what_can_never_be_written_is_refused_in_a_clause_without_its_payload() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    let refused = |key: &str, data: usize| {
        target.facts(&KinesisEntry { data: vec![7; data], ..entry(key) }).expect_err("it never can be")
    };
    assert_eq!(refused("", 1), "its partition key is empty, and a stream takes 1 to 256 characters");
    for key in ["k", "ü", "🌋"] {
        let (longest, longer) = (key.repeat(256), key.repeat(257));
        assert!(target.facts(&entry(&longest)).is_ok(), "characters count, not bytes");
        assert_eq!(refused(&longer, 1), "its partition key has 257 characters, and a stream takes 1 to 256");
    }
    assert!(target.facts(&KinesisEntry { data: vec![7; 1_048_574], ..entry("ü") }).is_ok());
    assert_eq!(
        refused("ü", 1_048_575),
        "its data and partition key are 1048577 bytes, and the limit is 1048576 (max_record_bytes)"
    );
}

#[tokio::test]
async fn an_entry_is_known_by_the_beginning_of_its_key() {
    let target = open(&MemoryStream::new("quakes", 1)).await;
    let name = |key: &str| target.name(&entry(key));
    assert_eq!(name("ü\n1"), "ü 1");
    assert_eq!(name(&"ü".repeat(64)), "ü".repeat(64));
    assert_eq!(name(&"ü".repeat(65)), format!("{}…", "ü".repeat(63)));
}

#[tokio::test]
async fn every_shard_has_the_quota_of_the_manifest_and_none_if_that_is_unlimited() {
    let stream = MemoryStream::new("quakes", 2);
    let target = open(&stream).await;
    let quota = Quota { records_per_second: 1000.0, bytes_per_second: 1_048_576.0 };
    assert_eq!(target.news(), [(Destination(1), Some(quota)), (Destination(2), Some(quota))]);
    assert_eq!(target.news(), [], "once");
    let unlimited = KinesisSink { max_records_per_second: None, max_bytes_per_second: None, ..config() };
    let (target, _) = open_as(&stream, &unlimited).await.expect("it opens");
    assert_eq!(target.news(), []);
    let bytes_only = KinesisSink { max_records_per_second: None, ..config() };
    let (target, _) = open_as(&stream, &bytes_only).await.expect("it opens");
    let [(_, Some(quota)), _] = target.news()[..] else { panic!("two shards") };
    assert!(quota.records_per_second > 1e9 && quota.records_per_second.is_finite());
}

#[tokio::test(start_paused = true)]
async fn a_split_is_learned_from_an_answer_with_one_listing_and_the_old_shard_is_told_closed() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    drop(target.news());
    let (before, lists) = (destination(&target, "a").0, 1);
    stream.split(&stream.shards()[0].id);
    assert_eq!(stream.calls(Call::ListShards), lists, "nothing is listed while nobody needs it");
    for _ in 0..20 {
        write(&target, &["a", "b", "c", "d", "e"]).await.expect("written");
    }
    stream.until_calls(Call::ListShards, lists + 1).await;
    while destination(&target, "a").0 == before {
        tokio::task::yield_now().await;
    }
    let news = target.news();
    let (opened, closed): (Vec<_>, Vec<_>) = news.into_iter().partition(|(_, quota)| quota.is_some());
    assert_eq!(opened.len(), 2);
    assert_eq!(closed, [(Destination(before), None)]);
    for number in 0..20 {
        let (key, shard) = (format!("key-{number}"), stream.put(&format!("key-{number}"), b"").shard);
        let index = stream.shards().iter().position(|other| other.id == shard).expect("it is one of them");
        assert_eq!(destination(&target, &key).0, before + u32::try_from(index).expect("few"));
    }
    for _ in 0..20 {
        write(&target, &["a", "b", "c", "d", "e"]).await.expect("written");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(stream.calls(Call::ListShards), lists + 1, "what is known is not asked for");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_may_not_list_writes_to_one_destination_and_asks_less_and_less() {
    let stream = MemoryStream::new("quakes", 4);
    stream.fail_next(Call::ListShards, None, "AccessDeniedException", u32::MAX);
    let target = open(&stream).await;
    assert_eq!(target.news(), []);
    for key in ["a", "b", "c", "d"] {
        assert_eq!(destination(&target, key), ANYWHERE);
    }
    for _ in 0..3600 {
        let written = write(&target, &["a", "b", "c", "d"]).await.expect("written");
        assert_eq!(written.outcomes, [const { Outcome::Done }; 4]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let calls = stream.calls(Call::ListShards);
    assert!((10..=25).contains(&calls), "{calls} in an hour");
    stream.mend();
    for _ in 0..600 {
        write(&target, &["a"]).await.expect("written");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_ne!(destination(&target, "a"), ANYWHERE, "the permission came");
    assert_eq!(target.news().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lags_is_made_again_until_it_tells_the_shard_that_was_named() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    let before = destination(&target, "a");
    let children = stream.split(&stream.shards()[0].id);
    stream.leave_unlisted(children);
    for _ in 0..60 {
        write(&target, &["a", "b", "c", "d", "e"]).await.expect("written");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let calls = stream.calls(Call::ListShards);
    assert!((3..=6).contains(&calls), "{calls} in a minute");
    assert_ne!(destination(&target, "a"), before, "the parent is told closed, at least");
    stream.leave_unlisted([]);
    for _ in 0..120 {
        write(&target, &["a", "b", "c", "d", "e"]).await.expect("written");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_ne!(destination(&target, "a"), ANYWHERE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_places_records_by_itself_is_one_destination_and_is_not_listed() {
    let stream = MemoryStream::new("quakes", 4);
    stream.place_by_key(false);
    let target = open(&stream).await;
    assert!(["a", "b", "c"].into_iter().all(|key| destination(&target, key) == ANYWHERE));
    write(&target, &["a", "b", "c"]).await.expect("written");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(stream.calls(Call::ListShards), 0);
}

#[tokio::test]
async fn a_target_that_is_dropped_lets_its_stream_go() {
    let stream = Arc::new(MemoryStream::new("quakes", 1));
    let opening = Opening { sink: "strong".to_owned(), retry: RETRY, health: Arc::default(), clock: Clock::start() };
    let api = Arc::clone(&stream) as Arc<dyn StreamApi>;
    let (target, _) =
        KinesisTarget::open(api, Arc::clone(&stream) as Arc<dyn PutApi>, &config(), opening).await.expect("it opens");
    assert!(Arc::strong_count(&stream) > 1);
    drop(target);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&stream), 1);
}

#[tokio::test]
async fn each_entry_has_its_own_outcome_and_codes_are_counted() {
    let stream = MemoryStream::new("quakes", 2);
    let target = open(&stream).await;
    let keys: Vec<String> = (0..8).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let of_first: Vec<bool> = keys.iter().map(|key| destination(&target, key).0 == 1).collect();
    let first = stream.shards()[0].id.clone();
    for (code, outcome) in [
        ("ProvisionedThroughputExceededException", Outcome::Retry(Setback::Throttled)),
        ("KMSThrottlingException", Outcome::Retry(Setback::Throttled)),
        ("InternalFailure", Outcome::Retry(Setback::Failed)),
        ("ServiceUnavailable", Outcome::Retry(Setback::Failed)),
        ("NeverHeardOfException", Outcome::Retry(Setback::Failed)),
        ("KMSDisabledException", Outcome::Retry(Setback::Failed)),
        ("ValidationException", Outcome::Poison("ValidationException: scripted".to_owned())),
    ] {
        stream.fail_next(Call::PutEntry, Some(&first), code, u32::MAX);
        let written = write(&target, &keys).await.expect("the other shard takes its entries");
        let wanted: Vec<_> =
            of_first.iter().map(|of_first| if *of_first { outcome.clone() } else { Outcome::Done }).collect();
        assert_eq!(written.outcomes, wanted, "{code}");
        let count = of_first.iter().filter(|of_first| **of_first).count();
        assert_eq!(written.codes, [(code.to_owned(), count as u64)]);
        stream.mend();
    }
}

#[tokio::test]
async fn entries_that_are_all_refused_for_what_is_nobodys_own_are_a_refused_request() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    stream.fail_next(Call::PutEntry, None, "KMSDisabledException", 2);
    let Err(WriteError::Trouble(Trouble::Denied, error)) = write(&target, &["a", "b"]).await else {
        panic!("nothing was taken")
    };
    assert!(error.to_string().contains("cannot be encrypted"), "{error}");
    assert!(error.advice().contains("kms:GenerateDataKey"), "{error}");
    assert_eq!(stream.written().len(), 0);
}

#[tokio::test]
async fn a_request_that_is_refused_says_what_that_asks_for() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    for (code, trouble) in [
        ("ProvisionedThroughputExceededException", Trouble::Throttled),
        ("KMSThrottlingException", Trouble::Throttled),
        ("ThrottlingException", Trouble::Throttled),
        ("InternalFailure", Trouble::Transient),
        ("ServiceUnavailable", Trouble::Transient),
        ("ResourceInUseException", Trouble::Contended),
        ("AccessDeniedException", Trouble::Denied),
        ("ExpiredTokenException", Trouble::Denied),
        ("KMSAccessDeniedException", Trouble::Denied),
        ("KMSInvalidStateException", Trouble::Denied),
        ("KMSNotFoundException", Trouble::Denied),
        ("KMSOptInRequired", Trouble::Denied),
        ("UnknownOperationException", Trouble::Unreachable),
    ] {
        stream.fail_next(Call::PutRecords, None, code, 1);
        let refused = write(&target, &["a"]).await.expect_err("scripted");
        assert!(matches!(&refused, WriteError::Trouble(of, _) if *of == trouble), "{code}: {refused:?}");
        assert!(!refused.source().to_string().contains("read"), "{}", refused.source());
    }
    for code in ["ValidationException", "InvalidArgumentException"] {
        stream.fail_next(Call::PutRecords, None, code, 1);
        let refused = write(&target, &["a"]).await.expect_err("scripted");
        assert!(matches!(refused, WriteError::Rejected(_)), "{code}: {refused:?}");
    }
    for code in ["DryRunOperationException", "NewException", "ResourceNotFoundException"] {
        stream.fail_next(Call::PutRecords, None, code, 1);
        let refused = write(&target, &["a"]).await.expect_err("scripted");
        assert!(matches!(refused, WriteError::Fatal(_)), "{code}: {refused:?}");
    }
}

async fn unopened(stream: &MemoryStream) -> String {
    open_as(stream, &config()).await.expect_err("it does not open").to_string()
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_written_to_ends_the_start_in_its_own_words() {
    let stream = MemoryStream::new("quakes", 1);
    for status in [StreamStatus::Creating, StreamStatus::Deleting] {
        stream.become_status(status);
        let said = unopened(&stream).await;
        let target = "sink \"strong\": stream arn:aws:kinesis:us-east-1:000000000000:stream/quakes is neither active";
        assert!(said.starts_with(target), "{said}");
    }
    stream.become_status(StreamStatus::Updating);
    open(&stream).await;
    stream.fail_next(Call::Describe, None, "AccessDeniedException", 1);
    let denied = unopened(&stream).await;
    assert!(denied.starts_with("sink \"strong\": stream \"quakes\" may not be written to in us-east-1"), "{denied}");
    assert!(denied.contains("grant kinesis:PutRecords"), "{denied}");
    stream.fail_next(Call::Describe, None, "InternalFailure", RETRY.max_attempts - 1);
    open(&stream).await;
    stream.fail_next(Call::Describe, None, "InternalFailure", RETRY.max_attempts);
    assert!(unopened(&stream).await.contains("is not served right now"));
    stream.delete();
    let missing = unopened(&stream).await;
    assert!(missing.starts_with("sink \"strong\": stream \"quakes\" does not exist in us-east-1"), "{missing}");
}

/// BAT-1: whatever the manifest says.
#[tokio::test]
async fn options_are_those_of_the_manifest_within_what_stream_and_service_take() {
    const MIB: u64 = 1_048_576;
    let stream = MemoryStream::new("quakes", 1);
    let options = |config: &KinesisSink, of_stream: Option<u64>| {
        let (config, stream) = (config.clone(), stream.clone());
        async move {
            let description = stream.describe().await.expect("described");
            let options = options(&config, &StreamDescription { max_record_bytes: of_stream, ..description }, RETRY);
            options.check().expect("they can be kept");
            options
        }
    };
    let usual = options(&config(), None).await;
    assert_eq!((usual.max_bytes, usual.max_record_bytes, usual.max_count), (5 * MIB, MIB, 500));
    assert_eq!((usual.order, usual.retry, usual.quota), (Order::PerKey, RETRY, None));
    let large = options(&config(), Some(10 * MIB)).await;
    assert_eq!(
        (large.max_bytes, large.max_record_bytes),
        (10 * MIB, 10 * MIB),
        "the largest record fits into a request"
    );
    let with = |change: &dyn Fn(&mut SinkBatch)| {
        let mut config = KinesisSink { order: SinkOrder::None, ..config() };
        change(&mut config.batch);
        config
    };
    let small = options(&with(&|batch| (batch.max_bytes, batch.max_record_bytes) = (100, Some(2500))), Some(MIB)).await;
    assert_eq!((small.max_bytes, small.max_record_bytes, small.order), (2500, 2500, Order::Free));
    let greedy = options(&with(&|batch| (batch.max_bytes, batch.max_count) = (64 * MIB, 5000)), None).await;
    assert_eq!((greedy.max_bytes, greedy.max_count), (10 * MIB, 500));
}

#[tokio::test]
async fn a_missing_stream_ends_writing_and_is_named() {
    let stream = MemoryStream::new("quakes", 1);
    let target = open(&stream).await;
    stream.delete();
    let Err(WriteError::Fatal(error)) = write(&target, &["a"]).await else { panic!("no stream") };
    assert_eq!(error.kind, SourceErrorKind::StreamGone);
    assert!(error.to_string().contains("stream \"quakes\" does not exist"), "{error}");
}
