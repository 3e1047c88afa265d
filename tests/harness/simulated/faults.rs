//! What goes wrong, and when: a script of rules. For every call the rules are asked in the order they were made, and the
//! first that fits takes it. Chance is drawn from one seeded source, once for each rule that would otherwise fit, so the
//! same calls in the same order meet the same faults.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::Millis;
use super::service::{Refusal, Subject};

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The service is not asked; this is the answer.
    Refuse(Refusal),
    /// No answer until the rule is lifted or the caller gives up; then the call goes on as if nothing was.
    Hang,
    /// The connection is cut before any answer; the service is not asked.
    Disconnect,
    /// The service does what it is asked for, waits this long in real time, then answers: a caller that gives up before
    /// that has had its way all the same.
    Delay(Duration),
    /// The service does what it is asked for, and the connection is cut before any answer.
    Lose,
    /// The service does what it is asked for when the rule is lifted and not before, even if the caller has long given up.
    Belate,
    /// This many parts of a batch come back unprocessed, by chance; other operations stay as they are.
    Unprocessed(usize),
    /// This part of a transaction, counted from 0, is in conflict with another transaction, and so is a write of one item;
    /// other operations stay as they are.
    Conflict(usize),
    /// The body comes this many bytes at a time, with real pauses between.
    Trickle {
        /// Bytes at a time.
        bytes: usize,
        /// Between them.
        pause: Duration,
    },
    /// The connection is cut after this many bytes of the body; the service has done what it was asked for.
    Cut {
        /// Bytes that arrive.
        after: usize,
    },
    /// The body is no JSON; the service has done what it was asked for.
    Garble,
    /// Members of that name are missing from the answer, wherever they stand in it; from every event of a stream.
    Without(&'static str),
    /// An event stream begins well, and then this happens. Other answers stay as they are.
    AfterEvents {
        /// Events that arrive; the message that opens the stream is none.
        events: u64,
        /// Instead of the next one.
        then: Mishap,
    },
}

/// What happens to an event stream that has begun.
#[derive(Clone, Debug, PartialEq)]
pub enum Mishap {
    /// The connection is cut, with everything else that is under way on it.
    Cut,
    /// The answer breaks off: HTTP/2 resets its stream and nothing else, HTTP/1.1 can only cut the connection.
    Reset,
    /// Nothing comes any more and nothing ends, until the rule is lifted or the caller gives up.
    Stall,
    /// An exception comes, and then the end.
    Refuse(Refusal),
    /// The stream ends in order.
    End,
    /// A frame comes that is damaged.
    Garble,
}

impl Mishap {
    /// An exception of that code, such as `InternalFailureException`.
    #[must_use]
    pub fn exception(code: &str) -> Self {
        Self::Refuse(Refusal::client(code, format!("{code}, as the test says.")))
    }
}

impl Fault {
    /// What happens to an event stream after so many events.
    #[must_use]
    pub const fn after(events: u64, then: Mishap) -> Self {
        Self::AfterEvents { events, then }
    }

    /// A refusal that is the caller's fault, such as `AccessDeniedException`.
    #[must_use]
    pub fn client(code: &str) -> Self {
        Self::Refuse(Refusal::client(code, format!("{code}, as the test says.")))
    }

    /// `InternalFailure`, 500.
    #[must_use]
    pub fn internal() -> Self {
        Self::Refuse(Refusal::server(500, "InternalFailure"))
    }

    /// `ServiceUnavailable`, 503.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::Refuse(Refusal::server(503, "ServiceUnavailable"))
    }

    /// `ProvisionedThroughputExceededException`.
    #[must_use]
    pub fn throttled() -> Self {
        Self::client("ProvisionedThroughputExceededException")
    }

    /// `InternalServerError`, 500, as DynamoDB has it.
    #[must_use]
    pub fn internal_server_error() -> Self {
        Self::Refuse(Refusal::server(500, "InternalServerError"))
    }

    /// `ExpiredIteratorException`.
    #[must_use]
    pub fn expired_iterator() -> Self {
        Self::client("ExpiredIteratorException")
    }

    /// `ExpiredTokenException`, as if the caller's session had ended.
    #[must_use]
    pub fn expired_token() -> Self {
        Self::Refuse(Refusal::client("ExpiredTokenException", "The security token included in the request is expired"))
    }

    /// `ResourceNotFoundException`.
    #[must_use]
    pub fn not_found() -> Self {
        Self::client("ResourceNotFoundException")
    }

    /// `LimitExceededException`.
    #[must_use]
    pub fn limit_exceeded() -> Self {
        Self::client("LimitExceededException")
    }
}

/// The number of a rule, to lift it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

#[derive(Clone, Debug)]
struct Rule {
    id: u64,
    operation: Option<String>,
    subject: Subject,
    skip: u64,
    times: u64,
    probability: f64,
    lasts: Option<Duration>,
    until: Option<Millis>,
    fault: Fault,
}

/// The script; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Faults {
    parts: Arc<Mutex<Parts>>,
    lifted: Arc<Notify>,
    operations: Arc<Vec<&'static str>>,
}

#[derive(Debug)]
struct Parts {
    rules: Vec<Rule>,
    last: u64,
    random: u64,
}

impl Parts {
    /// Uniform (splitmix64).
    fn draw_bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Uniform in 0..1.
    fn draw(&mut self) -> f64 {
        (self.draw_bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Faults {
    pub(crate) fn new(seed: u64, operations: Vec<&'static str>) -> Self {
        let parts = Parts { rules: Vec::new(), last: 0, random: seed };
        Self { parts: Arc::new(Mutex::new(parts)), lifted: Arc::new(Notify::new()), operations: Arc::new(operations) }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a rule for an operation, as AWS names it.
    ///
    /// # Panics
    /// No service knows it: a rule that never fits would prove nothing.
    #[must_use]
    pub fn on(&self, operation: &str) -> NewRule<'_> {
        assert!(self.operations.contains(&operation), "no service has an operation {operation}");
        NewRule { operation: Some(operation.to_owned()), ..self.on_any() }
    }

    /// Begins a rule for every operation.
    #[must_use]
    pub fn on_any(&self) -> NewRule<'_> {
        NewRule {
            faults: self,
            operation: None,
            subject: Subject::default(),
            skip: 0,
            times: u64::MAX,
            probability: 1.0,
            lasts: None,
        }
    }

    /// Ends one rule. Calls that hang because of it go on.
    pub fn lift(&self, id: RuleId) {
        self.parts().rules.retain(|rule| rule.id != id.0);
        self.lifted.notify_waiters();
    }

    /// Ends all rules.
    pub fn mend(&self) {
        self.parts().rules.clear();
        self.lifted.notify_waiters();
    }

    /// Chance for a fault that needs more of it.
    pub(crate) fn draw(&self) -> u64 {
        self.parts().draw_bits()
    }

    /// What happens to this call, and by which rule.
    pub(crate) fn choose(&self, operation: &str, subject: &Subject, now: Millis) -> Option<(RuleId, Fault)> {
        let mut parts = self.parts();
        let fits_name = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        for index in 0..parts.rules.len() {
            let rule = &parts.rules[index];
            let fits = rule.operation.as_deref().is_none_or(|wanted| wanted == operation)
                && fits_name(&rule.subject.stream, &subject.stream)
                && fits_name(&rule.subject.shard, &subject.shard)
                && rule.subject.tables.is_subset(&subject.tables)
                && rule.times > 0
                && rule.until.is_none_or(|until| now < until);
            if !fits {
                continue;
            }
            if rule.skip > 0 {
                parts.rules[index].skip -= 1;
                continue;
            }
            let probability = rule.probability;
            if probability < 1.0 && parts.draw() >= probability {
                continue;
            }
            let rule = &mut parts.rules[index];
            // Time runs from the first call that is hit.
            if let (Some(lasts), None) = (rule.lasts, rule.until) {
                rule.until = Some(now + i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
            }
            rule.times = rule.times.saturating_sub(1);
            return Some((RuleId(rule.id), rule.fault.clone()));
        }
        None
    }

    /// Waits until a rule is lifted.
    pub(crate) async fn until_lifted(&self, id: RuleId) {
        loop {
            let lifted = self.lifted.notified();
            tokio::pin!(lifted);
            lifted.as_mut().enable();
            if !self.parts().rules.iter().any(|rule| rule.id == id.0) {
                return;
            }
            lifted.await;
        }
    }
}

/// A rule in the making: nothing happens before [`NewRule::inject`].
#[derive(Clone, Debug)]
pub struct NewRule<'a> {
    faults: &'a Faults,
    operation: Option<String>,
    subject: Subject,
    skip: u64,
    times: u64,
    probability: f64,
    lasts: Option<Duration>,
}

impl NewRule<'_> {
    /// Only calls about this stream.
    #[must_use]
    pub fn stream(mut self, name: &str) -> Self {
        self.subject.stream = Some(name.to_owned());
        self
    }

    /// Only calls about a shard of this id.
    #[must_use]
    pub fn shard(mut self, id: &str) -> Self {
        self.subject.shard = Some(id.to_owned());
        self
    }

    /// Only calls about this table, others being in the same request or not; said twice, about both.
    #[must_use]
    pub fn table(mut self, name: &str) -> Self {
        self.subject.tables.insert(name.to_owned());
        self
    }

    /// Spares the first `calls` that fit.
    #[must_use]
    pub const fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Hits this many calls, then no more.
    #[must_use]
    pub const fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    /// Hits a call that fits with this probability.
    #[must_use]
    pub const fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Hits calls for this long from the first one hit, in the service's time.
    #[must_use]
    pub const fn lasting(mut self, lasts: Duration) -> Self {
        self.lasts = Some(lasts);
        self
    }

    /// Makes the rule hold.
    pub fn inject(self, fault: Fault) -> RuleId {
        let Self { faults, operation, subject, skip, times, probability, lasts } = self;
        let mut parts = faults.parts();
        parts.last += 1;
        let id = parts.last;
        parts.rules.push(Rule { id, operation, subject, skip, times, probability, lasts, until: None, fault });
        RuleId(id)
    }
}
