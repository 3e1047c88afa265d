//! The database file: how it is told from everything else that may lie at its path, and how it comes to be.
//!
//! Whatever is not ours, damaged or from a newer release is looked at through a read-only connection and left alone. What
//! an older release wrote is brought up to date by the first who writes, in one transaction; whoever only looks reads it
//! as it is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::state::StoreError;

/// `Slub`: tells `file(1)` and us whose database this is.
pub(super) const APPLICATION_ID: i64 = 0x536c_7562;

/// The format that this release writes (`user_version`).
pub(super) const FORMAT: i64 = 3;

/// What leads from each format to the next, the first from format 1.
const UPGRADES: [&str; FORMAT as usize - 1] = [include_str!("to_2.sql"), include_str!("to_3.sql")];

/// What lets a connection that only looks read each older format as if it were today's, the first format 1: each lacks
/// what it says here and all that follows. A temporary view goes before the table of its name, and lies outside of the
/// file.
const OLDER: [&str; FORMAT as usize - 1] = [
    "CREATE TEMP VIEW shards AS SELECT *, NULL AS complete_until_ms FROM main.shards;",
    "CREATE TEMP VIEW streams AS SELECT *, NULL AS consumer_name, NULL AS consumer_arn FROM main.streams;",
];

/// How long a write waits for that of another pipeline in the same file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = include_str!("schema.sql");
const VIEWS: &str = include_str!("views.sql");

/// Which file is open, whatever its path leads to by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// What lies at the path.
enum Found {
    Ours,
    /// Ours, of the format with this index in [`UPGRADES`].
    Older(usize),
    Empty,
}

/// Opens the database for writing; makes it, and the directories above it, if there is none.
pub(super) fn open(path: &Path) -> Result<(Connection, FileIdentity), StoreError> {
    if regular_file(path)?.is_none() {
        create(path)?;
    }
    if fs::metadata(path).map_err(|error| io_failed("open", path, error))?.permissions().readonly() {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    let found = gate(path)?;
    let identity = identity(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|error| failed("open", path, error))?;
    connection.busy_handler(Some(wait_for_turn)).map_err(|error| failed("open", path, error))?;
    match found {
        Found::Ours => {}
        Found::Older(_) => upgrade(&mut connection).map_err(|error| failed("upgrade", path, error))?,
        Found::Empty => initialize(path, &mut connection)?,
    }
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(|error| failed("open", path, error))?;
    Ok((connection, identity))
}

/// Waits for another writer to finish. SQLite's own handler soon sleeps for 100 ms at a time, and a writer that commits
/// without a pause would then keep everybody else out for good; looking every millisecond finds its gaps.
fn wait_for_turn(tries: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    Duration::from_millis(u64::try_from(tries).unwrap_or(0)) < BUSY_TIMEOUT
}

/// Opens the database for looking only.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    if regular_file(path)?.is_none() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    match gate(path)? {
        Found::Ours => read_only(path),
        Found::Older(format) => {
            let connection = read_only(path)?;
            for lacking in OLDER.iter().skip(format) {
                connection.execute_batch(lacking).map_err(|error| failed("read", path, error))?;
            }
            Ok(connection)
        }
        Found::Empty => Err(StoreError::Missing { path: path.to_owned() }),
    }
}

/// Refuses to go on if the path leads to another file than the open one: its writes would be lost.
pub(super) fn still_there(path: &Path, expected: FileIdentity) -> Result<(), StoreError> {
    match identity(path) {
        Ok(found) if found == expected => Ok(()),
        Ok(_) | Err(StoreError::Missing { .. }) => Err(StoreError::Replaced { path: path.to_owned() }),
        Err(error) => Err(error),
    }
}

/// What SQLite says, in the words of the port.
pub(super) fn failed(doing: &'static str, path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path, waited: BUSY_TIMEOUT },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, detail: error.to_string() },
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase { path, detail: "not SQLite".to_owned() },
        Some(_) | None => StoreError::Io { doing, path, source: error.into() },
    }
}

pub(super) fn io_failed(doing: &'static str, path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    let kind = error.kind();
    if kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded {
        StoreError::Full { path }
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        StoreError::ReadOnly { path }
    } else {
        StoreError::Io { doing, path, source: error.into() }
    }
}

fn regular_file(path: &Path) -> Result<Option<()>, StoreError> {
    let not_ours = |detail: &str| StoreError::NotADatabase { path: path.to_owned(), detail: detail.to_owned() };
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(not_ours("a directory")),
        Ok(found) if !found.is_file() => Err(not_ours("no regular file")),
        Ok(_) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failed("open", path, error)),
    }
}

fn identity(path: &Path) -> Result<FileIdentity, StoreError> {
    match fs::metadata(path) {
        Ok(found) => Ok(FileIdentity { device: found.dev(), inode: found.ino() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing { path: path.to_owned() }),
        Err(error) => Err(io_failed("open", path, error)),
    }
}

/// Makes an empty file for its owner only, and lets it survive a power cut.
fn create(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let missing: Vec<&Path> = directory.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(&directory).map_err(|error| io_failed("create", &directory, error))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io_failed("create", path, error)),
    }
    for made in missing.iter().copied().chain([directory.as_path()]) {
        let above = directory_of(made);
        let synced = File::open(&above).and_then(|above| above.sync_all());
        synced.map_err(|error| io_failed("create", &above, error))?;
    }
    let synced = File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io_failed("create", &directory, error))
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed("open", path, error))?;
    connection.busy_handler(Some(wait_for_turn)).map_err(|error| failed("open", path, error))?;
    Ok(connection)
}

/// Tells ours from everything else, changing nothing. All of it is one look: between two, somebody else may have made the
/// tables.
fn gate(path: &Path) -> Result<Found, StoreError> {
    let connection = read_only(path)?;
    connection.execute_batch("BEGIN").map_err(|error| failed("read", path, error))?;
    let number = |query: &str| {
        connection.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(|error| failed("read", path, error))
    };
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application == 0 && format == 0 && tables == 0 {
        return Ok(Found::Empty);
    }
    if application != APPLICATION_ID {
        let detail = format!("a SQLite database of another application, application_id {application:#x}");
        return Err(StoreError::NotADatabase { path: path.to_owned(), detail });
    }
    if format > FORMAT {
        return Err(StoreError::Newer { path: path.to_owned(), found: format, supported: FORMAT });
    }
    let check: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| failed("check", path, error))?;
    if check != "ok" {
        return Err(StoreError::Corrupt { path: path.to_owned(), detail: check.replace('\n', " ") });
    }
    match usize::try_from(format).ok().and_then(|format| format.checked_sub(1)) {
        None => Err(StoreError::Corrupt { path: path.to_owned(), detail: format!("format {format}") }),
        Some(older) if older < UPGRADES.len() => Ok(Found::Older(older)),
        Some(_) => Ok(Found::Ours),
    }
}

/// Brings an older format up to date, once, however many processes try: the format is read again where nobody else
/// writes. A process of the older release that has the file open goes on working with it, since columns are only added.
fn upgrade(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(format - 1).unwrap_or(0);
    for upgrade in UPGRADES.iter().skip(done) {
        transaction.execute_batch(upgrade)?;
    }
    transaction.execute_batch(VIEWS)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Makes the tables, once, however many processes try: the directory's own lock keeps them apart, since changing the
/// journal's mode does not wait for anybody.
fn initialize(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let lock = File::open(&directory).and_then(|directory| directory.lock().map(|()| directory));
    let lock = lock.map_err(|error| io_failed("lock", &directory, error))?;
    if matches!(gate(path)?, Found::Empty) {
        let mode: String = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| failed("create", path, error))?;
        if mode != "wal" {
            let source = format!("journal mode {mode} instead of wal");
            return Err(StoreError::Io { doing: "create", path: path.to_owned(), source: source.into() });
        }
        create_tables(connection).map_err(|error| failed("create", path, error))?;
    }
    drop(lock);
    Ok(())
}

fn create_tables(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute_batch(VIEWS)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}
