//! `check --online`: what a start would look at, and nothing that a start would do.

use super::*;
use tests::simulated::Fault;

const ONLINE: [&str; 3] = ["check", "--online", "p.toml"];
const READS: [&str; 3] = ["DescribeStreamSummary", "ListShards", "DescribeTable"];
const POSITIONS: &str = "store = \"dynamodb:words-positions\"";

fn everything(place: &Place) {
    let sinks = [TO_FILE, &to_stream("", PASSTHROUGH, ""), &to_table("", JSON_TO_ITEM, "")].concat();
    place.manifest(&Pipeline { store: POSITIONS, ..Place::pipeline(sinks) });
}

/// Nothing was asked for but descriptions, and nothing was left in the folder.
#[track_caller]
fn expect_untouched(place: &Place) {
    place.aws.counted(|counted| {
        for operation in [
            "GetRecords",
            "GetShardIterator",
            "PutRecords",
            "BatchWriteItem",
            "CreateTable",
            "TransactWriteItems",
            "PutItem",
        ] {
            assert_eq!(counted.calls(operation), 0, "{operation}");
        }
        assert!(READS.iter().any(|operation| counted.calls(operation) > 0));
    });
    assert!(!place.has_state() && !place.folder.path().join("out.txt").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_printed_line_by_line() {
    let place = Place::new(1).await;
    everything(&place);
    let looked = place.run(&ONLINE).expect_code(0);
    assert_eq!(
        place.plain(&looked.stdout),
        "p.toml: source: stream arn:aws:kinesis:us-east-1:000000000000:stream/words is active and keeps records for 24 hours\n\
         p.toml: sink \"copy\": stream arn:aws:kinesis:us-east-1:000000000000:stream/copies takes records\n\
         p.toml: sink \"table\": table arn:aws:dynamodb:us-east-1:000000000000:table/items takes items, key id (S), on demand\n\
         p.toml: positions: table \"words-positions\" in us-east-1 is not there yet; the first run creates it\n\
         p.toml: positions: table \"words-positions-sluicebox\" in us-east-1 is not there yet; the first run creates it\n"
    );
    looked.expect_stderr("p.toml: fine: pipeline default/words");
    expect_untouched(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_takes_each_record_once_is_told_from_one_that_takes_it_again() {
    let place = Place::new(1).await;
    let once = to_table("guarantee = \"exactly-once\"", JSON_TO_ITEM, "");
    place.manifest(&Pipeline { store: POSITIONS, ..Place::pipeline(once) });
    let looked = place.run(&ONLINE).expect_code(0);
    assert_eq!(
        place.plain(&looked.stdout),
        "p.toml: source: stream arn:aws:kinesis:us-east-1:000000000000:stream/words is active and keeps records for 24 hours\n\
         p.toml: sink \"table\": table arn:aws:dynamodb:us-east-1:000000000000:table/items takes items, in transactions with \
         positions, key id (S), on demand\n\
         p.toml: positions: table \"words-positions\" in us-east-1 is not there yet; the first run creates it\n\
         p.toml: positions: table \"words-positions-sluicebox\" in us-east-1 is not there yet; the first run creates it\n"
    );
    expect_untouched(&place);
    drop(place.run(&TO_END).expect_code(0));
    let looked = place.run(&ONLINE).expect_code(0);
    assert!(looked.stdout.contains(":table/words-positions-sluicebox is there\n"), "{}", looked.stdout);
    let text = place.file("p.toml").replace("table = \"items\"", "table = \"itemz\"");
    std::fs::write(place.folder.path().join("p.toml"), text).expect("writable");
    place.run(&ONLINE).expect_code(1).expect_stderr("error: p.toml: sink \"table\": table \"itemz\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_missing_is_told_at_once() {
    let place = Place::new(1).await;
    everything(&place);
    let text = place.file("p.toml");
    std::fs::write(place.folder.path().join("p.toml"), text.replace("stream/words", "stream/wordz")).expect("writable");
    std::fs::write(place.folder.path().join("q.toml"), &text).expect("writable");
    place.aws.kinesis().delete(COPY);
    place.aws.dynamodb().create("words-positions", ("id", KeyType::Number), Some(("at", KeyType::Number)));
    place.aws.faults().on("DescribeTable").table(TABLE).inject(Fault::client("AccessDeniedException"));
    let looked = place.run(&["check", "--online", "p.toml", "q.toml"]).expect_code(1);
    for told in [
        "error: p.toml: stream \"wordz\"",
        "error: p.toml: sink \"copy\": stream \"copies\"",
        "error: p.toml: sink \"table\": table \"items\"",
        "error: p.toml: table arn:aws:dynamodb:us-east-1:000000000000:table/words-positions keeps no positions: its key is id (N), at (N), not leaseKey (S)",
        "error: q.toml: sink \"copy\": stream \"copies\"",
    ] {
        looked.expect_stderr(told);
    }
    assert!(looked.stdout.contains("q.toml: source: stream"), "{}", looked.stdout);
    assert_eq!(looked.stderr.lines().filter(|line| line.starts_with("error:")).count(), 7, "{}", looked.stderr);
    expect_untouched(&place);
}

/// A mistake in one manifest hides nothing about the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_a_manifest_outweighs_what_another_one_names() {
    let place = Place::new(1).await;
    everything(&place);
    std::fs::write(place.folder.path().join("q.toml"), "version = 1\nnam = \"q\"\n").expect("writable");
    let looked = place.run(&["check", "--online", "q.toml", "p.toml"]).expect_code(2);
    assert_eq!(looked.stdout.lines().count(), 5, "{}", looked.stdout);
    looked.expect_stderr("q.toml");
}
