//! The rules of a commit, which are the same in every store.

use host_core::checkpoint::{Advance, ShardRow, SinkMark};
use host_core::shard::{Position, ShardId};

use super::{NUMBER_MAX, StoreError, StreamIdentity};

/// The stream that a shard is of.
pub(super) fn stream_of<'a>(shard: &ShardId, streams: &'a [StreamIdentity]) -> Result<&'a StreamIdentity, StoreError> {
    let stream = usize::try_from(shard.stream()).ok().and_then(|stream| streams.get(stream));
    stream.ok_or_else(|| invalid(shard, format!("keep it as one of stream {} of {}", shard.stream(), streams.len())))
}

/// Whether a new row may be written.
pub(super) fn created(row: &ShardRow) -> Result<(), StoreError> {
    position(&row.shard, &row.position)?;
    finished(&row.shard, &row.position, row.finished_at.is_some())?;
    related(&row.shard, &row.parents)?;
    related(&row.shard, &row.children)
}

/// The row after `advance`, if `found` allows it. What a row knows of time only ever grows, and nothing but the position
/// may be the same as before.
pub(super) fn advanced(found: &ShardRow, advance: &Advance) -> Result<ShardRow, StoreError> {
    if found.position != advance.from {
        return Err(StoreError::Conflict {
            shard: advance.shard.clone(),
            expected: advance.from.to_string(),
            found: found.position.to_string(),
        });
    }
    let stays = advance.to == advance.from && !advance.to.is_end();
    let is_later = stays && advance.complete_until > found.complete_until;
    if !advance.to.is_past(&advance.from) && !is_later {
        let what = if advance.to == advance.from {
            format!("leave it at {} and say nothing new of it", advance.to)
        } else {
            format!("move it from {} to {}", advance.from, advance.to)
        };
        return Err(invalid(&advance.shard, what));
    }
    position(&advance.shard, &advance.to)?;
    finished(&advance.shard, &advance.to, advance.finished_at.is_some())?;
    related(&advance.shard, &advance.children)?;
    let children = if advance.children.is_empty() { &found.children } else { &advance.children };
    Ok(ShardRow {
        shard: found.shard.clone(),
        parents: found.parents.clone(),
        children: children.clone(),
        range: found.range,
        position: advance.to.clone(),
        watermark: found.watermark.max(advance.watermark),
        complete_until: found.complete_until.max(advance.complete_until),
        finished_at: advance.finished_at,
    })
}

/// Whether a row may be forgotten.
pub(super) fn forgotten(found: &ShardRow) -> Result<(), StoreError> {
    if found.position.is_end() {
        return Ok(());
    }
    Err(invalid(&found.shard, format!("forget it at {}, before its end", found.position)))
}

/// The name under which a mark is kept.
pub(super) fn mark<'a>(mark: &SinkMark, sinks: &'a [String]) -> Result<&'a str, StoreError> {
    let sink = usize::try_from(mark.sink).ok().and_then(|sink| sinks.get(sink));
    let Some(sink) = sink else {
        return Err(StoreError::Invalid { what: format!("keep a mark of sink {} of {}", mark.sink, sinks.len()) });
    };
    if mark.mark > NUMBER_MAX {
        return Err(StoreError::Invalid { what: format!("sink {sink}: keep mark {}", mark.mark) });
    }
    Ok(sink)
}

/// A row that should not be there.
pub(super) fn present(found: &ShardRow) -> StoreError {
    StoreError::Conflict {
        shard: found.shard.clone(),
        expected: "no row".to_owned(),
        found: found.position.to_string(),
    }
}

/// A row that should be there.
pub(super) fn absent(shard: &ShardId, expected: &Position) -> StoreError {
    StoreError::Conflict { shard: shard.clone(), expected: expected.to_string(), found: "no row".to_owned() }
}

/// A write to a stream without a start.
pub(super) fn not_started(stream: &StreamIdentity) -> StoreError {
    StoreError::Invalid { what: format!("write rows of stream {}, which has no start", stream.arn) }
}

fn position(shard: &ShardId, position: &Position) -> Result<(), StoreError> {
    match position {
        Position::After { sub_sequence, .. } if *sub_sequence > NUMBER_MAX => {
            Err(invalid(shard, format!("keep sub-sequence {sub_sequence}")))
        }
        Position::After { .. } | Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd => Ok(()),
    }
}

fn finished(shard: &ShardId, position: &Position, has_finished_at: bool) -> Result<(), StoreError> {
    if position.is_end() == has_finished_at {
        return Ok(());
    }
    let what = if has_finished_at { "give it a time of its end" } else { "end it without the time of its end" };
    Err(invalid(shard, format!("{what} at {position}")))
}

/// Lineage does not leave a stream: a row holds no more than the names of its relatives.
fn related(shard: &ShardId, relatives: &[ShardId]) -> Result<(), StoreError> {
    match relatives.iter().find(|relative| relative.stream() != shard.stream()) {
        None => Ok(()),
        Some(other) => Err(invalid(shard, format!("relate it to shard {other} of another stream"))),
    }
}

fn invalid(shard: &ShardId, what: String) -> StoreError {
    StoreError::Invalid { what: format!("shard {shard}: {what}") }
}
