//! Histories of a sink and a service that fails in every way it can; each is made from one number.
//!
//! `cargo test -p host-core --test batching` runs 5,000 of them. `BATCHING_HISTORIES=1000000` runs a million (from
//! `BATCHING_FIRST`, default 0); `BATCHING_SEED=7` replays one and tells what happens.

#![expect(clippy::print_stderr, reason = "a failure says how to replay it, a replay says what happens")]

mod dice;
mod service;
mod history;
mod oracle;
mod speeds;
mod properties;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::history::History;
use crate::oracle::Seen;

const HISTORIES: u64 = 5_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is no part of the core: how much it runs is asked for outside"
)]
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn run(seed: u64) -> Result<Seen, String> {
    let traced = number("BATCHING_SEED").is_some();
    catch_unwind(AssertUnwindSafe(|| History::new(seed, traced).run()))
        .unwrap_or_else(|_| Err("the core panics, or does not come to an end".into()))
}

#[test]
fn every_history_keeps_every_guarantee() {
    let seeds = match number("BATCHING_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("BATCHING_FIRST").unwrap_or(0);
            first..first + number("BATCHING_HISTORIES").unwrap_or(HISTORIES)
        }
    };
    let is_sample = seeds.end - seeds.start >= HISTORIES;
    let mut sum = Seen::default();
    for seed in seeds {
        match run(seed) {
            Ok(seen) => sum.add(&seen),
            Err(violation) => panic!(
                "seed {seed}: {violation}\nreplay: BATCHING_SEED={seed} cargo test -p host-core --test batching -- --nocapture"
            ),
        }
    }
    eprintln!("{sum:?}");
    if is_sample {
        // What does not happen proves nothing.
        for (what, count) in [
            ("confirmed", sum.confirmed),
            ("poisoned", sum.poisoned),
            ("exhausted", sum.exhausted),
            ("timed out", sum.timed_out),
            ("landed after a timeout", sum.landed_late),
            ("landed more than once", sum.repeated),
            ("throttled", sum.throttled),
            ("rejected", sum.rejected),
            ("superseded", sum.superseded),
            ("refused room", sum.full),
            ("hurried", sum.hurried),
        ] {
            assert!(count > 1_000, "{what} only {count} times");
        }
    }
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}
