//! Positions by command, and where a first run begins.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{SHARD, Scene, TO_END};

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The embedded service stamps whole seconds, and `latest` is the start of one: what must count as earlier has to be in
/// an earlier one.
fn in_another_second() -> u64 {
    let begun = seconds();
    while seconds() == begun {
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    seconds()
}

/// CKP-2: positions move by command, in both directions, and only after a yes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_move_by_command_and_the_next_run_follows() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a", "b", "c"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    let after = |sequence: &str| format!("after:{sequence}");
    let (a, c) = (scene.sequence("a").await, scene.sequence("c").await);
    let shown = scene.run(&["state", "show", "p.toml", SHARD]).expect_code(0);
    assert!(shown.stdout.contains(&c), "{}", shown.stdout);

    // Nobody is there to say yes.
    for change in [&["state", "set", "p.toml", SHARD, "trim-horizon"][..], &["state", "delete", "--all", "p.toml"]] {
        let refused = scene.run(change).expect_code(1);
        refused.expect_stderr("nothing was changed: a change needs --yes");
        assert!(refused.stdout.contains(&after(&c)), "the plan: {}", refused.stdout);
        assert_eq!(scene.position(), after(&c));
    }

    let set = scene.run(&["state", "set", "--yes", "p.toml", SHARD, &after(&a)]).expect_code(0);
    assert!(set.stdout.contains("warning") && set.stdout.contains("backwards"), "{}", set.stdout);
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a", "b", "c", "b", "c"], "backwards delivers again");

    scene.put(&["d", "e"]).await;
    let d = scene.sequence("d").await;
    drop(scene.run(&["state", "set", "--yes", "p.toml", SHARD, &after(&d)]).expect_code(0));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a", "b", "c", "b", "c", "e"], "forwards passes over");

    drop(scene.run(&["state", "delete", "--all", "--yes", "p.toml"]).expect_code(0));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out()[6..], ["a", "b", "c", "d", "e"], "it begins anew");
    let unknown = scene.run(&["state", "show", "p.toml", "shardId-7"]).expect_code(1);
    unknown.expect_stderr("no row for shard shardId-7");
}

/// POS-1: `latest` means the moment of the first start, even if that run died before it could read anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_is_the_moment_of_the_first_start_even_if_that_run_is_killed() {
    let scene = Scene::new().await;
    scene.put(&["before"]).await;
    in_another_second();
    let mut pipeline = scene.pipeline("passthrough");
    pipeline.source = "";
    scene.manifest(&pipeline);
    let mut first = scene.start(&["run", "p.toml"]);
    first.wait_for("stderr", |text| text.contains("reading"));
    first.kill();
    scene.put(&["between"]).await;
    in_another_second();
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["between"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timestamp_divides_what_is_read_from_what_is_not() {
    let scene = Scene::new().await;
    scene.put(&["before"]).await;
    let at = in_another_second();
    scene.put(&["at"]).await;
    let mut pipeline = scene.pipeline("passthrough");
    let source = format!("initial_position = \"at-timestamp\"\ninitial_timestamp = {at}");
    pipeline.source = "@";
    scene.write("p.toml", &pipeline.text().replacen('@', &source, 1));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["at"]);
}

/// A file that lost what was recorded as written is not written on as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_shortened_is_refused_with_what_to_do() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a", "b"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    scene.write("out.txt", "a\n");
    scene.put(&["c"]).await;
    let failed = scene.run(&TO_END).expect_code(1);
    failed
        .expect_stderr("out.txt has 2 bytes, but 4 were written and recorded")
        .expect_stderr("sluicebox state delete");
    assert_eq!(scene.out(), ["a"], "the file stays as it was found");
    // What it advises helps.
    drop(scene.run(&["state", "delete", "--all", "--yes", "p.toml"]).expect_code(0));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a", "a", "b", "c"]);
}

/// What a killed run had written beyond its last checkpoint, or somebody appended, is cut off and written again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_beyond_the_last_checkpoint_in_a_file_is_cut_off() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.write("out.txt", "somebody else's\n");
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    scene.write("out.txt", "somebody else's\na\nb without a position\n");
    scene.put(&["b"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["somebody else's", "a", "b"]);
}

/// A stream of the same name is another stream: what the positions say means nothing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_created_anew_is_not_resumed_until_somebody_says_so() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    scene.ferro.client.delete_stream().stream_name(super::STREAM).send().await.expect("deleted");
    let gone = scene.run(&TO_END).expect_code(1);
    gone.expect_stderr("stream \"words\" does not exist");
    // The service tells the time of creation in seconds.
    in_another_second();
    scene.ferro.create(super::STREAM, 1).await;
    scene.put(&["b"]).await;
    let anew = scene.run(&TO_END).expect_code(1);
    anew.expect_stderr("was created anew").expect_stderr("sluicebox state delete --all");
    assert_eq!(scene.out(), ["a"]);
    drop(scene.run(&["state", "delete", "--all", "--yes", "p.toml"]).expect_code(0));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a", "b"]);
}

/// CKP-2: positions of a running pipeline can be looked at and not be moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_a_running_pipeline_are_not_edited() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    let mut running = scene.start(&["run", "p.toml"]);
    running.wait_for("out.txt", |text| text == "a\n");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let manifest = scene.folder.path().join("p.toml");
    let manifest = manifest.to_str().expect("UTF-8");
    let edit = |arguments: &[&str]| tests::process::run(elsewhere.path(), arguments);
    edit(&["state", "set", "--yes", manifest, SHARD, "shard-end"]).expect_code(1).expect_stderr("is owned by");
    edit(&["state", "delete", "--all", "--yes", manifest]).expect_code(1).expect_stderr("is owned by");
    assert!(edit(&["state", "list", manifest]).expect_code(0).stdout.contains(SHARD));
    scene.put(&["b"]).await;
    running.wait_for("out.txt", |text| text == "a\nb\n");
    running.terminate();
    drop(running.finish().expect_code(0));
}

/// A position that somebody mistyped is the service's to refuse, by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_the_stream_does_not_know_is_refused_with_the_shard() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a"]).await;
    drop(scene.run(&TO_END).expect_code(0));
    drop(scene.run(&["state", "set", "--yes", "p.toml", SHARD, "after:5"]).expect_code(0));
    let failed = scene.run(&TO_END).expect_code(1);
    failed.expect_stderr(&format!("shard {SHARD} of stream \"words\"")).expect_stderr("GetShardIterator");
    assert_eq!(scene.position(), "after:5");
    drop(scene.run(&["state", "set", "--yes", "p.toml", SHARD, "shard-end"]).expect_code(0));
    drop(scene.run(&TO_END).expect_code(0));
    assert_eq!(scene.out(), ["a"]);
}
