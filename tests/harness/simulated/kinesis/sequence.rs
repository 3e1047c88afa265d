//! Sequence numbers as the service forms them: 188 bits, written as 56 decimal digits, that hold when the shard was made,
//! which record of it this is, and when it came. So one of another incarnation of a stream can be told from its own.

use std::fmt;

/// The ordinal in a closed shard's `EndingSequenceNumber`: no record ever reaches it.
const ORDINAL_OF_END: u64 = i64::MAX as u64;
/// The first and the last four bits: the version of the form.
const VERSION: u64 = 2;

/// One sequence number, taken apart. Within a shard its order is that of `ordinal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    /// Creation of the shard, in seconds since the epoch.
    pub(crate) created: u64,
    /// The record's number in its shard, from 1.
    pub(crate) ordinal: u64,
    /// Arrival, in seconds since the epoch.
    pub(crate) at: u64,
    /// The shard's number in its stream.
    pub(crate) shard: u32,
}

impl Sequence {
    /// `EndingSequenceNumber` of a shard that was closed at `at` (seconds).
    pub(crate) const fn end(created: u64, shard: u32, at: u64) -> Self {
        Self { created, ordinal: ORDINAL_OF_END, at, shard }
    }

    /// Whether this is no record but the end of a closed shard.
    pub(crate) const fn is_end(self) -> bool {
        self.ordinal == ORDINAL_OF_END
    }

    /// Parses decimal text; `None` if the service could not have made it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 60 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut number = Wide([0; 3]);
        for digit in text.bytes() {
            number.times_ten_plus(u64::from(digit - b'0'))?;
        }
        let last = number.take(4);
        let shard = u32::try_from(number.take(32)).ok()?;
        let at = number.take(36);
        let _unused = number.take(8);
        let ordinal = number.take(64);
        let nibble = number.take(4);
        let created = number.take(36);
        let first = number.take(4);
        let is_ours = first == VERSION && last == VERSION && number.0 == [0; 3] && nibble == u64::from(shard % 16);
        is_ours.then_some(Self { created, ordinal, at, shard })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = Wide([0; 3]);
        let fields = [
            (4, VERSION),
            (36, self.created),
            (4, u64::from(self.shard % 16)),
            (64, self.ordinal),
            (8, 0),
            (36, self.at),
            (32, u64::from(self.shard)),
            (4, VERSION),
        ];
        for (bits, value) in fields {
            number.put(bits, value);
        }
        number.fmt(f)
    }
}

/// 192 bits, most significant word first.
struct Wide([u64; 3]);

impl Wide {
    /// Appends the lowest `bits` of `value` at the low end.
    fn put(&mut self, bits: u32, value: u64) {
        let [high, middle, low] = self.0;
        self.0 = if bits == 64 {
            [middle, low, value]
        } else {
            let value = value & ((1 << bits) - 1);
            [high << bits | middle >> (64 - bits), middle << bits | low >> (64 - bits), low << bits | value]
        };
    }

    /// Removes and returns the lowest `bits`.
    fn take(&mut self, bits: u32) -> u64 {
        let [high, middle, low] = self.0;
        if bits == 64 {
            self.0 = [0, high, middle];
            return low;
        }
        self.0 = [high >> bits, high << (64 - bits) | middle >> bits, middle << (64 - bits) | low >> bits];
        low & ((1 << bits) - 1)
    }

    /// `None` when it outgrows its bits.
    fn times_ten_plus(&mut self, digit: u64) -> Option<()> {
        let mut carry = u128::from(digit);
        for word in self.0.iter_mut().rev() {
            let sum = u128::from(*word) * 10 + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
        (carry == 0).then_some(())
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHUNK: u128 = 10_u128.pow(18);
        let (mut words, mut chunks) = (self.0, Vec::with_capacity(4));
        while words != [0; 3] {
            let mut rest = 0;
            for word in &mut words {
                let value = rest << 64 | u128::from(*word);
                *word = (value / CHUNK) as u64;
                rest = value % CHUNK;
            }
            chunks.push(rest);
        }
        let mut chunks = chunks.iter().rev();
        write!(f, "{}", chunks.next().unwrap_or(&0))?;
        chunks.try_for_each(|chunk| write!(f, "{chunk:018}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Sequence = Sequence { created: 1_800_000_000, ordinal: 1, at: 1_800_000_003, shard: 17 };

    #[test]
    fn a_sequence_number_has_56_digits_and_reads_back() {
        for sequence in [FIRST, Sequence { ordinal: u64::from(u32::MAX) + 7, ..FIRST }, Sequence::end(1, 2, 3)] {
            let text = sequence.to_string();
            assert_eq!(Sequence::parse(&text), Some(sequence), "{text}");
            assert_eq!(text.len(), 56, "{text}");
        }
    }

    #[test]
    fn numbers_of_a_shard_ascend_as_text_of_one_length() {
        let later = Sequence { ordinal: 2, at: 1_800_000_003, ..FIRST };
        assert!(FIRST.to_string() < later.to_string());
        assert!(later.to_string() < Sequence::end(FIRST.created, FIRST.shard, FIRST.at).to_string());
    }

    #[test]
    fn what_the_service_cannot_have_made_is_no_sequence_number() {
        let nines = "9".repeat(59);
        for text in ["", "0", "1", "12x", nines.as_str(), "49590338271490256608559692538361571095921575989136588897"] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
    }
}
