//! What the service takes and what it refuses, one request at a time.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use serde_json::json;
use tests::simulated::KeyType;

use super::{TABLE, delete, get, invalid, item, number, put, refused, still, text};

#[tokio::test]
async fn a_table_is_described_listed_and_told_by_name_or_arn() {
    let (aws, client) = still().await;
    aws.dynamodb().create("pairs", ("p", KeyType::Number), Some(("s", KeyType::Bytes)));
    let arn = aws.dynamodb().arn("pairs");
    let table = client.describe_table().table_name(&arn).send().await.expect("described").table.expect("a table");
    assert_eq!((table.table_name(), table.table_arn()), (Some("pairs"), Some(arn.as_str())));
    let key = |index: usize| {
        let element = &table.key_schema()[index];
        (element.attribute_name(), element.key_type().as_str())
    };
    assert_eq!([key(0), key(1)], [("p", "HASH"), ("s", "RANGE")]);
    let types: Vec<_> = table.attribute_definitions().iter().map(|of| of.attribute_type().as_str()).collect();
    assert_eq!(types, ["N", "B"]);
    assert_eq!(table.billing_mode_summary().expect("told").billing_mode().expect("told").as_str(), "PAY_PER_REQUEST");
    let first = client.list_tables().limit(1).send().await.expect("listed");
    let rest = client.list_tables().set_exclusive_start_table_name(first.last_evaluated_table_name.clone());
    let rest = rest.send().await.expect("listed");
    assert_eq!((first.table_names(), rest.table_names()), (&["events".to_owned()][..], &["pairs".to_owned()][..]));
    assert_eq!(rest.last_evaluated_table_name, None);
    let (code, message) = refused(client.describe_table().table_name("none").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, "Requested resource not found: Table: none not found");
}

#[tokio::test]
async fn keys_are_whole_typed_not_empty_and_not_too_long() {
    let (_aws, client) = still().await;
    let put = |item| client.put_item().table_name(TABLE).set_item(Some(item)).send();
    invalid(put(item([("x", number(1))])).await, "Missing the key id in the item");
    invalid(put(item([("id", number(1))])).await, "Type mismatch for key id expected: S actual: N");
    invalid(put(item([("id", text(""))])).await, "cannot contain an empty string value. Key: id");
    invalid(put(item([("id", text("x".repeat(2049)))])).await, "Size of hashkey has exceeded");
    put(item([("id", text("x".repeat(2048)))])).await.expect("just short enough");
    let get = |key| client.get_item().table_name(TABLE).set_key(Some(key)).send();
    let mismatch = "The provided key element does not match the schema";
    invalid(get(item([("id", number(1))])).await, mismatch);
    invalid(get(item([("id", text("a")), ("x", number(1))])).await, mismatch);
    invalid(get(item([("x", text("a"))])).await, mismatch);
}

#[tokio::test]
async fn numbers_that_are_equal_are_one_key() {
    let (aws, client) = still().await;
    aws.dynamodb().create("numbers", ("n", KeyType::Number), None);
    for text in ["1", "1.0", "01", "10e-1"] {
        client.put_item().table_name("numbers").item("n", number(text)).send().await.expect("written");
    }
    assert_eq!(aws.dynamodb().effects("numbers"), [(json!({ "n": { "N": "1" } }).to_string(), 4)].into());
    let twice = vec![put(item([("n", number("2"))])), delete(item([("n", number("2.0"))]))];
    let batch = client.batch_write_item().request_items("numbers", twice).send().await;
    invalid(batch, "Provided list of item keys contains duplicates");
}

#[tokio::test]
async fn values_are_checked_as_deep_as_they_go() {
    let (_aws, client) = still().await;
    let put = |value| client.put_item().table_name(TABLE).item("id", text("a")).item("v", value).send();
    for set in [AttributeValue::Ss(vec![]), AttributeValue::L(vec![AttributeValue::Ns(vec![])])] {
        invalid(put(set).await, "set  may not be empty");
    }
    invalid(put(AttributeValue::Bs(vec![])).await, "Binary sets should not be empty");
    let twice = AttributeValue::Ns(vec!["1".to_owned(), "1.0".to_owned()]);
    invalid(put(twice).await, "Input collection [1, 1.0] contains duplicates.");
    invalid(put(AttributeValue::Null(false)).await, "Null attribute value types must have the value of true");
    invalid(put(number("1".repeat(39))).await, "more than 38 significant digits");
    invalid(put(number("one")).await, "cannot be converted to a numeric value: one");
    invalid(put(number("1e126")).await, "Number overflow");
    let nested = |levels: usize| (1..levels).fold(number(1), |value, _| AttributeValue::L(vec![value]));
    put(nested(32)).await.expect("deep enough");
    invalid(put(nested(33)).await, "Nesting Levels have exceeded supported limits");
    for value in [text(""), AttributeValue::B(Blob::new(*b"")), AttributeValue::M([].into()), AttributeValue::L(vec![])]
    {
        put(value.clone()).await.expect("may be empty");
        assert_eq!(get(&client, item([("id", text("a"))])).await.expect("there")["v"], value);
    }
}

#[tokio::test]
async fn an_item_has_400_kibibytes_names_included() {
    let (_aws, client) = still().await;
    let put =
        |bytes: usize| client.put_item().table_name(TABLE).item("id", text("a")).item("v", text("x".repeat(bytes)));
    // Two bytes of a name, one of another, one of a value.
    put(400 * 1024 - 4).send().await.expect("fits");
    let too_large = "Item size has exceeded the maximum allowed size";
    invalid(put(400 * 1024 - 3).send().await, too_large);
    let update = client.update_item().table_name(TABLE).key("id", text("a")).update_expression("SET w = :w");
    let update = update.expression_attribute_values(":w", text("")).send().await;
    invalid(update, "Item size to update has exceeded the maximum allowed size");
    let large = put_of(400 * 1024 - 3);
    invalid(client.batch_write_item().request_items(TABLE, vec![large]).send().await, too_large);
}

fn put_of(bytes: usize) -> WriteRequest {
    put(item([("id", text("a")), ("v", text("x".repeat(bytes)))]))
}

#[tokio::test]
async fn a_batch_has_25_requests_on_distinct_items_of_tables_that_exist() {
    let (aws, client) = still().await;
    let ids =
        |range: std::ops::Range<u32>| range.map(|id| put(item([("id", text(id.to_string()))]))).collect::<Vec<_>>();
    let write = |table: &str, requests| client.batch_write_item().request_items(table, requests).send();
    invalid(write(TABLE, ids(0..26)).await, "Member must have length less than or equal to 25");
    invalid(write(TABLE, vec![]).await, "Member must have length greater than or equal to 1");
    let twice = vec![put(item([("id", text("a"))])), delete(item([("id", text("a"))]))];
    invalid(write(TABLE, twice).await, "Provided list of item keys contains duplicates");
    assert_eq!(refused(write("none", ids(0..1)).await).0, "ResourceNotFoundException");
    assert_eq!(aws.dynamodb().writes(TABLE), []);
    write(TABLE, ids(0..25)).await.expect("written");
    let some = client
        .batch_write_item()
        .request_items(TABLE, vec![delete(item([("id", text("3"))])), put(item([("id", text("x"))]))]);
    some.send().await.expect("written");
    assert_eq!(aws.dynamodb().items(TABLE).len(), 25);
    let keys = KeysAndAttributes::builder().keys(item([("id", text("3"))])).keys(item([("id", text("x"))]));
    let read = client.batch_get_item().request_items(TABLE, keys.build().expect("keys are set")).send().await;
    assert_eq!(read.expect("read").responses.expect("told")[TABLE], [item([("id", text("x"))])]);
}

#[tokio::test]
async fn a_request_has_16_mebibytes() {
    let (_aws, client) = still().await;
    // Six bytes each on the wire.
    let value = text("\u{1}".repeat(200_000));
    let requests =
        |count: usize| (0..count).map(|id| put(item([("id", text(id.to_string())), ("v", value.clone())]))).collect();
    let write = |count| client.batch_write_item().request_items(TABLE, requests(count)).send();
    write(13).await.expect("written");
    write(14).await.expect_err("too large");
}

#[tokio::test]
async fn conditions_and_updates_make_a_lease() {
    let (aws, client) = still().await;
    let take = |owner: &str, epoch: u32| {
        let update = client.update_item().table_name(TABLE).key("id", text("lease"));
        update
            .update_expression("SET #o = :owner, epoch = if_not_exists(epoch, :zero) + :one")
            .condition_expression("attribute_not_exists(id) OR epoch = :epoch")
            .expression_attribute_names("#o", "owner")
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":epoch", number(epoch))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    };
    let first = take("me", 0).return_values(ReturnValue::AllOld).send().await.expect("free");
    assert_eq!(first.attributes, None);
    let second = take("you", 1).return_values(ReturnValue::UpdatedNew).send().await.expect("of that epoch");
    assert_eq!(second.attributes, Some(item([("owner", text("you")), ("epoch", number(2))])));
    let error = take("me", 1).send().await.expect_err("of another epoch").into_service_error();
    let aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(error) = error
    else {
        panic!("{error}")
    };
    assert_eq!(error.message(), Some("The conditional request failed"));
    assert_eq!(error.item().expect("asked for")["owner"], text("you"));
    assert_eq!(aws.dynamodb().effects(TABLE).into_values().collect::<Vec<_>>(), [2]);
    let writes = aws.dynamodb().writes(TABLE);
    assert_eq!((&writes[0].before, writes[1].before.as_ref()), (&None, writes[0].after.as_ref()));
    let gone = client.delete_item().table_name(TABLE).key("id", text("lease")).return_values(ReturnValue::AllOld);
    assert_eq!(gone.send().await.expect("deleted").attributes.expect("it was there")["epoch"], number(2));
    assert_eq!(aws.dynamodb().item(TABLE, &json!({ "id": { "S": "lease" } })), None);
}

#[tokio::test]
async fn expressions_and_placeholders_are_checked() {
    let (_aws, client) = still().await;
    let update =
        |expression: &str| client.update_item().table_name(TABLE).key("id", text("a")).update_expression(expression);
    let one = |expression: &str| update(expression).expression_attribute_values(":one", number(1)).send();
    invalid(one("SET a = :two").await, "attribute value: :two");
    invalid(one("SET id = :one").await, "Cannot update attribute id. This attribute is part of the key");
    invalid(one("SET name = :one").await, "reserved keyword: name");
    invalid(one("REMOVE a").await, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:one}");
    invalid(one("DELETE a :one").await, "the simulation does not know DELETE");
    invalid(one("SET a = b + :one").await, "refers to an attribute that does not exist in the item");
    let without =
        client.put_item().table_name(TABLE).item("id", text("a")).expression_attribute_values(":one", number(1));
    invalid(without.send().await, "ExpressionAttributeValues can only be specified when using expressions");
    invalid(
        client.put_item().table_name(TABLE).item("id", text("a")).return_values(ReturnValue::AllNew).send().await,
        "ReturnValues can only be ALL_OLD or NONE",
    );
    let unknown = client.scan().table_name(TABLE).index_name("by-owner").send().await;
    invalid(unknown, "the simulation does not know the member IndexName");
}

#[tokio::test]
async fn pages_end_at_their_limit_or_at_a_mebibyte_and_go_on_from_there() {
    let (aws, client) = still().await;
    aws.dynamodb().create("pairs", ("p", KeyType::Text), Some(("s", KeyType::Number)));
    for (p, s) in [("a", 10), ("a", 9), ("a", -1), ("b", 1)] {
        aws.dynamodb().put("pairs", &json!({ "p": { "S": p }, "s": { "N": s.to_string() } }));
    }
    let query = |condition: &str| {
        let query = client.query().table_name("pairs").key_condition_expression(condition);
        query.expression_attribute_values(":p", text("a"))
    };
    let sorts = |items: Option<Vec<super::Item>>| {
        items.expect("told").iter().map(|item| item["s"].as_n().expect("a number").clone()).collect::<Vec<_>>()
    };
    assert_eq!(sorts(query("p = :p").send().await.expect("read").items), ["-1", "9", "10"]);
    let from_nine = query("p = :p AND s >= :s").expression_attribute_values(":s", number(9)).scan_index_forward(false);
    let page = from_nine.clone().limit(1).send().await.expect("read");
    assert_eq!(sorts(page.items), ["10"]);
    let page = from_nine.clone().limit(1).set_exclusive_start_key(page.last_evaluated_key).send().await.expect("read");
    assert_eq!(sorts(page.items), ["9"]);
    let page = from_nine.set_exclusive_start_key(page.last_evaluated_key).send().await.expect("read");
    assert_eq!((page.count, page.last_evaluated_key), (0, None));
    invalid(query("s = :p").send().await, "Condition parameter type does not match schema type");
    let filtered =
        client.scan().table_name("pairs").filter_expression("s > :s").expression_attribute_values(":s", number(0));
    let page = filtered.send().await.expect("read");
    assert_eq!((page.count, page.scanned_count), (3, 4));

    for id in 0..11 {
        aws.dynamodb().put(TABLE, &json!({ "id": { "S": id.to_string() }, "v": { "S": "x".repeat(200_000) } }));
    }
    let (mut start, mut pages) = (None, Vec::new());
    loop {
        let page = client.scan().table_name(TABLE).set_exclusive_start_key(start).send().await.expect("read");
        pages.push(page.count);
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    assert_eq!(pages, [5, 5, 1]);
}
