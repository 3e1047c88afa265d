//! What every store of positions promises, whatever it is made of. [`crate::lease_store_contract!`] makes a test of each
//! claim.

#![expect(missing_docs, reason = "a claim is named after what it says")]

use std::path::PathBuf;
use std::time::Duration;

use crate::simulated::SimulatedAws;
use aws_sdk_dynamodb::types::AttributeValue;
use host::aws::AwsSettings;
use host::local::Endpoint;
use host::state::dynamodb::DynamoStore;
use host::state::error::Outcome;
use host::state::memory::MemoryStore;
use host::state::sqlite::SqliteStore;
use host::state::{
    ComponentDigest, Ending, LeaseStore, Owner, PipelineId, RegisteredConsumer, StartPoint, StoreError, StreamIdentity,
    StreamState, lock,
};
use host_core::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use host_core::moment::EpochMillis;
use host_core::patience::RetryLimits;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardId};

/// One storage and the handles onto it. Dropping a handle is the death of its process.
pub trait Harness {
    fn open(&self, pipeline: &PipelineId) -> Box<dyn LeaseStore>;
    /// Loses the lock of a live owner, so that only the generation is left between two writers.
    fn break_lock(&self, pipeline: &PipelineId);
}

/// A file that is gone with this value.
#[derive(Debug)]
pub struct Sqlite {
    directory: tempfile::TempDir,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.directory.path().join("nested/state.db")
    }
}

impl Harness for Sqlite {
    fn open(&self, pipeline: &PipelineId) -> Box<dyn LeaseStore> {
        Box::new(SqliteStore::open(&self.path(), pipeline).expect("the database opens"))
    }

    fn break_lock(&self, pipeline: &PipelineId) {
        std::fs::remove_file(lock::path_for(&self.path(), pipeline)).expect("the lock file is there");
    }
}

impl Harness for MemoryStore {
    fn open(&self, pipeline: &PipelineId) -> Box<dyn LeaseStore> {
        Box::new(Self::open(self, pipeline))
    }

    fn break_lock(&self, pipeline: &PipelineId) {
        Self::break_lock(self, pipeline);
    }
}

/// Over tables, each pipeline in one of its own.
#[derive(Debug)]
pub struct Dynamodb {
    runtime: tokio::runtime::Runtime,
    settings: AwsSettings,
    /// Of the tables' names, so that tests which share a service do not meet.
    prefix: String,
    /// Whoever serves them.
    _server: Box<dyn std::any::Any>,
}

impl Dynamodb {
    /// Tables of a service, whose names begin with a prefix.
    #[must_use]
    pub fn at(endpoint: &str, prefix: String) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        Self { runtime, settings: AwsSettings::local("us-east-1", endpoint), prefix, _server: Box::new(()) }
    }

    /// Embedded tables, which are gone with this value.
    #[must_use]
    pub fn embedded() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let endpoint = runtime.block_on(Endpoint::start(host::local::Options::default())).expect("it serves");
        let settings = AwsSettings::local("us-east-1", endpoint.url());
        Self { runtime, settings, prefix: String::new(), _server: Box::new(endpoint) }
    }

    /// Tables of the simulated AWS, which are gone with this value.
    #[must_use]
    pub fn simulated() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let aws = runtime.block_on(SimulatedAws::start());
        let settings = aws.settings();
        Self { runtime, settings, prefix: String::new(), _server: Box::new(aws) }
    }

    fn table(&self, pipeline: &PipelineId) -> String {
        format!("{}{}.{}", self.prefix, pipeline.tenant, pipeline.pipeline)
    }
}

impl Harness for Dynamodb {
    fn open(&self, pipeline: &PipelineId) -> Box<dyn LeaseStore> {
        let options = host::state::dynamodb::Options {
            aws: self.settings.clone(),
            table: crate::tables::table(&self.table(pipeline)),
            retry: RetryLimits::default(),
            lease: Duration::from_millis(400),
        };
        Box::new(DynamoStore::open(options, pipeline).expect("a thread"))
    }

    fn break_lock(&self, pipeline: &PipelineId) {
        let broken = async {
            let client = aws_sdk_dynamodb::Client::new(&self.settings.load().await);
            let update = client.update_item().table_name(format!("{}-sluicebox", self.table(pipeline)));
            let update =
                update.key("id", AttributeValue::S("claim".to_owned())).update_expression("SET released = :yes");
            update.expression_attribute_values(":yes", AttributeValue::Bool(true)).send().await
        };
        self.runtime.block_on(broken).expect("the claim is there");
    }
}

pub fn pipeline(name: &str) -> PipelineId {
    PipelineId { tenant: "seismology".to_owned(), pipeline: name.to_owned() }
}

pub fn owner(name: &str, since: i64) -> Owner {
    Owner { name: name.to_owned(), since: EpochMillis(since) }
}

pub fn stream() -> StreamIdentity {
    StreamIdentity { arn: "arn:aws:kinesis:us-east-1:000000000000:stream/quakes".to_owned(), created: EpochMillis(7) }
}

fn shard(name: &str) -> ShardId {
    ShardId::new(name)
}

pub fn after(sequence: u32) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

pub fn row(name: &str, position: Position) -> ShardRow {
    let finished_at = position.is_end().then_some(EpochMillis(99));
    ShardRow {
        shard: shard(name),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position,
        watermark: None,
        complete_until: None,
        finished_at,
    }
}

pub fn advance(name: &str, from: Position, to: Position) -> Advance {
    let finished_at = to.is_end().then_some(EpochMillis(99));
    Advance { shard: shard(name), from, to, children: Vec::new(), watermark: None, complete_until: None, finished_at }
}

pub fn create(rows: Vec<ShardRow>) -> Commit {
    Commit { create: rows, ..Commit::default() }
}

pub fn advances(advances: Vec<Advance>) -> Commit {
    Commit { advance: advances, ..Commit::default() }
}

/// A store with a claim, and the stream started.
pub fn started(harness: &dyn Harness) -> Box<dyn LeaseStore> {
    let mut store = harness.open(&pipeline("quakes"));
    store.claim(&owner("host:1", 1_000), &[]).expect("nobody owns it");
    store.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("not started yet");
    store
}

/// What another process would find, were this one dead.
pub fn found(harness: &dyn Harness, store: Box<dyn LeaseStore>) -> (Vec<StreamState>, Vec<(String, u64)>) {
    drop(store);
    let claimed = harness.open(&pipeline("quakes")).claim(&owner("reader:9", 9_000), &[]).expect("nobody is left");
    (claimed.streams, claimed.marks)
}

fn rows_found(harness: &dyn Harness, store: Box<dyn LeaseStore>) -> Vec<ShardRow> {
    found(harness, store).0.into_iter().flat_map(|stream| stream.rows).collect()
}

fn is_conflict(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

fn is_invalid(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Invalid { .. }))
}

pub fn a_first_claim_finds_nothing(harness: &dyn Harness) {
    let claimed = harness.open(&pipeline("quakes")).claim(&owner("host:1", 1), &[]).expect("nobody owns it");
    assert_eq!((claimed.generation, claimed.previous), (1, None));
    assert!(claimed.streams.is_empty() && claimed.marks.is_empty());
}

pub fn everything_reads_back_equal_after_a_reopen(harness: &dyn Harness) {
    let mut store = harness.open(&pipeline("quakes"));
    store.claim(&owner("host:1", 1), &[]).expect("nobody owns it");
    let sequence = SequenceNumber::parse(&"9".repeat(128)).expect("decimal");
    let first = ShardRow {
        parents: vec![shard("p-\"1\""), shard("p-2")],
        children: vec![shard("c-1")],
        range: Some(HashRange { start: 0, end: u128::MAX }),
        watermark: Some(EpochMillis(-5)),
        complete_until: Some(EpochMillis(i64::MAX)),
        ..row("a", Position::After { sequence, sub_sequence: u64::MAX >> 1 })
    };
    let rows = [first, row("b", Position::TrimHorizon), row("c", Position::AtTimestamp(EpochMillis(-1)))];
    let start = StartPoint::AtTimestamp(EpochMillis(1_517_443_200_000));
    store.start_stream(&stream(), start, &rows).expect("not started yet");
    let end = row("d", Position::ShardEnd);
    store.commit(&[stream()], &create(vec![end.clone()]), &[]).expect("new");
    let [a, b, c] = rows;
    let expected = StreamState { identity: stream(), start, consumer: None, rows: vec![a, b, c, end] };
    assert_eq!(found(harness, store), (vec![expected], Vec::new()));
}

pub fn a_commit_expects_rows_exactly_where_they_are(harness: &dyn Harness) {
    let mut store = started(harness);
    let mut commit = |commit: Commit| store.commit(&[stream()], &commit, &[]);
    assert!(is_conflict(&commit(advances(vec![advance("a", Position::TrimHorizon, after(1))]))));
    commit(create(vec![row("a", Position::TrimHorizon)])).expect("new");
    assert!(is_conflict(&commit(create(vec![row("a", Position::TrimHorizon)]))));
    assert!(is_conflict(&commit(advances(vec![advance("a", Position::AtTimestamp(EpochMillis(1)), after(1))]))));
    commit(advances(vec![advance("a", Position::TrimHorizon, after(1))])).expect("as expected");
    assert!(is_conflict(&commit(advances(vec![advance("a", Position::TrimHorizon, after(2))]))));
    assert!(is_conflict(&commit(Commit { forget: vec![shard("b")], ..Commit::default() })));
    commit(advances(vec![advance("a", after(1), after(2))])).expect("as expected");
    assert_eq!(rows_found(harness, store), [row("a", after(2))]);
}

pub fn a_refused_commit_changes_nothing(harness: &dyn Harness) {
    let mut store = started(harness);
    let sinks = ["strong".to_owned()];
    store.commit(&[stream()], &create(vec![row("a", after(1)), row("z", Position::ShardEnd)]), &[]).expect("new");
    let refused = Commit {
        id: 2,
        create: vec![row("b", Position::TrimHorizon)],
        advance: vec![advance("a", after(1), after(2))],
        forget: vec![shard("z"), shard("missing")],
        marks: vec![SinkMark { sink: 0, mark: 7 }],
    };
    assert!(is_conflict(&store.commit(&[stream()], &refused, &sinks)));
    let allowed = Commit { forget: vec![shard("z")], ..refused };
    store.commit(&[stream()], &allowed, &sinks).expect("nothing of the refused commit is in the way");
    assert_eq!(rows_found(harness, store), [row("a", after(2)), row("b", Position::TrimHorizon)]);
}

pub fn positions_never_move_backwards(harness: &dyn Harness) {
    let mut store = started(harness);
    let rows = [row("a", after(10)), row("e", Position::ShardEnd), row("t", Position::TrimHorizon)];
    store.commit(&[stream()], &create(rows.to_vec()), &[]).expect("new");
    for (name, from, to) in [
        ("a", after(10), after(10)),
        ("a", after(10), after(9)),
        ("a", after(10), Position::TrimHorizon),
        ("e", Position::ShardEnd, after(11)),
        ("e", Position::ShardEnd, Position::ShardEnd),
        ("t", Position::TrimHorizon, Position::AtTimestamp(EpochMillis(5))),
    ] {
        let refused = store.commit(&[stream()], &advances(vec![advance(name, from.clone(), to.clone())]), &[]);
        assert!(is_invalid(&refused), "{from} to {to}: {refused:?}");
    }
    assert_eq!(rows_found(harness, store), rows);
}

pub fn a_shards_end_and_its_children_appear_together(harness: &dyn Harness) {
    let mut store = started(harness);
    store.commit(&[stream()], &create(vec![row("parent", after(1)), row("right", after(5))]), &[]).expect("new");
    let child = |name| ShardRow { parents: vec![shard("parent")], ..row(name, Position::TrimHorizon) };
    let end =
        Advance { children: vec![shard("left"), shard("right")], ..advance("parent", after(1), Position::ShardEnd) };
    let both = Commit { create: vec![child("left"), child("right")], advance: vec![end.clone()], ..Commit::default() };
    assert!(is_conflict(&store.commit(&[stream()], &both, &[])), "right exists");
    let left = Commit { create: vec![child("left")], advance: vec![end.clone()], ..Commit::default() };
    store.commit(&[stream()], &left, &[]).expect("as expected");
    let parent = ShardRow { children: end.children, ..row("parent", Position::ShardEnd) };
    assert_eq!(rows_found(harness, store), [child("left"), parent, row("right", after(5))]);
}

pub fn only_finished_shards_are_forgotten(harness: &dyn Harness) {
    let mut store = started(harness);
    store.commit(&[stream()], &create(vec![row("a", after(1)), row("e", Position::ShardEnd)]), &[]).expect("new");
    let forget = |name| Commit { forget: vec![shard(name)], ..Commit::default() };
    assert!(is_invalid(&store.commit(&[stream()], &forget("a"), &[])));
    store.commit(&[stream()], &forget("e"), &[]).expect("finished");
    let unfinished = Advance { finished_at: None, ..advance("a", after(1), Position::ShardEnd) };
    assert!(is_invalid(&store.commit(&[stream()], &advances(vec![unfinished]), &[])), "an end without its time");
    store.commit(&[stream()], &create(vec![row("e", after(3))]), &[]).expect("a forgotten shard counts as never seen");
    store.commit(&[stream()], &advances(vec![advance("e", after(3), after(4))]), &[]).expect("as expected");
    assert_eq!(rows_found(harness, store), [row("a", after(1)), row("e", after(4))]);
}

pub fn one_commit_may_create_and_advance_a_row(harness: &dyn Harness) {
    let mut store = started(harness);
    let commit = Commit {
        create: vec![row("a", Position::TrimHorizon)],
        advance: vec![advance("a", Position::TrimHorizon, after(1)), advance("a", after(1), Position::ShardEnd)],
        ..Commit::default()
    };
    store.commit(&[stream()], &commit, &[]).expect("one after the other");
    assert_eq!(rows_found(harness, store), [row("a", Position::ShardEnd)]);
}

pub fn children_stay_unless_new_ones_are_told(harness: &dyn Harness) {
    let mut store = started(harness);
    let told = ShardRow { children: vec![shard("c")], ..row("a", after(1)) };
    store.commit(&[stream()], &create(vec![told]), &[]).expect("new");
    let watermark = Some(EpochMillis(5));
    let silent = Advance { watermark, ..advance("a", after(1), after(2)) };
    store.commit(&[stream()], &advances(vec![silent]), &[]).expect("as expected");
    assert_eq!(rows_found(harness, store), [ShardRow { children: vec![shard("c")], watermark, ..row("a", after(2)) }]);
}

/// An idle shard's row says how far it is known to be complete, so that a later gap can be told from none.
pub fn a_position_may_stay_while_what_is_complete_grows(harness: &dyn Harness) {
    let mut store = started(harness);
    let told = ShardRow { children: vec![shard("c")], ..row("a", after(1)) };
    let end = row("e", Position::ShardEnd);
    store.commit(&[stream()], &create(vec![told, end.clone(), row("t", Position::TrimHorizon)]), &[]).expect("new");
    let stays = |name, at: Position, until| Advance {
        complete_until: Some(EpochMillis(until)),
        ..advance(name, at.clone(), at)
    };
    let mut commit = |advance| store.commit(&[stream()], &advances(vec![advance]), &[]);
    commit(stays("a", after(1), 5)).expect("later than never");
    commit(stays("t", Position::TrimHorizon, 6)).expect("nothing was read, since there is nothing");
    commit(stays("a", after(1), 7)).expect("later than 5");
    assert!(is_invalid(&commit(stays("a", after(1), 7))), "it says nothing new");
    assert!(is_invalid(&commit(stays("a", after(1), 6))), "it says less");
    assert!(is_invalid(&commit(advance("a", after(1), after(1)))), "it says nothing");
    assert!(is_conflict(&commit(stays("a", after(2), 9))), "the row is elsewhere");
    assert!(is_invalid(&commit(stays("e", Position::ShardEnd, 9))), "an end is an end");
    let until = |until, row| ShardRow { complete_until: Some(EpochMillis(until)), ..row };
    let a = ShardRow { children: vec![shard("c")], ..until(7, row("a", after(1))) };
    assert_eq!(rows_found(harness, store), [a, end, until(6, row("t", Position::TrimHorizon))]);
}

pub fn what_is_complete_never_shrinks(harness: &dyn Harness) {
    let mut store = started(harness);
    let at = |millis| Some(EpochMillis(millis));
    let first = ShardRow { complete_until: at(10), watermark: at(20), ..row("a", after(1)) };
    store.commit(&[stream()], &create(vec![first]), &[]).expect("new");
    let silent = advance("a", after(1), after(2));
    let earlier = Advance { complete_until: at(9), watermark: at(19), ..advance("a", after(2), after(3)) };
    store.commit(&[stream()], &advances(vec![silent, earlier]), &[]).expect("the position moves on");
    assert_eq!(
        rows_found(harness, store),
        [ShardRow { complete_until: at(10), watermark: at(20), ..row("a", after(3)) }]
    );
}

pub fn other_stream() -> StreamIdentity {
    StreamIdentity { arn: "arn:aws:kinesis:us-east-1:000000000000:stream/blasts".to_owned(), created: EpochMillis(9) }
}

/// A store with a claim, and both streams started.
pub fn both_started(harness: &dyn Harness) -> Box<dyn LeaseStore> {
    let mut store = started(harness);
    store.start_stream(&other_stream(), StartPoint::AtTimestamp(EpochMillis(5)), &[]).expect("not started yet");
    store
}

pub fn row_in(stream: u32, name: &str, position: Position) -> ShardRow {
    ShardRow { shard: ShardId::in_stream(stream, name), ..row(name, position) }
}

pub fn advance_in(stream: u32, name: &str, from: Position, to: Position) -> Advance {
    Advance { shard: ShardId::in_stream(stream, name), ..advance(name, from, to) }
}

/// CKP-1: marks of sinks belong to the positions of all streams, so all of them become durable together.
pub fn one_commit_covers_several_streams_or_none(harness: &dyn Harness) {
    let mut store = both_started(harness);
    let (streams, sinks) = ([stream(), other_stream()], ["out".to_owned()]);
    let rows =
        vec![row_in(0, "a", after(1)), row_in(1, "b", Position::TrimHorizon), row_in(1, "e", Position::ShardEnd)];
    store.commit(&streams, &create(rows), &[]).expect("new");
    let refused = Commit {
        advance: vec![advance_in(0, "a", after(1), after(2)), advance_in(1, "b", after(1), after(2))],
        forget: vec![ShardId::in_stream(1, "e")],
        marks: vec![SinkMark { sink: 0, mark: 7 }],
        ..Commit::default()
    };
    assert!(is_conflict(&store.commit(&streams, &refused, &sinks)), "b is elsewhere");
    let mut allowed = refused;
    allowed.advance[1].from = Position::TrimHorizon;
    store.commit(&streams, &allowed, &sinks).expect("nothing of the refused commit is in the way");
    let (streams, marks) = found(harness, store);
    let found: Vec<_> = streams.into_iter().map(|stream| (stream.identity, stream.rows)).collect();
    assert_eq!(found, [(other_stream(), vec![row("b", after(2))]), (stream(), vec![row("a", after(2))])]);
    assert_eq!(marks, [("out".to_owned(), 7)]);
}

/// Streams are told apart by what they are: another index in the next run's manifest changes nothing.
pub fn the_same_shard_of_two_streams_is_two_rows(harness: &dyn Harness) {
    let mut store = both_started(harness);
    let related = |stream, at| ShardRow {
        parents: vec![ShardId::in_stream(stream, "p")],
        children: vec![ShardId::in_stream(stream, "c")],
        ..row_in(stream, "a", at)
    };
    let rows = vec![related(0, after(1)), related(1, after(10))];
    store.commit(&[stream(), other_stream()], &create(rows), &[]).expect("two streams");
    let swapped = [other_stream(), stream()];
    store.commit(&swapped, &advances(vec![advance_in(0, "a", after(10), after(11))]), &[]).expect("as expected");
    assert!(is_conflict(&store.commit(&swapped, &advances(vec![advance_in(1, "a", after(10), after(11))]), &[])));
    let end =
        Advance { children: vec![ShardId::in_stream(1, "d")], ..advance_in(1, "a", after(1), Position::ShardEnd) };
    store.commit(&swapped, &advances(vec![end]), &[]).expect("as expected");
    let streams = found(harness, store).0;
    let expected = ShardRow { parents: vec![shard("p")], children: vec![shard("d")], ..row("a", Position::ShardEnd) };
    assert_eq!(streams[1].rows, [expected]);
    assert_eq!(streams[0].rows_in(1), [related(1, after(11))]);
}

pub fn a_shard_of_a_stream_that_is_not_named_is_refused(harness: &dyn Harness) {
    let mut store = both_started(harness);
    assert!(is_invalid(&store.commit(&[stream()], &create(vec![row_in(1, "a", after(1))]), &[])));
    assert!(rows_found(harness, store).is_empty());
}

pub fn lineage_does_not_leave_a_stream(harness: &dyn Harness) {
    let mut store = both_started(harness);
    let streams = [stream(), other_stream()];
    let child = ShardRow { parents: vec![ShardId::in_stream(1, "p")], ..row("a", after(1)) };
    assert!(is_invalid(&store.commit(&streams, &create(vec![child]), &[])));
    store.commit(&streams, &create(vec![row("a", after(1))]), &[]).expect("new");
    let end = Advance { children: vec![ShardId::in_stream(1, "c")], ..advance("a", after(1), Position::ShardEnd) };
    assert!(is_invalid(&store.commit(&streams, &advances(vec![end]), &[])));
    assert_eq!(rows_found(harness, store), [row("a", after(1))]);
}

pub fn marks_are_kept_by_the_sinks_name(harness: &dyn Harness) {
    let mut store = started(harness);
    let marked = |marks: &[(u32, u64)]| Commit {
        marks: marks.iter().map(|(sink, mark)| SinkMark { sink: *sink, mark: *mark }).collect(),
        ..Commit::default()
    };
    let sinks = ["one".to_owned(), "two".to_owned()];
    store.commit(&[stream()], &marked(&[(0, 10), (1, 20)]), &sinks).expect("known sinks");
    let swapped = ["two".to_owned(), "one".to_owned()];
    store.commit(&[stream()], &marked(&[(0, 21)]), &swapped).expect("known sinks");
    assert_eq!(found(harness, store).1, [("one".to_owned(), 10), ("two".to_owned(), 21)]);
}

pub fn a_mark_of_an_unknown_sink_is_refused(harness: &dyn Harness) {
    let mut store = started(harness);
    let commit = |sink, mark| Commit { marks: vec![SinkMark { sink, mark }], ..Commit::default() };
    assert!(is_invalid(&store.commit(&[stream()], &commit(1, 5), &["one".to_owned()])));
    assert!(is_invalid(&store.commit(&[stream()], &commit(0, u64::MAX), &["one".to_owned()])));
    assert!(found(harness, store).1.is_empty());
}

pub fn a_stream_starts_once(harness: &dyn Harness) {
    let mut store = started(harness);
    let again = store.start_stream(&stream(), StartPoint::AtTimestamp(EpochMillis(1)), &[]);
    assert!(matches!(again, Err(StoreError::AlreadyStarted { start: StartPoint::TrimHorizon, .. })), "{again:?}");
    let streams = found(harness, store).0;
    let expected = StreamState { identity: stream(), start: StartPoint::TrimHorizon, consumer: None, rows: Vec::new() };
    assert_eq!(streams, [expected]);
}

pub fn a_recreated_stream_is_another_stream(harness: &dyn Harness) {
    let mut store = started(harness);
    let newer = StreamIdentity { created: EpochMillis(8), ..stream() };
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    store.start_stream(&newer, StartPoint::TrimHorizon, &[]).expect("another stream");
    store.commit(&[newer], &create(vec![row("a", after(2))]), &[]).expect("another stream's shard");
    let streams = found(harness, store).0;
    let found: Vec<_> = streams.iter().map(|stream| (stream.identity.created.0, stream.rows.clone())).collect();
    assert_eq!(found, [(7, vec![row("a", after(1))]), (8, vec![row("a", after(2))])]);
}

pub fn a_stream_without_a_start_takes_no_rows(harness: &dyn Harness) {
    let mut store = started(harness);
    let other = StreamIdentity { created: EpochMillis(8), ..stream() };
    assert!(is_invalid(&store.commit(&[other], &create(vec![row("a", after(1))]), &[])));
    assert!(rows_found(harness, store).is_empty());
}

/// What was known of the stream that is gone goes, whenever the process dies on the way.
pub fn a_recreated_stream_is_forgotten_alone(harness: &dyn Harness) {
    let mut store = both_started(harness);
    let newer = StreamIdentity { created: EpochMillis(8), ..stream() };
    let rows = vec![row_in(0, "a", after(1)), row_in(1, "a", after(2))];
    let marks = vec![SinkMark { sink: 0, mark: 3 }];
    let both = Commit { marks, ..create(rows) };
    store.commit(&[stream(), other_stream()], &both, &["out".to_owned()]).expect("new");
    assert!(is_invalid(&store.forget_stream(&newer)), "it never started");
    store.start_stream(&newer, StartPoint::TrimHorizon, &[row("a", Position::TrimHorizon)]).expect("another stream");
    store.forget_stream(&stream()).expect("it was started");
    assert!(is_invalid(&store.commit(&[stream()], &create(vec![row("b", after(1))]), &[])), "it is forgotten");
    let streams = [newer.clone(), other_stream()];
    let advance = advances(vec![advance("a", Position::TrimHorizon, after(4)), advance_in(1, "a", after(2), after(5))]);
    store.commit(&streams, &advance, &[]).expect("the others go on");
    let (streams, marks) = found(harness, store);
    let found: Vec<_> = streams.into_iter().map(|stream| (stream.identity, stream.rows)).collect();
    assert_eq!(found, [(other_stream(), vec![row("a", after(5))]), (newer, vec![row("a", after(4))])]);
    assert_eq!(marks, [("out".to_owned(), 3)]);
}

fn consumer(name: &str, arn: Option<&str>) -> RegisteredConsumer {
    RegisteredConsumer { name: name.to_owned(), arn: arn.map(str::to_owned) }
}

pub fn a_consumer_is_noted_for_its_stream_over_the_one_before(harness: &dyn Harness) {
    let mut store = both_started(harness);
    let steps =
        [Some(consumer("fast", None)), Some(consumer("fast", Some("arn:1"))), None, Some(consumer("faster", None))];
    store.note_consumer(&other_stream(), Some(&consumer("fast", Some("arn:2")))).expect("the owner");
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    for noted in steps {
        store.note_consumer(&stream(), noted.as_ref()).expect("the owner");
        let claimed = store.claim(&owner("host:1", 2_000), &[]).expect("its own");
        assert_eq!(claimed.streams[1].consumer, noted);
    }
    store.commit(&[stream()], &advances(vec![advance("a", after(1), after(2))]), &[]).expect("notes move no row");
    let streams = found(harness, store).0;
    let consumers: Vec<_> = streams.into_iter().map(|stream| stream.consumer).collect();
    assert_eq!(consumers, [Some(consumer("fast", Some("arn:2"))), Some(consumer("faster", None))]);
}

pub fn a_consumer_of_a_stream_without_a_start_is_refused(harness: &dyn Harness) {
    let mut store = started(harness);
    let newer = StreamIdentity { created: EpochMillis(8), ..stream() };
    assert!(is_invalid(&store.note_consumer(&newer, Some(&consumer("fast", None)))));
    assert_eq!(found(harness, store).0[0].consumer, None);
}

pub fn a_forgotten_streams_consumer_is_forgotten(harness: &dyn Harness) {
    let mut store = started(harness);
    store.note_consumer(&stream(), Some(&consumer("fast", None))).expect("the owner");
    store.forget_stream(&stream()).expect("it was started");
    store.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("it is forgotten");
    assert_eq!(found(harness, store).0[0].consumer, None);
}

pub fn a_live_owner_is_named_and_not_disturbed(harness: &dyn Harness) {
    let mut store = started(harness);
    let refused = harness.open(&pipeline("quakes")).claim(&owner("host:2", 3_601_000), &[]);
    let refused = refused.expect_err("host:1 is alive");
    assert_eq!(
        refused.to_string(),
        "pipeline seismology/quakes is owned by host:1 since 1970-01-01T00:00:01Z (1 h 0 min); stop that process first, \
         or wait for its end: its lock ends with it"
    );
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("the owner works on");
}

pub fn a_dead_owner_is_followed_at_once(harness: &dyn Harness) {
    let mut store = started(harness);
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    drop(store);
    let mut next = harness.open(&pipeline("quakes"));
    let claimed = next.claim(&owner("host:2", 2_000), &[]).expect("host:1 is dead");
    let previous = claimed.previous.expect("there was one");
    assert_eq!((previous.owner, previous.ending), (owner("host:1", 1_000), Ending::Unreleased));
    assert_eq!(claimed.generation, 2);
    next.commit(&[stream()], &advances(vec![advance("a", after(1), after(2))]), &[]).expect("the new owner writes");
}

pub fn a_released_claim_is_told_from_a_dead_one(harness: &dyn Harness) {
    let components = [ComponentDigest { role: "deserializer".to_owned(), digest: "sha256:00".to_owned() }];
    let mut store = harness.open(&pipeline("quakes"));
    store.claim(&owner("host:1", 1), &components).expect("nobody owns it");
    store.release().expect("still the owner");
    let mut next = harness.open(&pipeline("quakes"));
    let previous = next.claim(&owner("host:2", 2), &[]).expect("released").previous.expect("there was one");
    assert_eq!((previous.ending, previous.components), (Ending::Released, components.to_vec()));
    drop(store);
    let third = harness.open(&pipeline("quakes")).claim(&owner("host:3", 3), &[]);
    assert!(third.is_err(), "the end of a released handle is not the end of the next owner");
}

pub fn an_older_generation_writes_nothing(harness: &dyn Harness) {
    let mut zombie = started(harness);
    zombie.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    harness.break_lock(&pipeline("quakes"));
    let mut next = harness.open(&pipeline("quakes"));
    next.claim(&owner("host:2", 2_000), &[]).expect("the lock is lost");
    let other = StreamIdentity { created: EpochMillis(8), ..stream() };
    for refused in [
        zombie.commit(&[stream()], &advances(vec![advance("a", after(1), after(2))]), &[]),
        zombie.commit(&[stream()], &Commit::default(), &[]),
        zombie.start_stream(&other, StartPoint::TrimHorizon, &[]),
        zombie.forget_stream(&stream()),
        zombie.note_consumer(&stream(), Some(&consumer("fast", None))),
    ] {
        let refused = refused.expect_err("fenced");
        assert_eq!(refused.outcome(), Outcome::NothingChanged);
        assert_eq!(
            refused.to_string(),
            "pipeline seismology/quakes was taken over by host:2 since 1970-01-01T00:00:02Z (generation 2, ours is 1); \
             nothing was written; this process must stop"
        );
    }
    next.commit(&[stream()], &advances(vec![advance("a", after(1), after(3))]), &[]).expect("the new owner writes");
    drop(zombie);
    assert_eq!(rows_found(harness, next), [row("a", after(3))]);
}

pub fn a_fenced_owner_cannot_release_the_newer_claim(harness: &dyn Harness) {
    let mut zombie = started(harness);
    harness.break_lock(&pipeline("quakes"));
    let mut next = harness.open(&pipeline("quakes"));
    next.claim(&owner("host:2", 2_000), &[]).expect("the lock is lost");
    assert!(matches!(zombie.release(), Err(StoreError::Fenced { newer: 2, ours: 1, .. })));
    assert!(zombie.claim(&owner("host:1", 3_000), &[]).is_err(), "host:2 is alive");
    drop(next);
    let previous = zombie.claim(&owner("host:1", 4_000), &[]).expect("host:2 is dead").previous;
    assert_eq!(previous.expect("there was one").ending, Ending::Unreleased);
}

pub fn a_handle_may_claim_again(harness: &dyn Harness) {
    let mut store = started(harness);
    store.commit(&[stream()], &create(vec![row("a", after(1))]), &[]).expect("new");
    let claimed = store.claim(&owner("host:1", 2_000), &[]).expect("its own");
    assert_eq!((claimed.generation, claimed.streams.len()), (2, 1));
    store.commit(&[stream()], &advances(vec![advance("a", after(1), after(2))]), &[]).expect("as expected");
}

pub fn an_unclaimed_handle_writes_nothing(harness: &dyn Harness) {
    let mut store = harness.open(&pipeline("quakes"));
    assert!(matches!(store.start_stream(&stream(), StartPoint::TrimHorizon, &[]), Err(StoreError::NotClaimed { .. })));
    store.claim(&owner("host:1", 1), &[]).expect("nobody owns it");
    store.release().expect("the owner");
    assert!(matches!(store.commit(&[stream()], &Commit::default(), &[]), Err(StoreError::NotClaimed { .. })));
    assert!(matches!(store.forget_stream(&stream()), Err(StoreError::NotClaimed { .. })));
    assert!(matches!(store.note_consumer(&stream(), None), Err(StoreError::NotClaimed { .. })));
    assert!(matches!(store.release(), Err(StoreError::NotClaimed { .. })));
}

pub fn pipelines_in_one_storage_do_not_touch(harness: &dyn Harness) {
    let mut store = started(harness);
    let mut other = harness.open(&PipelineId { tenant: "other".to_owned(), pipeline: "quakes".to_owned() });
    let claimed = other.claim(&owner("host:2", 1), &[]).expect("another tenant's");
    assert!(claimed.streams.is_empty() && claimed.previous.is_none());
    other.start_stream(&stream(), StartPoint::AtTimestamp(EpochMillis(5)), &[]).expect("its own start");
    let sinks = ["strong".to_owned()];
    let commit = |position, mark| Commit {
        create: vec![row("a", position)],
        marks: vec![SinkMark { sink: 0, mark }],
        ..Commit::default()
    };
    other.commit(&[stream()], &commit(after(2), 2), &sinks).expect("its own row");
    store.commit(&[stream()], &commit(after(1), 1), &sinks).expect("its own row");
    store.release().expect("the owner");
    other.commit(&[stream()], &advances(vec![advance("a", after(2), after(3))]), &[]).expect("undisturbed");
    let (streams, marks) = found(harness, store);
    assert_eq!((streams.len(), marks), (1, vec![("strong".to_owned(), 1)]));
    assert_eq!(streams[0].rows, [row("a", after(1))]);
}

/// Makes a test of each claim on each of the storages, in a module that is named after the storage:
/// `lease_store_contract! { memory = MemoryStore::default() }`.
#[macro_export]
macro_rules! lease_store_contract {
    ($($module:ident = $storage:expr),+ $(,)?) => {
        $($crate::lease_store_contract_claims! { $module, $storage =>
            a_first_claim_finds_nothing,
            everything_reads_back_equal_after_a_reopen,
            a_commit_expects_rows_exactly_where_they_are,
            a_refused_commit_changes_nothing,
            positions_never_move_backwards,
            a_shards_end_and_its_children_appear_together,
            only_finished_shards_are_forgotten,
            one_commit_may_create_and_advance_a_row,
            children_stay_unless_new_ones_are_told,
            a_position_may_stay_while_what_is_complete_grows,
            what_is_complete_never_shrinks,
            one_commit_covers_several_streams_or_none,
            the_same_shard_of_two_streams_is_two_rows,
            a_shard_of_a_stream_that_is_not_named_is_refused,
            lineage_does_not_leave_a_stream,
            marks_are_kept_by_the_sinks_name,
            a_mark_of_an_unknown_sink_is_refused,
            a_stream_starts_once,
            a_recreated_stream_is_another_stream,
            a_stream_without_a_start_takes_no_rows,
            a_recreated_stream_is_forgotten_alone,
            a_consumer_is_noted_for_its_stream_over_the_one_before,
            a_consumer_of_a_stream_without_a_start_is_refused,
            a_forgotten_streams_consumer_is_forgotten,
            a_live_owner_is_named_and_not_disturbed,
            a_dead_owner_is_followed_at_once,
            a_released_claim_is_told_from_a_dead_one,
            an_older_generation_writes_nothing,
            a_fenced_owner_cannot_release_the_newer_claim,
            a_handle_may_claim_again,
            an_unclaimed_handle_writes_nothing,
            pipelines_in_one_storage_do_not_touch,
        })+
    };
}

/// Makes a test of one claim each.
#[macro_export]
macro_rules! lease_store_contract_claims {
    ($module:ident, $storage:expr => $($claim:ident),+ $(,)?) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $claim() {
                $crate::lease_store_contract::$claim(&$storage);
            })+
        }
    };
}
