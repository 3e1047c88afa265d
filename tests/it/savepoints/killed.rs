//! A process that dies while it writes leaves no torn file under the final name.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use host::savepoint::file;
use tests::process::sluicebox;

use super::*;

const SHARDS: u32 = 3_000;

/// A pipeline with many shards, and its manifest.
fn large(directory: &Path) {
    let mut store = open(&directory.join(".sluicebox/state.db"), "host:1");
    let rows: Vec<_> =
        (0..SHARDS).map(|n| row(&format!("shardId-{n:012}"), after("49590338271490256608", 0))).collect();
    store.start_stream(&stream("quakes"), StartPoint::TrimHorizon, &rows).expect("new");
    store.release().expect("the owner");
    let manifest = format!(
        "version = 1\nname = \"earthquakes\"\ntenant = \"seismology\"\n[source]\ntype = \"kinesis\"\nstream_arn = \"{}\"\n\
         [deserializer]\ncomponent = \"none.wasm\"\n[[sink]]\ntype = \"discard\"\n",
        arn("quakes")
    );
    fs::write(directory.join("p.toml"), manifest).expect("writable");
}

fn savepoints(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The system ends a process at the byte that is one too many: the middle of the file, every time.
#[test]
fn a_process_that_dies_in_the_middle_of_the_file_leaves_none() {
    let directory = tempfile::tempdir().expect("a directory");
    large(directory.path());
    // The limit is above all that a database which is only read may need, and below the savepoint.
    let script = format!("ulimit -f 600; exec {} savepoint create --output s.json p.toml", sluicebox().display());
    let status = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("sh runs");
    assert!(!status.success(), "{status}");
    assert!(!directory.path().join("s.json").exists());
    let left = savepoints(directory.path(), ".tmp");
    assert!(left.len() == 1 && file::read(&left[0]).is_err(), "it died elsewhere: {left:?}");
    // What it left is in nobody's way.
    let done = tests::process::run(directory.path(), &["savepoint", "create", "--output", "s.json", "p.toml"]);
    drop(done.expect_code(0));
    file::read(&directory.path().join("s.json")).expect("whole");
}

fn create(directory: &Path, output: &Path) -> Child {
    Command::new(sluicebox())
        .args(["savepoint", "create", "--output", output.to_str().expect("UTF-8"), "p.toml"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs")
}

#[test]
fn of_many_that_write_one_name_at_once_one_wins() {
    let directory = tempfile::tempdir().expect("a directory");
    large(directory.path());
    let path = directory.path().join("s.json");
    let children: Vec<_> = (0..4).map(|_| create(directory.path(), &path)).collect();
    let codes: Vec<_> = children.into_iter().map(|mut child| child.wait().expect("it ends").code()).collect();
    let won = codes.iter().filter(|code| **code == Some(0)).count();
    assert!(won == 1 && codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    file::read(&path).expect("whole");
    assert!(savepoints(directory.path(), ".tmp").is_empty());
}

#[test]
fn kill_9_at_any_moment_leaves_a_whole_savepoint_or_none() {
    let directory = tempfile::tempdir().expect("a directory");
    large(directory.path());
    let (mut whole, mut killed) = (0, 0);
    for round in 0..40_u64 {
        let path = directory.path().join(format!("{round}.json"));
        let mut child = create(directory.path(), &path);
        if round % 4 == 0 {
            // Some live on until they say where it is.
            child.stdout.take().expect("piped").read_to_string(&mut String::new()).expect("text");
        } else {
            std::thread::park_timeout(std::time::Duration::from_millis(round * 5));
        }
        child.kill().expect("it can be killed, or is dead");
        killed += u32::from(!child.wait().expect("it ended").success());
        match file::read(&path) {
            Ok(savepoint) => {
                assert_eq!(savepoint.text().matches("\"shard\":").count(), SHARDS as usize);
                whole += 1;
            }
            Err(error) => assert!(!path.exists(), "round {round}: {error}"),
        }
    }
    assert!(whole >= 10 && killed > 0, "{whole} of 40 are whole, {killed} were killed");
}
