//! What a shard is, and how far one has been read.
//!
//! Two words are kept apart on purpose. A *cursor* is how far a shard was read: it is volatile and lives in
//! [`crate::reading`]. A *position* is how far the sinks have it: it is durable and only the ledger moves it.
//! A position says what comes **after** it; there is no variant that means "at", so a resume never repeats a record.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::moment::EpochMillis;

/// A shard: the index of its stream in the manifest, and its identifier, unique within that stream (`ShardId`, 1 to 128
/// characters). Ordered by stream, then by text, which says nothing about age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    stream: u32,
    text: Arc<str>,
}

impl ShardId {
    /// Of stream 0; takes the service's text as it is.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::in_stream(0, text)
    }

    /// Of the stream with this index; takes the service's text as it is.
    #[must_use]
    pub fn in_stream(stream: u32, text: &str) -> Self {
        Self { stream, text: Arc::from(text) }
    }

    /// Index of its stream.
    #[must_use]
    pub const fn stream(&self) -> u32 {
        self.stream
    }

    /// The service's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a sequence number must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sequence number is 1 to 128 decimal digits, not {text:?}")]
pub struct InvalidSequenceNumber {
    text: String,
}

/// The place of a record in its shard (`SequenceNumber`): decimal, about 56 digits, so wider than 128 bits. Compared as a
/// number: `"9" < "10"`. Leading zeros are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// Parses the service's decimal text.
    ///
    /// # Errors
    /// The text is empty, longer than 128 characters, or has anything but ASCII digits.
    pub fn parse(text: &str) -> Result<Self, InvalidSequenceNumber> {
        if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSequenceNumber { text: text.chars().take(140).collect() });
        }
        let significant = text.trim_start_matches('0');
        Ok(Self(Arc::from(if significant.is_empty() { "0" } else { significant })))
    }

    /// Decimal text without leading zeros.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.as_bytes().cmp(other.0.as_bytes()))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything up to here is with the sinks; reading resumes right after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Nothing yet: the oldest record that the stream still keeps comes next (`TRIM_HORIZON`).
    TrimHorizon,
    /// Nothing yet: the first record that arrived at this time or later comes next (`AT_TIMESTAMP`).
    AtTimestamp(EpochMillis),
    /// This record was the last; `sub_sequence` counts inside an aggregated record (0 when nothing is aggregated).
    After {
        /// The record's sequence number.
        sequence: SequenceNumber,
        /// Index of the last delivered user record inside an aggregated one.
        sub_sequence: u64,
    },
    /// The shard is closed and all of it is with the sinks.
    ShardEnd,
}

impl Position {
    /// The position after a record that aggregates nothing.
    #[must_use]
    pub const fn after(sequence: SequenceNumber) -> Self {
        Self::After { sequence, sub_sequence: 0 }
    }

    /// Whether this shard is done.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::ShardEnd)
    }

    /// Rank of the variants: start points, then records, then the end.
    const fn stage(&self) -> u8 {
        match self {
            Self::TrimHorizon | Self::AtTimestamp(_) => 0,
            Self::After { .. } => 1,
            Self::ShardEnd => 2,
        }
    }

    /// Whether `self` lies strictly further along the shard than `other`. Two start points are never further than one
    /// another: which of them holds is a decision, not progress.
    #[must_use]
    pub fn is_past(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::After { sequence, sub_sequence }, Self::After { sequence: other, sub_sequence: other_sub }) => {
                (sequence, sub_sequence) > (other, other_sub)
            }
            _ => self.stage() > other.stage(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("trim-horizon"),
            Self::AtTimestamp(at) => write!(f, "at-timestamp {}", at.0),
            Self::After { sequence, sub_sequence: 0 } => write!(f, "after {sequence}"),
            Self::After { sequence, sub_sequence } => write!(f, "after {sequence}/{sub_sequence}"),
            Self::ShardEnd => f.write_str("shard-end"),
        }
    }
}

/// The slice of the 128-bit MD5 key space that a shard owns (`HashKeyRange`), both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// `StartingHashKey`.
    pub start: u128,
    /// `EndingHashKey`.
    pub end: u128,
}

/// One shard as a listing tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDescription {
    /// The shard.
    pub id: ShardId,
    /// `ParentShardId` and `AdjacentParentShardId`: none, one (split) or two (merge).
    pub parents: Vec<ShardId>,
    /// Absent where the service has none (DynamoDB Streams).
    pub range: Option<HashRange>,
    /// Whether the listing says that the shard takes no more records (`EndingSequenceNumber` is present). A hint only:
    /// emulators report it for open shards, so nothing is decided on it alone.
    pub closed: bool,
}

impl ShardDescription {
    /// The same shard, and the same parents, in the stream with this index.
    #[must_use]
    pub fn in_stream(self, stream: u32) -> Self {
        let put = |id: ShardId| if id.stream == stream { id } else { ShardId { stream, text: id.text } };
        Self { id: put(self.id), parents: self.parents.into_iter().map(put).collect(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> SequenceNumber {
        SequenceNumber::parse(text).expect("decimal")
    }

    #[test]
    fn sequence_numbers_compare_as_numbers_beyond_128_bits() {
        assert!(number("9") < number("10"));
        assert!(
            number("49590338271490256608559692538361571095921575989136588898")
                < number("49590338271490256608559692538361571095921575989136588899")
        );
        assert_eq!(number("007"), number("7"));
    }

    #[test]
    fn a_sequence_number_is_decimal_digits_only() {
        for text in ["", "-1", "1e3", "LATEST", &"1".repeat(129)] {
            assert!(SequenceNumber::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn start_points_are_never_progress() {
        let start = Position::AtTimestamp(EpochMillis(5));
        assert!(!start.is_past(&Position::TrimHorizon) && !Position::TrimHorizon.is_past(&start));
        assert!(Position::after(number("1")).is_past(&start));
        assert!(Position::ShardEnd.is_past(&Position::after(number("9"))));
    }
}
