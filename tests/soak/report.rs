//! What is counted while it happens, and what is said in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tests::ledger::Ledger;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::faults::{Injected, Kind};

/// Counts that tasks share.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) disordered: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) stops: AtomicU64,
    /// Lives that read by enhanced fan-out.
    pub(crate) pushed: AtomicU64,
    pub(crate) reshards: AtomicU64,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) file: Ledger,
    pub(crate) stdout: Ledger,
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    /// Lives that read by enhanced fan-out.
    pub(crate) pushed: u64,
    /// `SubscribeToShard`, granted.
    pub(crate) subscriptions: u64,
    pub(crate) reshards: u64,
    pub(crate) gaps: u64,
    pub(crate) faults: Vec<(Kind, u64)>,
    /// What should not have happened, in words.
    pub(crate) surprises: Vec<String>,
}

impl Outcome {
    /// Nothing is missing, out of order, or twice in the file.
    pub(crate) fn is_good(&self) -> bool {
        self.file.is_complete_and_ordered()
            && self.file.repeated == 0
            && self.stdout.is_complete_and_ordered()
            && self.surprises.is_empty()
    }
}

#[expect(clippy::print_stderr, reason = "a soak talks to the person who watches it")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A line now and then.
pub(crate) async fn progress(counts: Arc<Counts>, injected: Arc<Injected>, every: Duration) {
    let started = Instant::now();
    let mut due = interval_at(tokio::time::Instant::now() + every, every);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let [written, delivered, repeated, disordered, kills, stops, reshards] = [
            &counts.written,
            &counts.delivered,
            &counts.repeated,
            &counts.disordered,
            &counts.kills,
            &counts.stops,
            &counts.reshards,
        ]
        .map(|count| count.load(Relaxed));
        let faults: u64 = injected.counted().iter().map(|(_, count)| count).sum();
        say(&format!(
            "{:>5} s  written {written}  delivered {delivered}  repeated after a crash {repeated}  out of order \
             {disordered}  kills {kills}  stops {stops}  reshards {reshards}  faults {faults}",
            started.elapsed().as_secs()
        ));
    }
}

/// The ledger.
#[expect(clippy::print_stdout, reason = "the ledger is what the soak is for")]
pub(crate) fn table(outcome: &Outcome, seed: u64, minutes: u64) {
    let Outcome { file, stdout, kills, stops, pushed, subscriptions, reshards, gaps, faults, surprises } = outcome;
    println!("{:<28}{:>12}{:>12}", format!("{minutes} minutes, seed {seed}"), "file", "stdout");
    let rows = [
        ("written", file.written, stdout.written),
        ("delivered", file.delivered, stdout.delivered),
        ("duplicated after a crash", file.repeated, stdout.repeated),
        ("missing", file.missing, stdout.missing),
        ("out of order", file.disordered, stdout.disordered),
    ];
    for (name, in_file, on_stdout) in rows {
        println!("{name:<28}{in_file:>12}{on_stdout:>12}");
    }
    let rows = [
        ("kills", kills),
        ("stops", stops),
        ("lives by fan-out", pushed),
        ("subscriptions", subscriptions),
        ("reshards", reshards),
        ("gaps reported", gaps),
    ];
    for (name, count) in rows {
        println!("{name:<28}{count:>12}");
    }
    for (kind, count) in faults {
        println!("{:<28}{count:>12}", format!("faults: {}", kind.shown()));
    }
    for example in file.examples.iter().chain(&stdout.examples).chain(surprises) {
        println!("{example}");
    }
}
