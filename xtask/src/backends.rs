//! Kinesis services from npm, for the tests that want one that is not ours. Their exact versions and contents are those
//! of `tests/backends/npm/package-lock.json`; they are installed below the target directory, and no script of theirs runs
//! while they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{Workspace, output, run};
use crate::say;

/// Names the folder of the installed packages to the tests.
const FOLDER: &str = "SLUICEBOX_TEST_BACKENDS";
/// What describes the packages, in the checkout and in the folder.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// Fails where they cannot be run, and says what to install.
pub(crate) fn present() -> Result<()> {
    let lacks = |program: &&str| output(Command::new(program).arg("--version")).is_err();
    let programs: Vec<&str> = ["node", "npm"].into_iter().filter(lacks).collect();
    if programs.is_empty() {
        return Ok(());
    }
    bail!(
        "the tests against other Kinesis services need Node.js 20 or later with npm, and {} cannot be run here; install it \
         from your system's packages, then call `cargo xtask test --backends`",
        programs.join(" and ")
    )
}

/// Installs what is missing and runs the tests, which must be built except for their own binary.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let folder = install(workspace)?;
    // The whole workspace, so that dependencies have the features of the other builds and nothing is built twice.
    let mut command = workspace.cargo(&["test", "--workspace", "--test", "backends"]);
    command.args(filter).env(FOLDER, folder);
    run(&mut command)
}

/// What continuous integration does: the tests where they can be run, and a loud word where they cannot.
pub(crate) fn test_if_present(workspace: &Workspace) -> Result<()> {
    let Err(absent) = present() else { return test(workspace, None) };
    let stars = "*".repeat(100);
    say(&format!("{stars}\nNOT RUN: {absent}\n{stars}"));
    Ok(())
}

fn install(workspace: &Workspace) -> Result<PathBuf> {
    let from = workspace.root.join("tests/backends/npm");
    let folder = workspace.target.join("backends");
    let installed = folder.join("node_modules/.installed");
    let wanted = described(&from)?;
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    for file in FILES {
        let to = folder.join(file);
        fs::copy(from.join(file), &to).with_context(|| format!("could not write {}", to.display()))?;
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(command.current_dir(&folder)).context("the Kinesis services for tests were not installed")?;
    fs::write(&installed, wanted).with_context(|| format!("could not write {}", installed.display()))?;
    Ok(folder)
}

fn described(folder: &Path) -> Result<String> {
    let read = |file| fs::read_to_string(folder.join(file)).with_context(|| format!("could not read {file}"));
    FILES.into_iter().map(read).collect()
}
