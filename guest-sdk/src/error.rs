use std::fmt;

use crate::bindings::sluicebox::pipeline::types::{ErrorClass, GuestError};

/// What the host should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It will never succeed: the pipeline's `on_error.poison` policy applies.
    Poison,
    /// The input is fine, something the component depends on was not: tried again with a growing delay.
    Retryable,
    /// The instance's own state is suspect: the host drops it and replays the batch in a new one.
    Fatal,
}

/// An error of one record or element, or of `open` and `close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    class: Class,
    code: String,
    message: String,
}

impl Error {
    /// The record will never succeed. `code` is a metric label: a few constants, 1 to 64 bytes of `a-z`, `0-9`, `-`, `_`
    /// and `.`. `message` is for a reader: the host keeps 1,024 bytes.
    pub fn poison(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Class::Poison, code, message)
    }

    /// The record is fine, and trying again later may succeed.
    pub fn retryable(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Class::Retryable, code, message)
    }

    /// This instance can no longer be trusted. The other records of the batch are still offered to it, and what it makes
    /// of them is thrown away.
    pub fn fatal(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::new(Class::Fatal, code, message)
    }

    /// An error of the given class.
    pub fn new(class: Class, code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { class, code: code.into(), message: message.to_string() }
    }

    /// What the host should do.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// The metric label.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

impl From<Error> for GuestError {
    fn from(error: Error) -> Self {
        let class = match error.class {
            Class::Poison => ErrorClass::Poison,
            Class::Retryable => ErrorClass::Retryable,
            Class::Fatal => ErrorClass::Fatal,
        };
        Self { class, code: error.code, message: error.message }
    }
}

impl From<GuestError> for Error {
    fn from(error: GuestError) -> Self {
        let class = match error.class {
            ErrorClass::Poison => Class::Poison,
            ErrorClass::Retryable => Class::Retryable,
            ErrorClass::Fatal => Class::Fatal,
        };
        Self { class, code: error.code, message: error.message }
    }
}
