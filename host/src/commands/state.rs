//! `sluicebox state`: positions, read and edited. An edit prints its plan first and needs a yes.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::State;
use crate::clock::Clock;
use crate::commands::{DONE, FAILED, WRONG, complain, print, read_manifest, tell, with_causes};
use crate::config::{Manifest, StateStore};
use crate::progress::Screen;
use crate::state::edit::{self, EditError, Plan, Request, Selection, Snapshot};
use crate::state::{Owner, PipelineId};

/// Lists, shows, sets or deletes.
#[must_use]
pub fn state(arguments: &State, screen: &Screen) -> u8 {
    let (State::List { manifest, .. }
    | State::Show { manifest, .. }
    | State::Set { manifest, .. }
    | State::Delete { manifest, .. }) = arguments;
    let Some(manifest) = read_manifest(screen, manifest) else { return WRONG };
    let store = Kept::by(&manifest);
    let done = match arguments {
        State::List { json, .. } => {
            edit::list(&store.path, &store.pipeline).map(|report| shown(screen, &report, *json))
        }
        State::Show { json, shard, .. } => edit::show(&store.path, &store.pipeline, std::slice::from_ref(shard))
            .map(|details| shown(screen, &details, *json)),
        State::Set { json, yes, shard, position, .. } => {
            let shards = Selection::Only(vec![shard.clone()]);
            let request = Request::Set { stream: None, shards, to: position.clone(), now: Clock::start().wall() };
            change(screen, &store, &request, *json, *yes)
        }
        State::Delete { json, yes, shard, .. } => {
            let shards = shard.as_ref().map_or(Selection::All, |shard| Selection::Only(vec![shard.clone()]));
            change(screen, &store, &Request::Delete { stream: None, shards }, *json, *yes)
        }
    };
    done.unwrap_or_else(|error| {
        complain(screen, &with_causes(&error));
        FAILED
    })
}

/// Where a pipeline's positions are.
struct Kept {
    path: PathBuf,
    pipeline: PipelineId,
}

impl Kept {
    /// The store of the manifest; or, where only that exists, the one that `--local` keeps beside its streams.
    fn by(manifest: &Manifest) -> Self {
        let StateStore::Sqlite(path) = &manifest.checkpoint.store;
        let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
        let path = match local_state(manifest).filter(|local| !path.exists() && local.exists()) {
            Some(local) => local,
            None => path.clone(),
        };
        Self { path, pipeline }
    }
}

#[cfg(feature = "local")]
fn local_state(manifest: &Manifest) -> Option<PathBuf> {
    Some(crate::local::state_path(&super::run::local_directory(manifest)))
}

#[cfg(not(feature = "local"))]
fn local_state(_manifest: &Manifest) -> Option<PathBuf> {
    None
}

fn shown(screen: &Screen, report: &(impl Display + Serialize), json: bool) -> u8 {
    if !json {
        return print(screen, report);
    }
    match serde_json::to_string_pretty(report) {
        Ok(json) => print(screen, &json),
        Err(error) => {
            complain(screen, &error);
            FAILED
        }
    }
}

fn change(screen: &Screen, store: &Kept, request: &Request, json: bool, yes: bool) -> Result<u8, EditError> {
    let plan = edit::plan(&Snapshot::take(&store.path, &store.pipeline)?, request)?;
    let code = shown(screen, &plan, json);
    if code != DONE || plan.changes.is_empty() {
        return Ok(code);
    }
    if !yes && !agreed(screen, &plan) {
        return Ok(FAILED);
    }
    let owner =
        Owner { name: format!("sluicebox state, process {}", std::process::id()), since: Clock::start().wall() };
    let generation = edit::apply(&plan, &owner)?;
    tell(screen, &format!("done, at generation {generation}"));
    Ok(DONE)
}

fn agreed(screen: &Screen, plan: &Plan) -> bool {
    if !std::io::stdin().is_terminal() {
        complain(screen, &"nothing was changed: a change needs --yes, or a terminal to ask at");
        return false;
    }
    let question = format!("change {} of {}? [y/N] ", plan.changes.len(), database(&plan.database));
    // Nobody can answer a question that cannot be written.
    drop(screen.write(question.as_bytes()));
    drop(std::io::stderr().flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let agreed = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        tell(screen, &"nothing was changed");
    }
    agreed
}

fn database(path: &Path) -> String {
    path.display().to_string()
}
