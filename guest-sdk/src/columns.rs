//! Columns of values of any length: one run of bytes, and where each value ends.

pub(crate) use crate::bindings::kinesis::sluicebox::pipeline::columns::BytesColumn;

pub(crate) fn empty() -> BytesColumn {
    BytesColumn { ends: Vec::new(), bytes: Vec::new() }
}

/// Value `index` of a column. The host keeps its columns well formed, so an index out of range is a trap.
pub(crate) fn value(column: &BytesColumn, index: usize) -> &[u8] {
    let start = if index == 0 { 0 } else { column.ends[index - 1] as usize };
    &column.bytes[start..column.ends[index] as usize]
}

pub(crate) fn append(column: &mut BytesColumn, bytes: &[u8]) {
    column.bytes.extend_from_slice(bytes);
    end(column);
}

/// Ends the value whose bytes are there already.
pub(crate) fn end(column: &mut BytesColumn) {
    column.ends.push(number(column.bytes.len()));
}

/// Keeps the first `values` values, which have `bytes` bytes.
pub(crate) fn truncate(column: &mut BytesColumn, (values, bytes): (usize, usize)) {
    column.ends.truncate(values);
    column.bytes.truncate(bytes);
}

/// How many values and bytes there are.
pub(crate) fn length(column: &BytesColumn) -> (usize, usize) {
    (column.ends.len(), column.bytes.len())
}

/// A component has at most 4 GiB of memory, so a column that needs more cannot have been written.
pub(crate) fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a column is smaller than the memory of a component")
}

/// One value was written in place by taking away others.
pub(crate) fn shrunk() -> crate::Error {
    crate::Error::fatal(
        "payload-shrunk",
        "a payload was written by taking away earlier ones; it may only be appended to",
    )
}
