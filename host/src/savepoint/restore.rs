//! Whether a savepoint fits a pipeline, and what going back to it would change.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Savepoint, SavepointError, components};
use crate::config::{Manifest, SinkOutput};
use crate::state::edit::{Plan, Snapshot, Target, plan_restore};
use crate::state::stored::StoredStream;
use crate::state::{PipelineId, StreamIdentity, StreamState, rfc3339};

/// How a savepoint is restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// Into a pipeline of another name or tenant, without its marks: the files of a sink belong to one pipeline.
    pub fork: bool,
    /// Without marks, so that files keep what they have.
    pub without_marks: bool,
}

/// The plan that takes the pipeline that `snapshot` is of back to `savepoint`. `streams` are the ARNs that its manifest
/// names, `files` its file sinks. Changes nothing.
///
/// # Errors
/// The savepoint is of another pipeline, names other streams, or an earlier stream of the same name.
pub fn plan(
    savepoint: &Savepoint,
    snapshot: &Snapshot,
    streams: &[String],
    files: &[FileSink<'_>],
    how: Restore,
) -> Result<Plan, SavepointError> {
    let is_fork = savepoint.pipeline() != snapshot.pipeline();
    if is_fork && !how.fork {
        let (savepoint, manifest) = (savepoint.pipeline().clone(), snapshot.pipeline().clone());
        return Err(SavepointError::AnotherPipeline { savepoint, manifest });
    }
    same_streams(savepoint, streams)?;
    same_creation(savepoint, snapshot)?;
    let stored = savepoint.stored();
    let state = |stream: &StoredStream| StreamState {
        identity: stream.identity.clone(),
        start: stream.start,
        consumer: None,
        rows: stream.rows.iter().map(|stored| stored.row.clone()).collect(),
    };
    let marks = if is_fork || how.without_marks { Vec::new() } else { stored.marks.clone() };
    let target =
        Target { streams: stored.streams.iter().map(state).collect(), marks, components: components(stored).to_vec() };
    let mut plan = plan_restore(snapshot, &target);
    if !plan.changes.is_empty() {
        for (sink, mark) in &stored.marks {
            plan.warnings.extend(why_unmarked(sink, *mark, savepoint.pipeline(), is_fork, how));
        }
        let warnings = files.iter().filter_map(|file| file.warning(&target.marks));
        plan.warnings.extend(warnings);
    }
    plan.warnings.extend(left_alone(snapshot, &target));
    Ok(plan)
}

/// A sink of the manifest that writes to a file, which goes back with the positions.
#[derive(Clone, Copy, Debug)]
pub struct FileSink<'a> {
    name: &'a str,
    path: &'a Path,
}

impl<'a> FileSink<'a> {
    /// Those of a manifest.
    #[must_use]
    pub fn all(manifest: &'a Manifest) -> Vec<Self> {
        let mut files = Vec::new();
        for sink in &manifest.sinks {
            if let SinkOutput::File { path } = &sink.output {
                files.push(Self { name: sink.name.as_str(), path });
            }
        }
        files
    }

    /// What the next run does to the file.
    fn warning(&self, marks: &[(String, u64)]) -> Option<String> {
        let Self { name, path } = self;
        let path = path.display();
        let found = fs::metadata(self.path).map_or(0, |found| found.len());
        let Some((_, mark)) = marks.iter().find(|(sink, _)| sink == name) else {
            return (found > 0).then(|| {
                format!(
                    "sink {name} has no mark then: {path} keeps its {found} bytes, and what is read again is appended"
                )
            });
        };
        if found < *mark {
            return Some(format!(
                "sink {name}: {path} has {found} bytes and the savepoint's mark is {mark}, so the next run will refuse to \
                 start; put the file back as it was, or restore with --without-marks"
            ));
        }
        (found > *mark).then(|| {
            format!(
                "sink {name}: the next run cuts {path} back from {found} to {mark} bytes and writes what comes behind anew; \
                 copy the file first, or restore with --without-marks, to keep it"
            )
        })
    }
}

fn why_unmarked(sink: &str, mark: u64, of: &PipelineId, is_fork: bool, how: Restore) -> Option<String> {
    if is_fork {
        Some(format!("mark {mark} of sink {sink} stays with {of}: a copy has files of its own"))
    } else {
        how.without_marks.then(|| format!("mark {mark} of sink {sink} is left out"))
    }
}

/// Streams of the state that the savepoint does not have.
fn left_alone(snapshot: &Snapshot, target: &Target) -> Vec<String> {
    let is_wanted = |identity: &StreamIdentity| target.streams.iter().any(|wanted| wanted.identity == *identity);
    let others = snapshot.stored().streams.iter().filter(|stream| !is_wanted(&stream.identity));
    others.map(|stream| format!("the state of {} is left as it is", super::described(&stream.identity))).collect()
}

fn same_streams(savepoint: &Savepoint, named: &[String]) -> Result<(), SavepointError> {
    let saved: BTreeSet<&str> = savepoint.stored().streams.iter().map(|stream| stream.identity.arn.as_str()).collect();
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    if saved == named {
        return Ok(());
    }
    let list =
        |arns: Vec<&str>, whose: &str| (!arns.is_empty()).then(|| format!("only {whose} has {}", arns.join(", ")));
    let differences = [
        list(saved.difference(&named).copied().collect(), "the savepoint"),
        list(named.difference(&saved).copied().collect(), "the manifest"),
    ];
    let difference = differences.into_iter().flatten().collect::<Vec<_>>().join("; ");
    Err(SavepointError::AnotherStream { difference })
}

/// A stream that was created again has the old shards' names and none of their records. Only the service can tell of one
/// that nobody has read since; the next run asks it, and refuses.
fn same_creation(savepoint: &Savepoint, snapshot: &Snapshot) -> Result<(), SavepointError> {
    for saved in &savepoint.stored().streams {
        // Ordered by creation: the newest is the one that runs go by.
        let mut known = snapshot.stored().streams.iter().filter(|stream| stream.identity.arn == saved.identity.arn);
        let is_newest = |arn: &str| {
            let same = savepoint.stored().streams.iter().rfind(|stream| stream.identity.arn == arn);
            same.is_some_and(|newest| newest.identity == saved.identity)
        };
        let Some(newest) = known.next_back().filter(|_| is_newest(&saved.identity.arn)) else { continue };
        if newest.identity.created != saved.identity.created {
            return Err(SavepointError::Recreated {
                stream: saved.identity.arn.clone(),
                found: rfc3339(newest.identity.created),
                savepoint: rfc3339(saved.identity.created),
            });
        }
    }
    Ok(())
}
