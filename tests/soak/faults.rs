//! What goes wrong between the host and the service, by chance: the writer and who changes the shards are spared, so that
//! what was written is known.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tests::moments::Moments;
use tokio::time::sleep;

/// Of 100 calls, so many meet a fault.
const FAULTS_PERCENT: u64 = 8;
/// Of 100 listings, which are few.
const LISTING_FAULTS_PERCENT: u64 = 40;
/// An answer is never larger: `GetRecords` gives 500 small records.
const BODY_BYTES_MAX: usize = 16 << 20;
/// A listing this old is older than any that AWS gives.
const STALE_MAX: Duration = Duration::from_secs(5);

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// HTTP 400, `ProvisionedThroughputExceededException`.
    Throttled,
    /// HTTP 500, `InternalFailure`.
    Failed,
    /// HTTP 400, `ExpiredIteratorException`.
    Expired,
    /// An answer whose second half does not come.
    Cut,
    /// An answer that comes late, or after the host's patience.
    Hung,
    /// A listing of a moment ago.
    Stale,
}

impl Fault {
    /// All, in the order of the ledger.
    pub(crate) const ALL: [Self; 6] =
        [Self::Throttled, Self::Failed, Self::Expired, Self::Cut, Self::Hung, Self::Stale];

    /// As the ledger shows it.
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Self::Throttled => "throttles",
            Self::Failed => "status 500",
            Self::Expired => "expired iterators",
            Self::Cut => "cut answers",
            Self::Hung => "late answers",
            Self::Stale => "stale listings",
        }
    }

    fn refusal(self) -> Option<(StatusCode, &'static str)> {
        match self {
            Self::Throttled => Some((StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException")),
            Self::Failed => Some((StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure")),
            Self::Expired => Some((StatusCode::BAD_REQUEST, "ExpiredIteratorException")),
            Self::Cut | Self::Hung | Self::Stale => None,
        }
    }
}

/// Chance, and what it did.
#[derive(Debug)]
pub(crate) struct Faults {
    moments: Mutex<Moments>,
    counts: [AtomicU64; Fault::ALL.len()],
    listing: Mutex<Option<(Instant, Bytes)>>,
}

impl Faults {
    pub(crate) fn new(moments: Moments) -> Self {
        Self { moments: Mutex::new(moments), counts: Default::default(), listing: Mutex::new(None) }
    }

    /// How often each fault happened.
    pub(crate) fn counted(&self) -> [(Fault, u64); Fault::ALL.len()] {
        Fault::ALL.map(|fault| (fault, self.counts[fault as usize].load(Relaxed)))
    }

    fn draw(&self, operation: &str) -> (Option<Fault>, Duration) {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        // Most are over before a call is given up, some are not.
        let late = if moments.happens(95) { moments.milliseconds(50..3_000) } else { Duration::from_secs(40) };
        let percent = if operation == "ListShards" { LISTING_FAULTS_PERCENT } else { FAULTS_PERCENT };
        if !moments.happens(percent) {
            return (None, late);
        }
        let mut possible = vec![Fault::Throttled, Fault::Failed, Fault::Cut, Fault::Hung];
        match operation {
            "GetRecords" => possible.push(Fault::Expired),
            "ListShards" => possible.extend([Fault::Stale, Fault::Stale, Fault::Stale]),
            _ => {}
        }
        (Some(possible[moments.index(possible.len())]), late)
    }

    fn count(&self, fault: Fault) {
        self.counts[fault as usize].fetch_add(1, Relaxed);
    }

    fn last_listing(&self) -> Option<Bytes> {
        let listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        listing.as_ref().filter(|(at, _)| at.elapsed() < STALE_MAX).map(|(_, body)| body.clone())
    }

    fn keep_listing(&self, body: &Bytes) {
        let mut listing = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        if listing.as_ref().is_none_or(|(at, _)| at.elapsed() >= STALE_MAX) {
            *listing = Some((Instant::now(), body.clone()));
        }
    }
}

/// The way of a call to the service and back.
pub(crate) async fn meddle(State(faults): State<Arc<Faults>>, request: Request, next: Next) -> Response {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let (fault, late) = faults.draw(&operation);
    if let Some((fault, (status, code))) = fault.and_then(|fault| Some((fault, fault.refusal()?))) {
        faults.count(fault);
        let body = format!("{{\"__type\":\"{code}\",\"message\":\"as the soak wants it\"}}");
        return (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response();
    }
    let (mut parts, body) = next.run(request).await.into_parts();
    // What is sent in the end may have another length.
    parts.headers.remove(header::CONTENT_LENGTH);
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if operation == "ListShards" && parts.status.is_success() {
        faults.keep_listing(&body);
    }
    match fault {
        Some(Fault::Cut) => {
            faults.count(Fault::Cut);
            let half = body.slice(..body.len() / 2);
            let broken = stream::iter([Ok(half), Err(std::io::Error::other("cut"))]);
            return Response::from_parts(parts, Body::from_stream(broken));
        }
        Some(Fault::Hung) => {
            faults.count(Fault::Hung);
            sleep(late).await;
        }
        Some(Fault::Stale) => {
            if let Some(listing) = faults.last_listing().filter(|listing| *listing != body) {
                faults.count(Fault::Stale);
                return Response::from_parts(parts, Body::from(listing));
            }
        }
        Some(Fault::Throttled | Fault::Failed | Fault::Expired) | None => {}
    }
    Response::from_parts(parts, Body::from(body))
}
