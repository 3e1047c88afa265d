//! The embedded tables: `dynoxide` behind the same endpoint.
//!
//! It brings a server of its own, which listens on a loopback port that nobody is told of: what asks the endpoint for
//! DynamoDB is passed on there as it is. A table lives as long as the streams do, in the same directory or in memory.
//!
//! `dynoxide` commits each item of a batch by itself, and would wait for the disk each time: 25 times for a full batch. So its
//! database is told not to wait, and what a request wrote is synchronized once, before its answer leaves. A commit lies in the
//! write-ahead log, which the database itself synchronizes before it moves anything out of there.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use dynoxide::Database;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::server::serve_with_shutdown;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::gate::refusal;
use super::{LocalError, LocalKey, LocalTable, Notice};
use crate::ports::KeyType;

/// The database, beside the journal of the streams.
pub(super) const FILE: &str = "tables.db";
/// Its write-ahead log, as SQLite names it.
const LOG: &str = "tables.db-wal";
/// Operations that change nothing begin with one of these.
const READS: [&str; 6] = ["BatchGet", "Describe", "Get", "List", "Query", "Scan"];

/// The running tables. Dropping it stops them; what was acknowledged is durable either way.
pub(super) struct Tables {
    database: Database,
    at: SocketAddr,
    client: Client<HttpConnector, Body>,
    /// What is synchronized before an answer leaves; `None` in memory.
    log: Option<PathBuf>,
    /// The server stops once this is dropped.
    _stop: oneshot::Sender<()>,
}

/// Whether a request is DynamoDB's.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    target.is_some_and(|target| target.starts_with("DynamoDB"))
}

fn is_read(headers: &HeaderMap) -> bool {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit_once('.')).map_or("", |(_, operation)| operation);
    READS.iter().any(|read| operation.starts_with(read))
}

impl Tables {
    /// Opens the database, creates what is listed and missing, and serves. Whoever calls holds the directory.
    pub(super) async fn start(
        directory: Option<&Path>,
        listed: &[LocalTable],
    ) -> Result<(Self, Vec<Notice>), LocalError> {
        let path = directory.map(|directory| directory.join(FILE));
        let log = directory.map(|directory| directory.join(LOG));
        let listed = listed.to_vec();
        let set_up = tokio::task::spawn_blocking(move || {
            let database = match path {
                Some(path) => Database::new(&path.to_string_lossy()),
                None => Database::memory(),
            };
            let database = database.map_err(|error| failed("open".to_owned(), &error))?;
            // `PRAGMA synchronous = NORMAL`, whatever it is called.
            database.disable_bulk_loading().map_err(|error| failed("set up".to_owned(), &error))?;
            let mut notices = Vec::new();
            for table in &listed {
                notices.extend(set_up(&database, table)?);
            }
            Ok((database, notices))
        });
        let (database, notices) = set_up.await.expect("setting tables up is never cancelled and returns its errors")?;
        let unbound = |error: io::Error| failed("serve".to_owned(), &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unbound)?;
        let at = listener.local_addr().map_err(unbound)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve_with_shutdown(listener, database.clone(), async move { drop(stopped.await) });
        drop(tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(error, "the embedded tables stopped answering");
            }
        }));
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let tables = Self { database, at, client, log, _stop: stop };
        if let Some(directory) = directory {
            tables.synchronize().await.map_err(unbound)?;
            // The log's name, too.
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(unbound)?;
        }
        Ok((tables, notices))
    }

    /// Passes a request on, and its answer back.
    pub(super) async fn answer(&self, mut request: Request) -> Response {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Authority::try_from(self.at.to_string()).ok();
        uri.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        let is_read = is_read(request.headers());
        *request.uri_mut() = Uri::from_parts(uri).expect("a scheme, an address and a path are a URI");
        let failed = |what: &str, error: &dyn std::error::Error| {
            let message = format!("the embedded tables {what}: {error}");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", &message).into_response()
        };
        let answer = match self.client.request(request).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) => return failed("do not answer", &error),
        };
        if !is_read && let Err(error) = self.synchronize().await {
            return failed("cannot write to the disk", &error);
        }
        answer
    }

    /// Waits until everything that was committed is on the disk.
    async fn synchronize(&self) -> io::Result<()> {
        let Some(log) = self.log.clone() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || File::open(log)?.sync_data());
        written.await.map_err(io::Error::other)?
    }

    /// The tables and how many items each has, by name.
    pub(super) async fn totals(&self) -> Vec<(String, u64)> {
        let database = self.database.clone();
        let stats = tokio::task::spawn_blocking(move || database.table_stats());
        let mut totals: Vec<_> = match stats.await {
            Ok(Ok(stats)) => stats
                .into_iter()
                .map(|stats| (stats.table_name, u64::try_from(stats.item_count).unwrap_or(0)))
                .collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        totals.sort_unstable();
        totals
    }
}

/// Creates a table unless it is there.
fn set_up(database: &Database, table: &LocalTable) -> Result<Option<Notice>, LocalError> {
    let keys = [Some(&table.partition_key), table.sort_key.as_ref()];
    let schema: Vec<Value> = keys
        .into_iter()
        .flatten()
        .zip(["HASH", "RANGE"])
        .map(|(key, kind)| json!({ "AttributeName": key.name, "KeyType": kind }))
        .collect();
    let definitions: Vec<Value> = keys.into_iter().flatten().map(definition).collect();
    let described = describe(database, &table.name)?;
    if let Some(found) = described {
        let same = |name: &str, wanted: &[Value]| {
            let mut found = found[name].as_array().cloned().unwrap_or_default();
            let mut wanted = wanted.to_vec();
            found.sort_by_key(Value::to_string);
            wanted.sort_by_key(Value::to_string);
            found == wanted
        };
        let is_same = same("KeySchema", &schema) && same("AttributeDefinitions", &definitions);
        return Ok((!is_same).then(|| Notice::OtherKey { table: table.name.clone() }));
    }
    let request = json!({
        "TableName": table.name,
        "KeySchema": schema,
        "AttributeDefinitions": definitions,
        "BillingMode": "PAY_PER_REQUEST",
    });
    let attempt = || format!("create {:?} in", table.name);
    let request: CreateTableRequest = serde_json::from_value(request).map_err(|error| failed(attempt(), &error))?;
    database.create_table(request).map_err(|error| failed(attempt(), &error))?;
    Ok(None)
}

/// What there is of a table (`TableDescription`).
fn describe(database: &Database, name: &str) -> Result<Option<Value>, LocalError> {
    let stats = database.table_stats().map_err(|error| failed("list".to_owned(), &error))?;
    if stats.iter().all(|stats| stats.table_name != name) {
        return Ok(None);
    }
    let attempt = || format!("describe {name:?} in");
    let request = DescribeTableRequest { table_name: name.to_owned() };
    let answer = database.describe_table(request).map_err(|error| failed(attempt(), &error))?;
    let mut answer = serde_json::to_value(answer).map_err(|error| failed(attempt(), &error))?;
    Ok(Some(answer["Table"].take()))
}

fn definition(key: &LocalKey) -> Value {
    let of = match key.of {
        KeyType::Text => "S",
        KeyType::Number => "N",
        KeyType::Bytes => "B",
    };
    json!({ "AttributeName": key.name, "AttributeType": of })
}

fn failed(attempt: String, error: &dyn std::fmt::Display) -> LocalError {
    LocalError::Tables { attempt, message: error.to_string() }
}

#[cfg(test)]
mod tests;
