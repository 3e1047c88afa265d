//! Positions in DynamoDB when it misbehaves: whatever becomes of a call, nothing is done twice or lost, and who was followed
//! writes nothing.

mod edits;
mod process;

use std::sync::Arc;
use std::time::Duration;

use host::aws::AwsSettings;
use host::state::dynamodb::{DynamoStore, Options};
use host::state::error::Outcome;
use host::state::{Claimed, LeaseStore, Owner, PipelineId, RegisteredConsumer, StartPoint, StoreError, StreamIdentity};
use host_core::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use host_core::moment::EpochMillis;
use host_core::patience::RetryLimits;
use host_core::shard::{Position, SequenceNumber, ShardId};
use serde_json::{Value, json};
use tests::simulated::{Fault, SimulatedAws};
use tokio::runtime::Runtime;

const TABLE: &str = "quakes-positions";
const BESIDE: &str = "quakes-positions-sluicebox";

fn id() -> PipelineId {
    PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() }
}

fn owner(name: &str) -> Owner {
    Owner { name: name.to_owned(), since: EpochMillis(1_000) }
}

fn stream() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:us-east-1:123456789012:stream/quakes".to_owned(),
        created: EpochMillis(1_700_000_000_000),
    }
}

fn after(sequence: u32) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

fn row(name: &str, position: Position) -> ShardRow {
    let finished_at = position.is_end().then_some(EpochMillis(99));
    ShardRow {
        shard: ShardId::new(name),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position,
        watermark: None,
        complete_until: None,
        finished_at,
    }
}

fn advance(name: &str, from: Position, to: Position) -> Advance {
    let finished_at = to.is_end().then_some(EpochMillis(99));
    let shard = ShardId::new(name);
    Advance { shard, from, to, children: Vec::new(), watermark: None, complete_until: None, finished_at }
}

fn create(rows: Vec<ShardRow>) -> Commit {
    Commit { create: rows, ..Commit::default() }
}

fn moved(advance: Advance) -> Commit {
    Commit { advance: vec![advance], ..Commit::default() }
}

/// The service, from threads that wait: a store is called by such.
struct Scene {
    runtime: Runtime,
    aws: Arc<SimulatedAws>,
}

impl Scene {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let aws = Arc::new(runtime.block_on(SimulatedAws::start()));
        Self { runtime, aws }
    }

    fn options(&self, table: &str) -> Options {
        Options {
            aws: AwsSettings { call_timeout: Duration::from_secs(30), ..self.aws.settings() },
            table: tests::tables::table(table),
            retry: RetryLimits {
                max_attempts: 20,
                min_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(5),
            },
            lease: Duration::from_millis(400),
        }
    }

    fn open(&self) -> DynamoStore {
        DynamoStore::open(self.options(TABLE), &id()).expect("a thread")
    }

    /// A store that owns the pipeline and has started the stream.
    fn started(&self) -> DynamoStore {
        let mut store = self.open();
        store.claim(&owner("first:1"), &[]).expect("nobody owns it");
        store.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("not started yet");
        store
    }

    /// What the next process finds.
    fn claim(&self) -> (DynamoStore, Claimed) {
        let mut store = self.open();
        let claimed = store.claim(&owner("next:2"), &[]).expect("nobody is left");
        (store, claimed)
    }

    /// As if the owner had been silent for a lease, at once.
    fn follow(&self) -> DynamoStore {
        let client = self.runtime.block_on(self.aws.dynamodb_client());
        let update = client.update_item().table_name(BESIDE);
        let update = update.key("id", aws_sdk_dynamodb::types::AttributeValue::S("claim".to_owned()));
        let update = update.update_expression("SET released = :yes");
        let update = update.expression_attribute_values(":yes", aws_sdk_dynamodb::types::AttributeValue::Bool(true));
        self.runtime.block_on(update.send()).expect("the claim is there");
        self.claim().0
    }

    fn lease(&self, shard: &str) -> Option<Value> {
        let key = json!({ "leaseKey": { "S": format!("123456789012:quakes:1700000000:{shard}") } });
        let item = self.aws.dynamodb().item(TABLE, &key)?;
        Some(item.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
    }
}

fn rows(claimed: &Claimed) -> &[ShardRow] {
    claimed.streams.first().map_or(&[], |stream| &stream.rows)
}

#[test]
fn what_lost_its_answer_is_done_once() {
    let scene = Scene::new();
    let lose = |operation: &str| scene.aws.faults().on(operation).table(BESIDE).times(1).inject(Fault::Lose);
    lose("CreateTable");
    lose("TransactWriteItems");
    let mut store = scene.open();
    let claimed = store.claim(&owner("first:1"), &[]).expect("the claim is known again");
    assert_eq!((claimed.generation, claimed.previous), (1, None));
    store.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("not started yet");
    store.commit(&[stream()], &create(vec![row("a", Position::TrimHorizon)]), &[]).expect("new");
    for sequence in 1..=3 {
        let from = if sequence == 1 { Position::TrimHorizon } else { after(sequence - 1) };
        lose("TransactWriteItems");
        store.commit(&[stream()], &moved(advance("a", from, after(sequence))), &[]).expect("done, if unheard");
    }
    let lease = scene.lease("a").expect("kept");
    assert_eq!((&lease["leaseCounter"]["N"], &lease["checkpoint"]["S"]), (&json!("4"), &json!("3")));
    lose("UpdateItem");
    store.release().expect("released once is released");
    let (_, next) = scene.claim();
    assert_eq!((next.generation, rows(&next)), (2, &[row("a", after(3))][..]));
}

/// A service does not know a call again for ever: what it wrote then tells.
#[test]
fn a_repeated_commit_whose_token_was_forgotten_is_known_by_what_it_wrote() {
    let scene = Scene::new();
    let mut store = scene.started();
    scene.aws.faults().on("TransactWriteItems").times(1).inject(Fault::Lose);
    scene.aws.faults().on("TransactWriteItems").times(1).inject(Fault::client("ConditionalCheckFailedException"));
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("its own write was in its way");
    assert_eq!(scene.lease("a").expect("kept")["leaseCounter"]["N"], json!("1"));
}

#[test]
fn an_outage_shorter_than_its_retries_is_borne_by_every_call() {
    let scene = Scene::new();
    let faults = [
        Fault::throttled(),
        Fault::internal_server_error(),
        Fault::unavailable(),
        Fault::Disconnect,
        Fault::Conflict(0),
        Fault::client("ThrottlingException"),
    ];
    for fault in &faults {
        for operation in ["DescribeTable", "Scan", "GetItem", "TransactWriteItems", "UpdateItem"] {
            scene.aws.faults().on(operation).times(2).inject(fault.clone());
        }
    }
    let mut store = scene.started();
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("borne");
    // What heartbeats have left of the faults of `UpdateItem` is the release's.
    for fault in &faults {
        scene.aws.faults().on("TransactWriteItems").times(2).inject(fault.clone());
    }
    store.commit(&[stream()], &moved(advance("a", after(1), after(2))), &[]).expect("borne");
    store.release().expect("borne");
    let (_, next) = scene.claim();
    assert_eq!(rows(&next), [row("a", after(2))]);
    assert_eq!(scene.lease("a").expect("kept")["leaseCounter"]["N"], json!("2"), "each once");
}

#[test]
fn after_its_retries_a_write_fails_and_says_whether_it_may_have_happened() {
    let scene = Scene::new();
    let mut store = scene.started();
    let refused = scene.aws.faults().on("TransactWriteItems").inject(Fault::throttled());
    let error = store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect_err("for ever");
    assert_eq!(error.outcome(), Outcome::NothingChanged, "{error}");
    scene.aws.faults().lift(refused);
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("nothing is in the way");
    let lost = scene.aws.faults().on("TransactWriteItems").inject(Fault::Lose);
    let commit = moved(advance("a", after(1), after(2)));
    let error = store.commit(&[stream()], &commit, &[]).expect_err("for ever");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    scene.aws.faults().lift(lost);
    let refused = store.commit(&[stream()], &commit, &[]).expect_err("who does not know where it is writes nothing");
    assert!(refused.to_string().contains("start the pipeline again"), "{refused}");
    let claimed = store.claim(&owner("first:1"), &[]).expect("the way out");
    assert_eq!((claimed.generation, rows(&claimed)), (2, &[row("a", after(2))][..]));
}

#[test]
fn every_write_of_an_owner_that_was_followed_is_refused() {
    let scene = Scene::new();
    let mut zombie = scene.started();
    zombie.commit(&[stream()], &create(vec![row("a", after(1)), row("e", Position::ShardEnd)]), &[]).expect("new");
    let _next = scene.follow();
    let before = (scene.aws.dynamodb().items(TABLE), scene.aws.dynamodb().items(BESIDE));
    let other = StreamIdentity { created: EpochMillis(1), ..stream() };
    let consumer = RegisteredConsumer { name: "fast".to_owned(), arn: None };
    let mark = SinkMark { sink: 0, mark: 7 };
    let refused = [
        zombie.commit(&[stream()], &Commit::default(), &[]),
        zombie.commit(&[stream()], &create(vec![row("b", after(1))]), &[]),
        zombie.commit(&[stream()], &moved(advance("a", after(1), after(2))), &[]),
        zombie.commit(&[stream()], &Commit { forget: vec![ShardId::new("e")], ..Commit::default() }, &[]),
        zombie.commit(&[stream()], &Commit { marks: vec![mark], ..Commit::default() }, &["out".to_owned()]),
        zombie.start_stream(&other, StartPoint::TrimHorizon, &[row("a", after(1))]),
        zombie.note_consumer(&stream(), Some(&consumer)),
        zombie.forget_stream(&stream()),
        zombie.release(),
    ];
    for refused in refused {
        let Err(StoreError::Fenced { by: Some(by), newer: 2, ours: 1, .. }) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(by.name, "next:2");
    }
    let without_beats = |mut items: Vec<tests::simulated::Item>| {
        items.iter_mut().for_each(|item| drop(item.remove("beat")));
        items
    };
    let now = (scene.aws.dynamodb().items(TABLE), scene.aws.dynamodb().items(BESIDE));
    assert_eq!(before.0, now.0);
    assert_eq!(without_beats(before.1), without_beats(now.1), "nothing but the new owner's beats was written");
}

/// The conditions are the service's to check, when it carries the request out.
#[test]
fn a_request_of_a_zombie_that_was_on_the_way_already_writes_nothing() {
    let scene = Scene::new();
    let mut zombie = scene.started();
    zombie.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    scene.aws.faults().on("TransactWriteItems").times(1).inject(Fault::Belate);
    let writing = std::thread::spawn(move || {
        let done = zombie.commit(&[stream()], &moved(advance("a", after(1), after(2))), &[]);
        (zombie, done)
    });
    scene.runtime.block_on(scene.aws.until_hung(1));
    let mut next = scene.follow();
    next.commit(&[stream()], &moved(advance("a", after(1), after(5))), &[]).expect("the owner");
    scene.aws.faults().mend();
    let (_zombie, late) = writing.join().expect("no panic");
    assert!(matches!(late, Err(StoreError::Fenced { newer: 2, ours: 1, .. })), "{late:?}");
    let lease = scene.lease("a").expect("kept");
    assert_eq!((&lease["checkpoint"]["S"], &lease["leaseOwner"]["S"]), (&json!("5"), &json!("next:2")));
}

/// A thousand rows are eleven transactions. Wherever the process dies between them, the next one loses nothing.
#[test]
fn a_crash_between_the_transactions_of_one_commit_loses_nothing() {
    const ROWS: usize = 1_000;
    let name = |n: usize| format!("shard-{n:04}");
    let scene = Scene::new();
    let ends = |n: usize| n % 100 == 7;
    let rows_before: Vec<ShardRow> = (0..ROWS).map(|n| row(&name(n), after(1))).collect();
    let gone: Vec<ShardRow> = (0..5).map(|n| row(&format!("old-{n}"), Position::ShardEnd)).collect();
    let mut commit = Commit::default();
    for n in 0..ROWS {
        let mut moved = advance(&name(n), after(1), if ends(n) { Position::ShardEnd } else { after(2) });
        if ends(n) {
            moved.children = vec![ShardId::new(&format!("child-{n}"))];
            let parents = vec![ShardId::new(&name(n))];
            commit.create.push(ShardRow { parents, ..row(&format!("child-{n}"), Position::TrimHorizon) });
        }
        commit.advance.push(moved);
    }
    commit.forget = gone.iter().map(|row| row.shard.clone()).collect();
    commit.marks = vec![SinkMark { sink: 0, mark: 200 }];
    let sinks = ["out".to_owned()];
    let mut partly = 0;
    for transactions in 0.. {
        let options = scene.options(&format!("crash-{transactions}"));
        let mut store = DynamoStore::open(options.clone(), &id()).expect("a thread");
        store.claim(&owner("first:1"), &[]).expect("nobody owns it");
        let all: Vec<ShardRow> = rows_before.iter().chain(&gone).cloned().collect();
        store.start_stream(&stream(), StartPoint::TrimHorizon, &all).expect("not started yet");
        let mark = Commit { marks: vec![SinkMark { sink: 0, mark: 100 }], ..Commit::default() };
        store.commit(&[stream()], &mark, &sinks).expect("the owner");
        let crash = scene.aws.faults().on("TransactWriteItems").skip(transactions);
        let crash = crash.inject(Fault::client("AccessDeniedException_not"));
        let done = store.commit(&[stream()], &commit, &sinks);
        drop(store);
        scene.aws.faults().lift(crash);
        let mut next = DynamoStore::open(options, &id()).expect("a thread");
        let claimed = next.claim(&owner("next:2"), &[]).expect("nobody is left");
        let found: std::collections::BTreeMap<&str, &ShardRow> =
            rows(&claimed).iter().map(|row| (row.shard.as_str(), row)).collect();
        let mark = claimed.marks[0].1;
        for n in 0..ROWS {
            let position = &found[name(n).as_str()].position;
            if *position != after(1) {
                assert_eq!(mark, 200, "{transactions}: a file would be cut back behind {position}");
                partly += 1;
            }
            if position.is_end() {
                assert!(found.contains_key(format!("child-{n}").as_str()), "{transactions}: nobody reads on");
            }
        }
        if done.is_ok() {
            assert!(transactions > 10, "{transactions}");
            assert!(gone.iter().all(|row| !found.contains_key(row.shard.as_str())));
            break;
        }
        let error = done.expect_err("it is cut short");
        let outcome = if transactions == 0 { Outcome::NothingChanged } else { Outcome::Unknown };
        assert_eq!(error.outcome(), outcome, "{error}");
    }
    assert!(partly > ROWS, "some were cut short in the middle");
}

#[test]
fn a_table_of_another_pipeline_is_refused_untouched() {
    let scene = Scene::new();
    let mut store = scene.started();
    store.release().expect("the owner");
    let before = scene.aws.dynamodb().items(BESIDE);
    let other = PipelineId { pipeline: "blasts".to_owned(), ..id() };
    let mut foreign = DynamoStore::open(scene.options(TABLE), &other).expect("a thread");
    let refused = foreign.claim(&owner("host:1"), &[]).expect_err("another's").to_string();
    assert!(
        refused.contains("keeps the positions of pipeline default/quakes, not those of default/blasts"),
        "{refused}"
    );
    assert_eq!(scene.aws.dynamodb().items(BESIDE), before);
}

#[test]
fn what_is_not_permitted_is_named_with_the_action_to_grant() {
    let scene = Scene::new();
    let denied = || Fault::client("AccessDeniedException");
    let create = scene.aws.faults().on("CreateTable").inject(denied());
    let refused = scene.open().claim(&owner("host:1"), &[]).expect_err("denied");
    let told = refused.to_string();
    for part in ["cannot create the table of positions \"quakes-positions\"", "us-east-1", "grant dynamodb:CreateTable"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(refused.outcome(), Outcome::NothingChanged);
    scene.aws.faults().lift(create);
    let mut store = scene.started();
    scene.aws.faults().on("TransactWriteItems").inject(denied());
    let refused = store.commit(&[stream()], &create_one(), &[]).expect_err("denied").to_string();
    assert!(refused.contains("grant dynamodb:PutItem, UpdateItem and DeleteItem"), "{refused}");
}

fn create_one() -> Commit {
    create(vec![row("a", after(1))])
}

/// What AWS's Kinesis Client Library 3 calls the attributes of a lease, and what it puts there.
#[test]
fn a_row_is_a_lease_as_kcl_knows_it() {
    let scene = Scene::new();
    let mut store = scene.started();
    let merged = ShardRow {
        parents: vec![ShardId::new("shardId-2"), ShardId::new("shardId-1")],
        range: Some(host_core::shard::HashRange { start: 0, end: u128::MAX }),
        complete_until: Some(EpochMillis(1_700_000_005_000)),
        ..row("shardId-3", Position::TrimHorizon)
    };
    store.commit(&[stream()], &create(vec![merged]), &[]).expect("new");
    let sequence = SequenceNumber::parse("49612345678901234567890123456789012345678901234567890123").expect("decimal");
    let to = Position::After { sequence, sub_sequence: 4 };
    store.commit(&[stream()], &moved(advance("shardId-3", Position::TrimHorizon, to)), &[]).expect("as expected");
    let expected = json!({
        "leaseKey": { "S": "123456789012:quakes:1700000000:shardId-3" },
        "leaseOwner": { "S": "first:1" },
        "leaseCounter": { "N": "2" },
        "checkpoint": { "S": "49612345678901234567890123456789012345678901234567890123" },
        "checkpointSubSequenceNumber": { "N": "4" },
        "ownerSwitchesSinceCheckpoint": { "N": "0" },
        "parentShardId": { "SS": ["shardId-1", "shardId-2"] },
        "parentOrder": { "L": [{ "S": "shardId-2" }, { "S": "shardId-1" }] },
        "startingHashKey": { "S": "0" },
        "endingHashKey": { "S": "340282366920938463463374607431768211455" },
        "streamName": { "S": "quakes" },
        "shardId": { "S": "shardId-3" },
        "streamArn": { "S": "arn:aws:kinesis:us-east-1:123456789012:stream/quakes" },
        "streamCreated": { "N": "1700000000000" },
        "completeUntil": { "N": "1700000005000" },
        "generation": { "N": "1" },
    });
    assert_eq!(scene.lease("shardId-3").expect("kept"), expected);
    assert!(scene.aws.dynamodb().items(TABLE).iter().all(|item| item.contains_key("leaseCounter")), "leases only");
}
