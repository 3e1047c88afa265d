//! What a component returns is the world's, not ours: one pass over every column before anything is used.
//!
//! Downstream code indexes columns by element and elements by record without checking again, so each rule here is what
//! keeps a component's mistake from becoming the host's panic, a lost record or another record's position.

pub mod entries;
pub mod forest;

use std::collections::BTreeSet;

use crate::columns::{Column, ElementBatch};
use crate::component::assigner::{Decision, Reader};
use crate::component::deserializer::RecordError;

/// Bytes of one key, at most.
const KEY_BYTES_MAX: usize = 2_048;
/// Names of routes in one batch, at most.
const ROUTES_MAX: usize = 256;
/// Bytes of a route's name, at most.
const ROUTE_BYTES_MAX: usize = 64;
/// What the columns of an element batch describe.
const ELEMENTS: &str = "elements";

/// What a component was asked to make, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Elements of records.
    Deserialize,
    /// Entries of elements.
    Convert,
}

impl Step {
    /// One of what goes in.
    fn input(self) -> &'static str {
        match self {
            Self::Deserialize => "record",
            Self::Convert => "element",
        }
    }

    /// One of what comes out.
    fn output(self) -> &'static str {
        match self {
            Self::Deserialize => "element",
            Self::Convert => "entry",
        }
    }

    /// Several of what comes out.
    fn outputs(self) -> &'static str {
        match self {
            Self::Deserialize => "elements",
            Self::Convert => "entries",
        }
    }
}

/// The rule that a component broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A value ends before it starts.
    #[error("`{column}.ends` decreases at {at}")]
    EndsDecrease {
        /// Which column.
        column: &'static str,
        /// Which value.
        at: usize,
    },
    /// The values do not cover the bytes.
    #[error("`{column}` has {bytes} bytes and its last end is {last}")]
    EndsMissBytes {
        /// Which column.
        column: &'static str,
        /// The last end.
        last: usize,
        /// How many bytes there are.
        bytes: usize,
    },
    /// A column has the wrong number of values.
    #[error("`{column}` has {found} values for {expected} {of}")]
    Length {
        /// Which column.
        column: &'static str,
        /// How many values it has.
        found: usize,
        /// How many of what it describes there are.
        expected: usize,
        /// What it describes.
        of: &'static str,
    },
    /// More than a batch may become.
    #[error("{found} {} came of one batch, {max} may", .step.outputs())]
    TooMany {
        /// What was asked.
        step: Step,
        /// How many there are.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A key is too long.
    #[error("the key of element {at} has {bytes} bytes, 2048 are allowed")]
    KeyTooLong {
        /// Which element.
        at: usize,
        /// How long it is.
        bytes: usize,
    },
    /// An element goes to a route that has no name.
    #[error("element {at} goes to route {route} of {routes}")]
    UnknownRoute {
        /// Which element.
        at: usize,
        /// Where it goes.
        route: u32,
        /// How many routes are named.
        routes: usize,
    },
    /// Too many names.
    #[error("{found} routes are named, 256 are allowed")]
    TooManyRoutes {
        /// How many there are.
        found: usize,
    },
    /// A name is empty or too long.
    #[error("the name of route {at} has {bytes} bytes, 1 to 64 are allowed")]
    RouteName {
        /// Which route, counted from 1.
        at: usize,
        /// How long its name is.
        bytes: usize,
    },
    /// A name comes twice.
    #[error("routes {first} and {second} have the same name")]
    RouteRepeats {
        /// Counted from 1.
        first: usize,
        /// Counted from 1.
        second: usize,
    },
    /// No origins, and what came out is not what went in one by one.
    #[error("`input-index` is empty with {found} {} and {errors} errors for {inputs} {}s", .step.outputs(), .step.input())]
    NoInputIndex {
        /// What was asked.
        step: Step,
        /// How many came out.
        found: usize,
        /// How many errors there are.
        errors: usize,
        /// How many went in.
        inputs: usize,
    },
    /// Something comes from what was not there.
    #[error("{} {at} comes from {} {index} of {inputs}", .step.output(), .step.input())]
    InputIndexRange {
        /// What was asked.
        step: Step,
        /// Which element or entry.
        at: usize,
        /// Which record or element it names.
        index: u32,
        /// How many went in.
        inputs: usize,
    },
    /// What came out is out of order.
    #[error("`input-index` decreases at {} {at}", .step.output())]
    InputIndexDecreases {
        /// What was asked.
        step: Step,
        /// Which element or entry.
        at: usize,
    },
    /// An error speaks of what was not there.
    #[error("error {at} speaks of {} {index} of {inputs}", .step.input())]
    ErrorRange {
        /// What was asked.
        step: Step,
        /// Which error.
        at: usize,
        /// Which record or element it names.
        index: u32,
        /// How many went in.
        inputs: usize,
    },
    /// Errors are out of order, or two speak of the same.
    #[error("`errors` do not increase at error {at}")]
    ErrorsOutOfOrder {
        /// Which error.
        at: usize,
    },
    /// A record or an element succeeded and failed.
    #[error("{} {index} has both {} and an error", .step.input(), .step.outputs())]
    OutputAndError {
        /// What was asked.
        step: Step,
        /// Which record or element.
        index: u32,
    },
    /// A request of a kind that there is not.
    #[error("entry {at} asks for {request}, which is neither 0 (put), 1 (delete) nor 2 (add)")]
    UnknownRequest {
        /// Which entry.
        at: usize,
        /// What it asks for.
        request: u8,
    },
    /// Attribute values that are no forest.
    #[error("`values` {0}")]
    Forest(#[from] forest::NoForest),
    /// An assigner decided more than it was asked.
    #[error("{found} decisions came for {offered} shards")]
    TooManyDecisions {
        /// How many there are.
        found: usize,
        /// How many shards were offered.
        offered: usize,
    },
    /// An assigner decided for a shard that was not offered.
    #[error("decision {at} is for shard {shard} of {offered}")]
    UnknownShard {
        /// Which decision.
        at: usize,
        /// The place that it names.
        shard: u32,
        /// How many shards were offered.
        offered: usize,
    },
    /// An assigner decided for a shard twice.
    #[error("decisions {first} and {second} are for the same shard {shard}")]
    DecidedTwice {
        /// Which decision came first.
        first: usize,
        /// Which came again.
        second: usize,
        /// The shard's place among those offered.
        shard: u32,
    },
    /// An assigner gave a shard to nobody.
    #[error("decision {at} gives shard {shard} to subtask {subtask}, which is no reader")]
    NoReader {
        /// Which decision.
        at: usize,
        /// The shard's place among those offered.
        shard: u32,
        /// The subtask that is none.
        subtask: u32,
    },
}

/// Checks an assigner's answer for `offered` shards.
pub fn decisions(decisions: &[Decision], offered: usize, readers: &[Reader]) -> Result<(), Violation> {
    if decisions.len() > offered {
        return Err(Violation::TooManyDecisions { found: decisions.len(), offered });
    }
    let readers: BTreeSet<_> = readers.iter().map(|reader| reader.subtask).collect();
    let mut decided = vec![None; offered];
    for (at, &Decision { shard, subtask }) in decisions.iter().enumerate() {
        let Some(before) = decided.get_mut(shard as usize) else {
            return Err(Violation::UnknownShard { at, shard, offered });
        };
        if let Some(first) = before.replace(at) {
            return Err(Violation::DecidedTwice { first, second: at, shard });
        }
        if !readers.contains(&subtask) {
            return Err(Violation::NoReader { at, shard, subtask });
        }
    }
    Ok(())
}

/// Checks what came of a batch of `records`, as it came: `input_index` may still be empty. At most `elements_max`
/// elements are accepted.
pub fn deserialized(
    input_index: &[u32],
    elements: &ElementBatch,
    errors: &[RecordError],
    records: usize,
    elements_max: usize,
) -> Result<(), Violation> {
    let count = elements.payload.len();
    if count > elements_max {
        return Err(Violation::TooMany { step: Step::Deserialize, found: count, max: elements_max });
    }
    column("payload", &elements.payload)?;
    length("event-time", elements.event_time.len(), count, ELEMENTS)?;
    key(&elements.key, count)?;
    routes(elements, count)?;
    origins(Step::Deserialize, input_index, errors, count, records)
}

fn column(name: &'static str, column: &Column) -> Result<(), Violation> {
    // The common case is one vectorised comparison; the position is looked for only to report it.
    if !column.ends.is_sorted() {
        let at = column.ends.windows(2).position(|pair| pair[0] > pair[1]).map_or(0, |before| before + 1);
        return Err(Violation::EndsDecrease { column: name, at });
    }
    let last = column.ends.last().map_or(0, |end| *end as usize);
    if last != column.bytes.len() {
        return Err(Violation::EndsMissBytes { column: name, last, bytes: column.bytes.len() });
    }
    Ok(())
}

/// Refuses a column that has neither a value for each nor none.
fn length(column: &'static str, found: usize, expected: usize, of: &'static str) -> Result<(), Violation> {
    if found == 0 { Ok(()) } else { exact_length(column, found, expected, of) }
}

/// Refuses a column that has not a value for each.
fn exact_length(column: &'static str, found: usize, expected: usize, of: &'static str) -> Result<(), Violation> {
    if found == expected { Ok(()) } else { Err(Violation::Length { column, found, expected, of }) }
}

fn key(keys: &Column, elements: usize) -> Result<(), Violation> {
    column("key", keys)?;
    length("key", keys.len(), elements, ELEMENTS)?;
    let mut start = 0;
    for (at, end) in keys.ends.iter().enumerate() {
        let bytes = (end - start) as usize;
        if bytes > KEY_BYTES_MAX {
            return Err(Violation::KeyTooLong { at, bytes });
        }
        start = *end;
    }
    Ok(())
}

fn routes(elements: &ElementBatch, count: usize) -> Result<(), Violation> {
    let names = &elements.routes;
    if names.len() > ROUTES_MAX {
        return Err(Violation::TooManyRoutes { found: names.len() });
    }
    let mut seen = std::collections::BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > ROUTE_BYTES_MAX {
            return Err(Violation::RouteName { at: index + 1, bytes: name.len() });
        }
        if let Some(first) = seen.insert(name.as_str(), index + 1) {
            return Err(Violation::RouteRepeats { first, second: index + 1 });
        }
    }
    length("route", elements.route.len(), count, ELEMENTS)?;
    match elements.route.iter().position(|route| *route as usize > names.len()) {
        Some(at) => Err(Violation::UnknownRoute { at, route: elements.route[at], routes: names.len() }),
        None => Ok(()),
    }
}

/// Checks where the `count` that came out of `step` come from, and what failed of the `inputs` that went in.
fn origins(
    step: Step,
    input_index: &[u32],
    errors: &[RecordError],
    count: usize,
    inputs: usize,
) -> Result<(), Violation> {
    if input_index.is_empty() && count > 0 && (count != inputs || !errors.is_empty()) {
        return Err(Violation::NoInputIndex { step, found: count, errors: errors.len(), inputs });
    }
    length("input-index", input_index.len(), count, step.outputs())?;
    if !input_index.is_sorted() {
        let at = input_index.windows(2).position(|pair| pair[0] > pair[1]).map_or(0, |before| before + 1);
        return Err(Violation::InputIndexDecreases { step, at });
    }
    // Sorted, so the first one out of range is where the range ends.
    let in_range = input_index.partition_point(|index| (*index as usize) < inputs);
    if let Some(index) = input_index.get(in_range) {
        return Err(Violation::InputIndexRange { step, at: in_range, index: *index, inputs });
    }
    let mut before = None;
    let mut rest = input_index;
    for (at, error) in errors.iter().enumerate() {
        let index = error.input_index;
        if index as usize >= inputs {
            return Err(Violation::ErrorRange { step, at, index, inputs });
        }
        if before.is_some_and(|before| before >= index) {
            return Err(Violation::ErrorsOutOfOrder { at });
        }
        before = Some(index);
        rest = &rest[rest.partition_point(|output| *output < index)..];
        if rest.first() == Some(&index) {
            return Err(Violation::OutputAndError { step, index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
