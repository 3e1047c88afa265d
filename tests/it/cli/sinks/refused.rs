//! Targets and entries that are not as a sink needs them, with `fail_on_error` both ways: it is about what may pass, and
//! what never passes is told the same.

use super::*;
use tests::simulated::Fault;

const WAYS: [&str; 2] = ["fail_on_error = true", "fail_on_error = false"];
const SKIP: &str = "poison = \"skip\"";
/// All of a page in one request.
const TOGETHER: &str = "max_age = \"200ms\"\nmax_count = 25";

fn both(keys: &str) -> [(&'static str, String); 2] {
    [("copy", to_stream(keys, PASSTHROUGH, PROMPT)), ("table", to_table(keys, JSON_TO_ITEM, PROMPT))]
}

/// One error and nothing else, exit code 1, and no positions: a start that touched nothing.
#[track_caller]
fn expect_refused(place: &Place, error: &str) {
    let failed = place.run(&TO_END).expect_code(1);
    assert_eq!(place.plain(&failed.stderr), error);
    assert_eq!(failed.stdout, "");
    assert!(!place.has_state(), "a start that failed left state behind");
}

/// KS-05, DD-07, DD-11: a typo is found before anything is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_does_not_exist_ends_the_start() {
    let place = Place::new(1).await;
    place.put(0, 10);
    for way in WAYS {
        for (sink, text) in both(way) {
            place.manifest(&Place::pipeline(
                text.replace("stream/copies", "stream/copiez").replace("\"items\"", "\"itemz\""),
            ));
            let error = match sink {
                "copy" => {
                    "error: default/words: sink \"copy\": stream \"copiez\" does not exist in us-east-1 (account 000000000000) at \
                     ENDPOINT: ResourceNotFoundException: Stream copiez under account 000000000000 not found. \
                     (DescribeStreamSummary); check stream_arn: its name, region and account\n"
                }
                _ => {
                    "error: default/words: sink \"table\": table \"itemz\" does not exist in us-east-1 at ENDPOINT: \
                     ResourceNotFoundException: Requested resource not found: Table: itemz not found (DescribeTable); check \
                     the sink's table, and that it is in us-east-1 and in the account of credentials = \"basic\"\n"
                }
            };
            expect_refused(&place, error);
        }
    }
    assert_eq!(place.aws.counted(|counted| counted.calls("GetRecords")), 0);
}

/// KS-10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_may_not_be_written_to_ends_the_run_with_what_to_grant() {
    for way in WAYS {
        for (sink, text) in both(way) {
            let place = Place::new(1).await;
            place.put(0, 10);
            place.manifest(&Place::pipeline(text));
            for operation in ["PutRecords", "BatchWriteItem"] {
                place.aws.faults().on(operation).inject(Fault::client("AccessDeniedException"));
            }
            let failed = place.run(&TO_END).expect_code(1);
            failed
                .expect_stderr(&format!("error: default/words: sink {sink:?}: "))
                .expect_stderr("AccessDeniedException");
            failed.expect_stderr(if sink == "copy" { "kinesis:PutRecords" } else { "BatchWriteItem" });
            assert_eq!(place.positions(), ["trim-horizon"]);
            place.aws.faults().mend();
            drop(place.run(&TO_END).expect_code(0));
            assert_eq!(place.copies().len() + place.aws.dynamodb().items(TABLE).len(), 10);
        }
    }
}

/// KS-06, DD-11: what no service takes is known before it is asked, is told by its record, and stops nothing but itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_no_service_takes_is_told_by_its_record() {
    let long_key = "k".repeat(257);
    let too_large = json!({ "id": "large", "text": "x".repeat(400 * 1024 + 1 - "idlargetext".len()) }).to_string();
    let fits = json!({ "id": "fits", "text": "x".repeat(400 * 1024 - "idfitstext".len()) }).to_string();
    for way in WAYS {
        let place = Place::new(1).await;
        place.put(0, 10);
        place.put_one("large", &too_large);
        place.put_one("fits", &fits);
        place.put_one("long", &json!({ "id": long_key, "n": 0 }).to_string());
        place.put(10, 20);
        let (large, long) = (place.sequence("\"large\""), place.sequence(&long_key));
        let to_kinesis = component("to_kinesis", "key_field = \"id\"");
        let sinks = to_stream(way, &to_kinesis, PROMPT) + &to_table(way, JSON_TO_ITEM, PROMPT);
        let mut pipeline = Place::pipeline(sinks);
        place.manifest(&pipeline);
        let failed = place.run(&TO_END).expect_code(1);
        // Which of both is told depends on who is faster: a converter that refuses, or a sink.
        let told = [&large, &long]
            .iter()
            .filter(|sequence| failed.stderr.contains(&format!("record {sequence} of shard")))
            .count();
        assert_eq!(told, 1, "{}", failed.stderr);
        pipeline.on_error = SKIP;
        place.manifest(&pipeline);
        let done = place.run(&TO_END).expect_code(0);
        done.expect_stderr(&format!("sequence=\"{long}\"")).expect_stderr(&format!("sequence=\"{large}\""));
        done.expect_stderr("entry=\"id=\\\"large\\\"\"").expect_stderr("1 will never be written");
        assert!(!done.stderr.contains("xxxx"), "{}", done.stderr);
        let items = place.aws.dynamodb().items(TABLE);
        assert_eq!(items.len(), 13 + 1, "{:?}", items.iter().map(|item| &item["id"]).collect::<Vec<_>>());
    }
}

/// Of 25 items in one request the service refuses one, and so all: the others are written, the one is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_item_that_the_service_refuses_is_found_among_twenty_four_good_ones() {
    let place = Place::new(1).await;
    for number in 0..25 {
        let id = if number == 17 { "poison".to_owned() } else { format!("good-{number}") };
        place.put_one("key", &json!({ "id": id, "n": number }).to_string());
    }
    place.aws.dynamodb().refuse(TABLE, "poison");
    let poison = place.sequence("\"poison\"");
    let mut pipeline = Place::pipeline(to_table(WAYS[1], JSON_TO_ITEM, TOGETHER));
    place.manifest(&pipeline);
    let failed = place.run(&TO_END).expect_code(1);
    failed.expect_stderr(&format!(
        "error: default/words: sink \"table\" cannot write entry id=\"poison\", made of record {poison} of shard shardId-000000000000 in stream words: "
    ));
    failed.expect_stderr("Type mismatch for Index Key").expect_stderr("on_error.poison = \"skip\"");
    assert_eq!(place.positions(), ["trim-horizon"]);
    pipeline.on_error = SKIP;
    place.manifest(&pipeline);
    let done = place.run(&TO_END).expect_code(0);
    done.expect_stderr(&format!("sequence=\"{poison}\"")).expect_stderr("1 will never be written");
    assert_eq!(place.aws.dynamodb().items(TABLE).len(), 24);
    assert_ne!(place.positions(), ["trim-horizon"]);
}

/// With `fail_on_error` the first entry that is not taken at once ends the run, and says which setting does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_throttle_ends_a_run_that_fails_on_errors_and_no_other() {
    for (way, code) in WAYS.into_iter().zip([1, 0]) {
        for (sink, text) in both(way) {
            let place = Place::new(1).await;
            place.put(0, 10);
            place.aws.faults().on("PutRecords").times(1).inject(Fault::throttled());
            place.aws.faults().on("BatchWriteItem").times(1).inject(Fault::throttled());
            place.manifest(&Place::pipeline(text));
            let ended = place.run(&TO_END).expect_code(code);
            if code == 1 {
                ended.expect_stderr(&format!("sink {sink:?}: entry ")).expect_stderr("was not taken at once");
                ended.expect_stderr("fail_on_error = true");
            }
            assert_eq!(place.copies().len() + place.aws.dynamodb().items(TABLE).len(), if code == 1 { 0 } else { 10 });
        }
    }
}
