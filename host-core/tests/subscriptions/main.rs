//! Histories of one shard that is read by enhanced fan-out: a service with the rules of `SubscribeToShard`, a reader that
//! performs what the core decides, and everything that goes wrong between them; each is made from one number.
//!
//! `cargo test -p host-core --test subscriptions` runs 3,000 of them and those of `seeds.txt`, which failed once.
//! More of them, or one: see [`suite`].

#![expect(clippy::print_stderr, reason = "a suite says how much it ran, a replay says what happens")]

#[path = "../histories/dice.rs"]
mod dice;
#[path = "../histories/suite.rs"]
mod suite;
mod plan;
mod service;
mod reader;
mod oracle;
mod renewals;

use crate::reader::{History, Tally};
use crate::suite::Suite;

/// Of this suite's dice.
const SALT: u64 = 0x2545_f491_4f6c_dd1d;

const SUITE: Suite<Tally> = Suite {
    name: "subscriptions",
    histories: 3_000,
    failed_once: include_str!("seeds.txt"),
    run: |seed, traced| History::new(seed, traced).run(),
};

#[test]
fn every_history_keeps_every_rule_of_a_subscription() {
    if let Some(tally) = SUITE.run_fresh() {
        assert!(tally.is_rich(), "histories in which nothing happens: {tally:?}");
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
