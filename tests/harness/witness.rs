//! A service on loopback that only looks who calls: it remembers whose key signed what, for which region, with which
//! token, and gives the same answer to everybody. Kinesis, as far as a listing without shards goes.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One call, as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The request's target: a path, or a whole URI if a proxy was meant.
    pub uri: String,
    /// Whose key signed.
    pub access_key: String,
    /// The region that it was signed for.
    pub region: String,
    /// `x-amz-security-token`.
    pub session_token: Option<String>,
}

#[derive(Debug)]
struct Book {
    answer: (u16, String),
    seen: Vec<Seen>,
}

/// The service, gone with this value.
#[derive(Debug)]
pub struct Witness {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<()>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Witness {
    /// Starts a service that lists no shards.
    pub async fn start() -> Self {
        Self::answering(200, "{\"Shards\":[]}").await
    }

    /// Starts a service that answers with this status and body.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn answering(status: u16, body: &str) -> Self {
        let book = Arc::new(Mutex::new(Book { answer: (status, body.to_owned()), seen: Vec::new() }));
        let app = app(&book);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the listener stays open") });
        Self { endpoint, book, server }
    }

    /// The calls so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// The last call's key and session token.
    ///
    /// # Panics
    /// Nobody called.
    #[must_use]
    pub fn last(&self) -> (String, Option<String>) {
        let seen = self.seen().pop().expect("somebody called");
        (seen.access_key, seen.session_token)
    }
}

fn app(book: &Arc<Mutex<Book>>) -> Router {
    Router::new().fallback(answer).with_state(Arc::clone(book))
}

async fn answer(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, request: Request) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let authorization = header("authorization").unwrap_or_default();
    let scope = authorization.split_once("Credential=").map(|(_, rest)| rest).unwrap_or_default();
    let part = |at: usize| scope.split('/').nth(at).unwrap_or_default().to_owned();
    let seen = Seen {
        uri: request.uri().to_string(),
        access_key: part(0),
        region: part(2),
        session_token: header("x-amz-security-token"),
    };
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    book.seen.push(seen);
    let (status, body) = book.answer.clone();
    drop(book);
    let status = StatusCode::from_u16(status).expect("a test names a status");
    (status, [("content-type", "application/x-amz-json-1.1")], body).into_response()
}
