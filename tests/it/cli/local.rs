//! The embedded endpoint, inside a run and on its own.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use host::aws::AwsSettings;
use tempfile::TempDir;
use tests::process::{Finished, Running, run};

use super::{Pipeline, TO_FILE, TO_STDOUT};

const UNUSED: &str = "http://127.0.0.1:9";
const TO_END: [&str; 4] = ["run", "--local", "--until-caught-up", "p.toml"];
const WORDS: &str = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n";

fn folder(local: &'static str, sinks: &'static str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pipeline = Pipeline::new(UNUSED, "passthrough");
    (pipeline.more, pipeline.sinks) = (local, sinks);
    std::fs::write(folder.path().join("p.toml"), pipeline.text()).expect("a writable folder");
    std::fs::write(folder.path().join("words.ndjson"), WORDS).expect("a writable folder");
    folder
}

const SEEDED: &str =
    "[local]\nstreams = [{ name = \"words\", shards = 1, seed = \"words.ndjson\", partition_key = \"/id\" }]";
const IN_MEMORY: &str = "[local]\ndurable = false\nstreams = [{ name = \"words\", shards = 1, seed = \"words.ndjson\", partition_key = \"/id\" }]";

fn command(folder: &TempDir, arguments: &[&str]) -> Finished {
    run(folder.path(), arguments)
}

#[test]
fn a_second_local_run_has_nothing_left_to_print() {
    let folder = folder(SEEDED, TO_STDOUT);
    assert_eq!(command(&folder, &TO_END).expect_code(0).stdout, WORDS);
    let second = command(&folder, &TO_END).expect_code(0);
    second.expect_stderr("0 records in");
    assert_eq!(second.stdout, "");
    // The positions lie with the streams, and `state` finds them there.
    let listed = command(&folder, &["state", "list", "--local", "p.toml"]).expect_code(0);
    assert!(listed.stdout.contains(super::SHARD), "{}", listed.stdout);
}

/// The embedded endpoint serves enhanced fan-out as well; every run registers a consumer and leaves none behind.
#[test]
fn a_local_run_by_fan_out_prints_the_same_and_a_second_one_has_nothing_left() {
    let folder = folder(SEEDED, TO_STDOUT);
    let manifest = folder.path().join("p.toml");
    let polled = std::fs::read_to_string(&manifest).expect("written right above");
    let table = "[source.polling]\n";
    let pushed = polled.replace(table, &format!("reader = \"efo\"\nefo = {{ consumer_name = \"words\" }}\n{table}"));
    std::fs::write(&manifest, pushed).expect("a writable folder");
    for printed in [WORDS, ""] {
        let ended = command(&folder, &TO_END).expect_code(0);
        ended.expect_stderr("reading by enhanced fan-out").expect_stderr("consumer \"words\" is deregistered");
        assert_eq!(ended.stdout, printed);
    }
    // Back to polling, on the same positions.
    std::fs::write(&manifest, polled).expect("a writable folder");
    assert_eq!(command(&folder, &TO_END).expect_code(0).stdout, "");
}

#[test]
fn a_local_run_that_keeps_nothing_starts_anew_each_time() {
    let folder = folder(IN_MEMORY, TO_FILE);
    drop(command(&folder, &TO_END).expect_code(0));
    drop(command(&folder, &TO_END).expect_code(0));
    let out = std::fs::read_to_string(folder.path().join("out.txt")).expect("the sink wrote it");
    assert_eq!(out, format!("{WORDS}{WORDS}"), "what an earlier run wrote belongs to no position and stays");
    assert!(!folder.path().join(".sluicebox/local").exists());
}

const INTO_SERVICES: &str = "\
[[sink]]
type = \"kinesis\"
stream_arn = \"arn:aws:kinesis:us-east-1:000000000000:stream/copies\"
[sink.converter]
builtin = \"passthrough\"
[[sink]]
type = \"dynamodb\"
table = \"words\"
[sink.converter]
builtin = \"json-to-item\"";
const WITH_TARGETS: &str = "\
[local]
streams = [
    { name = \"words\", shards = 1, seed = \"words.ndjson\", partition_key = \"/id\" },
    { name = \"copies\", shards = 2 },
]
tables = [{ name = \"words\", partition_key = \"id:N\" }]";

#[test]
fn a_local_run_tells_what_its_sinks_wrote_and_what_the_embedded_targets_hold() {
    let folder = folder(WITH_TARGETS, INTO_SERVICES);
    for written in [3, 0] {
        let ended = command(&folder, &TO_END).expect_code(0);
        for sink in ["kinesis", "dynamodb"] {
            ended.expect_stderr(&format!("sink {sink:?}: {written} entries written"));
        }
        ended.expect_stderr("embedded stream copies: 3 records").expect_stderr("embedded table words: 3 items");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_local_stream_that_is_not_listed_is_missed_by_name() {
    let folder = folder("[local]\nstreams = [{ name = \"other\" }]", TO_STDOUT);
    let failed = command(&folder, &TO_END).expect_code(1);
    failed.expect_stderr("stream \"words\" does not exist").expect_stderr("`streams` in [local]");
    assert_eq!(failed.stdout, "");
}

/// What follows a word on a line of the summary.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("no {word} in {text}")).trim()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_on_its_own_serves_any_client_until_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut local =
        Running::start(folder.path(), &["local", "--port", "0", "--stream", "a:2", "--table", "days=id,day:N"]);
    local.wait_for("stdout", |text| text.contains("AWS_REGION"));
    let said = std::fs::read_to_string(folder.path().join("stdout")).expect("its stdout");
    assert_eq!(after(&said, "stream"), "a: 2 open shards, 0 records");
    assert_eq!(after(&said, "table"), "days: 0 items");
    let client = AwsSettings::local("us-east-1", after(&said, "endpoint")).kinesis().await;
    client.create_stream().stream_name("b").shard_count(1).send().await.expect("created");
    let put = client.put_record().stream_name("b").partition_key("k").data(Blob::new("x")).send().await.expect("put");
    let opened = client.get_shard_iterator().stream_name("b").shard_id(put.shard_id);
    let opened = opened.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("opened");
    let page = client.get_records().set_shard_iterator(opened.shard_iterator).send().await.expect("read");
    assert_eq!(page.records.len(), 1);
    local.terminate();
    assert_eq!(local.finish().expect_code(0).stderr, "");
}

#[test]
fn streams_that_another_process_serves_are_refused_with_its_process_id() {
    let folder = folder(SEEDED, TO_STDOUT);
    let mut local = Running::start(folder.path(), &["local", "--port", "0", "p.toml"]);
    local.wait_for("stdout", |text| text.contains("words: 1 open shards, 3 records"));
    let (elsewhere, manifest) = (tempfile::tempdir().expect("a folder"), folder.path().join("p.toml"));
    let manifest = manifest.to_str().expect("UTF-8");
    for arguments in [&["run", "--local", manifest][..], &["local", "--port", "0", manifest]] {
        let refused = command(&elsewhere, arguments).expect_code(1);
        refused.expect_stderr(&format!("is served by process {}", local.id()));
        assert_eq!(refused.stdout, "");
    }
    local.terminate();
    drop(local.finish().expect_code(0));
    drop(command(&folder, &TO_END).expect_code(0));
}

#[test]
fn wrong_arguments_of_local_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    command(&folder, &["local", "--seed", "a=words.ndjson:/id"]).expect_code(2).expect_stderr("add --stream a");
    let missing = ["local", "--port", "0", "--stream", "a", "--seed", "a=nowhere.ndjson:/id"];
    command(&folder, &missing).expect_code(1).expect_stderr("nowhere.ndjson");
}
