//! Histories of one shard that is read by enhanced fan-out: a service with the rules of `SubscribeToShard`, a reader that
//! performs what the core decides, and everything that goes wrong between them; each is made from one number.
//!
//! `cargo test -p host-core --test subscriptions` runs 3,000 of them and those of `seeds.txt`, which failed once.
//! `SIM_HISTORIES=1000000` runs a million (from `SIM_FIRST`, default 0); `SIM_SEED=7` replays one and tells what happens.

#![expect(clippy::print_stderr, reason = "a failure says how to replay it, a replay says what happens")]

mod plan;
mod service;
mod reader;
mod oracle;
mod renewals;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::reader::{History, Tally};

const HISTORIES: u64 = 3_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is no part of the core: how much it runs is asked for outside"
)]
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn run(seed: u64) -> Result<Tally, String> {
    let traced = number("SIM_SEED").is_some();
    catch_unwind(AssertUnwindSafe(|| History::new(seed, traced).run()))
        .unwrap_or_else(|_| Err("the core panics".into()))
}

fn past_failures() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("seeds.txt: a seed a line")).collect()
}

/// Runs them all and stops at the first that fails.
fn run_all(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut all = Tally::default();
    for seed in seeds {
        match run(seed) {
            Ok(tally) => all.add(&tally),
            Err(violation) => {
                panic!(
                    "seed {seed}: {violation}\nreplay: SIM_SEED={seed} cargo test -p host-core --test subscriptions -- --nocapture"
                )
            }
        }
    }
    eprintln!("{all:?}");
    all
}

#[test]
fn every_history_keeps_every_rule_of_a_subscription() {
    match number("SIM_SEED") {
        Some(seed) => {
            run_all([seed].into_iter());
        }
        None => {
            let first = number("SIM_FIRST").unwrap_or(0);
            let histories = number("SIM_HISTORIES").unwrap_or(HISTORIES);
            let tally = run_all(first..first.saturating_add(histories));
            assert!(histories < HISTORIES || tally.is_rich(), "histories in which nothing happens: {tally:?}");
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
