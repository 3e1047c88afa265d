//! What the embedded streams hold, on disk: `streams.db`, readable with any SQLite tool.
//!
//! Records are rows in the order of their commits, payloads as bytes. A stream's own description is one JSON
//! document: it changes seldom, and the store's types know how to read it back. The next sequence index of each shard
//! is kept apart from its records, because retention takes records and numbers must never come again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::LocalError;

/// The format that this code writes (`PRAGMA user_version`).
const FORMAT: i64 = 1;
/// Marks the file as ours (`PRAGMA application_id`): "slbx".
const APPLICATION: i64 = 0x736c_6278;
/// The write-ahead log is cut back to this after a checkpoint, in bytes.
const WAL_BYTES: i64 = 8 << 20;

const SCHEMA: &str = "
    CREATE TABLE about (
        id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, region TEXT NOT NULL, account TEXT NOT NULL,
        settings TEXT NOT NULL
    ) STRICT;
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL,
        shards_listed INTEGER, seed_sha256 TEXT
    ) STRICT;
    CREATE TABLE shards (
        stream INTEGER NOT NULL REFERENCES streams (id), shard INTEGER NOT NULL, next_index INTEGER NOT NULL,
        PRIMARY KEY (stream, shard)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE records (
        id INTEGER PRIMARY KEY, stream INTEGER NOT NULL REFERENCES streams (id), shard INTEGER NOT NULL,
        sequence TEXT NOT NULL, partition_key TEXT NOT NULL, arrived REAL NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX records_in_order ON records (stream, shard, sequence);
";

/// One change of the store, to be made durable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// A stream is new or described otherwise.
    Describe { stream: String, document: String },
    /// A stream is gone, with all of its records.
    Drop { stream: String },
    /// A stream was set up from the list; `seed` is the digest of what it was seeded from.
    SetUp { stream: String, shards: u32, seed: Option<String> },
    /// A shard has new records, in order, and counts on from `next_index`.
    Append { stream: String, shard: usize, next_index: u64, records: Vec<JournalRecord> },
    /// Retention took the records of a shard before this sequence number; `None` means all.
    Trim { stream: String, shard: usize, before: Option<String> },
    /// The account's settings, a JSON document.
    Settings { document: String },
}

/// One record as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JournalRecord {
    pub(super) sequence: String,
    pub(super) partition_key: String,
    /// Seconds since the epoch.
    pub(super) arrived: f64,
    pub(super) data: Vec<u8>,
}

/// A stream as the journal has it.
#[derive(Debug)]
pub(super) struct JournalStream {
    pub(super) name: String,
    pub(super) document: String,
    pub(super) shards_listed: Option<u32>,
    pub(super) seed: Option<String>,
    /// Shards that nobody has written to are not in it.
    pub(super) next_index: Vec<(usize, u64)>,
}

/// Where a record of [`Journal::records_after`] belongs.
pub(super) struct Placed {
    pub(super) id: i64,
    pub(super) stream: String,
    pub(super) shard: usize,
    pub(super) record: JournalRecord,
}

/// The open journal. Whoever holds it owns the directory.
#[derive(Debug)]
pub(super) struct Journal {
    connection: Connection,
    path: PathBuf,
    identity: String,
    /// Locked as long as the journal is open.
    _owner: File,
}

impl Journal {
    /// Opens the journal of `directory`, or makes an empty one.
    pub(super) fn open(directory: &Path, region: &str, account: &str) -> Result<Journal, LocalError> {
        let unwritable = |source| LocalError::Directory { directory: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(unwritable)?;
        let owner = own(directory)?;
        let path = directory.join("streams.db");
        let mut connection = Connection::open(&path).map_err(|error| blame(&path, "open", error))?;
        prepare(&mut connection, &path, region, account)?;
        let (identity, found_region, found_account): (String, String, String) = connection
            .query_row("SELECT identity, region, account FROM about", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(|error| blame(&path, "read", error))?;
        if found_region != region || found_account != account {
            let (region, account) = (region.to_owned(), account.to_owned());
            return Err(LocalError::OtherAccount { path, found_region, found_account, region, account });
        }
        Ok(Journal { connection, path, identity, _owner: owner })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Made once at random with the journal.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// The account's settings.
    pub(super) fn settings(&self) -> Result<String, LocalError> {
        let settings = self.connection.query_row("SELECT settings FROM about", [], |row| row.get(0));
        settings.map_err(|error| blame(&self.path, "read", error))
    }

    /// All streams, without their records.
    pub(super) fn streams(&self) -> Result<Vec<JournalStream>, LocalError> {
        self.try_streams().map_err(|error| blame(&self.path, "read", error))
    }

    fn try_streams(&self) -> rusqlite::Result<Vec<JournalStream>> {
        let mut streams = self
            .connection
            .prepare("SELECT id, name, document, shards_listed, seed_sha256 FROM streams ORDER BY name")?;
        let mut shards = self.connection.prepare("SELECT shard, next_index FROM shards WHERE stream = ?1")?;
        let mut rows = streams.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let next_index = shards.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            found.push(JournalStream {
                name: row.get(1)?,
                document: row.get(2)?,
                shards_listed: row.get(3)?,
                seed: row.get(4)?,
                next_index,
            });
        }
        Ok(found)
    }

    /// Up to `limit` records in the order they were put, after the one with `id` (0: from the first).
    pub(super) fn records_after(&self, id: i64, limit: usize) -> Result<Vec<Placed>, LocalError> {
        self.try_records_after(id, limit).map_err(|error| blame(&self.path, "read", error))
    }

    fn try_records_after(&self, id: i64, limit: usize) -> rusqlite::Result<Vec<Placed>> {
        let mut records = self.connection.prepare_cached(
            "SELECT id, (SELECT name FROM streams WHERE streams.id = stream), shard, sequence, partition_key, arrived, data
             FROM records WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = records.query_map(params![id, limit], |row| {
            let record = JournalRecord {
                sequence: row.get(3)?,
                partition_key: row.get(4)?,
                arrived: row.get(5)?,
                data: row.get(6)?,
            };
            Ok(Placed { id: row.get(0)?, stream: row.get(1)?, shard: row.get(2)?, record })
        })?;
        rows.collect()
    }

    /// Makes the changes durable, all or none: they are synced to disk when this returns.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), LocalError> {
        self.try_commit(changes).map_err(|error| blame(&self.path, "append to", error))
    }

    fn try_commit(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            apply(&transaction, change)?;
        }
        transaction.commit()
    }
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Describe { stream, document } => transaction
            .prepare_cached(
                "INSERT INTO streams (name, document) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET document = excluded.document",
            )?
            .execute(params![stream, document])
            .map(drop),
        Change::Drop { stream } => {
            let id = id_of(transaction, stream)?;
            transaction.execute("DELETE FROM records WHERE stream = ?1", [id])?;
            transaction.execute("DELETE FROM shards WHERE stream = ?1", [id])?;
            transaction.execute("DELETE FROM streams WHERE id = ?1", [id]).map(drop)
        }
        Change::SetUp { stream, shards, seed } => transaction
            .execute(
                "UPDATE streams SET shards_listed = coalesce(shards_listed, ?2), seed_sha256 = coalesce(?3, seed_sha256)
                 WHERE id = ?1",
                params![id_of(transaction, stream)?, shards, seed],
            )
            .map(drop),
        Change::Append { stream, shard, next_index, records } => {
            append(transaction, id_of(transaction, stream)?, *shard, *next_index, records)
        }
        Change::Trim { stream, shard, before } => transaction
            .execute(
                "DELETE FROM records WHERE stream = ?1 AND shard = ?2 AND (?3 IS NULL OR sequence < ?3)",
                params![id_of(transaction, stream)?, shard, before],
            )
            .map(drop),
        Change::Settings { document } => {
            transaction.execute("UPDATE about SET settings = ?1", [document]).map(drop)
        }
    }
}

fn append(
    transaction: &Transaction<'_>,
    stream: i64,
    shard: usize,
    next_index: u64,
    records: &[JournalRecord],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO shards (stream, shard, next_index) VALUES (?1, ?2, ?3)
             ON CONFLICT (stream, shard) DO UPDATE SET next_index = excluded.next_index",
        )?
        .execute(params![stream, shard, next_index])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO records (stream, shard, sequence, partition_key, arrived, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for JournalRecord { sequence, partition_key, arrived, data } in records {
        insert.execute(params![stream, shard, sequence, partition_key, arrived, data])?;
    }
    Ok(())
}

/// A stream that is not there is an error: a change must never vanish because its stream is unknown.
fn id_of(transaction: &Transaction<'_>, stream: &str) -> rusqlite::Result<i64> {
    transaction.prepare_cached("SELECT id FROM streams WHERE name = ?1")?.query_row([stream], |row| row.get(0))
}

/// Sets the connection up, and makes the tables in a new file.
fn prepare(connection: &mut Connection, path: &Path, region: &str, account: &str) -> Result<(), LocalError> {
    let found = settle(connection).map_err(|error| blame(path, "open", error))?;
    match found {
        Found::Empty => create(connection, region, account).map_err(|error| blame(path, "create", error)),
        Found::Foreign => {
            Err(LocalError::Corrupt { path: path.to_owned(), what: "another program's database".to_owned() })
        }
        Found::Format(FORMAT) => Ok(()),
        Found::Format(found) => Err(LocalError::Newer { path: path.to_owned(), found, known: FORMAT }),
    }
}

enum Found {
    Empty,
    Foreign,
    Format(i64),
}

fn settle(connection: &Connection) -> rusqlite::Result<Found> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let table: Option<String> =
        connection.query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| row.get(0)).optional()?;
    Ok(match (application, table) {
        (APPLICATION, _) => Found::Format(format),
        (0, None) => Found::Empty,
        _ => Found::Foreign,
    })
}

fn create(connection: &mut Connection, region: &str, account: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO about (id, identity, region, account, settings) VALUES (1, lower(hex(randomblob(16))), ?1, ?2, '{}')",
        [region, account],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// An identity for streams that are kept nowhere.
pub(super) fn random_identity() -> Result<String, LocalError> {
    let drawn = Connection::open_in_memory()
        .and_then(|memory| memory.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0)));
    drawn.map_err(|error| blame(Path::new(":memory:"), "open", error))
}

/// Locks the directory for this process, and writes down who has it.
fn own(directory: &Path) -> Result<File, LocalError> {
    let unwritable = |source: io::Error| LocalError::Directory { directory: directory.to_owned(), source };
    let path = directory.join("owner.pid");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let owner = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(LocalError::Owned { directory: directory.to_owned(), owner });
        }
        Err(TryLockError::Error(source)) => return Err(unwritable(source)),
    }
    file.set_len(0).map_err(unwritable)?;
    file.rewind().map_err(unwritable)?;
    writeln!(file, "{}", process::id()).map_err(unwritable)?;
    Ok(file)
}

fn blame(path: &Path, attempt: &'static str, error: rusqlite::Error) -> LocalError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation) => {
            LocalError::Corrupt { path, what: error.to_string() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            let directory = path.parent().unwrap_or(&path).to_owned();
            LocalError::Directory { directory, source: io::Error::new(io::ErrorKind::PermissionDenied, error) }
        }
        Some(_) | None => LocalError::Journal { path, attempt, source: error },
    }
}

/// The journal among tasks: each use is one short blocking call on a thread that may block.
#[derive(Clone, Debug)]
pub(super) struct SharedJournal(Arc<Mutex<Journal>>);

impl SharedJournal {
    pub(super) fn new(journal: Journal) -> SharedJournal {
        SharedJournal(Arc::new(Mutex::new(journal)))
    }

    /// Runs `call` to its end, even if the returned future is dropped.
    pub(super) async fn with<R: Send + 'static>(&self, call: impl FnOnce(&mut Journal) -> R + Send + 'static) -> R {
        let journal = Arc::clone(&self.0);
        let task =
            tokio::task::spawn_blocking(move || call(&mut journal.lock().unwrap_or_else(PoisonError::into_inner)));
        task.await.expect("a call on the journal returns its errors and is never cancelled")
    }

    /// Closes the journal and unlocks its directory, after the last use of it.
    pub(super) async fn release(self) {
        let SharedJournal(journal) = self;
        drop(tokio::task::spawn_blocking(move || drop(journal)).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trim_takes_what_is_before_its_number_in_its_shard_only() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(directory.path(), "us-east-1", "000000000000").expect("an empty directory");
        let stream = "quakes".to_owned();
        let mut changes = vec![Change::Describe { stream: stream.clone(), document: "{}".to_owned() }];
        for shard in 0..3 {
            let record = |sequence: &str| JournalRecord {
                sequence: sequence.to_owned(),
                partition_key: "a".to_owned(),
                arrived: 1.0,
                data: vec![0, 255],
            };
            let records = vec![record("1"), record("2")];
            changes.push(Change::Append { stream: stream.clone(), shard, next_index: 3, records });
        }
        changes.push(Change::Trim { stream: stream.clone(), shard: 0, before: Some("2".to_owned()) });
        changes.push(Change::Trim { stream, shard: 1, before: None });
        journal.commit(&changes).expect("the changes fit together");
        let kept = journal.records_after(0, 10).expect("the journal reads back");
        let kept: Vec<_> = kept.iter().map(|placed| (placed.shard, placed.record.sequence.as_str())).collect();
        assert_eq!(kept, [(0, "2"), (2, "1"), (2, "2")]);
    }

    #[test]
    fn changes_are_committed_all_or_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut journal = Journal::open(directory.path(), "us-east-1", "000000000000").expect("an empty directory");
        let described = Change::Describe { stream: "quakes".to_owned(), document: "{}".to_owned() };
        let unknown = Change::Append { stream: "other".to_owned(), shard: 0, next_index: 2, records: Vec::new() };
        journal.commit(&[described, unknown]).expect_err("nobody described the other stream");
        assert!(journal.streams().expect("the journal reads back").is_empty());
    }
}
