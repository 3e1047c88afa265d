//! Enhanced fan-out as with AWS itself: over TLS, where the SDK speaks HTTP/2.

use std::path::Path;

use tests::ledger::Ledger;
use tests::numbers::{FILE, Pipeline, audit, record};
use tests::process::Running;
use tests::simulated::SimulatedAws;
use tests::tls::{Front, authority};

const STREAM: &str = "quakes";
const SHARDS: usize = 40;
const KEYS: u64 = 100;

fn write(aws: &SimulatedAws, rounds: std::ops::Range<u64>) {
    for round in rounds {
        for key in 0..KEYS {
            let (key, data) = record(key, round);
            aws.kinesis().put(STREAM, &key, data);
        }
    }
}

fn written(rounds: u64) -> tests::ledger::Written {
    (0..KEYS).map(|key| (record(key, 0).0, rounds)).collect()
}

fn ledger(folder: &Path, rounds: u64) -> Ledger {
    audit(&std::fs::read_to_string(folder.join(FILE)).unwrap_or_default(), &written(rounds))
}

/// Several share a connection; how many there are is chance, since those that are asked for before the first one stands open
/// others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_subscriptions_are_streams_of_http2_and_a_stop_leaves_none_open() {
    let aws = SimulatedAws::start_generous().await;
    aws.kinesis().create(STREAM, u32::try_from(SHARDS).expect("a few"));
    let front = Front::start(&aws.endpoint).await;
    let folder = tempfile::tempdir().expect("a folder");
    let source = "initial_position = \"trim-horizon\"\nreader = \"efo\"\nefo = { consumer_name = \"secure\" }";
    Pipeline { endpoint: &front.endpoint, streams: &[STREAM], source }.write(folder.path());
    write(&aws, 0..20);
    let authority = authority();
    let mut host = Running::start_with(folder.path(), &["run", "pipeline.toml"], &[("AWS_CA_BUNDLE", &authority)]);
    aws.until_subscribed(SHARDS).await;
    let subscribed = aws.counted(|counted| counted.subscribed());
    assert_eq!((subscribed.over_http2, subscribed.over_http1), (SHARDS, 0));
    write(&aws, 20..50);
    let lines = usize::try_from(50 * KEYS).expect("a few");
    tokio::task::block_in_place(|| host.wait_for(FILE, |text| text.lines().count() >= lines));
    host.terminate();
    let stopped = tokio::task::block_in_place(|| host.finish()).expect_code(0);
    stopped.expect_stderr("subscriptions: 40");
    ledger(folder.path(), 50).expect_exact(FILE);
    aws.until("every stream to be over", |counted| counted.http2_streams == 0 && counted.connections == 0).await;
    assert!(aws.kinesis().consumers(STREAM).is_empty());
}
