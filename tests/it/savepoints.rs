//! Savepoints without a run: taken from a database, written, read back, restored into another.

use std::path::{Path, PathBuf};

use host::savepoint::{self, Circumstances, Savepoint, SavepointError};
use host::state::edit::Snapshot;
use host::state::sqlite::SqliteStore;
use host::state::{ComponentDigest, LeaseStore, Owner, PipelineId, StartPoint, StreamIdentity, StreamState};
use host_core::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardId};

mod files;
mod restores;
mod killed;

/// 2018-02-01T00:00:00Z.
const NOON: i64 = 1_517_443_200_000;

fn id() -> PipelineId {
    PipelineId { tenant: "seismology".to_owned(), pipeline: "earthquakes".to_owned() }
}

fn owner(name: &str) -> Owner {
    Owner { name: name.to_owned(), since: EpochMillis(NOON) }
}

fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}")
}

fn stream(name: &str) -> StreamIdentity {
    StreamIdentity { arn: arn(name), created: EpochMillis(1_500_000_000_000) }
}

/// What the manifest names.
fn streams() -> Vec<String> {
    vec![arn("quakes"), arn("blasts")]
}

fn after(sequence: &str, sub_sequence: u64) -> Position {
    Position::After { sequence: SequenceNumber::parse(sequence).expect("decimal"), sub_sequence }
}

fn row(shard: &str, position: Position) -> ShardRow {
    ShardRow {
        shard: ShardId::new(shard),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        finished_at: position.is_end().then_some(EpochMillis(NOON + 1)),
        position,
        watermark: None,
        complete_until: None,
    }
}

fn names(names: &[&str]) -> Vec<ShardId> {
    names.iter().map(|name| ShardId::new(name)).collect()
}

/// Rows of every kind, every field in use.
fn quakes() -> Vec<ShardRow> {
    let range = |start, end| Some(HashRange { start, end });
    let parent = ShardRow {
        children: names(&["shard-1", "shard-2"]),
        range: range(0, u128::MAX),
        watermark: Some(EpochMillis(NOON + 500)),
        ..row("shard-0", Position::ShardEnd)
    };
    let left = ShardRow {
        parents: names(&["shard-0"]),
        range: range(0, u128::MAX / 2),
        watermark: Some(EpochMillis(-5)),
        complete_until: Some(EpochMillis(NOON + 250)),
        ..row("shard-1", after("49590338271490256608559692538361571095921575989136588898", 3))
    };
    let right = ShardRow {
        parents: names(&["shard-0", "shard-forgotten"]),
        range: range(u128::MAX / 2 + 1, u128::MAX),
        ..row("shard-2", Position::TrimHorizon)
    };
    vec![parent, left, right, row("shard-3", Position::AtTimestamp(EpochMillis(NOON)))]
}

fn components() -> Vec<ComponentDigest> {
    vec![ComponentDigest { role: "deserializer".to_owned(), digest: format!("sha256:{:064}", 7) }]
}

fn open(path: &Path, name: &str) -> SqliteStore {
    let mut store = SqliteStore::open(path, &id()).expect("a database");
    store.claim(&owner(name), &components()).expect("nobody owns it");
    store
}

/// A pipeline with two streams and a mark, which `host:1` ran and released.
fn state(directory: &Path) -> PathBuf {
    let path = directory.join("state.db");
    let mut store = open(&path, "host:1");
    store.start_stream(&stream("quakes"), StartPoint::AtTimestamp(EpochMillis(NOON)), &quakes()).expect("new");
    store.start_stream(&stream("blasts"), StartPoint::TrimHorizon, &[row("shard-1", after("7", 0))]).expect("new");
    let commit = Commit { marks: vec![SinkMark { sink: 0, mark: 1_234 }], ..Commit::default() };
    store.commit(&[], &commit, &["out".to_owned()]).expect("the owner");
    store.release().expect("the owner");
    path
}

/// A row of `quakes` moves on, as a run would do it.
fn advance(store: &mut SqliteStore, shard: &str, from: Position, to: Position, mark: u64) {
    let advance = Advance {
        shard: ShardId::new(shard),
        from,
        finished_at: to.is_end().then_some(EpochMillis(NOON + 9)),
        to,
        children: Vec::new(),
        watermark: None,
        complete_until: Some(EpochMillis(NOON + 900)),
    };
    let marks = vec![SinkMark { sink: 0, mark }];
    let commit = Commit { advance: vec![advance], marks, ..Commit::default() };
    store.commit(&[stream("quakes"), stream("blasts")], &commit, &["out".to_owned()]).expect("the owner");
}

fn circumstances() -> Circumstances {
    Circumstances { at: EpochMillis(NOON + 60_000), parallelism: 2 }
}

fn snapshot(path: &Path) -> Snapshot {
    Snapshot::take_or_empty(path, &id()).expect("a database of ours, or none")
}

fn take(path: &Path) -> Result<Savepoint, SavepointError> {
    savepoint::take(&snapshot(path), &streams(), &circumstances()).map(|(savepoint, _)| savepoint)
}

fn taken(path: &Path) -> Savepoint {
    take(path).expect("rows that are closed under lineage")
}

/// What the next run finds.
fn claimed(path: &Path) -> (Vec<StreamState>, Vec<(String, u64)>) {
    let mut store = SqliteStore::open(path, &id()).expect("a database");
    let claimed = store.claim(&owner("reader:9"), &[]).expect("nobody owns it");
    (claimed.streams, claimed.marks)
}
