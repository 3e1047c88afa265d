//! A table of DynamoDB, written to through the official SDK.
//!
//! A table that the manifest names by ARN is asked for by ARN: it may be of another account, where the name alone means
//! another table. Some emulators take only names; so behind an endpoint of the manifest's own choice a table that is not found
//! by its ARN is asked for by its name once, and so it is from then on.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    BillingMode, DeleteRequest, KeyType as KeyRole, PutRequest, TableDescription as Described, TableStatus,
    WriteRequest,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::batching::{Outcome, Setback};

use super::key::KeySchema;
use crate::aws::AwsSettings;
use crate::config::Table;
use crate::entry::{Action, ItemRequest};
use crate::item::Item;
use crate::ports::{KeyAttribute, KeyType, TableApi, TableDescription};
use crate::source::classify::{SourceError, SourceErrorKind, TablePlace, TableSite};

/// A table. Calls are independent: any number may be under way.
#[derive(Debug)]
pub struct DynamodbTable {
    pub(super) client: Client,
    table: Table,
    place: TablePlace,
    known: OnceLock<Known>,
}

/// What a description has taught.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// How requests name the table.
    pub(super) address: String,
    pub(super) schema: KeySchema,
}

impl DynamodbTable {
    /// A table to be written to with `client`, which must be made from `settings` and not retry.
    #[must_use]
    pub fn new(client: Client, table: Table, settings: &AwsSettings) -> Self {
        let place = TablePlace::of(&table, settings);
        Self { client, table, place, known: OnceLock::new() }
    }

    /// Where the table is, as error messages tell it.
    #[must_use]
    pub const fn place(&self) -> &TablePlace {
        &self.place
    }

    pub(super) const fn site(&self, operation: &'static str) -> TableSite<'_> {
        TableSite { place: &self.place, operation }
    }

    async fn described_as(&self, address: &str) -> Result<(TableDescription, Known), SourceError> {
        let site = self.site("DescribeTable");
        let sent = self.client.describe_table().table_name(address).send().await;
        let answer = sent.map_err(|error| site.sdk_error(&error))?;
        let told = answer.table.ok_or_else(|| site.malformed("no Table"))?;
        let description = describe(&told).map_err(|what| site.malformed(what))?;
        let schema = KeySchema::of(&description);
        Ok((description, Known { address: address.to_owned(), schema }))
    }

    /// How to name the table in requests, and its key: asked for once.
    pub(super) async fn known(&self) -> Result<&Known, SourceError> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        self.describe().await?;
        self.known.get().ok_or_else(|| self.site("DescribeTable").malformed("no description"))
    }
}

/// How requests name a table: by ARN if the manifest does, for then it may be of another account.
pub(crate) fn address_of(table: &Table) -> String {
    let Table { name, region, account } = table;
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    };
    match account {
        Some(account) => format!("arn:{partition}:dynamodb:{region}:{account}:table/{name}"),
        None => name.clone(),
    }
}

fn describe(told: &Described) -> Result<TableDescription, &'static str> {
    let attribute = |role: &KeyRole| {
        let named = told.key_schema().iter().find(|element| element.key_type() == role)?;
        Some(named.attribute_name())
    };
    let typed = |name: &str| {
        let defined = told.attribute_definitions().iter().find(|defined| defined.attribute_name() == name);
        let of = match defined.ok_or("no AttributeDefinition of a key attribute")?.attribute_type().as_str() {
            "S" => KeyType::Text,
            "N" => KeyType::Number,
            "B" => KeyType::Bytes,
            _ => return Err("a key attribute of a type that no key has"),
        };
        Ok(KeyAttribute { name: name.to_owned(), of })
    };
    let is_on_demand =
        told.billing_mode_summary().is_some_and(|summary| summary.billing_mode() == Some(&BillingMode::PayPerRequest));
    let units = told.provisioned_throughput().and_then(|provisioned| provisioned.write_capacity_units());
    let units = units.and_then(|units| u64::try_from(units).ok()).filter(|units| *units > 0 && !is_on_demand);
    Ok(TableDescription {
        arn: told.table_arn().ok_or("no TableArn")?.to_owned(),
        partition_key: typed(attribute(&KeyRole::Hash).ok_or("no HASH key in KeySchema")?)?,
        sort_key: attribute(&KeyRole::Range).map(typed).transpose()?,
        write_units: units,
        is_writable: matches!(told.table_status(), Some(TableStatus::Active | TableStatus::Updating)),
    })
}

fn write_request(request: &ItemRequest, schema: &KeySchema) -> Result<WriteRequest, BuildError> {
    let built = WriteRequest::builder();
    Ok(match request.action {
        Action::Put => built.put_request(PutRequest::builder().set_item(Some(request.item.to_sdk())).build()?).build(),
        Action::Delete | Action::Add => {
            let key = schema.project(&request.item).to_sdk();
            built.delete_request(DeleteRequest::builder().set_key(Some(key)).build()?).build()
        }
    })
}

/// The item that a request which came back is about; at least its key.
fn item_of(returned: WriteRequest) -> Option<Item> {
    let put = returned.put_request.map(|put| put.item);
    let attributes = put.or_else(|| returned.delete_request.map(|delete| delete.key))?;
    Item::from_sdk(attributes).ok()
}

impl TableApi for DynamodbTable {
    fn describe(&self) -> BoxFuture<'_, Result<TableDescription, SourceError>> {
        async {
            let address = self.known.get().map_or_else(|| address_of(&self.table), |known| known.address.clone());
            let described = self.described_as(&address).await;
            let (description, known) = match described {
                Err(error)
                    if address != self.table.name
                        && self.place.endpoint.is_some()
                        && matches!(error.kind, SourceErrorKind::Invalid | SourceErrorKind::TableGone) =>
                {
                    // The first answer is about what the manifest says.
                    self.described_as(&self.table.name).await.map_err(|_by_name| error)?
                }
                other => other?,
            };
            self.known.get_or_init(|| known);
            Ok(description)
        }
        .boxed()
    }

    fn batch_write<'a>(&'a self, requests: &'a [Arc<ItemRequest>]) -> BoxFuture<'a, Result<Vec<Outcome>, SourceError>> {
        async move {
            let known = self.known().await?;
            let site = self.site("BatchWriteItem");
            let rejected = |why: &str| site.answered(Some("ValidationException"), 400, why);
            let (mut writes, mut places) = (Vec::with_capacity(requests.len()), BTreeMap::new());
            for (place, request) in requests.iter().enumerate() {
                if request.action == Action::Add {
                    return Err(rejected("an Add is no part of a batch"));
                }
                places.insert(known.schema.canonical(&request.item).map_err(|why| rejected(&why))?, place);
                writes.push(write_request(request, &known.schema).map_err(|error| rejected(&error.to_string()))?);
            }
            let sent = self.client.batch_write_item().request_items(&known.address, writes).send().await;
            let answer = sent.map_err(|error| site.sdk_error(&error))?;
            let mut outcomes = vec![Outcome::Done; requests.len()];
            // There is one table, whatever the answer calls it.
            for returned in answer.unprocessed_items.unwrap_or_default().into_values().flatten() {
                let key = item_of(returned).and_then(|item| known.schema.canonical(&item).ok());
                let place = key.and_then(|key| places.get(&key));
                let place = place.ok_or_else(|| site.malformed("UnprocessedItems has an item that was not sent"))?;
                outcomes[*place] = Outcome::Retry(Setback::Throttled);
            }
            Ok(outcomes)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
