//! Numbers of a table: decimal text that the service takes, and when two of them are the same number.
//!
//! The service compares numbers by value, so `1`, `1.0` and `10e-1` are one key. Neither a float nor an integer of the
//! machine holds 38 digits; comparing needs no arithmetic, only one form for each value.

use std::fmt;

/// Significant digits of a number, at most.
const DIGITS_MAX: usize = 38;
/// The power of ten of the first digit of the largest number, 9.99…E125.
const ORDER_MAX: i64 = 125;
/// The power of ten of the first digit of the smallest number, 1E-130.
const ORDER_MIN: i64 = -130;

/// The value of a number's text (`N`): equal exactly if the service takes the texts for the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// The power of ten of the first digit.
    order: i16,
    /// From the first that is not zero, filled up with zeros. All zero for zero, which has no sign and no order.
    digits: [u8; DIGITS_MAX],
}

/// Why a text is no number of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANumber {
    /// It is no decimal number.
    #[error("is not written as a decimal number")]
    Syntax,
    /// It is more precise than a number can be.
    #[error("has more than 38 significant digits")]
    Digits,
    /// Its magnitude is too large.
    #[error("is beyond 9.99E125, the largest number of a table")]
    Large,
    /// Its magnitude is too small.
    #[error("is closer to zero than 1E-130, the smallest number of a table")]
    Small,
}

impl Decimal {
    /// Reads an optional sign, digits with at most one point among or around them, and an optional exponent: what the
    /// service reads, and nothing else.
    ///
    /// # Errors
    /// The service would refuse it, and why.
    pub fn parse(text: &str) -> Result<Self, NotANumber> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (coefficient, exponent) = match unsigned.split_once(['e', 'E']) {
            // The service refuses an exponent beyond 64 bits as one that it cannot read.
            Some((coefficient, exponent)) => {
                (coefficient, exponent.parse::<i64>().map_err(|_beyond| NotANumber::Syntax)?)
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = coefficient.split_once('.').unwrap_or((coefficient, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if coefficient.is_empty() || coefficient == "." || !digits().all(|digit| digit.is_ascii_digit()) {
            return Err(NotANumber::Syntax);
        }
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let Some(leading_zeros) = digits().position(|digit| digit != b'0') else {
            // The service holds a zero to the same range, as if its last digit were a one.
            in_range(exponent.saturating_sub(length(fraction)))?;
            return Ok(Self { negative: false, order: 0, digits: [0; DIGITS_MAX] });
        };
        let mut significant = [0; DIGITS_MAX];
        for (at, digit) in digits().skip(leading_zeros).enumerate().filter(|(_, digit)| *digit != b'0') {
            *significant.get_mut(at).ok_or(NotANumber::Digits)? = digit - b'0';
        }
        let first = length(whole).saturating_sub(1).saturating_sub(i64::try_from(leading_zeros).unwrap_or(i64::MAX));
        let order = in_range(exponent.saturating_add(first))?;
        Ok(Self { negative: text.starts_with('-'), order, digits: significant })
    }

    /// Its size in bytes as the service counts it: one byte, one for each two significant digits before the point and one for
    /// each two behind it, and one for a minus. The guide gives the sum "approximately"; halves rounded up on either side
    /// of the point are the most that it can mean.
    #[must_use]
    pub fn size(&self) -> u64 {
        let digits = self.significant().len();
        let whole = usize::try_from(self.order + 1).unwrap_or(0).min(digits);
        let halves = whole.div_ceil(2) + (digits - whole).div_ceil(2);
        1 + halves as u64 + u64::from(self.negative)
    }

    /// The digits up to the last that is not zero.
    fn significant(&self) -> &[u8] {
        let end = self.digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        &self.digits[..end]
    }
}

/// The canonical text: two numbers have the same exactly if they are equal.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.significant();
        if digits.is_empty() {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        digits.iter().try_for_each(|digit| write!(f, "{digit}"))?;
        match i64::from(self.order) + 1 - i64::try_from(digits.len()).unwrap_or(i64::MAX) {
            0 => Ok(()),
            exponent => write!(f, "e{exponent}"),
        }
    }
}

fn in_range(order: i64) -> Result<i16, NotANumber> {
    match order {
        ORDER_MIN..=ORDER_MAX => Ok(order as i16),
        _ if order < 0 => Err(NotANumber::Small),
        _ => Err(NotANumber::Large),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Decimal, NotANumber> {
        Decimal::parse(text)
    }

    #[test]
    fn what_the_service_reads_is_read() {
        let many = "1".repeat(38);
        for text in ["0", "-0", "+5", "-7", "+.5", "5.", "1e+2", "1.5E+3", "1E-130", "00042", "9.9E125", &many] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["", "+", ".", "e2", "+e2", "1+2", "1.2.3", "++5", "1e", "1e+-2", "NaN", "1_000", " 5", "5 ", "٣"]
        {
            assert_eq!(read(text), Err(NotANumber::Syntax), "{text:?}");
        }
        assert_eq!(read("1e9223372036854775808"), Err(NotANumber::Syntax), "the exponent has more than 64 bits");
    }

    #[test]
    fn precision_and_magnitude_end_where_the_service_ends_them() {
        let digits = "1".repeat(39);
        let zeros = format!("{}{}", "1".repeat(38), "0".repeat(88));
        assert_eq!(read(&digits), Err(NotANumber::Digits));
        assert!(read(&zeros).is_ok(), "zeros at the end are not significant");
        assert!(read(&format!("0.{}1", "0".repeat(129))).is_ok());
        let cases = [
            ("1e126", NotANumber::Large),
            ("-10e125", NotANumber::Large),
            ("1e-131", NotANumber::Small),
            ("0.1e-130", NotANumber::Small),
            ("1e9223372036854775807", NotANumber::Large),
            ("0.1e-9223372036854775808", NotANumber::Small),
            ("0e126", NotANumber::Large),
            ("0.0e-130", NotANumber::Small),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn texts_of_the_same_number_are_equal() {
        for (one, other) in [("1", "1.0"), ("0100", "1e2"), ("-0", "+0.00"), ("0.05", "5E-2"), ("-1.50", "-15e-1")] {
            assert_eq!(read(one), read(other), "{one} {other}");
        }
        for (one, other) in [("1", "-1"), ("1", "10"), ("0", "1"), ("12", "1.2"), ("1", "1.0000000000000000000001")] {
            assert_ne!(read(one), read(other), "{one} {other}");
        }
    }

    proptest! {
        /// A naive reference: integers, moved by powers of ten.
        #[test]
        fn equality_is_that_of_the_values(one in -2_000_i64..2_000, other in -2_000_i64..2_000, shift in 0_usize..4) {
            let moved = format!("{one}{}e-{shift}", "0".repeat(shift));
            let plain = other.to_string();
            prop_assert_eq!(read(&moved) == read(&plain), one == other);
            prop_assert_eq!(read(&format!("{one}e-{shift}")) == read(&plain), one == other * 10_i64.pow(shift as u32));
        }

        #[test]
        fn no_text_is_a_panic(text in "[-+0-9.eE]{0,60}") {
            let _outcome = read(&text);
        }
    }
}
