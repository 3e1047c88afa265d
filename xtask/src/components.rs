//! The example components: built for `wasm32-wasip2` and put where manifests and tests look for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo::{Workspace, output, run};
use crate::say;

const TARGET: &str = "wasm32-wasip2";

/// Builds all example components and returns the folder that holds them. A file is replaced only when it changed, so
/// that nothing downstream is rebuilt or recompiled for nothing.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    ensure_target(workspace)?;
    let examples = workspace.root.join("guest-examples");
    let target = workspace.target.join("components");
    let mut command = workspace.cargo(&["build", "--locked", "--release", "--target", TARGET, "--target-dir"]);
    run(command.arg(&target).current_dir(&examples))?;
    let from = target.join(TARGET).join("release");
    let to = examples.join("components");
    fs::create_dir_all(&to).with_context(|| format!("could not create {}", to.display()))?;
    for entry in fs::read_dir(&from).with_context(|| format!("could not list {}", from.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            copy_if_changed(&path, &to)?;
        }
    }
    Ok(to)
}

/// Runs the examples' own tests, which need no sandbox: components are tested on the machine that builds them.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let target = workspace.target.join("components");
    let mut command = workspace.cargo(&["test", "--locked", "--target", "host-tuple", "--target-dir"]);
    run(command.arg(&target).args(filter).current_dir(workspace.root.join("guest-examples")))
}

fn copy_if_changed(from: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(from.file_name().context("a component has a file name")?);
    let new = fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
    if fs::read(&to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(&to, new).with_context(|| format!("could not write {}", to.display()))
}

fn ensure_target(workspace: &Workspace) -> Result<()> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut question = Command::new(rustc);
    question.args(["--print", "target-libdir", "--target", TARGET]).current_dir(&workspace.root);
    if Path::new(output(&mut question)?.trim()).is_dir() {
        return Ok(());
    }
    say(&format!("adding the Rust target {TARGET}, which components are compiled for"));
    run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(&workspace.root)).with_context(|| {
        format!("components need the Rust target {TARGET}; without rustup, install it with your toolchain")
    })
}
