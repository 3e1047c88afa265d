//! Numbers of DynamoDB: decimal text, up to 38 significant digits.
//!
//! The service compares numbers by value, so `1`, `1.0` and `10e-1` are one key. Neither a float nor an integer of the
//! machine holds 38 digits; comparing needs no arithmetic, only one form for each value.

use std::fmt;

/// Significant digits of a number.
const DIGITS_MAX: usize = 38;
/// The power of ten of the first digit: from 1e-130 to 9.99…e125.
const MAGNITUDE: std::ops::RangeInclusive<i64> = -130..=125;

/// A number in the one form of its value: zero has no sign, no digit is superfluous.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    is_negative: bool,
    /// ASCII digits without zeros at either end; empty for zero.
    digits: String,
    /// How many of the digits are before the decimal point: below 0 where zeros follow it.
    point: i64,
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNumber {
    /// It is not written like one.
    #[error("it is no decimal number")]
    Form,
    /// It has too many digits.
    #[error("it has more than 38 significant digits")]
    Digits,
    /// It is too large or too small.
    #[error("its magnitude is not between 1e-130 and 1e126")]
    Magnitude,
}

impl Decimal {
    /// Reads a number as the service does: an optional sign, digits with an optional point among them, an optional exponent.
    ///
    /// # Errors
    /// The service takes no such number.
    pub fn parse(text: &str) -> Result<Self, InvalidNumber> {
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return Err(InvalidNumber::Form);
        }
        let exponent = parse_exponent(exponent)?;
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self { is_negative: false, digits: String::new(), point: 0 });
        }
        let leading_zeros = all.len() - digits.len();
        let digits = digits.trim_end_matches('0');
        if digits.len() > DIGITS_MAX {
            return Err(InvalidNumber::Digits);
        }
        let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let point = (length(whole.len()) - length(leading_zeros)).saturating_add(exponent);
        if !MAGNITUDE.contains(&point.saturating_sub(1)) {
            return Err(InvalidNumber::Magnitude);
        }
        Ok(Self { is_negative, digits: digits.to_owned(), point })
    }

    /// Its size in bytes as the service counts it: one byte, one for each two significant digits before the point and one for
    /// each two behind it, and one for a minus. The guide gives the sum "approximately"; halves rounded up on either side
    /// of the point are the most that it can mean.
    #[must_use]
    pub fn size(&self) -> u64 {
        let digits = self.digits.len();
        let whole = usize::try_from(self.point).unwrap_or(0).min(digits);
        let halves = whole.div_ceil(2) + (digits - whole).div_ceil(2);
        1 + halves as u64 + u64::from(self.is_negative)
    }
}

/// Whether it is beyond all measure is decided with the digits at hand: `0e999999999999` is zero.
fn parse_exponent(text: &str) -> Result<i64, InvalidNumber> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidNumber::Form);
    }
    // What does not fit is beyond the range of any mantissa that fits into memory.
    Ok(digits.parse::<i64>().unwrap_or(i64::MAX / 2).min(i64::MAX / 2) * sign)
}

/// The canonical text: two numbers have the same exactly if they are equal.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let exponent = self.point - i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let sign = if self.is_negative { "-" } else { "" };
        match exponent {
            0 => write!(f, "{sign}{}", self.digits),
            _ => write!(f, "{sign}{}e{exponent}", self.digits),
        }
    }
}
