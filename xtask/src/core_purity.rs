//! The core decides and performs nothing. Its own clippy bans hold it to that inside; this holds its dependencies to it.

use anyhow::{Result, bail};

use crate::cargo::{Workspace, output};

/// What the core may link: error derivation, and that crate's own compile-time parts.
const ALLOWED: [&str; 7] = ["host-core", "thiserror", "thiserror-impl", "proc-macro2", "quote", "syn", "unicode-ident"];

/// Fails if the core depends on anything that could perform.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let tree =
        output(&mut workspace.cargo(&["tree", "--package", "host-core", "--edges", "normal", "--prefix", "none"]))?;
    let strangers: Vec<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| !ALLOWED.contains(name)).collect();
    if !strangers.is_empty() {
        bail!("host-core must not depend on {}: it decides, and only host performs", strangers.join(", "));
    }
    Ok(())
}
