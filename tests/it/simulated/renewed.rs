//! A stream that is deleted and created again while a pipeline of the whole host runs, sandbox and state file included.

use std::path::Path;
use std::time::Duration;

use host::app::{Report, RunSettings, load, run};
use host::component::Engine;
use host::config::Manifest;
use host::pipeline::failure::Failure;
use host::progress::Screen;
use tests::component;
use tests::rig::soon;
use tests::simulated::{Fault, SimulatedAws, Tallies};
use tokio_util::sync::CancellationToken;

const STREAM: &str = "quakes";

fn manifest(aws: &SimulatedAws, folder: &Path, on_gap: &str) -> Manifest {
    let (arn, endpoint, component) = (aws.kinesis().arn(STREAM), &aws.endpoint, component("passthrough"));
    let text = format!(
        r#"
version = 1
name = "renewed"
parallelism = 2
[source]
type = "kinesis"
stream_arn = {arn:?}
initial_position = "latest"
on_gap = {on_gap:?}
[source.polling]
max_calls_per_second = "unlimited"
empty_interval = "20ms"
[deserializer]
component = {component:?}
[deserializer.limits]
cpu_per_batch = "5s"
wall_per_batch = "60s"
[[sink]]
type = "file"
path = "out.txt"
[checkpoint]
interval = "100ms"
[aws]
endpoint = {endpoint:?}
credentials = "basic"
retry = {{ min_delay = "1ms", max_delay = "10ms" }}
[aws.basic]
access_key_id = "test"
secret_access_key = "test"
"#
    );
    Manifest::parse(&text, &folder.join("renewed.toml"), |_| None).expect("the manifest is valid")
}

fn write(aws: &SimulatedAws, name: &str) {
    for number in 0..20 {
        let key = format!("{name}-{}", number % 8);
        aws.kinesis().put(STREAM, &key, format!("{key} {number}"));
    }
}

fn opened(counted: &Tallies, kind: &str) -> usize {
    counted.requests("GetShardIterator").iter().filter(|asked| asked.input["ShardIteratorType"] == kind).count()
}

/// Runs over a stream that is created anew in the middle; returns how the run ended and what the sink holds.
async fn renewed(on_gap: &str) -> (Report, String) {
    let aws = SimulatedAws::start_generous().await;
    aws.kinesis().create(STREAM, 2);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.txt");
    let engine = Engine::new().expect("this machine runs components");
    let ready = load::load(manifest(&aws, folder.path(), on_gap), &engine).expect("the component fits");
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(ready, RunSettings::default(), Screen::lines(), stop.clone()));
    aws.until("both shards to be read", |counted| opened(counted, "AT_TIMESTAMP") == 2).await;
    write(&aws, "old");
    until_written(&aws, &out, 20).await;
    let hung = aws.faults().on_any().inject(Fault::Hang);
    aws.until_hung(2).await;
    aws.kinesis().delete(STREAM);
    aws.clock().advance(Duration::from_secs(10));
    aws.kinesis().create(STREAM, 2);
    write(&aws, "new");
    aws.faults().lift(hung);
    if on_gap == "continue" {
        aws.until("the new stream to be read", |counted| opened(counted, "TRIM_HORIZON") == 2).await;
        until_written(&aws, &out, 40).await;
        stop.cancel();
    }
    let report = soon("the end of the run", running).await.expect("the run does not panic");
    (report, std::fs::read_to_string(&out).expect("the sink's file"))
}

/// Waits until the sink holds that many lines; looks again whenever the stream was read.
async fn until_written(aws: &SimulatedAws, out: &Path, lines: usize) {
    let written = || std::fs::read_to_string(out).is_ok_and(|text| text.lines().count() >= lines);
    let wait = async {
        while !written() {
            aws.until_called_again("GetRecords", 2).await;
        }
    };
    soon("lines in the sink", wait).await;
}

fn count(text: &str, word: &str) -> usize {
    text.lines().filter(|line| line.starts_with(word)).count()
}

/// GAP-1: the run goes on by itself with the oldest record of the new stream, whatever the initial position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_stream_is_read_on_where_gaps_are_passed_over() {
    let (report, text) = renewed("continue").await;
    assert!(report.failure.is_none(), "{:?}", report.failure.map(|failure| failure.to_string()));
    assert_eq!((count(&text, "old"), count(&text, "new")), (20, 20), "{text}");
    assert!(report.summary.contains("gaps passed over: 1"), "{}", report.summary);
}

/// GAP-1: nothing of the new stream is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_stream_ends_the_run_where_gaps_are_not_passed_over() {
    let (report, text) = renewed("fail").await;
    let failure = report.failure.expect("the stream is another one");
    assert!(matches!(failure, Failure::Recreated { .. }), "{failure}");
    assert_eq!((failure.exit_code(), count(&text, "old"), count(&text, "new")), (1, 20, 0), "{text}");
}
