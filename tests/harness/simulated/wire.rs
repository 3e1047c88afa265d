//! The transport: AWS JSON 1.1 over HTTP/1.1 on loopback. It reads requests, lets the script have its way, asks the
//! service that the target names, and answers the way the service's front end does.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::counts::{Counts, Request, Tallies};
use super::faults::{Fault, Faults};
use super::service::{Refusal, Service, Subject};

type Body = UnsyncBoxBody<Bytes, io::Error>;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// What every connection shares.
pub(crate) struct Shared {
    pub(crate) services: Vec<Arc<dyn Service>>,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) counts: Counts,
    /// Request ids count up from here.
    pub(crate) seed: u64,
    pub(crate) answers: AtomicU64,
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
struct While<'a> {
    counts: &'a Counts,
    field: fn(&mut Tallies) -> &mut usize,
}

impl<'a> While<'a> {
    fn new(counts: &'a Counts, field: fn(&mut Tallies) -> &mut usize) -> Self {
        counts.change(|tallies| *field(tallies) += 1);
        Self { counts, field }
    }
}

impl Drop for While<'_> {
    fn drop(&mut self) {
        self.counts.change(|tallies| *(self.field)(tallies) -= 1);
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    shared.counts.change(|tallies| tallies.connected += 1);
    let _open = While::new(&shared.counts, |tallies| &mut tallies.connections);
    // Where it fails, small answers are slow and that is all.
    drop(socket.set_nodelay(true));
    let service = service_fn(|request| respond(request, &shared));
    // A client that goes away, or that a script cut off, is no concern of ours.
    drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
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

async fn respond(request: HttpRequest<Incoming>, shared: &Shared) -> Result<Response<Body>, CutOff> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else { return Err(CutOff) };
    let asked = match take_apart(&head.headers, &body, shared) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(answer(shared, refusal.status, whole(refusal.body()))),
    };
    let now = shared.clock.now();
    let Asked { service, operation, subject, input } = asked;
    let arrived = Request { operation: operation.clone(), subject: subject.clone(), input: input.clone(), at: now };
    shared.counts.arrived(arrived, body.len());
    let fault = match shared.faults.choose(&operation, &subject, now) {
        Some((rule, Fault::Hang)) => {
            let _hung = While::new(&shared.counts, |tallies| &mut tallies.hung);
            shared.faults.until_lifted(rule).await;
            None
        }
        Some((_, Fault::Disconnect)) => {
            shared.counts.settled(&operation, &subject, Some("disconnected"));
            return Err(CutOff);
        }
        Some((_, fault)) => Some(fault),
        None => None,
    };
    let outcome = match &fault {
        Some(Fault::Refuse(refusal)) => Err(refusal.clone()),
        _ => service.answer(&operation, &input),
    };
    shared.counts.settled(&operation, &subject, outcome.as_ref().err().map(|refusal| refusal.code.as_str()));
    let (status, bytes) = match outcome {
        Ok(bytes) => (200, bytes),
        Err(refusal) => (refusal.status, refusal.body()),
    };
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    Ok(answer(shared, status, distort(bytes, fault)))
}

fn take_apart(headers: &header::HeaderMap, body: &Bytes, shared: &Shared) -> Result<Asked, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("authorization").is_none() {
        return Err(Refusal::client("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    if text("content-type") != Some(CONTENT_TYPE) {
        return Err(Refusal::client("SerializationException", String::new()));
    }
    let unknown = || Refusal::client("UnknownOperationException", String::new());
    let (target, operation) = text("x-amz-target").and_then(|target| target.split_once('.')).ok_or_else(unknown)?;
    let service = shared.services.iter().find(|service| service.target() == target).ok_or_else(unknown)?;
    if !service.operations().contains(&operation) {
        return Err(unknown());
    }
    let input: Value =
        serde_json::from_slice(body).map_err(|_no_json| Refusal::client("SerializationException", String::new()))?;
    let subject = service.subject(operation, &input);
    Ok(Asked { service: Arc::clone(service), operation: operation.to_owned(), subject, input })
}

fn answer(shared: &Shared, status: u16, body: Body) -> Response<Body> {
    let number = shared.answers.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-0000-4000-8000-{number:012x}", shared.seed as u32);
    let date = DateTime::from_millis(shared.clock.now()).fmt(Format::HttpDate).expect("a date of this age");
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .header(header::DATE, date)
        .header("x-amzn-requestid", &id)
        .header("x-amz-id-2", id)
        .body(body)
        .expect("the head is well formed")
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What of an answer arrives.
fn distort(bytes: Bytes, fault: Option<Fault>) -> Body {
    match fault {
        None | Some(Fault::Refuse(_) | Fault::Hang | Fault::Disconnect | Fault::Delay(_)) => whole(bytes),
        Some(Fault::Garble) => whole(Bytes::from_static(b"{\"Records\":[{\"Data\":")),
        Some(Fault::Without(member)) => {
            let Ok(mut value) = serde_json::from_slice(&bytes) else { return whole(bytes) };
            remove(&mut value, member);
            whole(Bytes::from(value.to_string()))
        }
        Some(Fault::Cut { after }) => {
            let rest = bytes.slice(..after.min(bytes.len()));
            let parts = [Ok(Frame::data(rest)), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
            // Between the two the first must have left, so the second comes a turn later.
            let parts = stream::unfold(parts.into_iter(), |mut parts| async move {
                tokio::task::yield_now().await;
                parts.next().map(|part| (part, parts))
            });
            StreamBody::new(parts).boxed_unsync()
        }
        Some(Fault::Trickle { bytes: at_a_time, pause }) => trickle(bytes, at_a_time.max(1), pause),
    }
}

fn trickle(bytes: Bytes, at_a_time: usize, pause: Duration) -> Body {
    let parts = stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        pin!(tokio::time::sleep(pause)).await;
        let part = rest.split_to(at_a_time.min(rest.len()));
        Some((Ok(Frame::data(part)), rest))
    });
    StreamBody::new(parts).boxed_unsync()
}

fn remove(value: &mut Value, member: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(member);
        members.values_mut().for_each(|value| remove(value, member));
    } else if let Some(values) = value.as_array_mut() {
        values.iter_mut().for_each(|value| remove(value, member));
    }
}
