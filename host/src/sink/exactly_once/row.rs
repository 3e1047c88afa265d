//! The row that tells how far a sink has applied a shard.

use host_core::shard::{Position, SequenceNumber};

use crate::item::{Item, Value};
use crate::ports::PositionWrite;

const GENERATION: &str = "generation";
const SEQUENCE: &str = "sequence";
const SUB_SEQUENCE: &str = "subSequence";

/// After this record of the shard, and this part of it.
pub(super) type Applied = (SequenceNumber, u64);

/// The position after a record; `None` for what is no such position.
pub(super) fn applied(position: &Position) -> Option<Applied> {
    match position {
        Position::After { sequence, sub_sequence } => Some((sequence.clone(), *sub_sequence)),
        Position::TrimHorizon | Position::AtTimestamp(_) | Position::ShardEnd => None,
    }
}

/// Moves the row from one position to another, if it is ours.
pub(super) fn moved(key: &Item, generation: u64, from: Option<&Applied>, to: &Applied) -> PositionWrite {
    let number = |number: u64| Value::Number(number.to_string());
    let named = |position: Option<&Applied>| {
        let (sequence, sub_sequence) = match position {
            Some((sequence, sub_sequence)) => (Value::Text(sequence.to_string()), number(*sub_sequence)),
            None => (Value::Null, Value::Null),
        };
        [(SEQUENCE.to_owned(), sequence), (SUB_SEQUENCE.to_owned(), sub_sequence)]
    };
    let ours = (GENERATION.to_owned(), number(generation));
    let expected = std::iter::once(ours).chain(named(from)).collect();
    PositionWrite { key: key.clone(), expected, set: named(Some(to)).into() }
}

/// The position in a row.
///
/// # Errors
/// It is damaged, and how.
pub(super) fn read(row: Option<&Item>) -> Result<Option<Applied>, String> {
    let Some(row) = row else { return Ok(None) };
    match (row.get(SEQUENCE), row.get(SUB_SEQUENCE)) {
        (None, None) => Ok(None),
        (Some(Value::Text(sequence)), Some(Value::Number(sub_sequence))) => {
            let sequence = SequenceNumber::parse(sequence).map_err(|error| error.to_string())?;
            let sub_sequence =
                sub_sequence.parse().map_err(|_no_number| format!("{SUB_SEQUENCE} is {sub_sequence:?}"))?;
            Ok(Some((sequence, sub_sequence)))
        }
        _other => Err(format!("{SEQUENCE} and {SUB_SEQUENCE} are no position")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_reads_back_as_the_position_that_was_meant() {
        let key = Item(vec![("id".to_owned(), Value::Text("row".to_owned()))]);
        let position = |sequence: &str| (SequenceNumber::parse(sequence).expect("decimal"), 3);
        let write = moved(&key, 7, None, &position("18446744073709551616"));
        assert!(write.expected.contains(&("sequence".to_owned(), Value::Null)), "a first one expects none");
        assert!(write.expected.contains(&("generation".to_owned(), Value::Number("7".to_owned()))));
        let row = Item(write.set);
        assert_eq!(read(Some(&row)), Ok(Some(position("18446744073709551616"))));
        assert_eq!(read(Some(&Item(vec![("generation".to_owned(), Value::Number("7".to_owned()))]))), Ok(None));
        assert!(read(Some(&Item(vec![row.0[0].clone()]))).is_err(), "half a position is none");
    }
}
