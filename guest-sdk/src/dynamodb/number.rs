use std::cmp::Ordering;
use std::fmt;

use crate::Error;

/// What the service keeps of a number.
const DIGITS_MAX: u32 = 38;
const SMALLEST: i64 = -130;
const LARGEST: i64 = 125;

/// A number as DynamoDB has it: decimal and exact, up to 38 significant digits, from 1E-130 to 9.99E+125 and the same below
/// zero. Zeros in front and behind the fraction mean nothing: 1.50 is 1.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    is_negative: bool,
    /// Does not end in 0, unless it is 0.
    digits: u128,
    /// Digits are times ten to this power.
    exponent: i16,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = Self { is_negative: false, digits: 0, exponent: 0 };

    /// Reads a decimal text such as `-12.50` or `6.02e23`, exactly.
    ///
    /// # Errors
    /// `invalid-number`, poison: no number, more digits than the service keeps, too large or too small.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::poison("invalid-number", format_args!("{:?} {why}", shown(text)));
        let no_number = || invalid("is no decimal number");
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().ok_or_else(no_number)?),
            None => (text, 0),
        };
        let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.len() + fraction.len() == 0 {
            return Err(no_number());
        }
        let mut digits = 0_u128;
        let mut significant = 0_u32;
        let mut zeros = 0_u32;
        for byte in whole.bytes().chain(fraction.bytes()) {
            match byte {
                b'0' if digits == 0 => {}
                b'0' => zeros += 1,
                b'1'..=b'9' => {
                    significant = significant.saturating_add(zeros + 1);
                    if significant > DIGITS_MAX {
                        return Err(invalid("has more than 38 significant digits"));
                    }
                    digits = digits * 10_u128.pow(zeros + 1) + u128::from(byte - b'0');
                    zeros = 0;
                }
                _ => return Err(no_number()),
            }
        }
        if digits == 0 {
            return Ok(Self::ZERO);
        }
        let exponent = i64::from(exponent) + i64::from(zeros) - fraction.len() as i64;
        if !(SMALLEST..=LARGEST).contains(&(exponent + i64::from(significant) - 1)) {
            return Err(invalid("is not between 1E-130 and 9.99E+125"));
        }
        let exponent = i16::try_from(exponent).expect("a number between these bounds has such an exponent");
        Ok(Self { is_negative: mantissa.starts_with('-'), digits, exponent })
    }

    fn whole(is_negative: bool, mut magnitude: u64) -> Self {
        let mut exponent = 0;
        while magnitude != 0 && magnitude.is_multiple_of(10) {
            magnitude /= 10;
            exponent += 1;
        }
        Self { is_negative, digits: magnitude.into(), exponent }
    }

    /// The power of ten of the first digit, and the digits as if there were 38 of them.
    fn magnitude(self) -> (i64, u128) {
        let Some(power) = self.digits.checked_ilog10() else { return (i64::MIN, 0) };
        (i64::from(power) + i64::from(self.exponent), self.digits * 10_u128.pow(DIGITS_MAX - 1 - power))
    }
}

/// The beginning of a text that may be long.
fn shown(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::whole(false, value)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::whole(value < 0, value.unsigned_abs())
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Self::from(i64::from(value))
    }
}

/// The shortest decimal number that reads back as the same float: 0.1 is 0.1.
impl TryFrom<f64> for Number {
    type Error = Error;

    fn try_from(value: f64) -> Result<Self, Error> {
        Self::parse(&format!("{value:e}"))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        let places = usize::from(self.exponent.unsigned_abs());
        let sign = if self.is_negative { "-" } else { "" };
        if places > DIGITS_MAX as usize {
            write!(formatter, "{sign}{digits}E{}", self.exponent)
        } else if self.exponent >= 0 {
            write!(formatter, "{sign}{digits}{:0<places$}", "")
        } else if let Some(whole) = digits.len().checked_sub(places).filter(|whole| *whole > 0) {
            write!(formatter, "{sign}{}.{}", &digits[..whole], &digits[whole..])
        } else {
            write!(formatter, "{sign}0.{digits:0>places$}")
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.magnitude().cmp(&other.magnitude()),
            (true, true) => other.magnitude().cmp(&self.magnitude()),
            (is_negative, _) => {
                if is_negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn a_number_keeps_its_value_and_loses_what_means_nothing() {
        let texts = [
            ("0", "0"),
            ("-0.00", "0"),
            ("0e9", "0"),
            ("1500", "1500"),
            ("-1.0010", "-1.001"),
            ("+.5", "0.5"),
            ("7.", "7"),
            ("00012.50", "12.5"),
            ("0.00125", "0.00125"),
            ("6.02e23", "602000000000000000000000"),
            ("12E-3", "0.012"),
            ("1e125", "1E125"),
            ("-1e-130", "-1E-130"),
            ("100e-2", "1"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("9.9999999999999999999999999999999999999e125", "99999999999999999999999999999999999999E88"),
        ];
        for (text, written) in texts {
            assert_eq!(number(text).to_string(), written, "{text}");
            assert_eq!(number(written), number(text), "{text}");
        }
    }

    #[test]
    fn what_the_service_would_refuse_or_round_is_no_number() {
        let long = "1".repeat(39);
        let zeros = format!("1{}1", "0".repeat(500));
        let refused = [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1,5",
            "0x10",
            " 1",
            "--1",
            "1.2.3",
            "NaN",
            "1e126",
            "1e-131",
            "1e99999999999",
            "١",
            &long,
            &zeros,
        ];
        for text in refused {
            assert_eq!(
                Number::parse(text).map_err(|error| error.code().to_owned()),
                Err("invalid-number".into()),
                "{text}"
            );
        }
    }

    #[test]
    fn whole_numbers_are_exact_to_their_ends() {
        assert_eq!(Number::from(i64::MIN).to_string(), "-9223372036854775808");
        assert_eq!(Number::from(u64::MAX).to_string(), "18446744073709551615");
        assert_eq!(Number::from(0_i64), Number::ZERO);
        assert_eq!(Number::from(-1_200_i32), number("-1.2e3"));
        assert_eq!(Number::from(10_u32), number("10.0"));
    }

    #[test]
    fn a_float_is_the_shortest_decimal_that_reads_back() {
        for (float, text) in
            [(0.1, "0.1"), (-2.5, "-2.5"), (1e21, "1000000000000000000000"), (-0.0, "0"), (5e-100, "5E-100")]
        {
            assert_eq!(Number::try_from(float).map(|number| number.to_string()).as_deref(), Ok(text));
        }
        for float in [f64::NAN, f64::INFINITY, 1e200, 1e-200] {
            assert!(Number::try_from(float).is_err(), "{float}");
        }
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let sorted =
            ["-1e100", "-12", "-2", "-0.5", "0", "1e-130", "0.49", "0.5", "1", "1.5", "2", "11", "1e2", "9e125"];
        for (index, text) in sorted.iter().enumerate() {
            for (other_index, other) in sorted.iter().enumerate() {
                assert_eq!(number(text).cmp(&number(other)), index.cmp(&other_index), "{text} {other}");
            }
        }
    }
}
