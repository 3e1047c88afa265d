//! Runs the histories of a test: fresh ones by their number, and those that failed once.
//!
//! `SIM_HISTORIES=1000000` runs a million fresh ones (from `SIM_FIRST`, default 0); `SIM_SEED=7` replays one and tells what
//! happens.

use std::env;
use std::fmt::Debug;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The histories of one test. Each is made from its seed and keeps every rule, or says which one it broke.
pub(crate) struct Suite<T> {
    /// The test, as cargo names it.
    pub(crate) name: &'static str,
    /// How many fresh ones are run unless another number is asked for.
    pub(crate) histories: u64,
    /// A seed a line, with the reason why it failed once behind a `#`.
    pub(crate) failed_once: &'static str,
    /// Runs the history of a seed, telling what happens if the second is true, and counts what happened.
    pub(crate) run: fn(u64, bool) -> Result<T, String>,
}

impl<T: AddAssign + Debug + Default + PartialEq> Suite<T> {
    /// Runs fresh ones. Returns what happened in them, unless fewer were asked for than are run by default.
    pub(crate) fn run_fresh(&self) -> Option<T> {
        if let Some(seed) = number("SIM_SEED") {
            self.run_all([seed]);
            return None;
        }
        let first = number("SIM_FIRST").unwrap_or(0);
        let histories = number("SIM_HISTORIES").unwrap_or(self.histories);
        let sum = self.run_all(first..first.saturating_add(histories));
        (histories >= self.histories).then_some(sum)
    }

    /// Runs those that failed once.
    pub(crate) fn run_past_failures(&self) {
        let lines = self.failed_once.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let seeds = lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("seeds.txt: a seed a line"));
        self.run_all(seeds);
    }

    /// Runs a few of them twice.
    pub(crate) fn run_again(&self) {
        for seed in 0..20 {
            assert_eq!(self.run_one(seed), self.run_one(seed));
        }
    }

    /// Runs them all and stops at the first that fails.
    fn run_all(&self, seeds: impl IntoIterator<Item = u64>) -> T {
        let mut sum = T::default();
        let mut histories = 0_u64;
        for seed in seeds {
            histories += 1;
            match self.run_one(seed) {
                Ok(seen) => sum += seen,
                Err(violation) => panic!(
                    "seed {seed}: {violation}\nreplay: SIM_SEED={seed} cargo test -p host-core --test {} -- --nocapture",
                    self.name
                ),
            }
        }
        eprintln!("{histories} histories: {sum:?}");
        sum
    }

    fn run_one(&self, seed: u64) -> Result<T, String> {
        let traced = number("SIM_SEED").is_some();
        catch_unwind(AssertUnwindSafe(|| (self.run)(seed, traced)))
            .unwrap_or_else(|_| Err("the core panics, or does not come to an end".into()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is no part of the core: how much it runs is asked for outside"
)]
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}
