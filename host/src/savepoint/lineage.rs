//! Whether a run that starts from these rows finds everything there is to read.
//!
//! Rows are closed under lineage when every child of a finished shard has a row: the end of the parent and the rows of its
//! children become durable in one transaction, so anything else was torn out by hand. A parent without a row is no breach.
//! It is forgotten once it is finished and the stream keeps it no longer, and it may never have been listed at all.

use std::collections::{BTreeMap, BTreeSet};

use host_core::checkpoint::ShardRow;
use host_core::shard::ShardId;

use crate::state::stored::{StoredPipeline, StoredStream};

/// Says where the rows are not closed.
pub(super) fn check(stored: &StoredPipeline) -> Result<(), String> {
    stored.streams.iter().try_for_each(|stream| {
        check_stream(stream)
            .map_err(|what| if stored.streams.len() > 1 { format!("{what}, in {}", stream.identity.arn) } else { what })
    })
}

fn check_stream(stream: &StoredStream) -> Result<(), String> {
    let rows: BTreeMap<&ShardId, &ShardRow> =
        stream.rows.iter().map(|stored| (&stored.row.shard, &stored.row)).collect();
    for row in rows.values().filter(|row| row.position.is_end()) {
        if let Some(child) = row.children.iter().find(|child| !rows.contains_key(child)) {
            return Err(format!("shard {} is finished and its child {child} has no row", row.shard));
        }
    }
    let mut checked = BTreeSet::new();
    rows.keys().try_for_each(|shard| descend(shard, &rows, &mut checked))
}

/// Whether `shard` is among its own ancestors. Walks without recursion: lineages of years are long.
fn descend<'a>(
    shard: &'a ShardId,
    rows: &BTreeMap<&'a ShardId, &'a ShardRow>,
    checked: &mut BTreeSet<&'a ShardId>,
) -> Result<(), String> {
    // A shard is pushed once to look at its parents and once more, behind them, to be done with.
    let (mut path, mut stack) = (BTreeSet::new(), vec![(shard, false)]);
    while let Some((shard, is_done)) = stack.pop() {
        if is_done {
            path.remove(shard);
            checked.insert(shard);
            continue;
        }
        if checked.contains(shard) {
            continue;
        }
        if !path.insert(shard) {
            return Err(format!("shard {shard} is its own ancestor"));
        }
        stack.push((shard, true));
        let parents = rows.get(shard).map_or(&[][..], |row| row.parents.as_slice());
        stack.extend(parents.iter().map(|parent| (parent, false)));
    }
    Ok(())
}
