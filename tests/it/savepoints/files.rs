//! The file: complete, verified, never overwritten.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use host::savepoint::{FORMAT, file};
use proptest::prelude::*;

use super::*;

/// The error of reading `text` from a file, with the directory's name taken out; and whether it counts as no savepoint.
fn refusal(directory: &Path, text: impl AsRef<[u8]>) -> (String, bool) {
    let path = directory.join("x.json");
    fs::write(&path, text).expect("writable");
    let refused = file::read(&path).expect_err("not what was written");
    (refused.to_string().replace(&format!("{}/", directory.display()), ""), refused.is_wrong_file())
}

#[test]
fn a_savepoint_holds_all_there_is_and_reads_back_equal() {
    let directory = tempfile::tempdir().expect("a directory");
    let savepoint = taken(&state(directory.path()));
    let path = directory.path().join("a.json");
    file::create(&path, &savepoint).expect("a new file");
    assert_eq!(file::read(&path).expect("a savepoint"), savepoint);
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let content = &json["content"];
    for (pointer, expected) in [
        ("/tenant", "seismology".into()),
        ("/pipeline", "earthquakes".into()),
        ("/taken_at", "2018-02-01T00:01:00Z".into()),
        ("/running", false.into()),
        ("/sluicebox", env!("CARGO_PKG_VERSION").into()),
        ("/parallelism", 2.into()),
        ("/generation", 1.into()),
        ("/claims/0/owner", "host:1".into()),
        ("/claims/0/components/0/role", "deserializer".into()),
        ("/streams/0/arn", arn("blasts").into()),
        ("/streams/1/created", "2017-07-14T02:40:00Z".into()),
        ("/streams/1/start", "at-timestamp:2018-02-01T00:00:00Z".into()),
        ("/streams/1/shards/0/children/1", "shard-2".into()),
        ("/streams/1/shards/0/finished_at", "2018-02-01T00:00:00.001Z".into()),
        ("/streams/1/shards/1/position", "after:49590338271490256608559692538361571095921575989136588898/3".into()),
        ("/streams/1/shards/1/complete_until", "2018-02-01T00:00:00.25Z".into()),
        ("/streams/1/shards/1/watermark", "1969-12-31T23:59:59.995Z".into()),
        ("/streams/1/shards/2/hash_end", "340282366920938463463374607431768211455".into()),
        ("/streams/1/shards/2/parents/1", "shard-forgotten".into()),
        ("/streams/1/shards/3/counter", 1.into()),
        ("/marks/0/sink", "out".into()),
        ("/marks/0/mark", 1234.into()),
    ] {
        assert_eq!(content.pointer(pointer), Some::<&serde_json::Value>(&expected), "{pointer}");
    }
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let savepoint = taken(&state(directory.path()));
    for taken in ["file", "folder", "link"] {
        let path = directory.path().join(taken);
        match taken {
            "file" => fs::write(&path, "somebody's").expect("writable"),
            "folder" => fs::create_dir(&path).expect("writable"),
            _ => std::os::unix::fs::symlink("nowhere", &path).expect("writable"),
        }
        let refused = file::create(&path, &savepoint).expect_err("the name is taken").to_string();
        assert!(refused.contains(&format!("{taken} exists, and a savepoint is never overwritten")), "{refused}");
    }
    assert_eq!(fs::read_to_string(directory.path().join("file")).expect("a file"), "somebody's");
    assert!(!directory.path().join("nowhere").exists());
    let left: Vec<_> = fs::read_dir(directory.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_altered_byte_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let savepoint = taken(&state(directory.path()));
    let text = savepoint.text().into_bytes();
    for at in 0..text.len() {
        for flip in [0x01, 0x20] {
            let mut altered = text.clone();
            altered[at] ^= flip;
            let read = Savepoint::parse(Path::new("x.json"), &altered);
            // Space between tokens is layout, and so is nothing else.
            let is_layout = text[at].is_ascii_whitespace() && altered[at].is_ascii_whitespace();
            assert!(
                read.as_ref().is_err() || is_layout,
                "byte {at} of {:?}",
                String::from_utf8_lossy(&text[at.saturating_sub(20)..(at + 20).min(text.len())])
            );
        }
    }
    let path = directory.path().join("x.json");
    let other = savepoint.text().replace("shard-end", "trim-horizon");
    let (told, is_wrong_file) = refusal(directory.path(), other);
    assert!(told.starts_with("savepoint x.json was altered: its content has hash sha256:"), "{told}");
    assert!(told.ends_with("nothing of it can be trusted: take another copy of it") && !is_wrong_file, "{told}");
    fs::write(&path, savepoint.text()).expect("writable");
    file::read(&path).expect("as it was written");
}

#[test]
fn a_savepoint_without_its_end_is_torn() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = taken(&state(directory.path())).text();
    for length in [80, text.len() / 2, text.len() - 3] {
        let (told, is_wrong_file) = refusal(directory.path(), &text[..length]);
        assert!(told.starts_with("savepoint x.json is torn or altered (EOF while parsing"), "{told}");
        assert!(!is_wrong_file);
    }
    for length in 0..text.len() - 2 {
        Savepoint::parse(Path::new("x.json"), &text.as_bytes()[..length]).expect_err("its end is missing");
    }
}

#[test]
fn another_layout_of_the_same_content_is_the_same_savepoint() {
    let directory = tempfile::tempdir().expect("a directory");
    let savepoint = taken(&state(directory.path()));
    let value: serde_json::Value = serde_json::from_str(&savepoint.text()).expect("JSON");
    let again =
        Savepoint::parse(Path::new("x.json"), value.to_string().as_bytes()).expect("as `jq -S -c` would print it");
    assert_eq!(again, savepoint);
}

#[test]
fn what_is_no_savepoint_is_told_from_a_damaged_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = taken(&state(directory.path())).text();
    for (other, why) in [
        (String::new(), "an empty file"),
        ("version = 1\n".to_owned(), "expected value"),
        ("{\"format\": 1}".to_owned(), "JSON of something else"),
        ("[]".to_owned(), "JSON of something else"),
    ] {
        let (told, is_wrong_file) = refusal(directory.path(), other);
        assert!(told.starts_with("x.json is no savepoint (") && told.contains(why) && is_wrong_file, "{told}");
    }
    assert_eq!(
        refusal(directory.path(), text.replace(FORMAT, "sluicebox-savepoint/2")),
        (
            "savepoint x.json has format sluicebox-savepoint/2, this release reads sluicebox-savepoint/1; use the release \
             that wrote it, or a newer one"
                .to_owned(),
            true
        )
    );
    let missing = file::read(&directory.path().join("none.json")).expect_err("no such file");
    assert!(missing.is_wrong_file());
    let folder = file::read(directory.path()).expect_err("a directory");
    assert!(folder.is_wrong_file() && folder.to_string().contains("(a directory)"), "{folder}");
}

/// LIN-1: a finished shard whose children nobody knows would leave the next run with nothing to read.
#[test]
fn rows_that_are_not_closed_under_lineage_make_no_savepoint() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.db");
    let mut store = open(&path, "host:1");
    let orphaned: Vec<_> = quakes().into_iter().filter(|row| row.shard.as_str() != "shard-2").collect();
    store.start_stream(&stream("quakes"), StartPoint::TrimHorizon, &orphaned).expect("new");
    let one = [arn("quakes")];
    let refused = savepoint::take(&snapshot(&path), &one, &circumstances()).expect_err("shard-2 is missing");
    assert_eq!(
        refused.to_string(),
        "the positions of pipeline seismology/earthquakes are not closed under lineage (shard shard-0 is finished and its \
         child shard-2 has no row); nothing was written; run the pipeline, which completes them from the stream, and try \
         again"
    );
    let circle = [("a", "b"), ("b", "a")]
        .map(|(shard, parent)| ShardRow { parents: names(&[parent]), ..row(shard, Position::TrimHorizon) });
    store.start_stream(&stream("blasts"), StartPoint::TrimHorizon, &circle).expect("new");
    let refused = savepoint::take(&snapshot(&path), &[arn("blasts")], &circumstances()).expect_err("a circle");
    assert!(refused.to_string().contains("is its own ancestor"), "{refused}");
}

#[test]
fn a_stream_that_was_never_read_makes_no_savepoint_and_one_that_is_not_named_is_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let more = [arn("quakes"), arn("tremors")];
    let refused = savepoint::take(&snapshot(&path), &more, &circumstances()).expect_err("tremors");
    assert!(refused.to_string().contains("has no positions of stream"), "{refused}");
    let (savepoint, notes) = savepoint::take(&snapshot(&path), &more[..1], &circumstances()).expect("quakes");
    assert!(!savepoint.text().contains(&arn("blasts")));
    assert_eq!(
        notes,
        [format!(
            "the state of {}, created 2017-07-14T02:40:00Z is left out: the manifest does not name it",
            arn("blasts")
        )]
    );
}

#[test]
fn a_savepoint_of_a_running_pipeline_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let mut store = open(&path, "host:2");
    advance(&mut store, "shard-2", Position::TrimHorizon, after("5", 0), 2_000);
    let running = taken(&path);
    advance(&mut store, "shard-2", after("5", 0), after("6", 0), 3_000);
    let shown = running.to_string();
    assert_eq!(
        shown,
        format!(
            "\
savepoint of pipeline seismology/earthquakes, generation 2
  taken         2018-02-01T00:01:00Z, while host:2 ran it
  with          sluicebox {}, parallelism 2
  hash          {}, verified
  deserializer  sha256:0000000000000000000000000000000000000000000000000000000000000007

stream arn:aws:kinesis:us-east-1:000000000000:stream/blasts, created 2017-07-14T02:40:00Z, started at trim-horizon
SHARD    POSITION  COMPLETE UNTIL  WATERMARK  CHILDREN
shard-1  after:7   -               -          -

stream arn:aws:kinesis:us-east-1:000000000000:stream/quakes, created 2017-07-14T02:40:00Z, started at at-timestamp:2018-02-01T00:00:00Z
SHARD    POSITION                                                          COMPLETE UNTIL           WATERMARK                 CHILDREN
shard-0  shard-end                                                         -                        2018-02-01T00:00:00.5Z    shard-1 shard-2
shard-1  after:49590338271490256608559692538361571095921575989136588898/3  2018-02-01T00:00:00.25Z  1969-12-31T23:59:59.995Z  -
shard-2  after:5                                                           2018-02-01T00:00:00.9Z   -                         -
shard-3  at-timestamp:2018-02-01T00:00:00Z                                 -                        -                         -

SINK  MARK
out   2000
",
            env!("CARGO_PKG_VERSION"),
            running.hash(),
        )
    );
}

/// Ends a thread that commits for ever, however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Commit `n` moves a shard of each stream from `n - 1` to `n` and sets the mark to `n`.
fn commit_until(stop: &AtomicBool, mut store: SqliteStore) {
    let at = |n: u64| after(&n.to_string(), 0);
    let (both, sinks) = ([stream("quakes"), stream("blasts")], ["out".to_owned()]);
    let shards = [ShardId::new("p"), ShardId::in_stream(1, "p")];
    let rows = shards.clone().map(|shard| ShardRow { shard, ..row("p", at(1)) });
    let mut commit = Commit { create: rows.to_vec(), ..Commit::default() };
    for n in 1.. {
        commit.marks = vec![SinkMark { sink: 0, mark: n }];
        store.commit(&both, &commit, &sinks).expect("the owner");
        let advance = |shard: &ShardId| Advance {
            shard: shard.clone(),
            from: at(n),
            to: at(n + 1),
            children: Vec::new(),
            watermark: None,
            complete_until: None,
            finished_at: None,
        };
        commit = Commit { advance: shards.iter().map(advance).collect(), ..Commit::default() };
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// CKP-1: positions of all streams and marks of sinks are of one moment, whatever is committed meanwhile.
#[test]
fn a_savepoint_among_commits_is_of_one_of_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = state(directory.path());
    let (stop, store) = (AtomicBool::new(false), open(&path, "host:2"));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        let committing = scope.spawn(|| commit_until(&stop, store));
        let mut seen = BTreeSet::new();
        while seen.len() < 25 {
            assert!(!committing.is_finished(), "it commits for ever");
            let json = serde_json::to_value(taken(&path)).expect("JSON");
            let content = &json["content"];
            let mark = content["marks"][0]["mark"].as_u64().expect("a number");
            for stream in [0, 1] {
                let shards = content["streams"][stream]["shards"].as_array().expect("shards");
                let Some(p) = shards.iter().find(|shard| shard["shard"] == "p") else { continue };
                assert_eq!(p["position"], format!("after:{mark}"));
                seen.insert(mark);
            }
        }
    });
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        Just(Position::TrimHorizon),
        (-62_000_000_000_000_i64..253_000_000_000_000).prop_map(|at| Position::AtTimestamp(EpochMillis(at))),
        ("[1-9][0-9]{0,127}", 0_u64..=i64::MAX as u64).prop_map(|(sequence, sub)| after(&sequence, sub)),
        Just(Position::ShardEnd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Whatever a state may hold, a savepoint has it back as it was.
    #[test]
    fn any_rows_come_back_as_they_were(
        positions in proptest::collection::vec((position(), any::<Option<i32>>(), any::<(u128, u128)>()), 1..12),
        mark in 0_u64..=i64::MAX as u64,
        sink in "[a-z]{1,9}",
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from.db"), directory.path().join("to.db"));
        let rows: Vec<_> = positions.into_iter().enumerate().map(|(n, (position, time, (start, end)))| ShardRow {
            range: Some(HashRange { start, end }),
            watermark: time.map(|time| EpochMillis(i64::from(time) * 1_001)),
            complete_until: time.map(|time| EpochMillis(i64::from(time) * 997)),
            ..row(&format!("shard-{n:02}"), position)
        }).collect();
        let mut store = open(&from, "host:1");
        store.start_stream(&stream("quakes"), StartPoint::TrimHorizon, &rows).expect("new");
        let commit = Commit { marks: vec![SinkMark { sink: 0, mark }], ..Commit::default() };
        store.commit(&[], &commit, &[sink]).expect("the owner");
        drop(store);
        let (savepoint, _) = savepoint::take(&snapshot(&from), &[arn("quakes")], &circumstances()).expect("closed");
        let read = Savepoint::parse(Path::new("x.json"), savepoint.text().as_bytes()).expect("its own text");
        let plan = savepoint::plan(&read, &snapshot(&to), &[arn("quakes")], &[], Default::default()).expect("it fits");
        host::state::edit::apply(&plan, &owner("operator:1")).expect("nobody owns it");
        prop_assert_eq!(claimed(&to), claimed(&from));
    }
}
