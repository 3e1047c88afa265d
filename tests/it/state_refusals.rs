//! What lies at the path and is not a database of ours is named and left as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use host::state::sqlite::SqliteStore;
use host::state::{LeaseStore, Owner, PipelineId, StartPoint, StoreError, StreamIdentity};
use host_core::checkpoint::{Commit, ShardRow};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use std::os::unix::fs::PermissionsExt;

/// Offsets into SQLite's file header.
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;

fn id() -> PipelineId {
    PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() }
}

fn owner() -> Owner {
    Owner { name: "host:1".to_owned(), since: EpochMillis(1_000) }
}

fn stream() -> StreamIdentity {
    StreamIdentity { arn: "arn:aws:kinesis:us-east-1:000000000000:stream/quakes".to_owned(), created: EpochMillis(7) }
}

fn rows(count: usize) -> Commit {
    let row = |n| ShardRow {
        shard: ShardId::new(&format!("shardId-{n:012}")),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position: Position::TrimHorizon,
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    Commit { create: (0..count).map(row).collect(), ..Commit::default() }
}

/// A database with some rows, closed.
fn database(directory: &Path) -> PathBuf {
    let path = directory.join("state.db");
    let mut store = SqliteStore::open(&path, &id()).expect("a new database");
    store.claim(&owner(), &[]).expect("nobody owns it");
    store.start_stream(&stream(), StartPoint::TrimHorizon, &[]).expect("not started yet");
    store.commit(&[stream()], &rows(500), &[]).expect("new rows");
    store.release().expect("the owner");
    path
}

fn patch(path: &Path, offset: usize, bytes: &[u8]) {
    let mut content = fs::read(path).expect("a file");
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).expect("writable");
}

/// The error of opening `path`, with the directory's name taken out; the file is the same afterwards.
fn refusal(directory: &Path, path: &Path) -> String {
    let before = fs::read(path).ok();
    let refused = SqliteStore::open(path, &id()).expect_err("not a database of ours");
    assert_eq!(fs::read(path).ok(), before, "it was changed");
    refused.to_string().replace(&format!("{}/", directory.display()), "")
}

#[test]
fn a_newer_database_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    patch(&path, USER_VERSION, &9_u32.to_be_bytes());
    assert_eq!(
        refusal(directory.path(), &path),
        "state database state.db has format 9, this release reads up to 3; nothing was changed; run the release that \
         wrote it, or a newer one"
    );
}

#[test]
fn a_damaged_database_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    let pages = fs::metadata(&path).expect("a file").len() / 4096;
    let middle = usize::try_from(pages / 2).expect("small") * 4096;
    patch(&path, middle, &[0xa5; 4096]);
    let message = refusal(directory.path(), &path);
    let (start, rest) = message.split_once(" (").expect("a detail");
    assert_eq!(start, "state database state.db is damaged");
    assert_eq!(
        rest.split_once("); ").expect("what to do").1,
        "nothing was changed; restore it from a copy or a savepoint, or move it and its -wal and -shm files away to \
         start anew at initial_position"
    );
}

#[test]
fn a_truncated_database_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    let content = fs::read(&path).expect("a file");
    fs::write(&path, &content[..content.len() / 2 - 100]).expect("writable");
    assert!(refusal(directory.path(), &path).starts_with("state database state.db is damaged ("));
}

#[test]
fn a_text_file_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    for content in ["x\n".to_owned(), "version = 1\n".repeat(1_000)] {
        fs::write(&path, content).expect("writable");
        assert_eq!(
            refusal(directory.path(), &path),
            "state.db is not a state database (not SQLite); nothing was changed; correct [checkpoint] store or move the \
             file away"
        );
    }
}

#[test]
fn a_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    fs::create_dir(&path).expect("new");
    assert_eq!(
        refusal(directory.path(), &path),
        "state.db is not a state database (a directory); nothing was changed; correct [checkpoint] store or move the \
         file away"
    );
}

#[test]
fn a_database_of_another_application_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    patch(&path, APPLICATION_ID, &0x1234_u32.to_be_bytes());
    assert_eq!(
        refusal(directory.path(), &path),
        "state.db is not a state database (a SQLite database of another application, application_id 0x1234); nothing was \
         changed; correct [checkpoint] store or move the file away"
    );
}

#[test]
fn a_read_only_database_is_refused_untouched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("ours");
    assert_eq!(
        refusal(directory.path(), &path),
        "state database state.db is read-only; nothing was written; give this user write access to the file and its \
         directory"
    );
}

#[test]
fn an_empty_file_becomes_a_database_and_only_its_owner_reads_a_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").expect("new");
    SqliteStore::open(&empty, &id()).expect("an empty file is no one's");
    let path = directory.path().join("deep/er/state.db");
    let mut store = SqliteStore::open(&path, &id()).expect("directories are made");
    store.claim(&owner(), &[]).expect("nobody owns it");
    for entry in fs::read_dir(directory.path().join("deep/er")).expect("made") {
        let entry = entry.expect("readable");
        let mode = entry.metadata().expect("readable").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn a_database_that_was_removed_or_replaced_takes_no_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(directory.path());
    let mut store = SqliteStore::open(&path, &id()).expect("a database");
    store.claim(&owner(), &[]).expect("nobody owns it");
    fs::rename(&path, directory.path().join("away.db")).expect("ours");
    let refused = store.commit(&[stream()], &Commit::default(), &[]);
    assert!(matches!(refused, Err(StoreError::Replaced { .. })), "{refused:?}");
    fs::copy(directory.path().join("away.db"), &path).expect("a copy");
    let refused = store.commit(&[stream()], &Commit::default(), &[]);
    assert!(matches!(refused, Err(StoreError::Replaced { .. })), "{refused:?}");
}

#[test]
fn many_may_make_the_same_database_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let together = Barrier::new(8);
    let (path, together) = (&path, &together);
    thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                together.wait();
                let id = PipelineId { pipeline: format!("pipeline-{n}"), ..id() };
                let mut store = SqliteStore::open(path, &id).expect("one makes it, all open it");
                assert_eq!(store.claim(&owner(), &[]).expect("its own").generation, 1);
            });
        }
    });
}
