//! Where a run begins and when it ends by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use host::config::InitialPosition;
use host::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use host::source::classify::SourceError;
use host::source::memory::{Call, Lag, LastPage, MemoryStream};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardDescription, ShardId};
use tests::rig::{Rig, wall};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// A service that answers a timestamp with everything it has, as some emulators do.
struct TooEarly(MemoryStream);

impl StreamApi for TooEarly {
    fn describe(&self) -> Answer<'_, StreamDescription> {
        self.0.describe()
    }

    fn list_shards<'a>(&'a self, after: Option<&'a ShardId>) -> Answer<'a, Vec<ShardDescription>> {
        self.0.list_shards(after)
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> Answer<'a, ShardIterator> {
        match from {
            Position::AtTimestamp(_) => self.0.open(shard, &Position::TrimHorizon),
            Position::TrimHorizon | Position::After { .. } | Position::ShardEnd => self.0.open(shard, from),
        }
    }

    fn read<'a>(&'a self, shard: &'a ShardId, iterator: &'a ShardIterator, limit: u32) -> Answer<'a, Page> {
        self.0.read(shard, iterator, limit)
    }
}

/// A stream of one shard whose records arrive a millisecond after another, and a pipeline that starts with the record
/// number `wanted`.
fn at_record(wanted: i64) -> (Rig, ShardId) {
    let mut rig = Rig::new(1);
    rig.api = Arc::new(TooEarly(rig.stream.clone()));
    rig.polling().max_records = 10;
    let shard = rig.shards()[0].clone();
    let first = EpochMillis(wall().0 - 3_600_000);
    rig.stream.set_now(first);
    rig.manifest.source.initial_position = InitialPosition::AtTimestamp(EpochMillis(first.0 + wanted));
    (rig, shard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_from_before_the_timestamp_are_dropped_and_positions_move_all_the_same() {
    let (rig, shard) = at_record(25);
    rig.write_to(&shard, 40);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.elements_out.get(), 15);
    let written = rig.stream.written();
    let wanted: Vec<_> = written[25..].iter().map(|record| record.data.clone()).collect();
    assert_eq!(rig.sink.elements(), wanted);
    let last = Position::After { sequence: written[39].sequence.clone(), sub_sequence: 0 };
    assert_eq!(rig.durable()[&shard], last);
    // The next run starts there and has nothing to drop.
    rig.write_to(&shard, 5);
    assert_eq!(rig.catch_up().await.expect_success().elements_out.get(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_shard_with_nothing_but_old_records_ends_and_lets_its_children_start() {
    let (rig, shard) = at_record(1_000);
    rig.write_to(&shard, 40);
    let [child, _] = rig.stream.split(&shard);
    rig.stream.set_now(EpochMillis(rig.stream.written()[0].arrival.0 + 1_000));
    rig.write_to(&child, 10);
    let totals = rig.catch_up().await.expect_success();
    assert_eq!(totals.elements_out.get(), 10);
    assert_eq!(rig.durable()[&shard], Position::ShardEnd);
}

/// Somebody else writes to a shard whenever it is read: no page of it is ever empty.
struct Busy(MemoryStream);

impl StreamApi for Busy {
    fn describe(&self) -> Answer<'_, StreamDescription> {
        self.0.describe()
    }

    fn list_shards<'a>(&'a self, after: Option<&'a ShardId>) -> Answer<'a, Vec<ShardDescription>> {
        self.0.list_shards(after)
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> Answer<'a, ShardIterator> {
        self.0.open(shard, from)
    }

    fn read<'a>(&'a self, shard: &'a ShardId, iterator: &'a ShardIterator, limit: u32) -> Answer<'a, Page> {
        let key = shard.to_string();
        self.0.put_to(shard, &key, format!("{key} another {}", self.0.calls(Call::Read)).as_bytes());
        self.0.read(shard, iterator, limit)
    }
}

/// A run until caught up, while somebody else writes on and on.
async fn end_while_others_write(lag: Lag) {
    let mut rig = Rig::new(3);
    rig.manifest.parallelism = 2;
    rig.polling().max_records = 5;
    rig.stream.tell_lag(lag);
    rig.write(300);
    // From here on records arrive after the run's start.
    rig.stream.set_now(EpochMillis(wall().0 + 3_600_000));
    let quiet = std::mem::replace(&mut rig.api, Arc::new(Busy(rig.stream.clone())));
    let totals = rig.catch_up().await.expect_success();
    assert!(totals.elements_out.get() >= 300, "only {} came", totals.elements_out.get());
    // Nothing of the first run is repeated by the next, and what came later is not forgotten.
    rig.api = quiet;
    let run = rig.start().await;
    rig.until_all_delivered().await;
    let rest = run.drained().await.expect_success();
    assert_eq!(totals.records_in.get() + rest.records_in.get(), rig.stream.written().len() as u64);
    rig.expect_exact();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_ends_while_others_write() {
    end_while_others_write(Lag::Told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_ends_while_others_write_to_a_service_that_always_says_zero() {
    end_while_others_write(Lag::Zero).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_delivers_all_whatever_pages_say_of_the_distance() {
    for lag in [Lag::Told, Lag::Zero, Lag::Omitted] {
        let mut rig = Rig::new(3);
        rig.polling().max_records = 5;
        rig.stream.tell_lag(lag);
        rig.write(300);
        rig.catch_up().await.expect_success();
        rig.expect_exact();
    }
}

/// Emulators stamp what arrives in a new shard ahead of the clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_delivers_what_was_stamped_ahead_of_the_clock_before_it_began() {
    for lag in [Lag::Told, Lag::Zero, Lag::Omitted] {
        let mut rig = Rig::new(2);
        rig.polling().max_records = 5;
        rig.stream.tell_lag(lag);
        rig.stream.set_now(EpochMillis(wall().0 + 2_000));
        rig.write(100);
        rig.catch_up().await.expect_success();
        rig.expect_exact();
    }
}

/// What stands in a closed shard was there before, and so was what its children have, whatever the stamps say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_reads_closed_shards_to_their_ends_and_their_children_after_them() {
    for last_page in [LastPage::WithRecords, LastPage::Empty] {
        let mut rig = Rig::new(1);
        rig.polling().max_records = 5;
        rig.stream.end_with(last_page);
        let shard = rig.shards()[0].clone();
        let now = wall();
        rig.stream.set_now(EpochMillis(now.0 + 3_600_000));
        rig.write_to(&shard, 40);
        let children = rig.stream.split(&shard);
        rig.stream.set_now(now);
        children.iter().for_each(|child| rig.write_to(child, 20));
        rig.catch_up().await.expect_success();
        rig.expect_exact();
        assert_eq!(rig.durable()[&shard], Position::ShardEnd);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_over_an_empty_stream_ends() {
    for lag in [Lag::Told, Lag::Zero, Lag::Omitted] {
        let rig = Rig::new(3);
        rig.stream.tell_lag(lag);
        let totals = rig.catch_up().await.expect_success();
        assert_eq!((totals.records_in.get(), totals.elements_out.get()), (0, 0));
        // And again, with rows in the store.
        rig.catch_up().await.expect_success();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_caught_up_over_closed_shards_ends_at_their_ends() {
    for last_page in [LastPage::WithRecords, LastPage::Empty] {
        let rig = Rig::new(2);
        rig.stream.end_with(last_page);
        rig.write(100);
        for shard in rig.shards() {
            rig.stream.close(&shard);
        }
        rig.catch_up().await.expect_success();
        rig.expect_exact();
        assert!(rig.durable().values().all(Position::is_end));
        assert_eq!(rig.catch_up().await.expect_success().records_in.get(), 0, "a finished shard is not read again");
    }
}
