//! Histories of a stream, a host and a store, with everything that goes wrong between them; each is made from one number.
//!
//! `cargo test -p host-core --test sim` runs 2,000 of them and those of `seeds.txt`, which failed once.
//! More of them, or one: see [`suite`].

#![expect(clippy::print_stderr, reason = "a suite says how much it ran, a replay says what happens")]

#[path = "../histories/dice.rs"]
mod dice;
#[path = "../histories/suite.rs"]
mod suite;
mod faults;
mod world;
mod readers;
mod shell;
mod oracle;
mod subtasks;
mod served;
mod times;
mod retention;

use crate::shell::History;
use crate::suite::Suite;

/// Of this suite's dice.
const SALT: u64 = 0x5851_f42d_4c95_7f2d;

/// Counts events.
const SUITE: Suite<u64> = Suite {
    name: "sim",
    histories: 2_000,
    failed_once: include_str!("seeds.txt"),
    run: |seed, traced| History::new(seed, traced).run(),
};

#[test]
fn every_history_keeps_every_guarantee() {
    SUITE.run_fresh();
}

#[test]
fn histories_that_failed_once_pass() {
    SUITE.run_past_failures();
}

#[test]
fn a_seed_is_one_history() {
    SUITE.run_again();
}
