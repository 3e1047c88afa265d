//! A killed host comes back: nothing missing, order kept, nothing twice but what was on its way to a sink without marks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use tests::ferro::Ferro;
use tests::ledger::Audit;
use tests::numbers::{FILE, Pipeline, Reader, audit};
use tests::process::{Running, run};

const STREAM: &str = "numbers";
const KEYS: usize = 50;

/// Writes numbered records and remembers what it wrote.
struct Writer {
    ferro: Ferro,
    written: BTreeMap<String, u64>,
    turn: usize,
}

impl Writer {
    /// A writer to a new stream of so many shards, which the pipeline in this folder reads.
    async fn new(folder: &Path, shards: i32) -> Self {
        let ferro = Ferro::start().await;
        ferro.create(STREAM, shards).await;
        let source = Reader::Polling.all_of(STREAM);
        Pipeline { endpoint: &ferro.endpoint, streams: &[STREAM], source: &source }.write(folder);
        Self { ferro, written: BTreeMap::new(), turn: 0 }
    }

    async fn write(&mut self, count: usize) {
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let key = format!("key-{}", self.turn % KEYS);
            self.turn += 1;
            let number = self.written.entry(key.clone()).or_default();
            let mut data = format!("{key} {number} ");
            write!(data, "{:-<200}", "").expect("writing to a string does not fail");
            *number += 1;
            records.push((key, data.into_bytes()));
        }
        for chunk in records.chunks(500) {
            self.ferro.put(STREAM, None, chunk).await;
        }
    }
}

/// A small generator of moments, so that every run of the test kills at the same offsets.
struct Moments(u64);

impl Moments {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// CKP-1, ORD-1, DEL-1: 50 kills at random moments while 20,000 records arrive on 4 shards, one of which splits and two
/// of which merge on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_kills_lose_nothing_and_keep_every_keys_order() {
    const KILLS: usize = 50;
    const RECORDS: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(folder.path(), 4).await;
    let mut moments = Moments(0x5EED_CAFE);
    let (mut stdout, mut read) = (Audit::default(), 0);
    for life in 0..KILLS {
        if life == 15 {
            writer.ferro.split(STREAM, "shardId-000000000000", 1 << 125).await;
        }
        if life == 30 {
            writer.ferro.merge(STREAM, "shardId-000000000001", "shardId-000000000002").await;
        }
        stdout.life(life > 0);
        let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        // Two portions, with the kill somewhere during or after the second one.
        writer.write(RECORDS / KILLS / 2).await;
        // Some kills come before the host even reads, most while it does.
        if moments.below(5) > 0 {
            let before = length(&folder.path().join("stdout"));
            host.wait_for("stdout", |text| text.len() as u64 > before);
        }
        writer.write(RECORDS / KILLS / 2).await;
        std::thread::park_timeout(std::time::Duration::from_millis(moments.below(150)));
        assert!(host.is_running(), "the host ended by itself in life {life}");
        host.kill();
        read = audit_on(&mut stdout, folder.path(), read);
    }
    stdout.life(true);
    run_to_end(folder.path());
    audit_on(&mut stdout, folder.path(), read);
    let file = std::fs::read_to_string(folder.path().join(FILE)).expect("the file sink wrote");
    audit(&file, &writer.written).expect_exact("the file sink");
    let lines = stdout.close(&writer.written);
    lines.expect_complete("stdout");
    report(&format!(
        "{RECORDS} records, {KILLS} kills: 0 missing, 0 out of order; {} repeated on stdout, 0 in the file",
        lines.repeated
    ));
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture: how much a crash repeats is a figure worth seeing")]
fn report(line: &str) {
    println!("{line}");
}

/// Audits what stdout got since it was `read` bytes long, and returns how long it is.
fn audit_on(stdout: &mut Audit, folder: &Path, read: usize) -> usize {
    let bytes = std::fs::read(folder.join("stdout")).expect("the host writes there");
    stdout.text(&String::from_utf8_lossy(&bytes[read..]));
    bytes.len()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Runs until caught up, appending to what is there, and returns all of stdout.
fn run_to_end(folder: &Path) -> String {
    let finished = Running::start(folder, &["run", "--until-caught-up", "pipeline.toml"]).finish().expect_code(0);
    finished.stdout
}

/// CKP-1: SIGTERM delivers what was read and checkpoints it, so the next run repeats nothing, on any sink.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_terminated_host_repeats_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(folder.path(), 4).await;
    for life in 0..5 {
        if life == 2 {
            writer.ferro.split(STREAM, "shardId-000000000000", 1 << 125).await;
        }
        let before = length(&folder.path().join("stdout"));
        let mut host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        writer.write(1_000).await;
        host.wait_for("stdout", |text| text.len() as u64 > before);
        host.terminate();
        let finished = host.finish().expect_code(0);
        finished.expect_stderr("stopped");
    }
    let text = run_to_end(folder.path());
    audit(&text, &writer.written).expect_exact("stdout");
}

/// A second process on the same pipeline is refused with the owner's name, and leaves the first one alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_process_on_the_same_pipeline_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let mut writer = Writer::new(folder.path(), 1).await;
    let mut first = Running::start(folder.path(), &["run", "pipeline.toml"]);
    writer.write(10).await;
    first.wait_for("stdout", |text| text.lines().count() == 10);
    let path = folder.path().join("pipeline.toml");
    let second = run(other.path(), &["run", path.to_str().expect("UTF-8")]).expect_code(1);
    second.expect_stderr("is owned by");
    writer.write(10).await;
    first.wait_for("stdout", |text| text.lines().count() == 20);
    first.terminate();
    drop(first.finish().expect_code(0));
}
