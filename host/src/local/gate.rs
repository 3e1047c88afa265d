//! Who may change the store when, and when an answer may leave.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ferrokinesis::store::Store;
use ferrokinesis::types::StreamStatus;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use tokio::time::{sleep, timeout};

use super::LocalError;
use super::journal::{Change, SharedJournal};
use super::ledger::{Ledger, Scope};
use super::mended::{mended, mends};
use super::subscription::{Asked, SUBSCRIBE, Seats, push};
use super::tables::{self, Tables};

/// The largest request: above what `PutRecords` may carry (10 MiB), base64 and JSON around it included.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// A change of a stream takes no time in the store; this long means that it never completes.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Who may do what when; one for all connections.
pub(super) struct Gate {
    pub(super) store: Store,
    /// In memory there is nothing that a read would have to wait for.
    pub(super) durable: bool,
    pub(super) turn: RwLock<Turn>,
    /// How many turns may have changed more than records; told after every turn.
    pub(super) changed: watch::Sender<u64>,
    pub(super) seats: Arc<Seats>,
    pub(super) tables: Tables,
}

/// The right to change the store, with what is known of the journal.
#[derive(Debug)]
pub(super) struct Turn {
    ledger: Ledger,
    /// Changes of the store that the journal does not have yet: more than none only after it failed.
    pending: Vec<Change>,
    /// A turn was cut off by a panic, so that anything may have changed.
    stale: bool,
    pub(super) backing: Backing,
}

/// Where changes go.
#[derive(Debug)]
pub(super) enum Backing {
    /// Nowhere.
    Memory,
    /// Into the journal.
    Durable(SharedJournal),
    /// Shut down: nothing changes any more.
    Closed,
}

/// What a request may do.
enum Access {
    Read,
    Change(Scope),
}

/// The API operation that a request names.
fn operation(headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    target.split_once('.').map_or(target, |(_, operation)| operation).to_owned()
}

/// By the operation's name; what is not known to read counts as a change.
fn access(method: &Method, operation: &str) -> Access {
    let reads = ["Get", "List", "Describe", "SubscribeToShard"].iter().any(|verb| operation.starts_with(verb));
    match operation {
        "PutRecord" | "PutRecords" => Access::Change(Scope::Records),
        _ if reads || *method != Method::POST => Access::Read,
        _ => Access::Change(Scope::Everything),
    }
}

/// The way of every request to the store and of its answer back.
pub(super) async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if tables::is_asked(request.headers()) {
        return gate.table(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => {
            let message = format!("the body was not received or is larger than {BODY_BYTES_MAX} bytes: {error}");
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "SerializationException", &message);
        }
    };
    let operation = operation(&parts.headers);
    match access(&parts.method, &operation) {
        Access::Read => {
            let body = if mends(&operation) {
                let _no_change = gate.turn.read().await;
                mended(&gate.store, &operation, body).await
            } else {
                body
            };
            let asked = if operation == SUBSCRIBE { Asked::parse(&body) } else { None };
            let response = Arc::clone(&gate).read(Request::from_parts(parts, Body::from(body)), next).await;
            match asked {
                Some(asked) if is_events(&response) => push(gate, asked, response).await,
                Some(_) | None => response,
            }
        }
        Access::Change(scope) => {
            let request = Request::from_parts(parts, Body::from(body));
            let turn = tokio::spawn(async move { gate.change(request, next, scope).await });
            turn.await.unwrap_or_else(|error| unavailable(&format!("the request broke the emulator: {error}")))
        }
    }
}

impl Gate {
    /// Answers what is DynamoDB's, until the endpoint shuts down.
    async fn table(&self, request: Request) -> Response {
        if let Backing::Closed = self.turn.read().await.backing {
            return unavailable("the endpoint is shutting down");
        }
        self.tables.answer(request).await
    }

    /// Answers a read, once what it shows is durable.
    async fn read(self: Arc<Gate>, request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        if !self.durable {
            return response;
        }
        if let Err(reason) = self.shown().await {
            return unavailable(reason);
        }
        if !is_events(&response) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let events = body.into_data_stream().then(move |event| {
            let gate = Arc::clone(&self);
            async move {
                drop(gate.shown().await.map_err(axum::Error::new)?);
                event
            }
        });
        Response::from_parts(parts, Body::from_stream(events))
    }

    /// Waits for the turn that is going on; everything that the store showed before this call is durable after it, and
    /// nothing changes while the guard is held.
    pub(super) async fn shown(&self) -> Result<RwLockReadGuard<'_, Turn>, &'static str> {
        let turn = self.turn.read().await;
        match turn.backing {
            Backing::Closed => Err("the endpoint is shutting down"),
            Backing::Memory | Backing::Durable(_) if turn.pending.is_empty() && !turn.stale => Ok(turn),
            Backing::Memory | Backing::Durable(_) => Err("the journal is behind the streams: check the disk"),
        }
    }

    /// Takes a turn: the change, and its way into the journal, before the answer. Never cancelled: runs on its own
    /// task.
    async fn change(&self, request: Request, next: Next, scope: Scope) -> Response {
        let mut turn = self.turn.write().await;
        if let Backing::Closed = turn.backing {
            return unavailable("the endpoint is shutting down");
        }
        // Before anything new, what an earlier turn left.
        let scope = if turn.stale { Scope::Everything } else { scope };
        if let Err(error) = turn.flush().await {
            tracing::error!(%error, "the journal of the embedded streams cannot be written");
            return unavailable(&error.to_string());
        }
        turn.stale = true;
        let response = next.run(request).await;
        match turn.record_with(&self.store, scope, []).await {
            Ok(()) => {
                self.changed.send_modify(|streams| *streams += u64::from(scope == Scope::Everything));
                response
            }
            Err(error) => {
                tracing::error!(%error, "a change is not acknowledged");
                unavailable(&error.to_string())
            }
        }
    }
}

impl Turn {
    pub(super) fn new(ledger: Ledger, backing: Backing) -> Turn {
        Turn { ledger, pending: Vec::new(), stale: false, backing }
    }

    /// Journals what has changed in the store, with `more` behind it.
    pub(super) async fn record_with(
        &mut self,
        store: &Store,
        scope: Scope,
        more: impl IntoIterator<Item = Change>,
    ) -> Result<(), LocalError> {
        if let Scope::Everything = scope {
            settled(store).await?;
        }
        if let Backing::Durable(_) = self.backing {
            let changes = self.ledger.observe(store, scope).await;
            self.pending.extend(changes.into_iter().chain(more));
        }
        self.stale = false;
        self.flush().await
    }

    /// Commits what is pending; keeps it pending if that fails.
    async fn flush(&mut self) -> Result<(), LocalError> {
        let Backing::Durable(journal) = &self.backing else {
            self.pending.clear();
            return Ok(());
        };
        if self.pending.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.pending);
        let (changes, committed) = journal
            .with(move |journal| {
                let committed = journal.commit(&changes);
                (changes, committed)
            })
            .await;
        if committed.is_err() {
            self.pending = changes;
        }
        committed
    }

    /// Trims what is past retention.
    pub(super) async fn sweep(&mut self, store: &Store) -> Result<(), LocalError> {
        let trimmed = self.ledger.sweep(store).await;
        self.pending.extend(trimmed);
        self.flush().await
    }

    /// Refuses all further turns, and gives the journal away.
    pub(super) fn close(&mut self) -> Option<SharedJournal> {
        match std::mem::replace(&mut self.backing, Backing::Closed) {
            Backing::Durable(journal) => Some(journal),
            Backing::Memory | Backing::Closed => None,
        }
    }
}

/// Waits until no stream is between two states.
pub(super) async fn settled(store: &Store) -> Result<(), LocalError> {
    for name in store.list_stream_names().await {
        let active = async {
            while let Ok(stream) = store.get_stream(&name).await {
                match stream.stream_status {
                    StreamStatus::Active => return,
                    StreamStatus::Creating | StreamStatus::Updating | StreamStatus::Deleting => {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        };
        if timeout(SETTLED_WITHIN, active).await.is_err() {
            return Err(LocalError::Unsettled { stream: name });
        }
    }
    Ok(())
}

fn is_events(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/vnd.amazon.eventstream")
}

/// A server's error, which clients repeat.
fn unavailable(message: &str) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message)
}

/// An error in the shape of the API.
pub(super) fn refusal(status: StatusCode, code: &'static str, message: &str) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/x-amz-json-1.1"), (HeaderName::from_static("x-amzn-errortype"), code)];
    (status, headers, json!({ "__type": code, "message": message }).to_string()).into_response()
}
