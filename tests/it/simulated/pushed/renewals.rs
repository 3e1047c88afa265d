//! Subscriptions end and are dropped a thousand times, and nothing of them is left: no stream, no connection, no room.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use host::flow::Budget;
use host::ports::FanOutApi;
use host_core::shard::{Position, SequenceNumber, ShardId};
use tests::rig::soon;
use tests::simulated::{Limits, Setup, SimulatedAws, Wait};

use super::{BOTH, Over, expect_nothing_open, limits, with};
use crate::simulated::world::STREAM;

const SHARDS: u32 = 20;
const CYCLES: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);
const LIFE: Duration = Duration::from_millis(30);

/// A stream with a consumer, seen through the port that the host's readers use.
struct Port {
    aws: SimulatedAws,
    stream: Arc<dyn FanOutApi>,
    consumer: String,
    budget: Budget,
}

impl Port {
    async fn new(over: Over, limits: Limits) -> Self {
        let aws = SimulatedAws::start_with(Setup { limits, ..Setup::default() }).await;
        aws.kinesis().create(STREAM, SHARDS);
        let consumer = aws.kinesis().register_consumer(STREAM, "reader");
        let stream: Arc<dyn FanOutApi> = match over {
            Over::Http1 => Arc::new(aws.stream(STREAM).await),
            Over::Http2 => Arc::new(aws.h2c_stream(STREAM).await),
        };
        Self { aws, stream, consumer, budget: Budget::new(64 << 20) }
    }

    async fn subscribe(&self, shard: &ShardId, from: &Position) -> Box<dyn host::ports::Subscription> {
        let subscribing = self.stream.subscribe(&self.consumer, shard, from, PATIENCE, &self.budget);
        subscribing.await.expect("a subscription")
    }

    fn shards(&self) -> Vec<ShardId> {
        self.aws.kinesis().open_shards(STREAM).iter().map(|id| ShardId::new(id)).collect()
    }

    /// Reads one subscription to its end; returns how many records it brought and where the next one begins.
    async fn read_to_end(&self, shard: &ShardId, mut from: Position) -> (usize, Position) {
        let mut subscription = self.subscribe(shard, &from).await;
        let mut records = 0;
        while let Some(event) = subscription.next().await.expect("events or the end") {
            records += event.batches.iter().map(host::columns::RecordColumns::len).sum::<usize>();
            if let Some(sequence) = event.continuation {
                from = after(sequence);
            }
        }
        (records, from)
    }

    /// Panics unless everything was given back, and the connections when the stream is.
    async fn expect_nothing_left(self, cycles: u64) {
        self.aws.until_subscribed(0).await;
        self.aws.until("no stream of HTTP/2", |counted| counted.http2_streams == 0).await;
        assert_eq!(self.aws.counted(|counted| counted.subscribed().opened), cycles);
        assert_eq!(self.budget.held(), 0);
        drop(self.stream);
        self.aws.until("no connection", |counted| counted.connections == 0).await;
    }
}

fn after(sequence: SequenceNumber) -> Position {
    Position::After { sequence, sub_sequence: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscriptions_that_end_leave_nothing_behind_and_miss_nothing() {
    for over in BOTH {
        let life = Wait::Real(LIFE);
        let port = Port::new(over, Limits { subscription_life: life, ..limits() }).await;
        let shards = port.shards();
        let each = shards.iter().map(|shard| async {
            let (mut records, mut from) = (0, Position::TrimHorizon);
            for number in 0..CYCLES {
                port.aws.kinesis().put_to(STREAM, shard.as_str(), "key", number.to_string());
                let (count, next) = port.read_to_end(shard, from).await;
                (records, from) = (records + count, next);
            }
            records
        });
        let records = soon("a thousand ends", join_all(each)).await;
        assert_eq!(records, vec![CYCLES; shards.len()], "{over:?}");
        let connected = port.aws.counted(|counted| counted.connected);
        match over {
            // A line is dropped when it is empty, and its connection with it: a few are opened again.
            Over::Http2 => assert!(connected < 100, "{connected} connections"),
            // An answer that ended in order leaves its connection to the next.
            Over::Http1 => assert!(connected < 500, "{connected} connections"),
        }
        port.expect_nothing_left(u64::from(SHARDS) * CYCLES as u64).await;
    }
}

/// Before the first event, after it, and with many on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscriptions_that_are_dropped_leave_nothing_behind() {
    for over in BOTH {
        let port = Port::new(over, Limits { event_records: 1, ..limits() }).await;
        let shards = port.shards();
        // A client of HTTP/2 gives a connection up on which a thousand frames come for streams that it has reset.
        let (records, size) = match over {
            Over::Http1 => (50, 10_000),
            Over::Http2 => (2, 10),
        };
        for shard in &shards {
            for _ in 0..records {
                port.aws.kinesis().put_to(STREAM, shard.as_str(), "key", vec![b'x'; size]);
            }
        }
        let each = shards.iter().map(|shard| async {
            for cycle in 0..CYCLES {
                let mut subscription = port.subscribe(shard, &Position::TrimHorizon).await;
                for _ in 0..cycle % 3 {
                    subscription.next().await.expect("an event").expect("no end");
                }
            }
        });
        soon("a thousand drops", join_all(each)).await;
        let most = port.aws.counted(|counted| counted.subscribed().most);
        assert!(most <= 4 * shards.len(), "{most} at once");
        port.expect_nothing_left(u64::from(SHARDS) * CYCLES as u64).await;
    }
}

/// The whole host, each of whose shards is renewed once and again while records come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_of_a_running_pipeline_cost_no_record_and_leave_nothing_behind() {
    let renewed = |over| async move {
        let life = Wait::Real(LIFE);
        let limits = Limits { subscription_life: life, ..limits() };
        let mut world = with(64, over, Setup { limits, ..Setup::default() }).await;
        world.rig.manifest.parallelism = 2;
        world.write(500);
        let run = world.rig.start().await;
        for subscriptions in [64, 128, 192] {
            let held = move |counted: &tests::simulated::Tallies| counted.subscribed().opened >= subscriptions;
            world.aws.until("every shard's subscription", held).await;
            world.write(500);
        }
        world.until_all_delivered().await;
        run.drained().await.expect_success();
        expect_nothing_open(&world).await;
        world.expect_exact();
        drop(world.rig);
        world.aws.until("no connection", |counted| counted.connections == 0).await;
    };
    tokio::join!(renewed(Over::Http1), renewed(Over::Http2));
}
