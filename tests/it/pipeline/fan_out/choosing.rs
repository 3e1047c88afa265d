//! Which of the two readers it is, stream by stream, and from one run to the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use host::config::Reader;
use host::pipeline::failure::Failure;
use host::ports::FanOutApi as _;
use host::source::classify::SourceErrorKind;
use host::source::memory::{Call, MemoryStream};
use tests::rig::Rig;
use tests::told::Told;

/// By enhanced fan-out where it is to be had.
fn auto(shards: u32) -> Rig {
    let mut rig = Rig::new(shards);
    let polling = rig.polling().clone();
    let efo = rig.read_by_fan_out().clone();
    rig.manifest.source.reader = Reader::Auto(efo, polling);
    rig
}

/// DEL-1: said once, and nothing else is different.
#[tokio::test]
async fn a_stream_without_fan_out_is_polled_and_that_is_said_once() {
    for why in ["limit", "AccessDeniedException", "UnknownOperationException"] {
        let told = Told::listen();
        let rig = auto(2);
        if why == "limit" {
            for number in 0..20 {
                rig.stream.register_consumer(&format!("other-{number}")).await.expect("there is room");
            }
        } else {
            rig.stream.fail_next(Call::DescribeConsumer, None, why, u32::MAX);
        }
        rig.write(50);
        let run = rig.start().await;
        rig.until_all_delivered().await;
        rig.write(50);
        rig.until_all_delivered().await;
        run.drained().await.expect_success();
        rig.expect_exact();
        assert!(rig.stream.calls(Call::Read) > 0 && rig.stream.calls(Call::Subscribe) == 0, "{why}");
        assert_eq!(told.with("reading by polling").len(), 1, "{why}");
        assert_eq!(rig.stream.calls(Call::DeregisterConsumer), 0, "{why}");
    }
}

#[tokio::test]
async fn a_stream_with_fan_out_is_not_polled() {
    let told = Told::listen();
    let rig = auto(2);
    rig.write(50);
    rig.catch_up().await.expect_success();
    rig.expect_exact();
    assert!(rig.stream.calls(Call::Read) == 0 && rig.stream.calls(Call::Subscribe) > 0);
    assert!(told.with("polling").is_empty());
    assert!(rig.stream.consumers().is_empty(), "it was the pipeline's own");
}

/// A stream that is missing is missing, however it is read.
#[tokio::test]
async fn a_stream_that_is_missing_is_not_taken_for_one_without_fan_out() {
    let mut rig = auto(1);
    let gone = MemoryStream::new("rig", 1);
    gone.delete();
    rig.fan_out[0] = Arc::new(gone);
    let failure = rig.try_start(false).await.map(|_| ()).expect_err("it is missing");
    let Failure::Consumer(error) = &failure else { panic!("{failure}") };
    assert!(!error.leaves_polling(), "{error}");
    assert!(failure.to_string().contains("rig"), "{failure}");
    assert_eq!(rig.stream.calls(Call::Read), 0);
    let kind = rig.fan_out[0].list_consumers().await.expect_err("it is missing").kind;
    assert_eq!(kind, SourceErrorKind::StreamGone);
}

/// DEL-1: each stream in the way that it can be read.
#[tokio::test]
async fn of_two_streams_one_is_pushed_and_the_other_polled() {
    let told = Told::listen();
    let mut rig = auto(2);
    let other = rig.add_stream("other", 2);
    other.fail_next(Call::DescribeConsumer, None, "AccessDeniedException", u32::MAX);
    let run = rig.start().await;
    let mut texts = BTreeSet::new();
    for number in 0..50 {
        let text = format!("other {number}");
        other.put(&format!("key-{number}"), text.as_bytes());
        texts.insert(text);
    }
    rig.write(50);
    rig.until_elements(100).await;
    run.drained().await.expect_success();
    assert!(rig.stream.calls(Call::Read) == 0 && other.calls(Call::Subscribe) == 0);
    let lines = told.with("reading by polling");
    assert!(lines.len() == 1 && lines[0].contains("other"), "{lines:?}");
    let (others, own): (Vec<_>, Vec<_>) = rig.elements().into_iter().partition(|element| element.starts_with("other "));
    assert_eq!((others.len(), own.len(), others.into_iter().collect()), (50, 50, texts));
    assert!(rig.stream.consumers().is_empty() && other.consumers().is_empty());
}

/// ORD-1, DEL-1, LIN-1: positions are the same whoever wrote them, across a split and a merge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_changes_between_polling_and_fan_out_on_the_same_positions() {
    let mut rig = Rig::new(2);
    rig.manifest.parallelism = 2;
    rig.polling().max_records = 7;
    rig.stream.push_at_most(7);
    let polling = rig.manifest.source.reader.clone();
    let efo = Reader::Efo(rig.read_by_fan_out().clone());
    let readers = [&polling, &efo, &polling, &efo, &efo, &polling];
    let mut children = Vec::new();
    for (round, reader) in readers.into_iter().enumerate() {
        rig.manifest.source.reader = reader.clone();
        rig.write(100);
        match round {
            1 => children.extend(rig.stream.split(&rig.shards()[0])),
            2 => children.extend(rig.stream.split(&rig.shards()[1])),
            3 => children.push(rig.stream.merge(&children[1], &children[2])),
            _ => {}
        }
        rig.write(100);
        let before = rig.elements().len();
        let run = rig.start().await;
        // In the middle of it all.
        rig.until_elements(before + 60).await;
        run.drained().await.expect_success();
        let (reads, subscriptions) = (rig.stream.calls(Call::Read), rig.stream.calls(Call::Subscribe));
        assert!(reads > 0 && (subscriptions > 0) == (round > 0), "{round}: {reads} {subscriptions}");
    }
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}
