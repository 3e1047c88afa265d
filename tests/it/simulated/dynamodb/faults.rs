//! What goes wrong on demand.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use serde_json::json;
use tests::simulated::Fault;

use super::{TABLE, get, item, number, part, put, refused, still, text};

#[tokio::test]
async fn a_refused_write_did_not_happen_and_a_lost_one_did() {
    let (aws, client) = still().await;
    let put = |id: &str| client.put_item().table_name(TABLE).item("id", text(id)).send();
    for (fault, code) in [
        (Fault::throttled(), "ProvisionedThroughputExceededException"),
        (Fault::internal_server_error(), "InternalServerError"),
        (Fault::Conflict(0), "TransactionConflictException"),
    ] {
        aws.faults().on("PutItem").table(TABLE).times(1).inject(fault);
        assert_eq!(refused(put("refused").await).0, code);
    }
    aws.faults().on("PutItem").table(TABLE).times(1).inject(Fault::Disconnect);
    put("refused").await.expect_err("cut off");
    assert_eq!(get(&client, item([("id", text("refused"))])).await, None);
    for (id, fault) in [("lost", Fault::Lose), ("cut", Fault::Cut { after: 1 })] {
        aws.faults().on("PutItem").table(TABLE).times(1).inject(fault);
        put(id).await.expect_err("no answer");
        assert!(get(&client, item([("id", text(id))])).await.is_some());
    }
    // Another table is not concerned.
    aws.faults().on_any().table("other").inject(Fault::throttled());
    put("fine").await.expect("written");
    let tally = aws.counted(|counted| counted.of_table("PutItem", TABLE));
    assert_eq!((tally.calls, tally.answered, tally.refused.values().sum::<u64>()), (7, 3, 4));
}

#[tokio::test]
async fn a_write_that_is_answered_too_late_happened() {
    let (aws, client) = still().await;
    aws.faults().on("PutItem").inject(Fault::Delay(Duration::from_secs(600)));
    let call = tokio::spawn(client.put_item().table_name(TABLE).item("id", text("a")).send());
    aws.until("the write to be done", |counted| counted.operation("PutItem").answered == 1).await;
    call.abort();
    assert!(get(&client, item([("id", text("a"))])).await.is_some());
}

#[tokio::test]
async fn a_belated_write_happens_after_its_caller_has_gone_and_over_what_was_written_since() {
    let (aws, client) = still().await;
    let put = |data: i32| client.put_item().table_name(TABLE).item("id", text("a")).item("n", number(data)).send();
    let rule = aws.faults().on("PutItem").times(1).inject(Fault::Belate);
    let call = tokio::spawn(put(1));
    aws.until_hung(1).await;
    call.abort();
    aws.until("the caller to be gone", |counted| counted.connections == 0).await;
    put(2).await.expect("written");
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 1);
    aws.faults().lift(rule);
    aws.until("the belated write", |counted| counted.hung == 0).await;
    assert_eq!(get(&client, item([("id", text("a"))])).await.expect("there")["n"], number(1));
    assert_eq!(aws.dynamodb().writes(TABLE).len(), 2);
}

#[tokio::test]
async fn parts_of_a_batch_come_back_by_chance_and_the_same_ones_for_the_same_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (aws, client) = still().await;
        aws.faults().on("BatchWriteItem").table(TABLE).times(2).inject(Fault::Unprocessed(3));
        let mut left = Vec::new();
        for _ in 0..3 {
            let requests = (0..10).map(|id| put(item([("id", text(id.to_string()))]))).collect();
            let output = client.batch_write_item().request_items(TABLE, requests).send().await.expect("answered");
            left.push(output.unprocessed_items.expect("told").remove(TABLE).unwrap_or_default());
        }
        assert_eq!(left.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 0]);
        assert_eq!(aws.dynamodb().writes(TABLE).len(), 7 + 7 + 10);
        assert_eq!(aws.dynamodb().effects(TABLE).len(), 10);
        assert_ne!(left[0], left[1]);
        runs.push(left);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_transaction_can_be_in_conflict_or_lost_and_its_token_makes_it_happen_once() {
    let (aws, client) = still().await;
    let add = |token: &str| {
        let parts = [part(item([("id", text("a"))])), part(item([("id", text("b"))]))];
        let request = client.transact_write_items().set_transact_items(Some(parts.to_vec()));
        request.client_request_token(token).send()
    };
    aws.faults().on("TransactWriteItems").table(TABLE).times(1).inject(Fault::Conflict(1));
    let TransactWriteItemsError::TransactionCanceledException(error) =
        add("one").await.expect_err("cancelled").into_service_error()
    else {
        panic!("another error")
    };
    let codes: Vec<_> = error.cancellation_reasons().iter().map(|reason| reason.code().expect("told")).collect();
    assert_eq!(codes, ["None", "TransactionConflict"]);
    assert_eq!(
        error.message.as_deref(),
        Some(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, TransactionConflict]"
        )
    );
    assert!(aws.dynamodb().items(TABLE).is_empty());
    aws.faults().on("TransactWriteItems").table(TABLE).times(1).inject(Fault::Lose);
    add("one").await.expect_err("no answer");
    add("one").await.expect("the same as before");
    assert_eq!(aws.dynamodb().effects(TABLE).into_values().collect::<Vec<_>>(), [1, 1]);
    let writes = aws.dynamodb().writes_of(TABLE, &json!({ "id": { "S": "b" } }));
    assert_eq!(
        (writes.len(), writes[0].order, writes[0].request, writes[0].operation),
        (1, 2, 2, "TransactWriteItems")
    );
}
