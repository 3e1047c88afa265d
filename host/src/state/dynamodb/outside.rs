//! The tables as seen from outside a run, and changed from there.
//!
//! A table has no moment at which all of it can be read. But every transaction counts itself in the claim's item, so what was
//! read while that count stood still is what the tables held at one moment.

use std::collections::BTreeMap;

use super::remote::Trial;
use super::{Claimed, DynamoStore, Held, LeaseStore, Options, Watched};
use crate::state::edit::step::{Edit, Edited, Step};
use crate::state::model::{Pipeline, Stream};
use crate::state::stored::StoredPipeline;
use crate::state::{Ending, Owner, PipelineId, StoreError};

/// Looks at a pipeline without claiming it: what is there, and who owns it and lives.
pub(in crate::state) fn look(
    options: &Options,
    pipeline: &PipelineId,
) -> Result<(Option<StoredPipeline>, Option<Owner>), StoreError> {
    let store = DynamoStore::open(options.clone(), pipeline)?;
    let held = store.look()?;
    let Some(claim) = held.claim.clone() else { return Ok((None, None)) };
    let live = match claim.claim.ending {
        Ending::Released => None,
        Ending::Unreleased => match store.watch(claim, &this_process())? {
            Watched::Over(..) => None,
            Watched::Lives(owner) => Some(owner),
        },
    };
    Ok((held.stored(), live))
}

/// As owners are named.
fn this_process() -> String {
    format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id())
}

/// Changes a pipeline from outside a run, as a claim of its own that has ended.
pub(in crate::state) fn intervene(options: &Options, edit: &Edit<'_>) -> Result<Edited, StoreError> {
    let mut store = DynamoStore::open(options.clone(), edit.pipeline)?;
    let found = match store.look() {
        Err(StoreError::MissingTable { .. }) if edit.may_create => Held::default(),
        held => held?,
    };
    if changed(&found, edit).is_none() {
        return Ok(Edited::Outdated);
    }
    // Its name tells who asks; whether it lives is told by its process.
    let owner = Owner { name: format!("{} on {}", edit.owner.name, this_process()), since: edit.owner.since };
    let Claimed { generation, .. } = store.claim(&owner, edit.components)?;
    let held = store.read()?;
    let Some(wanted) = changed(&held, edit).filter(|_| generation == edit.planned_at + 1) else {
        store.release()?;
        return Ok(Edited::Outdated);
    };
    store.write("edit", &held.applied, |pipeline| {
        pipeline.streams = wanted.streams;
        pipeline.marks = wanted.marks;
        Ok(())
    })?;
    store.release()?;
    Ok(Edited::At(generation))
}

/// What the steps make of what there is, if that is what they expect.
fn changed(held: &Held, edit: &Edit<'_>) -> Option<Pipeline> {
    let mut pipeline = held.pipeline.clone();
    edit.steps.iter().all(|step| make(&mut pipeline, held, step)).then_some(pipeline)
}

fn make(pipeline: &mut Pipeline, held: &Held, step: &Step) -> bool {
    let is_as_planned = |stream, shard: &str, counter: u64| {
        held.guards.get(&super::rows::lease_key(stream, shard)).is_some_and(|guard| guard.counter == counter)
    };
    match step {
        Step::AddStream { stream, start } => {
            let added = Stream { start: *start, consumer: None, rows: BTreeMap::new() };
            pipeline.streams.insert(stream.clone(), added).is_none()
        }
        Step::SetStart { stream, start } => {
            pipeline.streams.get_mut(stream).map(|stream| stream.start = *start).is_some()
        }
        Step::Insert { stream, row } => {
            let rows = pipeline.streams.get_mut(stream).map(|stream| &mut stream.rows);
            rows.is_some_and(|rows| rows.insert(row.shard.as_str().to_owned(), row.clone()).is_none())
        }
        Step::Update { stream, counter, row } => {
            let rows = pipeline.streams.get_mut(stream).map(|stream| &mut stream.rows);
            is_as_planned(stream, row.shard.as_str(), *counter)
                && rows.is_some_and(|rows| rows.insert(row.shard.as_str().to_owned(), row.clone()).is_some())
        }
        Step::Remove { stream, shard, counter } => {
            let rows = pipeline.streams.get_mut(stream).map(|stream| &mut stream.rows);
            is_as_planned(stream, shard.as_str(), *counter)
                && rows.is_some_and(|rows| rows.remove(shard.as_str()).is_some())
        }
        Step::RemoveStream { stream } => pipeline.streams.remove(stream).is_some_and(|gone| gone.rows.is_empty()),
        Step::SetMark { sink, from, to } => pipeline.marks.insert(sink.clone(), *to) == *from,
        Step::RemoveMark { sink, mark } => pipeline.marks.remove(sink) == Some(*mark),
    }
}

impl DynamoStore {
    /// Everything as it was at one moment.
    fn look(&self) -> Result<Held, StoreError> {
        let found = self.remote.ask(|tables| Box::pin(async move { tables.read_at_rest().await }));
        let (leases, others) = found.map_err(|trial| match trial {
            Trial::NoTable(error) => {
                StoreError::MissingTable { table: self.options.table.name.clone(), place: error.problem.clone() }
            }
            trial @ (Trial::Unmet(_) | Trial::Failed { .. }) => self.failed("read", &trial),
        })?;
        self.understand(&leases, &others)
    }
}
