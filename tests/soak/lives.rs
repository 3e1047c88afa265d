//! The host: started, killed, stopped, started again; and what it wrote to stdout, read along.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tests::ledger::{Audit, Written};
use tests::moments::Moments;
use tests::numbers::{FILE, Pipeline};
use tests::process::Running;
use tests::simulated::SimulatedAws;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::Reader;
use crate::load::{self, STREAMS};
use crate::report::{Counts, Outcome};
use crate::services::{self, Served, Sinks};

/// How often stdout is read along.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// After so many ends that nobody asked for, no more are looked for.
const SURPRISES_MAX: usize = 5;
/// The last life may be this long without a new record before what is missing counts as missing.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest life, in milliseconds.
const LONGEST: u64 = 12_000;
/// The same where services are written to: a request without an answer holds its keys up for as long as the service may
/// still carry it out, 13 s, and all positions with them; who never lives that long gets nowhere.
const LONGEST_SERVED: u64 = 30_000;

/// What a manifest says of a source that is polled.
const POLLED: &str = "initial_position = \"trim-horizon\"";
/// And of one that pushes. The wait for a subscription is short, so that calls without an answer outlast it.
const PUSHED: &str = "initial_position = \"trim-horizon\"\nreader = \"efo\"\n\
     efo = { consumer_name = \"soak\", subscription_timeout = \"5s\" }";

/// The host's lives, one after the other, in one folder.
pub(crate) struct Lives {
    folder: PathBuf,
    aws: Arc<SimulatedAws>,
    reader: Reader,
    sinks: Sinks,
    longest: u64,
    moments: Moments,
    counts: Arc<Counts>,
    stdout: Audit,
    /// How much of stdout was audited.
    read: u64,
    after_a_crash: bool,
    /// What should not have happened, in words.
    surprises: Vec<String>,
}

impl Lives {
    pub(crate) fn new(
        folder: &Path,
        aws: Arc<SimulatedAws>,
        (reader, sinks): (Reader, Sinks),
        moments: Moments,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            folder: folder.to_path_buf(),
            aws,
            reader,
            sinks,
            longest: if sinks.are_services() { LONGEST_SERVED } else { LONGEST },
            moments,
            counts,
            stdout: Audit::default(),
            read: 0,
            after_a_crash: false,
            surprises: Vec::new(),
        }
    }

    /// Life after life until the end comes. Most end by a kill, some by SIGTERM.
    pub(crate) async fn live_until(&mut self, end: Instant) {
        while Instant::now() < end && self.surprises.len() < SURPRISES_MAX {
            let length = if self.moments.happens(20) {
                // Not even started, mostly.
                self.moments.milliseconds(0..250)
            } else {
                self.moments.milliseconds(250..self.longest)
            };
            let is_killed = self.moments.happens(70);
            let pushes = match self.reader {
                Reader::Polling => false,
                Reader::Efo => true,
                Reader::Mixed => self.moments.happens(50),
            };
            let mut host = self.born(pushes);
            let until = end.min(Instant::now() + length);
            while Instant::now() < until && host.is_running() {
                sleep(LOOK_INTERVAL.min(until.saturating_duration_since(Instant::now()))).await;
                self.look();
            }
            self.end(host, is_killed);
        }
    }

    /// The last life: until everything is there, or nothing more comes. If consumers were registered, it has one, too, and
    /// leaves none behind.
    pub(crate) async fn drain(mut self, written: Written) -> Outcome {
        let count: u64 = written.values().sum();
        let mut host = self.born(self.reader != Reader::Polling);
        let (mut delivered, mut since) = (self.delivered(&written), Instant::now());
        while delivered < count && since.elapsed() < PATIENCE && host.is_running() {
            sleep(LOOK_INTERVAL).await;
            self.look();
            let now = self.delivered(&written);
            if now != delivered {
                (delivered, since) = (now, Instant::now());
            }
        }
        self.end(host, false);
        for stream in STREAMS {
            let left = self.aws.kinesis().consumers(stream);
            if !left.is_empty() {
                self.surprises.push(format!("consumers of {stream} are left behind: {left:?}"));
            }
        }
        let local = self.sinks.are_local().then(|| {
            let text = std::fs::read_to_string(self.folder.join(FILE)).unwrap_or_default();
            let mut file = Audit::default();
            file.life(false);
            read(&mut file, &text);
            (file.close(&written), self.stdout.close(&written))
        });
        let log = std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
        Outcome {
            local,
            served: self.sinks.are_services().then(|| Served::read(&self.aws, &written)),
            kills: self.counts.kills.load(Relaxed),
            stops: self.counts.stops.load(Relaxed),
            unfinished: self.counts.unfinished.load(Relaxed),
            pushed: self.counts.pushed.load(Relaxed),
            subscriptions: self.aws.counted(|counted| counted.subscribed().opened),
            reshards: self.counts.reshards.load(Relaxed),
            gaps: log.lines().filter(|line| line.contains("gap: ")).count() as u64,
            faults: Vec::new(),
            surprises: self.surprises,
        }
    }

    /// Different records that every sink has.
    fn delivered(&self, written: &Written) -> u64 {
        let local = self.sinks.are_local().then(|| self.stdout.delivered());
        let served = self.sinks.are_services().then(|| services::delivered(&self.aws, written));
        local.into_iter().chain(served).min().unwrap_or_default()
    }

    fn born(&mut self, pushes: bool) -> Running {
        let source = if pushes { PUSHED } else { POLLED };
        let sinks = self.sinks.manifest(&self.aws);
        Pipeline { endpoint: &self.aws.endpoint, streams: &STREAMS, source }.write_with(&sinks, &self.folder);
        self.counts.pushed.fetch_add(u64::from(pushes), Relaxed);
        self.stdout.life(self.after_a_crash);
        Running::start(&self.folder, &["run", "pipeline.toml"])
    }

    fn end(&mut self, mut host: Running, is_killed: bool) {
        if !host.is_running() {
            let finished = block_in_place(|| host.finish());
            let last = last_lines(&finished.stderr);
            self.surprises.push(format!("the host ended by itself, {}:\n{last}", finished.status));
        } else if is_killed {
            host.kill();
            self.counts.kills.fetch_add(1, Relaxed);
        } else {
            host.terminate();
            let finished = block_in_place(|| host.finish());
            self.counts.stops.fetch_add(1, Relaxed);
            // Services that fail may outlast a drain; what they did not confirm then comes again, as after a crash.
            let is_unfinished = finished.code() == Some(1)
                && self.sinks.are_services()
                && last_lines(&finished.stderr).contains("not delivered within shutdown_timeout");
            self.counts.unfinished.fetch_add(u64::from(is_unfinished), Relaxed);
            // Signalled before it listens for signals, it ends as any process does.
            if finished.code().is_some_and(|code| code != 0) && !is_unfinished {
                let last = last_lines(&finished.stderr);
                self.surprises.push(format!("the host was stopped and ended with {}:\n{last}", finished.status));
            }
            self.after_a_crash = finished.code().is_none() || is_unfinished;
            self.close_life();
            return;
        }
        self.after_a_crash = true;
        self.close_life();
    }

    /// Audits what came since the last look, whole lines only.
    fn look(&mut self) {
        let Ok(mut stdout) = File::open(self.folder.join("stdout")) else { return };
        let mut fresh = Vec::new();
        let done = stdout.seek(SeekFrom::Start(self.read)).and_then(|_| stdout.read_to_end(&mut fresh));
        done.expect("a file of the soak's own can be read");
        let whole = fresh.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        read(&mut self.stdout, &String::from_utf8_lossy(&fresh[..whole]));
        self.read += whole as u64;
        self.counts.delivered.store(self.stdout.delivered(), Relaxed);
        self.counts.repeated.store(self.stdout.repeated(), Relaxed);
        self.counts.disordered.store(self.stdout.disordered(), Relaxed);
    }

    /// What a kill cut off belongs to no life.
    fn close_life(&mut self) {
        self.look();
        self.read = std::fs::metadata(self.folder.join("stdout")).map_or(self.read, |stdout| stdout.len());
    }
}

/// Audits whole lines, each a record as it was written.
fn read(audit: &mut Audit, text: &str) {
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        match load::number(line.as_bytes()) {
            Some((key, number)) => audit.came(&key, number),
            // Complains.
            None => audit.text(line),
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
