//! What a service is to the transport: a prefix of `X-Amz-Target`, operations by name, JSON in, an answer out that is
//! either whole or comes event by event. The transport knows nothing else of it, and a service nothing of HTTP beyond the
//! status that its refusals carry.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::Value;

/// What a call is about, for scripts and counts. Either may be absent: a listing of streams has neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The stream's name.
    pub stream: Option<String>,
    /// The shard's id.
    pub shard: Option<String>,
}

/// An error answer: what the service says instead of doing what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `__type`.
    pub code: String,
    /// `message`.
    pub message: String,
}

impl Refusal {
    /// A refusal that is the caller's fault.
    pub fn client(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    /// A failure of the service.
    pub fn server(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), message: String::new() }
    }

    /// The body, as the protocol has it.
    pub(crate) fn body(&self) -> Bytes {
        let body = if self.message.is_empty() {
            serde_json::json!({ "__type": self.code })
        } else {
            serde_json::json!({ "__type": self.code, "message": self.message })
        };
        Bytes::from(body.to_string())
    }
}

/// One message of an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `:event-type`.
    pub name: &'static str,
    /// JSON.
    pub payload: Bytes,
}

/// Events, each made only when it is asked for. The end is an orderly one; a refusal is told and ends it, too.
pub type Events = BoxStream<'static, Result<Event, Refusal>>;

/// What a service says when it does what it was asked for.
pub enum Answer {
    /// All of it at once.
    Whole(Bytes),
    /// An event stream.
    Events(Events),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Events(_) => f.write_str("Events"),
        }
    }
}

/// A service behind the transport. Every call returns at once: what takes time is the transport's script, or comes later
/// as an event.
pub trait Service: Send + Sync + 'static {
    /// The part of `X-Amz-Target` before the dot.
    fn target(&self) -> &'static str;

    /// The operations it knows, as AWS names them.
    fn operations(&self) -> &'static [&'static str];

    /// What a call is about, without judging it.
    fn subject(&self, operation: &str, input: &Value) -> Subject;

    /// Does what is asked.
    ///
    /// # Errors
    /// What the service refuses, in its own words.
    fn answer(&self, operation: &str, input: &Value) -> Result<Answer, Refusal>;
}
