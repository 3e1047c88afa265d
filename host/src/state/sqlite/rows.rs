//! Rows as columns, and back. A row that does not read back is damage, and is named.

use std::collections::BTreeMap;

use host_core::checkpoint::ShardRow;
use host_core::moment::EpochMillis;
use host_core::shard::{HashRange, Position, SequenceNumber, ShardId};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use crate::state::stored::{StoredPipeline, StoredRow, StoredStream};
use crate::state::{
    ComponentDigest, Ending, Owner, PipelineId, PreviousClaim, RegisteredConsumer, StartPoint, StreamIdentity,
};

/// The format of a row; raised when its columns change their meaning.
const ROW_FORMAT: i64 = 1;

/// Why rows could not be read or written.
#[derive(Debug)]
pub(in crate::state) enum RowError {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// A row says something that no release wrote.
    Damaged(String),
    /// A newer release wrote a row.
    Newer(i64),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// All that the file holds of one pipeline, with the keys that it goes by here.
pub(in crate::state) struct Keyed {
    pub(in crate::state) pipeline_id: i64,
    pub(in crate::state) stream_ids: BTreeMap<StreamIdentity, i64>,
    pub(in crate::state) stored: StoredPipeline,
}

/// The pipeline's key and newest generation.
pub(in crate::state) fn pipeline(
    connection: &Connection,
    id: &PipelineId,
) -> Result<Option<(i64, u64)>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT pipeline_id, generation FROM pipelines WHERE tenant = ? AND pipeline = ?")?
        .query_row(params![id.tenant, id.pipeline], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Reads all of a pipeline; the caller holds a transaction, or only looks.
pub(in crate::state) fn read(connection: &Connection, id: &PipelineId) -> Result<Option<Keyed>, RowError> {
    let Some((pipeline_id, generation)) = pipeline(connection, id)? else { return Ok(None) };
    let claims = read_claims(connection, pipeline_id)?;
    let (mut streams, mut stream_ids) = (Vec::new(), BTreeMap::new());
    let mut statement = connection.prepare_cached(
        "SELECT stream_id, stream_arn, created_ms, start, start_timestamp_ms, consumer_name, consumer_arn
         FROM streams WHERE pipeline_id = ? ORDER BY stream_arn, created_ms",
    )?;
    let mut found = statement.query([pipeline_id])?;
    while let Some(row) = found.next()? {
        let identity = StreamIdentity { arn: row.get(1)?, created: EpochMillis(row.get(2)?) };
        let start = match (row.get::<_, String>(3)?.as_str(), row.get::<_, Option<i64>>(4)?) {
            ("trim-horizon", None) => StartPoint::TrimHorizon,
            ("at-timestamp", Some(at)) => StartPoint::AtTimestamp(EpochMillis(at)),
            (start, _) => return Err(RowError::Damaged(format!("stream {}: start {start:?}", identity.arn))),
        };
        let consumer = match (row.get::<_, Option<String>>(5)?, row.get(6)?) {
            (Some(name), arn) => Some(RegisteredConsumer { name, arn }),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(RowError::Damaged(format!("stream {}: a consumer without a name", identity.arn)));
            }
        };
        let stream_id = row.get(0)?;
        stream_ids.insert(identity.clone(), stream_id);
        streams.push(StoredStream { identity, start, consumer, rows: read_shards(connection, stream_id)? });
    }
    let marks = connection
        .prepare_cached("SELECT sink, mark FROM marks WHERE pipeline_id = ? ORDER BY sink")?
        .query_map([pipeline_id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let stored = StoredPipeline { generation, claims, streams, marks };
    Ok(Some(Keyed { pipeline_id, stream_ids, stored }))
}

/// Adds a claim, which is the newest from now on.
pub(in crate::state) fn add_claim(
    connection: &Connection,
    pipeline_id: i64,
    generation: u64,
    claim: &PreviousClaim,
) -> Result<(), rusqlite::Error> {
    let components = serde_json::to_string(&claim.components)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let released = match claim.ending {
        Ending::Released => 1,
        Ending::Unreleased => 0,
    };
    connection
        .prepare_cached("UPDATE pipelines SET generation = ? WHERE pipeline_id = ?")?
        .execute(params![generation, pipeline_id])?;
    connection
        .prepare_cached(
            "INSERT INTO claims (pipeline_id, generation, owner, since_ms, components, released)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![pipeline_id, generation, claim.owner.name, claim.owner.since.0, components, released])?;
    Ok(())
}

/// Adds a stream and returns its key; SQLite fails if it is there.
pub(in crate::state) fn add_stream(
    connection: &Connection,
    pipeline_id: i64,
    stream: &StreamIdentity,
    start: StartPoint,
) -> Result<i64, rusqlite::Error> {
    let (kind, timestamp) = start_columns(start);
    connection.execute(
        "INSERT INTO streams (pipeline_id, stream_arn, created_ms, start, start_timestamp_ms) VALUES (?, ?, ?, ?, ?)",
        params![pipeline_id, stream.arn, stream.created.0, kind, timestamp],
    )?;
    Ok(connection.last_insert_rowid())
}

/// Writes another start of a stream. Whether there was such a stream.
pub(in crate::state) fn set_start(
    connection: &Connection,
    stream_id: i64,
    start: StartPoint,
) -> Result<bool, rusqlite::Error> {
    let (kind, timestamp) = start_columns(start);
    let updated = connection.execute(
        "UPDATE streams SET start = ?, start_timestamp_ms = ? WHERE stream_id = ?",
        params![kind, timestamp, stream_id],
    )?;
    Ok(updated == 1)
}

/// Writes which consumer of a stream is the pipeline's own.
pub(in crate::state) fn set_consumer(
    connection: &Connection,
    stream_id: i64,
    consumer: Option<&RegisteredConsumer>,
) -> Result<(), rusqlite::Error> {
    let name = consumer.map(|consumer| consumer.name.as_str());
    let arn = consumer.and_then(|consumer| consumer.arn.as_deref());
    connection
        .prepare_cached("UPDATE streams SET consumer_name = ?, consumer_arn = ? WHERE stream_id = ?")?
        .execute(params![name, arn, stream_id])?;
    Ok(())
}

/// The key of a stream.
pub(in crate::state) fn stream_id(
    connection: &Connection,
    pipeline_id: i64,
    stream: &StreamIdentity,
) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT stream_id FROM streams WHERE pipeline_id = ? AND stream_arn = ? AND created_ms = ?")?
        .query_row(params![pipeline_id, stream.arn, stream.created.0], |row| row.get(0))
        .optional()
}

/// A sink's mark.
pub(in crate::state) fn mark(
    connection: &Connection,
    pipeline_id: i64,
    sink: &str,
) -> Result<Option<u64>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT mark FROM marks WHERE pipeline_id = ? AND sink = ?")?
        .query_row(params![pipeline_id, sink], |row| row.get(0))
        .optional()
}

/// Writes a sink's mark over whatever it was.
pub(in crate::state) fn set_mark(
    connection: &Connection,
    pipeline_id: i64,
    sink: &str,
    mark: u64,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "INSERT INTO marks (pipeline_id, sink, mark) VALUES (?, ?, ?)
             ON CONFLICT (pipeline_id, sink) DO UPDATE SET mark = excluded.mark",
        )?
        .execute(params![pipeline_id, sink, mark])?;
    Ok(())
}

const fn start_columns(start: StartPoint) -> (&'static str, Option<i64>) {
    match start {
        StartPoint::TrimHorizon => ("trim-horizon", None),
        StartPoint::AtTimestamp(at) => ("at-timestamp", Some(at.0)),
    }
}

/// Drops the claims that no row refers to, but for the newest and the one before it.
pub(in crate::state) fn prune_claims(
    connection: &Connection,
    pipeline_id: i64,
    generation: u64,
) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached(
            "DELETE FROM claims WHERE pipeline_id = :pipeline AND generation < :generation - 1 AND generation NOT IN
             (SELECT shards.generation FROM shards JOIN streams USING (stream_id) WHERE pipeline_id = :pipeline)",
        )?
        .execute(named_params! { ":pipeline": pipeline_id, ":generation": generation })?;
    Ok(())
}

/// One shard's row.
pub(in crate::state) fn shard(
    connection: &Connection,
    stream_id: i64,
    shard: &ShardId,
) -> Result<Option<StoredRow>, RowError> {
    let mut statement = connection.prepare_cached(concat!(select_shards!(), " AND shard = ?"))?;
    let mut found = statement.query(params![stream_id, shard.as_str()])?;
    found.next()?.map(decode).transpose()
}

/// Adds a row; SQLite fails if the shard has one.
pub(in crate::state) fn insert(connection: &Connection, stream_id: i64, stored: &StoredRow) -> Result<(), RowError> {
    let row = &stored.row;
    let position = PositionColumns::of(&row.position);
    connection
        .prepare_cached(
            "INSERT INTO shards (stream_id, shard, format, generation, counter, position, sequence, sub_sequence,
               timestamp_ms, parents, children, hash_start, hash_end, watermark_ms, complete_until_ms,
               finished_at_ms)
             VALUES (:stream, :shard, :format, :generation, :counter, :position, :sequence, :sub_sequence,
               :timestamp, :parents, :children, :hash_start, :hash_end, :watermark, :complete_until,
               :finished_at)",
        )?
        .execute(named_params! {
            ":stream": stream_id,
            ":shard": row.shard.as_str(),
            ":format": ROW_FORMAT,
            ":generation": stored.generation,
            ":counter": stored.counter,
            ":position": position.kind,
            ":sequence": position.sequence,
            ":sub_sequence": position.sub_sequence,
            ":timestamp": position.timestamp_ms,
            ":parents": names(&row.parents),
            ":children": names(&row.children),
            ":hash_start": row.range.map(|range| range.start.to_string()),
            ":hash_end": row.range.map(|range| range.end.to_string()),
            ":watermark": row.watermark.map(|at| at.0),
            ":complete_until": row.complete_until.map(|at| at.0),
            ":finished_at": row.finished_at.map(|at| at.0),
        })?;
    Ok(())
}

/// Writes a row over the one whose counter is one less. Whether there was such a row. Parents and hash range stay.
pub(in crate::state) fn update(connection: &Connection, stream_id: i64, stored: &StoredRow) -> Result<bool, RowError> {
    let row = &stored.row;
    let position = PositionColumns::of(&row.position);
    let updated = connection
        .prepare_cached(
            "UPDATE shards SET format = :format, generation = :generation, counter = :counter, position = :position,
               sequence = :sequence, sub_sequence = :sub_sequence, timestamp_ms = :timestamp, children = :children,
               watermark_ms = :watermark, complete_until_ms = :complete_until, finished_at_ms = :finished_at
             WHERE stream_id = :stream AND shard = :shard AND counter = :counter - 1",
        )?
        .execute(named_params! {
            ":stream": stream_id,
            ":shard": row.shard.as_str(),
            ":format": ROW_FORMAT,
            ":generation": stored.generation,
            ":counter": stored.counter,
            ":position": position.kind,
            ":sequence": position.sequence,
            ":sub_sequence": position.sub_sequence,
            ":timestamp": position.timestamp_ms,
            ":children": names(&row.children),
            ":watermark": row.watermark.map(|at| at.0),
            ":complete_until": row.complete_until.map(|at| at.0),
            ":finished_at": row.finished_at.map(|at| at.0),
        })?;
    Ok(updated == 1)
}

/// Removes a row that has exactly this counter. Whether it did.
pub(in crate::state) fn remove(
    connection: &Connection,
    stream_id: i64,
    shard: &ShardId,
    counter: u64,
) -> Result<bool, rusqlite::Error> {
    let removed = connection
        .prepare_cached("DELETE FROM shards WHERE stream_id = ? AND shard = ? AND counter = ?")?
        .execute(params![stream_id, shard.as_str(), counter])?;
    Ok(removed == 1)
}

fn read_claims(connection: &Connection, pipeline_id: i64) -> Result<BTreeMap<u64, PreviousClaim>, RowError> {
    let mut statement = connection
        .prepare_cached("SELECT generation, owner, since_ms, components, released FROM claims WHERE pipeline_id = ?")?;
    let mut found = statement.query([pipeline_id])?;
    let mut claims = BTreeMap::new();
    while let Some(row) = found.next()? {
        let generation = row.get(0)?;
        let components: Vec<ComponentDigest> = serde_json::from_str(&row.get::<_, String>(3)?)
            .map_err(|error| RowError::Damaged(format!("claim {generation}: components: {error}")))?;
        let ending = if row.get::<_, bool>(4)? { Ending::Released } else { Ending::Unreleased };
        let owner = Owner { name: row.get(1)?, since: EpochMillis(row.get(2)?) };
        claims.insert(generation, PreviousClaim { owner, components, ending });
    }
    Ok(claims)
}

fn read_shards(connection: &Connection, stream_id: i64) -> Result<Vec<StoredRow>, RowError> {
    let mut statement = connection.prepare_cached(concat!(select_shards!(), " ORDER BY shard"))?;
    let mut found = statement.query([stream_id])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(decode(row)?);
    }
    Ok(rows)
}

/// A position, one column for each part.
struct PositionColumns<'a> {
    kind: &'static str,
    sequence: Option<&'a str>,
    sub_sequence: Option<u64>,
    timestamp_ms: Option<i64>,
}

impl<'a> PositionColumns<'a> {
    fn of(position: &'a Position) -> Self {
        let bare = |kind| Self { kind, sequence: None, sub_sequence: None, timestamp_ms: None };
        match position {
            Position::TrimHorizon => bare("trim-horizon"),
            Position::AtTimestamp(at) => Self { timestamp_ms: Some(at.0), ..bare("at-timestamp") },
            Position::After { sequence, sub_sequence } => {
                Self { sequence: Some(sequence.as_str()), sub_sequence: Some(*sub_sequence), ..bare("after") }
            }
            Position::ShardEnd => bare("shard-end"),
        }
    }
}

fn decode(columns: &Row<'_>) -> Result<StoredRow, RowError> {
    let shard = ShardId::new(&columns.get::<_, String>("shard")?);
    let damaged = |what: String| RowError::Damaged(format!("shard {shard}: {what}"));
    let format: i64 = columns.get("format")?;
    if format > ROW_FORMAT {
        return Err(RowError::Newer(format));
    }
    let position = decode_position(columns)?.map_err(damaged)?;
    let list = |column: &'static str| -> Result<Vec<ShardId>, RowError> {
        let names: Vec<String> = serde_json::from_str(&columns.get::<_, String>(column)?)
            .map_err(|error| damaged(format!("{column}: {error}")))?;
        Ok(names.iter().map(|name| ShardId::new(name)).collect())
    };
    let key = |column: &'static str| -> Result<Option<u128>, RowError> {
        let text: Option<String> = columns.get(column)?;
        text.map(|text| text.parse().map_err(|error| damaged(format!("{column}: {error}")))).transpose()
    };
    let row = ShardRow {
        parents: list("parents")?,
        children: list("children")?,
        range: key("hash_start")?.zip(key("hash_end")?).map(|(start, end)| HashRange { start, end }),
        position,
        watermark: columns.get::<_, Option<i64>>("watermark_ms")?.map(EpochMillis),
        complete_until: columns.get::<_, Option<i64>>("complete_until_ms")?.map(EpochMillis),
        finished_at: columns.get::<_, Option<i64>>("finished_at_ms")?.map(EpochMillis),
        shard: shard.clone(),
    };
    Ok(StoredRow { row, counter: columns.get("counter")?, generation: columns.get("generation")? })
}

fn decode_position(columns: &Row<'_>) -> Result<Result<Position, String>, rusqlite::Error> {
    let kind: String = columns.get("position")?;
    let sequence: Option<String> = columns.get("sequence")?;
    let sub_sequence: Option<u64> = columns.get("sub_sequence")?;
    let timestamp: Option<i64> = columns.get("timestamp_ms")?;
    Ok(match (kind.as_str(), sequence, sub_sequence, timestamp) {
        ("trim-horizon", None, None, None) => Ok(Position::TrimHorizon),
        ("at-timestamp", None, None, Some(at)) => Ok(Position::AtTimestamp(EpochMillis(at))),
        ("shard-end", None, None, None) => Ok(Position::ShardEnd),
        ("after", Some(sequence), Some(sub_sequence), None) => SequenceNumber::parse(&sequence)
            .map(|sequence| Position::After { sequence, sub_sequence })
            .map_err(|error| error.to_string()),
        (kind, ..) => Err(format!("position {kind:?} with the columns of another")),
    })
}

fn names(shards: &[ShardId]) -> String {
    serde_json::Value::from_iter(shards.iter().map(ShardId::as_str)).to_string()
}

/// The columns of a row, for `concat!`.
macro_rules! select_shards {
    () => {
        "SELECT shard, format, generation, counter, position, sequence, sub_sequence, timestamp_ms, parents, children,
           hash_start, hash_end, watermark_ms, complete_until_ms, finished_at_ms FROM shards WHERE stream_id = ?"
    };
}
use select_shards;
