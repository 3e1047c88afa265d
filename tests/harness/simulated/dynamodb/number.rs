//! Decimal numbers as the service keeps them: 38 digits, 1E-130 to 9.99…E+125 in either direction, equal by value. Own
//! arithmetic, so that the judge shares nothing with what it judges.

use std::cmp::Ordering;
use std::fmt;

/// Significant digits at most.
const DIGITS_MAX: usize = 38;
/// Powers of ten that digits can stand at, the highest first: one more than numbers have, for carries.
const HIGHEST: i32 = 127;
const LOWEST: i32 = -170;

/// A number; zero has no digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Number {
    is_negative: bool,
    /// Neither the first nor the last is 0.
    digits: Vec<u8>,
    /// The value is `0.digits` times ten to the power of this.
    exponent: i32,
}

impl Number {
    /// Reads a number as requests have them.
    ///
    /// # Errors
    /// The message of the service's refusal.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let no_number = || {
            let colon = if text.is_empty() { String::new() } else { format!(": {text}") };
            format!("The parameter cannot be converted to a numeric value{colon}")
        };
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (coefficient, power) = match unsigned.split_once(['e', 'E']) {
            Some((coefficient, power)) => (coefficient, power.parse::<i64>().map_err(|_not_whole| no_number())?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = coefficient.split_once('.').unwrap_or((coefficient, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return Err(no_number());
        }
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
        let exponent = power.saturating_add(i64::try_from(whole.len()).unwrap_or(i64::MAX));
        Self::of(is_negative, &digits, exponent)
    }

    /// `0.digits` times ten to a power, within the service's limits.
    fn of(is_negative: bool, digits: &[u8], exponent: i64) -> Result<Self, String> {
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        let end = digits.iter().rposition(|digit| *digit != 0).map_or(leading, |last| last + 1);
        let digits = digits.get(leading..end).unwrap_or_default();
        if digits.is_empty() {
            return Ok(Self::default());
        }
        if digits.len() > DIGITS_MAX {
            return Err("Attempting to store more than 38 significant digits in a Number".to_owned());
        }
        let exponent = exponent.saturating_sub(i64::try_from(leading).unwrap_or(i64::MAX));
        let magnitude = |which: &str, than: &str| {
            Err(format!("Number {which}. Attempting to store a number with magnitude {than} than supported range"))
        };
        match i32::try_from(exponent) {
            Ok(exponent @ -129..=126) => Ok(Self { is_negative, digits: digits.to_vec(), exponent }),
            Ok(127..) => magnitude("overflow", "larger"),
            Err(_) if exponent > 0 => magnitude("overflow", "larger"),
            Ok(_) | Err(_) => magnitude("underflow", "smaller"),
        }
    }

    /// Bytes that it takes of an item: two digits each on either side of the point, one more, and one for the sign.
    pub(crate) fn size(&self) -> usize {
        let count = i32::try_from(self.digits.len()).expect("38 at most");
        let whole = self.exponent.clamp(0, count);
        ((whole + 1) / 2 + (count - whole + 1) / 2 + 1 + i32::from(self.is_negative)) as usize
    }

    fn digit_at(&self, power: i32) -> i8 {
        let index = usize::try_from(self.exponent - 1 - power).ok();
        let digit = index.and_then(|index| self.digits.get(index)).copied().unwrap_or(0);
        if self.is_negative { -(digit as i8) } else { digit as i8 }
    }

    /// The sum.
    ///
    /// # Errors
    /// It cannot be kept: the message of the service's refusal.
    pub(crate) fn plus(&self, other: &Self) -> Result<Self, String> {
        let powers = (LOWEST..=HIGHEST).rev();
        let mut sum: Vec<i8> = powers.map(|power| self.digit_at(power) + other.digit_at(power)).collect();
        let is_negative = sum.iter().find(|digit| **digit != 0).is_some_and(|digit| *digit < 0);
        if is_negative {
            sum.iter_mut().for_each(|digit| *digit = -*digit);
        }
        for index in (1..sum.len()).rev() {
            let carried = sum[index].div_euclid(10);
            sum[index] -= carried * 10;
            sum[index - 1] += carried;
        }
        let digits: Vec<u8> = sum.into_iter().map(|digit| digit as u8).collect();
        Self::of(is_negative, &digits, i64::from(HIGHEST) + 1)
    }

    /// The difference.
    ///
    /// # Errors
    /// It cannot be kept: the message of the service's refusal.
    pub(crate) fn minus(&self, other: &Self) -> Result<Self, String> {
        let is_negative = !other.is_negative && !other.digits.is_empty();
        self.plus(&Self { is_negative, ..other.clone() })
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let magnitude = self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        let magnitude = if self.is_negative { magnitude.reverse() } else { magnitude };
        sign(self).cmp(&sign(other)).then(magnitude)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As answers have it: without a power of ten.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let sign = if self.is_negative { "-" } else { "" };
        match usize::try_from(self.exponent) {
            _ if digits.is_empty() => f.write_str("0"),
            Ok(whole) if whole >= digits.len() => write!(f, "{sign}{digits:0<whole$}"),
            Ok(whole @ 1..) => write!(f, "{sign}{}.{}", &digits[..whole], &digits[whole..]),
            Ok(0) | Err(_) => {
                let zeros = self.exponent.unsigned_abs() as usize;
                write!(f, "{sign}0.{}{digits}", "0".repeat(zeros))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect("a number")
    }

    #[test]
    fn numbers_are_equal_by_value_and_written_without_powers() {
        for (text, canonical) in [
            ("1", "1"),
            ("1.0", "1"),
            ("-0.0", "0"),
            ("+.5", "0.5"),
            ("5.", "5"),
            ("00042", "42"),
            ("1e2", "100"),
            ("1.5E-3", "0.0015"),
            ("-120.50", "-120.5"),
        ] {
            assert_eq!(number(text).to_string(), canonical);
            assert_eq!(number(text), number(canonical));
        }
        for text in ["", "+e2", "1+2", "1.2.3", "++5", "1e", ".", "NaN", "1_000", " 5"] {
            assert!(Number::parse(text).expect_err(text).contains("cannot be converted"));
        }
    }

    #[test]
    fn numbers_have_38_digits_and_a_range() {
        let digits = "9".repeat(38);
        assert_eq!(number(&digits).to_string(), digits);
        assert!(Number::parse(&format!("{digits}1")).expect_err("39").contains("38 significant digits"));
        assert_eq!(number(&format!("{digits}000")).to_string().len(), 41);
        assert!(Number::parse("1e126").expect_err("too large").contains("overflow"));
        assert!(Number::parse("1e-131").expect_err("too small").contains("underflow"));
        assert!(Number::parse("1e-99999999999").expect_err("too small").contains("underflow"));
        assert_eq!(number("1e-130").to_string().len(), 132);
    }

    #[test]
    fn sums_carry_borrow_and_keep_the_order() {
        for (left, right, sum) in [
            ("999", "1", "1000"),
            ("1000", "-1", "999"),
            ("-5", "3.5", "-1.5"),
            ("0.1", "0.2", "0.3"),
            ("7", "-7", "0"),
            ("9e125", "0", &format!("9{}", "0".repeat(125))),
        ] {
            assert_eq!(number(left).plus(&number(right)).expect("in range").to_string(), sum);
            assert_eq!(number(sum).minus(&number(right)).expect("in range"), number(left));
        }
        assert!(number("9e125").plus(&number("1e125")).expect_err("too large").contains("overflow"));
        let ascending = ["-100", "-99.5", "-0.1", "0", "1e-130", "0.1", "2", "10", "99", "1e125"];
        let numbers: Vec<Number> = ascending.into_iter().map(number).collect();
        assert!(numbers.is_sorted_by(|left, right| left < right), "{numbers:?}");
    }

    #[test]
    fn digits_take_half_a_byte_on_either_side_of_the_point() {
        for (text, size) in [("0", 1), ("1", 2), ("42", 2), ("-42", 3), ("123", 3), ("1.5", 3), ("1e100", 2)] {
            assert_eq!(number(text).size(), size, "{text}");
        }
    }
}
