//! `sluicebox state`: positions, read and edited. An edit prints its plan first and needs a yes.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::State;
use crate::clock::Clock;
use crate::commands::{DONE, FAILED, WRONG, complain, print, read_manifest, tell, with_causes};
use crate::config::{Manifest, StateStore};
use crate::progress::Screen;
use crate::state::edit::{self, EditError, Plan, Request, Selection, Snapshot};
use crate::state::{Owner, PipelineId, StoreError};

/// Lists, shows, sets or deletes.
#[must_use]
pub fn state(arguments: &State, screen: &Screen) -> u8 {
    let (State::List { manifest, local, .. }
    | State::Show { manifest, local, .. }
    | State::Set { manifest, local, .. }
    | State::Delete { manifest, local, .. }) = arguments;
    let Some(manifest) = read_manifest(screen, manifest) else { return WRONG };
    let Some(store) = Kept::by(&manifest, *local, screen) else { return WRONG };
    let done = match arguments {
        State::List { json, .. } => {
            edit::list(&store.path, &store.pipeline).map(|report| shown(screen, &report, *json))
        }
        State::Show { json, stream, shard, .. } => {
            edit::show(&store.path, &store.pipeline, stream.as_deref(), std::slice::from_ref(shard))
                .map(|details| shown(screen, &details, *json))
        }
        State::Set { json, yes, stream, shard, position, .. } => {
            let shards = Selection::Only(vec![shard.clone()]);
            let now = Clock::start().wall();
            change(
                screen,
                &store,
                &Request::Set { stream: stream.clone(), shards, to: position.clone(), now },
                *json,
                *yes,
            )
        }
        State::Delete { json, yes, stream, shard, .. } => {
            let shards = shard.as_ref().map_or(Selection::All, |shard| Selection::Only(vec![shard.clone()]));
            change(screen, &store, &Request::Delete { stream: stream.clone(), shards }, *json, *yes)
        }
    };
    done.unwrap_or_else(|error| {
        complain(screen, &store.hinted(&error, with_causes(&error)));
        FAILED
    })
}

/// Where a pipeline's positions are.
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) pipeline: PipelineId,
    /// The one that lives with the embedded streams, where the manifest's own was asked for.
    local: Option<PathBuf>,
}

impl Kept {
    /// The store of the manifest; with `--local`, the one that lives with the embedded streams. Says why if there is none.
    pub(super) fn by(manifest: &Manifest, local: bool, screen: &Screen) -> Option<Self> {
        let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
        if local {
            let path = local_state(manifest).map_err(|why| complain(screen, &why)).ok()?;
            return Some(Self { path, pipeline, local: None });
        }
        let StateStore::Sqlite(path) = &manifest.checkpoint.store else {
            unreachable!("no manifest names another yet")
        };
        Some(Self { path: path.clone(), pipeline, local: local_state(manifest).ok().filter(|local| local.exists()) })
    }

    /// An error's text; with a word on the other state, if this one has nothing and that one is there.
    pub(super) fn hinted(&self, error: &EditError, text: String) -> String {
        let is_nothing = matches!(error, EditError::NeverRan { .. } | EditError::Store(StoreError::Missing { .. }));
        match &self.local {
            Some(local) if is_nothing => {
                format!("{text}\n`run --local` keeps its positions in {}: add --local for those", local.display())
            }
            Some(_) | None => text,
        }
    }
}

/// The state that lives with the embedded streams of the manifest's directory, or why there is none.
#[cfg(feature = "local")]
fn local_state(manifest: &Manifest) -> Result<PathBuf, String> {
    if manifest.local.durable {
        return Ok(crate::local::state_path(&super::run::local_directory(manifest)));
    }
    let path = manifest.path.display();
    Err(format!(
        "{path}: [local] durable = false, so nothing of a `run --local` is kept; set it to true to keep positions"
    ))
}

#[cfg(not(feature = "local"))]
fn local_state(_manifest: &Manifest) -> Result<PathBuf, String> {
    Err(super::WITHOUT_LOCAL.to_owned())
}

pub(super) fn shown(screen: &Screen, report: &(impl Display + Serialize), json: bool) -> u8 {
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
    carry_out(screen, &plan, "sluicebox state", json, yes)
}

/// Prints a plan, and carries it out if somebody says yes. `who` is kept as the one who did.
pub(super) fn carry_out(screen: &Screen, plan: &Plan, who: &str, json: bool, yes: bool) -> Result<u8, EditError> {
    let code = shown(screen, plan, json);
    if code != DONE || plan.changes.is_empty() {
        return Ok(code);
    }
    if !yes && !agreed(screen, plan) {
        return Ok(FAILED);
    }
    let owner = Owner { name: format!("{who}, process {}", std::process::id()), since: Clock::start().wall() };
    let generation = edit::apply(plan, &owner)?;
    tell(screen, &format!("done, at generation {generation}"));
    Ok(DONE)
}

fn agreed(screen: &Screen, plan: &Plan) -> bool {
    if !std::io::stdin().is_terminal() {
        complain(screen, &"nothing was changed: a change needs --yes, or a terminal to ask at");
        return false;
    }
    let question = format!("change {} of {}? [y/N] ", plan.changes.len(), plan.database.display());
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
