//! What the engine costs per entry: from taking it to telling that it is settled, with nothing around it.

use std::hint::black_box;

use host::entry::hash_key;
use host_core::batching::{Action, Batcher, Destination, Entry, Options, Order, Outcome, Quota};
use host_core::moment::Moment;

use crate::events::partition_key;
use crate::measure::{Quartiles, thread_cpu};
use crate::report::Table;

const ENTRIES: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// Bytes of an entry.
const BYTES: u64 = 300;
/// Destinations, as the shards of a stream.
const SHARDS: u32 = 4;
/// More than anybody has.
const ENDLESS: Quota = Quota { records_per_second: 1e15, bytes_per_second: 1e15 };
/// How long a request takes, in entries taken meanwhile: this many requests are under way.
const UNDER_WAY: usize = 8;

/// The text with its table.
pub(super) fn run() -> String {
    let mut table = Table::new(3, &["order", "keys", "request", "ns per entry", "±%"]);
    let cases = [
        ("none", Order::Free, ENTRIES, 500),
        ("none, no key twice in a request", Order::Distinct, ENTRIES, 25),
        ("per-key", Order::PerKey, ENTRIES, 500),
        ("per-key", Order::PerKey, 10_000, 500),
        ("per-key, the newest for all", Order::Newest, ENTRIES, 25),
    ];
    let keys: Vec<Vec<u8>> = (0..ENTRIES).map(|number| partition_key(number).into_bytes()).collect();
    for (name, order, distinct, max_count) in cases {
        let samples = (0..ROUNDS).map(|_| engine(order, max_count, &keys, distinct)).collect();
        let nanos = Quartiles::of(samples);
        let keys = format!("{} k", distinct / 1_000);
        table.row(vec![
            name.to_owned(),
            keys,
            max_count.to_string(),
            format!("{:.0}", nanos.median),
            format!("{:.0}", nanos.spread()),
        ]);
    }
    let facts = Quartiles::of((0..ROUNDS).map(|_| facts(&keys)).collect());
    format!(
        "### The engine alone\n\nNanoseconds of CPU per entry for what decides and does not perform: taken, put into one of \
         {UNDER_WAY} requests under way, answered, settled;\n{} M entries of {BYTES} B to {SHARDS} destinations, medians of \
         {ROUNDS} rounds. What is known of a partition key of 16 characters (its MD5,\nand a copy of it) is {:.0} ns more.\n\n{}",
        ENTRIES / 1_000_000,
        facts.median,
        table.text()
    )
}

fn engine(order: Order, max_count: usize, keys: &[Vec<u8>], distinct: u64) -> f64 {
    let options = Options { order, max_count, quota: Some(ENDLESS), max_in_flight: UNDER_WAY, ..Options::default() };
    let mut batcher = Batcher::new(options).expect("no contradiction");
    let (mut number, mut settled, mut clock) = (0_u64, 0_u64, 0_u64);
    let mut under_way = std::collections::VecDeque::new();
    let before = thread_cpu();
    while settled < ENTRIES {
        clock += 1;
        let now = Moment::from_millis(clock);
        while number < ENTRIES && batcher.has_room(BYTES) {
            let key = keys[usize::try_from(number % distinct).unwrap_or(0)].clone();
            let destination = Destination(u32::from(key[0]) % SHARDS);
            let entry = Entry { ticket: number, key, destination, bytes: BYTES, arrived: now };
            batcher.push(now, entry).expect("it has room");
            number += 1;
        }
        batcher.hurry(number == ENTRIES);
        while let Action::Send { request, entries, .. } = batcher.next(now) {
            under_way.push_back((request, black_box(entries).len()));
        }
        let (request, entries) = under_way.pop_front().expect("something is under way until all is settled");
        let _no_spell = batcher.answered(now, request, std::iter::repeat_n(Outcome::Done, entries), 0.5);
        settled += batcher.settled().count() as u64;
    }
    (thread_cpu() - before).as_nanos() as f64 / ENTRIES as f64
}

fn facts(keys: &[Vec<u8>]) -> f64 {
    let before = thread_cpu();
    for key in keys {
        let text = std::str::from_utf8(key).expect("hexadecimal");
        black_box((hash_key(text), key.clone()));
    }
    (thread_cpu() - before).as_nanos() as f64 / keys.len() as f64
}
