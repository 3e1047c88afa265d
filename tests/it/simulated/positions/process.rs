//! The real binary, its positions in a table.

use std::path::Path;

use tests::process::{Running, run};
use tests::simulated::SimulatedAws;

const STREAM: &str = "words";

fn manifest(aws: &SimulatedAws) -> String {
    let (endpoint, component) = (&aws.endpoint, tests::component("passthrough"));
    let arn = tests::ferro::arn(STREAM);
    let arn = arn.as_str();
    format!(
        "version = 1\nname = \"words\"\n[source]\ntype = \"kinesis\"\nstream_arn = {arn:?}\n\
         initial_position = \"trim-horizon\"\n[source.polling]\nempty_interval = \"20ms\"\n\
         max_calls_per_second = \"unlimited\"\n[deserializer]\ncomponent = {component:?}\n[checkpoint]\n\
         interval = \"100ms\"\nstore = \"dynamodb:words-positions\"\n[[sink]]\ntype = \"file\"\npath = \"out.txt\"\n\
         [aws]\ncredentials = \"basic\"\nendpoint = {endpoint:?}\nretry = {{ min_delay = \"1ms\", max_delay = \"10ms\" }}\n\
         [aws.basic]\naccess_key_id = \"test\"\nsecret_access_key = \"test\"\n"
    )
}

fn lines(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("out.txt")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// CKP-1, CKP-2 on a table: a second copy is refused by name, a killed run is followed at once on its machine, and nothing is
/// lost or written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_is_followed_at_once_and_a_second_copy_is_refused_by_name() {
    let aws = SimulatedAws::start_generous().await;
    aws.kinesis().create(STREAM, 1);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.toml"), manifest(&aws)).expect("a writable folder");
    let put = |text: &str| drop(aws.kinesis().put(STREAM, "key", text));

    put("a");
    let mut first = Running::start(folder.path(), &["run", "p.toml"]);
    first.wait_for("out.txt", |text| text == "a\n");
    let second = run(folder.path(), &["run", "p.toml"]);
    assert_ne!(second.code(), Some(0));
    second.expect_stderr("pipeline default/words is owned by ").expect_stderr(" s); stop that process first");
    let edit = run(folder.path(), &["state", "delete", "--all", "--yes", "p.toml"]).expect_code(1);
    edit.expect_stderr("pipeline default/words is owned by ");
    let listed = run(folder.path(), &["state", "list", "p.toml"]).expect_code(0);
    assert!(listed.stdout.contains(", live "), "{}", listed.stdout);

    first.kill();
    put("b");
    let mut next = Running::start(folder.path(), &["run", "p.toml"]);
    next.wait_for("out.txt", |text| text == "a\nb\n");
    next.terminate();
    drop(next.finish().expect_code(0));

    // Everything that works on a file works on a table.
    let saved = run(folder.path(), &["savepoint", "create", "--output", "s.json", "p.toml"]).expect_code(0);
    assert!(saved.stdout.contains("s.json"), "{}", saved.stdout);
    put("c");
    drop(run(folder.path(), &["run", "--until-caught-up", "p.toml"]).expect_code(0));
    assert_eq!(lines(folder.path()), ["a", "b", "c"]);
    let restored = run(folder.path(), &["savepoint", "restore", "--yes", "s.json", "p.toml"]).expect_code(0);
    assert!(restored.stdout.contains("CHANGE"), "{}", restored.stdout);
    drop(run(folder.path(), &["run", "--until-caught-up", "p.toml"]).expect_code(0));
    assert_eq!(lines(folder.path()), ["a", "b", "c"], "the file went back with its positions");
    drop(run(folder.path(), &["state", "delete", "--all", "--yes", "p.toml"]).expect_code(0));
    drop(run(folder.path(), &["run", "--until-caught-up", "p.toml"]).expect_code(0));
    assert_eq!(lines(folder.path()), ["a", "b", "c", "a", "b", "c"], "it begins anew");
}
