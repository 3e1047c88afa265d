//! `sluicebox savepoint`: taken, looked at, gone back to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Savepoint as Arguments;
use crate::clock::Clock;
use crate::commands::state::{Kept, carry_out, shown};
use crate::commands::{DONE, FAILED, WRONG, complain, print, read_manifest, tell, with_causes};
use crate::config::Manifest;
use crate::progress::Screen;
use crate::savepoint::restore::FileSink;
use crate::savepoint::{self, Circumstances, Restore, SavepointError, stop};
use crate::state::edit::Snapshot;
use crate::state::{StoreError, rfc3339};

/// What a process may need beyond its `shutdown_timeout`: to notice the signal, to write the last checkpoint, to end.
const BEYOND_DRAINING: Duration = Duration::from_secs(10);

/// Creates, inspects or restores.
#[must_use]
pub fn savepoint(arguments: &Arguments, screen: &Screen) -> u8 {
    match arguments {
        Arguments::Create { stop, output, local, manifest } => {
            let Some((manifest, kept)) = prepare(manifest, *local, screen) else { return WRONG };
            told(create(&manifest, &kept, *stop, output.as_deref(), screen), Some(&kept), screen)
        }
        Arguments::Inspect { json, file } => {
            told(savepoint::file::read(file).map(|savepoint| shown(screen, &savepoint, *json)), None, screen)
        }
        Arguments::Restore { json, yes, fork, without_marks, local, file, manifest } => {
            let Some((manifest, kept)) = prepare(manifest, *local, screen) else { return WRONG };
            let how = Restore { fork: *fork, without_marks: *without_marks };
            told(restore(file, &manifest, &kept, how, (*json, *yes), screen), None, screen)
        }
    }
}

fn prepare(manifest: &Path, local: bool, screen: &Screen) -> Option<(Manifest, Kept)> {
    let manifest = read_manifest(screen, manifest)?;
    let kept = Kept::by(&manifest, local, screen)?;
    Some((manifest, kept))
}

fn told(done: Result<u8, SavepointError>, kept: Option<&Kept>, screen: &Screen) -> u8 {
    done.unwrap_or_else(|error| {
        let text = with_causes(&error);
        let text = match (&error, kept) {
            (SavepointError::State(error), Some(kept)) => kept.hinted(error, text),
            _ => text,
        };
        complain(screen, &text);
        if error.is_wrong_file() { WRONG } else { FAILED }
    })
}

/// The ARNs that a manifest names.
fn streams(manifest: &Manifest) -> Vec<String> {
    manifest.source.streams.iter().map(ToString::to_string).collect()
}

fn create(
    manifest: &Manifest,
    kept: &Kept,
    stop: bool,
    output: Option<&Path>,
    screen: &Screen,
) -> Result<u8, SavepointError> {
    // A name that is taken is told before anybody is stopped.
    if let Some(path) = output.filter(|path| path.symlink_metadata().is_ok()) {
        return Err(SavepointError::Exists { path: path.to_owned() });
    }
    let before = Snapshot::take(&kept.at, &kept.pipeline)?;
    if stop {
        stop_first(&before, manifest, kept, screen)?;
    }
    let at = Clock::start().wall();
    let snapshot = Snapshot::take(&kept.at, &kept.pipeline)?;
    if let (true, Some(owner)) = (stop, snapshot.live()) {
        let owner = owner.map_or("a process without a name", |owner| owner.name.as_str());
        tell(screen, &format!("note: {owner} runs the pipeline again already; the savepoint is of this moment"));
    }
    let circumstances = Circumstances { at, parallelism: manifest.parallelism };
    let (savepoint, notes) = savepoint::take(&snapshot, &streams(manifest), &circumstances)?;
    let path =
        output.map_or_else(|| default_path(manifest, &savepoint::file_name(&kept.pipeline, at)), Path::to_path_buf);
    savepoint::file::create(&path, &savepoint)?;
    for note in notes {
        tell(screen, &format!("note: {note}"));
    }
    tell(screen, &format!("savepoint of {}, taken {}, {}", kept.pipeline, rfc3339(at), savepoint.hash()));
    Ok(print(screen, &path.display()))
}

fn default_path(manifest: &Manifest, name: &str) -> PathBuf {
    manifest.path.parent().map(Path::to_path_buf).unwrap_or_default().join(name)
}

fn stop_first(before: &Snapshot, manifest: &Manifest, kept: &Kept, screen: &Screen) -> Result<(), SavepointError> {
    // What cannot be saved is found before anything is stopped for it.
    let circumstances = Circumstances { at: Clock::start().wall(), parallelism: manifest.parallelism };
    drop(savepoint::take(before, &streams(manifest), &circumstances)?);
    let Some(asked) = stop::ask(before)? else {
        tell(screen, &format!("nobody runs {}: there is nothing to stop", kept.pipeline));
        return Ok(());
    };
    let (owner, limit) = (asked.owner.name.clone(), manifest.shutdown_timeout + BEYOND_DRAINING);
    tell(screen, &format!("{owner} was asked to drain and stop; waiting up to {} s", limit.as_secs()));
    asked.wait(limit, |waited| tell(screen, &format!("waiting for {owner} to drain: {} s", waited.as_secs())))?;
    tell(screen, &format!("{owner} has stopped"));
    Ok(())
}

fn restore(
    file: &Path,
    manifest: &Manifest,
    kept: &Kept,
    how: Restore,
    (json, yes): (bool, bool),
    screen: &Screen,
) -> Result<u8, SavepointError> {
    let savepoint = savepoint::file::read(file)?;
    let snapshot = Snapshot::take_or_empty(&kept.at, &kept.pipeline)?;
    if let Some(owner) = snapshot.live() {
        let owner = owner.cloned();
        return Err(StoreError::OwnedByAnother { pipeline: kept.pipeline.clone(), owner, age: None }.into());
    }
    let plan = savepoint::plan(&savepoint, &snapshot, &streams(manifest), &FileSink::all(manifest), how)?;
    let code = carry_out(screen, &plan, "sluicebox savepoint restore", json, yes)?;
    if code == DONE && !plan.changes.is_empty() {
        tell(screen, &format!("the next run of {} goes on as of {}", kept.pipeline, savepoint.taken_at()));
    }
    Ok(code)
}
