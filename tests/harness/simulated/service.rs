//! What a service is to the transport: a prefix of `X-Amz-Target`, operations by name, JSON in, an answer out that is
//! either whole or comes event by event. The transport knows nothing else of it, and a service nothing of HTTP beyond the
//! status that its refusals carry.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::{Map, Value};

/// What a call is about, for scripts and counts. Each may be absent: a listing of streams has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The stream's name.
    pub stream: Option<String>,
    /// The shard's id.
    pub shard: Option<String>,
    /// The tables' names: a batch or a transaction may have several.
    pub tables: BTreeSet<String>,
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
    /// What else the body says, such as `CancellationReasons`.
    pub members: Map<String, Value>,
}

impl Refusal {
    /// A refusal that is the caller's fault.
    pub fn client(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into(), members: Map::new() }
    }

    /// A failure of the service.
    pub fn server(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), message: String::new(), members: Map::new() }
    }

    /// The same, and the body says this, too.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.to_owned(), value);
        self
    }

    /// The body, as the protocol has it.
    pub(crate) fn body(&self) -> Bytes {
        let mut body = self.members.clone();
        body.insert("__type".to_owned(), Value::from(self.code.as_str()));
        if !self.message.is_empty() {
            body.insert("message".to_owned(), Value::from(self.message.as_str()));
        }
        Bytes::from(Value::Object(body).to_string())
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

/// What a service does otherwise than it would, because the script says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It leaves out this many parts of a batch.
    Unprocessed {
        /// How many.
        count: usize,
        /// Chance that decides which.
        draw: u64,
    },
    /// It finds this part of a transaction, counted from 0, in conflict with another one.
    Conflict {
        /// Which part; the last one if there are fewer.
        part: usize,
    },
}

/// A service behind the transport. Every call returns at once: what takes time is the transport's script, or comes later
/// as an event.
pub trait Service: Send + Sync + 'static {
    /// The part of `X-Amz-Target` before the dot.
    fn target(&self) -> &'static str;

    /// The operations it knows, as AWS names them.
    fn operations(&self) -> &'static [&'static str];

    /// What requests and answers are called.
    fn content_type(&self) -> &'static str {
        "application/x-amz-json-1.1"
    }

    /// Bytes of a request's body.
    fn body_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// What a call is about, without judging it.
    fn subject(&self, operation: &str, input: &Value) -> Subject;

    /// Does what is asked.
    ///
    /// # Errors
    /// What the service refuses, in its own words.
    fn answer(&self, operation: &str, input: &Value) -> Result<Answer, Refusal>;

    /// Does what is asked in another way than usual, where the operation has that way.
    ///
    /// # Errors
    /// What the service refuses, in its own words.
    fn answer_oddly(&self, operation: &str, input: &Value, oddity: Oddity) -> Result<Answer, Refusal> {
        let _ = oddity;
        self.answer(operation, input)
    }
}
