//! What an edit would change, and the change itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use host_core::checkpoint::ShardRow;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, ShardId};
use serde::Serialize;

use super::step::{Edit, Edited, Step};
use super::{EditError, Site, Snapshot, position, table};
use crate::state::stored::{StoredRow, StoredStream};
use crate::state::{ComponentDigest, Owner, PipelineId, StreamIdentity, rfc3339};

/// Which shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These.
    Only(Vec<ShardId>),
}

/// What the operator asks for. `stream` is a name or an ARN, needed only where several streams have such a shard. Of a
/// stream that was created again, `Set` and `Delete` of single shards mean the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Moves shards to a position, in whichever direction.
    Set {
        /// In which stream.
        stream: Option<String>,
        /// Which shards.
        shards: Selection,
        /// Where to.
        to: Position,
        /// Wall-clock time now: when a shard that is set to its end was finished.
        now: EpochMillis,
    },
    /// Deletes rows; with all shards, also the stream's start, so that the next run begins anew.
    Delete {
        /// In which stream.
        stream: Option<String>,
        /// Which shards.
        shards: Selection,
    },
}

/// What would change, from what to what.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The file or the table.
    pub database: Site,
    /// Whose state.
    #[serde(flatten)]
    pub pipeline: PipelineId,
    /// The generation that the plan was made at.
    pub generation: u64,
    /// Whether a live process owns the pipeline, which refuses the plan.
    pub owned: bool,
    /// Every change, in the order in which it is made.
    pub changes: Vec<Change>,
    /// What the operator should know before agreeing.
    pub warnings: Vec<String>,
    /// Which components made what is written; none, for positions set by hand.
    #[serde(skip)]
    pub(super) components: Vec<ComponentDigest>,
    /// Whether there may be no file and no table yet.
    #[serde(skip)]
    pub(super) may_create: bool,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// What changes: a shard, the start of a stream, the mark of a sink.
    pub what: String,
    /// What it is.
    pub from: String,
    /// What it becomes.
    pub to: String,
    #[serde(skip)]
    pub(super) step: Step,
}

/// Makes the plan. Changes nothing.
///
/// # Errors
/// A chosen shard has no row, or is in more than one stream.
pub fn plan(snapshot: &Snapshot, request: &Request) -> Result<Plan, EditError> {
    let mut plan = Plan::empty(snapshot);
    match request {
        Request::Set { stream, shards, to, now } => {
            for (stream, found) in chosen(snapshot, stream.as_deref(), shards)? {
                plan.set(snapshot, stream, found, to, *now);
            }
            plan.warn_of_lineage(snapshot);
        }
        Request::Delete { stream, shards: Selection::All } => plan.delete_all(snapshot, stream.as_deref())?,
        Request::Delete { stream, shards: shards @ Selection::Only(_) } => {
            for (stream, found) in chosen(snapshot, stream.as_deref(), shards)? {
                plan.delete(snapshot, stream, found);
            }
        }
    }
    Ok(plan)
}

/// Makes the changes of `plan`, all of them or none (in a table, a plan of more than a hundred parts: a part of it, if the
/// way to the table is lost in between), and returns the generation that they were made under. `owner` is who asks, for
/// whoever is fenced by it.
///
/// # Errors
/// [`crate::state::StoreError::OwnedByAnother`] while a live process owns the pipeline; [`EditError::Outdated`] if
/// anything has changed since the plan was made.
pub fn apply(plan: &Plan, owner: &Owner) -> Result<u64, EditError> {
    if !plan.may_create && matches!(plan.database, Site::File(_)) {
        Snapshot::take(&plan.database, &plan.pipeline)?;
    }
    let edited = plan.database.intervene(&Edit {
        pipeline: &plan.pipeline,
        owner,
        components: &plan.components,
        planned_at: plan.generation,
        may_create: plan.may_create,
        steps: plan.changes.iter().map(|change| &change.step).collect(),
    })?;
    match edited {
        Edited::At(generation) => Ok(generation),
        Edited::Outdated => Err(EditError::Outdated { pipeline: plan.pipeline.clone() }),
    }
}

impl Plan {
    /// A plan that changes nothing.
    pub(super) fn empty(snapshot: &Snapshot) -> Self {
        Self {
            database: snapshot.at.clone(),
            pipeline: snapshot.pipeline.clone(),
            generation: snapshot.stored.generation,
            owned: snapshot.live.is_some(),
            changes: Vec::new(),
            warnings: Vec::new(),
            components: Vec::new(),
            may_create: false,
        }
    }

    fn set(&mut self, snapshot: &Snapshot, stream: &StoredStream, found: &StoredRow, to: &Position, now: EpochMillis) {
        let before = &found.row;
        if before.position == *to {
            return;
        }
        let row = ShardRow {
            position: to.clone(),
            // What was complete up to the old position says nothing of the new one.
            watermark: None,
            complete_until: None,
            finished_at: to.is_end().then_some(now),
            ..before.clone()
        };
        let shard = snapshot.label(stream, &before.shard);
        self.changes.push(Change {
            what: shard.clone(),
            from: position::print(&before.position),
            to: position::print(to),
            step: Step::Update { stream: stream.identity.clone(), counter: found.counter, row },
        });
        if before.position.is_past(to) {
            self.warnings.push(format!("{shard} moves backwards: the sinks get its records again"));
        } else if to.is_past(&before.position) {
            self.warnings.push(format!("{shard} moves forward: the sinks never get the records between"));
        }
    }

    /// A shard is read only after the end of its parents: says where the plan leaves one ahead of them.
    fn warn_of_lineage(&mut self, snapshot: &Snapshot) {
        let planned: BTreeMap<(StreamIdentity, ShardId), ShardRow> = self
            .changes
            .iter()
            .filter_map(|change| match &change.step {
                Step::Update { stream, row, .. } => Some(((stream.clone(), row.shard.clone()), row.clone())),
                Step::AddStream { .. }
                | Step::SetStart { .. }
                | Step::Insert { .. }
                | Step::Remove { .. }
                | Step::RemoveStream { .. }
                | Step::SetMark { .. }
                | Step::RemoveMark { .. } => None,
            })
            .collect();
        for stream in &snapshot.stored.streams {
            let after = |row: &ShardRow| planned.get(&(stream.identity.clone(), row.shard.clone())).cloned();
            let rows: BTreeMap<ShardId, (ShardRow, bool)> = stream
                .rows
                .iter()
                .map(|found| match after(&found.row) {
                    Some(row) => (row.shard.clone(), (row, true)),
                    None => (found.row.shard.clone(), (found.row.clone(), false)),
                })
                .collect();
            for (row, child_changes) in rows.values() {
                for parent in &row.parents {
                    let Some((parent, parent_changes)) = rows.get(parent) else { continue };
                    if !parent.position.is_end() && (*child_changes || *parent_changes && has_progress(&row.position)) {
                        self.warnings.push(format!(
                            "{} would be at {} while its parent {} is at {}: it waits for the parent's end",
                            snapshot.label(stream, &row.shard),
                            position::print(&row.position),
                            parent.shard,
                            position::print(&parent.position)
                        ));
                    }
                }
            }
        }
    }

    fn delete(&mut self, snapshot: &Snapshot, stream: &StoredStream, found: &StoredRow) {
        self.remove(snapshot, stream, found);
        let shard = snapshot.label(stream, &found.row.shard);
        self.warnings.push(format!("{shard} counts as never seen: if the stream still lists it, it is read anew"));
    }

    /// The row goes, whatever that means.
    pub(super) fn remove(&mut self, snapshot: &Snapshot, stream: &StoredStream, found: &StoredRow) {
        let shard = &found.row.shard;
        self.changes.push(Change {
            what: snapshot.label(stream, shard),
            from: position::print(&found.row.position),
            to: "deleted".to_owned(),
            step: Step::Remove { stream: stream.identity.clone(), shard: shard.clone(), counter: found.counter },
        });
    }

    /// The mark goes: the sink keeps what it has.
    pub(super) fn remove_mark(&mut self, sink: &str, mark: u64) {
        self.changes.push(Change {
            what: format!("mark of sink {sink}"),
            from: mark.to_string(),
            to: "deleted".to_owned(),
            step: Step::RemoveMark { sink: sink.to_owned(), mark },
        });
    }

    /// Shards first: a stream's start goes only with all of its rows, so a row that appeared meanwhile keeps both.
    fn delete_all(&mut self, snapshot: &Snapshot, wanted: Option<&str>) -> Result<(), EditError> {
        for stream in snapshot.streams(wanted)? {
            for found in &stream.rows {
                self.remove(snapshot, stream, found);
            }
            self.changes.push(Change {
                what: format!("start of {}, created {}", stream.identity.arn, rfc3339(stream.identity.created)),
                from: position::print(&stream.start.position()),
                to: "deleted".to_owned(),
                step: Step::RemoveStream { stream: stream.identity.clone() },
            });
        }
        if wanted.is_none() {
            for (sink, mark) in &snapshot.stored.marks {
                self.remove_mark(sink, *mark);
            }
        }
        if !self.changes.is_empty() {
            self.warnings.push("the next run begins anew, at the manifest's initial_position".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return writeln!(f, "pipeline {}: nothing to change", self.pipeline);
        }
        writeln!(f, "pipeline {}, generation {} to {}", self.pipeline, self.generation, self.generation + 1)?;
        writeln!(f)?;
        let rows: Vec<_> =
            self.changes.iter().map(|change| [change.what.clone(), change.from.clone(), change.to.clone()]).collect();
        table::write(f, ["CHANGE", "FROM", "TO"], &rows)?;
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

fn has_progress(position: &Position) -> bool {
    match position {
        Position::TrimHorizon | Position::AtTimestamp(_) => false,
        Position::After { .. } | Position::ShardEnd => true,
    }
}

/// The rows that a request means, each with its stream.
fn chosen<'a>(
    snapshot: &'a Snapshot,
    wanted: Option<&str>,
    shards: &Selection,
) -> Result<Vec<(&'a StoredStream, &'a StoredRow)>, EditError> {
    let mut newest: BTreeMap<&str, &StoredStream> = BTreeMap::new();
    // Streams are ordered by creation, so the last one of an ARN stays.
    for stream in snapshot.streams(wanted)? {
        newest.insert(&stream.identity.arn, stream);
    }
    let rows = || newest.values().flat_map(|stream| stream.rows.iter().map(|row| (*stream, row)));
    let Selection::Only(shards) = shards else { return Ok(rows().collect()) };
    let mut chosen = Vec::new();
    for shard in shards.iter().collect::<BTreeSet<_>>() {
        let found: Vec<_> = rows().filter(|(_, row)| row.row.shard == *shard).collect();
        match found.as_slice() {
            [] => return Err(snapshot.unknown(shard)),
            [only] => chosen.push(*only),
            several => {
                let streams: Vec<&str> = several.iter().map(|(stream, _)| stream.identity.arn.as_str()).collect();
                return Err(EditError::AmbiguousShard { shard: shard.clone(), streams: streams.join(", ") });
            }
        }
    }
    Ok(chosen)
}
