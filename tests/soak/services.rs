//! The services that are written to: a stream, and two tables in which the number of a record is part of the key or not.
//! What they got is read behind the service.
//!
//! The table by key holds the latest record of each key. A request that was given up, or whose sender was killed, may be
//! carried out late and bring back an older one, because a batch of writes takes no condition; the round of records that is
//! written after the last fault then overwrites it. Until then it is only counted.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use tests::appearances::Appearances;
use tests::ledger::{Ledger, Written};
use tests::moments::Moments;
use tests::numbers::LOCAL_SINKS;
use tests::simulated::{Attribute, Item, KeyType, SimulatedAws, Write};

use crate::load;

/// The stream that is written to.
pub(crate) const TARGET: &str = "soak-target";
/// Open shards of it at the start.
const SHARDS: u32 = 3;
/// A record of a key replaces the one before.
pub(crate) const LATEST: &str = "soak-latest";
/// Every record is an item.
pub(crate) const ALL: &str = "soak-all";
/// So many violations are told in words.
const EXAMPLES_MAX: usize = 10;

/// Requests are short of company rather than of time: so many are under way when a kill comes. A request without an answer
/// is given up long before a stop is.
const SERVED: &str = r#"[[sink]]
name = "target"
type = "kinesis"
stream_arn = "TARGET"
max_records_per_second = "unlimited"
max_bytes_per_second = "unlimited"
converter = { builtin = "passthrough" }
batch = { max_count = 100, max_age = "100ms", request_timeout = "3s" }
[[sink]]
name = "latest"
type = "dynamodb"
table = "LATEST"
converter = { builtin = "json-to-item" }
batch = { max_age = "100ms", request_timeout = "3s" }
[[sink]]
name = "all"
type = "dynamodb"
table = "ALL"
converter = { builtin = "json-to-item" }
batch = { max_age = "100ms", request_timeout = "3s" }
"#;

/// Which sinks the host writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sinks {
    /// A file and stdout
    Local,
    /// A stream and two tables
    Services,
    /// All of these
    All,
}

impl Sinks {
    /// Whether there are a file and stdout.
    pub(crate) const fn are_local(self) -> bool {
        match self {
            Self::Local | Self::All => true,
            Self::Services => false,
        }
    }

    /// Whether there are a stream and tables.
    pub(crate) const fn are_services(self) -> bool {
        match self {
            Self::Services | Self::All => true,
            Self::Local => false,
        }
    }

    /// Tables of the manifest.
    pub(crate) fn manifest(self, aws: &SimulatedAws) -> String {
        let served = SERVED.replace("TARGET", &aws.kinesis().arn(TARGET)).replace("LATEST", LATEST).replace("ALL", ALL);
        let local = if self.are_local() { LOCAL_SINKS } else { "" };
        let served = if self.are_services() { served.as_str() } else { "" };
        format!("{local}{served}")
    }
}

/// Creates the stream and the tables.
pub(crate) fn create(aws: &SimulatedAws) {
    aws.kinesis().create(TARGET, SHARDS);
    aws.dynamodb().create(LATEST, ("key", KeyType::Text), None);
    aws.dynamodb().create(ALL, ("key", KeyType::Text), Some(("number", KeyType::Number)));
}

/// Hardship that only services know which take batches: a shard that refuses entries, or a table that is slow. Returns how
/// long it lasts; [`relieve`] ends it.
pub(crate) fn burden(aws: &SimulatedAws, moments: &mut Moments) -> Duration {
    if moments.happens(60) {
        let shards = aws.kinesis().open_shards(TARGET);
        let shard = &shards[moments.index(shards.len())];
        let throttled = "ProvisionedThroughputExceededException";
        let code = if moments.happens(60) { throttled } else { "InternalFailure" };
        aws.kinesis().refuse_entries(TARGET, shard, code, 1 + moments.index(100));
    } else {
        let table = [LATEST, ALL][moments.index(2)];
        aws.dynamodb().slow(table, 20.0 + moments.below(300) as f64, 10);
    }
    moments.milliseconds(200..3_000)
}

/// Tables take writes at any rate again.
pub(crate) fn relieve(aws: &SimulatedAws) {
    [LATEST, ALL].iter().for_each(|table| aws.dynamodb().hurry(table));
}

/// What the services have.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) target: Ledger,
    /// As many are written as there are keys: the newest record of each.
    pub(crate) latest: Ledger,
    pub(crate) all: Ledger,
    /// How often a write of a key brought back an older record.
    pub(crate) went_back: u64,
}

impl Served {
    /// Nothing is missing, and nothing is out of order.
    pub(crate) const fn is_good(&self) -> bool {
        self.target.is_complete_and_ordered()
            && self.latest.is_complete_and_ordered()
            && self.all.is_complete_and_ordered()
    }

    pub(crate) fn read(aws: &SimulatedAws, written: &Written) -> Self {
        let mut went_back = 0;
        for write in aws.dynamodb().writes(LATEST) {
            let [before, after] = [&write.before, &write.after].map(|item| item.as_ref().and_then(of_item));
            went_back += u64::from(before.is_some_and(|before| after.is_some_and(|after| after.1 < before.1)));
        }
        Self { target: target(aws, written), latest: latest(aws, written), all: all(aws, written), went_back }
    }
}

/// Different records that all three have, so far; not more than that.
pub(crate) fn delivered(aws: &SimulatedAws, written: &Written) -> u64 {
    let Served { target, latest, all, went_back: _ } = Served::read(aws, written);
    if latest.missing > 0 { 0 } else { target.delivered.min(all.delivered) }
}

fn target(aws: &SimulatedAws, written: &Written) -> Ledger {
    let mut appearances = Appearances::default();
    for (record, _) in aws.kinesis().truth(TARGET).records() {
        match load::number(&record.data) {
            Some((key, number)) if key == record.key => appearances.came(&key, number),
            Some(_) | None => appearances.foreign(&format!("{record:?}")),
        }
    }
    appearances.close(written)
}

/// The items, whatever their order; writes beyond one an item are repetitions.
fn all(aws: &SimulatedAws, written: &Written) -> Ledger {
    let mut items: Vec<_> = aws.dynamodb().items(ALL).iter().map(|item| (of_item(item), item.clone())).collect();
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut appearances = Appearances::default();
    let count = items.len() as u64;
    for (of, item) in items {
        match of {
            Some((key, number)) => appearances.came(&key, number),
            None => appearances.foreign(&format!("{item:?}")),
        }
    }
    let writes = aws.dynamodb().writes(ALL).len() as u64;
    Ledger { repeated: writes - count, ..appearances.close(written) }
}

fn latest(aws: &SimulatedAws, written: &Written) -> Ledger {
    let items = aws.dynamodb().items(LATEST);
    let mut ledger = Ledger { written: written.len() as u64, ..Ledger::default() };
    let mut numbers: BTreeMap<String, u64> = items.iter().filter_map(of_item).collect();
    for (key, count) in written {
        let number = numbers.remove(key);
        if number.is_some_and(|number| number + 1 == *count) {
            ledger.delivered += 1;
            continue;
        }
        ledger.missing += 1;
        if ledger.examples.len() < EXAMPLES_MAX {
            ledger.examples.push(format!("{LATEST}: {key} is {number:?}, and {count} were written"));
        }
    }
    for (key, number) in numbers {
        ledger.disordered += 1;
        ledger.examples.push(format!("{LATEST}: nobody wrote {key} {number}"));
    }
    let same = |write: &&Write| write.before == write.after;
    ledger.repeated = aws.dynamodb().writes(LATEST).iter().filter(same).count() as u64;
    ledger
}

fn of_item(item: &Item) -> Option<(String, u64)> {
    match (item.get("key")?, item.get("number")?) {
        (Attribute::Text(key), Attribute::Number(number)) => Some((key.clone(), number.to_string().parse().ok()?)),
        _ => None,
    }
}
