//! One command per chore. Each prints what it runs, so that anyone can run the same by hand.

mod cargo;
mod backends;
mod components;
mod core_purity;
mod dependencies;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::cargo::{Workspace, run};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows, tests and measures Sluicebox: one command per chore.")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs two pipelines on real events against embedded streams and tables; run it again and they resume
    Demo,
    /// Builds what the tests need and passes all of them
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
        /// Instead the tests against services that are not ours, which it installs; needs Node.js and Python
        #[arg(long)]
        backends: bool,
    },
    /// Reshards, faults and kills at random while records arrive, then a ledger: none missing, none out of order
    Soak {
        /// How long
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// What the moments and the faults follow from; random when left out, and always printed
        #[arg(long)]
        seed: Option<u64>,
        /// How records are read: polling, efo, or mixed, where each life of the host draws one of both
        #[arg(long, default_value = "mixed")]
        reader: String,
        /// What is written to: local (a file and stdout), services (a stream and two tables), or all
        #[arg(long, default_value = "all")]
        sinks: String,
    },
    /// Format, clippy with warnings denied, the core's purity, licences and duplicate dependencies, with and without the
    /// embedded endpoint
    Lint,
    /// Builds the example components into guest-examples/components
    Components,
    /// Seeded histories of the core under faults: `cargo xtask simulate 1000000`
    Simulate {
        /// How many histories
        histories: u64,
    },
    /// Prints ratios of one run: the boundary and the whole pipeline against native code
    Bench {
        /// `boundary`, `pipeline`, `shards`, `fanout`, `sinks`, or all of them when left out
        which: Option<String>,
        /// Also put the tables into docs/benchmarks.md
        #[arg(long)]
        write: bool,
    },
    /// What continuous integration runs: lint, test, and where there are Node.js and Python, test --backends
    Ci,
}

fn main() -> ExitCode {
    match chore(&Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a chore talks to the person who called it; stdout belongs to what it runs")]
fn say(line: &str) {
    eprintln!("{line}");
}

fn chore(chore: &Chore) -> Result<()> {
    let workspace = Workspace::locate()?;
    match chore {
        Chore::Demo => demo(&workspace),
        Chore::Test { filter, backends: false } => test(&workspace, filter.as_deref()),
        Chore::Test { filter, backends: true } => {
            backends::present()?;
            build_tests(&workspace)?;
            backends::test(&workspace, filter.as_deref())
        }
        Chore::Soak { minutes, seed, reader, sinks } => {
            soak(&workspace, *minutes, *seed, &["--reader", reader, "--sinks", sinks])
        }
        Chore::Lint => lint(&workspace),
        Chore::Components => components::build(&workspace).map(drop),
        Chore::Simulate { histories } => {
            let simulators = ["--test", "sim", "--test", "subscriptions", "--test", "batching"];
            let mut command = workspace.cargo(&["test", "--package", "host-core"]);
            command.args(simulators).args(["--", "--nocapture"]);
            command.env("SIM_HISTORIES", histories.to_string());
            run(&mut command)
        }
        Chore::Bench { which, write } => bench(&workspace, which.as_deref(), *write),
        Chore::Ci => {
            lint(&workspace)?;
            test(&workspace, None)?;
            backends::test_if_present(&workspace)
        }
    }
}

fn demo(workspace: &Workspace) -> Result<()> {
    components::build(workspace)?;
    say("building the host (release); the first time this compiles wasmtime and the AWS SDK and takes minutes");
    run(&mut workspace.cargo(&["build", "--release", "--package", "host"]))?;
    let folder = PathBuf::from("guest-examples/earthquakes");
    let manifests = ["pipeline.toml", "services.toml"].map(|name| folder.join(name));
    let host = workspace.target.join("release").join(format!("sluicebox{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(&host);
    command.args(["run", "--local", "--until-caught-up"]).args(&manifests).current_dir(&workspace.root);
    let status = command.status().with_context(|| format!("could not start {}", host.display()))?;
    if !status.success() {
        bail!("the demo failed: {status}");
    }
    Ok(())
}

fn test(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    build_tests(workspace)?;
    components::test(workspace, filter)?;
    let mut command = workspace.cargo(&["test", "--workspace"]);
    command.args(filter);
    run(&mut command)
}

fn build_tests(workspace: &Workspace) -> Result<()> {
    components::build(workspace)?;
    say("building the tests; the first time this compiles wasmtime and the AWS SDK and takes minutes");
    // Process tests start the binary, which `cargo test` alone does not build. All targets, so that dependencies get the
    // same features both times and nothing is built twice.
    run(&mut workspace.cargo(&["build", "--workspace", "--all-targets"]))
}

fn soak(workspace: &Workspace, minutes: u64, seed: Option<u64>, choices: &[&str]) -> Result<()> {
    build_tests(workspace)?;
    let soak = workspace.target.join("debug").join(format!("soak{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(&soak);
    command.args(["--minutes", &minutes.to_string()]).args(choices).current_dir(&workspace.root);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    let status = command.status().with_context(|| format!("could not start {}", soak.display()))?;
    if !status.success() {
        bail!("the soak failed: {status}");
    }
    Ok(())
}

fn lint(workspace: &Workspace) -> Result<()> {
    run(&mut workspace.cargo(&["fmt", "--all", "--check"]))?;
    run(workspace.cargo(&["fmt", "--all", "--check"]).current_dir(workspace.root.join("guest-examples")))?;
    core_purity::check(workspace)?;
    dependencies::check(workspace)?;
    run(&mut workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    // A test that `cargo test` leaves alone is none of all targets.
    run(&mut workspace.cargo(&["clippy", "--workspace", "--test", "backends", "--", "--deny", "warnings"]))?;
    // An operator may build without the embedded endpoint.
    run(&mut workspace.cargo(&["clippy", "--package", "host", "--no-default-features", "--", "--deny", "warnings"]))
}

fn bench(workspace: &Workspace, which: Option<&str>, write: bool) -> Result<()> {
    components::build(workspace)?;
    run(&mut workspace.cargo(&["build", "--release", "--package", "host"]))?;
    let mut command = workspace.cargo(&["run", "--release", "--package", "benches", "--"]);
    command.args(which).args(write.then_some("--write"));
    run(&mut command)
}
