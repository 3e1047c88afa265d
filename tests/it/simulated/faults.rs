//! What goes wrong on demand, as the SDK and the host's own client see it.

use std::time::{Duration, Instant};

use host::ports::StreamApi as _;
use host::source::classify::SourceErrorKind;
use host_core::shard::{Position, ShardId};
use tests::simulated::{Fault, Limits, Setup, SimulatedAws};

use super::wire::{open, refused, still};

const STREAM: &str = "quakes";
const FIRST: &str = "shardId-000000000000";

#[tokio::test]
async fn the_host_classifies_every_fault() {
    let (aws, _client) = still(1).await;
    aws.kinesis().put(STREAM, "key", vec![7; 100_000]);
    let (stream, shard) = (aws.stream(STREAM).await, ShardId::new(FIRST));
    let iterator = stream.open(&shard, &Position::TrimHorizon).await.expect("an iterator");
    let cases = [
        (Fault::internal(), SourceErrorKind::Transient),
        (Fault::unavailable(), SourceErrorKind::Transient),
        (Fault::throttled(), SourceErrorKind::Throttled),
        (Fault::limit_exceeded(), SourceErrorKind::Throttled),
        (Fault::client("KMSThrottlingException"), SourceErrorKind::Throttled),
        (Fault::expired_iterator(), SourceErrorKind::ExpiredIterator),
        (Fault::not_found(), SourceErrorKind::NotFound),
        (Fault::client("AccessDeniedException"), SourceErrorKind::Denied),
        (Fault::client("KMSAccessDeniedException"), SourceErrorKind::Denied),
        (Fault::client("KMSDisabledException"), SourceErrorKind::Denied),
        (Fault::expired_token(), SourceErrorKind::Denied),
        (Fault::Disconnect, SourceErrorKind::Transient),
        (Fault::Cut { after: 1000 }, SourceErrorKind::Transient),
        (Fault::Garble, SourceErrorKind::Transient),
    ];
    for (fault, kind) in cases {
        aws.faults().on("GetRecords").times(1).inject(fault.clone());
        let error = stream.read(&shard, &iterator, 10).await.expect_err("a fault");
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        stream.read(&shard, &iterator, 10).await.expect("the rule is used up");
    }
}

#[tokio::test]
async fn members_can_be_left_out_of_an_answer() {
    let (aws, _client) = still(1).await;
    aws.kinesis().put(STREAM, "key", "data");
    let (stream, shard) = (aws.stream(STREAM).await, ShardId::new(FIRST));
    let iterator = stream.open(&shard, &Position::TrimHorizon).await.expect("an iterator");
    aws.faults().on("GetRecords").times(1).inject(Fault::Without("MillisBehindLatest"));
    assert_eq!(stream.read(&shard, &iterator, 10).await.expect("a page").millis_behind_latest, None);
    aws.faults().on("GetShardIterator").times(1).inject(Fault::Without("ShardIterator"));
    let error = stream.open(&shard, &Position::TrimHorizon).await.expect_err("no iterator");
    assert_eq!(error.kind, SourceErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_hung_call_is_told_of_and_goes_on_when_the_rule_is_lifted() {
    let (aws, client) = still(2).await;
    aws.kinesis().put_to(STREAM, FIRST, "key", "data");
    let rule = aws.faults().on("GetRecords").stream(STREAM).shard(FIRST).inject(Fault::Hang);
    let iterator = open(&client, FIRST).await;
    let call = tokio::spawn(client.get_records().shard_iterator(&iterator).send());
    aws.until_hung(1).await;
    // Another shard is not concerned.
    let other = open(&client, "shardId-000000000001").await;
    client.get_records().shard_iterator(&other).send().await.expect("a page");
    assert!(!call.is_finished());
    aws.faults().lift(rule);
    let page = call.await.expect("no panic").expect("a page");
    assert_eq!(page.records().len(), 1);
    aws.until("no call to hang", |counted| counted.hung == 0).await;
}

#[tokio::test]
async fn a_hung_call_ends_with_its_caller_and_a_dropped_simulation_cuts_every_connection() {
    let (aws, client) = still(1).await;
    aws.faults().on_any().inject(Fault::Hang);
    let call = tokio::spawn(client.list_streams().send());
    aws.until_hung(1).await;
    call.abort();
    aws.until("no call to hang", |counted| counted.hung == 0 && counted.connections == 0).await;
    let call = tokio::spawn(client.list_streams().send());
    aws.until_hung(1).await;
    assert_eq!(aws.counted(|counted| (counted.connections, counted.connected)), (1, 2));
    drop(aws);
    assert!(call.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_body_can_trickle() {
    let (aws, client) = still(1).await;
    aws.kinesis().put(STREAM, "key", vec![7; 3_000]);
    let iterator = open(&client, FIRST).await;
    let pause = Duration::from_millis(2);
    aws.faults().on("GetRecords").inject(Fault::Trickle { bytes: 500, pause });
    let begun = Instant::now();
    let page = client.get_records().shard_iterator(&iterator).send().await.expect("a page");
    assert_eq!(page.records()[0].data().as_ref().len(), 3_000);
    assert!(begun.elapsed() >= 8 * pause, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn rules_spare_calls_then_hit_some_and_end_with_the_services_time() {
    let (aws, client) = still(1).await;
    aws.faults().on("ListStreams").skip(2).times(1).inject(Fault::internal());
    let mut hit = Vec::new();
    for _ in 0..5 {
        hit.push(client.list_streams().send().await.is_err());
    }
    assert_eq!(hit, [false, false, true, false, false]);
    aws.faults().on("ListStreams").lasting(Duration::from_secs(600)).inject(Fault::throttled());
    for wait in [0, 300, 299] {
        aws.clock().advance(Duration::from_secs(wait));
        assert_eq!(refused(client.list_streams().send().await).0, "ProvisionedThroughputExceededException");
    }
    aws.clock().advance(Duration::from_secs(1));
    client.list_streams().send().await.expect("the fault is over");
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed_and_the_same_calls() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let setup = Setup { limits: Limits::any_rate(), seed, ..Setup::default() };
        let aws = SimulatedAws::start_with(setup).await;
        let client = aws.client().await;
        aws.faults().on("ListStreams").probability(0.3).inject(Fault::internal());
        let mut hit = Vec::new();
        for _ in 0..60 {
            hit.push(client.list_streams().send().await.is_err());
        }
        let hits = hit.iter().filter(|hit| **hit).count();
        assert!((6..=32).contains(&hits), "{hits} of 60");
        runs.push(hit);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test]
async fn requests_are_remembered_and_calls_can_be_waited_for() {
    let (aws, client) = still(1).await;
    let waiting = aws.until_called("ListShards", 2);
    let calls = async {
        for _ in 0..2 {
            client.list_shards().stream_name(STREAM).max_results(5).send().await.expect("a listing");
        }
    };
    tokio::join!(waiting, calls);
    let requests = aws.counted(|counted| counted.requests("ListShards"));
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].input["MaxResults"], 5);
    assert_eq!(requests[0].subject.stream.as_deref(), Some(STREAM));
}

#[tokio::test]
async fn the_truth_tells_missing_from_trimmed_twice_from_out_of_order_and_foreign() {
    let (aws, _client) = still(1).await;
    for number in 0..6 {
        aws.kinesis().put(STREAM, "a", format!("a{number}"));
    }
    aws.kinesis().put(STREAM, "b", "b0");
    aws.kinesis().trim(STREAM, FIRST, 1);
    let truth = aws.kinesis().truth(STREAM);
    let data = |texts: &'static [&'static str]| texts.iter().map(|text| text.as_bytes());
    let whole = truth.compare_data(data(&["b0", "a0", "a1", "a2", "a3", "a4", "a5"]));
    assert!(whole.is_exact() && whole.is_at_least_once(), "{whole}");
    let verdict = truth.compare_data(data(&["a1", "a3", "a2", "a3", "a4", "zz"]));
    let texts = |records: &[std::sync::Arc<tests::simulated::Record>]| {
        records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&verdict.missing), ["a5", "b0"]);
    assert_eq!(texts(&verdict.lost_by_trim), ["a0"]);
    assert_eq!(verdict.duplicated, [("a".to_owned(), b"a3".to_vec())]);
    assert_eq!(verdict.out_of_order, [("a".to_owned(), b"a2".to_vec())]);
    assert_eq!(verdict.foreign, [(String::new(), b"zz".to_vec())]);
    let again = truth.compare_data(data(&["b0", "a1", "a2", "a1", "a2", "a3", "a4", "a5"]));
    assert!(again.is_at_least_once() && !again.is_exact(), "{again}");
}
