//! A simulated Security Token Service on loopback: the query protocol of `AssumeRole` and `AssumeRoleWithWebIdentity`. It
//! checks what a call must have, remembers who asked for what, hands out sessions that can be told apart, and
//! fails on demand. It does not verify signatures; it tells whose key signed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A session that lasts this long.
    Grant(Duration),
    /// An error: HTTP status, code, message.
    Refuse(u16, &'static str, String),
    /// Nothing, until the caller gives up.
    Silence,
}

impl Answer {
    /// The refusal that a caller without permission gets.
    #[must_use]
    pub fn denied() -> Self {
        let message = "User: arn:aws:iam::123456789012:user/u is not authorized to perform: sts:AssumeRole";
        Self::Refuse(403, "AccessDenied", message.to_owned())
    }
}

/// One call, as it came in.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `AssumeRole` or `AssumeRoleWithWebIdentity`.
    pub action: String,
    /// The other parameters.
    pub parameters: BTreeMap<String, String>,
    /// Whose key signed; `None` if nobody did.
    pub access_key: Option<String>,
    /// The region that it was signed for.
    pub region: Option<String>,
    /// The session token that came along.
    pub session_token: Option<String>,
}

impl Call {
    /// A parameter; empty if it did not come.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Book {
    answers: Vec<Answer>,
    calls: Vec<Call>,
    granted: usize,
}

/// The service, gone with this value.
#[derive(Debug)]
pub struct Sts {
    /// Such as `http://127.0.0.1:40123`.
    pub endpoint: String,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<()>,
}

impl Drop for Sts {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The `number`th session, counted from 1: key id, secret, token.
#[must_use]
pub fn session(number: usize) -> [String; 3] {
    [format!("ASIASESSION{number}"), format!("issued-secret-{number}"), format!("issued-token-{number}")]
}

impl Sts {
    /// Starts a service that gives these answers in turn, the last one for ever.
    ///
    /// # Panics
    /// Loopback has no free port.
    pub async fn start(answers: &[Answer]) -> Self {
        let book = Arc::new(Mutex::new(Book { answers: answers.to_vec(), ..Book::default() }));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&book));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the listener stays open") });
        Self { endpoint, book, server }
    }

    /// A service that grants sessions of an hour.
    pub async fn granting() -> Self {
        Self::start(&[Answer::Grant(Duration::from_secs(3600))]).await
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.book).calls.clone()
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: String) -> Response {
    let call = read(&headers, &body);
    let (answer, number) = {
        let mut book = locked(&book);
        book.calls.push(call.clone());
        let answer = if book.answers.len() > 1 { book.answers.remove(0) } else { book.answers[0].clone() };
        if matches!(answer, Answer::Grant(_)) {
            book.granted += 1;
        }
        (answer, book.granted)
    };
    if let Some(fault) = fault(&call) {
        return error(400, "ValidationError", &fault);
    }
    match answer {
        Answer::Grant(life) => grant(&call, number, life),
        Answer::Refuse(status, code, message) => error(status, code, &message),
        Answer::Silence => std::future::pending().await,
    }
}

/// Takes a call apart.
fn read(headers: &HeaderMap, body: &str) -> Call {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut parameters: BTreeMap<String, String> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let authorization = header("authorization").unwrap_or_default();
    let scope = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split(',').next()).map(str::to_owned);
    let part = |at: usize| scope.as_ref().and_then(|scope| scope.split('/').nth(at)).map(str::to_owned);
    Call {
        action: parameters.remove("Action").unwrap_or_default(),
        parameters,
        access_key: part(0),
        region: part(2),
        session_token: header("x-amz-security-token"),
    }
}

/// What the real service would complain about.
fn fault(call: &Call) -> Option<String> {
    let missing = |name: &str| call.parameter(name).is_empty().then(|| format!("{name} is missing"));
    let missing = missing("RoleArn").or_else(|| missing("RoleSessionName"));
    match call.action.as_str() {
        _ if call.parameter("Version") != "2011-06-15" => Some("another version of the API".to_owned()),
        "AssumeRole" if call.access_key.is_none() => Some("the call is not signed".to_owned()),
        "AssumeRole" => missing,
        "AssumeRoleWithWebIdentity" if call.access_key.is_some() => Some("the call is signed".to_owned()),
        "AssumeRoleWithWebIdentity" if call.parameter("WebIdentityToken").is_empty() => {
            Some("there is no token".to_owned())
        }
        "AssumeRoleWithWebIdentity" => missing,
        other => Some(format!("{other:?} is no action of this service")),
    }
}

fn grant(call: &Call, number: usize, life: Duration) -> Response {
    let [id, secret, token] = session(number);
    let action = &call.action;
    let expiration = rfc3339(SystemTime::now() + life);
    let xml = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>{expiration}</Expiration></Credentials></{action}Result>\
         <ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{action}Response>"
    );
    (StatusCode::OK, [("content-type", "text/xml")], xml).into_response()
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let xml = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
    );
    let status = StatusCode::from_u16(status).expect("a test names a status");
    (status, [("content-type", "text/xml")], xml).into_response()
}

/// Undoes the encoding of a form.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (b'+', _) => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A moment as STS and credential programs write it.
///
/// # Panics
/// The moment lies outside what RFC 3339 can say.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let seconds = i64::try_from(since).expect("before the end of time");
    let moment = aws_sdk_kinesis::primitives::DateTime::from_secs(seconds);
    moment.fmt(aws_sdk_kinesis::primitives::DateTimeFormat::DateTime).expect("within range")
}
