use super::*;
use crate::component::error::{ErrorClass, GuestError};
use crate::component::validate::forest::NoForest;

fn error(input_index: u32) -> RecordError {
    let error = GuestError { class: ErrorClass::Poison, code: "bad".into(), message: String::new() };
    RecordError { input_index, error }
}

fn column(values: &[&str]) -> Column {
    let mut column = Column::default();
    for value in values {
        column.push(value.as_bytes());
    }
    column
}

/// Two entries of element 0 and one of element 2 of four; element 3 failed, element 1 was filtered.
fn entries() -> KinesisEntries {
    KinesisEntries {
        input_index: vec![0, 0, 2],
        partition_key: column(&["a", "b", "c"]),
        explicit_hash_key: column(&["", "1", ""]),
        data: column(&["one", "", "three"]),
        errors: vec![error(3)],
    }
}

/// Item 0 is `{l: ["x", 1], s: <<"b">>}`, item 1 is `{}`.
fn requests() -> DynamodbRequests {
    DynamodbRequests {
        input_index: vec![1, 2],
        request: vec![0, 2],
        root: vec![1, 0],
        values: ValueTable {
            kind: vec![9, 6, 3, 4, 3],
            first_child: vec![2, 4, 0, 0, 0],
            child_count: vec![2, 1, 0, 0, 0],
            name: column(&["l", "s", "", "", ""]),
            scalar: column(&["", "", "x", "1", "b"]),
            root_first: vec![0, 0],
            root_count: vec![2, 0],
        },
        errors: vec![],
    }
}

#[test]
fn entries_that_keep_the_rules_are_accepted() {
    assert_eq!(entries().check(4, 3), Ok(()));
    let bare = KinesisEntries { data: column(&["x", "y"]), ..KinesisEntries::default() };
    assert_eq!(bare.check(2, 2), Ok(()), "no columns but data: the elements one by one, under their keys");
    assert_eq!(KinesisEntries::default().check(2, 2), Ok(()), "all filtered");
    assert_eq!(requests().check(3, 2), Ok(()));
    assert_eq!(DynamodbRequests::default().check(2, 2), Ok(()), "all filtered");
}

#[test]
fn entries_are_told_apart_and_belong_to_elements() {
    type Damage = fn(&mut KinesisEntries);
    let cases: [(Damage, &str); 11] = [
        (|it| it.input_index[2] = 4, "entry 2 comes from element 4 of 4"),
        (|it| it.input_index[0] = 1, "`input-index` decreases at entry 1"),
        (|it| it.input_index.truncate(2), "`input-index` has 2 values for 3 entries"),
        (|it| it.input_index.clear(), "`input-index` is empty with 3 entries and 1 errors for 4 elements"),
        (|it| it.errors[0] = error(4), "error 0 speaks of element 4 of 4"),
        (|it| it.errors[0] = error(2), "element 2 has both entries and an error"),
        (|it| it.errors.push(error(3)), "`errors` do not increase at error 1"),
        (|it| it.partition_key.truncate(2), "`partition-key` has 2 values for 3 entries"),
        (|it| it.explicit_hash_key.push(b"2"), "`explicit-hash-key` has 4 values for 3 entries"),
        (|it| it.data.ends[1] = 9, "`data.ends` decreases at 2"),
        (|it| it.explicit_hash_key.bytes.clear(), "`explicit-hash-key` has 0 bytes and its last end is 1"),
    ];
    for (damage, expected) in cases {
        let mut damaged = entries();
        damage(&mut damaged);
        assert_eq!(damaged.check(4, 3).expect_err(expected).to_string(), expected);
    }
    let many = Violation::TooMany { step: Step::Convert, found: 3, max: 2 };
    assert_eq!(many.to_string(), "3 entries came of one batch, 2 may");
    assert_eq!(entries().check(4, 2), Err(many));
}

#[test]
fn requests_have_one_item_each() {
    type Damage = fn(&mut DynamodbRequests);
    let cases: [(Damage, Violation); 6] = [
        (|it| it.request[1] = 3, Violation::UnknownRequest { at: 1, request: 3 }),
        (|it| it.root.truncate(1), Violation::Length { column: "root", found: 1, expected: 2, of: "entries" }),
        (|it| it.root[1] = 2, NoForest::NoRoot { entry: 1, root: 2, roots: 2 }.into()),
        (|it| it.root[1] = 1, NoForest::SharedRoot { entry: 1, root: 1 }.into()),
        (
            |it| {
                it.values.root_first.push(0);
                it.values.root_count.push(0);
            },
            NoForest::OrphanRoot { root: 2 }.into(),
        ),
        (
            |it| it.values.root_count.truncate(1),
            Violation::Length { column: "values.root-count", found: 1, expected: 2, of: "roots" },
        ),
    ];
    for (damage, expected) in cases {
        let mut damaged = requests();
        damage(&mut damaged);
        assert_eq!(damaged.check(3, 2), Err(expected));
    }
}

#[test]
fn values_are_a_forest() {
    type Damage = fn(&mut ValueTable);
    let cases: [(Damage, NoForest); 15] = [
        (|it| it.kind[3] = 11, NoForest::Kind { at: 3, kind: 11 }),
        (|it| it.kind[0] = 0, NoForest::Children { at: 0 }),
        (|it| it.kind[2] = 2, NoForest::Scalar { at: 2 }),
        (|it| it.child_count[1] = 2, NoForest::Range { at: 1, first: 4, count: 2, nodes: 5 }),
        (|it| it.first_child[1] = u32::MAX, NoForest::Range { at: 1, first: u32::MAX, count: 1, nodes: 5 }),
        (|it| it.first_child[0] = 0, NoForest::Range { at: 0, first: 0, count: 2, nodes: 5 }),
        (|it| it.first_child[2] = 4, NoForest::Range { at: 2, first: 4, count: 0, nodes: 5 }),
        (|it| it.first_child[1] = 3, NoForest::Shared { at: 3 }),
        (|it| it.kind[4] = 5, NoForest::Member { at: 4 }),
        (|it| it.child_count[0] = 3, NoForest::Shared { at: 4 }),
        (|it| it.root_count[0] = 3, NoForest::Shared { at: 2 }),
        (|it| it.root_count[0] = 6, NoForest::Root { root: 0, first: 0, count: 6, nodes: 5 }),
        (|it| it.root_first[1] = 1, NoForest::Root { root: 1, first: 1, count: 0, nodes: 5 }),
        (|it| it.child_count[0] = 1, NoForest::Orphan { at: 3 }),
        (|it| it.name = column(&["l", "s", "", "n", ""]), NoForest::Named { at: 3 }),
    ];
    for (damage, expected) in cases {
        let mut damaged = requests();
        damage(&mut damaged.values);
        assert_eq!(damaged.check(3, 2), Err(expected.into()));
    }
}

#[test]
fn a_table_that_claims_everything_for_every_node_is_refused_at_once() {
    let nodes = 100_000_u32;
    let table = ValueTable {
        kind: vec![9; nodes as usize],
        first_child: (1..=nodes).collect(),
        child_count: (0..nodes).rev().collect(),
        name: Column { ends: vec![0; nodes as usize], bytes: vec![] },
        scalar: Column { ends: vec![0; nodes as usize], bytes: vec![] },
        root_first: vec![0],
        root_count: vec![1],
    };
    let requests = DynamodbRequests { request: vec![0], root: vec![0], values: table, ..DynamodbRequests::default() };
    assert_eq!(requests.check(1, 1), Err(NoForest::Shared { at: 2 }.into()));
}
