//! Savepoints: all that is durable of a pipeline at one moment, in one file.
//!
//! A position is moved only by confirmed records, the end of a shard becomes durable together with its children, and a
//! mark of a sink together with the positions that it belongs to. So whatever one transaction reads is a consistent cut,
//! and nothing has to stop, or even to notice, while a savepoint is taken. What is checked nevertheless is that the rows
//! are closed under lineage: a shard that is finished and whose children are unknown would leave a run that starts there
//! with nothing to read.
//!
//! The file is JSON, for people and for tools; it carries a hash of its content, is written under another name and linked
//! into place when it is on the disk, and is never written again. A savepoint is either the whole of what it was or
//! refused. Before it is written it is read back from the very text that will be in the file: what cannot be restored is
//! found when it is taken, not when it is needed.
//!
//! Going back is a plan like every other change by hand ([`crate::state::edit`]): made from a snapshot, shown, agreed to,
//! and applied whole in one fenced transaction, which makes it the only way back besides `state set` (CKP-2).

use host_core::moment::EpochMillis;

use crate::state::StreamIdentity;
use crate::state::edit::Snapshot;
use crate::state::stored::StoredPipeline;
use crate::state::{PipelineId, rfc3339};

mod canonical;
mod document;
pub mod error;
pub mod file;
mod lineage;
mod report;
pub mod restore;
pub mod stop;

pub use document::{FORMAT, Savepoint};
pub use error::SavepointError;
pub use restore::{Restore, plan};

/// What a savepoint says besides what the state holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Wall-clock time of the snapshot.
    pub at: EpochMillis,
    /// The manifest's `parallelism`: for whoever reads the savepoint; a restore does not ask for the same.
    pub parallelism: u32,
}

/// A savepoint of what `snapshot` found of `streams`, the ARNs that the manifest names; and what to tell whoever asked
/// for it.
///
/// # Errors
/// The pipeline has no positions of one of the streams, or its rows are not closed under lineage.
pub fn take(
    snapshot: &Snapshot,
    streams: &[String],
    circumstances: &Circumstances,
) -> Result<(Savepoint, Vec<String>), SavepointError> {
    let pipeline = snapshot.pipeline().clone();
    let mut stored = snapshot.stored().clone();
    let has = |arn: &String| stored.streams.iter().any(|stream| stream.identity.arn == *arn);
    if let Some(stream) = streams.iter().find(|arn| !has(arn)) {
        return Err(SavepointError::NotStarted { pipeline, stream: stream.clone() });
    }
    let mut notes = Vec::new();
    stored.streams.retain(|stream| {
        let is_named = streams.contains(&stream.identity.arn);
        if !is_named {
            notes.push(format!(
                "the state of {} is left out: the manifest does not name it",
                described(&stream.identity)
            ));
        }
        is_named
    });
    lineage::check(&stored).map_err(|what| SavepointError::NotClosed { pipeline: pipeline.clone(), what })?;
    let savepoint = Savepoint::new(&pipeline, stored, snapshot.live().is_some(), circumstances);
    savepoint.check()?;
    Ok((savepoint, notes))
}

/// The name of a savepoint's file where none was given.
#[must_use]
pub fn file_name(pipeline: &PipelineId, at: EpochMillis) -> String {
    let seconds: String = rfc3339(EpochMillis(at.0 - at.0.rem_euclid(1_000)));
    let compact: String = seconds.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    format!("{}-{compact}.savepoint.json", pipeline.pipeline)
}

fn described(stream: &StreamIdentity) -> String {
    format!("{}, created {}", stream.arn, rfc3339(stream.created))
}

/// The newest run that took part in what is stored: a change by hand has no components.
fn components(stored: &StoredPipeline) -> &[crate::state::ComponentDigest] {
    let newest = stored.claims.values().rev().find(|claim| !claim.components.is_empty());
    newest.map_or(&[], |claim| claim.components.as_slice())
}
