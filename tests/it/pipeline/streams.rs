//! Several streams in one source: each has its own shards and positions, and its own troubles.

use std::collections::{BTreeMap, BTreeSet};

use host::config::InitialPosition;
use host::source::memory::{Call, MemoryStream};
use host_core::shard::{Position, ShardId};
use tests::rig::Rig;

const THROTTLE: &str = "ProvisionedThroughputExceededException";
const BROKEN: &str = "InternalFailure";

/// A source of two streams of two shards each.
fn two_streams() -> (Rig, MemoryStream) {
    let mut rig = Rig::new(2);
    let second = rig.add_stream("second", 2);
    (rig, second)
}

/// Writes records that belong to `stream` for everybody to see; the keys are of that stream alone.
fn write(stream: &MemoryStream, name: &str, count: usize) {
    let before = stream.written().len();
    for number in before..before + count {
        let key = format!("{name}-{}", number % 16);
        stream.put(&key, format!("{key} {number}").as_bytes());
    }
}

/// Panics unless the sink holds what the streams do: each key once, whole and in order.
#[track_caller]
fn expect_exact(rig: &Rig, streams: &[&MemoryStream]) {
    let mut delivered: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for element in rig.sink.elements() {
        let key = String::from_utf8_lossy(&element).split(' ').next().unwrap_or_default().to_owned();
        delivered.entry(key).or_default().push(element);
    }
    let written: BTreeMap<_, _> = streams.iter().flat_map(|stream| stream.written_by_key()).collect();
    assert!(delivered == written, "left: the sink, right: the streams\n{delivered:?}\n{written:?}");
}

fn last_of(stream: &MemoryStream, shard: &ShardId) -> Position {
    let written = stream.written();
    let last = written.iter().rfind(|record| record.shard.as_str() == shard.as_str()).expect("the shard has records");
    Position::After { sequence: last.sequence.clone(), sub_sequence: 0 }
}

/// ORD-1, DEL-1: shards of the same name in two streams are two shards, in the state as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_with_the_same_shard_ids_are_delivered_whole_and_keep_positions_of_their_own() {
    let (mut rig, second) = two_streams();
    rig.manifest.parallelism = 2;
    write(&rig.stream, "first", 300);
    write(&second, "second", 500);
    let run = rig.start().await;
    rig.until_elements(800).await;
    run.drained().await.expect_success();
    expect_exact(&rig, &[&rig.stream, &second]);
    let durable = rig.durable();
    assert_eq!(durable.len(), 4);
    for (shard, position) in &durable {
        let stream = if shard.stream() == 0 { &rig.stream } else { &second };
        assert_eq!(*position, last_of(stream, shard), "{shard} of stream {}", shard.stream());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_cannot_be_listed_or_read_does_not_delay_the_other() {
    for call in [Call::Read, Call::ListShards] {
        let (mut rig, second) = two_streams();
        rig.manifest.aws.retry.max_attempts = u32::MAX;
        second.fail_next(call, None, if call == Call::Read { THROTTLE } else { BROKEN }, u32::MAX);
        write(&rig.stream, "first", 200);
        write(&second, "second", 200);
        let run = rig.start().await;
        rig.until_elements(200).await;
        // And its own resharding is found and followed meanwhile.
        let parent = rig.shards()[0].clone();
        rig.stream.split(&parent);
        write(&rig.stream, "first", 200);
        rig.until_elements(400).await;
        assert!(rig.elements().iter().all(|element| element.starts_with("first")), "{call:?}");
        second.mend();
        rig.until_elements(600).await;
        run.drained().await.expect_success();
        expect_exact(&rig, &[&rig.stream, &second]);
    }
}

/// DEL-1, CKP-1: both go on where they were, whatever place they have in the manifest by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_resumes_each_stream_at_its_own_place_in_any_order_of_the_manifest() {
    let (mut rig, second) = two_streams();
    write(&rig.stream, "first", 100);
    write(&second, "second", 30);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 130);
    write(&rig.stream, "first", 20);
    write(&second, "second", 70);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 90);
    rig.manifest.source.streams.reverse();
    let first = std::mem::replace(&mut rig.api, rig.others.remove(0));
    rig.others.push(first);
    write(&rig.stream, "first", 50);
    write(&second, "second", 10);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 60);
    expect_exact(&rig, &[&rig.stream, &second]);
}

/// POS-1: the configured start is that of the stream that is new, and of no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_added_later_starts_at_the_initial_position_while_the_other_resumes() {
    let mut rig = Rig::new(2);
    write(&rig.stream, "first", 50);
    rig.catch_up().await.expect_success();
    write(&rig.stream, "first", 50);
    let second = rig.add_stream("second", 2);
    write(&second, "second", 40);
    // Before everything that is left of the first stream, and in the middle of the second.
    let middle = second.written()[25].arrival;
    rig.manifest.source.initial_position = InitialPosition::AtTimestamp(middle);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.elements_out.get(), 50 + 15);
    let seconds: BTreeSet<_> = rig.elements().into_iter().filter(|element| element.starts_with("second")).collect();
    let wanted =
        second.written()[25..].iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect();
    assert_eq!(seconds, wanted);
    // A stream that is taken out keeps its place for when it comes back.
    let (arn, api) = (rig.manifest.source.streams.pop().expect("two streams"), rig.others.pop().expect("two streams"));
    write(&rig.stream, "first", 10);
    write(&second, "second", 10);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 10);
    rig.manifest.source.streams.push(arn);
    rig.others.push(api);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 10);
}

/// ASN-1: equal slices of several streams often carry the same keys, and would all meet on one subtask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uniform_gives_equal_slices_of_two_streams_to_different_subtasks() {
    let (mut rig, second) = two_streams();
    rig.manifest.parallelism = 2;
    write(&rig.stream, "first", 200);
    write(&second, "second", 200);
    rig.catch_up().await.expect_success();
    let places = rig.log.lock().expect("whole").places.clone();
    assert_eq!(places.len(), 4, "each shard on one subtask: {places:?}");
    let used: BTreeSet<_> = places.iter().map(|(_, shard, subtask)| (shard, subtask)).collect();
    assert_eq!(used.len(), 4, "{places:?}");
    expect_exact(&rig, &[&rig.stream, &second]);
}

/// CKP-1: a stream that may not be read stops the run for both, at the place of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_one_stream_keeps_the_positions_of_both() {
    let (rig, second) = two_streams();
    write(&rig.stream, "first", 100);
    write(&second, "second", 100);
    let run = rig.start().await;
    rig.until_elements(200).await;
    second.fail_next(Call::Read, None, "AccessDeniedException", u32::MAX);
    let failure = run.ended().await.expect_failure().to_string();
    assert!(failure.contains("second"), "{failure}");
    second.mend();
    write(&rig.stream, "first", 10);
    write(&second, "second", 10);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 20);
    expect_exact(&rig, &[&rig.stream, &second]);
}
