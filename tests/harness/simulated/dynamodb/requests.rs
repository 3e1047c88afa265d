//! What the transport asks: the operations, and the members that each of them knows here.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::step::Kind;
use super::{Dynamodb, Input, Moment, batches, paging, singles, tables, transactions};
use crate::simulated::service::{Answer, Oddity, Refusal, Service, Subject};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Operations, and the members that are understood or can be ignored without doing wrong.
const MEMBERS: &[(&str, &[&str])] = &[
    ("BatchGetItem", &["RequestItems", "ReturnConsumedCapacity"]),
    ("BatchWriteItem", &["RequestItems", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"]),
    (
        "CreateTable",
        &[
            "TableName",
            "AttributeDefinitions",
            "KeySchema",
            "BillingMode",
            "ProvisionedThroughput",
            "Tags",
            "DeletionProtectionEnabled",
            "SSESpecification",
            "TableClass",
        ],
    ),
    ("DeleteItem", WRITE),
    ("DeleteTable", &["TableName"]),
    ("DescribeTable", &["TableName"]),
    (
        "GetItem",
        &[
            "TableName",
            "Key",
            "ConsistentRead",
            "ProjectionExpression",
            "ExpressionAttributeNames",
            "ReturnConsumedCapacity",
        ],
    ),
    ("ListTables", &["ExclusiveStartTableName", "Limit"]),
    ("PutItem", WRITE),
    ("Query", PAGE),
    ("Scan", PAGE),
    (
        "TransactWriteItems",
        &["TransactItems", "ClientRequestToken", "ReturnConsumedCapacity", "ReturnItemCollectionMetrics"],
    ),
    ("UpdateItem", WRITE),
];

const WRITE: &[&str] = &[
    "TableName",
    "Key",
    "Item",
    "UpdateExpression",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValues",
    "ReturnValuesOnConditionCheckFailure",
    "ReturnConsumedCapacity",
    "ReturnItemCollectionMetrics",
];

const PAGE: &[&str] = &[
    "TableName",
    "KeyConditionExpression",
    "FilterExpression",
    "ProjectionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ExclusiveStartKey",
    "Limit",
    "ScanIndexForward",
    "ConsistentRead",
    "ReturnConsumedCapacity",
];

const OPERATIONS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactWriteItems",
    "UpdateItem",
];

impl Service for Dynamodb {
    fn target(&self) -> &'static str {
        "DynamoDB_20120810"
    }

    fn operations(&self) -> &'static [&'static str] {
        OPERATIONS
    }

    fn content_type(&self) -> &'static str {
        "application/x-amz-json-1.0"
    }

    fn body_bytes_max(&self) -> usize {
        BODY_BYTES_MAX
    }

    fn subject(&self, _operation: &str, input: &Value) -> Subject {
        let of_parts = input.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
        let of_parts = of_parts.filter_map(Value::as_object).flat_map(|part| part.values()).map(Some);
        let names = of_parts.chain([Some(input)]).flatten().filter_map(|part| part.get("TableName")?.as_str());
        let of_batch = input.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let names: BTreeSet<String> = names.chain(of_batch.map(|(name, _)| name.as_str())).map(table_name).collect();
        Subject { tables: names, ..Subject::default() }
    }

    fn answer(&self, operation: &str, input: &Value) -> Result<Answer, Refusal> {
        self.ask(operation, input, None)
    }

    fn answer_oddly(&self, operation: &str, input: &Value, oddity: Oddity) -> Result<Answer, Refusal> {
        self.ask(operation, input, Some(oddity))
    }
}

/// A table may be told by its ARN.
pub(super) fn table_name(told: &str) -> String {
    told.rsplit_once(":table/").map_or(told, |(_, name)| name).to_owned()
}

impl Dynamodb {
    fn ask(&self, operation: &str, input: &Value, oddity: Option<Oddity>) -> Result<Answer, Refusal> {
        let (operation, members) = MEMBERS
            .iter()
            .find(|(name, _)| *name == operation)
            .ok_or_else(|| Refusal::client("UnknownOperationException", String::new()))?;
        Input(input).knows(members)?;
        let is_single = ["PutItem", "DeleteItem", "UpdateItem"].contains(operation);
        if is_single && matches!(oddity, Some(Oddity::Conflict { .. })) {
            return Err(Refusal::client("TransactionConflictException", "Transaction is ongoing for the item"));
        }
        let answer = self.with(|model, now| {
            model.requests += 1;
            let moment = Moment { operation, request: model.requests, now };
            match *operation {
                "BatchGetItem" => batches::get(model, input, moment),
                "BatchWriteItem" => batches::write(model, input, moment, oddity),
                "CreateTable" => tables::create(model, input, moment),
                "DeleteItem" => singles::write(model, Kind::Delete, input, moment),
                "DeleteTable" => tables::delete(model, input, moment),
                "DescribeTable" => tables::describe(model, input, moment),
                "GetItem" => singles::get(model, input, moment),
                "ListTables" => tables::list(model, input, moment),
                "PutItem" => singles::write(model, Kind::Put, input, moment),
                "Query" => paging::query(model, input, moment),
                "Scan" => paging::scan(model, input, moment),
                "TransactWriteItems" => transactions::write(model, input, moment, oddity),
                _ => singles::write(model, Kind::Update, input, moment),
            }
        })?;
        Ok(Answer::Whole(Bytes::from(answer.to_string())))
    }
}
