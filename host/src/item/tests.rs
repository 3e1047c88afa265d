use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    Decimal::parse(text).expect("a number").to_string()
}

/// One number, in a way of writing it: zeros before and behind, the point wherever, an exponent that makes up for it.
fn spelled(is_negative: bool, digits: &str, exponent: i64, (before, behind, point): (usize, usize, usize)) -> String {
    let all = format!("{}{digits}{}", "0".repeat(before), "0".repeat(behind));
    let point = point.min(all.len());
    let (whole, fraction) = all.split_at(point);
    let exponent = exponent + i64::try_from(fraction.len()).expect("short") - i64::try_from(behind).expect("short");
    let sign = if is_negative { "-" } else { "" };
    match exponent {
        0 if point == all.len() => format!("{sign}{whole}"),
        0 => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{whole}.{fraction}E{exponent}"),
    }
}

fn spelling() -> impl Strategy<Value = (usize, usize, usize)> {
    (0_usize..4, 0_usize..4, 0_usize..20)
}

/// Of a coefficient without zeros at its end: sign, coefficient and exponent are equal exactly if the numbers are.
fn number() -> impl Strategy<Value = (bool, u64, i64)> {
    let coefficient = (0_u64..100_000).prop_filter("no zero at the end", |coefficient| coefficient % 10 != 0);
    (any::<bool>(), coefficient, -8_i64..8)
}

proptest! {
    #[test]
    fn canonical_forms_are_equal_exactly_if_the_numbers_are(
        one in number(), other in number(), first in spelling(), second in spelling(), third in spelling()
    ) {
        let written = |(is_negative, coefficient, exponent): (bool, u64, i64), how| {
            canonical(&spelled(is_negative, &coefficient.to_string(), exponent, how))
        };
        prop_assert_eq!(written(one, first), written(one, second));
        prop_assert_eq!(written(one, first) == written(other, third), one == other);
    }

    #[test]
    fn a_canonical_form_is_its_own(one in number(), how in spelling()) {
        let text = canonical(&spelled(one.0, &one.1.to_string(), one.2, how));
        prop_assert_eq!(canonical(&text), text);
    }

    #[test]
    fn a_number_is_never_counted_smaller_than_the_guide_says(one in number(), how in spelling()) {
        let (is_negative, coefficient, exponent) = one;
        let naive = (coefficient.to_string().len() as u64).div_ceil(2) + 1 + u64::from(is_negative);
        let size = Decimal::parse(&spelled(is_negative, &coefficient.to_string(), exponent, how)).expect("a number").size();
        prop_assert!(size >= naive && size <= naive + 1, "{size} for {naive}");
    }

    #[test]
    fn an_item_comes_back_from_the_sdk_as_it_went(mut item in item()) {
        let back = Item::from_sdk(item.to_sdk()).expect("types that the host knows");
        sort(&mut item.0);
        prop_assert_eq!(back, item);
    }

    #[test]
    fn sizes_are_those_of_a_naive_reference(item in item()) {
        let naive: u64 = item.0.iter().map(|(name, value)| name.len() as u64 + naive(value)).sum();
        prop_assert_eq!(item.size(), naive);
    }
}

/// Follows the guide sentence by sentence; the numbers of these items have one digit.
fn naive(value: &Value) -> u64 {
    let mut size = 0;
    match value {
        Value::Null | Value::Bool(_) => size += 1,
        Value::Text(text) => size += text.len(),
        Value::Number(text) if text == "0" => size += 1,
        Value::Number(text) => size += 2 + usize::from(text.starts_with('-')),
        Value::Bytes(bytes) => size += bytes.len(),
        Value::Texts(texts) => texts.iter().for_each(|text| size += text.len()),
        Value::Numbers(numbers) => size += 2 * numbers.len(),
        Value::ByteStrings(all) => all.iter().for_each(|bytes| size += bytes.len()),
        Value::List(values) => {
            size += 3 + values.len();
            values.iter().for_each(|value| size += usize::try_from(naive(value)).expect("small"));
        }
        Value::Map(named) => {
            size += 3 + named.len();
            for (name, value) in named {
                size += name.len() + usize::try_from(naive(value)).expect("small");
            }
        }
    }
    size as u64
}

fn sort(named: &mut [(String, Value)]) {
    named.sort_by(|(one, _), (other, _)| one.cmp(other));
    named.iter_mut().for_each(|(_, value)| sort_within(value));
}

fn sort_within(value: &mut Value) {
    if let Value::Map(named) = value {
        sort(named);
    } else if let Value::List(values) = value {
        values.iter_mut().for_each(sort_within);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..9);
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        ".{0,9}".prop_map(Value::Text),
        "0|-?[1-9]".prop_map(Value::Number),
        bytes().prop_map(Value::Bytes),
        prop::collection::vec(".{1,9}", 1..4).prop_map(Value::Texts),
        prop::collection::vec("[1-9]", 1..4).prop_map(Value::Numbers),
        prop::collection::vec(bytes(), 1..4).prop_map(Value::ByteStrings),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        let named = prop::collection::btree_map("[a-zä]{1,5}", inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::List),
            named.prop_map(|named| Value::Map(named.into_iter().collect())),
        ]
    })
}

fn item() -> impl Strategy<Value = Item> {
    prop::collection::btree_map("[a-zä]{1,5}", value(), 0..6).prop_map(|named| Item(named.into_iter().collect()))
}

#[test]
fn a_number_has_one_form_however_it_is_written() {
    for (text, form) in [
        ("0012.50e1", "125"),
        ("125", "125"),
        ("+1.25E+2", "125"),
        ("1", "1"),
        ("1.0", "1"),
        (".5", "5e-1"),
        ("5.", "5"),
        ("-0.050", "-5e-2"),
        ("1000", "1e3"),
        ("-0", "0"),
        ("0.000e7", "0"),
        ("1e-130", "1e-130"),
        ("9.9e125", "99e124"),
    ] {
        assert_eq!(canonical(text), form, "{text}");
    }
}

#[test]
fn what_the_service_takes_for_no_number_is_refused() {
    for text in ["", "-", ".", "e5", "1e", "1e+", "0x1", "1_000", "NaN", "Infinity", " 1", "1 ", "1.2.3", "--1", "١"] {
        assert_eq!(Decimal::parse(text), Err(NotANumber::Syntax), "{text:?}");
    }
    let digits = "1234567890".repeat(4);
    assert!(Decimal::parse(&digits[..38]).is_ok());
    assert_eq!(Decimal::parse(&digits[..39]), Err(NotANumber::Digits));
    assert!(Decimal::parse(&format!("{}{}", &digits[..38], "0".repeat(80))).is_ok(), "zeros at the end are no digits");
    for text in ["1e126", "0.1e-130", "1e999999999999999999999", "1e-999999999999999999999"] {
        assert!(Decimal::parse(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_are_as_large_as_the_service_was_measured_to_count_them() {
    for (text, size) in
        [("0", 1), ("-0", 1), ("42", 2), ("-42", 3), ("4200", 2), ("4.2", 3), ("0.042", 2), ("123.45", 4)]
    {
        assert_eq!(Decimal::parse(text).expect("a number").size(), size, "{text}");
    }
}

#[test]
fn sizes_count_names_values_and_what_lists_and_maps_take_for_themselves() {
    let text = |text: &str| Value::Text(text.to_owned());
    let item = |value: Value| Item(vec![("ä".to_owned(), value)]);
    for (value, size) in [
        (text("abc"), 5),
        (Value::Null, 3),
        (Value::Bytes(vec![0; 7]), 9),
        (Value::List(vec![]), 5),
        (Value::Map(vec![]), 5),
        (Value::List(vec![text("ab"), Value::Bool(true)]), 10),
        (Value::Map(vec![("k".to_owned(), text("ab"))]), 9),
        (Value::Texts(vec!["ab".to_owned(), "c".to_owned()]), 5),
    ] {
        assert_eq!(item(value.clone()).size(), size, "{value:?}");
    }
}

#[test]
fn a_value_may_have_32_levels() {
    let nested = |levels: usize| {
        let value = (1..levels).fold(Value::Null, |value, _| Value::List(vec![value]));
        Item(vec![("a".to_owned(), value)])
    };
    assert!(!nested(DEPTH_MAX).is_too_deep());
    assert!(nested(DEPTH_MAX + 1).is_too_deep());
}

fn said<T>(outcome: Result<T, InvalidItem>) -> String {
    outcome.map(drop).expect_err("refused").to_string()
}

#[test]
fn a_set_has_members_and_each_once() {
    assert_eq!(said(Value::texts(vec![])), "the item has an empty set");
    assert_eq!(said(Value::byte_strings(vec![vec![1], vec![], vec![1]])), "`[2]` repeats a member of its set");
    assert_eq!(said(Value::numbers(vec!["1".into(), "2".into(), "1.0".into()])), "`[2]` repeats a member of its set");
    assert_eq!(said(Value::numbers(vec!["1".into(), "x".into()])), "`[1]` is not written as a decimal number");
    assert!(Value::texts(vec![String::new(), "a".into()]).is_ok(), "an empty text is a member like any other");
}

#[test]
fn names_are_there_and_distinct() {
    let map = |names: &[&str]| Value::map(names.iter().map(|&name| (name.to_owned(), Value::Null)).collect());
    assert_eq!(said(map(&["a", "b", "a"])), "`a` is there twice");
    assert_eq!(said(map(&["a", ""])), "`` has a name that is empty or longer than 65535 bytes");
    assert!(map(&["a", &"b".repeat(65_535)]).is_ok());
    assert!(map(&[&"b".repeat(65_536)]).is_err());
    assert!(Item::new(vec![("a".into(), Value::Null), ("a".into(), Value::Null)]).is_err());
}

#[test]
fn a_path_is_read_from_the_item_down() {
    let number = Value::number("1e999".into()).expect_err("too large");
    let path = number.at(3).inside("readings").inside("station");
    assert_eq!(path.to_string(), "`station.readings[3]` is beyond 9.99E125, the largest number of a table");
    assert_eq!(path.code(), "invalid-number");
}
