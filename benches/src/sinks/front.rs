//! What stands before the embedded services: it takes the place of some targets and passes everything else on.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use host::entry::hash_key;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::net::TcpListener;

/// What one request may hold: the largest of both services, base64 and framing included.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Where a request names its target: near its beginning or its end.
const NAMED_WITHIN: usize = 300;
/// Shards of a limited stream; a power of two.
pub(super) const SHARDS: usize = 4;
/// How much a shard saves up, in seconds of its rate: what it takes is counted by the second.
const BURST: f64 = 1.0;
/// A sequence number like the service's.
const TAKEN: &str =
    r#"{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}"#;
const THROTTLED: &str =
    r#"{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded for shard"}"#;

/// What is done instead of passing a write on.
#[derive(Debug)]
pub(super) enum Instead {
    /// Everything is taken at once.
    Take,
    /// Nothing is ever answered.
    Silence,
    /// Shards take so much.
    Limit(Limited),
}

/// A stream whose shards take no more than a rate.
#[derive(Debug)]
pub(super) struct Limited {
    per_shard: f64,
    /// From the request to its answer.
    round_trip: Duration,
    is_shut: AtomicBool,
    tokens: Mutex<([f64; SHARDS], Instant)>,
    /// Entries so far: taken, and thrown back.
    pub(super) taken: AtomicU64,
    pub(super) thrown_back: AtomicU64,
    /// Entries whose turn came so early that nothing was ready for them do not count: the first request begins.
    pub(super) first: Mutex<Option<Instant>>,
}

impl Limited {
    pub(super) fn new(per_shard: f64, round_trip: Duration) -> Self {
        Self {
            per_shard,
            round_trip,
            is_shut: AtomicBool::new(false),
            tokens: Mutex::new(([per_shard * BURST; SHARDS], Instant::now())),
            taken: AtomicU64::new(0),
            thrown_back: AtomicU64::new(0),
            first: Mutex::new(None),
        }
    }

    /// Throws everything back, or no more.
    pub(super) fn shut(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::Relaxed);
        *self.tokens.lock().unwrap_or_else(PoisonError::into_inner) =
            ([self.per_shard * BURST; SHARDS], Instant::now());
    }

    /// Whether each of these is taken.
    fn judge(&self, body: &[u8]) -> Result<Vec<bool>> {
        let asked: Asked<'_> = serde_json::from_slice(body).context("PutRecords is JSON")?;
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        let mut guard = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, filled_at) = &mut *guard;
        let now = Instant::now();
        let more = now.duration_since(*filled_at).as_secs_f64() * self.per_shard;
        *filled_at = now;
        tokens.iter_mut().for_each(|tokens| *tokens = (*tokens + more).min(self.per_shard * BURST));
        let is_shut = self.is_shut.load(Ordering::Relaxed);
        let judged: Vec<bool> = asked
            .records
            .iter()
            .map(|record| {
                let shard = (hash_key(record.partition_key) >> (128 - SHARDS.ilog2())) as usize;
                let is_taken = !is_shut && tokens[shard] >= 1.0;
                tokens[shard] -= f64::from(u8::from(is_taken));
                is_taken
            })
            .collect();
        drop(guard);
        let taken = judged.iter().filter(|taken| **taken).count();
        self.taken.fetch_add(taken as u64, Ordering::Relaxed);
        self.thrown_back.fetch_add((judged.len() - taken) as u64, Ordering::Relaxed);
        Ok(judged)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record<'a> {
    partition_key: &'a str,
}

/// The front of a service.
#[derive(Debug)]
pub(super) struct Front {
    behind: String,
    client: Client<HttpConnector, Body>,
    /// By the name of a stream or a table.
    targets: Vec<(String, Arc<Instead>)>,
}

impl Front {
    /// Serves on a free port until the runtime ends; returns where.
    pub(super) async fn serve(behind: &str, targets: Vec<(String, Arc<Instead>)>) -> Result<String> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let front = Arc::new(Self { behind: behind.to_owned(), client, targets });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("loopback has no free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        // A connection that keeps small packets back still works.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let app = Router::new().fallback(answer).with_state(front);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(endpoint)
    }

    fn instead(&self, body: &[u8]) -> Option<Arc<Instead>> {
        let head = &body[..body.len().min(NAMED_WITHIN)];
        let tail = &body[body.len().saturating_sub(NAMED_WITHIN)..];
        let names = |part: &[u8], name: &str| {
            let quoted = [format!("\"{name}\""), format!("/{name}\"")];
            quoted.iter().any(|quoted| part.windows(quoted.len()).any(|window| window == quoted.as_bytes()))
        };
        let target = self.targets.iter().find(|(name, _)| names(head, name) || names(tail, name));
        target.map(|(_, instead)| Arc::clone(instead))
    }

    async fn pass_on(&self, mut request: Request) -> Result<Response> {
        *request.uri_mut() = self.behind.parse()?;
        request.headers_mut().remove(header::HOST);
        Ok(self.client.request(request).await?.map(Body::new))
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let answered = answered(&front, request).await;
    answered.unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response())
}

async fn answered(front: &Front, request: Request) -> Result<Response> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let (is_put, is_batch) = (target.ends_with(".PutRecords"), target.ends_with(".BatchWriteItem"));
    if !is_put && !is_batch {
        return front.pass_on(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await?;
    let Some(instead) = front.instead(&body) else {
        return front.pass_on(Request::from_parts(parts, Body::from(body))).await;
    };
    Ok(match &*instead {
        Instead::Take if is_batch => json(r#"{"UnprocessedItems":{}}"#.to_owned()),
        // Nothing but the objects of the body has a brace: the data is base64.
        Instead::Take => json(results(&vec![true; count(&body, b'{').saturating_sub(1)])),
        Instead::Silence => pending().await,
        Instead::Limit(limited) => {
            tokio::time::sleep(limited.round_trip / 2).await;
            let judged = limited.judge(&body)?;
            tokio::time::sleep(limited.round_trip / 2).await;
            json(results(&judged))
        }
    })
}

fn count(body: &Bytes, byte: u8) -> usize {
    body.iter().map(|b| usize::from(*b == byte)).sum()
}

fn results(taken: &[bool]) -> String {
    let refused = taken.iter().filter(|taken| !**taken).count();
    let results: Vec<&str> = taken.iter().map(|taken| if *taken { TAKEN } else { THROTTLED }).collect();
    format!("{{\"FailedRecordCount\":{refused},\"Records\":[{}]}}", results.join(","))
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response()
}

/// When a second began, counted from the first of these samples, in which at least `wanted` came: samples are a time in
/// seconds and how many have come until then.
pub(super) fn first_second_of(samples: &[(f64, u64)], wanted: f64) -> Option<f64> {
    let mut window: VecDeque<(f64, u64)> = VecDeque::new();
    let start = samples.first()?.0;
    for (at, total) in samples {
        window.push_back((*at, *total));
        while window.get(1).is_some_and(|(second, _)| at - second >= 1.0) {
            window.pop_front();
        }
        let (began, before) = *window.front()?;
        if at - began >= 1.0 && (total - before) as f64 >= wanted * (at - began) {
            return Some(began - start);
        }
    }
    None
}
