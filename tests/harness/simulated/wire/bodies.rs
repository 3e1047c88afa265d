//! What of an answer arrives.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, SizeHint};
use serde_json::Value;

use super::While;
use crate::simulated::faults::{Fault, RuleId};

/// Bytes that arrive or fail to.
pub(super) type Parts = UnsyncBoxBody<Bytes, io::Error>;

/// The body of an answer. What counts the answer lives as long as it does.
pub(super) struct Body {
    parts: Parts,
    _held: Option<While>,
}

impl Body {
    pub(super) const fn new(parts: Parts, held: Option<While>) -> Self {
        Self { parts, _held: held }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.parts).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.parts.size_hint()
    }
}

pub(super) fn whole(bytes: Bytes) -> Parts {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(super) fn distort(bytes: Bytes, fault: Option<(RuleId, Fault)>) -> Parts {
    match fault.map(|(_, fault)| fault) {
        None
        | Some(
            Fault::Refuse(_)
            | Fault::Hang
            | Fault::Disconnect
            | Fault::Delay(_)
            | Fault::Lose
            | Fault::Belate
            | Fault::Unprocessed(_)
            | Fault::Conflict(_)
            | Fault::AfterEvents { .. },
        ) => whole(bytes),
        Some(Fault::Garble) => whole(Bytes::from_static(b"{\"Records\":[{\"Data\":")),
        Some(Fault::Without(member)) => whole(without(bytes, member)),
        Some(Fault::Cut { after }) => cut(stream::iter([Ok(bytes)]), after),
        Some(Fault::Trickle { bytes: at_a_time, pause }) => trickle(stream::iter([Ok(bytes)]), at_a_time, pause),
    }
}

/// Bytes as they come, up to so many; then the answer breaks off.
pub(super) fn cut(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static, after: usize) -> Parts {
    let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
    let parts = stream::unfold((parts.boxed(), Some(after)), move |(mut parts, left)| async move {
        let left = left?;
        // Between the last part and the end the former must have left, so the end comes a turn later.
        tokio::task::yield_now().await;
        if left == 0 {
            return Some((Err(broken()), (parts, None)));
        }
        match parts.next().await {
            Some(Ok(part)) => {
                let part = part.slice(..left.min(part.len()));
                let left = left - part.len();
                Some((Ok(Frame::data(part)), (parts, Some(left))))
            }
            Some(Err(error)) => Some((Err(error), (parts, None))),
            None => Some((Err(broken()), (parts, None))),
        }
    });
    StreamBody::new(parts).boxed_unsync()
}

/// Bytes as they come, a few at a time.
pub(super) fn trickle(
    parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    at_a_time: usize,
    pause: Duration,
) -> Parts {
    let parts = stream::unfold((parts.boxed(), Bytes::new()), move |(mut parts, mut rest)| async move {
        while rest.is_empty() {
            match parts.next().await? {
                Ok(part) => rest = part,
                Err(error) => return Some((Err(error), (parts, rest))),
            }
        }
        pin!(tokio::time::sleep(pause)).await;
        let part = rest.split_to(at_a_time.clamp(1, rest.len()));
        Some((Ok(Frame::data(part)), (parts, rest)))
    });
    StreamBody::new(parts).boxed_unsync()
}

/// JSON without the members of a name.
pub(super) fn without(bytes: Bytes, member: &str) -> Bytes {
    let Ok(mut value) = serde_json::from_slice(&bytes) else { return bytes };
    remove(&mut value, member);
    Bytes::from(value.to_string())
}

fn remove(value: &mut Value, member: &str) {
    if let Some(members) = value.as_object_mut() {
        members.remove(member);
        members.values_mut().for_each(|value| remove(value, member));
    } else if let Some(values) = value.as_array_mut() {
        values.iter_mut().for_each(|value| remove(value, member));
    }
}
