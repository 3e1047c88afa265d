//! One shard's way into the table.
//!
//! Records are taken in the order in which they are handed over, and never overtake each other: a session that begins while
//! one before it still has records under way waits until all of those are settled, and asks the table anew how far the shard
//! is. A session begins where everything before is settled, and brings its records in order. So whenever a position moves,
//! every record of the shard up to it is settled, whatever sessions there were; and a record that lies at or before the
//! position may be passed over.

use std::collections::VecDeque;

use host_core::moment::Moment;
use host_core::patience::{Patience, Phase, Trouble, Verdict};
use host_core::transacting::{Action, Options, Record, Settled, Transactions};

use super::Ticket;
use super::row::Applied;

/// What is to be done for a shard.
pub(super) enum Step {
    /// Make the row ours, and learn the position.
    Claim,
    /// Carry out a transaction, or look where the position is.
    Do(Action<Ticket, Applied>),
}

enum State {
    /// Nobody knows how far the shard is.
    Unknown,
    /// The row is being claimed.
    Asked,
    /// A session at work.
    Open(Box<Transactions<Ticket, Applied>>),
}

/// See the module.
pub(super) struct Lane {
    options: Options,
    state: State,
    /// The session at work, and the last record of it.
    session: Option<(u64, Applied)>,
    /// Records that no transaction knows of yet, and their sessions.
    waiting: VecDeque<(u64, Record<Ticket, Applied>)>,
    patience: Patience,
    resume_at: Option<Moment>,
    /// Names its transactions, with their numbers.
    pub(super) name: String,
    /// Whether what goes next was sent before.
    pub(super) is_repeating: bool,
    /// Whether it is to be looked at.
    pub(super) is_ready: bool,
    pub(super) wakes_at: Option<Moment>,
}

impl Lane {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Unknown,
            session: None,
            waiting: VecDeque::new(),
            patience: Patience::new(options.retry, Phase::Running),
            resume_at: None,
            name: String::new(),
            is_repeating: false,
            is_ready: false,
            wakes_at: None,
        }
    }

    /// Takes the next record that was handed over.
    pub(super) fn take(&mut self, session: u64, record: Record<Ticket, Applied>) {
        self.waiting.push_back((session, record));
    }

    /// Gives records to the session at work; what is settled by that is told by `settled`.
    pub(super) fn feed(&mut self) {
        let State::Open(transactions) = &mut self.state else { return };
        while let Some((session, record)) = self.waiting.front() {
            let is_next = self.session.as_ref().is_none_or(|(of, last)| of == session && *last < record.position);
            if !is_next {
                return;
            }
            self.session = Some((*session, record.position.clone()));
            if let Some((_, record)) = self.waiting.pop_front() {
                transactions.push(record);
            }
        }
    }

    /// What became of requests.
    pub(super) fn settled(&mut self) -> Vec<Settled<Ticket>> {
        match &mut self.state {
            State::Open(transactions) => transactions.settled().collect(),
            State::Unknown | State::Asked => Vec::new(),
        }
    }

    /// What to do now, once it is fed and what was settled is told.
    pub(super) fn next(&mut self, now: Moment, is_hurried: bool) -> Step {
        if let State::Open(transactions) = &mut self.state {
            if self.waiting.is_empty() || !transactions.is_empty() {
                transactions.hurry(is_hurried || !self.waiting.is_empty());
                return Step::Do(transactions.next(now));
            }
            self.state = State::Unknown;
        }
        match self.resume_at.filter(|at| *at > now) {
            Some(at) if matches!(self.state, State::Unknown) => Step::Do(Action::Wait(at)),
            None if matches!(self.state, State::Unknown) && !self.waiting.is_empty() => {
                self.state = State::Asked;
                Step::Claim
            }
            Some(_) | None => Step::Do(Action::Idle),
        }
    }

    /// The row is ours, and says this.
    pub(super) fn claimed(&mut self, applied: Option<Applied>) {
        self.state = State::Open(Box::new(Transactions::new(self.options, applied)));
        (self.session, self.resume_at, self.is_repeating) = (None, None, false);
        self.patience = Patience::new(self.options.retry, Phase::Running);
        self.name = std::iter::repeat_with(fastrand::alphanumeric).take(18).collect();
    }

    /// What was under way failed, and may have happened.
    pub(super) fn failed(&mut self, now: Moment, trouble: Trouble, jitter: f64) -> Verdict {
        match &mut self.state {
            State::Open(transactions) => transactions.failed(now, trouble, jitter),
            State::Unknown | State::Asked => {
                self.state = State::Unknown;
                let verdict = self.patience.failed(now, trouble, jitter);
                if let Verdict::Again { after, .. } = verdict {
                    self.resume_at = Some(now + after);
                }
                verdict
            }
        }
    }

    /// The transactions of the session at work.
    pub(super) fn transactions(&mut self) -> Option<&mut Transactions<Ticket, Applied>> {
        match &mut self.state {
            State::Open(transactions) => Some(transactions),
            State::Unknown | State::Asked => None,
        }
    }

    /// Whether nothing would be forgotten with it.
    pub(super) fn is_idle(&self) -> bool {
        let is_done = match &self.state {
            State::Open(transactions) => transactions.is_empty(),
            State::Unknown => true,
            State::Asked => false,
        };
        is_done && self.waiting.is_empty()
    }
}
