//! Records that the component refuses or breaks on.

use super::{Scene, TO_END, TO_STDOUT};

/// DEL-1, CKP-1: the run stops right before a refused record and names it; once the manifest says so it is passed over,
/// and the log tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_stops_the_run_right_before_it_and_is_passed_over_once_the_manifest_says_so() {
    let scene = Scene::new().await;
    scene.put(&["a", "b", "refuse", "c"]).await;
    let bad = scene.sequence("refuse").await;
    let mut pipeline = scene.pipeline("faulty");
    scene.manifest(&pipeline);
    for _ in 0..2 {
        // Stopping there is not a matter of the first run only.
        let failed = scene.run(&TO_END).expect_code(1);
        failed.expect_stderr(&format!("record {bad} of shard {} in stream words was refused", super::SHARD));
        failed.expect_stderr("refused, as the record asked (refused)");
        failed.expect_stderr("on_error.poison = \"skip\"");
        assert_eq!(failed.stdout, "");
        assert_eq!(scene.out(), ["a", "b"]);
        assert_eq!(scene.position(), format!("after:{}", scene.sequence("b").await));
    }
    pipeline.on_error = "poison = \"skip\"";
    scene.manifest(&pipeline);
    let skipped = scene.run(&TO_END).expect_code(0);
    skipped.expect_stderr("skipped a record").expect_stderr(&bad).expect_stderr("1 skipped");
    assert_eq!(scene.out(), ["a", "b", "c"]);
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("c").await));
}

/// ISO-1, DEL-1: whatever a component does to a batch, only the record that makes it do so is lost, and the log tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_component_does_to_a_batch_the_other_records_arrive_once_and_in_order() {
    let scene = Scene::new().await;
    let sins = [
        ("trap", "trapped"),
        ("spin", "budget"),
        ("grow", "memory"),
        ("flood", "handed over more than"),
        ("fatal", "broken, as the record asked"),
        ("retry", "not ready, as the record asked"),
        ("fail-batch", "the batch is refused"),
        ("lie-ends", "broke the contract"),
        ("lie-last-end", "broke the contract"),
        ("lie-index", "broke the contract"),
        ("lie-both", "broke the contract"),
        ("lie-error-index", "broke the contract"),
        ("lie-routes", "broke the contract"),
        ("lie-route", "broke the contract"),
        ("lie-times", "broke the contract"),
        ("lie-keys", "broke the contract"),
        ("lie-identity", "broke the contract"),
    ];
    let mut texts = vec!["first".to_owned()];
    for (number, (sin, _)) in sins.iter().enumerate() {
        texts.extend([(*sin).to_owned(), format!("after {number}")]);
    }
    scene.put(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut pipeline = scene.pipeline("faulty");
    pipeline.on_error = "poison = \"skip\"\nmax_attempts = 2";
    scene.manifest(&pipeline);
    let finished = scene.run(&TO_END).expect_code(0);
    let honest: Vec<&String> = texts.iter().filter(|text| sins.iter().all(|(sin, _)| sin != text)).collect();
    assert_eq!(scene.out().iter().collect::<Vec<_>>(), honest);
    finished.expect_stderr(&format!("{} skipped", sins.len()));
    for (sin, reason) in sins {
        let sequence = scene.sequence(sin).await;
        let line = finished.stderr.lines().find(|line| line.contains("skipped a record") && line.contains(&sequence));
        let line = line.unwrap_or_else(|| panic!("{sin} is not told\n{}", finished.stderr));
        assert!(line.contains(reason), "{sin}: {line}");
    }
    assert_eq!(scene.position(), format!("after:{}", scene.sequence("after 16").await));
}

/// ISO-1: with the default policy the run stops at the very record, whatever the component did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_that_breaks_the_component_is_found_and_named() {
    for (sin, reason) in
        [("trap", "trapped"), ("spin", "raise `limits.cpu_per_batch`"), ("lie-index", "broke the contract")]
    {
        let scene = Scene::new().await;
        scene.put(&["a", "b", sin, "c"]).await;
        scene.manifest(&scene.pipeline("faulty"));
        let failed = scene.run(&TO_END).expect_code(1);
        failed.expect_stderr(&format!("record {} of shard", scene.sequence(sin).await)).expect_stderr(reason);
        assert_eq!(scene.out(), ["a", "b"], "{sin}");
        assert_eq!(scene.position(), format!("after:{}", scene.sequence("b").await));
    }
}

/// A component that needs two records for its lie is caught as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_that_needs_a_whole_batch_loses_no_record() {
    let scene = Scene::new().await;
    scene.put(&["a", "b", "lie-order", "c"]).await;
    scene.manifest(&scene.pipeline("faulty"));
    drop(scene.run(&TO_END).expect_code(0));
    // Alone, what was a lie about the order is one more element of the record, and an empty one.
    assert_eq!(scene.out(), ["a", "b", "lie-order", "", "c"]);
}

/// `on_error.trap = "fail"`: the batch is not taken apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_stops_the_run_at_its_batch_if_the_manifest_says_so() {
    let scene = Scene::new().await;
    scene.put(&["a", "trap", "c"]).await;
    let mut pipeline = scene.pipeline("faulty");
    pipeline.on_error = "trap = \"fail\"";
    scene.manifest(&pipeline);
    let failed = scene.run(&TO_END).expect_code(1);
    let (first, last) = (scene.sequence("a").await, scene.sequence("c").await);
    failed
        .expect_stderr(&format!("broke on records {first} to {last} of shard"))
        .expect_stderr("on_error.trap = \"bisect\"");
    assert_eq!(scene.out(), [""; 0]);
    pipeline.on_error = "trap = \"fail\"\npoison = \"skip\"";
    scene.manifest(&pipeline);
    drop(scene.run(&TO_END).expect_code(1));
}

/// ISO-1: a component that logs without end costs a bounded number of bytes, and its records still arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_floods_the_log_is_cut_short() {
    let scene = Scene::new().await;
    scene.put(&["a", "log-flood", "b"]).await;
    let mut pipeline = scene.pipeline("faulty");
    pipeline.sinks = TO_STDOUT;
    pipeline.limits = "cpu_per_batch = \"10s\"\nwall_per_batch = \"60s\"\nlog_rate = \"32KiB\"";
    scene.manifest(&pipeline);
    let finished = scene.run(&TO_END).expect_code(0);
    assert_eq!(finished.stdout, "a\nlog-flood\nb\n");
    assert!(finished.stderr.len() < 512 << 10, "{} bytes of log", finished.stderr.len());
    finished.expect_stderr("dropped");
}
