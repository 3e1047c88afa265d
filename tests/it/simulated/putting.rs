//! A stream as the target of a sink, below the engine: what goes over the wire and what is made of the answers.

use std::sync::Arc;
use std::time::Duration;

use host::aws::AwsSettings;
use host::clock::Clock as HostClock;
use host::config::{BuiltinConverter, Converter, KinesisSink, SinkBatch, SinkOrder, StreamArn};
use host::entry::KinesisEntry;
use host::ports::{SinkError, StreamApi};
use host::sink::batched::{Batched as _, WriteError};
use host::sink::kinesis::{KinesisTarget, Opening};
use host::source::classify::SourceErrorKind;
use host::source::kinesis::KinesisStream;
use host_core::batching::{Destination, Options, Outcome, Setback};
use host_core::patience::{RetryLimits, Trouble};
use tests::simulated::{Clock, Encryption, Fault, Limits, Setup, SimulatedAws};

const STREAM: &str = "quakes";
const FIRST: &str = "shardId-000000000000";

fn config(arn: &str) -> KinesisSink {
    KinesisSink {
        stream: StreamArn::parse(arn).expect("well formed"),
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

async fn open_at(settings: &AwsSettings, arn: &str) -> Result<(KinesisTarget, Options), SinkError> {
    let config = config(arn);
    let stream = Arc::new(KinesisStream::connect(config.stream.clone(), settings).await.as_target());
    let opening = Opening {
        sink: "strong".to_owned(),
        retry: RetryLimits {
            max_attempts: 3,
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
        },
        health: Arc::default(),
        clock: HostClock::start(),
    };
    KinesisTarget::open(Arc::clone(&stream) as Arc<dyn StreamApi>, stream, &config, opening).await
}

async fn open(aws: &SimulatedAws) -> KinesisTarget {
    open_at(&aws.settings(), &aws.kinesis().arn(STREAM)).await.expect("it opens").0
}

/// A stream at a time that stands still, and the target that it is.
async fn target(shards: u32, limits: Limits) -> (SimulatedAws, KinesisTarget) {
    let clock = Clock::frozen_at(1_800_000_000_000);
    let aws = SimulatedAws::start_with(Setup { clock, limits, seed: 1 }).await;
    aws.kinesis().create(STREAM, shards);
    let target = open(&aws).await;
    (aws, target)
}

fn entry(key: &str, data: impl Into<Vec<u8>>) -> Arc<KinesisEntry> {
    Arc::new(KinesisEntry { partition_key: key.to_owned(), explicit_hash_key: None, data: data.into() })
}

/// BAT-1: against a service that counts by itself.
#[tokio::test]
async fn what_an_entry_weighs_is_what_the_service_counts_whatever_its_key_and_data() {
    let (aws, target) = target(3, Limits::any_rate()).await;
    let keys = ["k", "ü", "🌋", "ключ", "a\u{0301}", "\u{0}\"\\", "東京"];
    let entries: Vec<_> = (0..300_usize)
        .map(|number| {
            let key = keys[number % keys.len()].repeat(1 + number % 36);
            let explicit_hash_key = (number % 5 == 0).then_some(u128::MAX / 300 * number as u128);
            Arc::new(KinesisEntry { partition_key: key, explicit_hash_key, data: vec![number as u8; number * 7 % 256] })
        })
        .collect();
    let facts: Vec<_> = entries.iter().map(|entry| target.facts(entry).expect("a good entry")).collect();
    let written = target.write(entries.clone()).await.expect("written");
    assert!(written.outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    let truth = aws.kinesis().truth(STREAM);
    let records: Vec<_> = truth.records().map(|(record, _)| record).collect();
    let counted: Vec<u64> = records.iter().map(|record| record.size()).collect();
    let weighed: Vec<u64> = facts.iter().map(|facts| facts.bytes).collect();
    assert_eq!(weighed, counted);
    for (facts, record) in facts.iter().zip(records) {
        assert_eq!(facts.key, record.key.as_bytes());
        // Shards are numbered in the order of the listing, from 1.
        assert_eq!(facts.destination, Destination(record.shard + 1));
    }
}

#[tokio::test]
async fn a_request_names_the_stream_by_its_arn_and_sends_records_as_they_are() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    let hashed = KinesisEntry { explicit_hash_key: Some(u128::MAX), ..(*entry("grüße", vec![0, 255])).clone() };
    target.write(vec![entry("k", "data"), Arc::new(hashed)]).await.expect("written");
    let requests = aws.counted(|counted| counted.requests("PutRecords"));
    let input = &requests[0].input;
    assert_eq!(input["StreamARN"], aws.kinesis().arn(STREAM));
    assert!(input.get("StreamName").is_none(), "{input}");
    assert_eq!(input["Records"][0].get("ExplicitHashKey"), None);
    assert_eq!(input["Records"][1]["ExplicitHashKey"], u128::MAX.to_string());
    assert_eq!((&input["Records"][1]["PartitionKey"], &input["Records"][1]["Data"]), (&"grüße".into(), &"AP8=".into()));
}

#[tokio::test]
async fn a_hundred_and_fifty_records_of_2500_bytes_are_taken_by_the_limits_of_a_shard() {
    let (aws, target) = target(1, Limits::aws()).await;
    for request in 0..8 {
        let entries = (0..20).map(|number| entry("k", vec![request * 20 + number; 2_499])).collect();
        let written = target.write(entries).await.expect("written");
        assert_eq!(written.outcomes, [const { Outcome::Done }; 20]);
    }
    assert_eq!(aws.kinesis().truth(STREAM).len(), 160);
}

#[tokio::test]
async fn a_busy_shard_throws_back_its_entries_and_no_others() {
    let (aws, target) = target(2, Limits::any_rate()).await;
    let codes = ["ProvisionedThroughputExceededException", "InternalFailure"];
    aws.kinesis().refuse_entries(STREAM, FIRST, codes[0], 3);
    aws.kinesis().refuse_entries(STREAM, FIRST, codes[1], 1);
    let entries: Vec<_> = (0..40).map(|number| entry(&format!("key-{number}"), "data")).collect();
    let of_first: Vec<bool> =
        entries.iter().map(|entry| target.facts(entry).expect("good").destination == Destination(1)).collect();
    let written = target.write(entries).await.expect("some are written");
    let [thrown, failed] = [Setback::Throttled, Setback::Failed].map(Outcome::Retry);
    let mut refused = vec![failed, thrown.clone(), thrown.clone(), thrown];
    let wanted: Vec<_> = of_first
        .iter()
        .map(|of_first| if *of_first { refused.pop().unwrap_or(Outcome::Done) } else { Outcome::Done })
        .collect();
    assert_eq!(written.outcomes, wanted);
    assert_eq!(written.codes, [(codes[1].to_owned(), 1), (codes[0].to_owned(), 3)]);
    assert_eq!(aws.kinesis().truth(STREAM).len(), 36);
}

#[tokio::test]
async fn a_split_is_seen_by_an_answer_and_entries_find_the_children() {
    let (aws, target) = target(2, Limits::any_rate()).await;
    assert_eq!(target.news().len(), 2);
    let entries: Vec<_> = (0..40).map(|number| entry(&format!("key-{number}"), "data")).collect();
    let numbers = |target: &KinesisTarget| -> Vec<u32> {
        entries.iter().map(|entry| target.facts(entry).expect("good").destination.0).collect()
    };
    let before = numbers(&target);
    aws.kinesis().split(STREAM, FIRST);
    let listed = aws.counted(|counted| counted.calls("ListShards"));
    target.write(entries.clone()).await.expect("written, map or no map");
    while numbers(&target) == before {
        aws.until_called("ListShards", listed + 1).await;
        tokio::task::yield_now().await;
    }
    let after = numbers(&target);
    assert!(before.iter().zip(&after).all(|(before, after)| (*before == 1) == (*after > 2)), "{before:?} {after:?}");
    let news = target.news();
    assert!(news.contains(&(Destination(1), None)), "{news:?}");
    assert_eq!(news.iter().filter(|(_, quota)| quota.is_some()).count(), 2);
    target.write(entries.clone()).await.expect("written");
    assert_eq!(aws.counted(|counted| counted.calls("ListShards")), listed + 1);
}

#[tokio::test]
async fn a_sink_that_may_not_list_writes_all_the_same() {
    let aws = SimulatedAws::start_generous().await;
    aws.kinesis().create(STREAM, 4);
    aws.faults().on("ListShards").inject(Fault::client("AccessDeniedException"));
    let target = open(&aws).await;
    let entries: Vec<_> = (0..40).map(|number| entry(&format!("key-{number}"), "data")).collect();
    assert!(entries.iter().all(|entry| target.facts(entry).expect("good").destination == Destination(0)));
    let written = target.write(entries).await.expect("written");
    assert!(written.outcomes.iter().all(|outcome| *outcome == Outcome::Done));
}

#[tokio::test]
async fn an_answer_that_is_lost_may_have_been_carried_out_and_one_that_was_refused_was_not() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    for (fault, written) in [
        (Fault::Cut { after: 0 }, 1),
        (Fault::Cut { after: 20 }, 1),
        (Fault::Garble, 1),
        (Fault::Disconnect, 0),
        (Fault::internal(), 0),
        (Fault::unavailable(), 0),
    ] {
        let before = aws.kinesis().truth(STREAM).len();
        aws.faults().on("PutRecords").times(1).inject(fault.clone());
        let error = target.write(vec![entry("k", "data")]).await.expect_err("a fault");
        assert!(matches!(error, WriteError::Trouble(Trouble::Transient, _)), "{fault:?}: {error:?}");
        assert_eq!(aws.kinesis().truth(STREAM).len() - before, written, "{fault:?}");
    }
    aws.faults().on("PutRecords").times(1).inject(Fault::Without("Records"));
    let error = target.write(vec![entry("k", "data")]).await.expect_err("no results");
    assert!(matches!(error, WriteError::Fatal(_)), "{error:?}");
}

#[tokio::test]
async fn a_service_that_is_not_there_any_more_has_nothing_of_the_request() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    drop(aws);
    let error = target.write(vec![entry("k", "data")]).await.expect_err("nobody listens");
    assert!(
        matches!(error, WriteError::Trouble(Trouble::Unreachable | Trouble::Transient, _)),
        "a connection that was kept may still take it: {error:?}"
    );
    let error = target.write(vec![entry("k", "data")]).await.expect_err("nobody listens");
    assert!(matches!(error, WriteError::Trouble(Trouble::Unreachable, _)), "{error:?}");
}

#[tokio::test]
async fn a_request_with_one_entry_that_is_wrong_is_rejected_and_nothing_of_it_is_written() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    let long = entry(&"k".repeat(257), "data");
    assert!(target.facts(&long).is_err(), "the sink never sends it");
    let error = target.write(vec![entry("good", "data"), long]).await.expect_err("refused");
    let WriteError::Rejected(error) = error else { panic!("{error:?}") };
    assert!(error.message.starts_with("ValidationException"), "{error}");
    assert!(error.to_string().contains("does not take what it is given"), "{error}");
    assert_eq!(aws.kinesis().truth(STREAM).len(), 0);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_and_a_caller_who_may_not_are_denied() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    for encryption in [Encryption::KmsAccessDenied, Encryption::KmsDisabled, Encryption::KmsNotFound] {
        aws.kinesis().encrypt(STREAM, encryption);
        let error = target.write(vec![entry("k", "data")]).await.expect_err("no key");
        assert!(matches!(error, WriteError::Trouble(Trouble::Denied, _)), "{error:?}");
        assert!(error.source().to_string().contains("cannot be encrypted"), "{}", error.source());
    }
    aws.kinesis().encrypt(STREAM, Encryption::KmsThrottling);
    let error = target.write(vec![entry("k", "data")]).await.expect_err("too fast");
    assert!(matches!(error, WriteError::Trouble(Trouble::Throttled, _)), "{error:?}");
    aws.kinesis().encrypt(STREAM, Encryption::Kms);
    aws.faults().on("PutRecords").times(1).inject(Fault::client("AccessDeniedException"));
    let error = target.write(vec![entry("k", "data")]).await.expect_err("denied");
    assert!(matches!(error, WriteError::Trouble(Trouble::Denied, _)), "{error:?}");
    assert!(error.source().advice().contains("grant kinesis:PutRecords"), "{}", error.source());
}

#[tokio::test]
async fn a_stream_that_goes_away_ends_writing_and_one_that_takes_larger_records_is_asked_how_large() {
    let (aws, target) = target(1, Limits::any_rate()).await;
    aws.kinesis().take_records_of(STREAM, 10_240);
    let (large, options) = open_at(&aws.settings(), &aws.kinesis().arn(STREAM)).await.expect("it opens");
    assert_eq!((options.max_record_bytes, options.max_bytes), (10_485_760, 10_485_760));
    let largest = entry("grüße", vec![7; 10_485_760 - "grüße".len()]);
    assert_eq!(large.facts(&largest).expect("it fits").bytes, 10_485_760);
    assert!(target.facts(&largest).is_err());
    large.write(vec![largest]).await.expect("written");
    aws.kinesis().delete(STREAM);
    let error = target.write(vec![entry("k", "data")]).await.expect_err("no stream");
    assert!(matches!(&error, WriteError::Fatal(error) if error.kind == SourceErrorKind::StreamGone), "{error:?}");
    assert!(error.source().to_string().starts_with("stream \"quakes\" does not exist in us-east-1"), "{error:?}");
}

#[tokio::test]
async fn each_way_not_to_start_has_words_of_its_own() {
    let aws = SimulatedAws::start_generous().await;
    let unopened = async |settings: &AwsSettings, arn: &str| {
        let error = open_at(settings, arn).await.expect_err("it does not open").to_string();
        assert!(error.starts_with("sink \"strong\": "), "{error}");
        error
    };
    let arn = |region: &str| format!("arn:aws:kinesis:{region}:000000000000:stream/{STREAM}");
    let missing = unopened(&aws.settings(), &arn("us-east-1")).await;
    assert!(missing.contains("stream \"quakes\" does not exist in us-east-1"), "{missing}");
    aws.kinesis().create(STREAM, 1);
    let elsewhere = AwsSettings { region: "eu-west-1".to_owned(), ..aws.settings() };
    let wrong_region = unopened(&elsewhere, &arn("eu-west-1")).await;
    assert!(wrong_region.contains("stream \"quakes\" does not exist in eu-west-1"), "{wrong_region}");
    assert!(wrong_region.contains("check stream_arn: its name, region and account"), "{wrong_region}");
    let unknown = unopened(&AwsSettings::local("us-east-1", "http://no-such-host.invalid"), &arn("us-east-1")).await;
    assert!(unknown.contains("the host's name is unknown"), "{unknown}");
    let no_scheme = unopened(&AwsSettings::local("us-east-1", "127.0.0.1:4567"), &arn("us-east-1")).await;
    assert!(no_scheme.contains("no request can be made of the settings"), "{no_scheme}");
    aws.faults().on("DescribeStreamSummary").times(1).inject(Fault::client("AccessDeniedException"));
    let denied = unopened(&aws.settings(), &arn("us-east-1")).await;
    assert!(denied.contains("may not be written to") && denied.contains("grant kinesis:PutRecords"), "{denied}");
    aws.kinesis().take_time(Duration::from_secs(60));
    aws.kinesis().create("young", 1);
    let young = unopened(&aws.settings(), &aws.kinesis().arn("young")).await;
    assert!(young.contains("stream/young is neither active nor being updated"), "{young}");
    aws.kinesis().delete(STREAM);
    let deleted = unopened(&aws.settings(), &arn("us-east-1")).await;
    assert!(deleted.contains("is neither active nor being updated"), "{deleted}");
}
