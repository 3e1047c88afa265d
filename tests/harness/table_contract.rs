//! What every [`TableApi`] and every [`TransactApi`] owes the sinks; no claim asks which backend it runs on.
//! [`crate::table_contract!`] makes a test of each claim.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use host::entry::{Action, ItemRequest};
use host::item::{ITEM_BYTES_MAX, Item, Value};
use host::ports::{KeyAttribute, KeyType, PositionWrite, TableApi, TransactApi, TransactError};
use host::source::classify::SourceErrorKind;
use host_core::batching::Outcome;

/// A table under test, and the eye that reads it.
pub trait TableBackend: Sized {
    /// An empty table that takes writes, with positions beside it, whose key is the text `shard`.
    fn start(partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> impl Future<Output = Self>;
    /// The table as the host sees it.
    fn table(&self) -> Arc<dyn TableApi>;
    /// The same with its positions.
    fn transactions(&self) -> Arc<dyn TransactApi>;
    /// The same service, asked for the table `missing`, which it does not have.
    fn of_missing_table(&self) -> impl Future<Output = Arc<dyn TableApi>>;
    /// All items, in any order, their attributes too.
    fn items(&self) -> impl Future<Output = Vec<Item>>;
}

fn attribute(name: &str, of: KeyType) -> KeyAttribute {
    KeyAttribute { name: name.to_owned(), of }
}

async fn start<B: TableBackend>(partition: KeyType, sort: Option<KeyType>) -> B {
    B::start(attribute("p", partition), sort.map(|of| attribute("s", of))).await
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(text: &str) -> Value {
    Value::Number(text.to_owned())
}

fn item(values: &[(&str, Value)]) -> Item {
    Item(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn request(action: Action, values: &[(&str, Value)]) -> Arc<ItemRequest> {
    Arc::new(ItemRequest { action, item: item(values) })
}

fn put(values: &[(&str, Value)]) -> Arc<ItemRequest> {
    request(Action::Put, values)
}

/// Items in an order of their own, so that two tables can be compared.
fn sorted(items: impl IntoIterator<Item = Item>) -> Vec<Item> {
    fn sort(value: &mut Value) {
        match value {
            Value::Map(named) => {
                named.sort_by(|(one, _), (other, _)| one.cmp(other));
                named.iter_mut().for_each(|(_, value)| sort(value));
            }
            Value::List(values) => values.iter_mut().for_each(sort),
            Value::Texts(texts) | Value::Numbers(texts) => texts.sort(),
            Value::ByteStrings(all) => all.sort(),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::Number(_) | Value::Bytes(_) => {}
        }
    }
    let mut all: Vec<Item> = items.into_iter().collect();
    for item in &mut all {
        item.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        item.0.iter_mut().for_each(|(_, value)| sort(value));
    }
    all.sort_by_key(|item| format!("{item:?}"));
    all
}

async fn assert_items(backend: &impl TableBackend, wanted: impl IntoIterator<Item = Item>) {
    assert_eq!(sorted(backend.items().await), sorted(wanted));
}

/// Writes what no service has a reason to leave.
async fn write(backend: &impl TableBackend, requests: &[Arc<ItemRequest>]) {
    let outcomes = backend.table().batch_write(requests).await.expect("an answer");
    assert_eq!(outcomes, vec![Outcome::Done; requests.len()]);
}

async fn rejection(backend: &impl TableBackend, requests: &[Arc<ItemRequest>]) -> String {
    let error = backend.table().batch_write(requests).await.expect_err("no service takes it");
    assert_eq!(error.kind, SourceErrorKind::Rejected, "{error}");
    error.to_string()
}

/// Claims that a description tells the key, its types, and whether the table takes writes.
///
/// # Panics
/// It does not hold.
pub async fn a_description_tells_the_typed_key<B: TableBackend>() {
    let backend: B = start(KeyType::Bytes, Some(KeyType::Number)).await;
    let table = backend.table().describe().await.expect("a description");
    assert_eq!(table.partition_key, attribute("p", KeyType::Bytes));
    assert_eq!(table.sort_key, Some(attribute("s", KeyType::Number)));
    assert!(table.is_writable && table.arn.starts_with("arn:"), "{table:?}");
    let single: B = start(KeyType::Text, None).await;
    assert_eq!(single.table().describe().await.expect("a description").sort_key, None);
}

/// Claims that a missing table is told as missing, by every call.
///
/// # Panics
/// It does not hold.
pub async fn a_missing_table_is_told_by_name<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let missing = backend.of_missing_table().await;
    let written = missing.batch_write(&[put(&[("p", text("a"))])]).await.map(drop);
    let described = missing.describe().await.map(drop);
    for answer in [described, written] {
        let error = answer.expect_err("there is none");
        assert_eq!(error.kind, SourceErrorKind::TableGone, "{error}");
        assert!(error.to_string().starts_with("table \"missing\" does not exist"), "{error}");
    }
}

/// Claims that puts replace whole items and deletes delete them.
///
/// # Panics
/// It does not hold.
pub async fn puts_replace_and_deletes_delete<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let of = |key: &str, name: &str| item(&[("p", text(key)), (name, text("x"))]);
    let put_of =
        |key: &str, name: &str| put(&of(key, name).0.iter().map(|(n, v)| (n.as_str(), v.clone())).collect::<Vec<_>>());
    write(&backend, &[put_of("a", "old"), put_of("b", "old"), put_of("c", "old")]).await;
    assert_items(&backend, [of("a", "old"), of("b", "old"), of("c", "old")]).await;
    let delete = |key: &str| request(Action::Delete, &[("p", text(key))]);
    write(&backend, &[put_of("a", "new"), delete("b"), delete("never there")]).await;
    assert_items(&backend, [of("a", "new"), of("c", "old")]).await;
}

/// Claims that a delete looks at nothing beside the key.
///
/// # Panics
/// It does not hold.
pub async fn a_delete_looks_at_nothing_beside_the_key<B: TableBackend>() {
    let backend: B = start(KeyType::Text, Some(KeyType::Number)).await;
    write(&backend, &[put(&[("p", text("a")), ("s", number("1")), ("more", text("x"))])]).await;
    let whole = [("more", text("y")), ("s", number("1")), ("p", text("a")), ("other", Value::Null)];
    write(&backend, &[request(Action::Delete, &whole)]).await;
    assert_items(&backend, []).await;
}

/// Claims that composite keys are compared part by part.
///
/// # Panics
/// It does not hold.
pub async fn composite_keys_that_differ_anywhere_are_two_items<B: TableBackend>() {
    let backend: B = start(KeyType::Text, Some(KeyType::Text)).await;
    let pairs = [("ab", "cd"), ("a", "bcd"), ("a$b", "c"), ("a", "b$c"), ("a\u{0}b", "c"), ("a", "\u{0}bc")];
    let all: Vec<_> = pairs.iter().map(|(p, s)| put(&[("p", text(p)), ("s", text(s))])).collect();
    write(&backend, &all).await;
    assert_items(&backend, all.iter().map(|request| request.item.clone())).await;
}

/// Claims that numbers are one key by value: in one batch they are twice the same, one after the other they replace.
///
/// # Panics
/// It does not hold.
pub async fn numbers_of_one_value_are_one_item<B: TableBackend>() {
    let backend: B = start(KeyType::Number, None).await;
    let of = |key: &str, v: &str| put(&[("p", number(key)), ("v", text(v))]);
    rejection(&backend, &[of("1", "a"), of("1.0", "b")]).await;
    assert_items(&backend, []).await;
    for (turn, key) in ["1", "1.0", "10e-1", "0.1E1"].into_iter().enumerate() {
        write(&backend, &[of(key, &turn.to_string()), of("-1", "other")]).await;
    }
    let values: Vec<_> = sorted(backend.items().await).iter().map(|item| item.get("v").cloned()).collect();
    assert_eq!(values.len(), 2, "{values:?}");
    assert!(values.contains(&Some(text("3"))) && values.contains(&Some(text("other"))), "{values:?}");
}

/// Claims that keys may be any bytes.
///
/// # Panics
/// It does not hold.
pub async fn keys_of_bytes_need_be_no_text<B: TableBackend>() {
    let backend: B = start(KeyType::Bytes, None).await;
    let keys = [vec![0xff, 0xfe], vec![0xff, 0xfd], vec![0], vec![0, 0]];
    let all: Vec<_> = keys.iter().map(|key| put(&[("p", Value::Bytes(key.clone()))])).collect();
    write(&backend, &all).await;
    assert_items(&backend, all.iter().map(|request| request.item.clone())).await;
    write(&backend, &[request(Action::Delete, &[("p", Value::Bytes(vec![0xff, 0xfe]))])]).await;
    assert_eq!(backend.items().await.len(), 3);
}

/// Claims that no item may be named twice in a batch, and that then nothing is written.
///
/// # Panics
/// It does not hold.
pub async fn a_batch_with_an_item_twice_is_rejected_whole<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let delete = request(Action::Delete, &[("p", text("a"))]);
    let told = rejection(&backend, &[put(&[("p", text("b"))]), put(&[("p", text("a"))]), delete]).await;
    assert!(told.contains("duplicates"), "{told}");
    assert_items(&backend, []).await;
}

/// Claims that 25 requests fit into a batch.
///
/// # Panics
/// It does not hold.
pub async fn a_batch_has_25_requests_and_no_more<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let all: Vec<_> = (0..26).map(|key| put(&[("p", text(&key.to_string()))])).collect();
    rejection(&backend, &all).await;
    assert_items(&backend, []).await;
    write(&backend, &all[..25]).await;
    assert_eq!(backend.items().await.len(), 25);
}

/// Claims that values of all types come back as they went.
///
/// # Panics
/// It does not hold.
pub async fn values_of_all_types_come_back<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let nested = Value::Map(vec![("l".to_owned(), Value::List(vec![Value::Null, number("2"), text("")]))]);
    let values = item(&[
        ("p", text("ключ")),
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("text", text(&"ä".repeat(70_000))),
        ("number", number("-12345678901234567890.5")),
        ("bytes", Value::Bytes(vec![0, 255, 10])),
        ("texts", Value::Texts(vec!["x".to_owned(), "y".to_owned()])),
        ("numbers", Value::Numbers(vec!["1".to_owned(), "2.5".to_owned()])),
        ("all bytes", Value::ByteStrings(vec![vec![0], vec![255, 0]])),
        ("list", Value::List(vec![])),
        ("map", nested),
    ]);
    write(&backend, &[Arc::new(ItemRequest { action: Action::Put, item: values.clone() })]).await;
    assert_items(&backend, [values]).await;
}

/// Claims that the host counts the size of an item as the service does, to the byte, whatever is in it.
///
/// # Panics
/// It does not hold.
pub async fn an_item_of_400_kb_is_taken_and_one_byte_more_rejected<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let contents = [
        text(""),
        number("-123.45"),
        number("120000"),
        Value::Numbers(vec!["0".to_owned(), "17".to_owned()]),
        Value::List(vec![Value::Bool(true), Value::Map(vec![("ä".to_owned(), number("0.05"))])]),
        Value::ByteStrings(vec![vec![1; 10], vec![2; 20]]),
    ];
    for content in contents {
        let of = |length: usize| {
            item(&[("p", text("a")), ("content", content.clone()), ("fill", text(&"x".repeat(length)))])
        };
        let room = usize::try_from(ITEM_BYTES_MAX - of(0).size()).expect("it fits");
        let put_of = |length: usize| Arc::new(ItemRequest { action: Action::Put, item: of(length) });
        write(&backend, &[put_of(room)]).await;
        rejection(&backend, &[put_of(room + 1)]).await;
    }
}

fn shard(name: &str) -> Item {
    item(&[("shard", text(name))])
}

fn moved(shard_name: &str, generation: u64, before: Value, after: &str) -> PositionWrite {
    let expected = vec![("generation".to_owned(), number(&generation.to_string())), ("position".to_owned(), before)];
    PositionWrite { key: shard(shard_name), expected, set: vec![("position".to_owned(), text(after))] }
}

/// A token that no other transaction of this process has: a service keeps them for minutes, and tests may share one.
fn token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("token-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn position(backend: &impl TableBackend, shard_name: &str, generation: u64) -> Option<Value> {
    let row = backend.transactions().claim(&shard(shard_name), generation).await.expect("claimed");
    row.and_then(|row| row.get("position").cloned())
}

/// Claims that a claim returns what was there, and is refused to an older generation.
///
/// # Panics
/// It does not hold.
pub async fn a_claim_is_fenced_by_a_newer_generation<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let api = backend.transactions();
    assert_eq!(api.claim(&shard("one"), 3).await.expect("claimed"), None);
    let row = api.claim(&shard("one"), 3).await.expect("again").expect("a row");
    assert_eq!(row.get("generation"), Some(&number("3")));
    api.claim(&shard("one"), 5).await.expect("a newer one");
    assert!(matches!(api.claim(&shard("one"), 4).await, Err(TransactError::Fenced)));
    assert_eq!(api.claim(&shard("other"), 1).await.expect("claimed"), None, "each row for itself");
}

/// Claims that a transaction moves the position and carries out its requests.
///
/// # Panics
/// It does not hold.
pub async fn a_transaction_writes_and_moves_the_position<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let api = backend.transactions();
    write(&backend, &[put(&[("p", text("old"))])]).await;
    assert_eq!(position(&backend, "one", 1).await, None);
    let requests = [
        put(&[("p", text("new"))]),
        request(Action::Delete, &[("p", text("old")), ("more", Value::Null)]),
        request(Action::Add, &[("p", text("sum")), ("n", number("2"))]),
    ];
    api.transact(&token(), &moved("one", 1, Value::Null, "17"), &requests).await.expect("done");
    let more = [request(Action::Add, &[("p", text("sum")), ("n", number("40")), ("m", number("1"))])];
    api.transact(&token(), &moved("one", 1, text("17"), "18"), &more).await.expect("done");
    api.transact(&token(), &moved("one", 1, text("18"), "19"), &[]).await.expect("records that write nothing");
    let sum = item(&[("p", text("sum")), ("n", number("42")), ("m", number("1"))]);
    assert_items(&backend, [item(&[("p", text("new"))]), sum]).await;
    assert_eq!(position(&backend, "one", 1).await, Some(text("19")));
}

/// Claims that a transaction does nothing if the position is not as expected.
///
/// # Panics
/// It does not hold.
pub async fn a_transaction_is_fenced_by_its_position<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let api = backend.transactions();
    let requests = [put(&[("p", text("a"))])];
    let fenced = async |position: PositionWrite| {
        let error = api.transact(&token(), &position, &requests).await.expect_err("it is not as expected");
        assert!(matches!(error, TransactError::Fenced), "{error:?}");
    };
    fenced(moved("one", 1, Value::Null, "17")).await;
    assert_eq!(position(&backend, "one", 2).await, None);
    fenced(moved("one", 1, Value::Null, "17")).await;
    fenced(moved("one", 2, text("16"), "17")).await;
    assert_items(&backend, []).await;
    api.transact(&token(), &moved("one", 2, Value::Null, "17"), &requests).await.expect("as expected");
    fenced(moved("one", 2, Value::Null, "18")).await;
    assert_eq!(position(&backend, "one", 2).await, Some(text("17")));
}

/// Claims that a transaction repeated under its token happens once, and that a token is no other transaction's.
///
/// # Panics
/// It does not hold.
pub async fn a_token_makes_a_repetition_the_same_transaction<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let api = backend.transactions();
    position(&backend, "one", 1).await;
    let add = |n: &str| [request(Action::Add, &[("p", text("sum")), ("n", number(n))])];
    let (same, step) = (token(), moved("one", 1, Value::Null, "17"));
    for _attempt in 0..3 {
        api.transact(&same, &step, &add("2")).await.expect("done once, and again as if");
    }
    assert_items(&backend, [item(&[("p", text("sum")), ("n", number("2"))])]).await;
    let error = api.transact(&same, &step, &add("3")).await.expect_err("another transaction");
    assert!(matches!(&error, TransactError::Failed(error) if error.kind == SourceErrorKind::Invalid), "{error:?}");
}

/// Claims that a transaction with a request that is never taken does nothing.
///
/// # Panics
/// It does not hold.
pub async fn a_transaction_with_a_refused_request_does_nothing<B: TableBackend>() {
    let backend: B = start(KeyType::Text, None).await;
    let api = backend.transactions();
    position(&backend, "one", 1).await;
    let wrong_key = put(&[("p", number("1"))]);
    let requests = [put(&[("p", text("a"))]), wrong_key];
    let error = api.transact(&token(), &moved("one", 1, Value::Null, "17"), &requests).await.expect_err("refused");
    assert!(matches!(error, TransactError::Refused { at: Some(1) | None, .. }), "{error:?}");
    assert_items(&backend, []).await;
    assert_eq!(position(&backend, "one", 1).await, None);
}

/// Makes a test of one claim each, in a module that is named after the backend.
#[macro_export]
macro_rules! table_contract_claims {
    ($module:ident, $backend:ty: $($claim:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test]
            async fn $claim() {
                $crate::table_contract::$claim::<$backend>().await;
            })+
        }
    };
}

/// The whole contract as tests: `table_contract! { in_memory = super::Memory }`.
#[macro_export]
macro_rules! table_contract {
    ($($module:ident = $backend:ty),+ $(,)?) => {
        $($crate::table_contract_claims! { $module, $backend:
            a_description_tells_the_typed_key,
            a_missing_table_is_told_by_name,
            puts_replace_and_deletes_delete,
            a_delete_looks_at_nothing_beside_the_key,
            composite_keys_that_differ_anywhere_are_two_items,
            numbers_of_one_value_are_one_item,
            keys_of_bytes_need_be_no_text,
            a_batch_with_an_item_twice_is_rejected_whole,
            a_batch_has_25_requests_and_no_more,
            values_of_all_types_come_back,
            an_item_of_400_kb_is_taken_and_one_byte_more_rejected,
            a_claim_is_fenced_by_a_newer_generation,
            a_transaction_writes_and_moves_the_position,
            a_transaction_is_fenced_by_its_position,
            a_token_makes_a_repetition_the_same_transaction,
            a_transaction_with_a_refused_request_does_nothing,
        })+
    };
}
