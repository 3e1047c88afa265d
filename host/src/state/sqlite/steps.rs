//! One step of an edit, in SQL.

use rusqlite::{Transaction, params};

use super::rows::{self, RowError};
use crate::state::edit::step::Step;
use crate::state::stored::StoredRow;

/// Makes one step, under `generation`, if things are as it expects them; whether they were.
pub(super) fn make(
    transaction: &Transaction<'_>,
    pipeline_id: i64,
    generation: u64,
    step: &Step,
) -> Result<bool, RowError> {
    let id_of = |stream| rows::stream_id(transaction, pipeline_id, stream);
    match step {
        Step::AddStream { stream, start } => {
            if id_of(stream)?.is_some() {
                return Ok(false);
            }
            rows::add_stream(transaction, pipeline_id, stream, *start)?;
            Ok(true)
        }
        Step::SetStart { stream, start } => {
            let Some(stream_id) = id_of(stream)? else { return Ok(false) };
            Ok(rows::set_start(transaction, stream_id, *start)?)
        }
        Step::Insert { stream, row } => {
            let Some(stream_id) = id_of(stream)? else { return Ok(false) };
            if rows::shard(transaction, stream_id, &row.shard)?.is_some() {
                return Ok(false);
            }
            rows::insert(transaction, stream_id, &StoredRow { row: row.clone(), counter: 1, generation })?;
            Ok(true)
        }
        Step::SetMark { sink, from, to } => {
            if rows::mark(transaction, pipeline_id, sink)? != *from {
                return Ok(false);
            }
            rows::set_mark(transaction, pipeline_id, sink, *to)?;
            Ok(true)
        }
        Step::Update { stream, counter, row } => {
            let Some(stream_id) = id_of(stream)? else { return Ok(false) };
            rows::update(transaction, stream_id, &StoredRow { row: row.clone(), counter: counter + 1, generation })
        }
        Step::Remove { stream, shard, counter } => {
            let Some(stream_id) = id_of(stream)? else { return Ok(false) };
            Ok(rows::remove(transaction, stream_id, shard, *counter)?)
        }
        Step::RemoveStream { stream } => {
            let Some(stream_id) = id_of(stream)? else { return Ok(false) };
            let sql =
                "DELETE FROM streams WHERE stream_id = ? AND NOT EXISTS (SELECT 1 FROM shards WHERE stream_id = ?)";
            Ok(transaction.execute(sql, params![stream_id, stream_id])? == 1)
        }
        Step::RemoveMark { sink, mark } => {
            let sql = "DELETE FROM marks WHERE pipeline_id = ? AND sink = ? AND mark = ?";
            Ok(transaction.execute(sql, params![pipeline_id, sink, mark])? == 1)
        }
    }
}
