//! How much the simulated service gives.

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use tests::simulated::Limits;

use super::wire::{open, refused, still};

const STREAM: &str = "quakes";
const FIRST: &str = "shardId-000000000000";

#[tokio::test]
async fn a_page_holds_ten_thousand_records_and_never_more_than_asked_for() {
    let (aws, client) = still(1).await;
    for number in 0..10_050 {
        aws.kinesis().put(STREAM, "key", format!("{number}"));
    }
    let iterator = open(&client, FIRST).await;
    let page = client.get_records().shard_iterator(&iterator).send().await.expect("a page");
    assert_eq!(page.records().len(), 10_000);
    let page = client.get_records().shard_iterator(&iterator).limit(7).send().await.expect("a page");
    assert_eq!(page.records().len(), 7);
    for limit in [0, 10_001] {
        let (code, _) = refused(client.get_records().shard_iterator(&iterator).limit(limit).send().await);
        assert_eq!(code, "InvalidArgumentException");
    }
    assert_eq!(aws.counted(|counted| counted.of("GetRecords", STREAM, FIRST).peak), 4);
}

#[tokio::test]
async fn a_page_of_ten_megabytes_shuts_the_shard_for_five_seconds() {
    let (aws, client) = still(2).await;
    aws.kinesis().limit(Limits::aws());
    for number in 0..24 {
        aws.kinesis().put_to(STREAM, FIRST, "key", vec![number; 500_000]);
    }
    let iterator = open(&client, FIRST).await;
    let page = client.get_records().shard_iterator(&iterator).send().await.expect("a page");
    assert_eq!(page.records().len(), 20);
    let next = page.next_shard_iterator().expect("more");
    for wait in [0, 1000, 3700] {
        aws.clock().advance(Duration::from_millis(wait));
        let (code, message) = refused(client.get_records().shard_iterator(next).send().await);
        assert_eq!(code, "ProvisionedThroughputExceededException");
        assert!(message.contains(FIRST), "{message}");
    }
    // The other shard is not concerned.
    let other = open(&client, "shardId-000000000001").await;
    client.get_records().shard_iterator(&other).send().await.expect("a page");
    aws.clock().advance(Duration::from_millis(300));
    let page = client.get_records().shard_iterator(next).send().await.expect("a page");
    assert_eq!(page.records().len(), 4);
}

#[tokio::test]
async fn five_reads_and_five_iterators_a_second_and_shard() {
    let (aws, client) = still(1).await;
    aws.kinesis().limit(Limits::aws());
    let iterator = open(&client, FIRST).await;
    for _ in 0..5 {
        client.get_records().shard_iterator(&iterator).send().await.expect("a page");
    }
    let (code, _) = refused(client.get_records().shard_iterator(&iterator).send().await);
    assert_eq!(code, "ProvisionedThroughputExceededException");
    for _ in 0..4 {
        open(&client, FIRST).await;
    }
    let request = client.get_shard_iterator().stream_name(STREAM).shard_id(FIRST);
    let (code, _) = refused(request.shard_iterator_type(ShardIteratorType::Latest).send().await);
    assert_eq!(code, "ProvisionedThroughputExceededException");
    aws.clock().advance(Duration::from_secs(1));
    client.get_records().shard_iterator(&iterator).send().await.expect("a page");
    open(&client, FIRST).await;
    let tally = aws.counted(|counted| counted.of("GetRecords", STREAM, FIRST));
    assert_eq!((tally.calls, tally.answered, tally.peak), (7, 6, 6));
    assert_eq!(tally.refused["ProvisionedThroughputExceededException"], 1);
}

#[tokio::test]
async fn listings_and_descriptions_have_rates_of_their_own() {
    let (aws, client) = still(1).await;
    aws.kinesis().limit(Limits { listings: 3, ..Limits::aws() });
    for _ in 0..3 {
        client.list_shards().stream_name(STREAM).send().await.expect("a listing");
    }
    assert_eq!(refused(client.list_shards().stream_name(STREAM).send().await).0, "LimitExceededException");
    for _ in 0..20 {
        client.describe_stream_summary().stream_name(STREAM).send().await.expect("described");
    }
    let (code, _) = refused(client.describe_stream_summary().stream_name(STREAM).send().await);
    assert_eq!(code, "LimitExceededException");
    aws.clock().advance(Duration::from_secs(1));
    client.list_shards().stream_name(STREAM).send().await.expect("a listing");
    client.describe_stream_summary().stream_name(STREAM).send().await.expect("described");
}

#[tokio::test]
async fn a_shard_takes_a_megabyte_a_second_and_put_records_says_which_entries_failed() {
    let (aws, client) = still(1).await;
    aws.kinesis().limit(Limits::aws());
    let entry = |number: u8| {
        let entry = PutRecordsRequestEntry::builder().partition_key("key").data(Blob::new(vec![number; 300_000]));
        entry.build().expect("whole")
    };
    let entries = (0..5).map(entry).collect();
    let output = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.expect("answered");
    assert_eq!(output.failed_record_count(), Some(2));
    let failed: Vec<bool> = output.records().iter().map(|record| record.error_code().is_some()).collect();
    assert_eq!(failed, [false, false, false, true, true]);
    assert_eq!(aws.kinesis().truth(STREAM).len(), 3);
    aws.clock().advance(Duration::from_secs(1));
    client.put_record().stream_name(STREAM).partition_key("key").data(Blob::new("x")).send().await.expect("written");
    let too_large = client.put_record().stream_name(STREAM).partition_key("key").data(Blob::new(vec![0; 1_048_577]));
    assert_eq!(refused(too_large.send().await).0, "InvalidArgumentException");
    let none = client.put_records().stream_name(STREAM).set_records(Some(Vec::new())).send().await;
    assert_eq!(refused(none).0, "InvalidArgumentException");
}
