//! The table itself: what each code, each status and each fate of a call means.
//!
//! The first row that fits holds. Rows that look at the service's text stand before those of the same code that do not, so
//! that a text nobody has seen yet falls back to what its code alone says.

mod answers;
mod codes;
mod tables;
mod texts;

use super::{Fault, SourceErrorKind};

pub(super) use answers::{FATES, Fate, MALFORMED, NAMELESS, NEW_CODE, NO_FAN_OUT, STATUSES, by_fate, by_status};
pub(super) use codes::CODES;
pub(super) use tables::TABLE_CODES;
pub(super) use texts::{FAN_OUT, Says, Subject};

/// What a group of errors means.
pub(super) struct Row {
    pub(super) codes: &'static [&'static str],
    /// What the service's text must say beside the code.
    pub(super) says: Says,
    pub(super) kind: SourceErrorKind,
    pub(super) fault: Fault,
    /// What follows "stream …" or "table …"; the place goes before the colon, if there is one. `{service}` is filled in, and
    /// `{used}` becomes "read", "written to" or "used".
    pub(super) problem: &'static str,
    /// What to do next; `{stream}` (the table's name, of a table), `{region}`, `{endpoint}`, `{credentials}`, `{service}` and
    /// `{setting}` (what the manifest calls it by) are filled in.
    pub(super) advice: &'static str,
    /// The service repeats signed headers, a session token among them, in the text.
    pub(super) quotes_secrets: bool,
}

impl Row {
    const fn new(
        codes: &'static [&'static str],
        (kind, fault): (SourceErrorKind, Fault),
        problem: &'static str,
        advice: &'static str,
    ) -> Self {
        Self { codes, says: Says::Anything, kind, fault, problem, advice, quotes_secrets: false }
    }

    const fn saying(mut self, says: Says) -> Self {
        self.says = says;
        self
    }

    const fn withheld(mut self) -> Self {
        self.quotes_secrets = true;
        self
    }
}

/// True of a call that is repeated and of the last one before a start gives up.
const WAIT: &str = "such calls are repeated; if it persists, check the way to {endpoint}";
