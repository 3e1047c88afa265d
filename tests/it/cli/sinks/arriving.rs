//! What is read arrives: in each sink, in order, and after a crash.

use super::*;
use tests::simulated::Fault;

const TO_STDOUT: &str = "[[sink]]\ntype = \"stdout\"\n";

/// Lines of a sink on this machine, against the stream.
#[track_caller]
fn expect_exact(place: &Place, lines: &str) {
    let verdict = place.aws.kinesis().truth(STREAM).compare_data(lines.lines().map(str::as_bytes));
    assert!(verdict.is_exact(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sink_gets_every_record_once_and_in_the_order_of_its_key() {
    let place = Place::new(3).await;
    place.put(0, 2_000);
    let sinks = [TO_FILE, TO_STDOUT, &to_stream("", PASSTHROUGH, PROMPT), &to_table("", JSON_TO_ITEM, PROMPT)].concat();
    place.manifest(&Place::pipeline(sinks));
    let done = place.run(&TO_END).expect_code(0);
    expect_exact(&place, &done.stdout);
    expect_exact(&place, &place.file("out.txt"));
    let verdict = place.compared();
    assert!(verdict.is_exact(), "{verdict}");
    place.expect_items(2_000);
    done.expect_stderr("default/words: caught up").expect_stderr("2,000 records in");
    // What is done is not done again.
    let done = place.run(&TO_END).expect_code(0);
    assert_eq!(done.stdout, "");
    assert_eq!(place.copies().len(), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_make_the_entries_of_both_kinds_of_sinks() {
    let place = Place::new(2).await;
    place.put(0, 500);
    let stream = to_stream("", &component("to_kinesis", "key_field = \"id\""), PROMPT);
    let table = to_table("", &component("to_dynamodb", "key = \"id\""), PROMPT);
    place.manifest(&Pipeline { top: "parallelism = 2", ..Place::pipeline(stream + &table) });
    drop(place.run(&TO_END).expect_code(0));
    let verdict = place.compared();
    assert!(verdict.is_exact(), "{verdict}");
    place.expect_items(500);
}

/// CKP-1, DEL-1, ORD-1: a file is cut back to what is recorded; a service has everything, and some of it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_a_file_is_exact_and_services_lack_nothing() {
    let place = Place::new(2).await;
    place.put(0, 3_000);
    let sinks = [TO_FILE, &to_stream("", PASSTHROUGH, PROMPT), &to_table("", JSON_TO_ITEM, PROMPT)].concat();
    place.manifest(&Place::pipeline(sinks));
    // Some requests are carried out and never answered: what the killed run did not know of is there all the same.
    place.aws.faults().on("PutRecords").skip(3).times(2).inject(Fault::Lose);
    for kill in 1..=3 {
        let running = place.start();
        place.aws.until_called("PutRecords", 20 * kill).await;
        running.kill();
    }
    drop(place.run(&TO_END).expect_code(0));
    expect_exact(&place, &place.file("out.txt"));
    let verdict = place.compared();
    assert!(verdict.is_at_least_once(), "{verdict}");
    place.expect_items(3_000);
}
