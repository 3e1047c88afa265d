//! CKP-1, CKP-2: what the store acknowledged survives `kill -9`, nothing is half there, and the next start goes ahead at
//! once; while the owner lives, a second process is refused by name.
//!
//! A test that needs another process runs this very binary again, restricted to the same test, with a variable that
//! makes it the other side.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use host::state::sqlite::SqliteStore;
use host::state::{Claimed, LeaseStore, Owner, PipelineId, StartPoint, StoreError, StreamIdentity};
use host_core::checkpoint::{Advance, Commit, ShardRow, SinkMark};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, SequenceNumber, ShardId};

/// Set in the other process: the database.
const DATABASE: &str = "SLUICEBOX_TEST_DATABASE";

fn id() -> PipelineId {
    PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() }
}

fn owner(name: &str) -> Owner {
    Owner { name: name.to_owned(), since: EpochMillis(1_000) }
}

fn stream() -> StreamIdentity {
    StreamIdentity { arn: "arn:aws:kinesis:us-east-1:000000000000:stream/quakes".to_owned(), created: EpochMillis(7) }
}

fn after(commit: u64) -> Position {
    match commit {
        0 => Position::TrimHorizon,
        _ => Position::after(SequenceNumber::parse(&commit.to_string()).expect("decimal")),
    }
}

fn row(shard: &str) -> ShardRow {
    ShardRow {
        shard: ShardId::new(shard),
        parents: Vec::new(),
        children: Vec::new(),
        range: None,
        position: Position::TrimHorizon,
        watermark: None,
        complete_until: None,
        finished_at: None,
    }
}

/// Commit `n` moves two shards to `n`, makes a third and sets the mark to `n`: any of them alone would be a torn commit.
fn commit(n: u64) -> Commit {
    let advance = |shard| Advance {
        shard: ShardId::new(shard),
        from: after(n - 1),
        to: after(n),
        children: Vec::new(),
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    Commit {
        id: n,
        create: vec![row(&format!("new-{n:06}"))],
        advance: vec![advance("a"), advance("b")],
        forget: Vec::new(),
        marks: vec![SinkMark { sink: 0, mark: n }],
    }
}

/// The last commit that is there, all of it.
fn last_commit(claimed: &Claimed) -> u64 {
    let [stream] = claimed.streams.as_slice() else { return 0 };
    let Some(first) = stream.rows.first() else { return 0 };
    let last = claimed.marks.first().map_or(0, |(_, mark)| *mark);
    assert_eq!(first.position, after(last), "shard a is where the mark is");
    assert_eq!(stream.rows[1].position, after(last), "shard b is where shard a is");
    let created: Vec<_> = stream.rows[2..].iter().map(|row| row.shard.to_string()).collect();
    let expected: Vec<_> = (1..=last).map(|n| format!("new-{n:06}")).collect();
    assert_eq!(created, expected, "every commit's row is there, and no other");
    last
}

/// The other process: commits for ever, and tells what was acknowledged.
fn write_for_ever(path: &Path) {
    let mut store = SqliteStore::open(path, &id()).expect("the database opens");
    let claimed = store.claim(&owner("writer:1"), &[]).expect("nobody owns it");
    if claimed.streams.is_empty() {
        store.start_stream(&stream(), StartPoint::TrimHorizon, &[row("a"), row("b")]).expect("not started yet");
    }
    for n in last_commit(&claimed) + 1.. {
        store.commit(&[stream()], &commit(n), &["out".to_owned()]).expect("the owner writes");
        writeln!(io::stdout(), "\nack {n}").expect("the parent reads");
    }
}

/// Runs `test` of this binary as the other process.
fn other_process(test: &str, database: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", &format!("state_survives_kill::{test}"), "--nocapture", "--test-threads=1"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("this binary runs");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    (child, stdout)
}

fn acknowledged(line: io::Result<String>) -> Option<u64> {
    line.expect("text").strip_prefix("ack ").map(|n| n.parse().expect("a number"))
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    if let Some(database) = env::var_os(DATABASE) {
        return write_for_ever(&PathBuf::from(database));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let mut total = 0;
    for round in 0..24 {
        let (mut child, mut stdout) = other_process("everything_acknowledged_survives_kill_9", &path);
        let first: Vec<u64> = stdout.by_ref().lines().filter_map(acknowledged).take(1 + round % 7).collect();
        child.kill().expect("it runs");
        let rest = stdout.lines().filter_map(acknowledged).last();
        child.wait().expect("it was killed");
        let acknowledged = rest.or(first.last().copied()).expect("at least one");

        let mut store = SqliteStore::open(&path, &id()).expect("the database opens");
        let claimed = store.claim(&owner("reader:2"), &[]).expect("the dead process owns nothing");
        total = last_commit(&claimed);
        assert!(
            acknowledged <= total && total <= acknowledged + 1,
            "round {round}: {acknowledged} acknowledged, {total} there"
        );
    }
    assert!(total >= 24, "{total} commits in 24 rounds");
}

#[test]
fn a_second_process_is_refused_by_name_until_the_first_is_dead() {
    if let Some(database) = env::var_os(DATABASE) {
        return write_for_ever(&PathBuf::from(database));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let (mut child, stdout) = other_process("a_second_process_is_refused_by_name_until_the_first_is_dead", &path);
    let mut acks = stdout.lines().filter_map(acknowledged);
    acks.next().expect("it writes");
    let mut store = SqliteStore::open(&path, &id()).expect("many processes may have it open");
    let refused = store.claim(&owner("second:2"), &[]);
    assert!(
        matches!(&refused, Err(StoreError::OwnedByAnother { owner: Some(held), .. }) if *held == owner("writer:1")),
        "{refused:?}"
    );
    let mut other = SqliteStore::open(&path, &PipelineId { pipeline: "other".to_owned(), ..id() }).expect("opens");
    other.claim(&owner("second:2"), &[]).expect("another pipeline in the same file is free");
    acks.next().expect("it goes on writing");
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    let claimed = store.claim(&owner("second:2"), &[]).expect("the dead process owns nothing");
    assert!(last_commit(&claimed) >= 2);
}
