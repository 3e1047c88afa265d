//! Calling cargo, and where it puts things.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::say;

/// The checkout and its target directory, which a user may have moved with `CARGO_TARGET_DIR` or a cargo configuration.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?.to_path_buf();
        let metadata = metadata(&root, &["--no-deps"])?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names the target directory")?;
        Ok(Self { target: PathBuf::from(target), root })
    }

    /// A cargo call in the root, on the same toolchain.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo_program());
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// What `cargo metadata` tells of every package in a build for Linux: one platform, so that every machine judges alike.
    pub(crate) fn metadata(&self) -> Result<Value> {
        metadata(&self.root, &["--all-features", "--filter-platform", "x86_64-unknown-linux-gnu"])
    }
}

fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn metadata(root: &Path, arguments: &[&str]) -> Result<Value> {
    let mut command = Command::new(cargo_program());
    command.args(["metadata", "--locked", "--format-version", "1"]).args(arguments).current_dir(root);
    serde_json::from_str(&output(&mut command)?).context("could not read what cargo metadata printed")
}

/// Runs to the end and fails if the command does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    say(&format!("$ {}", shown(command)));
    let status = command.status().with_context(|| format!("could not start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// Runs quietly and returns what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("could not start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(command), String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed something else than UTF-8", shown(command)))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_stem().unwrap_or_default().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
