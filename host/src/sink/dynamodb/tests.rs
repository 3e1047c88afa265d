use std::time::Duration;

use super::*;
use crate::config::{BuiltinConverter, Converter, Guarantee, SinkBatch, Table};
use crate::ports::{KeyAttribute, KeyType};
use crate::sink::memory_table::{Fault, MemoryTable};

const LIMITS: RetryLimits =
    RetryLimits { max_attempts: 4, min_delay: Duration::from_millis(10), max_delay: Duration::from_millis(20) };

fn table() -> MemoryTable {
    MemoryTable::new("quakes", KeyAttribute { name: "id".to_owned(), of: KeyType::Text }, None)
}

async fn open(table: &MemoryTable) -> Result<DynamodbTarget, SinkError> {
    DynamodbTarget::open(Arc::new(table.clone()), "strong", LIMITS, Clock::start()).await
}

fn request(action: Action, id: &str, text: &str) -> ItemRequest {
    let attribute = |name: &str, text: &str| (name.to_owned(), Value::Text(text.to_owned()));
    ItemRequest { action, item: Item(vec![attribute("id", id), attribute("text", text)]) }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_missing_ends_the_start_at_once_and_by_name() {
    let table = table();
    table.delete();
    let started = tokio::time::Instant::now();
    let error = open(&table).await.err().expect("no table").to_string();
    assert!(error.starts_with("sink \"strong\": table \"quakes\" does not exist in us-east-1"), "{error}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_takes_no_writes_is_waited_for_and_then_told() {
    let table = table();
    table.alter(|description| description.is_writable = false);
    let error = open(&table).await.err().expect("not active");
    assert!(matches!(&error, SinkError::NotWritable { sink, .. } if sink == "strong"), "{error}");

    let waiting = tokio::spawn({
        let table = table.clone();
        async move { open(&table).await.is_ok() }
    });
    tokio::task::yield_now().await;
    table.alter(|description| description.is_writable = true);
    assert!(waiting.await.expect("no panic"), "it became active in time");
}

#[tokio::test]
async fn an_entry_is_known_by_its_typed_key_and_its_size() {
    let target = open(&table()).await.expect("a table");
    let put = target.facts(&request(Action::Put, "a", "xyz")).expect("it can be written");
    assert_eq!((put.bytes, put.destination), (2 + 1 + 4 + 3, TABLE));
    let delete = target.facts(&request(Action::Delete, "a", "xyz")).expect("it can be deleted");
    assert_eq!((delete.bytes, &delete.key), (2 + 1, &put.key), "the key's size, and the same key");
    assert_eq!(target.name(&request(Action::Put, "a", "xyz")), "id=\"a\"");
}

/// BAT-1: by the size of an item as the service counts it.
#[tokio::test]
async fn an_item_of_400_kb_is_taken_and_one_byte_more_is_refused_before_it_is_sent() {
    let target = open(&table()).await.expect("a table");
    let of = |length: usize| request(Action::Put, "a", &"x".repeat(length));
    let largest = 409_600 - 7;
    assert_eq!(target.facts(&of(largest)).expect("it fits").bytes, 409_600);
    let why = target.facts(&of(largest + 1)).expect_err("it does not");
    assert_eq!(why, "the item has 409601 bytes, more than the 409600 that a table takes");
    let delete = ItemRequest { action: Action::Delete, ..of(largest + 1) };
    assert_eq!(target.facts(&delete).expect("its key fits").bytes, 3);
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_with_the_reason() {
    let target = open(&table()).await.expect("a table");
    let mut deep = request(Action::Put, "a", "x");
    deep.item.0[1].1 = (0..32).fold(Value::Null, |value, _| Value::List(vec![value]));
    assert_eq!(target.facts(&deep).expect_err("deep"), "the item has a value of more than 32 levels of lists and maps");
    let add = target.facts(&request(Action::Add, "a", "x")).expect_err("an Add");
    assert!(add.contains("guarantee = \"exactly-once\""), "{add}");
    let keyless = ItemRequest { action: Action::Delete, item: Item::default() };
    assert_eq!(target.facts(&keyless).expect_err("no key"), "attribute \"id\", the table's partition key, is missing");
}

#[tokio::test]
async fn what_provisioned_capacity_takes_is_told_once() {
    let table = table();
    assert_eq!(open(&table).await.expect("a table").news(), [], "on demand there is nothing to tell");
    table.alter(|description| description.write_units = Some(5));
    let target = open(&table).await.expect("a table");
    let quota = Quota { records_per_second: 5.0, bytes_per_second: 5120.0 };
    assert_eq!(target.news(), [(TABLE, Some(quota))]);
    assert_eq!(target.news(), []);
}

#[tokio::test]
async fn a_failed_request_is_for_the_engine_to_repeat_to_halve_or_to_end() {
    let table = table();
    let target = open(&table).await.expect("a table");
    let write = async |fault: Fault| {
        table.script([fault]);
        target.write(vec![Arc::new(request(Action::Put, "a", "x")), Arc::new(request(Action::Delete, "b", ""))]).await
    };
    for (code, trouble) in [
        ("ThrottlingException", Trouble::Throttled),
        ("InternalServerError", Trouble::Transient),
        ("AccessDeniedException", Trouble::Denied),
        ("ResourceInUseException", Trouble::Contended),
    ] {
        let error = write(Fault::Code(code)).await.expect_err("scripted");
        assert!(matches!(error, WriteError::Trouble(of, _) if of == trouble), "{code} {error:?}");
    }
    let unanswered = write(Fault::Unanswered).await.expect_err("scripted");
    assert!(matches!(unanswered, WriteError::Trouble(Trouble::Transient, _)), "{unanswered:?}");
    let rejected = write(Fault::Code("ValidationException")).await.expect_err("scripted");
    assert!(matches!(rejected, WriteError::Rejected(_)), "{rejected:?}");
    let gone = write(Fault::Code("ResourceNotFoundException")).await.expect_err("scripted");
    assert!(matches!(gone, WriteError::Fatal(_)), "{gone:?}");
    let written = write(Fault::Unprocessed(vec![1])).await.expect("an answer");
    let throttled = Outcome::Retry(host_core::batching::Setback::Throttled);
    assert_eq!(written.outcomes, [Outcome::Done, throttled]);
    assert_eq!(written.codes, [("UnprocessedItems".to_owned(), 1)]);
}

/// BAT-1: whatever the manifest says.
#[test]
fn no_manifest_makes_requests_larger_than_the_service_takes() {
    let batch = SinkBatch {
        max_count: 99,
        max_bytes: 1 << 30,
        max_record_bytes: Some(1 << 20),
        max_age: Duration::from_secs(1),
        max_in_flight: 7,
        max_buffered: 1_000,
        max_buffered_bytes: 64 << 20,
        request_timeout: Duration::from_secs(9),
        fail_on_timeout: false,
        max_attempts: Some(3),
        max_entry_age: None,
    };
    let sink = DynamodbSink {
        table: Table { name: "quakes".to_owned(), region: "us-east-1".to_owned(), account: None },
        converter: Converter::Builtin(BuiltinConverter::JsonToItem),
        order: SinkOrder::PerKey,
        fail_on_error: false,
        guarantee: Guarantee::AtLeastOnce,
        batch,
    };
    let retry = Retry { max_attempts: 5, min_delay: Duration::from_millis(1), max_delay: Duration::from_millis(2) };
    let kept = options(&sink, &retry);
    assert_eq!((kept.max_count, kept.max_bytes, kept.max_record_bytes), (25, 16 << 20, 409_600));
    assert_eq!((kept.max_in_flight, kept.max_attempts, kept.retry.max_attempts), (7, Some(3), 5));
    assert_eq!(kept.order, Order::Newest);
    assert!(kept.check().is_ok());
    let any = DynamodbSink { order: SinkOrder::None, ..sink };
    assert_eq!(options(&any, &retry).order, Order::Distinct, "no item twice in a request all the same");
}
