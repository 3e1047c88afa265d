//! Sins on request, as a converter for both kinds of sinks: what a host must survive. The payload of an element says which
//! sin; any other is converted honestly: for a stream it becomes an entry under the element's key, for a table an item with
//! the element's key as `id` and the payload as `payload`.
//!
//! | payload | sin |
//! |---|---|
//! | `trap` | executes an unreachable instruction |
//! | `spin` | loops for ever |
//! | `grow` | allocates for ever |
//! | `flood` | makes 128 entries of 64 KiB, then an honest one |
//! | `log-flood` | logs 10,000 lines of 1 KiB, then makes an honest entry |
//! | `refuse`, `retry`, `fatal` | fails as poison, retryable, fatal |
//! | `fail-batch` | fails the whole batch as poison |
//! | `lie-index` | an entry of an element that was not in the batch |
//! | `lie-order` | entries in decreasing order of their elements (in a batch of two elements or more) |
//! | `lie-both` | an entry and an error of the same element |
//! | `lie-error-index` | an error of an element that was not in the batch |
//! | `lie-identity` | no `input-index`, with one entry too many |
//! | `lie-ends`, `lie-last-end` | ends of data (of scalars) that decrease, or go beyond the bytes |
//!
//! Only for a stream:
//!
//! | payload | sin |
//! |---|---|
//! | `lie-keys` | one partition key too many |
//! | `lie-no-key`, `lie-long-key`, `lie-key-bytes` | partition keys of no character, of 257, of bytes that are no UTF-8 |
//! | `lie-hash-key`, `lie-hash-text` | explicit hash keys of 2^128, of letters |
//!
//! Only for a table:
//!
//! | payload | sin |
//! |---|---|
//! | `delete`, `add` | an honest delete of the key, an honest addition of 1 to `count` |
//! | `no-key` | an item without `id` |
//! | `large` | an item of more than 400 KB |
//! | `lie-request` | a request of kind 3 |
//! | `lie-root`, `lie-shared-root` | a root that is not there, a root of two requests (in a batch of two elements or more) |
//! | `lie-kind` | a value of kind 11 |
//! | `lie-columns` | a kind without the other columns of its node |
//! | `lie-cycle` | a list that is its own member |
//! | `lie-children`, `lie-shared-child` | members that are not there, a member of two parents |
//! | `lie-deep` | values 33 levels deep |
//! | `lie-number`, `lie-text` | a number of letters, a text of bytes that are no UTF-8 |
//! | `lie-twins` | two attributes of one name |
//! | `lie-empty-set` | a set without members |
//!
//! Lies about columns break the contract, and nothing of the batch is used. Values that no service takes do not: each is
//! its own element's poison. Those are, for a stream, `lie-no-key`, `lie-long-key`, `lie-key-bytes`, `lie-hash-key` and
//! `lie-hash-text`; for a table `lie-deep`, `lie-number`, `lie-text`, `lie-twins` and `lie-empty-set`. An item without `id`
//! or of more than 400 KB is refused by the sink, which knows its table.
//!
//! Configuration: `sin = "trap"` and so on makes every batch begin with this sin, whatever its first payload. `open =
//! "refuse"`, `"retry"`, `"trap"` or `"spin"` sins when the instance is opened. With `sin_attempt = 1` or `open_attempt = 1`
//! only the first instance does.

use std::cell::RefCell;
use std::hint::black_box;

use sluicebox_guest::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter;
use sluicebox_guest::bindings::exports::sluicebox::pipeline::lifecycle;
use sluicebox_guest::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter;
use sluicebox_guest::bindings::sluicebox::pipeline::types::{GuestError, OpenContext, RecordError};
use sluicebox_guest::dynamodb::{self, Item, Requests};
use sluicebox_guest::kinesis::{self, Entries};
use sluicebox_guest::{Config, Element, Error, log};

mod lies;

/// Sins that the plain view of a batch allows; those against the contract follow in [`lies`].
#[derive(Default)]
struct Faulty {
    /// With what every batch begins.
    always: Option<String>,
    /// Whether the next element is the first of its batch.
    is_first: bool,
    /// The last lie asked for in this batch.
    lie: Option<String>,
    fail_batch: bool,
}

impl Faulty {
    fn open(config: &Config) -> Result<Self, Error> {
        let wanted = |sin: &str, attempt: &str| -> Result<Option<String>, Error> {
            let attempt = config.integer(attempt)?;
            let is_now = attempt.is_none_or(|attempt| attempt == i64::from(config.attempt()));
            Ok(config.text(sin)?.filter(|_| is_now).map(str::to_owned))
        };
        match wanted("open", "open_attempt")?.as_deref() {
            Some("refuse") => Err(Error::poison("refused", "refused to open, as configured")),
            Some("retry") => Err(Error::retryable("not-yet", "not ready to open, as configured")),
            Some("trap") => trap(),
            Some("spin") => spin(),
            _ => Ok(Self { always: wanted("sin", "sin_attempt")?, ..Self::default() }),
        }
    }

    /// Commits the sin of an element, and says which, for what depends on the role.
    fn sin(&mut self, element: &Element<'_>) -> Result<String, Error> {
        let always = self.always.clone().filter(|_| std::mem::take(&mut self.is_first));
        let sin = always.unwrap_or_else(|| String::from_utf8_lossy(element.payload()).into_owned());
        match sin.as_str() {
            "trap" => trap(),
            "spin" => spin(),
            "grow" => grow(),
            "log-flood" => {
                let line = "x".repeat(1024);
                for number in 0..10_000 {
                    log::warn!(&line, number = number);
                }
            }
            "refuse" => return Err(Error::poison("refused", "refused, as the element asked")),
            "retry" => return Err(Error::retryable("not-yet", "not ready, as the element asked")),
            "fatal" => return Err(Error::fatal("broken", "broken, as the element asked")),
            "fail-batch" => self.fail_batch = true,
            lie if lie.starts_with("lie-") => self.lie = Some(lie.to_owned()),
            _ => {}
        }
        Ok(sin)
    }

    fn end(&mut self) -> Result<Option<String>, Error> {
        if std::mem::take(&mut self.fail_batch) {
            return Err(Error::poison("batch-refused", "the batch is refused, as an element asked"));
        }
        Ok(self.lie.take())
    }
}

impl kinesis::ElementConverter for Faulty {
    fn open(config: &Config) -> Result<Self, Error> {
        Self::open(config)
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Entries<'_>) -> Result<(), Error> {
        match self.sin(element)?.as_str() {
            "flood" => (0..128).for_each(|_| out.push(&[b'x'; 64 << 10])),
            "lie-identity" => out.push(b"one too many"),
            _ => {}
        }
        out.push(element.payload());
        Ok(())
    }
}

impl dynamodb::ElementConverter for Faulty {
    fn open(config: &Config) -> Result<Self, Error> {
        Self::open(config)
    }

    fn convert(&mut self, element: &Element<'_>, out: &mut Requests) -> Result<(), Error> {
        let key = Item::new().with("id", String::from_utf8_lossy(element.key()));
        let item = key.clone().with("payload", String::from_utf8_lossy(element.payload()));
        match self.sin(element)?.as_str() {
            "flood" => {
                (0..128).for_each(|_| out.put(&key.clone().with("x", "x".repeat(64 << 10))));
                out.put(&item);
            }
            "lie-identity" => {
                out.put(&key);
                out.put(&item);
            }
            "delete" => out.delete(&key),
            "add" => out.add(&key.with("count", 1)),
            "no-key" => out.put(&Item::new().with("payload", "no key")),
            "large" => out.put(&key.with("payload", "x".repeat(401 << 10))),
            _ => out.put(&item),
        }
        Ok(())
    }
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

    fn restore(_snapshot: Vec<u8>) -> Result<(), GuestError> {
        Ok(())
    }

    fn close() -> Result<Option<Vec<u8>>, GuestError> {
        Ok(None)
    }
}

impl kinesis_element_converter::Guest for Component {
    fn convert(
        batch: kinesis_element_converter::ElementBatch,
    ) -> Result<kinesis_element_converter::EntryBatch, GuestError> {
        INSTANCE.with_borrow_mut(|faulty| {
            faulty.is_first = true;
            let mut output = kinesis::convert(faulty, &batch)?;
            if let Some(lie) = faulty.end()? {
                lies::of_entries(&lie, batch.payload.ends.len() as u32, &mut output);
            }
            Ok(output)
        })
    }
}

impl dynamodb_element_converter::Guest for Component {
    fn convert(
        batch: dynamodb_element_converter::ElementBatch,
    ) -> Result<dynamodb_element_converter::RequestBatch, GuestError> {
        INSTANCE.with_borrow_mut(|faulty| {
            faulty.is_first = true;
            let mut output = dynamodb::convert(faulty, &batch);
            if let Some(lie) = faulty.end()? {
                lies::of_requests(&lie, batch.payload.ends.len() as u32, &mut output);
            }
            Ok(output)
        })
    }
}

sluicebox_guest::export_component!(Component: kinesis_element_converter, dynamodb_element_converter);

#[cfg(test)]
mod tests;
