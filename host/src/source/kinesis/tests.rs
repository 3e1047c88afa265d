use host_core::shard::HashRange;

use super::*;
use crate::columns::NO_ARRIVAL;
use crate::source::canned::{Answer, Canned, exception};
use crate::source::classify::SourceErrorKind;

const SHARD: &str = "shardId-000000000000";

async fn read(answer: &str) -> Result<Page, SourceError> {
    let server = Canned::serve(vec![Answer::Json(200, answer.to_owned())]).await;
    let stream = server.stream().await;
    stream.read(&ShardId::new(SHARD), &ShardIterator("AAAA".to_owned()), 7).await
}

#[tokio::test]
async fn a_following_page_of_the_listing_carries_only_the_token() {
    let page = |id: &str, token: &str| Answer::Json(200, format!("{{\"Shards\":[{{\"ShardId\":\"{id}\"}}]{token}}}"));
    let server =
        Canned::serve(vec![page("a", ",\"NextToken\":\"one\""), page("b", ",\"NextToken\":\"two\""), page("c", "")])
            .await;
    let shards = server.stream().await.list_shards(None).await.expect("three pages");
    let ids: Vec<_> = shards.iter().map(|shard| shard.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(server.requests()[1..], ["{\"NextToken\":\"one\"}", "{\"NextToken\":\"two\"}"]);
}

#[tokio::test]
async fn a_listing_that_fails_half_way_is_an_error_and_never_a_part() {
    let first = Answer::Json(200, "{\"Shards\":[{\"ShardId\":\"a\"}],\"NextToken\":\"one\"}".to_owned());
    let server = Canned::serve(vec![first.clone(), exception(400, "ExpiredNextTokenException", "")]).await;
    let error = server.stream().await.list_shards(None).await.expect_err("half a listing");
    assert_eq!(error.kind, SourceErrorKind::Transient);
    let endless = Canned::serve(vec![first]).await;
    let error = endless.stream().await.list_shards(None).await.expect_err("an endless listing");
    assert_eq!(error.kind, SourceErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn a_service_that_refuses_arns_is_asked_by_name_from_then_on() {
    let listing = Answer::Json(200, "{\"Shards\":[]}".to_owned());
    let refusal = exception(400, "InvalidArgumentException", "Either NextToken or StreamName should be provided.");
    let server = Canned::serve(vec![refusal, listing]).await;
    let stream = server.stream().await;
    for _ in 0..2 {
        stream.list_shards(None).await.expect("by name");
    }
    let names: Vec<bool> =
        server.requests().iter().map(|body| body.contains("\"StreamName\":\"earthquakes\"")).collect();
    assert_eq!(names, [false, true, true]);
}

#[tokio::test]
async fn the_name_is_tried_for_no_other_refusal_and_never_against_aws() {
    let server = Canned::serve(vec![exception(400, "InvalidArgumentException", "Timestamp is in the future")]).await;
    server.stream().await.list_shards(None).await.expect_err("refused");
    assert_eq!(server.requests().len(), 1);

    let refusal = exception(400, "InvalidArgumentException", "StreamARN is odd");
    let server = Canned::serve(vec![refusal]).await;
    let client = AwsSettings::local("us-east-1", &server.endpoint).kinesis().await;
    let as_aws = KinesisStream::new(client, crate::source::canned::arn(), &AwsSettings::new("us-east-1"));
    as_aws.list_shards(None).await.expect_err("refused");
    assert_eq!(server.requests().len(), 1);
}

fn listed(ids: &[&str], token: Option<&str>) -> Answer {
    let shards: Vec<String> = ids.iter().map(|id| format!("{{\"ShardId\":\"{id}\"}}")).collect();
    let token = token.map_or_else(String::new, |token| format!(",\"NextToken\":\"{token}\""));
    Answer::Json(200, format!("{{\"Shards\":[{}]{token}}}", shards.join(",")))
}

#[tokio::test]
async fn a_listing_after_a_shard_says_so_on_its_first_page_only() {
    let server = Canned::serve(vec![listed(&["b"], Some("one")), listed(&["c"], None)]).await;
    let after = ShardId::new("a");
    let shards = server.stream().await.list_shards(Some(&after)).await.expect("listed");
    assert_eq!(shards.len(), 2);
    let requests = server.requests();
    assert!(requests[0].contains("\"ExclusiveStartShardId\":\"a\""), "{}", requests[0]);
    assert_eq!(requests[1], "{\"NextToken\":\"one\"}");
}

#[tokio::test]
async fn a_listing_whose_token_is_refused_begins_again_and_has_every_shard_once() {
    for code in ["ExpiredNextTokenException", "InvalidArgumentException"] {
        let server = Canned::serve(vec![
            listed(&["a"], Some("one")),
            exception(400, code, "NextToken is not good any more"),
            listed(&["a"], Some("two")),
            listed(&["b"], None),
        ])
        .await;
        let shards = server.stream().await.list_shards(None).await.expect("listed");
        let ids: Vec<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"], "{code}");
    }
}

#[tokio::test]
async fn a_listing_is_begun_three_times_and_not_for_ever() {
    let refused = exception(400, "ExpiredNextTokenException", "no");
    let page = listed(&["a"], Some("one"));
    let answers = [&page, &refused].into_iter().cycle().take(40).cloned().collect();
    let server = Canned::serve(answers).await;
    let error = server.stream().await.list_shards(None).await.expect_err("refused");
    assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
    assert_eq!(server.requests().len(), 6);
}

async fn service_time(answer: fn(String) -> Answer) -> Option<EpochMillis> {
    let summary = format!(
        "{{\"StreamDescriptionSummary\":{{\"StreamName\":\"earthquakes\",\"StreamARN\":\"{}\",\"StreamStatus\":\"ACTIVE\",\
         \"RetentionPeriodHours\":24,\"StreamCreationTimestamp\":1517443200.5,\"EnhancedMonitoring\":[],\"OpenShardCount\":1}}}}",
        crate::source::canned::arn()
    );
    let server = Canned::serve(vec![answer(summary)]).await;
    server.stream().await.describe().await.expect("described").service_time
}

#[tokio::test]
async fn a_description_tells_the_services_time_where_the_answer_does() {
    let dated = service_time(|body| Answer::Dated("Thu, 01 Feb 2018 00:00:09 GMT", body)).await;
    assert_eq!(dated, Some(EpochMillis(1_517_443_209_000)));
    assert_eq!(service_time(|body| Answer::Dated("yesterday", body)).await, None);
    assert_eq!(service_time(|body| Answer::Json(200, body)).await, None);
}

#[tokio::test]
async fn lineage_and_ranges_are_read_and_a_malformed_range_leaves_the_parents() {
    let listing = r#"{"Shards":[
            {"ShardId":"a","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},
             "SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"2"}},
            {"ShardId":"c","ParentShardId":"a","AdjacentParentShardId":"b",
             "HashKeyRange":{"StartingHashKey":"-1","EndingHashKey":"x"},"SequenceNumberRange":{"StartingSequenceNumber":"1"}},
            {"ShardId":"d","ParentShardId":"","HashKeyRange":{"StartingHashKey":"9","EndingHashKey":"1"}}]}"#;
    let server = Canned::serve(vec![Answer::Json(200, listing.to_owned())]).await;
    let shards = server.stream().await.list_shards(None).await.expect("listed");
    let shard = |id: &str, parents: &[&str], range, closed| ShardDescription {
        id: ShardId::new(id),
        parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
        range,
        closed,
    };
    let whole = HashRange { start: 0, end: u128::MAX };
    let expected =
        [shard("a", &[], Some(whole), true), shard("c", &["a", "b"], None, false), shard("d", &[], None, false)];
    assert_eq!(shards, expected);
}

#[tokio::test]
async fn what_emulators_leave_out_is_tolerated() {
    let page = read(r#"{"Records":[{"SequenceNumber":"0017","Data":"AQI="}]}"#).await.expect("a record");
    let [batch] = page.batches.as_slice() else { panic!("one batch: {page:?}") };
    assert_eq!((batch.arrival.as_slice(), batch.data.get(0)), ([NO_ARRIVAL].as_slice(), [1, 2].as_slice()));
    assert_eq!((batch.partition_key.get(0), batch.sequence_number.get(0)), (b"".as_slice(), b"0017".as_slice()));
    assert_eq!((page.next, page.millis_behind_latest, page.children), (None, None, Vec::new()));
}

#[tokio::test]
async fn everything_that_a_page_tells_is_there() {
    let answer = r#"{"Records":[
            {"SequenceNumber":"7","Data":"AQ==","PartitionKey":"k","ApproximateArrivalTimestamp":1517443200.123,"EncryptionType":"KMS"},
            {"SequenceNumber":"10","Data":"","PartitionKey":"l","ApproximateArrivalTimestamp":1517443201}],
            "NextShardIterator":"next","MillisBehindLatest":5,
            "ChildShards":[{"ShardId":"c","ParentShards":["a","b"],"HashKeyRange":{"StartingHashKey":"3","EndingHashKey":"4"}}]}"#;
    let page = read(answer).await.expect("a page");
    let [batch] = page.batches.as_slice() else { panic!("one batch: {page:?}") };
    assert_eq!(batch.arrival, [1_517_443_200_123, 1_517_443_201_000]);
    assert_eq!(batch.encryption, [1, 0]);
    assert_eq!((page.next, page.millis_behind_latest), (Some(ShardIterator("next".to_owned())), Some(5)));
    let parents = ["a", "b"].map(ShardId::new).to_vec();
    let range = Some(HashRange { start: 3, end: 4 });
    assert_eq!(page.children, [ShardDescription { id: ShardId::new("c"), parents, range, closed: false }]);
}

#[tokio::test]
async fn sequence_numbers_that_are_none_or_do_not_ascend_are_refused() {
    for numbers in [["x", "8"], ["", "8"], ["10", "9"], ["9", "9"], ["09", "9"]] {
        let records = numbers.map(|number| format!("{{\"SequenceNumber\":\"{number}\",\"Data\":\"\"}}")).join(",");
        let error = read(&format!("{{\"Records\":[{records}]}}")).await.expect_err("refused");
        assert_eq!(error.kind, SourceErrorKind::Invalid, "{numbers:?}");
    }
}

#[tokio::test]
async fn requests_say_what_the_position_says_and_the_limit_is_kept_in_its_bounds() {
    let server = Canned::serve(vec![Answer::Json(200, "{\"ShardIterator\":\"AAAA\",\"Records\":[]}".to_owned())]).await;
    let stream = server.stream().await;
    let shard = ShardId::new(SHARD);
    let after = Position::after(host_core::shard::SequenceNumber::parse("17").expect("decimal"));
    for from in [Position::TrimHorizon, Position::AtTimestamp(EpochMillis(7_250)), after] {
        stream.open(&shard, &from).await.expect("an iterator");
    }
    for limit in [0, 20_000] {
        stream.read(&shard, &ShardIterator("AAAA".to_owned()), limit).await.expect("a page");
    }
    let wanted = [
        "\"ShardIteratorType\":\"TRIM_HORIZON\"",
        "\"ShardIteratorType\":\"AT_TIMESTAMP\",\"Timestamp\":7,",
        "\"ShardIteratorType\":\"AFTER_SEQUENCE_NUMBER\",\"StartingSequenceNumber\":\"17\"",
        "\"Limit\":1,",
        "\"Limit\":10000,",
    ];
    for (request, wanted) in server.requests().iter().zip(wanted) {
        assert!(request.contains(wanted) && request.contains("\"StreamARN\":\"arn:aws:kinesis:"), "{request}");
    }
    let ended = stream.open(&shard, &Position::ShardEnd).await.expect_err("nothing comes after the end");
    assert_eq!(ended.kind, SourceErrorKind::Invalid);
}
