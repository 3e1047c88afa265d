//! Whole pipelines before a service that fails in every way a script can say, while the shards of the source split and
//! merge: some runs of each that are stopped in the middle, and a last one in fair weather. Time is paused.
//!
//! Everything that is drawn follows from a seed; how threads meet does not. `HISTORIES_SEED=7` runs one history,
//! `HISTORIES=5000` that many from `HISTORIES_FIRST` on. A seed that failed once goes into `histories/seeds.txt`.

mod oracle;
mod script;

use std::env;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::sink::queue::Settings;
use host_core::batching::{Options, Order, Quota};
use host_core::patience::RetryLimits;
use host_core::shard::ShardDescription;
use tests::moments::Moments;
use tests::rig::{Outcome, Rig};
use tests::served::Served;
use tokio::time::sleep;

use self::oracle::{Kept, Oracle, Seen};
use self::script::{Script, Weather};

const HISTORIES: u64 = 320;
/// Open shards never get more.
const SHARDS_MAX: usize = 5;
/// The most bytes of an entry: its key and its data.
const RECORD_BYTES: u64 = 40;

/// One history.
struct History {
    moments: Moments,
    rig: Rig,
    served: Served,
    script: Arc<Mutex<Script>>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

fn settings(moments: &mut Moments) -> Settings {
    let max_count = 1 + moments.index(12);
    let max_bytes = RECORD_BYTES + moments.below(400);
    let pause = moments.milliseconds(1..200);
    let options = Options {
        max_count,
        max_bytes,
        max_record_bytes: RECORD_BYTES,
        max_age: moments.milliseconds(0..600),
        max_in_flight: 1 + moments.index(5),
        max_buffered: max_count + moments.index(30),
        // Memory counts there: some 350 bytes for the smallest entry.
        max_buffered_bytes: max_bytes + 500 + moments.below(8_000),
        max_attempts: None,
        max_entry_age: None,
        order: Order::PerKey,
        // Nothing lands after it was given up: the script has it land before that, or never.
        late_after: Duration::ZERO,
        quota: Some(Quota { records_per_second: 1e9, bytes_per_second: 1e12 }),
        retry: RetryLimits { max_attempts: 50, min_delay: pause, max_delay: 3 * pause },
    };
    Settings {
        options,
        request_timeout: moments.milliseconds(300..1_000),
        fail_on_timeout: false,
        fail_on_error: false,
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut moments = Moments::new(seed);
        let mut rig = Rig::new(1 + u32::try_from(moments.below(3)).expect("small"));
        rig.manifest.parallelism = 1 + u32::try_from(moments.below(3)).expect("small");
        rig.manifest.checkpoint.interval = moments.milliseconds(10..500);
        rig.manifest.source.discovery_interval = moments.milliseconds(100..1_000);
        rig.manifest.shutdown_timeout =
            if moments.happens(50) { Duration::from_secs(60) } else { moments.milliseconds(1..500) };
        rig.polling().empty_interval = moments.milliseconds(10..200);
        rig.polling().max_records = 1 + u32::try_from(moments.below(20)).expect("small");
        rig.has_sink = moments.happens(30);
        let served = Served { settings: settings(&mut moments), ..Served::default() };
        rig.services.push(served.clone());
        let weather = Weather::draw(&mut moments, served.settings.request_timeout);
        let script = Arc::new(Mutex::new(Script::new(weather, moments.fork())));
        let asked = Arc::clone(&script);
        served.target.does(move |request| asked.lock().expect("no script panics").reply(request));
        let kept = Arc::<Mutex<Vec<Kept>>>::default();
        let (target, log) = (served.target.clone(), Arc::clone(&kept));
        rig.on_commit = Arc::new(move |commit| {
            let behind = target.log_len();
            let kept = commit.advance.iter().map(|advance| (advance.shard.clone(), advance.to.clone()));
            log.lock().expect("nobody panics with it").extend(kept.map(|(shard, to)| Kept { behind, shard, to }));
        });
        Self { moments, rig, served, script, kept }
    }

    async fn run(mut self) -> Result<Seen, String> {
        let mut oracle = Oracle::new(&self.served);
        for _ in 0..=self.moments.below(2) {
            self.write();
            let run = self.rig.start().await;
            let load = run.totals.sink("service-0");
            for _ in 0..self.moments.below(12) {
                self.write();
                self.reshard();
                sleep(self.moments.milliseconds(0..400)).await;
                oracle.loaded(load.load())?;
            }
            let outcome = run.drained().await;
            oracle.ran(&self.rig, outcome.failure.is_some(), &self.kept())?;
        }
        self.write();
        self.script.lock().expect("no script panics").clears_up();
        let Outcome { failure, .. } = self.rig.catch_up().await;
        if let Some(failure) = failure {
            return Err(format!("the last run failed: {failure}"));
        }
        oracle.ran(&self.rig, false, &self.kept())?;
        oracle.concludes(&self.rig)
    }

    fn kept(&self) -> Vec<Kept> {
        std::mem::take(&mut *self.kept.lock().expect("nobody panics with it"))
    }

    fn write(&mut self) {
        self.rig.write(self.moments.index(20));
    }

    /// Sometimes splits a shard or merges two.
    fn reshard(&mut self) {
        if !self.moments.happens(25) {
            return;
        }
        let mut open: Vec<ShardDescription> = self.rig.stream.shards();
        open.retain(|shard| !shard.closed);
        open.sort_by_key(|shard| shard.range.map(|range| range.start));
        let chosen = self.moments.index(open.len());
        if open.len() > 1 && (open.len() >= SHARDS_MAX || self.moments.happens(50)) {
            let first = chosen.min(open.len() - 2);
            self.rig.stream.merge(&open[first].id, &open[first + 1].id);
        } else {
            self.rig.stream.split(&open[chosen].id);
        }
    }
}

fn run(seed: u64) -> Result<Seen, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async { History::new(seed).run().await })
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn run_all(seeds: impl Iterator<Item = u64>) -> Seen {
    let mut sum = Seen::default();
    for seed in seeds {
        match run(seed) {
            Ok(seen) => sum.add(&seen),
            Err(violation) => panic!("HISTORIES_SEED={seed}: {violation}"),
        }
    }
    sum
}

/// DEL-1, ORD-1, BAT-1, LIM-1, CKP-1.
#[test]
fn whatever_a_service_does_every_record_arrives_in_order_and_within_every_limit() {
    if let Some(seed) = number("HISTORIES_SEED") {
        run_all([seed].into_iter());
        return;
    }
    let (first, count) = (number("HISTORIES_FIRST").unwrap_or(0), number("HISTORIES").unwrap_or(HISTORIES));
    let seen = run_all(first..first + count);
    if count >= HISTORIES {
        // What does not happen proves nothing.
        for (what, count, least) in [
            ("written again within a run", seen.again, 1_000),
            ("given up", seen.dropped, 200),
            ("runs that failed or were left behind", seen.failed, 50),
            ("positions kept", seen.kept, 1_000),
            ("taken twice", seen.twice, 500),
            ("sent before anything went wrong, in time", seen.in_time, 1_000),
            ("a full buffer", seen.full, 50),
        ] {
            assert!(count > least, "{what} only {count} times");
        }
    }
}

#[test]
fn histories_that_failed_once_pass() {
    let lines = include_str!("histories/seeds.txt").lines();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty());
    run_all(lines.map(|line| line.parse().expect("a seed a line")));
}
