//! Why an item would be refused, and where in it.

use std::fmt;

use super::number::NotANumber;

/// What the service would refuse of an item. Says where, and names no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidItem {
    /// From the value that is wrong up to the item's attribute.
    steps: Vec<Step>,
    /// What is wrong.
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Place(usize),
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A number that the service does not take.
    #[error("{0}")]
    Number(NotANumber),
    /// Text that is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
    /// A set without members.
    #[error("has an empty set")]
    EmptySet,
    /// A member of a set that is there twice.
    #[error("repeats a member of its set")]
    MemberRepeats,
    /// An attribute's name that is there twice.
    #[error("is there twice")]
    NameRepeats,
    /// An attribute's name without characters or with too many.
    #[error("has a name that is empty or longer than 65535 bytes")]
    Name,
    /// Lists and maps in each other.
    #[error("lies deeper than 32 levels")]
    TooDeep,
}

impl InvalidItem {
    /// The same, of the attribute or entry of this name.
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        self.steps.push(Step::Name(name.to_owned()));
        self
    }

    /// The same, of the member at this place.
    #[must_use]
    pub fn at(mut self, place: usize) -> Self {
        self.steps.push(Step::Place(place));
        self
    }

    /// A low-cardinality name for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::Number(_) => "invalid-number",
            Reason::NotText => "not-utf8",
            Reason::EmptySet => "empty-set",
            Reason::MemberRepeats => "repeated-member",
            Reason::NameRepeats => "repeated-name",
            Reason::Name => "invalid-name",
            Reason::TooDeep => "too-deep",
        }
    }
}

impl From<Reason> for InvalidItem {
    fn from(reason: Reason) -> Self {
        Self { steps: Vec::new(), reason }
    }
}

impl fmt::Display for InvalidItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return write!(f, "the item {}", self.reason);
        }
        f.write_str("`")?;
        for (index, step) in self.steps.iter().rev().enumerate() {
            match step {
                Step::Name(name) if index == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Place(place) => write!(f, "[{place}]")?,
            }
        }
        write!(f, "` {}", self.reason)
    }
}
