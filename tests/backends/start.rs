//! Where a first run begins, on a stream whose shards have changed.

use std::time::{SystemTime, UNIX_EPOCH};

use host::ports::StreamApi as _;
use tempfile::TempDir;
use tests::deviations::{Difference, is_listed};
use tests::ledger::Written;
use tests::numbers::{FILE, Numbers, Pipeline, audit};
use tests::process::Running;
use tests::remote::{Provider, stream_name};

use crate::on_every_backend;

const KEYS: u64 = 20;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// No event tells that a second has passed, and services stamp records by their own clock, some in whole seconds.
async fn in_another_second() -> u64 {
    let begun = now();
    while now() == begun {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    now()
}

/// A run that begins somewhere, in a folder of its own.
struct Begun {
    folder: TempDir,
    host: Running,
}

impl Begun {
    fn start(pipeline: Pipeline<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        pipeline.write(folder.path());
        let host = Running::start(folder.path(), &["run", "pipeline.toml"]);
        Self { folder, host }
    }

    /// Waits until it has what was written from round `from` on, and nothing else.
    fn expect(mut self, what: &str, written: &Written, from: u64) {
        let count: u64 = written.values().map(|rounds| rounds - from).sum();
        self.host.wait_for(FILE, |text| text.lines().count() as u64 >= count);
        self.host.terminate();
        drop(self.host.finish().expect_code(0));
        let text = std::fs::read_to_string(self.folder.path().join(FILE)).expect("the file sink wrote");
        // Counted from where this run begins, so that what is older is not a number at all.
        let renumbered: String = text.lines().map(|line| renumber(line, from) + "\n").collect();
        let written = written.iter().map(|(key, rounds)| (key.clone(), rounds - from)).collect();
        audit(&renumbered, &written).expect_exact(what);
    }
}

fn renumber(line: &str, from: u64) -> String {
    let mut words = line.split(' ');
    let (key, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let number: i128 = number.parse().unwrap_or(-1);
    format!("{key} {}", number - i128::from(from))
}

/// POS-1: all of it, what arrived since a moment, or what arrives from now on; across a split before and after, where a
/// split leaves the records alone.
async fn a_first_run_begins_where_the_manifest_says<P: Provider>() {
    let (service, _held) = P::serve().await;
    let stream = stream_name("start");
    service.create(&stream, 1).await;
    let mut numbers = Numbers::new(&service, &stream, KEYS);
    let streams = [stream.as_str()];
    let pipeline = |source| Pipeline { endpoint: &service.endpoint, streams: &streams, source };
    let first = service.stream(&stream).await.list_shards(None).await.expect("a listing").remove(0);
    numbers.round().await;
    let moment = in_another_second().await;
    numbers.round().await;
    if !is_listed(P::NAME, Difference::ForgetsParents) {
        service.halve(&stream, &first).await;
    }
    numbers.round().await;
    // Two seconds: some stamp what arrives in a new shard up to one ahead.
    in_another_second().await;
    in_another_second().await;
    let latest = (!is_listed(P::NAME, Difference::HangsPastTheLastRecord)).then(|| {
        let mut latest = Begun::start(pipeline("initial_position = \"latest\""));
        latest.host.wait_for("stderr", |text| text.contains("reading"));
        latest
    });
    numbers.round().await;
    let since = format!("initial_position = \"at-timestamp\"\ninitial_timestamp = {moment}");
    let since = Begun::start(pipeline(&since));
    let all = Begun::start(pipeline("initial_position = \"trim-horizon\""));
    numbers.round().await;
    let written = numbers.written();
    all.expect("trim-horizon", &written, 0);
    since.expect("at-timestamp", &written, 1);
    if let Some(latest) = latest {
        latest.expect("latest", &written, 3);
    }
}

on_every_backend! { a_first_run_begins_where_the_manifest_says }
