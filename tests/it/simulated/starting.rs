//! Where reading begins on a service whose clock is not ours, and what it says of places that are gone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use host::config::{InitialPosition, OnGap, StreamArn};
use host::pipeline::failure::Failure;
use host::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use host::source::classify::SourceError;
use host_core::gap::GapReason;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardDescription, ShardId};
use tests::rig::{Gate, Verdict};
use tests::simulated::{Clock, Fault, Limits, Setup};

use super::world::{STREAM, World};

const HOUR: i64 = 3_600_000;

fn kinds(world: &World) -> Vec<String> {
    let opened = world.aws.counted(|counted| counted.requests("GetShardIterator"));
    opened.iter().map(|request| request.input["ShardIteratorType"].as_str().unwrap_or_default().to_owned()).collect()
}

/// POS-1: `latest` is a time of the service's clock, wherever ours stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_loses_nothing_written_after_the_start_with_clocks_hours_apart() {
    for hours in [-5, 0, 5] {
        let clock = Clock::wall();
        clock.shift(hours * HOUR);
        let mut world = World::with(2, Setup { clock, limits: Limits::any_rate(), seed: 0 }).await;
        world.rig.manifest.source.initial_position = InitialPosition::Latest;
        world.write(20);
        // Before what a `Date` header leaves open.
        world.advance(5);
        let run = world.rig.start().await;
        world.write(30);
        world.rig.until_elements(30).await;
        let totals = run.drained().await.expect_success();
        assert_eq!(totals.elements_out.get(), 30, "{hours} h: what was there before is not read");
        world.write(10);
        let run = world.rig.start().await;
        world.rig.until_elements(40).await;
        run.drained().await.expect_success();
        let written: std::collections::BTreeSet<_> =
            world.kinesis().truth(STREAM).records().skip(20).map(|(record, _)| record.data.to_vec()).collect();
        assert_eq!(world.rig.sink.elements().into_iter().collect::<std::collections::BTreeSet<_>>(), written);
    }
}

/// POS-1: the start is durable before the first read, so what is written until the first checkpoint is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_before_its_first_checkpoint_leaves_the_place_it_began_at() {
    let mut world = World::new(2).await;
    world.rig.manifest.source.initial_position = InitialPosition::Latest;
    world.rig.manifest.shutdown_timeout = Duration::from_millis(50);
    let gate = Gate::default();
    let passed = gate.clone();
    world.rig = world.rig.scripted(move |_| {
        passed.pass();
        Verdict::Pass
    });
    world.write(20);
    world.advance(5);
    let run = world.rig.start().await;
    world.write(30);
    gate.until_waiting().await;
    let failure = run.drained().await.expect_failure();
    assert!(matches!(failure, Failure::DrainTimedOut { .. }), "{failure}");
    gate.open();
    world.advance(60);
    world.write(10);
    let run = world.rig.start().await;
    world.rig.until_elements(40).await;
    assert_eq!(run.drained().await.expect_success().elements_out.get(), 40);
}

/// POS-1: and the manifest's start is nobody's business any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_initial_position_has_no_effect_where_there_are_positions() {
    let mut world = World::new(1).await;
    world.write(10);
    world.rig.catch_up().await.expect_success();
    world.write(10);
    world.advance(60);
    world.rig.manifest.source.initial_position = InitialPosition::Latest;
    assert_eq!(world.rig.catch_up().await.expect_success().elements_out.get(), 10);
    world.expect_exact();
    assert_eq!(kinds(&world), ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"]);
}

/// GAP-1: what was trimmed before the first run was never this pipeline's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timestamp_older_than_retention_begins_at_the_horizon_without_a_gap() {
    let mut world = World::new(1).await;
    world.write(10);
    let long_ago = world.aws.clock().now() - 48 * HOUR;
    world.rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(long_ago));
    assert_eq!(world.rig.catch_up().await.expect_success().gaps.get(), 0);
    world.expect_exact();
    assert_eq!(kinds(&world), ["TRIM_HORIZON"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timestamp_in_the_future_is_waited_for_by_the_services_clock() {
    for hours in [0, 3] {
        let mut world = World::new(1).await;
        world.aws.clock().shift(hours * HOUR);
        let at = world.aws.clock().now() + 3_000;
        world.rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(at));
        world.write(10);
        let run = world.rig.start().await;
        world.aws.until_called("GetShardIterator", 1).await;
        world.aws.until_called("GetRecords", 1).await;
        world.write(10);
        world.rig.until_elements(10).await;
        assert_eq!(run.drained().await.expect_success().elements_out.get(), 10);
        let opened = world.aws.counted(|counted| counted.requests("GetShardIterator"));
        assert!(opened.last().expect("one").at >= at, "{hours} h");
        assert!(opened.len() <= 3, "nobody asks all the while: {}", opened.len());
    }
}

/// GAP-1: trimmed by the service's own clock while nobody ran.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_longer_than_retention_is_a_gap_and_a_shorter_one_is_none() {
    for (hours, on_gap) in [(22, OnGap::Fail), (26, OnGap::Fail), (26, OnGap::Continue)] {
        let mut world = World::new(2).await;
        world.rig.manifest.source.on_gap = on_gap;
        world.write(40);
        world.rig.catch_up().await.expect_success();
        let durable = world.rig.durable();
        world.write(40);
        world.advance(hours * 3_600);
        world.write(40);
        let outcome = world.rig.catch_up().await;
        if hours < 24 {
            assert_eq!(outcome.expect_success().gaps.get(), 0);
            world.expect_exact();
        } else if on_gap == OnGap::Continue {
            let totals = outcome.expect_success();
            assert_eq!((totals.gaps.get(), totals.elements_out.get()), (2, 40));
            let verdict =
                world.kinesis().truth(STREAM).compare_data(world.rig.sink.elements().iter().map(Vec::as_slice));
            assert_eq!((verdict.missing.len(), verdict.lost_by_trim.len()), (0, 40), "{verdict}");
        } else {
            let failure = outcome.expect_failure();
            assert!(matches!(failure, Failure::Gap { .. }), "{failure}");
            assert_eq!((world.rig.elements().len(), world.rig.durable()), (40, durable));
        }
    }
}

/// A stream that keeps the creation time of the one that it replaces.
struct Disguised(Arc<dyn StreamApi>, EpochMillis);

type Answer<'a, T> = BoxFuture<'a, Result<T, SourceError>>;

impl StreamApi for Disguised {
    fn describe(&self) -> Answer<'_, StreamDescription> {
        Box::pin(async { Ok(StreamDescription { created: self.1, ..self.0.describe().await? }) })
    }

    fn list_shards<'a>(&'a self, after: Option<&'a ShardId>) -> Answer<'a, Vec<ShardDescription>> {
        self.0.list_shards(after)
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> Answer<'a, ShardIterator> {
        self.0.open(shard, from)
    }

    fn read<'a>(&'a self, shard: &'a ShardId, iterator: &'a ShardIterator, limit: u32) -> Answer<'a, Page> {
        self.0.read(shard, iterator, limit)
    }
}

/// GAP-1: a position that the service does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_number_of_another_stream_is_a_gap() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let mut world = World::new(1).await;
        world.rig.manifest.source.on_gap = on_gap;
        let created = EpochMillis(world.kinesis().created(STREAM) / 1_000 * 1_000);
        world.rig.api = Arc::new(Disguised(Arc::clone(&world.rig.api), created));
        world.write(10);
        world.rig.catch_up().await.expect_success();
        world.kinesis().delete(STREAM);
        world.advance(10);
        world.kinesis().create(STREAM, 1);
        world.write(10);
        let outcome = world.rig.catch_up().await;
        if on_gap == OnGap::Continue {
            assert_eq!(outcome.expect_success().gaps.get(), 1);
            assert_eq!(world.rig.elements().len(), 20);
            assert_eq!(world.rig.catch_up().await.expect_success().gaps.get(), 0);
        } else {
            let failure = outcome.expect_failure();
            let Failure::Gap { gap, .. } = &failure else { panic!("{failure}") };
            assert_eq!(gap.reason, GapReason::StalePosition);
            assert_eq!(world.rig.elements().len(), 10);
        }
    }
}

/// GAP-1: readers find the old stream gone, or the new one in its place; either way the run ends by name, and the next
/// one begins with the oldest record of the new stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_created_anew_under_its_readers_is_named_as_such() {
    for on_gap in [OnGap::Fail, OnGap::Continue] {
        let mut world = World::new(4).await;
        world.rig.manifest.source.on_gap = on_gap;
        world.write(40);
        let run = world.rig.start().await;
        world.until_all_delivered().await;
        // Nothing is asked for between the two.
        let hung = world.aws.faults().on_any().inject(Fault::Hang);
        world.aws.until_hung(4).await;
        world.kinesis().delete(STREAM);
        world.advance(10);
        world.kinesis().create(STREAM, 4);
        world.aws.faults().lift(hung);
        let failure = run.ended().await.expect_failure();
        assert!(matches!(failure, Failure::Recreated { .. }), "{failure}");
        world.write(40);
        if on_gap == OnGap::Continue {
            assert_eq!(world.rig.catch_up().await.expect_success().gaps.get(), 1);
            world.expect_exact();
        } else {
            let refused = world.rig.try_start(false).await.map(|_| ()).expect_err("the stream is another one");
            assert!(matches!(refused, Failure::Recreated { .. }), "{refused}");
        }
    }
}

/// Two streams of one service, with shards of the same names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_streams_of_one_account_are_read_side_by_side_and_resume_each_at_its_own_place() {
    const SECOND: &str = "second";
    let mut world = World::new(2).await;
    world.rig.manifest.parallelism = 2;
    world.kinesis().create(SECOND, 2);
    let arn = world.kinesis().arn(SECOND);
    world.rig.manifest.source.streams.push(StreamArn::parse(&arn).expect("a stream's name"));
    world.rig.others.push(Arc::new(world.aws.stream(SECOND).await));
    let write = |from: usize, to: usize| {
        for number in from..to {
            let key = format!("second-{}", number % 16);
            world.kinesis().put(SECOND, &key, format!("{key} {number}"));
        }
    };
    world.write(100);
    write(0, 50);
    world.rig.catch_up().await.expect_success();
    world.write(10);
    write(50, 150);
    // The first is in trouble; the second is not.
    world.aws.faults().on("GetRecords").stream(STREAM).inject(Fault::throttled());
    let run = world.rig.start().await;
    world.rig.until_elements(250).await;
    world.aws.faults().mend();
    world.rig.until_elements(260).await;
    assert_eq!(run.drained().await.expect_success().elements_out.get(), 110, "nothing was read twice");
    let elements = world.rig.sink.elements();
    let (second, first): (Vec<_>, Vec<_>) =
        elements.iter().map(Vec::as_slice).partition(|text| text.starts_with(b"second"));
    for (stream, received) in [(STREAM, first), (SECOND, second)] {
        let verdict = world.kinesis().truth(stream).compare_data(received);
        assert!(verdict.is_exact(), "{stream}: {verdict}");
    }
}

/// What a caller may not is borne for a moment, because keys are changed and sessions renewed; not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_borne_twice_and_a_third_one_stops_the_run() {
    let world = World::new(1).await;
    world.write(10);
    let run = world.rig.start().await;
    world.until_all_delivered().await;
    world.aws.faults().on("GetRecords").times(2).inject(Fault::client("AccessDeniedException"));
    world
        .aws
        .until("two denials", |counted| {
            counted.operation("GetRecords").refused.get("AccessDeniedException") == Some(&2)
        })
        .await;
    world.write(10);
    world.until_all_delivered().await;
    world.aws.faults().on("GetRecords").inject(Fault::client("AccessDeniedException"));
    let outcome = run.ended().await;
    assert_eq!(outcome.totals.health.retries.denied.get(), 4);
    let failure = outcome.expect_failure().to_string();
    assert!(failure.contains("AccessDenied"), "{failure}");
    world.aws.faults().mend();
    world.write(10);
    world.rig.catch_up().await.expect_success();
    world.expect_exact();
}
