//! Amounts with a unit: durations (`"250ms"`) and sizes (`"64MiB"`).
//!
//! A number without a unit is refused: nobody remembers whether `30` was seconds or milliseconds. `MB` is ten to the
//! sixth and `MiB` two to the twentieth, as the words say.

use std::time::Duration;

/// Units of time, in nanoseconds, the smallest first.
const TIME: &[(&str, u64)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of size, in bytes, the smallest first.
const SIZE: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// It does not begin with a number.
    #[error("it does not begin with a number")]
    Number,
    /// There is no unit behind the number.
    #[error("the unit is missing")]
    NoUnit,
    /// The unit is none of those known.
    #[error("{0:?} is no unit")]
    Unit(String),
    /// It is finer than the smallest unit or beyond 64 bits.
    #[error("it is not a whole number of {0}, or too large")]
    Precision(&'static str),
}

/// Parses a duration: a decimal number and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong with the number or the unit.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidAmount> {
    amount(text, TIME, "nanoseconds").map(Duration::from_nanos)
}

/// Parses a size in bytes: a decimal number and `B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB` or `TiB`.
///
/// # Errors
/// What is wrong with the number or the unit.
pub fn parse_size(text: &str) -> Result<u64, InvalidAmount> {
    amount(text, SIZE, "bytes")
}

/// Writes a duration in the largest unit that needs no fraction: `90s`, `1h`, `250ms`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    match u64::try_from(duration.as_nanos()) {
        Ok(0) => "0s".to_owned(),
        Ok(nanos) if nanos % 1_000_000 == 0 => in_largest_unit(nanos, &TIME[..4]),
        _ => format!("{duration:?}"),
    }
}

/// Writes a size in the largest unit that needs no fraction: `64MiB`, `2MB`, `1000B`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    in_largest_unit(bytes, SIZE)
}

fn in_largest_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().rev().find(|(_, unit)| amount >= *unit && amount.is_multiple_of(*unit));
    match fitting {
        Some((name, unit)) => format!("{}{name}", amount / unit),
        None => format!("{amount}{}", units[0].0),
    }
}

/// A decimal number times its unit, exactly.
fn amount(text: &str, units: &[(&str, u64)], finest: &'static str) -> Result<u64, InvalidAmount> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim_start_matches(' '));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(InvalidAmount::Number);
    }
    if unit.is_empty() {
        return Err(InvalidAmount::NoUnit);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(InvalidAmount::Unit(unit.to_owned()));
    };
    exact(whole, fraction, *factor).ok_or(InvalidAmount::Precision(finest))
}

fn exact(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    let fraction = fraction.trim_end_matches('0');
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(u128::from(factor))?;
    if scaled.is_multiple_of(scale) { u64::try_from(scaled / scale).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("0.5h"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2 MB"), Ok(2_000_000));
        assert_eq!(parse_size("1.5KiB"), Ok(1536));
    }

    #[test]
    fn what_is_no_amount_says_why() {
        assert_eq!(parse_duration("10"), Err(InvalidAmount::NoUnit));
        assert_eq!(parse_duration("-10s"), Err(InvalidAmount::Number));
        assert_eq!(parse_duration(""), Err(InvalidAmount::Number));
        assert_eq!(parse_duration("1.s"), Err(InvalidAmount::Number));
        assert_eq!(parse_duration("10 seconds"), Err(InvalidAmount::Unit("seconds".to_owned())));
        assert_eq!(parse_size("64M"), Err(InvalidAmount::Unit("M".to_owned())));
        assert_eq!(parse_size("0.1B"), Err(InvalidAmount::Precision("bytes")));
        assert_eq!(parse_size("99999999999TiB"), Err(InvalidAmount::Precision("bytes")));
        assert_eq!(parse_size(&format!("1.{}1B", "0".repeat(60))), Err(InvalidAmount::Precision("bytes")));
    }

    #[test]
    fn what_was_written_is_read_again() {
        for bytes in [0, 1, 999, 1000, 1024, 2_000_000, 64 << 20, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes), "{bytes}");
        }
        for millis in [1, 250, 1000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{millis}");
        }
        assert_eq!(format_size(2_000_000), "2MB");
        assert_eq!(format_size(64 << 20), "64MiB");
    }
}
