//! A service that throttles, drops, delays and loses: nothing is lost, no key is out of order; and what a stop meets.

use std::time::Duration;

use super::*;
use tests::simulated::Fault;

fn everything(batch: &str) -> String {
    to_stream("", PASSTHROUGH, batch) + &to_table("", JSON_TO_ITEM, batch)
}

/// The first requests of each sink meet it.
fn on_each(place: &Place, fault: &Fault) {
    for operation in ["PutRecords", "BatchWriteItem"] {
        place.aws.faults().on(operation).times(4).inject(fault.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_every_kind_loses_nothing_and_keeps_each_key_in_order() {
    let short = "max_age = \"20ms\"\nmax_count = 25\nrequest_timeout = \"150ms\"";
    for fault in [
        Fault::throttled(),
        Fault::Unprocessed(3),
        Fault::internal_server_error(),
        Fault::Disconnect,
        Fault::Lose,
        Fault::Delay(Duration::from_millis(400)),
    ] {
        let place = Place::new(2).await;
        place.put(0, 1_000);
        on_each(&place, &fault);
        place.manifest(&Place::pipeline(everything(short)));
        let done = place.run(&TO_END).expect_code(0);
        let verdict = place.compared();
        assert!(verdict.is_at_least_once(), "{fault:?}: {verdict}");
        if matches!(fault, Fault::Refuse(_) | Fault::Unprocessed(_)) {
            assert!(verdict.is_exact(), "{fault:?}: what was never carried out is there once: {verdict}");
        }
        place.expect_items(1_000);
        // What comes back unprocessed may be overtaken by a newer item of its key, which repeats nothing.
        if !matches!(fault, Fault::Unprocessed(_)) {
            done.expect_stderr("sent were repetitions");
        }
    }
}

/// An hour of the day on which one of two shards takes nothing: the other one's records are confirmed and recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_target_throttles_ends_in_time_and_the_next_run_delivers_the_rest() {
    let place = Place::new(2).await;
    let copies = place.aws.kinesis().open_shards(COPY);
    place.put(0, 40);
    place.manifest(&Pipeline {
        top: "shutdown_timeout = \"500ms\"",
        ..Place::pipeline(to_stream("", PASSTHROUGH, PROMPT))
    });
    place.aws.kinesis().refuse_entries(COPY, &copies[1], "ProvisionedThroughputExceededException", usize::MAX);
    let mut running = place.start();
    place.aws.until_called("PutRecords", 20).await;
    // The first shard of the source has the keys of the first one of the target: it is done, and recorded.
    running.wait_for("stderr", |text| text.contains("has failed for a while"));
    let before = place.positions();
    assert!(before[0].starts_with("after:"), "{before:?}");
    assert_eq!(before[1], "trim-horizon");
    running.terminate();
    let stopped = running.finish().expect_code(1);
    stopped.expect_stderr("were read but not delivered within shutdown_timeout");
    let verdict = place.compared();
    assert!(!verdict.missing.is_empty() && verdict.out_of_order.is_empty(), "{verdict}");
    place.aws.kinesis().accept_entries(COPY);
    drop(place.run(&TO_END).expect_code(0));
    let verdict = place.compared();
    assert!(verdict.is_exact(), "{verdict}");
}
