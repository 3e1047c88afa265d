//! The commands: each does what [`crate::cli`] names, prints data on stdout and everything else on stderr, and returns the
//! exit code.

pub mod check;
pub mod inspect;
#[cfg(feature = "local")]
pub mod local;
pub mod run;
pub mod savepoint;
pub mod signals;
pub mod state;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::{Diagnostics, Manifest};
use crate::progress::Screen;

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: failed while running.
pub const FAILED: u8 = 1;
/// Exit code: the command line, a manifest or a component is wrong; nothing was started.
pub const WRONG: u8 = 2;

/// `sluicebox schema`.
#[must_use]
pub fn schema(screen: &Screen) -> u8 {
    print(screen, &format!("{:#}", crate::config::schema::schema()))
}

/// `sluicebox local`.
#[cfg(feature = "local")]
#[must_use]
pub fn local(arguments: &crate::cli::Local, screen: &Screen) -> u8 {
    local::local(arguments, screen)
}

/// `sluicebox local` of a build without the embedded endpoint.
#[cfg(not(feature = "local"))]
#[must_use]
pub fn local(_arguments: &crate::cli::Local, screen: &Screen) -> u8 {
    complain(screen, &WITHOUT_LOCAL);
    WRONG
}

/// What a build without the embedded endpoint says.
#[cfg(not(feature = "local"))]
pub(crate) const WITHOUT_LOCAL: &str = "this sluicebox was built without the embedded endpoint; build it with the cargo feature `local`, which is on by default";

/// Puts data on stdout. A reader that has enough of it is no failure.
fn print(screen: &Screen, data: &dyn Display) -> u8 {
    let text = format!("{data}");
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(std::io::stdout().lock(), "{text}{end}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(screen, &format!("cannot write to standard output: {error}"));
            FAILED
        }
        Ok(()) | Err(_) => DONE,
    }
}

/// Says what is wrong.
fn complain(screen: &Screen, error: &dyn Display) {
    tell(screen, &format!("error: {error}"));
}

/// Says something to whoever watches.
fn tell(screen: &Screen, text: &dyn Display) {
    let text = format!("{text}");
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // Nobody is left to tell if stderr is gone.
    drop(screen.write(format!("{text}{end}").as_bytes()));
}

/// An error and what caused it, on one line; a cause that is told already is not told twice.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// Reads manifests, telling every mistake in each of them.
fn read_manifests(screen: &Screen, paths: &[PathBuf]) -> Option<Vec<Manifest>> {
    let manifests: Vec<_> = paths.iter().filter_map(|path| read_manifest(screen, path)).collect();
    (manifests.len() == paths.len()).then_some(manifests)
}

fn read_manifest(screen: &Screen, path: &Path) -> Option<Manifest> {
    let read: Result<Manifest, Diagnostics> = Manifest::read(path, |name| std::env::var(name).ok());
    read.map_err(|diagnostics| tell(screen, &diagnostics)).ok()
}
