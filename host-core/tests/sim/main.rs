//! Histories of a stream, a host and a store, with everything that goes wrong between them; each is made from one number.
//!
//! `cargo test -p host-core --test sim` runs 2,000 of them and those of `seeds.txt`, which failed once.
//! `SIM_HISTORIES=1000000` runs a million (from `SIM_FIRST`, default 0); `SIM_SEED=7` replays one and tells what happens.

#![expect(clippy::print_stderr, reason = "a failure says how to replay it, a replay says what happens")]

mod faults;
mod world;
mod readers;
mod shell;
mod oracle;
mod subtasks;
mod served;
mod times;
mod retention;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::shell::History;

const HISTORIES: u64 = 2_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is no part of the core: how much it runs is asked for outside"
)]
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn run(seed: u64) -> Result<u64, String> {
    let traced = number("SIM_SEED").is_some();
    catch_unwind(AssertUnwindSafe(|| History::new(seed, traced).run()))
        .unwrap_or_else(|_| Err("the core panics".into()))
}

fn past_failures() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("seeds.txt: a seed a line")).collect()
}

/// Runs them all and stops at the first that fails.
fn run_all(seeds: impl Iterator<Item = u64>) {
    let mut events = 0;
    let mut histories = 0_u64;
    for seed in seeds {
        histories += 1;
        match run(seed) {
            Ok(count) => events += count,
            Err(violation) => {
                panic!(
                    "seed {seed}: {violation}\nreplay: SIM_SEED={seed} cargo test -p host-core --test sim -- --nocapture"
                )
            }
        }
    }
    eprintln!("{histories} histories, {events} events");
}

#[test]
fn every_history_keeps_every_guarantee() {
    match number("SIM_SEED") {
        Some(seed) => run_all([seed].into_iter()),
        None => {
            let first = number("SIM_FIRST").unwrap_or(0);
            run_all(first..first.saturating_add(number("SIM_HISTORIES").unwrap_or(HISTORIES)));
        }
    }
}

#[test]
fn histories_that_failed_once_pass() {
    run_all(past_failures().into_iter());
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
