//! Event streams: frames one by one, each made when the connection has room for it, and what goes wrong between them.

use std::io;
use std::sync::Arc;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::bodies::{self, Parts};
use super::{Line, While};
use crate::simulated::counts::Protocol;
use crate::simulated::faults::{Fault, Mishap, RuleId};
use crate::simulated::service::{Event, Events, Refusal, Subject};

/// An event stream as a body.
pub(super) fn body(events: Events, subject: Subject, fault: Option<(RuleId, Fault)>, line: &Arc<Line>) -> Parts {
    let mut pushing = Pushing {
        events,
        open: Open::new(subject, line),
        line: Arc::clone(line),
        mishap: None,
        without: None,
        stage: Stage::Begins,
        pushed: 0,
    };
    let (rule, fault) = match fault {
        Some((rule, fault)) => (Some(rule), fault),
        None => return plain(pushing.frames()),
    };
    match fault {
        Fault::Refuse(_)
        | Fault::Hang
        | Fault::Disconnect
        | Fault::Delay(_)
        | Fault::Lose
        | Fault::Belate
        | Fault::Unprocessed(_)
        | Fault::Conflict(_) => plain(pushing.frames()),
        Fault::Garble => {
            pushing.mishap = rule.map(|rule| (rule, 0, Mishap::Garble));
            plain(pushing.frames())
        }
        Fault::AfterEvents { events, then } => {
            pushing.mishap = rule.map(|rule| (rule, events, then));
            plain(pushing.frames())
        }
        Fault::Without(member) => {
            pushing.without = Some(member);
            plain(pushing.frames())
        }
        Fault::Cut { after } => bodies::cut(pushing.frames(), after),
        Fault::Trickle { bytes, pause } => bodies::trickle(pushing.frames(), bytes, pause),
    }
}

fn plain(frames: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Parts {
    StreamBody::new(frames.map(|frame| frame.map(Frame::data))).boxed_unsync()
}

/// Counts a subscription for as long as it lives.
struct Open {
    line: Arc<Line>,
    subject: Subject,
}

impl Open {
    fn new(subject: Subject, line: &Arc<Line>) -> Self {
        line.shared.counts.change(|tallies| {
            tallies.each_subscribed(&subject, |subscribed| {
                subscribed.open += 1;
                subscribed.opened += 1;
                subscribed.most = subscribed.most.max(subscribed.open);
                match line.protocol {
                    Protocol::Http1 => subscribed.over_http1 += 1,
                    Protocol::Http2 => subscribed.over_http2 += 1,
                }
            });
        });
        Self { line: Arc::clone(line), subject }
    }

    fn pushed(&self, bytes: usize) {
        self.line.shared.counts.change(|tallies| {
            tallies.each_subscribed(&self.subject, |subscribed| {
                subscribed.events += 1;
                subscribed.bytes += bytes as u64;
            });
        });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.line.shared.counts.change(|tallies| {
            tallies.each_subscribed(&self.subject, |subscribed| {
                subscribed.open -= 1;
                match self.line.protocol {
                    Protocol::Http1 => subscribed.over_http1 -= 1,
                    Protocol::Http2 => subscribed.over_http2 -= 1,
                }
            });
        });
    }
}

enum Stage {
    /// Nothing was sent.
    Begins,
    Runs,
    /// The last frame was sent.
    Ends,
}

struct Pushing {
    events: Events,
    open: Open,
    line: Arc<Line>,
    /// What happens after how many events, and by which rule.
    mishap: Option<(RuleId, u64, Mishap)>,
    /// Members that are left out of every event.
    without: Option<&'static str>,
    stage: Stage,
    pushed: u64,
}

impl Pushing {
    fn frames(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(self, |mut pushing| async move { pushing.next().await.map(|frame| (frame, pushing)) })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.stage {
            Stage::Ends => return None,
            Stage::Begins => {
                self.stage = Stage::Runs;
                return Some(Ok(frame("event", ":event-type", "initial-response", Bytes::from_static(b"{}"))));
            }
            Stage::Runs => {}
        }
        if let Some((rule, _, mishap)) = self.mishap.take_if(|(_, after, _)| *after == self.pushed)
            && let Some(last) = self.go_wrong(rule, mishap).await
        {
            self.stage = Stage::Ends;
            return last;
        }
        match self.events.next().await? {
            Ok(event) => Some(Ok(self.event(event))),
            Err(refusal) => {
                self.stage = Stage::Ends;
                Some(Ok(exception(&refusal)))
            }
        }
    }

    fn event(&mut self, event: Event) -> Bytes {
        let payload = match self.without {
            Some(member) => bodies::without(event.payload, member),
            None => event.payload,
        };
        let frame = frame("event", ":event-type", event.name, payload);
        self.pushed += 1;
        self.open.pushed(frame.len());
        frame
    }

    /// What comes instead of the next event, last of all; or nothing, if the stream goes on.
    async fn go_wrong(&mut self, rule: RuleId, mishap: Mishap) -> Option<Option<io::Result<Bytes>>> {
        match mishap {
            Mishap::Cut => {
                self.line.cut.notify_one();
                std::future::pending().await
            }
            Mishap::Reset => {
                // What was sent before must have left.
                tokio::task::yield_now().await;
                Some(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))))
            }
            Mishap::Stall => {
                let _stalled = While::new(&self.line.shared, |tallies| &mut tallies.stalled);
                self.line.shared.faults.until_lifted(rule).await;
                None
            }
            Mishap::Refuse(refusal) => Some(Some(Ok(exception(&refusal)))),
            Mishap::End => Some(None),
            Mishap::Garble => Some(Some(Ok(garbled()))),
        }
    }
}

fn exception(refusal: &Refusal) -> Bytes {
    frame("exception", ":exception-type", &refusal.code, refusal.body())
}

/// A frame whose check sum is another one's.
fn garbled() -> Bytes {
    let mut bytes = frame("event", ":event-type", "SubscribeToShardEvent", Bytes::from_static(b"{}")).to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Bytes::from(bytes)
}

fn frame(kind: &'static str, name: &'static str, value: &str, payload: Bytes) -> Bytes {
    let text = |text: &str| HeaderValue::String(text.to_owned().into());
    let message = Message::new(payload)
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(name, text(value)))
        .add_header(Header::new(":content-type", text("application/json")));
    let mut bytes = Vec::with_capacity(message.payload().len() + 200);
    write_message_to(&message, &mut bytes).expect("events are far below the protocol's limit");
    Bytes::from(bytes)
}
