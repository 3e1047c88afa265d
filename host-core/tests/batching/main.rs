//! Histories of a sink and a service that fails in every way it can; each is made from one number.
//!
//! `cargo test -p host-core --test batching` runs 5,000 of them and those of `seeds.txt`, which failed once.
//! More of them, or one: see [`suite`].

#![expect(clippy::print_stderr, reason = "a suite says how much it ran, a replay says what happens")]

#[path = "../histories/dice.rs"]
mod dice;
#[path = "../histories/suite.rs"]
mod suite;
mod service;
mod history;
mod oracle;
mod speeds;
mod properties;

use crate::history::History;
use crate::oracle::Seen;
use crate::suite::Suite;

/// Of this suite's dice.
const SALT: u64 = 0x2545_f491_4f6c_dd1d;

const SUITE: Suite<Seen> = Suite {
    name: "batching",
    histories: 5_000,
    failed_once: include_str!("seeds.txt"),
    run: |seed, traced| History::new(seed, traced).run(),
};

#[test]
fn every_history_keeps_every_guarantee() {
    let Some(seen) = SUITE.run_fresh() else { return };
    // What does not happen proves nothing.
    for (what, count) in [
        ("confirmed", seen.confirmed),
        ("poisoned", seen.poisoned),
        ("exhausted", seen.exhausted),
        ("timed out", seen.timed_out),
        ("landed after a timeout", seen.landed_late),
        ("landed more than once", seen.repeated),
        ("throttled", seen.throttled),
        ("rejected", seen.rejected),
        ("superseded", seen.superseded),
        ("refused room", seen.full),
        ("hurried", seen.hurried),
    ] {
        assert!(count > 1_000, "{what} only {count} times");
    }
}

#[test]
fn histories_that_failed_once_pass() {
    SUITE.run_past_failures();
}

#[test]
fn a_seed_is_one_history() {
    SUITE.run_again();
}
