//! Signals, and several pipelines in one process.

use super::{Pipeline, SHARD, Scene};
use tests::process::Running;

/// Longer than any test waits.
const PATIENT: &str = "cpu_per_batch = \"1m\"\nwall_per_batch = \"10m\"\nlog_rate = \"16KiB\"";

/// A run whose component is busy for as long as it likes. That it says something is how one knows.
async fn busy(scene: &Scene, top: &'static str) -> Running {
    let mut pipeline = scene.pipeline("faulty");
    (pipeline.top, pipeline.limits) = (top, PATIENT);
    scene.manifest(&pipeline);
    scene.put(&["a"]).await;
    let mut running = scene.start(&["run", "p.toml"]);
    running.wait_for("out.txt", |text| text == "a\n");
    scene.put(&["log-flood", "spin"]).await;
    running.wait_for("stderr", |text| text.contains("xxx"));
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_delivers_what_was_read_and_tells_what_was_done() {
    let scene = Scene::new().await;
    scene.manifest(&scene.pipeline("passthrough"));
    scene.put(&["a", "b"]).await;
    let mut running = scene.start(&["run", "p.toml"]);
    running.wait_for("out.txt", |text| text == "a\nb\n");
    running.terminate();
    let stopped = running.finish().expect_code(0);
    stopped.expect_stderr("default/words: stopped in").expect_stderr("2 records in").expect_stderr(SHARD);
    assert_eq!(stopped.stdout, "");
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("b").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_the_run_at_once() {
    let scene = Scene::new().await;
    let mut running = busy(&scene, "").await;
    running.terminate();
    running.wait_for("stderr", |text| text.contains("once more stops at once"));
    running.terminate();
    running.finish().expect_code(1).expect_stderr("stopping at once");
    assert_eq!(scene.out(), ["a"]);
}

/// CKP-1: what could not be delivered in time is counted, and no position passes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_that_takes_too_long_says_what_is_left() {
    let scene = Scene::new().await;
    let running = busy(&scene, "shutdown_timeout = \"100ms\"").await;
    running.terminate();
    let stopped = running.finish().expect_code(1);
    stopped.expect_stderr("2 records were read but not delivered within shutdown_timeout");
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("a").await));
}

/// ISO-1: a pipeline that fails takes no other down with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_fails_leaves_the_others_alone() {
    let scene = Scene::new().await;
    scene.put(&["a", "refuse", "b"]).await;
    scene.manifest(&scene.pipeline("faulty"));
    let other = Pipeline {
        name: "others",
        sinks: "[[sink]]\ntype = \"file\"\npath = \"others.txt\"",
        ..scene.pipeline("passthrough")
    };
    scene.write("o.toml", &other.text());
    let ended = scene.run(&["run", "--until-caught-up", "o.toml", "p.toml"]).expect_code(1);
    ended.expect_stderr("error: default/words: record").expect_stderr("default/others: caught up");
    assert_eq!(scene.file("others.txt"), "a\nrefuse\nb\n");
    assert_eq!(scene.out(), ["a"]);
    // Without an end of its own the other one runs on.
    scene.put(&["c"]).await;
    let mut running = scene.start(&["run", "p.toml", "o.toml"]);
    running.wait_for("stderr", |text| text.contains("error: default/words: record"));
    scene.put(&["d"]).await;
    running.wait_for("others.txt", |text| text.ends_with("c\nd\n"));
    running.terminate();
    drop(running.finish().expect_code(1));
}
