//! Answers that break a rule of the contract, or hold what no service takes, made of honest ones. The liar has the last
//! entry, or one of them.

use sluicebox_guest::Error;
use sluicebox_guest::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter::{
    RequestBatch, ValueTable,
};
use sluicebox_guest::bindings::kinesis::sluicebox::pipeline::columns::BytesColumn;
use sluicebox_guest::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter::EntryBatch;

use crate::RecordError;

const NULL: u8 = 0;
const TEXT: u8 = 3;
const NUMBER: u8 = 4;
const TEXTS: u8 = 6;
const LIST: u8 = 9;

pub(crate) fn of_entries(about: &str, inputs: u32, output: &mut EntryBatch) {
    let entries = output.data.ends.len();
    of_origins(about, inputs, entries, &mut output.input_index, &mut output.errors);
    let all = |value: &[u8]| {
        let ends = (1..=entries).map(|entry| (entry * value.len()) as u32).collect();
        BytesColumn { ends, bytes: value.repeat(entries) }
    };
    match about {
        "lie-keys" => {
            output.partition_key = all(b"key");
            append(&mut output.partition_key, b"one too many");
        }
        "lie-no-key" => output.partition_key = all(b""),
        "lie-long-key" => output.partition_key = all(&[b'x'; 257]),
        "lie-key-bytes" => output.partition_key = all(b"\xff"),
        "lie-hash-key" => output.explicit_hash_key = all(b"340282366920938463463374607431768211456"),
        "lie-hash-text" => output.explicit_hash_key = all(b"shard"),
        _ => of_column(about, &mut output.data),
    }
}

pub(crate) fn of_requests(about: &str, inputs: u32, output: &mut RequestBatch) {
    let requests = output.request.len();
    of_origins(about, inputs, requests, &mut output.input_index, &mut output.errors);
    match about {
        "lie-request" => output.request[requests - 1] = 3,
        "lie-root" => output.root[requests - 1] = requests as u32,
        "lie-shared-root" => output.root[requests - 1] = output.root[0],
        _ => of_values(about, &mut output.values),
    }
}

fn of_origins(about: &str, inputs: u32, outputs: usize, index: &mut Vec<u32>, errors: &mut Vec<RecordError>) {
    let error =
        |input_index| RecordError { input_index, error: Error::poison("lie", "an error that should not be").into() };
    if index.is_empty() && errors.is_empty() {
        *index = (0..inputs).collect();
    }
    match about {
        "lie-index" => index[outputs - 1] = inputs,
        "lie-order" => index.reverse(),
        "lie-both" => errors.push(error(index[outputs - 1])),
        "lie-error-index" => errors.push(error(inputs)),
        "lie-identity" => index.clear(),
        _ => {}
    }
}

fn of_column(about: &str, column: &mut BytesColumn) {
    let last = column.ends.len() - 1;
    match about {
        "lie-ends" => column.ends[0] = column.ends[last] + 1,
        "lie-last-end" => column.ends[last] += 1,
        _ => {}
    }
}

fn of_values(about: &str, values: &mut ValueTable) {
    let last = values.kind.len() - 1;
    match about {
        "lie-kind" => values.kind[last] = 11,
        "lie-columns" => values.kind.push(NULL),
        "lie-cycle" => parent(values, last, LIST, last as u32),
        "lie-children" => parent(values, last, LIST, last as u32 + 1),
        "lie-shared-child" => parent(values, last - 1, LIST, last as u32),
        "lie-empty-set" => values.kind[last] = TEXTS,
        "lie-number" => values.kind[last] = NUMBER,
        "lie-text" => {
            values.kind[last] = TEXT;
            let start = last.checked_sub(1).map_or(0, |before| values.scalar.ends[before]);
            values.scalar.bytes[start as usize] = 0xff;
        }
        "lie-twins" => {
            let name = values.name.bytes.len() - "payload".len();
            values.name.bytes.truncate(name);
            values.name.bytes.extend_from_slice(b"id");
            values.name.ends[last] -= ("payload".len() - "id".len()) as u32;
        }
        "lie-deep" => {
            for level in 0..32 {
                let node = values.kind.len();
                values.kind.push(NULL);
                values.first_child.push(0);
                values.child_count.push(0);
                append(&mut values.name, b"");
                append(&mut values.scalar, b"");
                parent(values, if level == 0 { last } else { node - 1 }, LIST, node as u32);
            }
        }
        _ => of_column(about, &mut values.scalar),
    }
}

/// Makes a node a list (without a scalar) of one member.
fn parent(values: &mut ValueTable, node: usize, kind: u8, member: u32) {
    values.kind[node] = kind;
    values.first_child[node] = member;
    values.child_count[node] = 1;
    let start = node.checked_sub(1).map_or(0, |before| values.scalar.ends[before]);
    let removed = values.scalar.ends[node] - start;
    values.scalar.bytes.drain(start as usize..(start + removed) as usize);
    values.scalar.ends[node..].iter_mut().for_each(|end| *end -= removed);
}

fn append(column: &mut BytesColumn, value: &[u8]) {
    column.bytes.extend_from_slice(value);
    column.ends.push(column.bytes.len() as u32);
}
