//! Credentials that a program prints, and programs that do not print any.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use host::config::{Credentials, Process};
use host::source::classify::{Fault, SourceErrorKind};
use tests::sts::rfc3339;
use tests::witness::Witness;

use super::{access, call, refused, script};

fn printed(key: &str, life: Duration) -> String {
    let expiration = rfc3339(SystemTime::now() + life);
    format!(
        "{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \"SecretAccessKey\": \"process-secret\", \"SessionToken\": \
         \"process-token\", \"Expiration\": \"{expiration}\"}}"
    )
}

#[tokio::test]
async fn a_program_gets_its_arguments_as_they_are_and_what_it_prints_signs() {
    let witness = Witness::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let heard = folder.path().join("heard");
    let arguments = ["a b", "$HOME", "*", "", &printed("AKIAPROCESS", Duration::from_secs(3600))];
    let words = "printf '%s|' \"$1\" \"$2\" \"$3\" \"$4\" >> \"$6\"; printf %s \"$5\"; echo chatter >&2";
    let arguments: Vec<&str> = arguments.into_iter().chain([heard.to_str().expect("a plain path")]).collect();
    let access = access(&witness, Credentials::Process(script(words, &arguments))).await;
    for _ in 0..3 {
        call(&access).await.expect("answered");
    }
    assert_eq!(witness.last(), ("AKIAPROCESS".to_owned(), Some("process-token".to_owned())));
    let heard = std::fs::read_to_string(heard).expect("the program wrote it");
    assert_eq!(heard, "a b|$HOME|*||", "once, not once per call");
}

#[tokio::test]
async fn a_program_is_started_again_when_its_credentials_end() {
    let witness = Witness::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let marker = folder.path().join("marker");
    let words = "if [ -e \"$3\" ]; then printf %s \"$2\"; else : > \"$3\"; printf %s \"$1\"; fi";
    let (first, second) =
        (printed("AKIAFIRST", Duration::from_secs(4)), printed("AKIASECOND", Duration::from_secs(3600)));
    let process = script(words, &[&first, &second, marker.to_str().expect("a plain path")]);
    let access = access(&witness, Credentials::Process(process)).await;
    for _ in 0..3 {
        call(&access).await.expect("answered");
    }
    let keys: Vec<String> = witness.seen().into_iter().map(|seen| seen.access_key).collect();
    assert_eq!(keys, ["AKIAFIRST", "AKIASECOND", "AKIASECOND"]);
}

#[tokio::test]
async fn what_a_failing_program_writes_is_not_repeated() {
    let process = script("echo hush; echo hush >&2; exit 3", &["hush"]);
    let error = refused(&Witness::start().await, Credentials::Process(process)).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings), "{error}");
    assert!(error.to_string().contains("the process \"sh\" failed (exit status: 3)"), "{error}");
    assert!(error.advice().contains("by hand") && !error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn what_is_no_credentials_is_told_without_being_repeated() {
    for (printed, part) in [
        ("", "printed nothing"),
        ("hush hush", "not JSON (line 1, column 1)"),
        ("{\"Version\": 1, \"SecretAccessKey\": \"hush\"}", "without \"AccessKeyId\""),
    ] {
        let process = script("printf %s \"$1\"", &[printed]);
        let error = refused(&Witness::start().await, Credentials::Process(process)).await;
        assert_eq!(error.kind, SourceErrorKind::Denied, "{error}");
        assert!(error.to_string().contains(part) && !error.to_string().contains("hush"), "{error}");
    }
    let flood = script("while :; do echo hushhushhushhushhushhushhushhushhushhush; done", &[]);
    let error = refused(&Witness::start().await, Credentials::Process(flood)).await;
    assert!(error.to_string().contains("printed far more than credentials"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_with_its_path() {
    let program = PathBuf::from("/no/such/vault-keys");
    let process = Process { program, arguments: Vec::new(), timeout: Duration::from_secs(60) };
    let error = refused(&Witness::start().await, Credentials::Process(process)).await;
    assert_eq!((error.kind, error.fault), (SourceErrorKind::Denied, Fault::Settings), "{error}");
    assert!(error.to_string().contains("\"/no/such/vault-keys\" could not be started"), "{error}");
}

#[tokio::test]
async fn a_program_that_hangs_is_stopped_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid = folder.path().join("pid");
    let words = "sleep 1000 & echo $! > \"$1\"; wait";
    let process = Process { timeout: Duration::from_secs(3), ..script(words, &[pid.to_str().expect("a plain path")]) };
    let error = refused(&Witness::start().await, Credentials::Process(process)).await;
    assert_eq!(error.kind, SourceErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("did not end within 3s") && error.advice().contains("`timeout`"), "{error}");
    let pid = std::fs::read_to_string(pid).expect("the program came so far");
    ends(pid.trim());
}

/// Waits until a process is gone, or waits to be buried by a parent that does not care.
fn ends(pid: &str) {
    let status = Path::new("/proc").join(pid).join("status");
    let started = Instant::now();
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(started.elapsed() < Duration::from_secs(60), "process {pid} still runs");
        // Nothing tells of the end of another's child; the condition is checked, not the time.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
