//! Databases that older releases wrote, made from the very statements that those releases used.

use std::path::{Path, PathBuf};

use host_core::checkpoint::{Advance, Commit};
use host_core::moment::EpochMillis;
use host_core::shard::{Position, SequenceNumber, ShardId};
use rusqlite::Connection;

use super::file::{APPLICATION_ID, FORMAT};
use super::*;

const FORMAT_1: &str = include_str!("formats/format_1.sql");
/// What the second release made of the first one's databases; a new one of its own had the same tables.
const FORMAT_2: &str = concat!(include_str!("formats/format_1.sql"), include_str!("to_2.sql"));

fn id() -> PipelineId {
    PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() }
}

fn after(sequence: &str) -> Position {
    Position::after(SequenceNumber::parse(sequence).expect("decimal"))
}

/// A database of format 1 in which one pipeline has a finished shard, one on its way and a mark.
fn of_format_1(directory: &Path) -> PathBuf {
    of_format(
        1,
        FORMAT_1,
        "INSERT INTO shards VALUES
           (1, 'a', 1, 5, 4, 'shard-end', NULL, NULL, NULL, '[]', '[\"b\"]', '0', '9', 50, 60),
           (1, 'b', 1, 5, 2, 'after', '41', 3, NULL, '[\"a\"]', '[]', NULL, NULL, NULL, NULL);",
        directory,
    )
}

/// The same of format 2, in which rows know until when they are complete.
fn of_format_2(directory: &Path) -> PathBuf {
    of_format(
        2,
        FORMAT_2,
        "INSERT INTO shards VALUES
           (1, 'a', 1, 5, 4, 'shard-end', NULL, NULL, NULL, '[]', '[\"b\"]', '0', '9', 50, 60, 70),
           (1, 'b', 1, 5, 2, 'after', '41', 3, NULL, '[\"a\"]', '[]', NULL, NULL, NULL, NULL, 80);",
        directory,
    )
}

fn of_format(format: i64, statements: &str, shards: &str, directory: &Path) -> PathBuf {
    let path = directory.join("state.db");
    let connection = Connection::open(&path).expect("a new file");
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("set");
    connection.execute_batch(statements).expect("the statements of that format");
    connection
        .execute_batch(
            "INSERT INTO pipelines VALUES (1, 'default', 'quakes', 5);
             INSERT INTO claims VALUES (1, 5, 'host:1', 1000, '[{\"role\": \"deserializer\", \"digest\": \"sha256:00\"}]', 1);
             INSERT INTO streams VALUES (1, 1, 'arn', 7, 'at-timestamp', 3);
             INSERT INTO marks VALUES (1, 'out', 99);",
        )
        .expect("rows that are the same in every format");
    connection.execute_batch(shards).expect("rows of that format");
    connection.pragma_update(None, "application_id", APPLICATION_ID).expect("set");
    connection.pragma_update(None, "user_version", format).expect("set");
    path
}

fn format_of(path: &Path) -> i64 {
    Connection::open(path)
        .and_then(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)))
        .expect("a database")
}

#[test]
fn a_database_of_format_1_is_brought_up_to_date_and_keeps_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_1(directory.path());
    let mut store = SqliteStore::open(&path, &id()).expect("an older format");
    assert_eq!(format_of(&path), FORMAT);
    let owner = Owner { name: "host:2".to_owned(), since: EpochMillis(2_000) };
    let claimed = store.claim(&owner, &[]).expect("nobody owns it");
    let previous = claimed.previous.expect("there was one");
    assert_eq!((claimed.generation, previous.ending, previous.components.len()), (6, Ending::Released, 1));
    assert_eq!(claimed.marks, [("out".to_owned(), 99)]);
    let [state] = claimed.streams.as_slice() else { panic!("{:?}", claimed.streams) };
    assert_eq!(state.start, StartPoint::AtTimestamp(EpochMillis(3)));
    let [a, b] = state.rows.as_slice() else { panic!("{:?}", state.rows) };
    assert_eq!((a.finished_at, a.watermark, a.complete_until), (Some(EpochMillis(60)), Some(EpochMillis(50)), None));
    let sequence = SequenceNumber::parse("41").expect("decimal");
    assert_eq!(b.position, Position::After { sequence, sub_sequence: 3 });
    assert_eq!(b.parents, [ShardId::new("a")]);

    let advance = Advance {
        shard: ShardId::new("b"),
        from: b.position.clone(),
        to: after("42"),
        children: Vec::new(),
        watermark: None,
        complete_until: Some(EpochMillis(1_517_443_200_000)),
        finished_at: None,
    };
    let commit = Commit { advance: vec![advance], ..Commit::default() };
    store.commit(std::slice::from_ref(&state.identity), &commit, &[]).expect("the owner");
    let line: String = store
        .connection
        .query_row("SELECT position || ' ' || complete_until FROM positions WHERE shard = 'b'", [], |row| row.get(0))
        .expect("the view was made anew");
    assert_eq!(line, "after 2018-02-01T00:00:00.000Z");
}

#[test]
fn a_database_of_format_1_is_looked_at_without_a_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_1(directory.path());
    let before = std::fs::read(&path).expect("a file");
    let stored = look(&path, &id()).expect("an older format").expect("it ran");
    let rows: Vec<_> =
        stored.streams[0].rows.iter().map(|stored| (stored.counter, stored.row.complete_until)).collect();
    assert_eq!((rows, stored.marks), (vec![(4, None), (2, None)], vec![("out".to_owned(), 99)]));
    assert_eq!(std::fs::read(&path).expect("a file"), before);
    assert_eq!(format_of(&path), 1);
}

#[test]
fn a_database_of_format_2_is_brought_up_to_date_and_learns_of_consumers() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_2(directory.path());
    let mut store = SqliteStore::open(&path, &id()).expect("an older format");
    assert_eq!(format_of(&path), FORMAT);
    let owner = Owner { name: "host:2".to_owned(), since: EpochMillis(2_000) };
    let claimed = store.claim(&owner, &[]).expect("nobody owns it");
    let [state] = claimed.streams.as_slice() else { panic!("{:?}", claimed.streams) };
    let complete: Vec<_> = state.rows.iter().map(|row| row.complete_until).collect();
    assert_eq!((complete, &state.consumer), (vec![Some(EpochMillis(70)), Some(EpochMillis(80))], &None));
    let consumer = RegisteredConsumer { name: "fast".to_owned(), arn: None };
    store.note_consumer(&state.identity, Some(&consumer)).expect("the owner");
    let stored = look(&path, &id()).expect("today's format").expect("it ran");
    assert_eq!(stored.streams[0].consumer, Some(consumer));
}

#[test]
fn a_database_of_format_2_is_looked_at_without_a_change() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_2(directory.path());
    let before = std::fs::read(&path).expect("a file");
    let stored = look(&path, &id()).expect("an older format").expect("it ran");
    let [stream] = stored.streams.as_slice() else { panic!("{:?}", stored.streams) };
    let complete: Vec<_> = stream.rows.iter().map(|stored| stored.row.complete_until).collect();
    assert_eq!((complete, &stream.consumer), (vec![Some(EpochMillis(70)), Some(EpochMillis(80))], &None));
    assert_eq!((std::fs::read(&path).expect("a file"), format_of(&path)), (before, 2));
}

#[test]
fn a_consumer_without_a_name_is_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_2(directory.path());
    drop(SqliteStore::open(&path, &id()).expect("an older format"));
    let connection = Connection::open(&path).expect("opens");
    connection.execute_batch("UPDATE streams SET consumer_arn = 'arn'").expect("written");
    let damaged = look(&path, &id()).expect_err("no release wrote it").to_string();
    assert!(damaged.contains("stream arn: a consumer without a name"), "{damaged}");
}

#[test]
fn a_process_of_the_older_release_goes_on_beside_the_newer_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_1(directory.path());
    let older = Connection::open(&path).expect("a database");
    let mut update =
        older.prepare("UPDATE shards SET counter = counter + 1, sequence = ? WHERE shard = 'b'").expect("fine");
    update.execute(["42"]).expect("written");
    drop(SqliteStore::open(&path, &id()).expect("an older format"));
    update.execute(["43"]).expect("a column more is in nobody's way");
    let stored = look(&path, &id()).expect("today's format").expect("it ran");
    assert_eq!(
        stored.streams[0].rows[1].row.position,
        Position::After { sequence: SequenceNumber::parse("43").expect("decimal"), sub_sequence: 3 }
    );
}

#[test]
fn many_may_bring_the_same_database_up_to_date_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_1(directory.path());
    let together = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                together.wait();
                SqliteStore::open(&path, &id()).expect("one does it, all open it");
            });
        }
    });
    assert_eq!(format_of(&path), FORMAT);
}

#[test]
fn a_database_without_a_format_is_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_format_1(directory.path());
    Connection::open(&path).expect("opens").pragma_update(None, "user_version", 0).expect("set");
    let refused = SqliteStore::open(&path, &id()).expect_err("no release wrote it").to_string();
    assert!(refused.contains("is damaged (format 0)"), "{refused}");
}

#[test]
fn a_new_database_and_one_brought_up_to_date_have_the_same_tables() {
    let directory = tempfile::tempdir().expect("a directory");
    let older = of_format_1(directory.path());
    let newer = directory.path().join("new.db");
    for path in [&older, &newer] {
        drop(SqliteStore::open(path, &id()).expect("ours"));
    }
    let columns = |path: &Path| -> Vec<String> {
        let connection = Connection::open(path).expect("a database");
        let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || c.\"notnull\" || c.pk
                   FROM sqlite_schema t JOIN pragma_table_info(t.name) c ORDER BY 1";
        let mut statement = connection.prepare(sql).expect("fine");
        let names = statement.query_map([], |row| row.get(0)).expect("rows");
        names.collect::<Result<_, _>>().expect("text")
    };
    assert_eq!(columns(&older), columns(&newer));
}
