//! Writes to a table that happen together with a position, through the official SDK.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValue, TransactWriteItem, Update,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::api::{DynamodbTable, Known, address_of};
use super::check_add;
use crate::aws::AwsSettings;
use crate::config::Table;
use crate::entry::{Action, ItemRequest};
use crate::item::{Item, Value};
use crate::ports::{PositionWrite, TransactApi, TransactError};
use crate::source::classify::{SourceErrorKind, TablePlace, TableSite};

/// The attribute that fences writers.
const GENERATION: &str = "generation";

/// A table, and the table of positions beside it: of the same region, for a transaction spans none.
#[derive(Debug)]
pub struct DynamodbTransactions {
    table: Arc<DynamodbTable>,
    positions: Table,
    positions_place: TablePlace,
}

impl DynamodbTransactions {
    /// Transactions on `table`, whose client makes all calls.
    #[must_use]
    pub fn new(table: Arc<DynamodbTable>, positions: Table, settings: &AwsSettings) -> Self {
        let positions_place = TablePlace::of(&positions, settings);
        Self { table, positions, positions_place }
    }

    fn parts(
        &self,
        known: &Known,
        position: &PositionWrite,
        requests: &[Arc<ItemRequest>],
    ) -> Result<Vec<TransactWriteItem>, TransactError> {
        let refused = |at, message| TransactError::Refused { at, message };
        let moved = self.move_position(position).map_err(|error| refused(None, error.to_string()))?;
        let mut parts = vec![TransactWriteItem::builder().update(moved).build()];
        for (at, request) in requests.iter().enumerate() {
            parts.push(part(known, request).map_err(|why| refused(Some(at), why))?);
        }
        Ok(parts)
    }

    fn move_position(&self, position: &PositionWrite) -> Result<Update, BuildError> {
        let mut expression = Expression::default();
        let conditions: Vec<String> =
            position.expected.iter().map(|(name, value)| expression.is(name, value)).collect();
        let set: Vec<String> = position.set.iter().map(|(name, value)| expression.pair(name, value, " = ")).collect();
        Update::builder()
            .table_name(address_of(&self.positions))
            .set_key(Some(position.key.to_sdk()))
            .set_condition_expression((!conditions.is_empty()).then(|| conditions.join(" AND ")))
            .update_expression(format!("SET {}", set.join(", ")))
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .build()
    }
}

/// Names and values of an expression: attributes may be called like words of the language.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn pair(&mut self, name: &str, value: &Value, between: &str) -> String {
        let (name, placeholder) = (self.name(name), format!(":v{}", self.values.len()));
        self.values.insert(placeholder.clone(), value.to_sdk());
        format!("{name}{between}{placeholder}")
    }

    fn is(&mut self, name: &str, value: &Value) -> String {
        match value {
            Value::Null => format!("attribute_not_exists({})", self.name(name)),
            Value::Bool(_)
            | Value::Text(_)
            | Value::Number(_)
            | Value::Bytes(_)
            | Value::Texts(_)
            | Value::Numbers(_)
            | Value::ByteStrings(_)
            | Value::List(_)
            | Value::Map(_) => self.pair(name, value, " = "),
        }
    }
}

fn part(known: &Known, request: &ItemRequest) -> Result<TransactWriteItem, String> {
    let told = |error: BuildError| error.to_string();
    let built = TransactWriteItem::builder();
    let (address, key) = (known.address.as_str(), || Some(known.schema.project(&request.item).to_sdk()));
    Ok(match request.action {
        Action::Put => {
            let put = Put::builder().table_name(address).set_item(Some(request.item.to_sdk())).build();
            built.put(put.map_err(told)?).build()
        }
        Action::Delete => {
            let delete = Delete::builder().table_name(address).set_key(key()).build();
            built.delete(delete.map_err(told)?).build()
        }
        Action::Add => {
            check_add(&known.schema, &request.item)?;
            let mut expression = Expression::default();
            let numbers = request.item.0.iter().filter(|(name, _)| !known.schema.contains(name));
            let added: Vec<String> = numbers.map(|(name, value)| expression.pair(name, value, " ")).collect();
            let update = Update::builder()
                .table_name(address)
                .set_key(key())
                .update_expression(format!("ADD {}", added.join(", ")))
                .set_expression_attribute_names(Some(expression.names))
                .set_expression_attribute_values(Some(expression.values))
                .build();
            built.update(update.map_err(told)?).build()
        }
    })
}

/// What a transaction that was cancelled says, part by part: the position's first.
fn cancelled(site: TableSite<'_>, reasons: &[CancellationReason], message: &str) -> TransactError {
    const CONDITION: &str = "ConditionalCheckFailed";
    let told = |reason: &CancellationReason| reason.message().unwrap_or_default().to_owned();
    let broken = || reasons.iter().enumerate().filter(|(_, reason)| !matches!(reason.code(), None | Some("None")));
    if reasons.first().is_some_and(|position| position.code() == Some(CONDITION)) {
        return TransactError::Fenced;
    }
    let judged = |reason: &CancellationReason| {
        let code = match reason.code() {
            // No request has a condition.
            Some(CONDITION) => Some("ConditionalCheckFailedException"),
            code => code,
        };
        site.answered(code, 400, &told(reason))
    };
    // What will never be taken is told before what another attempt may mend.
    let refused = broken().find(|(part, reason)| *part > 0 && judged(reason).kind == SourceErrorKind::Rejected);
    if let Some((part, reason)) = refused {
        let message = judged(reason).message;
        return TransactError::Refused { at: Some(part - 1), message };
    }
    match broken().next() {
        Some((_, reason)) => TransactError::Failed(judged(reason)),
        None => TransactError::Failed(site.answered(Some("TransactionCanceledException"), 400, message)),
    }
}

impl TransactApi for DynamodbTransactions {
    fn transact<'a>(
        &'a self,
        token: &'a str,
        position: &'a PositionWrite,
        requests: &'a [Arc<ItemRequest>],
    ) -> BoxFuture<'a, Result<(), TransactError>> {
        async move {
            let known = self.table.known().await.map_err(TransactError::Failed)?;
            let site = self.table.site("TransactWriteItems");
            let refused = |message: String| TransactError::Refused { at: None, message };
            let parts = self.parts(known, position, requests)?;
            let call = self.table.client.transact_write_items().client_request_token(token);
            match call.set_transact_items(Some(parts)).send().await {
                Ok(_written) => Ok(()),
                Err(error) => {
                    let reasons = match error.as_service_error() {
                        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => Some(cancelled),
                        _ => None,
                    };
                    if let Some(told) = reasons {
                        let message = told.message.as_deref().unwrap_or_default();
                        return Err(cancelled(site, told.cancellation_reasons(), message));
                    }
                    let error = site.sdk_error(&error);
                    let is_refused = error.kind == SourceErrorKind::Rejected;
                    Err(if is_refused { refused(error.message) } else { TransactError::Failed(error) })
                }
            }
        }
        .boxed()
    }

    fn claim<'a>(&'a self, key: &'a Item, generation: u64) -> BoxFuture<'a, Result<Option<Item>, TransactError>> {
        async move {
            let site = TableSite { place: &self.positions_place, operation: "UpdateItem" };
            let sent = self
                .table
                .client
                .update_item()
                .table_name(address_of(&self.positions))
                .set_key(Some(key.to_sdk()))
                .condition_expression("attribute_not_exists(#g) OR #g <= :g")
                .update_expression("SET #g = :g")
                .expression_attribute_names("#g", GENERATION)
                .expression_attribute_values(":g", AttributeValue::N(generation.to_string()))
                .return_values(ReturnValue::AllOld)
                .send()
                .await;
            match sent {
                Ok(answer) => {
                    // An emulator returns the key of a row that was not there.
                    let before = answer.attributes.filter(|attributes| attributes.len() > key.0.len());
                    let before = before.map(Item::from_sdk).transpose();
                    before.map_err(|error| TransactError::Failed(site.malformed(&error.to_string())))
                }
                Err(SdkError::ServiceError(refusal))
                    if matches!(refusal.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
                {
                    Err(TransactError::Fenced)
                }
                Err(error) => Err(TransactError::Failed(site.sdk_error(&error))),
            }
        }
        .boxed()
    }
}
