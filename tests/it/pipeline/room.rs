//! What a slow component may cost: bounded bytes, and nobody else's time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use host::columns::RecordColumns;
use host::ports::{Page, ShardIterator, StreamApi, StreamDescription};
use host::source::classify::SourceError;
use host::source::memory::{Call, MemoryStream};
use host_core::shard::{Position, ShardDescription, ShardId};
use tests::rig::{Gate, Rig, Verdict};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

const MIB: usize = 1 << 20;

/// What one shard's pages were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pages {
    count: usize,
    bytes: usize,
    largest: usize,
}

/// Weighs pages on their way out of the stream, in the bytes that they hold in memory.
#[derive(Clone)]
struct Scale {
    stream: MemoryStream,
    pages: Arc<Mutex<BTreeMap<ShardId, Pages>>>,
}

impl Scale {
    fn under(rig: &mut Rig) -> Self {
        let scale = Self { stream: rig.stream.clone(), pages: Arc::default() };
        rig.api = Arc::new(scale.clone());
        scale
    }

    fn of(&self, shard: &ShardId) -> Pages {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(shard).copied().unwrap_or_default()
    }
}

impl StreamApi for Scale {
    fn describe(&self) -> Answer<'_, StreamDescription> {
        self.stream.describe()
    }

    fn list_shards<'a>(&'a self, after: Option<&'a ShardId>) -> Answer<'a, Vec<ShardDescription>> {
        self.stream.list_shards(after)
    }

    fn open<'a>(&'a self, shard: &'a ShardId, from: &'a Position) -> Answer<'a, ShardIterator> {
        self.stream.open(shard, from)
    }

    fn read<'a>(&'a self, shard: &'a ShardId, iterator: &'a ShardIterator, limit: u32) -> Answer<'a, Page> {
        Box::pin(async move {
            let page = self.stream.read(shard, iterator, limit).await?;
            let bytes = page.batches.iter().map(RecordColumns::size).sum();
            let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
            let of_shard = pages.entry(shard.clone()).or_default();
            of_shard.count += 1;
            of_shard.bytes += bytes;
            of_shard.largest = of_shard.largest.max(bytes);
            drop(pages);
            Ok(page)
        })
    }
}

/// A pipeline of two subtasks with a shard each; the component stands still on the first shard until the gate opens.
fn blocked_on_the_first_of_two(read_ahead: usize) -> (Rig, Gate, [ShardId; 2]) {
    let gate = Gate::default();
    let (script_gate, first) = (gate.clone(), "shardId-000000000000");
    let mut rig = Rig::new(2).scripted(move |asked| {
        if asked.shard == first {
            script_gate.pass();
        }
        Verdict::Pass
    });
    rig.manifest.parallelism = 2;
    rig.manifest.source.read_ahead = read_ahead as u64;
    let shards = rig.shards().try_into().expect("two shards");
    (rig, gate, shards)
}

/// Blocks the component, lets the sibling make calls as a measure of time, and compares what is held with the budget.
async fn bytes_held_stay_within_the_budget(data_bytes: usize, records: usize, max_records: u32) {
    let (mut rig, gate, [slow, other]) = blocked_on_the_first_of_two(MIB);
    rig.polling().max_records = max_records;
    let scale = Scale::under(&mut rig);
    let filling = "x".repeat(data_bytes);
    for _ in 0..records {
        rig.say(&slow, &filling);
    }
    let run = rig.start().await;
    gate.until_waiting().await;
    // Reads of the idle sibling come every few milliseconds: enough of them, and the slow shard has read what it may.
    let mut seen = scale.of(&slow);
    loop {
        let reads = rig.stream.calls(Call::Read);
        tests::rig::soon("the sibling's reads", rig.stream.until_calls(Call::Read, reads + 100)).await;
        let now = scale.of(&slow);
        if now == seen {
            break;
        }
        seen = now;
    }
    // Each of the two subtasks has half of the budget.
    assert!(seen.bytes <= MIB / 2 + seen.largest, "{seen:?} is held, {} and a page are allowed", MIB / 2);
    assert!(seen.count < records.div_ceil(max_records as usize), "everything was read: nothing was tested");
    assert!(scale.of(&other).count > 50);
    gate.open();
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// LIM-1: reading stops while the component does, and goes on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_component_stops_reading_at_the_budget() {
    bytes_held_stay_within_the_budget(400, 10_000, 500).await;
}

/// LIM-1: keys, sequence numbers and columns count, not only data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_component_stops_reading_at_the_budget_when_records_are_tiny() {
    bytes_held_stay_within_the_budget(1, 60_000, 2_000).await;
}

/// LIM-1: every page is larger than the budget of its subtask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_component_holds_one_page_that_is_larger_than_the_budget_and_no_second() {
    bytes_held_stay_within_the_budget(50_000, 200, 50).await;
}

/// LIM-1: a budget is no limit to what can be read, only to how much at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_larger_than_the_whole_budget_get_through() {
    let mut rig = Rig::new(2);
    rig.manifest.parallelism = 4;
    rig.manifest.source.read_ahead = MIB as u64;
    let filling = "x".repeat(900_000);
    for _ in 0..10 {
        for shard in rig.shards() {
            rig.say(&shard, &filling);
        }
    }
    rig.catch_up().await.expect_success();
    rig.expect_exact();
}

/// ISO-1: neither delivery nor checkpoints of other subtasks wait for one that stands still with all the bytes it may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_subtask_delays_no_other_subtask() {
    let (rig, gate, [slow, other]) = blocked_on_the_first_of_two(MIB);
    let filling = "x".repeat(10_000);
    for _ in 0..500 {
        rig.say(&slow, &filling);
    }
    rig.write_to(&other, 50);
    let run = rig.start().await;
    gate.until_waiting().await;
    rig.until_elements(50).await;
    for _ in 0..20 {
        let before = rig.sink.elements().len();
        rig.write_to(&other, 50);
        rig.until_elements(before + 50).await;
        let last = rig.stream.written().pop().expect("just written").sequence;
        let at_last = Position::After { sequence: last, sub_sequence: 0 };
        rig.until_durable("the sibling's position", |durable| durable.get(&other) == Some(&at_last)).await;
    }
    assert_eq!(rig.durable()[&slow], Position::TrimHorizon);
    gate.open();
    rig.until_all_delivered().await;
    run.drained().await.expect_success();
    rig.expect_exact();
}
