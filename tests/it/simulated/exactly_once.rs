//! Whole pipelines that count records in a table, over the real SDK and a service that fails at random: every counter is
//! exact, whatever is lost, belated, refused or cut off, and however often the pipeline starts again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use host::columns::ElementBatch;
use host::component::{ComponentError, Delivery};
use host::convert::Convert;
use host::entry::{Action, Converted, Entries, ItemRequest};
use host::item::{Item, Value};
use host::ports::TableApi as _;
use host::sink::dynamodb::api::DynamodbTable;
use host::sink::dynamodb::key::KeySchema;
use host::sink::dynamodb::transactions::DynamodbTransactions;
use host::sink::exactly_once::{self, Settings, Target};
use host::sink::thread::{Output, RoutedSink};
use host::state::{LeaseStore as _, Owner};
use host::subtask::Converting;
use host_core::moment::EpochMillis;
use host_core::patience::RetryLimits;
use host_core::transacting::Options;
use tests::rig::Rig;
use tests::simulated::{Fault, KeyType, SimulatedAws};
use tests::tables;

const COUNTS: &str = "counts";
const POSITIONS: &str = "state-sluicebox";

/// Counts records by what their data sums up to.
struct Counting;

fn key_of(data: &[u8]) -> String {
    format!("key-{}", data.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 11)
}

impl Convert for Counting {
    fn convert(&mut self, elements: &ElementBatch, _delivery: Delivery) -> Result<Converted, ComponentError> {
        let add = |data: &[u8]| ItemRequest {
            action: Action::Add,
            item: Item(vec![
                ("key".to_owned(), Value::Text(key_of(data))),
                ("records".to_owned(), Value::Number("1".to_owned())),
            ]),
        };
        let entries: Vec<_> = elements.payload.iter().map(add).collect();
        let input_index = (0..).take(entries.len()).collect();
        Ok(Converted { input_index, entries: Entries::Dynamodb(entries), errors: Vec::new() })
    }

    fn renew(&mut self) {}

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

async fn target(aws: &SimulatedAws) -> Target {
    let access = aws.settings().access().await;
    let of = |name| DynamodbTable::new(access.dynamodb(), tables::table(name), access.settings());
    let (table, positions) = (of(COUNTS), of(POSITIONS));
    let described = table.describe().await.expect("a description");
    Target {
        schema: KeySchema::of(&described),
        arn: described.arn,
        api: Arc::new(DynamodbTransactions::new(Arc::new(table), tables::table(POSITIONS), access.settings())),
        positions: Arc::new(positions),
    }
}

/// A service with the tables of a pipeline.
async fn service() -> SimulatedAws {
    let aws = SimulatedAws::start_generous().await;
    aws.dynamodb().create(COUNTS, ("key", KeyType::Text), None);
    aws.dynamodb().create(POSITIONS, ("id", KeyType::Text), None);
    aws
}

/// A pipeline that counts in a table of the service.
async fn counting(aws: &SimulatedAws, shards: u32) -> Rig {
    let pause = Duration::from_millis(1);
    let settings = Settings {
        options: Options {
            max_count: 20,
            max_bytes: 100_000,
            max_age: Duration::from_millis(3),
            retry: RetryLimits { max_attempts: 50, min_delay: pause, max_delay: 4 * pause },
        },
        max_record_bytes: 1_000,
        max_in_flight: 4,
        max_buffered: 100,
        max_buffered_bytes: 100_000,
        request_timeout: Duration::from_millis(250),
        fail_on_timeout: false,
        fail_on_error: false,
    };
    let target = target(aws).await;
    let mut rig = Rig::new(shards);
    rig.has_sink = false;
    rig.manifest.parallelism = 2;
    rig.more_sinks.push(Box::new(move || RoutedSink {
        name: COUNTS.to_owned(),
        when: Vec::new(),
        output: Output::Service(exactly_once::service(target.clone(), settings)),
    }));
    rig.converters = Arc::new(|_subtask| {
        vec![Converting { sink: 0, name: COUNTS.to_owned(), when: Vec::new(), converter: Box::new(Counting) }]
    });
    rig
}

/// What the table counts, and what was written to the stream.
fn counted(aws: &SimulatedAws, rig: &Rig) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let mut written = BTreeMap::<String, u64>::new();
    for record in rig.stream.written() {
        *written.entry(key_of(&record.data)).or_default() += 1;
    }
    let count = |key: &String| {
        let key = serde_json::json!({ "key": { "S": key } });
        // One added to a counter is one effect.
        (key.to_string(), aws.dynamodb().writes_of(COUNTS, &key).len() as u64)
    };
    let effects = written.keys().map(|key| (key.clone(), count(key).1)).collect();
    (effects, written)
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture: how much was thrown at it is a figure worth seeing")]
fn report(line: &str) {
    println!("{line}");
}

/// CKP-1: through all that a service does, and stops that take too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_counter_is_exact_over_many_lives_whatever_the_service_does() {
    let aws = service().await;
    let mut rig = counting(&aws, 3).await;
    // Long enough to drain now and then, too short for it in other lives.
    for life in 0..12_u64 {
        rig.manifest.shutdown_timeout = Duration::from_millis(if life % 3 == 0 { 5_000 } else { 10 });
        rig.write(60);
        let often = |fault, probability| aws.faults().on("TransactWriteItems").probability(probability).inject(fault);
        often(Fault::Lose, 0.08);
        often(Fault::Conflict(0), 0.05);
        often(Fault::Conflict(1), 0.05);
        often(Fault::throttled(), 0.05);
        often(Fault::internal_server_error(), 0.05);
        often(Fault::Disconnect, 0.03);
        aws.faults()
            .on("TransactWriteItems")
            .probability(0.03)
            .times(2)
            .inject(Fault::Delay(Duration::from_millis(300)));
        let belated = aws.faults().on("TransactWriteItems").skip(10).times(1).inject(Fault::Belate);
        aws.faults().on("UpdateItem").probability(0.1).inject(Fault::Lose);
        aws.faults().on("UpdateItem").probability(0.1).inject(Fault::throttled());
        let run = rig.start().await;
        aws.until_called_again("TransactWriteItems", 20 + life).await;
        // A stop that takes too long leaves things under way, as a crash does.
        let _ended = run.drained().await;
        // What was asked for in this life may happen in the next.
        if life % 2 == 0 {
            aws.faults().lift(belated);
        }
        let (counts, written) = counted(&aws, &rig);
        assert!(counts.iter().all(|(key, count)| *count <= written[key]), "life {life}: {counts:?} of {written:?}");
    }
    aws.faults().mend();
    rig.manifest.shutdown_timeout = Duration::from_secs(30);
    rig.catch_up().await.expect_success();
    let (counts, written) = counted(&aws, &rig);
    assert_eq!(counts, written, "left: the table, right: the stream");
    let calls = aws.counted(|counted| counted.calls("TransactWriteItems"));
    let done: u64 = counts.values().sum();
    report(&format!("{done} records in 13 lives, {calls} calls: no effect missing, none twice"));
}

/// CKP-1: an older run is refused by the table, with what it has under way, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_was_taken_over_writes_nothing_more_and_says_so() {
    let aws = service().await;
    let rig = counting(&aws, 2).await;
    rig.write(40);
    // Calls of the first process stand still, and happen long after.
    let stuck = aws.faults().on("TransactWriteItems").skip(4).times(2).inject(Fault::Belate);
    let first = rig.start().await;
    aws.until_called("TransactWriteItems", 6).await;
    // The next one has a newer generation, and an older checkpoint than any.
    let mut next = counting(&aws, 2).await;
    (next.stream, next.api, next.fan_out) = (rig.stream.clone(), Arc::clone(&rig.api), rig.fan_out.clone());
    let mut store = next.store.open(&next.pipeline());
    for _ in 0..2 {
        let owner = Owner { name: "elsewhere:1".to_owned(), since: EpochMillis(0) };
        store.claim(&owner, &[]).expect("nobody has it");
        store.release().expect("it is ours");
    }
    drop(store);
    next.catch_up().await.expect_success();
    let (counts, written) = counted(&aws, &rig);
    assert_eq!(counts, written, "left: the table, right: the stream");
    aws.faults().lift(stuck);
    rig.write(40);
    let told = first.ended().await.expect_failure().to_string();
    assert!(told.contains("another process has taken this pipeline over"), "{told}");
    next.catch_up().await.expect_success();
    let (counts, written) = counted(&aws, &rig);
    assert_eq!(counts, written, "left: the table, right: the stream");
}
