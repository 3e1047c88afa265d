//! Positions in one SQLite file, which any SQLite tool opens: `SELECT * FROM positions` answers "where are we?".
//!
//! Write-ahead log with `synchronous = FULL`: a commit that returned is on the disk. Many pipelines, of many processes,
//! may share a file; their writes wait for one another for up to five seconds. A lock file per pipeline beside the
//! database names the owner; the generation in the database proves it, inside the transaction of every write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_core::checkpoint::{Commit, ShardRow};
use host_core::shard::{Position, ShardId};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::edit::step::{Edit, Edited};
use super::error::age_of;
use super::lock::{self, ProcessLock, Refused};
use super::stored::{StoredPipeline, StoredRow};
use super::{
    Claimed, ComponentDigest, Ending, LeaseStore, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint,
    StoreError, StreamIdentity, StreamState, rules,
};

mod file;
mod rows;
mod steps;
#[cfg(test)]
mod formats;

use rows::{Keyed, RowError};

/// The state of one pipeline in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    pipeline: PipelineId,
    connection: Connection,
    file: file::FileIdentity,
    lock: Option<ProcessLock>,
    claim: Option<Claim>,
}

/// What this handle knows of what it owns.
#[derive(Debug)]
struct Claim {
    pipeline_id: i64,
    generation: u64,
    streams: BTreeMap<StreamIdentity, i64>,
    /// The counter of every row.
    counters: BTreeMap<RowKey, u64>,
}

/// A row: the key of its stream here, and the shard as rows that were read name it, of stream 0.
type RowKey = (i64, ShardId);

fn row_key(stream_id: i64, shard: &ShardId) -> RowKey {
    (stream_id, ShardId::new(shard.as_str()))
}

/// Counters that hold once the transaction is through; `None` for a row that is gone.
type Changed = BTreeMap<RowKey, Option<u64>>;

impl SqliteStore {
    /// Opens the database at `path`, or makes it, readable by its owner only, with the directories above it.
    ///
    /// # Errors
    /// The file is something else, damaged, from a newer release or read-only: it is left as it is.
    pub fn open(path: &Path, pipeline: &PipelineId) -> Result<Self, StoreError> {
        let (connection, file) = file::open(path)?;
        Ok(Self { path: path.to_owned(), pipeline: pipeline.clone(), connection, file, lock: None, claim: None })
    }

    /// Runs `change` in one transaction that only the newest claim may make.
    fn write(
        &mut self,
        change: impl FnOnce(&Writing<'_>, &mut Changed) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(claim) = &mut self.claim else {
            return Err(StoreError::NotClaimed { pipeline: self.pipeline.clone() });
        };
        file::still_there(&self.path, self.file)?;
        let transaction = begin(&mut self.connection, &self.path)?;
        let writing = Writing { transaction: &transaction, path: &self.path, claim };
        writing.check_fence(&self.pipeline)?;
        let mut changed = Changed::new();
        change(&writing, &mut changed)?;
        transaction.commit().map_err(|error| file::failed("write", &self.path, error))?;
        for (key, counter) in changed {
            match counter {
                Some(counter) => claim.counters.insert(key, counter),
                None => claim.counters.remove(&key),
            };
        }
        Ok(())
    }

    fn take_lock(&mut self, owner: &Owner) -> Result<(), StoreError> {
        let path = lock::path_for(&self.path, &self.pipeline);
        if self.lock.is_none() {
            self.lock =
                Some(ProcessLock::acquire(&path, owner).map_err(|why| refused(&self.pipeline, path, owner, why))?);
        }
        Ok(())
    }

    fn take_over(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<(Claim, Claimed), StoreError> {
        file::still_there(&self.path, self.file)?;
        let path = &self.path;
        let transaction = begin(&mut self.connection, path)?;
        let claim = PreviousClaim { owner: owner.clone(), components: components.to_vec(), ending: Ending::Unreleased };
        let stored = raise_generation(&transaction, &self.pipeline, &claim).map_err(|error| row_failed(path, error))?;
        transaction.commit().map_err(|error| file::failed("write", path, error))?;
        Ok(claimed(stored))
    }
}

impl LeaseStore for SqliteStore {
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError> {
        self.take_lock(owner)?;
        self.claim = None;
        match self.take_over(owner, components) {
            Ok((claim, claimed)) => {
                self.claim = Some(claim);
                Ok(claimed)
            }
            Err(error) => {
                self.lock = None;
                Err(error)
            }
        }
    }

    fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        if let Some(claim) = &self.claim
            && claim.streams.contains_key(stream)
        {
            let start = self.start_of(stream)?;
            return Err(StoreError::AlreadyStarted { arn: stream.arn.clone(), start });
        }
        let mut stream_id = 0;
        self.write(|writing, changed| {
            stream_id = writing.add_stream(stream, start)?;
            rows.iter().try_for_each(|row| writing.create(stream_id, row, changed))
        })?;
        if let Some(claim) = &mut self.claim {
            claim.streams.insert(stream.clone(), stream_id);
        }
        Ok(())
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        let mut forgotten = 0;
        self.write(|writing, _| {
            forgotten = writing.stream_id(stream)?;
            writing.execute("DELETE FROM streams WHERE stream_id = ?", params![forgotten])
        })?;
        if let Some(claim) = &mut self.claim {
            claim.streams.remove(stream);
            claim.counters.retain(|(stream_id, _), _| *stream_id != forgotten);
        }
        Ok(())
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.write(|writing, _| {
            let set = rows::set_consumer(writing.transaction, writing.stream_id(stream)?, consumer);
            set.map_err(|error| writing.failed(error))
        })
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        self.write(|writing, changed| {
            let stream_of = |shard: &ShardId| writing.stream_id(rules::stream_of(shard, streams)?);
            for row in &commit.create {
                writing.create(stream_of(&row.shard)?, row, changed)?;
            }
            for advance in &commit.advance {
                let stream_id = stream_of(&advance.shard)?;
                let found = writing.find(stream_id, &advance.shard, &advance.from)?;
                let row = rules::advanced(&found.row, advance)?;
                writing.check_counter(stream_id, &found, changed)?;
                writing.update(stream_id, row, found.counter + 1, changed)?;
            }
            for shard in &commit.forget {
                let stream_id = stream_of(shard)?;
                let found = writing.find(stream_id, shard, &Position::ShardEnd)?;
                rules::forgotten(&found.row)?;
                writing.check_counter(stream_id, &found, changed)?;
                writing.remove(stream_id, &found, changed)?;
            }
            for mark in &commit.marks {
                writing.mark(rules::mark(mark, sinks)?, mark.mark)?;
            }
            Ok(())
        })
    }

    fn release(&mut self) -> Result<(), StoreError> {
        let released = self.write(|writing, _| writing.release());
        self.claim = None;
        let path = lock::path_for(&self.path, &self.pipeline);
        let unlocked = self.lock.take().map_or(Ok(()), ProcessLock::release);
        released.and(unlocked.map_err(|error| file::io_failed("release", &path, error)))
    }
}

impl SqliteStore {
    fn start_of(&self, stream: &StreamIdentity) -> Result<StartPoint, StoreError> {
        let stored = rows::read(&self.connection, &self.pipeline).map_err(|error| row_failed(&self.path, error))?;
        let found = stored.and_then(|read| read.stored.streams.into_iter().find(|found| found.identity == *stream));
        found.map(|found| found.start).ok_or_else(|| rules::not_started(stream))
    }
}

/// One transaction of the owner.
struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    path: &'a Path,
    claim: &'a Claim,
}

impl Writing<'_> {
    fn check_fence(&self, pipeline: &PipelineId) -> Result<(), StoreError> {
        let found = rows::pipeline(self.transaction, pipeline).map_err(|error| self.failed(error))?;
        let newer = found.map_or(0, |(_, generation)| generation);
        let ours = self.claim.generation;
        if newer == ours {
            return Ok(());
        }
        let stored = rows::read(self.transaction, pipeline).map_err(|error| row_failed(self.path, error))?;
        let by = stored.and_then(|mut read| read.stored.claims.remove(&newer)).map(|claim| claim.owner);
        Err(StoreError::Fenced { pipeline: pipeline.clone(), by, newer, ours })
    }

    fn stream_id(&self, stream: &StreamIdentity) -> Result<i64, StoreError> {
        self.claim.streams.get(stream).copied().ok_or_else(|| rules::not_started(stream))
    }

    fn add_stream(&self, stream: &StreamIdentity, start: StartPoint) -> Result<i64, StoreError> {
        let added = rows::add_stream(self.transaction, self.claim.pipeline_id, stream, start);
        added.map_err(|error| self.failed(error))
    }

    fn create(&self, stream_id: i64, row: &ShardRow, changed: &mut Changed) -> Result<(), StoreError> {
        rules::created(row)?;
        let found =
            rows::shard(self.transaction, stream_id, &row.shard).map_err(|error| row_failed(self.path, error))?;
        if let Some(found) = found {
            return Err(rules::present(&found.row));
        }
        let stored = StoredRow { row: row.clone(), counter: 1, generation: self.claim.generation };
        rows::insert(self.transaction, stream_id, &stored).map_err(|error| row_failed(self.path, error))?;
        changed.insert(row_key(stream_id, &row.shard), Some(1));
        Ok(())
    }

    fn find(&self, stream_id: i64, shard: &ShardId, expected: &Position) -> Result<StoredRow, StoreError> {
        let found = rows::shard(self.transaction, stream_id, shard).map_err(|error| row_failed(self.path, error))?;
        found.ok_or_else(|| rules::absent(shard, expected))
    }

    /// Whether the row was written by this handle last, or is as it was claimed.
    fn check_counter(&self, stream_id: i64, found: &StoredRow, changed: &Changed) -> Result<(), StoreError> {
        let key = row_key(stream_id, &found.row.shard);
        let expected = match changed.get(&key) {
            Some(counter) => *counter,
            None => self.claim.counters.get(&key).copied(),
        };
        if expected == Some(found.counter) {
            return Ok(());
        }
        Err(StoreError::Conflict {
            shard: found.row.shard.clone(),
            expected: expected.map_or("no row".to_owned(), |counter| format!("write {counter}")),
            found: format!("write {}", found.counter),
        })
    }

    fn update(&self, stream_id: i64, row: ShardRow, counter: u64, changed: &mut Changed) -> Result<(), StoreError> {
        let key = row_key(stream_id, &row.shard);
        let stored = StoredRow { row, counter, generation: self.claim.generation };
        let updated = rows::update(self.transaction, stream_id, &stored);
        if !updated.map_err(|error| row_failed(self.path, error))? {
            return Err(rules::absent(&key.1, &stored.row.position));
        }
        changed.insert(key, Some(counter));
        Ok(())
    }

    fn remove(&self, stream_id: i64, found: &StoredRow, changed: &mut Changed) -> Result<(), StoreError> {
        let shard = &found.row.shard;
        let removed = rows::remove(self.transaction, stream_id, shard, found.counter);
        if !removed.map_err(|error| self.failed(error))? {
            return Err(rules::absent(shard, &found.row.position));
        }
        changed.insert(row_key(stream_id, shard), None);
        Ok(())
    }

    fn mark(&self, sink: &str, mark: u64) -> Result<(), StoreError> {
        let set = rows::set_mark(self.transaction, self.claim.pipeline_id, sink, mark);
        set.map_err(|error| self.failed(error))
    }

    fn release(&self) -> Result<(), StoreError> {
        self.execute(
            "UPDATE claims SET released = 1 WHERE pipeline_id = ? AND generation = ?",
            params![self.claim.pipeline_id, self.claim.generation],
        )
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
        let done = self.transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters));
        done.map(|_| ()).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        file::failed("write", self.path, error)
    }
}

/// Looks at a pipeline without claiming it.
pub(super) fn look(path: &Path, id: &PipelineId) -> Result<Option<StoredPipeline>, StoreError> {
    let mut connection = file::open_to_read(path)?;
    let transaction = connection.transaction().map_err(|error| file::failed("read", path, error))?;
    let read = rows::read(&transaction, id).map_err(|error| row_failed(path, error))?;
    Ok(read.map(|read| read.stored))
}

/// Changes a pipeline from outside a run: with its lock held, in one transaction, as a claim of its own that has ended.
/// Makes the database if there is none.
pub(super) fn intervene(path: &Path, edit: &Edit<'_>) -> Result<Edited, StoreError> {
    let mut store = SqliteStore::open(path, edit.pipeline)?;
    store.take_lock(edit.owner)?;
    let failed = |error| row_failed(path, error);
    let transaction = begin(&mut store.connection, path)?;
    let claim =
        PreviousClaim { owner: edit.owner.clone(), components: edit.components.to_vec(), ending: Ending::Released };
    let raised = raise_generation(&transaction, edit.pipeline, &claim).map_err(failed)?;
    let generation = raised.stored.generation;
    if generation != edit.planned_at + 1 {
        return Ok(Edited::Outdated);
    }
    for step in &edit.steps {
        if !steps::make(&transaction, raised.pipeline_id, generation, step).map_err(failed)? {
            return Ok(Edited::Outdated);
        }
    }
    transaction.commit().map_err(|error| file::failed("write", path, error))?;
    Ok(Edited::At(generation))
}

fn row_failed(path: &Path, error: RowError) -> StoreError {
    let path_of = path.to_owned();
    match error {
        RowError::Sqlite(error) => file::failed("read", path, error),
        RowError::Damaged(detail) => StoreError::Corrupt { path: path_of, detail },
        RowError::Newer(found) => StoreError::Newer { path: path_of, found, supported: file::FORMAT },
    }
}

fn begin<'a>(connection: &'a mut Connection, path: &Path) -> Result<Transaction<'a>, StoreError> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| file::failed("write", path, error))
}

/// Adds `claim` as the newest and reads what the pipeline holds, with the newest generation.
fn raise_generation(transaction: &Transaction<'_>, id: &PipelineId, claim: &PreviousClaim) -> Result<Keyed, RowError> {
    transaction.execute(
        "INSERT INTO pipelines (tenant, pipeline, generation) VALUES (?, ?, 0) ON CONFLICT DO NOTHING",
        params![id.tenant, id.pipeline],
    )?;
    let Some(mut read) = rows::read(transaction, id)? else {
        return Err(RowError::Damaged(format!("pipeline {id} is gone at once")));
    };
    read.stored.generation += 1;
    rows::add_claim(transaction, read.pipeline_id, read.stored.generation, claim)?;
    rows::prune_claims(transaction, read.pipeline_id, read.stored.generation)?;
    Ok(read)
}

fn claimed(read: Keyed) -> (Claim, Claimed) {
    let Keyed { pipeline_id, stream_ids, mut stored } = read;
    let generation = stored.generation;
    let mut claim = Claim { pipeline_id, generation, streams: stream_ids, counters: BTreeMap::new() };
    let mut streams = Vec::new();
    for stream in stored.streams {
        let stream_id = claim.streams[&stream.identity];
        let counters = stream.rows.iter().map(|stored| (row_key(stream_id, &stored.row.shard), stored.counter));
        claim.counters.extend(counters);
        let rows = stream.rows.into_iter().map(|stored| stored.row).collect();
        streams.push(StreamState { identity: stream.identity, start: stream.start, consumer: stream.consumer, rows });
    }
    let previous = stored.claims.remove(&(stored.generation - 1));
    let claimed = Claimed { generation: claim.generation, streams, marks: stored.marks, previous };
    (claim, claimed)
}

fn refused(pipeline: &PipelineId, path: PathBuf, asking: &Owner, why: Refused) -> StoreError {
    match why {
        Refused::Held(owner) => StoreError::OwnedByAnother {
            pipeline: pipeline.clone(),
            age: owner.as_ref().and_then(|owner| age_of(owner, asking.since)),
            owner,
        },
        Refused::Failed(source) => file::io_failed("lock", &path, source),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use host_core::moment::EpochMillis;

    use super::*;

    fn claimed(directory: &Path) -> (SqliteStore, StreamIdentity) {
        let id = PipelineId { tenant: "default".to_owned(), pipeline: "quakes".to_owned() };
        let stream = StreamIdentity { arn: "arn".to_owned(), created: EpochMillis(7) };
        let mut store = SqliteStore::open(&directory.join("state.db"), &id).expect("a new database");
        store.claim(&Owner { name: "host:1".to_owned(), since: EpochMillis(0) }, &[]).expect("nobody owns it");
        store.start_stream(&stream, StartPoint::TrimHorizon, &[]).expect("not started yet");
        (store, stream)
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

    #[test]
    fn a_full_disk_writes_nothing_and_the_same_commit_passes_once_there_is_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, stream) = claimed(directory.path());
        let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a number");
        store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).expect("set");
        let full = store.commit(std::slice::from_ref(&stream), &rows(1_000), &[]);
        assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
        store.connection.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).expect("set");
        store
            .commit(std::slice::from_ref(&stream), &rows(1_000), &[])
            .expect("nothing of the refused commit is in the way");
    }

    #[test]
    fn a_foreign_writer_makes_a_commit_busy_and_the_same_commit_passes_afterwards() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, stream) = claimed(directory.path());
        store.connection.busy_timeout(Duration::ZERO).expect("set");
        let other = Connection::open(&store.path).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
        let busy = store.commit(std::slice::from_ref(&stream), &rows(1), &[]).expect_err("busy");
        assert!(matches!(busy, StoreError::Busy { .. }) && busy.is_transient(), "{busy:?}");
        other.execute_batch("ROLLBACK").expect("begun");
        store.commit(std::slice::from_ref(&stream), &rows(1), &[]).expect("free");
    }

    #[test]
    fn a_row_changed_by_another_tool_is_a_conflict_even_at_the_same_position() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, stream) = claimed(directory.path());
        store.commit(std::slice::from_ref(&stream), &rows(1), &[]).expect("new");
        store.connection.execute_batch("UPDATE shards SET counter = counter + 1").expect("written");
        let advance = host_core::checkpoint::Advance {
            shard: ShardId::new("shardId-000000000000"),
            from: Position::TrimHorizon,
            to: Position::ShardEnd,
            children: Vec::new(),
            watermark: None,
            complete_until: None,
            finished_at: Some(EpochMillis(1)),
        };
        let conflict =
            store.commit(std::slice::from_ref(&stream), &Commit { advance: vec![advance], ..Commit::default() }, &[]);
        let conflict = conflict.expect_err("another write came between").to_string();
        assert!(conflict.contains("expected write 1, found write 2"), "{conflict}");
    }

    #[test]
    fn a_commit_waits_for_the_disk() {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _) = claimed(directory.path());
        let text = |sql| store.connection.query_row(sql, [], |row| row.get::<_, String>(0)).expect("a setting");
        assert_eq!(text("PRAGMA journal_mode"), "wal");
        assert_eq!(text("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous"), "2", "FULL");
    }

    #[test]
    fn the_view_answers_where_we_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, stream) = claimed(directory.path());
        let mut commit = rows(1);
        commit.create[0].position = Position::AtTimestamp(EpochMillis(1_517_443_200_000));
        store.commit(std::slice::from_ref(&stream), &commit, &[]).expect("new");
        let sql =
            "SELECT tenant || ' ' || pipeline || ' ' || shard || ' ' || position || ' ' || timestamp || ' ' || owner
                   FROM positions";
        let line: String = store.connection.query_row(sql, [], |row| row.get(0)).expect("one row");
        assert_eq!(line, "default quakes shardId-000000000000 at-timestamp 2018-02-01T00:00:00.000Z host:1");
    }

    #[test]
    fn a_row_that_does_not_read_back_is_damage_and_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, stream) = claimed(directory.path());
        store.commit(std::slice::from_ref(&stream), &rows(1), &[]).expect("new");
        let owner = Owner { name: "host:1".to_owned(), since: EpochMillis(0) };
        store.connection.execute_batch("UPDATE shards SET parents = 'none'").expect("written");
        let damaged = store.claim(&owner, &[]).expect_err("damaged").to_string();
        assert!(damaged.contains("shard shardId-000000000000: parents: "), "{damaged}");
        store.connection.execute_batch("UPDATE shards SET parents = '[]', format = 9").expect("written");
        let newer = store.claim(&owner, &[]).expect_err("newer");
        assert!(matches!(newer, StoreError::Newer { found: 9, .. }), "{newer:?}");
    }
}
