//! Starts that are refused: the stream, or the way to it, is not what the manifest says; or the component does not open.
//! Each says so once, and leaves no state behind.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::{Scene, TO_END};
use tests::process::Finished;

/// One clear error, exit code 1, nothing on stdout, and no positions.
fn refused(scene: &Scene, words: &[&str]) -> Finished {
    let failed = scene.run(&TO_END).expect_code(1);
    for word in words {
        failed.expect_stderr(word);
    }
    let errors = failed.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!((errors, failed.stderr.lines().count()), (1, 1), "{}", failed.stderr);
    assert_eq!(failed.stdout, "");
    assert!(!scene.has_state(), "a start that failed left state behind");
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_exist_is_named() {
    let scene = Scene::new().await;
    let text = scene.pipeline("passthrough").text().replace("stream/words", "stream/wordz");
    scene.write("p.toml", &text);
    refused(&scene, &["default/words: stream \"wordz\"", "us-east-1", "000000000000", &scene.ferro.endpoint]);
}

/// The service's own body for a key that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_not_accepted_are_told_by_their_kind() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let Ok(mut reader) = connection.try_clone().map(BufReader::new) else { continue };
            // What it asks for does not matter, but an answer to half a question would be lost.
            let mut rest = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                let length = line.to_ascii_lowercase().strip_prefix("content-length:").map(|text| text.trim().parse());
                rest = length.map_or(rest, |length| length.expect("a length"));
            }
            drop(reader.take(rest).read_to_end(&mut Vec::new()));
            let body = r#"{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#;
            let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close";
            drop(write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let mut pipeline = scene.pipeline("passthrough");
    pipeline.aws = format!("endpoint = \"http://{address}\"");
    scene.manifest(&pipeline);
    let failed =
        refused(&scene, &["UnrecognizedClientException", "does not accept the credentials", "credentials = \"basic\""]);
    assert!(!failed.stderr.contains("secret_access_key = "), "{}", failed.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_refuses_connections_is_named() {
    let scene = Scene::new().await;
    let mut pipeline = scene.pipeline("passthrough");
    // A port that no system hands out and nobody has served for decades.
    pipeline.aws = "endpoint = \"http://127.0.0.1:1\"\nretry = { min_delay = \"1ms\", max_delay = \"1ms\" }".to_owned();
    scene.manifest(&pipeline);
    refused(&scene, &["http://127.0.0.1:1:", "refused", "check aws.endpoint"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_never_answers_is_given_up() {
    let scene = Scene::new().await;
    // The system accepts connections; nobody ever reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let mut pipeline = scene.pipeline("passthrough");
    let aws = format!("endpoint = \"http://{address}\"\nretry = {{ min_delay = \"1ms\", max_delay = \"1ms\" }}");
    pipeline.aws = format!("{aws}\ntimeouts = {{ call = \"200ms\" }}");
    scene.manifest(&pipeline);
    refused(
        &scene,
        &[&format!("http://{address}"), "did not answer in time", "such calls are repeated; if it persists"],
    );
    // A stop does not wait for an answer either. A new listener knows no connection but that of the next run.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let aws = format!("endpoint = \"http://{address}\"");
    pipeline.aws = format!("{aws}\ntimeouts = {{ call = \"10m\" }}");
    scene.manifest(&pipeline);
    let running = scene.start(&["run", "p.toml"]);
    let _waiting = listener.accept().expect("the binary connects");
    running.terminate();
    running.finish().expect_code(0).expect_stderr("stopped before it began to read");
    assert!(!scene.has_state());
}

/// The component's `open` comes before the stream: what it refuses is a mistake in the component or its configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_does_not_open_touches_no_stream() {
    let scene = Scene::new().await;
    let mut pipeline = scene.pipeline("faulty");
    // Whoever asked it would never get an answer.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    pipeline.aws = format!("endpoint = \"http://{}\"", listener.local_addr().expect("bound"));
    for (config, reason) in [
        ("open = \"refuse\"", "refused to open, as configured (refused)"),
        ("open = \"retry\"", "not ready to open, as configured (not-yet)"),
        ("open = \"trap\"", "trapped"),
        ("open = \"spin\"", "of CPU in open"),
        ("open = 5", "open"),
    ] {
        pipeline.config = config;
        scene.manifest(&pipeline);
        let failed = scene.run(&TO_END).expect_code(2);
        failed.expect_stderr("faulty.wasm did not open").expect_stderr(reason);
        assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
        assert_eq!(failed.stdout, "");
        assert!(!scene.has_state() && !scene.folder.path().join("out.txt").exists());
    }
    listener.set_nonblocking(true).expect("a listener can be asked");
    assert!(listener.accept().is_err(), "the stream was touched");
}
