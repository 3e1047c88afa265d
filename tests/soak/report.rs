//! What is counted while it happens, and what is said in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tests::ledger::Ledger;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::faults::{Injected, Kind};
use crate::services::Served;

/// Counts that tasks share.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) disordered: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) stops: AtomicU64,
    /// Stops after which something that was read was not delivered.
    pub(crate) unfinished: AtomicU64,
    /// Lives that read by enhanced fan-out.
    pub(crate) pushed: AtomicU64,
    pub(crate) reshards: AtomicU64,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The file, and stdout.
    pub(crate) local: Option<(Ledger, Ledger)>,
    pub(crate) served: Option<Served>,
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    /// Stops after which something that was read was not delivered.
    pub(crate) unfinished: u64,
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
        let local = self.local.as_ref().is_none_or(|(file, stdout)| {
            file.is_complete_and_ordered() && file.repeated == 0 && stdout.is_complete_and_ordered()
        });
        local && self.served.as_ref().is_none_or(Served::is_good) && self.surprises.is_empty()
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
    let mut columns: Vec<(&str, &Ledger)> = Vec::new();
    if let Some((file, stdout)) = &outcome.local {
        columns.extend([("file", file), ("stdout", stdout)]);
    }
    if let Some(served) = &outcome.served {
        columns.extend([("stream", &served.target), ("latest", &served.latest), ("all", &served.all)]);
    }
    let row = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        println!("{name:<28}{cells}");
    };
    let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    row(&format!("{minutes} minutes, seed {seed}"), names);
    let rows: [(&str, Counted); 5] = [
        ("written", |ledger| ledger.written),
        ("delivered", |ledger| ledger.delivered),
        ("repeated", |ledger| ledger.repeated),
        ("missing", |ledger| ledger.missing),
        ("out of order", |ledger| ledger.disordered),
    ];
    for (name, count) in rows {
        row(name, columns.iter().map(|(_, ledger)| count(ledger).to_string()).collect());
    }
    let Outcome { kills, stops, unfinished, pushed, subscriptions, reshards, gaps, faults, surprises, .. } = outcome;
    let went_back = outcome.served.as_ref().map_or(0, |served| served.went_back);
    let rows = [
        ("kills", kills),
        ("stops", stops),
        ("stops that left something", unfinished),
        ("lives by fan-out", pushed),
        ("subscriptions", subscriptions),
        ("reshards", reshards),
        ("gaps reported", gaps),
        ("older items for a while", &went_back),
    ];
    for (name, count) in rows {
        row(name, vec![count.to_string()]);
    }
    for (kind, count) in faults {
        row(&format!("faults: {}", kind.shown()), vec![count.to_string()]);
    }
    for example in columns.iter().flat_map(|(_, ledger)| &ledger.examples).chain(surprises) {
        println!("{example}");
    }
}

/// A number of a ledger.
type Counted = fn(&Ledger) -> u64;
