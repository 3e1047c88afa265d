//! What AWS documents of Kinesis, asked for with the SDK's own client.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId as _;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    EncryptionType, PutRecordsRequestEntry, ScalingType, Shard, ShardFilter, ShardFilterType, ShardIteratorType,
    StreamStatus,
};
use tests::simulated::{Children, Clock, Encryption, Filters, LastPage, Limits, Setup, SimulatedAws};

const STREAM: &str = "quakes";
const FIRST: &str = "shardId-000000000000";
/// A full second, so that whole seconds mean what they say.
const EPOCH: i64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);

/// A stream of `shards` at a time that stands still, at any rate.
pub(super) async fn still(shards: u32) -> (SimulatedAws, Client) {
    let clock = Clock::frozen_at(EPOCH);
    let aws = SimulatedAws::start_with(Setup { clock, limits: Limits::any_rate(), seed: 1 }).await;
    aws.kinesis().create(STREAM, shards);
    let client = aws.client().await;
    (aws, client)
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    outcome: Result<T, SdkError<E>>,
) -> (String, String) {
    let error = outcome.expect_err("a refusal");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

pub(super) async fn open(client: &Client, shard: &str) -> String {
    open_at(client, shard, ShardIteratorType::TrimHorizon, None).await
}

async fn open_at(client: &Client, shard: &str, kind: ShardIteratorType, sequence: Option<&str>) -> String {
    let request = client.get_shard_iterator().stream_name(STREAM).shard_id(shard).shard_iterator_type(kind);
    let output = request.set_starting_sequence_number(sequence.map(str::to_owned)).send().await.expect("an iterator");
    output.shard_iterator.expect("an iterator")
}

async fn read(client: &Client, iterator: &str) -> GetRecordsOutput {
    client.get_records().shard_iterator(iterator).send().await.expect("a page")
}

fn texts(page: &GetRecordsOutput) -> Vec<String> {
    page.records().iter().map(|record| String::from_utf8_lossy(record.data().as_ref()).into_owned()).collect()
}

fn ids(shards: &[Shard]) -> Vec<&str> {
    shards.iter().map(|shard| shard.shard_id()).collect()
}

async fn listed(client: &Client) -> Vec<Shard> {
    client.list_shards().stream_name(STREAM).send().await.expect("a listing").shards.expect("shards")
}

async fn filtered(client: &Client, kind: ShardFilterType, shard: Option<&str>, at: Option<i64>) -> Vec<String> {
    let filter = ShardFilter::builder().r#type(kind).set_shard_id(shard.map(str::to_owned));
    let filter = filter.set_timestamp(at.map(DateTime::from_millis)).build().expect("a type is set");
    let output = client.list_shards().stream_name(STREAM).shard_filter(filter).send().await.expect("a listing");
    ids(output.shards()).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_stream_that_is_created_is_described_listed_and_told_by_arn_or_name() {
    let (aws, client) = still(2).await;
    let arn = aws.kinesis().arn(STREAM);
    let by_arn = client.describe_stream_summary().stream_arn(&arn).send().await.expect("described");
    let summary = by_arn.stream_description_summary().expect("a summary").clone();
    assert_eq!((summary.stream_name(), summary.stream_arn()), (STREAM, arn.as_str()));
    assert_eq!(summary.stream_creation_timestamp(), &DateTime::from_millis(EPOCH));
    assert_eq!((summary.retention_period_hours(), summary.open_shard_count()), (24, 2));
    assert_eq!(summary.stream_status(), &StreamStatus::Active);
    let by_name = client.describe_stream_summary().stream_name(STREAM).send().await.expect("described");
    assert_eq!(by_name.stream_description_summary(), Some(&summary));
    for name in ["a", "b", "c"] {
        client.create_stream().stream_name(name).shard_count(1).send().await.expect("created");
    }
    let page = client.list_streams().limit(3).send().await.expect("listed");
    assert_eq!((page.stream_names(), page.has_more_streams()), (&["a", "b", "c"].map(str::to_owned)[..], true));
    let rest = client.list_streams().next_token(page.next_token().expect("more")).send().await.expect("listed");
    assert_eq!((rest.stream_names(), rest.has_more_streams()), (&[STREAM.to_owned()][..], false));
}

#[tokio::test]
async fn answers_carry_a_request_id_and_the_time_of_the_service() {
    let (aws, client) = still(1).await;
    let ids = [0, 1].map(|_| client.list_streams().send());
    let [one, other] = ids;
    let (one, other) = (one.await.expect("listed"), other.await.expect("listed"));
    assert!(one.request_id().is_some() && one.request_id() != other.request_id());
    let error = client.describe_stream_summary().stream_name("missing").send().await.expect_err("no stream");
    assert_eq!(error.meta().code(), Some("ResourceNotFoundException"));
    assert!(error.request_id().is_some());
    let raw = error.raw_response().expect("an answer");
    assert_eq!(raw.headers().get("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    aws.clock().advance(HOUR);
    let error = client.describe_stream_summary().stream_name("missing").send().await.expect_err("no stream");
    let raw = error.raw_response().expect("an answer");
    assert_eq!(raw.headers().get("date"), Some("Fri, 15 Jan 2027 09:00:00 GMT"));
}

#[tokio::test]
async fn records_are_routed_by_the_hash_of_their_key_and_come_in_order_with_ascending_sequence_numbers() {
    let (aws, client) = still(4).await;
    let entry = |index: usize| {
        let entry = PutRecordsRequestEntry::builder().partition_key(format!("key-{}", index % 9));
        entry.data(Blob::new(format!("{index}"))).build().expect("whole")
    };
    let entries: Vec<_> = (0..200).map(entry).collect();
    let output = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.expect("written");
    assert_eq!(output.failed_record_count(), Some(0));
    let mut read_by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for shard in listed(&client).await {
        let range = shard.hash_key_range().expect("a range");
        let page = read(&client, &open(&client, shard.shard_id()).await).await;
        let mut last = shard.sequence_number_range().expect("a range").starting_sequence_number().to_owned();
        for record in page.records() {
            let key = record.partition_key().expect("a key");
            let hash = u128::from_be_bytes(md5(key));
            let [start, end] =
                [range.starting_hash_key(), range.ending_hash_key()].map(|text| text.parse().expect("a number"));
            assert!(start <= hash && hash <= end, "{key} does not belong to {}", shard.shard_id());
            assert!(record.sequence_number().len() == 56 && *record.sequence_number() > *last);
            last = record.sequence_number().to_owned();
            let data = String::from_utf8_lossy(record.data().as_ref()).parse().expect("a number");
            read_by_key.entry(key.to_owned()).or_default().push(data);
        }
    }
    assert_eq!(read_by_key.values().map(Vec::len).sum::<usize>(), 200);
    assert!(read_by_key.values().all(|numbers| numbers.is_sorted()));
    assert_eq!(aws.kinesis().truth(STREAM).len(), 200);
}

/// MD5 of the nine keys, from another implementation.
fn md5(key: &str) -> [u8; 16] {
    const HASHES: [u128; 9] = [
        0xb442_8b7e_85e1_fa85_481a_f630_7d7f_3cf7,
        0x21af_6b8b_5e22_4483_5679_bbdb_e0ab_03a6,
        0xbcca_528c_a1b0_ba9d_641c_f4b1_23f2_d026,
        0x5ccd_563d_0f71_6c30_9df5_3229_000a_d62c,
        0x9bf3_323d_0aad_0d0c_bc1c_b0bb_b152_9c0f,
        0x8764_262b_17d9_c32a_8650_d17e_91b7_600b,
        0xa678_585e_4b12_fdda_4131_640c_f0de_d2dc,
        0x429e_0173_adde_ad3f_5ed3_4035_f4ac_02ab,
        0xcacd_8547_1987_d51e_a0be_0d0d_852f_6dfb,
    ];
    let index: usize = key.rsplit('-').next().and_then(|digit| digit.parse().ok()).expect("a number");
    HASHES[index].to_be_bytes()
}

#[tokio::test]
async fn following_pages_of_a_listing_carry_the_token_alone_and_it_lives_for_five_minutes() {
    let (aws, client) = still(25).await;
    let first = client.list_shards().stream_name(STREAM).max_results(10).send().await.expect("a page");
    let token = first.next_token().expect("more").to_owned();
    assert_eq!(first.shards().len(), 10);
    let both = client.list_shards().stream_name(STREAM).next_token(&token).send().await;
    let (code, message) = refused(both);
    assert_eq!(code, "InvalidArgumentException");
    assert_eq!(message, "NextToken and StreamName cannot be provided together.");
    aws.clock().advance(Duration::from_secs(300));
    let second = client.list_shards().next_token(&token).send().await.expect("a page");
    let third = client.list_shards().next_token(second.next_token().expect("more")).send().await.expect("a page");
    assert_eq!((second.shards().len(), third.shards().len(), third.next_token()), (10, 5, None));
    let mut all = ids(first.shards());
    all.extend(ids(second.shards()));
    all.extend(ids(third.shards()));
    assert_eq!(all, ids(&listed(&client).await));
    aws.clock().advance(Duration::from_millis(1));
    let (code, _) = refused(client.list_shards().next_token(&token).send().await);
    assert_eq!(code, "ExpiredNextTokenException");
    let (code, _) = refused(client.list_shards().next_token("AAAA").send().await);
    assert_eq!(code, "InvalidArgumentException");
}

#[tokio::test]
async fn a_listing_may_begin_after_a_shard() {
    let (_aws, client) = still(5).await;
    let request = client.list_shards().stream_name(STREAM).exclusive_start_shard_id("shardId-000000000002");
    let output = request.send().await.expect("a listing");
    assert_eq!(ids(output.shards()), ["shardId-000000000003", "shardId-000000000004"]);
}

#[tokio::test]
async fn each_shard_filter_shows_its_shards_or_all_of_them_where_filters_are_ignored() {
    let (aws, client) = still(1).await;
    aws.clock().advance(HOUR);
    let children = aws.kinesis().split(STREAM, FIRST);
    aws.clock().advance(HOUR);
    let grandchild = aws.kinesis().merge(STREAM, &children[0], &children[1]);
    aws.clock().advance(HOUR);
    let [lower, upper] = children.each_ref().map(String::as_str);
    let (hour, grandchild) = (3_600_000, grandchild.as_str());
    let everything = vec![FIRST, lower, upper, grandchild];
    let cases = [
        (ShardFilterType::AfterShardId, Some(lower), None, vec![upper, grandchild]),
        (ShardFilterType::AtTrimHorizon, None, None, vec![FIRST]),
        (ShardFilterType::FromTrimHorizon, None, None, everything.clone()),
        (ShardFilterType::AtLatest, None, None, vec![grandchild]),
        (ShardFilterType::AtTimestamp, None, Some(EPOCH + hour + 1), vec![lower, upper]),
        (ShardFilterType::FromTimestamp, None, Some(EPOCH + hour + 1), vec![lower, upper, grandchild]),
    ];
    for (kind, shard, at, expected) in &cases {
        assert_eq!(filtered(&client, kind.clone(), *shard, *at).await, *expected, "{kind:?}");
    }
    aws.kinesis().habits(STREAM, |habits| habits.filters = Filters::Ignored);
    for (kind, shard, at, _) in &cases {
        assert_eq!(filtered(&client, kind.clone(), *shard, *at).await, everything, "{kind:?}");
    }
}

#[tokio::test]
async fn a_filter_by_time_outside_of_what_is_kept_is_refused() {
    let (aws, client) = still(1).await;
    aws.clock().advance(30 * HOUR);
    let now = aws.clock().now();
    for at in [now + 1, now - 24 * 3_600_000 - 1] {
        let filter = ShardFilter::builder().r#type(ShardFilterType::FromTimestamp).timestamp(DateTime::from_millis(at));
        let filter = filter.build().expect("whole");
        let (code, message) = refused(client.list_shards().stream_name(STREAM).shard_filter(filter).send().await);
        assert_eq!(code, "InvalidArgumentException", "{message}");
    }
}

#[tokio::test]
async fn a_listing_can_lag_behind_and_leave_shards_out() {
    let (aws, client) = still(2).await;
    aws.kinesis().habits(STREAM, |habits| habits.listing_lag = Duration::from_secs(10));
    aws.clock().advance(HOUR);
    aws.kinesis().split(STREAM, FIRST);
    let shards = listed(&client).await;
    assert_eq!(shards.len(), 2);
    assert!(
        shards
            .iter()
            .all(|shard| shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none()))
    );
    aws.clock().advance(Duration::from_secs(10));
    assert_eq!(listed(&client).await.len(), 4);
    aws.kinesis().hide(STREAM, "shardId-000000000001");
    assert_eq!(ids(&listed(&client).await), [FIRST, "shardId-000000000002", "shardId-000000000003"]);
    open(&client, "shardId-000000000001").await;
    aws.kinesis().show(STREAM, "shardId-000000000001");
    assert_eq!(listed(&client).await.len(), 4);
}

#[tokio::test]
async fn each_kind_of_iterator_begins_where_it_says() {
    let (aws, client) = still(1).await;
    let mut sequences = Vec::new();
    for number in 0..5 {
        sequences.push(aws.kinesis().put(STREAM, "key", number.to_string()).sequence.to_string());
        aws.clock().advance(Duration::from_secs(1));
    }
    let at = |kind, sequence| open_at(&client, FIRST, kind, sequence);
    let cases = [
        (at(ShardIteratorType::TrimHorizon, None).await, vec!["0", "1", "2", "3", "4"]),
        (at(ShardIteratorType::Latest, None).await, vec![]),
        (at(ShardIteratorType::AtSequenceNumber, Some(&sequences[3])).await, vec!["3", "4"]),
        (at(ShardIteratorType::AfterSequenceNumber, Some(&sequences[3])).await, vec!["4"]),
        (at(ShardIteratorType::AfterSequenceNumber, Some(&sequences[4])).await, vec![]),
    ];
    for (iterator, expected) in cases {
        let page = read(&client, &iterator).await;
        assert_eq!(texts(&page), expected);
        assert!(page.next_shard_iterator().is_some());
    }
    for (millis, first) in [(-1, 0), (0, 0), (1, 1), (1000, 1), (4000, 4), (4001, 5)] {
        let request = client.get_shard_iterator().stream_name(STREAM).shard_id(FIRST);
        let request = request
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            .timestamp(DateTime::from_millis(EPOCH + millis));
        let iterator = request.send().await.expect("an iterator").shard_iterator.expect("an iterator");
        let page = read(&client, &iterator).await;
        assert_eq!(texts(&page), ["0", "1", "2", "3", "4"][first..], "{millis}");
    }
    let latest = at(ShardIteratorType::Latest, None).await;
    aws.kinesis().put(STREAM, "key", "later");
    assert_eq!(texts(&read(&client, &latest).await), ["later"]);
}

#[tokio::test]
async fn a_timestamp_before_the_horizon_is_the_horizon_and_one_in_the_future_is_refused_in_awss_words() {
    let (aws, client) = still(1).await;
    aws.kinesis().put(STREAM, "key", "old");
    aws.clock().advance(25 * HOUR);
    aws.kinesis().put(STREAM, "key", "new");
    let at = |millis: i64| {
        let request = client.get_shard_iterator().stream_name(STREAM).shard_id(FIRST);
        request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(millis)).send()
    };
    let iterator = at(EPOCH - 1_000_000).await.expect("an iterator").shard_iterator.expect("an iterator");
    assert_eq!(texts(&read(&client, &iterator).await), ["new"]);
    let now = aws.clock().now();
    let (code, message) = refused(at(now + 1).await);
    assert_eq!(code, "InvalidArgumentException");
    let wording = "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.";
    assert_eq!(message, format!("{wording} timestampInMillis: {}, currentTimestampInMillis: {now}", now + 1));
}

#[tokio::test]
async fn an_iterator_lives_for_five_minutes_and_what_is_none_is_refused() {
    let (aws, client) = still(1).await;
    let iterator = open(&client, FIRST).await;
    aws.clock().advance(Duration::from_secs(300));
    read(&client, &iterator).await;
    aws.clock().advance(Duration::from_millis(1));
    let (code, _) = refused(client.get_records().shard_iterator(&iterator).send().await);
    assert_eq!(code, "ExpiredIteratorException");
    let mut forged = open(&client, FIRST).await;
    forged.replace_range(30..31, if &forged[30..31] == "A" { "B" } else { "A" });
    for text in ["AAAA", "no iterator", forged.as_str()] {
        let (code, message) = refused(client.get_records().shard_iterator(text).send().await);
        assert_eq!((code.as_str(), message.as_str()), ("InvalidArgumentException", "Invalid ShardIterator."), "{text}");
    }
}

#[tokio::test]
async fn a_position_in_trimmed_data_goes_on_at_the_horizon_without_a_word() {
    let (aws, client) = still(1).await;
    let first = aws.kinesis().put(STREAM, "key", "0").sequence.to_string();
    let live = open(&client, FIRST).await;
    for number in 1..5 {
        aws.kinesis().put(STREAM, "key", number.to_string());
    }
    aws.kinesis().trim(STREAM, FIRST, 3);
    let stored = open_at(&client, FIRST, ShardIteratorType::AfterSequenceNumber, Some(&first)).await;
    let horizon = open(&client, FIRST).await;
    for iterator in [live, stored, horizon] {
        assert_eq!(texts(&read(&client, &iterator).await), ["3", "4"]);
    }
    // The clock trims as well.
    aws.clock().advance(24 * HOUR + Duration::from_millis(1));
    assert!(texts(&read(&client, &open(&client, FIRST).await).await).is_empty());
}

#[tokio::test]
async fn the_sequence_number_of_another_incarnation_or_shard_is_refused() {
    let (aws, client) = still(2).await;
    let old = aws.kinesis().put_to(STREAM, FIRST, "key", "0").sequence.to_string();
    let live = open(&client, FIRST).await;
    let ask = |shard: &str, sequence: &str| {
        let request = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
        request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(sequence).send()
    };
    let (code, message) = refused(ask("shardId-000000000001", &old).await);
    assert_eq!(code, "InvalidArgumentException");
    assert!(message.contains("It encodes shardId-000000000000"), "{message}");
    let (code, _) = refused(ask(FIRST, "1234").await);
    assert_eq!(code, "InvalidArgumentException");
    aws.kinesis().delete(STREAM);
    let (code, _) = refused(client.get_records().shard_iterator(&live).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    aws.kinesis().create(STREAM, 2);
    assert!(aws.kinesis().created(STREAM) > EPOCH);
    let (code, message) = refused(ask(FIRST, &old).await);
    assert_eq!(code, "InvalidArgumentException");
    assert!(message.ends_with("is invalid because it did not come from this stream."), "{message}");
    let (code, _) = refused(client.get_records().shard_iterator(&live).send().await);
    assert_eq!(code, "ResourceNotFoundException");
}

#[tokio::test]
async fn millis_behind_latest_is_the_age_of_the_last_record_of_a_page_and_0_at_the_tip() {
    let (aws, client) = still(1).await;
    for number in 0..3 {
        aws.kinesis().put(STREAM, "key", number.to_string());
        aws.clock().advance(Duration::from_secs(1));
    }
    let mut iterator = open(&client, FIRST).await;
    let mut behind = Vec::new();
    for _ in 0..4 {
        let page = client.get_records().shard_iterator(&iterator).limit(1).send().await.expect("a page");
        behind.push(page.millis_behind_latest().expect("told"));
        iterator = page.next_shard_iterator().expect("an open shard").to_owned();
    }
    assert_eq!(behind, [3000, 2000, 0, 0]);
}

#[tokio::test]
async fn a_split_shard_ends_with_its_last_records_and_its_children() {
    for (children, last_page) in [(Children::Told, LastPage::WithRecords), (Children::Omitted, LastPage::Empty)] {
        let (aws, client) = still(1).await;
        aws.kinesis().habits(STREAM, |habits| (habits.children, habits.last_page) = (children, last_page));
        aws.kinesis().put(STREAM, "key", "last");
        let half = (u128::MAX / 2 + 1).to_string();
        let request = client.split_shard().stream_name(STREAM).shard_to_split(FIRST).new_starting_hash_key(&half);
        request.send().await.expect("split");
        let mut page = read(&client, &open(&client, FIRST).await).await;
        assert_eq!(texts(&page), ["last"]);
        if last_page == LastPage::Empty {
            page = read(&client, page.next_shard_iterator().expect("an empty page follows")).await;
            assert!(page.records().is_empty());
        }
        assert_eq!((page.next_shard_iterator(), page.millis_behind_latest()), (None, Some(0)));
        let shards = listed(&client).await;
        assert!(shards[0].sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some()));
        assert!(shards[1..].iter().all(|shard| shard.parent_shard_id() == Some(FIRST)));
        assert_eq!(shards[2].hash_key_range().map(|range| range.starting_hash_key()), Some(half.as_str()));
        let told: Vec<_> = page.child_shards().iter().map(|child| child.shard_id().to_owned()).collect();
        let real = ids(&shards[1..]);
        assert_eq!(told, if children == Children::Told { real } else { vec![] });
        aws.kinesis().put(STREAM, "key", "for a child");
        assert!(read(&client, &open(&client, FIRST).await).await.records().len() == 1);
        let last = shards[0].sequence_number_range().and_then(|range| range.ending_sequence_number()).expect("closed");
        let end = open_at(&client, FIRST, ShardIteratorType::AfterSequenceNumber, Some(last)).await;
        assert!(read(&client, &end).await.next_shard_iterator().is_none());
    }
}

#[tokio::test]
async fn a_merge_has_two_parents_and_only_neighbours_merge() {
    let (aws, client) = still(3).await;
    let merge = |one: &str, other: &str| {
        client.merge_shards().stream_name(STREAM).shard_to_merge(one).adjacent_shard_to_merge(other).send()
    };
    let [one, two, three] = <[String; 3]>::try_from(aws.kinesis().open_shards(STREAM)).expect("three");
    let (code, _) = refused(merge(&one, &three).await);
    assert_eq!(code, "InvalidArgumentException");
    merge(&two, &one).await.expect("merged");
    let shards = listed(&client).await;
    assert_eq!(shards[3].parent_shard_id(), Some(two.as_str()));
    assert_eq!(shards[3].adjacent_parent_shard_id(), Some(one.as_str()));
    assert_eq!(shards[3].hash_key_range().map(|range| range.starting_hash_key()), Some("0"));
    let (code, _) = refused(merge(&two, &one).await);
    assert_eq!(code, "InvalidArgumentException");
}

#[tokio::test]
async fn update_shard_count_makes_equal_shards_whose_lineage_is_whole_whatever_the_ratio() {
    for (from, to) in [(2, 4), (4, 2), (2, 3), (3, 2), (3, 5), (1, 2), (5, 10), (7, 4)] {
        let (aws, client) = still(from).await;
        let request = client.update_shard_count().stream_name(STREAM).scaling_type(ScalingType::UniformScaling);
        request.target_shard_count(to).send().await.expect("scaled");
        let shards = aws.kinesis().shards(STREAM);
        let mut open: Vec<_> = shards.iter().filter(|shard| !shard.is_closed()).collect();
        open.sort_by_key(|shard| shard.range.start);
        assert_eq!(open.len(), to as usize, "{from} to {to}");
        assert!(open.windows(2).all(|pair| pair[0].range.end + 1 == pair[1].range.start));
        let sizes = open.iter().map(|shard| shard.range.end - shard.range.start);
        assert!(sizes.clone().max().expect("some") - sizes.min().expect("some") <= u128::from(to.unsigned_abs()) + 1);
        for shard in &shards[from as usize..] {
            let parents: Vec<_> = shards.iter().filter(|parent| shard.parents.contains(&parent.id)).collect();
            assert!(
                matches!(parents.len(), 1 | 2)
                    && parents.iter().all(|parent| parent.is_closed() && parent.first < shard.first)
            );
        }
    }
    let (_aws, client) = still(2).await;
    let request = client.update_shard_count().stream_name(STREAM).scaling_type(ScalingType::UniformScaling);
    let (code, _) = refused(request.target_shard_count(5).send().await);
    assert_eq!(code, "InvalidArgumentException");
}

#[tokio::test]
async fn a_closed_shard_vanishes_when_its_records_are_past_retention_and_its_children_keep_its_name() {
    let (aws, client) = still(1).await;
    aws.kinesis().put(STREAM, "key", "0");
    let live = open(&client, FIRST).await;
    let iterator = open(&client, FIRST).await;
    let children = aws.kinesis().split(STREAM, FIRST);
    client
        .increase_stream_retention_period()
        .stream_name(STREAM)
        .retention_period_hours(48)
        .send()
        .await
        .expect("kept");
    aws.clock().advance(48 * HOUR);
    assert_eq!(listed(&client).await.len(), 3);
    client.decrease_stream_retention_period().stream_name(STREAM).retention_period_hours(24).send().await.expect("cut");
    let shards = listed(&client).await;
    assert_eq!(ids(&shards), children.each_ref().map(String::as_str));
    assert_eq!(shards[0].parent_shard_id(), Some(FIRST));
    let request = client.get_shard_iterator().stream_name(STREAM).shard_id(FIRST);
    let (code, _) = refused(request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await);
    assert_eq!(code, "ResourceNotFoundException");
    drop((live, iterator));
    let truth = aws.kinesis().truth(STREAM);
    assert!(truth.records().all(|(_, is_kept)| !is_kept));
}

#[tokio::test]
async fn streams_take_their_time_if_told_to() {
    let (aws, client) = still(1).await;
    aws.kinesis().take_time(Duration::from_secs(30));
    let status = async |name: &str| {
        let output = client.describe_stream().stream_name(name).send().await.expect("described");
        let description = output.stream_description().expect("a description");
        (description.stream_status().clone(), description.shards().len())
    };
    client.create_stream().stream_name("other").shard_count(2).send().await.expect("created");
    assert_eq!(status("other").await, (StreamStatus::Creating, 0));
    let (code, _) = refused(client.list_shards().stream_name("other").send().await);
    assert_eq!(code, "ResourceInUseException");
    let (code, _) = refused(client.create_stream().stream_name("other").shard_count(2).send().await);
    assert_eq!(code, "ResourceInUseException");
    aws.clock().advance(Duration::from_secs(30));
    assert_eq!(status("other").await, (StreamStatus::Active, 2));
    let half = (u128::MAX / 4).to_string();
    let split = |shard: &str| {
        client.split_shard().stream_name("other").shard_to_split(shard).new_starting_hash_key(&half).send()
    };
    split(FIRST).await.expect("split");
    assert_eq!(status("other").await.0, StreamStatus::Updating);
    let (code, message) = refused(split("shardId-000000000002").await);
    assert_eq!(code, "ResourceInUseException");
    assert!(message.ends_with("not ACTIVE, instead in state UPDATING"), "{message}");
    aws.clock().advance(Duration::from_secs(30));
    client.delete_stream().stream_name("other").send().await.expect("deleted");
    assert_eq!(status("other").await.0, StreamStatus::Deleting);
    client.list_shards().stream_name("other").send().await.expect("still there");
    aws.clock().advance(Duration::from_secs(30));
    let (code, message) = refused(client.list_shards().stream_name("other").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, "Stream other under account 000000000000 not found.");
}

#[tokio::test]
async fn a_stream_is_as_readable_as_its_key_allows() {
    let (aws, client) = still(1).await;
    aws.kinesis().encrypt(STREAM, Encryption::Kms);
    let written = client.put_record().stream_name(STREAM).partition_key("key").data(Blob::new("secret")).send().await;
    assert_eq!(written.expect("written").encryption_type(), Some(&EncryptionType::Kms));
    let iterator = open(&client, FIRST).await;
    let page = read(&client, &iterator).await;
    assert_eq!(page.records()[0].encryption_type(), Some(&EncryptionType::Kms));
    for (encryption, expected) in [
        (Encryption::KmsAccessDenied, "KMSAccessDeniedException"),
        (Encryption::KmsDisabled, "KMSDisabledException"),
        (Encryption::KmsInvalidState, "KMSInvalidStateException"),
        (Encryption::KmsNotFound, "KMSNotFoundException"),
        (Encryption::KmsOptInRequired, "KMSOptInRequired"),
        (Encryption::KmsThrottling, "KMSThrottlingException"),
    ] {
        aws.kinesis().encrypt(STREAM, encryption);
        assert_eq!(refused(client.get_records().shard_iterator(&iterator).send().await).0, expected);
        let put = client.put_record().stream_name(STREAM).partition_key("key").data(Blob::new("secret")).send().await;
        assert_eq!(refused(put).0, expected);
    }
}
