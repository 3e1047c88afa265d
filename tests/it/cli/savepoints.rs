//! Savepoints by command, of pipelines that run, have run, and run again.

use std::path::PathBuf;

use serde_json::Value as Json;
use tests::process::{Finished, run};

use super::{Pipeline, SHARD, Scene, TO_END, TO_FILE};

/// Elements go to `out.txt`, which goes back with the positions, and to stdout, which does not.
const TO_BOTH: &str =
    "[[sink]]\nname = \"file\"\ntype = \"file\"\npath = \"out.txt\"\n[[sink]]\nname = \"lines\"\ntype = \"stdout\"";

fn create(scene: &Scene, more: &[&str]) -> String {
    let arguments: Vec<&str> = ["savepoint", "create"].iter().chain(more).copied().chain(["p.toml"]).collect();
    scene.run(&arguments).expect_code(0).stdout.trim_end().to_owned()
}

/// A command in another folder, beside a process that runs in the scene's.
fn beside(scene: &Scene, arguments: &[&str]) -> Finished {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = arguments.iter().map(|argument| scene.folder.path().join(argument)).collect();
    let absolute = |(argument, path): (&&str, &PathBuf)| match argument.contains('.') {
        true => path.to_str().expect("UTF-8").to_owned(),
        false => (*argument).to_owned(),
    };
    let absolute: Vec<String> = arguments.iter().zip(&paths).map(absolute).collect();
    run(elsewhere.path(), &absolute.iter().map(String::as_str).collect::<Vec<_>>())
}

fn positions(scene: &Scene) -> Vec<(String, String)> {
    let listed = scene.run(&["state", "list", "--json", "p.toml"]).expect_code(0);
    let report: Json = serde_json::from_str(&listed.stdout).expect("JSON on stdout");
    let text = |shard: &Json, key: &str| shard[key].as_str().expect("text").to_owned();
    let shards = report["streams"][0]["shards"].as_array().expect("shards");
    shards.iter().map(|shard| (text(shard, "shard"), text(shard, "position"))).collect()
}

/// CKP-1, CKP-2: a run after a restore goes on exactly at the savepoint: what came behind it comes again, nothing is
/// missing, and a file holds everything once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_after_a_restore_goes_on_exactly_at_the_savepoint() {
    let scene = Scene::new().await;
    scene.manifest(&Pipeline { sinks: TO_BOTH, ..scene.pipeline("passthrough") });
    scene.put(&["a", "b"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    let file = create(&scene, &[]);
    assert!(file.starts_with("words-2") && file.ends_with("Z.savepoint.json"), "{file}");
    scene.put(&["c", "d"]).await;
    drop(scene.run(&TO_END).expect_code(0));

    let refused = scene.run(&["savepoint", "restore", &file, "p.toml"]).expect_code(1);
    refused.expect_stderr("nothing was changed: a change needs --yes, or a terminal to ask at");
    let told = "sink file: the next run cuts out.txt back from 8 to 4 bytes and writes what comes behind anew";
    assert!(refused.stdout.contains(told), "{}", refused.stdout);
    assert!(
        refused.stdout.contains("1 shard moves backwards: the sinks get their records again"),
        "{}",
        refused.stdout
    );
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("d").await));

    let restored = scene.run(&["savepoint", "restore", "--yes", &file, "p.toml"]).expect_code(0);
    restored.expect_stderr("done, at generation").expect_stderr("the next run of default/words goes on as of 20");
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("b").await));
    scene.put(&["e"]).await;
    let again = scene.run(&TO_END).expect_code(0);
    assert_eq!(again.stdout, "c\nd\ne\n", "what came behind the savepoint comes again, and nothing else");
    assert_eq!(scene.out(), ["a", "b", "c", "d", "e"], "the file went back with the positions");

    scene.write("out.txt", "a");
    let short = scene.run(&["savepoint", "restore", &file, "p.toml"]).expect_code(1);
    assert!(short.stdout.contains("out.txt has 1 bytes and the savepoint's mark is 4"), "{}", short.stdout);
    scene.write("out.txt", "a\nb\nc\nd\ne\n");
    let twice = scene.run(&["savepoint", "restore", "--yes", "--without-marks", &file, "p.toml"]).expect_code(0);
    assert!(twice.stdout.contains("sink file has no mark then: out.txt keeps its 10 bytes"), "{}", twice.stdout);
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a", "b", "c", "d", "e", "c", "d", "e"], "the file keeps what it has");
}

/// Runs until `out.txt` has these lines, in whatever order, and stops.
fn run_until(scene: &Scene, lines: &[&str]) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut running = scene.start(&["run", "p.toml"]);
    running.wait_for("out.txt", |text| sorted(text) == lines);
    running.terminate();
    drop(running.finish().expect_code(0));
}

/// LIN-1, ASN-1: lineage is part of a savepoint, and assignments are not: every run makes its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_parallelism_goes_on_from_a_savepoint_across_splits() {
    let scene = Scene::new().await;
    let source = "initial_position = \"trim-horizon\"\ndiscovery_interval = \"1s\"";
    let one = Pipeline { source, ..scene.pipeline("passthrough") };
    scene.manifest(&one);
    scene.ferro.split(super::STREAM, SHARD, 1 << 127).await;
    // One to each half of the keys.
    let put = async |low: &str, high: &str| {
        for (text, hash_key) in [(low, 0), (high, u128::MAX)] {
            let record = ("key".to_owned(), text.as_bytes().to_vec());
            scene.ferro.put(super::STREAM, Some(hash_key), &[record]).await;
        }
    };
    put("a", "b").await;
    run_until(&scene, &["a", "b"]);
    let before = positions(&scene);
    assert_eq!(before[0].1, "shard-end", "{before:?}");
    assert_eq!(create(&scene, &["--output", "s.json"]), "s.json");

    scene.ferro.split(super::STREAM, "shardId-000000000001", 1 << 126).await;
    scene.ferro.split(super::STREAM, "shardId-000000000002", 3 << 126).await;
    put("c", "d").await;
    run_until(&scene, &["a", "b", "c", "d"]);
    assert_eq!(positions(&scene).len(), 7);

    scene.manifest(&Pipeline { top: "parallelism = 3", ..one });
    let restored = scene.run(&["savepoint", "restore", "--yes", "s.json", "p.toml"]).expect_code(0);
    assert!(restored.stdout.contains("4 shards disappear"), "{}", restored.stdout);
    assert!(restored.stdout.contains("2 shards move backwards"), "{}", restored.stdout);
    assert_eq!(positions(&scene), before);
    put("e", "f").await;
    run_until(&scene, &["a", "b", "c", "d", "e", "f"]);
    assert_eq!(positions(&scene).len(), 7, "what disappeared was found again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pipeline_is_saved_as_it_runs_and_is_not_restored() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    let mut running = scene.start(&["run", "p.toml"]);
    scene.put(&["b"]).await;
    running.wait_for("out.txt", |text| text == "a\nb\n");
    let created = beside(&scene, &["savepoint", "create", "--output", "s.json", "p.toml"]).expect_code(0);
    let inspected = beside(&scene, &["savepoint", "inspect", "s.json"]).expect_code(0);
    assert!(inspected.stdout.contains(&format!(":{} ran it", running.id())), "{}", inspected.stdout);
    assert!(created.stdout.ends_with("s.json\n"), "{}", created.stdout);
    let refused = beside(&scene, &["savepoint", "restore", "--yes", "s.json", "p.toml"]).expect_code(1);
    refused.expect_stderr("error: pipeline default/words is owned by").expect_stderr(&format!(":{}", running.id()));
    assert_eq!(refused.stdout, "");
    scene.put(&["c"]).await;
    running.wait_for("out.txt", |text| text == "a\nb\nc\n");
    running.terminate();
    drop(running.finish().expect_code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_drains_the_run_and_the_savepoint_has_all_of_it() {
    let scene = Scene::new().await;
    scene.manifest(&Pipeline { sinks: TO_BOTH, ..scene.pipeline("passthrough") });
    let first = scene.run(&["savepoint", "create", "--stop", "p.toml"]).expect_code(1);
    first.expect_stderr("no state database at");
    let mut running = scene.start(&["run", "p.toml"]);
    scene.put(&["a", "b"]).await;
    running.wait_for("out.txt", |text| text == "a\nb\n");
    let created = beside(&scene, &["savepoint", "create", "--stop", "--output", "s.json", "p.toml"]).expect_code(0);
    created.expect_stderr(&format!(":{} was asked to drain and stop", running.id())).expect_stderr("has stopped");
    assert_eq!(created.stdout.lines().count(), 1, "{}", created.stdout);
    running.finish().expect_code(0).expect_stderr("default/words: stopped in");
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("b").await));
    let nothing_new = scene.run(&["savepoint", "restore", "--yes", "s.json", "p.toml"]).expect_code(0);
    assert_eq!(nothing_new.stdout, "pipeline default/words: nothing to change\n");
    // Nobody runs it any more.
    let again = scene.run(&["savepoint", "create", "--stop", "--output", "t.json", "p.toml"]).expect_code(0);
    again.expect_stderr("nobody runs default/words: there is nothing to stop");
    let taken = scene.run(&["savepoint", "create", "--stop", "--output", "t.json", "p.toml"]).expect_code(1);
    taken.expect_stderr("t.json exists, and a savepoint is never overwritten");
}

/// ISO-1: a pipeline that is stopped stops no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_leaves_a_process_alone_that_runs_others_too() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    let sinks = "[[sink]]\ntype = \"file\"\npath = \"others.txt\"";
    scene.write("o.toml", &Pipeline { name: "others", sinks, ..scene.pipeline("passthrough") }.text());
    scene.put(&["a"]).await;
    let mut running = scene.start(&["run", "p.toml", "o.toml"]);
    running.wait_for("out.txt", |text| text == "a\n");
    running.wait_for("others.txt", |text| text == "a\n");
    let refused = beside(&scene, &["savepoint", "create", "--stop", "--output", "s.json", "p.toml"]).expect_code(1);
    refused.expect_stderr("default.others.lock, and would stop those pipelines, too");
    drop(beside(&scene, &["savepoint", "create", "--output", "s.json", "p.toml"]).expect_code(0));
    scene.put(&["b"]).await;
    running.wait_for("others.txt", |text| text == "a\nb\n");
    running.terminate();
    drop(running.finish().expect_code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_begins_at_the_savepoint_of_another_pipeline() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    let file = create(&scene, &["--output", "s.json"]);
    scene.put(&["b"]).await;
    let sinks = "[[sink]]\ntype = \"file\"\npath = \"copy.txt\"";
    scene.write("copy.toml", &Pipeline { name: "copy", sinks, ..scene.pipeline("passthrough") }.text());
    let refused = scene.run(&["savepoint", "restore", "--yes", &file, "copy.toml"]).expect_code(1);
    refused.expect_stderr("add --fork to let default/copy begin as a copy");
    drop(scene.run(&["savepoint", "restore", "--yes", "--fork", &file, "copy.toml"]).expect_code(0));
    drop(scene.run(&["run", "--until-caught-up", "copy.toml", "p.toml"]).expect_code(0));
    assert_eq!((scene.file("copy.txt"), scene.file("out.txt")), ("b\n".to_owned(), "a\nb\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_savepoint_exits_with_2_and_a_damaged_one_with_1() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    let file = create(&scene, &["--output", "s.json"]);
    let inspected = scene.run(&["savepoint", "inspect", "--json", &file]).expect_code(0);
    let json: Json = serde_json::from_str(&inspected.stdout).expect("JSON on stdout");
    assert_eq!(json["content"]["streams"][0]["shards"][0]["shard"], SHARD);
    let text = scene.file(&file);
    scene.write("altered.json", &text.replace("after:", "after:1"));
    scene.write("torn.json", &text[..text.len() / 2]);
    scene.write("newer.json", &text.replace("savepoint/1", "savepoint/2"));
    for (file, code, told) in [
        ("altered.json", 1, "error: savepoint altered.json was altered"),
        ("torn.json", 1, "error: savepoint torn.json is torn or altered"),
        ("newer.json", 2, "error: savepoint newer.json has format sluicebox-savepoint/2"),
        ("p.toml", 2, "error: p.toml is no savepoint"),
        ("none.json", 2, "error: cannot read savepoint none.json: No such file"),
    ] {
        for command in [&["savepoint", "inspect", file][..], &["savepoint", "restore", "--yes", file, "p.toml"]] {
            let refused = scene.run(command).expect_code(code);
            refused.expect_stderr(told);
            assert_eq!(refused.stdout, "", "{file}");
        }
    }
}

/// The state that lives with the embedded streams is another one, and is meant only when it is named.
#[test]
fn with_local_commands_mean_the_state_beside_the_embedded_streams() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pipeline = Pipeline::new("http://127.0.0.1:9", "passthrough");
    pipeline.sinks = TO_FILE;
    pipeline.more =
        "[local]\nstreams = [{ name = \"words\", shards = 1, seed = \"words.ndjson\", partition_key = \"/id\" }]";
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a writable folder");
    write("p.toml", &pipeline.text());
    write("words.ndjson", "{\"id\":1}\n{\"id\":2}\n");
    let command = |arguments: &[&str]| run(folder.path(), arguments);
    drop(command(&["run", "--local", "--until-caught-up", "p.toml"]).expect_code(0));
    let hint = "state.db: add --local for those";
    for without in [
        &["state", "list", "p.toml"][..],
        &["state", "delete", "--all", "--yes", "p.toml"],
        &["savepoint", "create", "p.toml"],
    ] {
        command(without).expect_code(1).expect_stderr("no state database at").expect_stderr(hint);
    }
    drop(command(&["savepoint", "create", "--local", "--output", "s.json", "p.toml"]).expect_code(0));
    drop(command(&["state", "set", "--local", "--yes", "p.toml", SHARD, "trim-horizon"]).expect_code(0));
    let restored = command(&["savepoint", "restore", "--local", "--yes", "s.json", "p.toml"]).expect_code(0);
    assert!(restored.stdout.contains("moves forward"), "{}", restored.stdout);
    command(&["run", "--local", "--until-caught-up", "p.toml"]).expect_code(0).expect_stderr("0 records in");
    // Both may be there; neither is taken for the other.
    drop(command(&["savepoint", "restore", "--yes", "s.json", "p.toml"]).expect_code(0));
    for place in [&["state", "list", "p.toml"][..], &["state", "list", "--local", "p.toml"]] {
        drop(command(place).expect_code(0));
    }
    pipeline.more = "[local]\ndurable = false\nstreams = [{ name = \"words\" }]";
    write("p.toml", &pipeline.text());
    command(&["state", "list", "--local", "p.toml"]).expect_code(2).expect_stderr("[local] durable = false");
}
