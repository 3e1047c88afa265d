//! Sins on request: what a host must survive. The text of a record says which sin; any other text is passed through.
//!
//! | text | sin |
//! |---|---|
//! | `trap` | executes an unreachable instruction |
//! | `spin` | loops for ever |
//! | `grow` | allocates for ever |
//! | `flood` | emits 128 payloads of 64 KiB, then passes the record through |
//! | `log-flood` | logs 10,000 lines of 1 KiB, then passes the record through |
//! | `refuse`, `retry`, `fatal` | fails as poison, retryable, fatal |
//! | `fail-batch` | fails the whole batch as poison |
//! | `lie-ends` | ends of payloads that decrease |
//! | `lie-last-end` | ends that go beyond the payload's bytes |
//! | `lie-index` | an element of a record that was not in the batch |
//! | `lie-order` | elements in decreasing order of their records (in a batch of two records or more) |
//! | `lie-both` | an element and an error of the same record |
//! | `lie-error-index` | an error of a record that was not in the batch |
//! | `lie-routes` | 257 routes |
//! | `lie-route` | an element for a route that has no name |
//! | `lie-times` | one event time too many |
//! | `lie-keys` | one key too many |
//! | `lie-identity` | no `input-index`, with one element too many |
//!
//! It is a shard assigner too, and there the id of an unassigned shard says which sin:
//!
//! | id | sin |
//! |---|---|
//! | `assign-trap`, `assign-spin`, `assign-grow` | as above |
//! | `assign-flood` | answers with a million decisions |
//! | `assign-refuse`, `assign-retry`, `assign-fatal` | fails as poison, retryable, fatal |
//! | `assign-nothing` | decides nothing |
//! | `assign-foreign` | decides for a shard that was not offered |
//! | `assign-twice` | decides for the last shard twice (in a round of two shards or more) |
//! | `assign-more` | answers with one decision more than there are shards |
//! | `assign-nobody` | gives a shard to a subtask that is no reader |
//!
//! Configuration: `open = "refuse"`, `"retry"`, `"trap"` or `"spin"` sins when the instance is opened, `assign =
//! "assign-trap"` and so on in every round. With `open_attempt = 1` or `assign_attempt = 1` only the first instance does.

use std::cell::RefCell;
use std::hint::black_box;

use sluicebox_guest::bindings::assigner::exports::sluicebox::pipeline::shard_assigner;
use sluicebox_guest::bindings::exports::sluicebox::pipeline::lifecycle;
use sluicebox_guest::bindings::kinesis::exports::sluicebox::pipeline::kinesis_deserializer;
use sluicebox_guest::bindings::kinesis::exports::sluicebox::pipeline::kinesis_deserializer::{
    Deserialized, RecordBatch,
};
use sluicebox_guest::bindings::sluicebox::pipeline::types::{GuestError, OpenContext, RecordError};
use sluicebox_guest::kinesis::{self, Deserializer, ElementSchema};
use sluicebox_guest::{Config, Elements, Error, Record, log};

mod assigner;

/// Sins that the plain view of a batch allows; those against the contract follow in [`lie`].
#[derive(Default)]
struct Faulty {
    /// The last lie asked for in this batch.
    lie: Option<String>,
    fail_batch: bool,
    sinner: assigner::Sinner,
}

impl Deserializer for Faulty {
    fn open(config: &Config) -> Result<Self, Error> {
        let attempt = config.integer("open_attempt")?;
        let sin = config.text("open")?.filter(|_| attempt.is_none_or(|attempt| attempt == i64::from(config.attempt())));
        match sin {
            Some("refuse") => Err(Error::poison("refused", "refused to open, as configured")),
            Some("retry") => Err(Error::retryable("not-yet", "not ready to open, as configured")),
            Some("trap") => trap(),
            Some("spin") => spin(),
            _ => Ok(Self { sinner: assigner::Sinner::open(config)?, ..Self::default() }),
        }
    }

    fn deserialize(&mut self, record: &Record<'_>, out: &mut Elements) -> Result<(), Error> {
        match record.data() {
            b"trap" => trap(),
            b"spin" => spin(),
            b"grow" => grow(),
            b"flood" => (0..128).for_each(|_| out.push(&[b'x'; 64 << 10])),
            b"log-flood" => {
                let line = "x".repeat(1024);
                for number in 0..10_000 {
                    log::warn!(&line, number = number);
                }
            }
            b"refuse" => return Err(Error::poison("refused", "refused, as the record asked")),
            b"retry" => return Err(Error::retryable("not-yet", "not ready, as the record asked")),
            b"fatal" => return Err(Error::fatal("broken", "broken, as the record asked")),
            b"fail-batch" => self.fail_batch = true,
            data if data.starts_with(b"lie-") => self.lie = Some(String::from_utf8_lossy(data).into_owned()),
            _ => {}
        }
        out.push(record.data());
        Ok(())
    }
}

/// Breaks a rule of the contract. The columns are those of an honest answer in which the liar has an element.
fn lie(about: &str, inputs: u32, output: &mut Deserialized) {
    let elements = &mut output.elements;
    let count = elements.payload.ends.len();
    if output.input_index.is_empty() && output.errors.is_empty() {
        output.input_index = (0..inputs).collect();
    }
    match about {
        "lie-ends" => {
            elements.payload.ends.push(0);
            output.input_index.push(inputs - 1);
        }
        "lie-last-end" => elements.payload.ends[count - 1] += 1,
        "lie-index" => output.input_index[count - 1] = inputs,
        "lie-order" => {
            elements.payload.ends.push(elements.payload.ends[count - 1]);
            output.input_index[count - 1] = inputs - 1;
            output.input_index.push(0);
        }
        "lie-both" => output.errors.push(error(output.input_index[count - 1])),
        "lie-error-index" => output.errors.push(error(inputs)),
        "lie-routes" => {
            elements.routes = (0..257).map(|number| format!("route-{number}")).collect();
            elements.route = vec![1; count];
        }
        "lie-route" => elements.route = vec![1; count],
        "lie-times" => elements.event_time = vec![0; count + 1],
        "lie-keys" => elements.key.ends = vec![0; count + 1],
        "lie-identity" => {
            let end = elements.payload.ends[count - 1];
            elements.payload.ends.resize(inputs as usize + 1, end);
            output.input_index.clear();
        }
        _ => {}
    }
}

fn error(input_index: u32) -> RecordError {
    RecordError { input_index, error: Error::poison("lie", "an error that should not be").into() }
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    panic!("a component traps here")
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Asks for memory without touching it, so that the limit on memory is met before the one on time.
fn grow() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(Vec::<u8>::with_capacity(1 << 20)));
    }
}

thread_local! {
    static INSTANCE: RefCell<Faulty> = RefCell::default();
}

struct Component;

impl lifecycle::Guest for Component {
    fn open(context: OpenContext) -> Result<(), GuestError> {
        INSTANCE.set(Faulty::open(&Config::from(context))?);
        Ok(())
    }

    fn restore(snapshot: Vec<u8>) -> Result<(), GuestError> {
        INSTANCE.with_borrow_mut(|faulty| faulty.restore(&snapshot))?;
        Ok(())
    }

    fn close() -> Result<Option<Vec<u8>>, GuestError> {
        Ok(INSTANCE.with_borrow_mut(Faulty::close)?)
    }
}

impl kinesis_deserializer::Guest for Component {
    fn produced() -> ElementSchema {
        INSTANCE.with_borrow(Faulty::schema)
    }

    fn deserialize(batch: RecordBatch) -> Result<Deserialized, GuestError> {
        INSTANCE.with_borrow_mut(|faulty| {
            let mut output = kinesis::deserialize(faulty, &batch)?;
            if std::mem::take(&mut faulty.fail_batch) {
                return Err(Error::poison("batch-refused", "the batch is refused, as a record asked").into());
            }
            if let Some(about) = faulty.lie.take() {
                let inputs = u32::try_from(batch.data.ends.len()).unwrap_or(u32::MAX);
                lie(&about, inputs, &mut output);
            }
            Ok(output)
        })
    }
}

impl shard_assigner::Guest for Component {
    fn assign(
        unassigned: Vec<shard_assigner::Shard>,
        _current: Vec<shard_assigner::Placement>,
        readers: Vec<shard_assigner::Reader>,
    ) -> Result<Vec<shard_assigner::Decision>, GuestError> {
        Ok(INSTANCE.with_borrow(|faulty| faulty.sinner.assign(&unassigned, &readers))?)
    }
}

sluicebox_guest::export_component!(Component: kinesis_deserializer, shard_assigner);
