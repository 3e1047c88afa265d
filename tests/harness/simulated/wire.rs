//! The transport: AWS JSON over HTTP/1.1 or HTTP/2 on loopback, whichever a connection begins with. It reads requests,
//! lets the script have its way, asks the service that the target names, and answers the way the service's front end does.

mod bodies;
mod pushing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::bodies::Body;
use super::clock::Clock;
use super::counts::{Counts, Protocol, Request, Tallies};
use super::faults::{Fault, Faults, RuleId};
use super::service::{Answer, Oddity, Refusal, Service, Subject};

/// Of refusals that no service makes.
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const CONTENT_TYPE_OF_EVENTS: &str = "application/vnd.amazon.eventstream";
/// What HTTP/2 begins with, as far as it differs from every request of HTTP/1.1.
const PREFACE: &[u8] = b"PRI";
/// Streams of one connection: more than any test opens.
const STREAMS_MAX: u32 = 100_000;

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) services: Vec<Arc<dyn Service>>,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    /// Request ids count up from here.
    pub(crate) seed: u64,
    pub(crate) answers: AtomicU64,
    /// Told when a test cuts every connection.
    pub(crate) cut: Notify,
}

/// Takes connections until dropped; then all of them are cut.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection(socket, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts something for as long as it lives.
struct While {
    shared: Arc<Shared>,
    field: fn(&mut Tallies) -> &mut usize,
}

impl While {
    fn new(shared: &Arc<Shared>, field: fn(&mut Tallies) -> &mut usize) -> Self {
        shared.counts.change(|tallies| *field(tallies) += 1);
        Self { shared: Arc::clone(shared), field }
    }
}

impl Drop for While {
    fn drop(&mut self) {
        self.shared.counts.change(|tallies| *(self.field)(tallies) -= 1);
    }
}

/// One connection, as its calls see it.
struct Line {
    shared: Arc<Shared>,
    protocol: Protocol,
    /// Told when the script cuts it, with everything that is under way on it.
    cut: Notify,
}

impl Line {
    async fn is_cut(&self) {
        tokio::select! {
            () = self.cut.notified() => {}
            () = self.shared.cut.notified() => {}
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    shared.counts.change(|tallies| tallies.connected += 1);
    let _open = While::new(&shared, |tallies| &mut tallies.connections);
    // Where it fails, small answers are slow and that is all.
    drop(socket.set_nodelay(true));
    let Some(protocol) = spoken(&socket).await else { return };
    let _spoken = While::new(
        &shared,
        match protocol {
            Protocol::Http1 => |tallies| &mut tallies.http1,
            Protocol::Http2 => |tallies| &mut tallies.http2,
        },
    );
    let line = Arc::new(Line { shared, protocol, cut: Notify::new() });
    let service = {
        let line = Arc::clone(&line);
        service_fn(move |request| respond(request, Arc::clone(&line)))
    };
    let socket = TokioIo::new(socket);
    // A client that goes away is no concern of ours. The connection comes first, so that what was made before a cut
    // still leaves.
    match protocol {
        Protocol::Http1 => tokio::select! {
            biased;
            _ = http1::Builder::new().serve_connection(socket, service) => {}
            () = line.is_cut() => {}
        },
        Protocol::Http2 => tokio::select! {
            biased;
            _ = http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS_MAX)
                .serve_connection(socket, service) => {}
            () = line.is_cut() => {}
        },
    }
}

/// What a connection begins to speak; `None` if it ends before that.
async fn spoken(socket: &TcpStream) -> Option<Protocol> {
    let mut begin = [0; PREFACE.len()];
    loop {
        match socket.peek(&mut begin).await {
            Ok(0) | Err(_) => return None,
            Ok(read) if !PREFACE.starts_with(&begin[..read]) => return Some(Protocol::Http1),
            Ok(read) if read == begin.len() => return Some(Protocol::Http2),
            Ok(_) => tokio::task::yield_now().await,
        }
    }
}

/// A call cut off before its answer.
#[derive(Debug, thiserror::Error)]
#[error("the script cuts this connection")]
struct CutOff;

/// What is asked for, once taken apart.
struct Asked {
    service: Arc<dyn Service>,
    operation: String,
    subject: Subject,
    input: Value,
}

async fn respond(request: HttpRequest<Incoming>, line: Arc<Line>) -> Result<Response<Body>, CutOff> {
    let shared = &line.shared;
    let held = match line.protocol {
        Protocol::Http1 => None,
        Protocol::Http2 => Some(While::new(shared, |tallies| &mut tallies.http2_streams)),
    };
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return Err(CutOff) };
    let asked = match take_apart(&head.headers, &body, shared) {
        Ok(asked) => asked,
        Err(refusal) => {
            return Ok(answer(shared, (refusal.status, CONTENT_TYPE), Body::new(bodies::whole(refusal.body()), held)));
        }
    };
    let now = shared.clock.now();
    let Asked { service, operation, subject, input } = asked;
    let arrived = Request { operation: operation.clone(), subject: subject.clone(), input: input.clone(), at: now };
    shared.counts.arrived(arrived, body.len());
    let kind = service.content_type();
    let fault = match shared.faults.choose(&operation, &subject, now) {
        Some((rule, Fault::Hang)) => {
            let _hung = While::new(shared, |tallies| &mut tallies.hung);
            shared.faults.until_lifted(rule).await;
            None
        }
        Some((_, Fault::Disconnect)) => {
            shared.counts.settled(&operation, &subject, Some("disconnected"));
            line.cut.notify_one();
            return std::future::pending().await;
        }
        other => other,
    };
    let asked = Asked { service, operation, subject: subject.clone(), input };
    let outcome = match fault {
        // On its own: it outlives the caller.
        Some((rule, Fault::Belate)) => {
            tokio::spawn(belated(Arc::clone(shared), asked, rule)).await.map_err(|_ended| CutOff)?
        }
        _ => carry_out(shared, &asked, fault.as_ref().map(|(_, fault)| fault)),
    };
    match fault {
        Some((_, Fault::Delay(delay))) => tokio::time::sleep(delay).await,
        Some((_, Fault::Lose)) => {
            line.cut.notify_one();
            return std::future::pending().await;
        }
        _ => {}
    }
    Ok(told(outcome, kind, subject, fault, (&line, held)))
}

/// Asks the service, or not.
fn carry_out(shared: &Shared, asked: &Asked, fault: Option<&Fault>) -> Result<Answer, Refusal> {
    let Asked { service, operation, subject, input } = asked;
    let outcome = match fault {
        Some(Fault::Refuse(refusal)) => Err(refusal.clone()),
        Some(Fault::Unprocessed(count)) => {
            let draw = shared.faults.draw();
            service.answer_oddly(operation, input, Oddity::Unprocessed { count: *count, draw })
        }
        Some(Fault::Conflict(part)) => service.answer_oddly(operation, input, Oddity::Conflict { part: *part }),
        _ => service.answer(operation, input),
    };
    shared.counts.settled(operation, subject, outcome.as_ref().err().map(|refusal| refusal.code.as_str()));
    outcome
}

async fn belated(shared: Arc<Shared>, asked: Asked, rule: RuleId) -> Result<Answer, Refusal> {
    let _hung = While::new(&shared, |tallies| &mut tallies.hung);
    shared.faults.until_lifted(rule).await;
    carry_out(&shared, &asked, None)
}

/// The answer as it arrives.
fn told(
    outcome: Result<Answer, Refusal>,
    kind: &'static str,
    subject: Subject,
    fault: Option<(RuleId, Fault)>,
    (line, held): (&Arc<Line>, Option<While>),
) -> Response<Body> {
    let (head, body) = match outcome {
        Ok(Answer::Whole(bytes)) => ((200, kind), bodies::distort(bytes, fault)),
        Ok(Answer::Events(events)) => ((200, CONTENT_TYPE_OF_EVENTS), pushing::body(events, subject, fault, line)),
        Err(refusal) => ((refusal.status, kind), bodies::distort(refusal.body(), fault)),
    };
    answer(&line.shared, head, Body::new(body, held))
}

fn take_apart(headers: &header::HeaderMap, body: &Bytes, shared: &Shared) -> Result<Asked, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("authorization").is_none() {
        return Err(Refusal::client("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let unknown = || Refusal::client("UnknownOperationException", String::new());
    let (target, operation) = text("x-amz-target").and_then(|target| target.split_once('.')).ok_or_else(unknown)?;
    let service = shared.services.iter().find(|service| service.target() == target).ok_or_else(unknown)?;
    if text("content-type") != Some(service.content_type()) {
        return Err(Refusal::client("SerializationException", String::new()));
    }
    if !service.operations().contains(&operation) {
        return Err(unknown());
    }
    if body.len() > service.body_bytes_max() {
        let code = "RequestEntityTooLargeException";
        return Err(Refusal { status: 413, ..Refusal::client(code, "Request size limit exceeded.") });
    }
    let input: Value =
        serde_json::from_slice(body).map_err(|_no_json| Refusal::client("SerializationException", String::new()))?;
    let subject = service.subject(operation, &input);
    Ok(Asked { service: Arc::clone(service), operation: operation.to_owned(), subject, input })
}

fn answer(shared: &Shared, (status, content_type): (u16, &str), body: Body) -> Response<Body> {
    let number = shared.answers.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", shared.seed as u32);
    let date = DateTime::from_millis(shared.clock.now()).fmt(Format::HttpDate).expect("a date of this age");
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::DATE, date)
        .header("x-amzn-requestid", &id)
        .header("x-amz-id-2", id)
        .body(body)
        .expect("the head is well formed")
}
