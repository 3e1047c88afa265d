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
