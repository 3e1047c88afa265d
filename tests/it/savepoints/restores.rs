//! Back to a savepoint: what is refused, what the plan says, and that everything is as it was.

use host::savepoint::{Restore, file};
use host::state::edit::{self, EditError, Plan};
use host::state::{StoreError, lock};

use super::*;

const PLAIN: Restore = Restore { fork: false, without_marks: false };

fn plan(savepoint: &Savepoint, path: &Path) -> Result<Plan, SavepointError> {
    savepoint::plan(savepoint, &snapshot(path), &streams(), &[], PLAIN)
}

fn planned(savepoint: &Savepoint, path: &Path) -> Plan {
    plan(savepoint, path).expect("it fits")
}

fn restore(plan: &Plan) -> u64 {
    edit::apply(plan, &owner("operator:1")).expect("nobody owns it")
}

/// A run that reads on, past a split.
fn read_on(path: &Path) {
    let mut store = open(path, "host:2");
    let from = after("49590338271490256608559692538361571095921575989136588898", 3);
    let streams = [stream("quakes"), stream("blasts")];
    let child = |name| ShardRow { parents: names(&["shard-1"]), ..row(name, Position::TrimHorizon) };
    let end = Advance {
        shard: ShardId::new("shard-1"),
        from,
        to: Position::ShardEnd,
        children: names(&["shard-8", "shard-9"]),
        watermark: Some(EpochMillis(NOON + 800)),
        complete_until: Some(EpochMillis(NOON + 900)),
        finished_at: Some(EpochMillis(NOON + 900)),
    };
    let marks = vec![SinkMark { sink: 0, mark: 5_000 }, SinkMark { sink: 1, mark: 77 }];
    let commit =
        Commit { create: vec![child("shard-8"), child("shard-9")], advance: vec![end], marks, ..Commit::default() };
    store.commit(&streams, &commit, &["out".to_owned(), "added".to_owned()]).expect("the owner");
    advance(&mut store, "shard-2", Position::TrimHorizon, after("5", 0), 5_001);
    store.release().expect("the owner");
}

/// CKP-2: the way back is a command that says what it does, and it is all of the way.
#[test]
fn a_restored_state_is_the_one_that_was_saved() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let (savepoint, before) = (taken(&path), claimed(&path));
    read_on(&path);
    assert_ne!(claimed(&path), before);
    let plan = planned(&savepoint, &path);
    let changes: Vec<_> =
        plan.changes.iter().map(|change| (change.what.as_str(), change.from.as_str(), change.to.as_str())).collect();
    let of_quakes = |shard: &str| format!("shard {shard} of {}", arn("quakes"));
    let [one, two, eight, nine] = ["shard-1", "shard-2", "shard-8", "shard-9"].map(of_quakes);
    let back = "after:49590338271490256608559692538361571095921575989136588898/3";
    assert_eq!(
        changes,
        [
            (one.as_str(), "shard-end", back),
            (&two, "after:5", "trim-horizon"),
            (&eight, "trim-horizon", "deleted"),
            (&nine, "trim-horizon", "deleted"),
            ("mark of sink out", "5001", "1234"),
            ("mark of sink added", "77", "deleted"),
        ]
    );
    assert_eq!(
        plan.warnings,
        [
            "2 shards move backwards: the sinks get their records again",
            "2 shards disappear: unknown at that moment, they are found again and read from their beginning",
        ]
    );
    assert_eq!(restore(&plan), 5);
    assert_eq!(claimed(&path), before);
    let report = edit::list(&path, &id()).expect("state");
    let line = &report.streams[1].shards[1];
    assert_eq!(line.owner.as_deref(), Some("operator:1"));
    assert_eq!(line.components, components(), "the rows are still those that this component made");
    assert!(planned(&savepoint, &path).changes.is_empty(), "there is nothing left to do");
}

#[test]
fn a_savepoint_restores_where_there_is_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let (savepoint, before) = (taken(&path), claimed(&path));
    let elsewhere = directory.path().join("new/state.db");
    let plan = planned(&savepoint, &elsewhere);
    assert!(!elsewhere.exists(), "a plan makes nothing");
    assert_eq!(plan.changes.len(), 2 + 5 + 1, "two starts, five shards, a mark: {plan}");
    assert_eq!(restore(&plan), 1);
    assert_eq!(claimed(&elsewhere), before);
}

#[test]
fn a_savepoint_of_an_older_state_moves_forward_what_was_reset() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let (savepoint, before) = (taken(&path), claimed(&path));
    let request = edit::Request::Delete { stream: Some("blasts".to_owned()), shards: edit::Selection::All };
    restore(&edit::plan(&snapshot(&path), &request).expect("a plan"));
    let set = edit::Request::Set {
        stream: Some("quakes".to_owned()),
        shards: edit::Selection::Only(names(&["shard-1"])),
        to: Position::TrimHorizon,
        now: EpochMillis(NOON),
    };
    restore(&edit::plan(&snapshot(&path), &set).expect("a plan"));
    let plan = planned(&savepoint, &path);
    assert_eq!(
        plan.warnings,
        [
            "1 shard moves forward: the sinks never get the records between",
            "1 shard appears: this state does not know them",
        ]
    );
    restore(&plan);
    assert_eq!(claimed(&path), before);
}

#[test]
fn a_live_owner_refuses_a_restore_and_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    read_on(&path);
    let live = open(&path, "live:7");
    let plan = planned(&savepoint, &path);
    assert!(plan.owned);
    let refused = edit::apply(&plan, &owner("operator:1"));
    assert!(
        matches!(&refused, Err(EditError::Store(StoreError::OwnedByAnother { owner: Some(by), .. })) if by.name == "live:7"),
        "{refused:?}"
    );
    drop(live);
    restore(&plan);
}

/// CKP-2: a writer from before the restore writes nothing after it.
#[test]
fn a_forgotten_writer_is_fenced_by_a_restore() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    let mut forgotten = open(&path, "forgotten:7");
    advance(&mut forgotten, "shard-2", Position::TrimHorizon, after("5", 0), 2_000);
    std::fs::remove_file(lock::path_for(&path, &id())).expect("the lock is lost");
    restore(&planned(&savepoint, &path));
    let late = forgotten.commit(&[], &Commit::default(), &[]);
    assert!(matches!(&late, Err(StoreError::Fenced { newer: 3, ours: 2, .. })), "{late:?}");
}

#[test]
fn a_plan_that_a_run_overtook_is_refused_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    read_on(&path);
    let plan = planned(&savepoint, &path);
    open(&path, "host:3").release().expect("the owner");
    let before = claimed(&path);
    let refused = edit::apply(&plan, &owner("operator:1"));
    assert!(matches!(refused, Err(EditError::Outdated { .. })), "{refused:?}");
    assert_eq!(claimed(&path), before);
}

#[test]
fn a_stream_that_was_created_again_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    let newer = StreamIdentity { created: EpochMillis(NOON), ..stream("quakes") };
    let mut store = open(&path, "host:2");
    store.start_stream(&newer, StartPoint::TrimHorizon, &[]).expect("another stream");
    for _ in 0..2 {
        let refused = plan(&savepoint, &path).expect_err("another stream").to_string();
        assert!(
            refused.contains(
                "was created at 2018-02-01T00:00:00Z as this state knows it, and at 2017-07-14T02:40:00Z as the"
            ),
            "{refused}"
        );
        // Whether the old one is still there or not.
        drop(store.forget_stream(&stream("quakes")));
    }
    drop(store);
    let both = taken(&path);
    assert!(plan(&both, &path).expect("what the state has").changes.is_empty());
}

#[test]
fn other_streams_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    let named = [arn("quakes"), arn("tremors")];
    let refused = savepoint::plan(&savepoint, &snapshot(&path), &named, &[], PLAIN).expect_err("other streams");
    assert_eq!(
        refused.to_string(),
        format!(
            "the streams of savepoint and manifest differ (only the savepoint has {}; only the manifest has {}); nothing was \
             changed; restore with a manifest that names the savepoint's streams",
            arn("blasts"),
            arn("tremors")
        )
    );
}

#[test]
fn another_pipeline_begins_as_a_copy_only_if_asked_and_without_marks() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    let copy = PipelineId { pipeline: "copy".to_owned(), ..id() };
    let there = Snapshot::take_or_empty(&path, &copy).expect("the database");
    let refused = savepoint::plan(&savepoint, &there, &streams(), &[], PLAIN).expect_err("another pipeline");
    assert_eq!(
        refused.to_string(),
        "the savepoint is of pipeline seismology/earthquakes, the manifest of seismology/copy; nothing was changed; add \
         --fork to let seismology/copy begin as a copy"
    );
    // The original may run meanwhile.
    let _live = open(&path, "live:7");
    let fork = Restore { fork: true, ..PLAIN };
    let plan = savepoint::plan(&savepoint, &there, &streams(), &[], fork).expect("asked for");
    assert!(
        plan.warnings.contains(
            &"mark 1234 of sink out stays with seismology/earthquakes: a copy has files of its own".to_owned()
        ),
        "{plan}"
    );
    restore(&plan);
    let mut store = SqliteStore::open(&path, &copy).expect("the database");
    let claimed = store.claim(&owner("host:3"), &[]).expect("nobody owns the copy");
    assert_eq!(claimed.marks, []);
    assert_eq!(claimed.streams[1].rows, quakes());
}

#[test]
fn marks_are_left_out_on_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let savepoint = taken(&path);
    read_on(&path);
    let how = Restore { without_marks: true, ..PLAIN };
    let plan = savepoint::plan(&savepoint, &snapshot(&path), &streams(), &[], how).expect("it fits");
    restore(&plan);
    let (streams, marks) = claimed(&path);
    assert_eq!((streams[1].rows.clone(), marks), (quakes(), Vec::new()));
}

/// A file that came with its hash made anew, by somebody who knew how, still has to make sense.
#[test]
fn a_savepoint_that_contradicts_itself_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let savepoint = taken(&state(directory.path()));
    for (from, to, why) in [
        ("\"shard-end\"", "\"trim-horizon\"", "a time of its end without an end"),
        ("\"trim-horizon\"", "\"latest\"", "\"latest\" is no position"),
        ("\"start\": \"trim-horizon\"", "\"start\": \"after:1\"", "is no start"),
        ("\"shard\": \"shard-2\"", "\"shard\": \"shard-1\"", "is there twice"),
        ("\"mark\": 1234", "\"mark\": 9223372036854775808", "is more than"),
        ("\"counter\"", "\"encounter\"", "unknown field"),
        ("2017-07-14T02:40:00Z", "yesterday", "\"yesterday\" is no time"),
        ("\"hash_start\": \"0\"", "\"hash_start\": null", "half of a range"),
        ("stream/blasts", "stream/quakes", "is there twice"),
    ] {
        let text = savepoint.text();
        assert!(text.contains(from), "{from}");
        let altered = text.replacen(from, to, 1);
        let told = Savepoint::parse(Path::new("x.json"), altered.as_bytes()).expect_err("the hash is another");
        let SavepointError::Altered { written, found, .. } = told else { panic!("{told}") };
        let altered = altered.replace(&written, &found);
        let told = Savepoint::parse(Path::new("x.json"), altered.as_bytes()).expect_err(to).to_string();
        assert!(told.starts_with("savepoint x.json contradicts itself (") && told.contains(why), "{from}: {told}");
    }
    let path = directory.path().join("fine.json");
    file::create(&path, &savepoint).expect("a new file");
}
