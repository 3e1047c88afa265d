//! Kinesis services from npm and PyPI, for the tests that want one that is not ours. Their exact versions and contents are
//! those of `tests/backends/npm/package-lock.json` and `tests/backends/pypi/requirements.txt`; they are installed below the
//! target directory, and no script of theirs runs while they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{Workspace, output, run};
use crate::say;

/// Names the folder of the installed packages to the tests.
const FOLDER: &str = "SLUICEBOX_TEST_BACKENDS";
/// What describes the packages from npm, in the checkout and in the folder.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// What the packages from PyPI need: some systems ship Python without what makes environments.
const PYTHON: &str = "import ensurepip, sys, venv; print(sys.version); sys.exit(sys.version_info < (3, 10))";

/// Fails where they cannot be run, and says what to install.
pub(crate) fn present() -> Result<()> {
    let lacks = |program: &str, arguments: &[&str]| output(Command::new(program).args(arguments)).is_err();
    let mut absent = Vec::new();
    absent.extend(lacks("node", &["--version"]).then_some("node"));
    absent.extend(lacks("npm", &["--version"]).then_some("npm"));
    absent.extend(lacks("python3", &["-c", PYTHON]).then_some("python3"));
    if absent.is_empty() {
        return Ok(());
    }
    bail!(
        "the tests against other Kinesis services need Node.js 20 or later with npm and Python 3.10 or later with venv, and {} \
         cannot be run here; install it from your system's packages, then call `cargo xtask test --backends`",
        absent.join(" and ")
    )
}

/// Installs what is missing and runs the tests, which must be built except for their own binary.
pub(crate) fn test(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let folder = workspace.target.join("backends");
    fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    let from = workspace.root.join("tests/backends");
    install_npm(&from.join("npm"), &folder)?;
    install_pypi(&from.join("pypi"), &folder.join("python"))?;
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

/// Installs the packages that `from` describes into `folder`.
fn install_npm(from: &Path, folder: &Path) -> Result<()> {
    let read = |file| fs::read_to_string(from.join(file)).with_context(|| format!("could not read {file}"));
    let installed = Installed {
        note: folder.join("node_modules/.installed"),
        wanted: FILES.into_iter().map(read).collect::<Result<_>>()?,
    };
    if installed.is_wanted() {
        return Ok(());
    }
    for file in FILES {
        let to = folder.join(file);
        fs::copy(from.join(file), &to).with_context(|| format!("could not write {}", to.display()))?;
    }
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(command.current_dir(folder)).context("the Kinesis services from npm were not installed")?;
    installed.confirm()
}

/// Installs the packages that `from` describes into `folder`, an environment of its own.
fn install_pypi(from: &Path, folder: &Path) -> Result<()> {
    let requirements = from.join("requirements.txt");
    let read =
        fs::read_to_string(&requirements).with_context(|| format!("could not read {}", requirements.display()))?;
    // An environment belongs to the Python that made it.
    let installed = Installed {
        note: folder.join(".installed"),
        wanted: output(Command::new("python3").args(["-c", PYTHON]))? + &read,
    };
    if installed.is_wanted() {
        return Ok(());
    }
    let failed = "the Kinesis service from PyPI was not installed";
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).context(failed)?;
    let mut command = Command::new(folder.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(command.arg(requirements)).context(failed)?;
    installed.confirm()
}

/// What was installed, so that it is installed once.
struct Installed {
    /// A file that says it.
    note: PathBuf,
    /// What it should say.
    wanted: String,
}

impl Installed {
    fn is_wanted(&self) -> bool {
        fs::read_to_string(&self.note).is_ok_and(|found| found == self.wanted)
    }

    fn confirm(&self) -> Result<()> {
        fs::write(&self.note, &self.wanted).with_context(|| format!("could not write {}", self.note.display()))
    }
}
