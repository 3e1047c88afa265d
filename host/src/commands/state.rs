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
use crate::state::dynamodb;
use crate::state::edit::{self, EditError, Plan, Request, Selection, Site, Snapshot};
use crate::state::{Owner, PipelineId};

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
        State::List { json, .. } => edit::list(&store.at, &store.pipeline).map(|report| shown(screen, &report, *json)),
        State::Show { json, stream, shard, .. } => {
            edit::show(&store.at, &store.pipeline, stream.as_deref(), std::slice::from_ref(shard))
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
    pub(super) at: Site,
    pub(super) pipeline: PipelineId,
    /// The one that lives with the embedded streams, where the manifest's own was asked for.
    local: Option<PathBuf>,
    /// What serves the embedded tables meanwhile.
    _embedded: Option<Embedded>,
}

impl Kept {
    /// The store of the manifest; with `--local`, the one that lives with the embedded streams. Says why if there is none.
    pub(super) fn by(manifest: &Manifest, local: bool, screen: &Screen) -> Option<Self> {
        let pipeline = PipelineId { tenant: manifest.tenant.to_string(), pipeline: manifest.name.to_string() };
        let there = local_state(manifest);
        if !local {
            let at = match &manifest.checkpoint.store {
                StateStore::Sqlite(path) => Site::from(path),
                StateStore::Dynamodb(table) => Site::Table(Box::new(dynamodb::Options::of(manifest, table, None))),
            };
            return Some(Self { at, pipeline, local: there.ok().filter(|local| local.exists()), _embedded: None });
        }
        let path = there.map_err(|why| complain(screen, &why)).ok()?;
        let StateStore::Dynamodb(table) = &manifest.checkpoint.store else {
            return Some(Self { at: Site::File(path), pipeline, local: None, _embedded: None });
        };
        let embedded = Embedded::start(manifest, &path).map_err(|why| complain(screen, &why)).ok()?;
        let at = Site::Table(Box::new(dynamodb::Options::of(manifest, table, Some(&embedded.url()))));
        Some(Self { at, pipeline, local: None, _embedded: Some(embedded) })
    }

    /// An error's text; with a word on the other state, if this one has nothing and that one is there.
    pub(super) fn hinted(&self, error: &EditError, text: String) -> String {
        let is_nothing = match error {
            EditError::NeverRan { .. } => true,
            EditError::Store(error) => error.is_missing(),
            EditError::UnknownShard { .. }
            | EditError::UnknownStream { .. }
            | EditError::AmbiguousShard { .. }
            | EditError::Outdated { .. } => false,
        };
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
        let directory = super::run::local_directory(manifest);
        return Ok(match &manifest.checkpoint.store {
            StateStore::Sqlite(_) => crate::local::state_path(&directory),
            StateStore::Dynamodb(_) => crate::local::tables_path(&directory),
        });
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

#[cfg(feature = "local")]
use embedded::Embedded;

#[cfg(feature = "local")]
mod embedded {
    //! The embedded tables answer only while somebody serves them: here for as long as a command takes.

    use std::path::Path;

    use tokio::runtime::Runtime;

    use super::{Manifest, with_causes};
    use crate::commands::run::local_directory;
    use crate::local::{Endpoint, Options};

    pub(in crate::commands) struct Embedded {
        // Dropped first: it needs the other one to end.
        endpoint: Endpoint,
        _runtime: Runtime,
    }

    impl Embedded {
        /// Serves what is kept at `tables`; whoever runs already does, and says so.
        pub(super) fn start(manifest: &Manifest, tables: &Path) -> Result<Self, String> {
            if !tables.exists() {
                return Err(format!(
                    "no embedded tables at {}; no `run --local` has kept positions there yet",
                    tables.display()
                ));
            }
            let stream = manifest.source.stream();
            let options = Options {
                directory: Some(local_directory(manifest)),
                region: stream.region().to_owned(),
                account: stream.account().to_owned(),
                ..Options::default()
            };
            let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
            let endpoint = runtime.block_on(Endpoint::start(options)).map_err(|error| with_causes(&error))?;
            Ok(Self { endpoint, _runtime: runtime })
        }

        pub(super) fn url(&self) -> String {
            self.endpoint.url()
        }
    }
}

#[cfg(not(feature = "local"))]
struct Embedded;

#[cfg(not(feature = "local"))]
impl Embedded {
    fn start(_manifest: &Manifest, _tables: &std::path::Path) -> Result<Self, String> {
        Err(super::WITHOUT_LOCAL.to_owned())
    }

    fn url(&self) -> String {
        String::new()
    }
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
    let plan = edit::plan(&Snapshot::take(&store.at, &store.pipeline)?, request)?;
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
    let question = format!("change {} of {}? [y/N] ", plan.changes.len(), plan.database);
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
