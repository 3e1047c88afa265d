use proptest::prelude::*;

use super::*;
use crate::component::error::{ErrorClass, GuestError};

/// What a component may return for `records` records.
#[derive(Clone, Debug)]
struct Output {
    records: usize,
    input_index: Vec<u32>,
    elements: ElementBatch,
    errors: Vec<RecordError>,
}

impl Output {
    fn check(&self) -> Result<(), Violation> {
        deserialized(&self.input_index, &self.elements, &self.errors, self.records, 1_000)
    }
}

fn error(input_index: u32) -> RecordError {
    let error = GuestError { class: ErrorClass::Poison, code: "bad".into(), message: String::new() };
    RecordError { input_index, error }
}

fn column(values: &[Vec<u8>]) -> Column {
    let mut column = Column::default();
    for value in values {
        column.push(value);
    }
    column
}

/// What came of each record: nothing, an error, or some elements; which optional columns are there; and the routes.
fn good() -> impl Strategy<Value = Output> {
    let fates = prop::collection::vec(prop_oneof![Just(None), (0_usize..4).prop_map(Some)], 0..12);
    (fates, any::<[bool; 3]>(), 0_usize..4, prop::collection::vec(any::<u8>(), 0..6)).prop_map(
        |(fates, [times, keys, routed], names, payload)| {
            let mut output = Output {
                records: fates.len(),
                input_index: Vec::new(),
                elements: ElementBatch::default(),
                errors: Vec::new(),
            };
            for (index, fate) in (0_u32..).zip(&fates) {
                match fate {
                    None => output.errors.push(error(index)),
                    Some(elements) => output.input_index.extend(std::iter::repeat_n(index, *elements)),
                }
            }
            let count = output.input_index.len();
            let values: Vec<Vec<u8>> = (0..count).map(|index| payload[..index.min(payload.len())].to_vec()).collect();
            output.elements.payload = column(&values);
            if times {
                output.elements.event_time = vec![-1; count];
            }
            if keys {
                output.elements.key = column(&values);
            }
            output.elements.routes = (0..names).map(|name| format!("route-{name}")).collect();
            if routed {
                output.elements.route =
                    (0_u32..).map(|route| route % (u32::try_from(names).unwrap_or(0) + 1)).take(count).collect();
            }
            output
        },
    )
}

/// One way to break the rules. `None` if the output has nothing to break in this way.
fn damage(mut output: Output, kind: u8) -> Option<Output> {
    let count = output.elements.payload.len();
    let records = u32::try_from(output.records).ok()?;
    match kind {
        0 => output.elements.payload.bytes.push(0),
        1 => *output.elements.payload.ends.last_mut()? += 1,
        2 => {
            let middle = output.elements.payload.ends.get_mut(count.checked_sub(2)?)?;
            *middle = u32::MAX;
        }
        3 => output.elements.event_time = vec![0; count + 1],
        4 => output.elements.key = column(&vec![Vec::new(); count + 1]),
        5 => output.elements.route = vec![0; count + 1],
        6 => {
            output.elements.route = vec![0; count];
            *output.elements.route.last_mut()? = u32::try_from(output.elements.routes.len()).ok()? + 1;
        }
        7 => output.elements.routes.push(String::new()),
        8 => output.elements.routes.push("r".repeat(65)),
        9 => output.elements.routes.push(output.elements.routes.first()?.clone()),
        10 => output.elements.routes = (0..257).map(|name| name.to_string()).collect(),
        11 => *output.input_index.last_mut()? = records,
        12 => output.input_index.push(records.checked_sub(1)?),
        13 => {
            (count >= 2 && output.input_index[0] < *output.input_index.last()?).then_some(())?;
            output.input_index.reverse();
        }
        14 => output.errors.push(error(records)),
        15 => output.errors.push(output.errors.last()?.clone()),
        16 => {
            (output.errors.len() >= 2).then_some(())?;
            output.errors.reverse();
        }
        17 => {
            let index = *output.input_index.first()?;
            output.errors = vec![error(index)];
        }
        18 => {
            (count > 0 && (count != output.records || !output.errors.is_empty())).then_some(())?;
            output.input_index = Vec::new();
        }
        _ => {
            output.elements.key = column(&vec![vec![0; 2_049]; count.max(1)]);
        }
    }
    Some(output)
}

proptest! {
    #[test]
    fn what_keeps_the_rules_is_accepted(output in good()) {
        prop_assert_eq!(output.check(), Ok(()));
    }

    #[test]
    fn every_kind_of_damage_is_refused(output in good(), kind in 0_u8..20) {
        if let Some(damaged) = damage(output, kind) {
            prop_assert!(damaged.check().is_err(), "kind {kind}: {damaged:?}");
        }
    }

    /// Whatever is accepted can be used without another check: no index of the host's is out of range.
    #[test]
    fn what_is_accepted_can_be_indexed(
        records in 0_usize..4,
        input_index in prop::collection::vec(0_u32..5, 0..4),
        ends in prop::collection::vec(0_u32..5, 0..4),
        bytes in 0_usize..5,
        route in prop::collection::vec(0_u32..3, 0..4),
        errors in prop::collection::vec(0_u32..5, 0..3),
    ) {
        let payload = Column { ends, bytes: vec![0; bytes] };
        let elements = ElementBatch { payload, route, routes: vec!["a".into()], ..ElementBatch::default() };
        let output = Output { records, input_index, elements, errors: errors.into_iter().map(error).collect() };
        if output.check().is_ok() {
            let count = output.elements.payload.iter().map(<[u8]>::len).count();
            prop_assert!(output.input_index.iter().all(|index| (*index as usize) < records));
            prop_assert!(output.input_index.len() == count || (output.input_index.is_empty() && count <= records));
            prop_assert!(output.elements.route.iter().all(|route| *route <= 1));
            prop_assert!(output.errors.iter().all(|error| !output.input_index.contains(&error.input_index)));
        }
    }
}

#[test]
fn no_origins_mean_one_element_for_each_record() {
    let elements = ElementBatch { payload: column(&[vec![1], vec![]]), ..ElementBatch::default() };
    assert_eq!(deserialized(&[], &elements, &[], 2, 10), Ok(()));
    let refused = Err(Violation::NoInputIndex { step: Step::Deserialize, found: 2, errors: 0, inputs: 3 });
    assert_eq!(deserialized(&[], &elements, &[], 3, 10), refused);
    assert_eq!(deserialized(&[], &ElementBatch::default(), &[], 3, 10), Ok(()), "all filtered");
}

#[test]
fn more_elements_than_allowed_are_refused_before_anything_else() {
    let elements = ElementBatch { payload: column(&vec![Vec::new(); 11]), ..ElementBatch::default() };
    let refused = Err(Violation::TooMany { step: Step::Deserialize, found: 11, max: 10 });
    assert_eq!(deserialized(&[], &elements, &[], 11, 10), refused);
}

#[test]
fn a_violation_names_the_column_and_the_place() {
    let payload = Column { ends: vec![3, 1, 4], bytes: vec![0; 4] };
    let elements = ElementBatch { payload, ..ElementBatch::default() };
    let violation = deserialized(&[], &elements, &[], 3, 10).expect_err("it overlaps");
    assert_eq!(violation.to_string(), "`payload.ends` decreases at 1");
}

#[test]
fn an_assigners_answer_is_held_to_the_question() {
    let readers: Vec<_> =
        [0, 7].map(|subtask| Reader { subtask, location: "here".into(), weight: 1 }).into_iter().collect();
    let check = |answer: &[(u32, u32)]| {
        let answer: Vec<_> = answer.iter().map(|&(shard, subtask)| Decision { shard, subtask }).collect();
        decisions(&answer, 2, &readers)
    };
    for honest in [&[][..], &[(1, 7)], &[(1, 0), (0, 0)]] {
        assert_eq!(check(honest), Ok(()), "{honest:?}");
    }
    let many = Violation::TooManyDecisions { found: 3, offered: 2 };
    assert_eq!(check(&[(0, 0), (1, 0), (1, 0)]), Err(many), "before anything else is looked at");
    assert_eq!(check(&[(0, 0), (2, 0)]), Err(Violation::UnknownShard { at: 1, shard: 2, offered: 2 }));
    assert_eq!(check(&[(u32::MAX, 0)]), Err(Violation::UnknownShard { at: 0, shard: u32::MAX, offered: 2 }));
    assert_eq!(check(&[(1, 0), (1, 7)]), Err(Violation::DecidedTwice { first: 0, second: 1, shard: 1 }));
    assert_eq!(check(&[(0, 7), (1, 1)]), Err(Violation::NoReader { at: 1, shard: 1, subtask: 1 }));
}
