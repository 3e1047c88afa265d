//! Positions as an operator writes and reads them: `trim-horizon`, `at-timestamp:2018-02-01T00:00:00Z`,
//! `after:SEQUENCE`, `after:SEQUENCE/SUB-SEQUENCE`, `shard-end`.

use host_core::moment::EpochMillis;
use host_core::shard::{Position, SequenceNumber};

use crate::state::{NUMBER_MAX, rfc3339};

/// A text that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no position ({why}); write trim-horizon, at-timestamp:2018-02-01T00:00:00Z (or epoch seconds), after:SEQUENCE[/SUB] or shard-end"
)]
pub struct BadPosition {
    text: String,
    why: String,
}

/// Reads a position.
///
/// # Errors
/// The text is none; the error says how one is written.
pub fn parse(text: &str) -> Result<Position, BadPosition> {
    let bad = |why: String| BadPosition { text: text.to_owned(), why };
    match text.split_once(':') {
        None if text == "trim-horizon" => Ok(Position::TrimHorizon),
        None if text == "shard-end" => Ok(Position::ShardEnd),
        Some(("at-timestamp", at)) => timestamp(at).map(Position::AtTimestamp).map_err(bad),
        Some(("after", place)) => after(place).map_err(bad),
        None | Some(_) => Err(bad("unknown kind".to_owned())),
    }
}

/// Writes a position so that [`parse`] reads it back.
#[must_use]
pub fn print(position: &Position) -> String {
    match position {
        Position::TrimHorizon => "trim-horizon".to_owned(),
        Position::AtTimestamp(at) => format!("at-timestamp:{}", rfc3339(*at)),
        Position::After { sequence, sub_sequence: 0 } => format!("after:{sequence}"),
        Position::After { sequence, sub_sequence } => format!("after:{sequence}/{sub_sequence}"),
        Position::ShardEnd => "shard-end".to_owned(),
    }
}

fn after(place: &str) -> Result<Position, String> {
    let (sequence, sub_sequence) = place.split_once('/').unwrap_or((place, "0"));
    let sequence = SequenceNumber::parse(sequence).map_err(|error| error.to_string())?;
    match sub_sequence.parse() {
        Ok(sub_sequence) if sub_sequence <= NUMBER_MAX => Ok(Position::After { sequence, sub_sequence }),
        Ok(_) | Err(_) => Err(format!("a sub-sequence is a number from 0 to {NUMBER_MAX}")),
    }
}

/// RFC 3339, or seconds since 1970 with up to three decimals.
fn timestamp(text: &str) -> Result<EpochMillis, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return epoch_seconds(text).ok_or_else(|| "epoch seconds have up to three decimals".to_owned());
    }
    let at: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok(EpochMillis(at.as_millisecond()))
}

fn epoch_seconds(text: &str) -> Option<EpochMillis> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 {
        return None;
    }
    let millis: i64 = format!("{decimals:0<3}").parse().ok()?;
    let at = seconds.parse::<i64>().ok()?.checked_mul(1_000)?.checked_add(millis)?;
    jiff::Timestamp::from_millisecond(at).ok().map(|_| EpochMillis(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "trim-horizon",
            "at-timestamp:2018-02-01T00:00:00Z",
            "at-timestamp:2018-02-01T00:00:00.25Z",
            "after:49590338271490256608559692538361571095921575989136588898",
            "after:7/3",
            "shard-end",
        ] {
            assert_eq!(print(&parse(text).expect(text)), text);
        }
    }

    #[test]
    fn epoch_seconds_are_read_to_the_millisecond() {
        assert_eq!(parse("at-timestamp:1517443200"), Ok(Position::AtTimestamp(EpochMillis(1_517_443_200_000))));
        assert_eq!(parse("at-timestamp:1517443200.5"), Ok(Position::AtTimestamp(EpochMillis(1_517_443_200_500))));
    }

    #[test]
    fn a_wrong_position_is_refused_with_the_right_ones() {
        for text in [
            "",
            "latest",
            "after:",
            "after:x",
            "after:1/-1",
            "after:1/9223372036854775808",
            "at-timestamp:",
            "at-timestamp:yesterday",
            "at-timestamp:1.2345",
            "at-timestamp:99999999999999",
            "shard-end:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("latest").expect_err("no position").to_string(),
            "\"latest\" is no position (unknown kind); write trim-horizon, at-timestamp:2018-02-01T00:00:00Z (or epoch \
             seconds), after:SEQUENCE[/SUB] or shard-end"
        );
    }
}
