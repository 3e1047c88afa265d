//! Positions seen and moved by an operator: planned, read, agreed to, applied whole or not at all.

use std::path::{Path, PathBuf};

use host::state::edit::{self, EditError, Plan, Request, Selection, Snapshot};
use host::state::sqlite::SqliteStore;
use host::state::{ComponentDigest, LeaseStore, Owner, PipelineId, StartPoint, StoreError, StreamIdentity, lock};
use host_core::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, ShardId};

fn id() -> PipelineId {
    PipelineId { tenant: "seismology".to_owned(), pipeline: "earthquakes".to_owned() }
}

fn owner(name: &str) -> Owner {
    Owner { name: name.to_owned(), since: EpochMillis(1_517_443_200_000) }
}

fn stream() -> StreamIdentity {
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes".to_owned();
    StreamIdentity { arn, created: EpochMillis(1_500_000_000_000) }
}

fn position(text: &str) -> Position {
    edit::position::parse(text).expect("a position")
}

fn row(shard: &str, at: &str, parents: &[&str], children: &[&str]) -> ShardRow {
    let position = position(at);
    let names = |names: &[&str]| names.iter().map(|name| ShardId::new(name)).collect();
    ShardRow {
        shard: ShardId::new(shard),
        parents: names(parents),
        children: names(children),
        range: Some(HashRange { start: 0, end: u128::MAX }),
        finished_at: position.is_end().then_some(EpochMillis(1_517_443_260_000)),
        watermark: Some(EpochMillis(1_517_443_200_500)),
        complete_until: (shard == "shard-1").then_some(EpochMillis(1_517_443_200_000)),
        position,
    }
}

/// A parent at its end, two children on their way, a mark; nobody owns it.
fn state(directory: &Path) -> PathBuf {
    let path = directory.join("state.db");
    let mut store = claimed(&path, "host:1");
    let rows = [
        row("shard-0", "shard-end", &[], &["shard-1", "shard-2"]),
        row("shard-1", "after:400/3", &["shard-0"], &[]),
        row("shard-2", "trim-horizon", &["shard-0"], &[]),
    ];
    store.start_stream(&stream(), StartPoint::AtTimestamp(EpochMillis(1_517_443_200_000)), &rows).expect("new");
    let commit = Commit { marks: vec![SinkMark { sink: 0, mark: 1_234 }], ..Commit::default() };
    store.commit(&[stream()], &commit, &["out".to_owned()]).expect("the owner");
    store.release().expect("the owner");
    path
}

fn claimed(path: &Path, name: &str) -> SqliteStore {
    let mut store = SqliteStore::open(path, &id()).expect("a database");
    let components = [ComponentDigest { role: "deserializer".to_owned(), digest: "sha256:5e1f".to_owned() }];
    store.claim(&owner(name), &components).expect("nobody owns it");
    store
}

fn set(shards: &[&str], to: &str) -> Request {
    let shards = Selection::Only(shards.iter().map(|shard| ShardId::new(shard)).collect());
    Request::Set { stream: None, shards, to: position(to), now: EpochMillis(1_517_450_000_000) }
}

fn plan(path: &Path, request: &Request) -> Plan {
    edit::plan(&Snapshot::take(path, &id()).expect("state"), request).expect("a plan")
}

fn positions(path: &Path) -> Vec<(String, String)> {
    let report = edit::list(path, &id()).expect("state");
    report.streams.into_iter().flat_map(|stream| stream.shards).map(|line| (line.shard, line.position)).collect()
}

#[test]
fn a_list_reads_as_a_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    assert_eq!(
        edit::list(&path, &id()).expect("state").to_string(),
        "\
pipeline seismology/earthquakes, generation 1, released host:1 since 2018-02-01T00:00:00Z

stream arn:aws:kinesis:us-east-1:000000000000:stream/earthquakes, created 2017-07-14T02:40:00Z, started at at-timestamp:2018-02-01T00:00:00Z
SHARD    POSITION      COMPLETE UNTIL        WATERMARK               CHILDREN
shard-0  shard-end     -                     2018-02-01T00:00:00.5Z  shard-1 shard-2
shard-1  after:400/3   2018-02-01T00:00:00Z  2018-02-01T00:00:00.5Z  -
shard-2  trim-horizon  -                     2018-02-01T00:00:00.5Z  -

SINK  MARK
out   1234
"
    );
}

#[test]
fn show_tells_every_field_of_a_shard() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let details = edit::show(&path, &id(), None, &[ShardId::new("shard-1")]).expect("state").to_string();
    assert!(
        details.contains(
            "
shard-1
  position        after:400/3
  complete until  2018-02-01T00:00:00Z
  watermark       2018-02-01T00:00:00.5Z
  finished at     -
  parents         shard-0
  children        -
  hash keys       0 to 340282366920938463463374607431768211455
  written by      host:1 (generation 1, write 1)
  deserializer    sha256:5e1f
"
        ),
        "{details}"
    );
    assert!(!details.contains("shard-2\n  position"), "{details}");
    let unknown = edit::show(&path, &id(), None, &[ShardId::new("shard-9")]).expect_err("no such shard");
    assert_eq!(
        unknown.to_string(),
        "pipeline seismology/earthquakes has no row for shard shard-9; it has shard-0, shard-1, shard-2"
    );
}

#[test]
fn a_plan_tells_what_would_change_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let before = positions(&path);
    let plan = plan(&path, &set(&["shard-0"], "at-timestamp:1517443200"));
    assert_eq!(
        plan.to_string(),
        "\
pipeline seismology/earthquakes, generation 1 to 2

CHANGE         FROM       TO
shard shard-0  shard-end  at-timestamp:2018-02-01T00:00:00Z

warning: shard shard-0 moves backwards: the sinks get its records again
warning: shard shard-1 would be at after:400/3 while its parent shard-0 is at at-timestamp:2018-02-01T00:00:00Z: it waits for the parent's end
"
    );
    assert_eq!(positions(&path), before);
}

#[test]
fn setting_a_child_before_its_parents_end_warns() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let first = plan(&path, &set(&["shard-0"], "after:100"));
    edit::apply(&first, &owner("operator:1")).expect("nobody owns it");
    let second = plan(&path, &set(&["shard-2"], "after:500"));
    assert_eq!(
        second.warnings,
        [
            "shard shard-2 moves forward: the sinks never get the records between",
            "shard shard-2 would be at after:500 while its parent shard-0 is at after:100: it waits for the parent's end",
        ]
    );
}

#[test]
fn a_set_moves_a_position_backwards_and_fences_a_forgotten_writer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let mut forgotten = claimed(&path, "forgotten:7");
    std::fs::remove_file(lock::path_for(&path, &id())).expect("the lock is lost");
    let plan = plan(&path, &set(&["shard-1"], "after:100"));
    assert_eq!(edit::apply(&plan, &owner("operator:1")).expect("the lock is lost"), 3);
    let advance = Advance {
        shard: ShardId::new("shard-1"),
        from: position("after:400/3"),
        to: position("after:401"),
        children: Vec::new(),
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    let late = forgotten.commit(&[stream()], &Commit { advance: vec![advance], ..Commit::default() }, &[]);
    assert!(
        matches!(&late, Err(StoreError::Fenced { by: Some(by), newer: 3, ours: 2, .. }) if by.name == "operator:1"),
        "{late:?}"
    );
    let details = edit::show(&path, &id(), None, &[ShardId::new("shard-1")]).expect("state");
    let line = &details.0.streams[0].shards[0];
    assert_eq!((line.position.as_str(), line.counter), ("after:100", 2));
    assert_eq!((&line.watermark, &line.complete_until), (&None, &None), "they were those of the old position");
}

#[test]
fn a_live_owner_refuses_an_edit_and_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let live = claimed(&path, "live:7");
    let plan = plan(&path, &set(&["shard-1"], "after:100"));
    assert!(plan.owned);
    let refused = edit::apply(&plan, &owner("operator:1"));
    assert!(
        matches!(&refused, Err(EditError::Store(StoreError::OwnedByAnother { owner: Some(by), .. })) if by.name == "live:7"),
        "{refused:?}"
    );
    drop(live);
    assert_eq!(positions(&path)[1].1, "after:400/3");
    edit::apply(&plan, &owner("operator:1")).expect("the owner is dead, and nothing has changed");
}

#[test]
fn a_plan_that_events_overtook_is_refused_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let both = plan(&path, &set(&["shard-1", "shard-2"], "at-timestamp:5"));
    let mut store = claimed(&path, "host:2");
    let stale = plan(&path, &set(&["shard-1", "shard-2"], "at-timestamp:5"));
    let advance = Advance {
        shard: ShardId::new("shard-2"),
        from: Position::TrimHorizon,
        to: position("after:401"),
        children: Vec::new(),
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    store.commit(&[stream()], &Commit { advance: vec![advance], ..Commit::default() }, &[]).expect("the owner");
    drop(store);
    let before = positions(&path);
    for plan in [both, stale] {
        let refused = edit::apply(&plan, &owner("operator:1"));
        assert!(matches!(refused, Err(EditError::Outdated { .. })), "{refused:?}");
        assert_eq!(positions(&path), before, "shard-1 alone was changed");
    }
}

#[test]
fn a_plan_older_than_a_run_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let plan = plan(&path, &set(&["shard-1"], "after:100"));
    claimed(&path, "host:2").release().expect("the owner");
    let refused = edit::apply(&plan, &owner("operator:1"));
    assert!(matches!(refused, Err(EditError::Outdated { .. })), "{refused:?}");
}

#[test]
fn a_deleted_pipeline_begins_anew_under_a_higher_generation() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let all = plan(&path, &Request::Delete { stream: None, shards: Selection::All });
    assert_eq!(all.changes.len(), 5, "three shards, the start, the mark: {all}");
    edit::apply(&all, &owner("operator:1")).expect("nobody owns it");
    let claimed = SqliteStore::open(&path, &id()).expect("opens").claim(&owner("host:2"), &[]).expect("free");
    assert_eq!((claimed.streams, claimed.marks, claimed.generation), (Vec::new(), Vec::new(), 3));
}

#[test]
fn one_shard_is_deleted_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let shards = Selection::Only(vec![ShardId::new("shard-2"), ShardId::new("shard-2")]);
    edit::apply(&plan(&path, &Request::Delete { stream: None, shards }), &owner("operator:1")).expect("free");
    let left: Vec<String> = positions(&path).into_iter().map(|(shard, _)| shard).collect();
    assert_eq!(left, ["shard-0", "shard-1"]);
}

#[test]
fn looking_makes_no_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let missing = edit::list(&path, &id()).expect_err("no database").to_string();
    assert!(missing.starts_with("no state database at "), "{missing}");
    assert!(!path.exists());
    let path = state(directory.path());
    let other = PipelineId { tenant: "other".to_owned(), ..id() };
    let never = edit::list(&path, &other).expect_err("another tenant").to_string();
    assert!(never.starts_with("pipeline other/earthquakes has no state in "), "{never}");
}

#[test]
fn a_shard_of_several_streams_is_named_with_its_stream() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let blasts = StreamIdentity { arn: stream().arn.replace("earthquakes", "blasts"), ..stream() };
    let mut store = claimed(&path, "host:2");
    store.start_stream(&blasts, StartPoint::TrimHorizon, &[row("shard-1", "after:7", &[], &[])]).expect("new");
    store.release().expect("the owner");
    let snapshot = Snapshot::take(&path, &id()).expect("state");
    let ambiguous = edit::plan(&snapshot, &set(&["shard-1"], "after:5")).expect_err("which one?").to_string();
    assert!(ambiguous.ends_with("add --stream with the name or ARN of the one you mean"), "{ambiguous}");
    let of = |stream: &str| Request::Set {
        stream: Some(stream.to_owned()),
        shards: Selection::Only(vec![ShardId::new("shard-1")]),
        to: position("after:5"),
        now: EpochMillis(1),
    };
    let unknown = edit::plan(&snapshot, &of("quakes")).expect_err("half of a name is none").to_string();
    assert!(
        unknown.starts_with("pipeline seismology/earthquakes has no state of stream quakes; it has arn:"),
        "{unknown}"
    );
    let by_name = edit::plan(&snapshot, &of("blasts")).expect("a name");
    let by_arn = edit::plan(&snapshot, &of(&blasts.arn)).expect("an ARN");
    assert_eq!(by_name.to_string(), by_arn.to_string());
    assert_eq!(by_name.changes[0].what, format!("shard shard-1 of {}", blasts.arn));
    assert_eq!(
        by_name.warnings,
        [format!("shard shard-1 of {} moves backwards: the sinks get its records again", blasts.arn)]
    );
    edit::apply(&by_name, &owner("operator:1")).expect("nobody owns it");
    let details = edit::show(&path, &id(), Some("blasts"), &[ShardId::new("shard-1")]).expect("state").0;
    let shown: Vec<_> = details.streams.iter().map(|stream| stream.shards[0].position.as_str()).collect();
    assert_eq!(shown, ["after:5"]);
    let all = Request::Delete { stream: Some("blasts".to_owned()), shards: Selection::All };
    edit::apply(&plan(&path, &all), &owner("operator:1")).expect("nobody owns it");
    assert_eq!(positions(&path).len(), 3, "the other stream and its rows stay");
}
