//! DynamoDB. [`Dynamodb`] is two things over one model: the service that the transport asks, and the hand of a test that
//! creates tables, fills and slows them without asking, and knows what was truly written. One lock, never held while
//! anything waits, so every request happens at one moment, and transactions never conflict by themselves: the script lets
//! them.
//!
//! One account and one region. Indexes, streams and what else a lease store and a sink do not use are refused in words of
//! our own, rather than ignored. Reads are consistent and are not metered. What is metered takes writes in the order of a
//! batch, where the service chooses by itself.

mod number;
mod value;
mod expression;
mod throughput;
mod table;
mod step;
mod input;
mod tables;
mod singles;
mod batches;
mod transactions;
mod paging;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use self::input::Input;
use self::requests::table_name;
use self::step::Plan;
use self::table::{Billing, Schema, Table};
use self::throughput::Bucket;
use super::clock::{Clock, Millis};
use super::service::{Oddity, Refusal};
use super::{ACCOUNT, REGION};

pub use self::number::Number;
pub use self::table::KeyType;
pub use self::value::{Attribute, Item};

/// The service; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Dynamodb {
    clock: Clock,
    model: Arc<Mutex<Model>>,
}

/// One write that was carried out: a put, a deletion (of nothing, too) or an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its place among all writes of the service, from 1 on.
    pub order: u64,
    /// The request that it belongs to, from 1 on: writes of one batch or transaction have the same.
    pub request: u64,
    /// That request's operation; empty for the hand of a test.
    pub operation: &'static str,
    /// When, by the service's clock.
    pub at: Millis,
    /// The item's key.
    pub key: Item,
    /// The item that was there.
    pub before: Option<Item>,
    /// The item that is there now.
    pub after: Option<Item>,
}

#[derive(Debug)]
struct Model {
    tables: BTreeMap<String, Table>,
    /// By table's name, whatever became of the table.
    writes: BTreeMap<String, Vec<Write>>,
    tokens: transactions::Tokens,
    /// How long tables take to be created and deleted.
    transition: Duration,
    /// Counters.
    requests: u64,
    written: u64,
}

/// The request that is being answered.
#[derive(Clone, Copy, Debug)]
struct Moment {
    operation: &'static str,
    request: u64,
    now: Millis,
}

impl Model {
    fn forget_gone(&mut self, now: Millis) {
        self.tables.retain(|_, table| table.gone_from.is_none_or(|gone_from| now < gone_from));
    }

    /// A table for operations on tables.
    fn table(&mut self, told: &str, now: Millis) -> Result<&mut Table, Refusal> {
        self.forget_gone(now);
        let name = table_name(told);
        self.tables.get_mut(&name).ok_or_else(|| {
            let message = format!("Requested resource not found: Table: {name} not found");
            Refusal::client("ResourceNotFoundException", message)
        })
    }

    /// A table for reads of its items: one that is being created is not there yet, one that is being deleted may be read.
    fn readable(&mut self, told: &str, now: Millis) -> Result<&mut Table, Refusal> {
        let not_found = || Refusal::client("ResourceNotFoundException", "Requested resource not found");
        let table = self.table(told, now).map_err(|_not_found| not_found())?;
        if table.status(now) == "CREATING" { Err(not_found()) } else { Ok(table) }
    }

    /// A table for writes of its items.
    fn writable(&mut self, told: &str, now: Millis) -> Result<&mut Table, Refusal> {
        let table = self.readable(told, now)?;
        if table.status(now) == "ACTIVE" {
            return Ok(table);
        }
        Err(Refusal::client("ResourceNotFoundException", "Requested resource not found"))
    }

    fn until(&self, now: Millis) -> Millis {
        now + i64::try_from(self.transition.as_millis()).unwrap_or(i64::MAX)
    }

    fn create(&mut self, name: &str, schema: Schema, billing: Billing, now: Millis) -> Result<&mut Table, Refusal> {
        if self.table(name, now).is_ok() {
            return Err(Refusal::client("ResourceInUseException", format!("Table already exists: {name}")));
        }
        let writes = match billing {
            Billing::OnDemand => None,
            Billing::Provisioned(_, units) => Some(Bucket::provisioned(units, now)),
        };
        let table = Table {
            name: name.to_owned(),
            schema,
            billing,
            created: now,
            active_from: self.until(now),
            gone_from: None,
            writes,
            items: BTreeMap::new(),
            refused: None,
        };
        Ok(self.tables.entry(name.to_owned()).or_insert(table))
    }

    fn carry_out(&mut self, plan: Plan, moment: Moment) {
        let name = table_name(&plan.table);
        let table = self.tables.get_mut(&name).expect("planned while the lock is held");
        if let Some(write) = plan.carry_out(table, (moment.operation, moment.request, moment.now)) {
            self.written += 1;
            self.writes.entry(name).or_default().push(Write { order: self.written, ..write });
        }
    }
}

impl Dynamodb {
    pub(crate) fn new(clock: Clock) -> Self {
        let model = Model {
            tables: BTreeMap::new(),
            writes: BTreeMap::new(),
            tokens: transactions::Tokens::default(),
            transition: Duration::ZERO,
            requests: 0,
            written: 0,
        };
        Self { clock, model: Arc::new(Mutex::new(model)) }
    }

    /// Every change is whole when the lock is let go, so a panic of another test leaves nothing half done.
    fn with<T>(&self, act: impl FnOnce(&mut Model, Millis) -> T) -> T {
        let now = self.clock.now();
        act(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    #[track_caller]
    fn on<T>(&self, name: &str, act: impl FnOnce(&mut Table, Millis) -> T) -> T {
        self.with(|model, now| match model.table(name, now) {
            Ok(table) => act(table, now),
            Err(refusal) => panic!("{}", refusal.message),
        })
    }

    /// Sets how long tables take to be created and deleted, in the service's time. At first: no time.
    pub fn take_time(&self, transition: Duration) {
        self.with(|model, _| model.transition = transition);
    }

    /// Creates a table on demand, which takes writes at any rate: the attribute of the partition key, and that of the sort
    /// key if it has one.
    ///
    /// # Panics
    /// It exists.
    pub fn create(&self, name: &str, partition: (&str, KeyType), sort: Option<(&str, KeyType)>) {
        let own = |(name, of): (&str, KeyType)| (name.to_owned(), of);
        let schema = Schema { partition: own(partition), sort: sort.map(own) };
        self.with(|model, now| {
            model.create(name, schema, Billing::OnDemand, now).expect("the name is free");
        });
    }

    /// The ARN of a table of that name, whether it exists or not.
    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        table::arn(name)
    }

    /// From now on a table takes `per_second` write units a second by the service's clock, after `burst` that it has now
    /// and can save up to.
    pub fn slow(&self, name: &str, per_second: f64, burst: u64) {
        self.on(name, |table, now| table.writes = Some(Bucket::full(per_second, burst, now)));
    }

    /// From now on a table takes writes at any rate.
    pub fn hurry(&self, name: &str) {
        self.on(name, |table, _| table.writes = None);
    }

    /// From now on every request that puts an item with this text in its partition key is refused as a whole, as one is whose
    /// item has an attribute of another type than an index of the table takes.
    pub fn refuse(&self, name: &str, partition: &str) {
        self.on(name, |table, _| table.refused = Some(Attribute::Text(partition.to_owned())));
    }

    /// Puts an item, as JSON of the protocol: `{"id": {"S": "a"}}`.
    ///
    /// # Panics
    /// It is none that the table takes.
    pub fn put(&self, name: &str, item: &Value) {
        let item = step::whole_item(item).expect("an item");
        self.with(|model, now| {
            let table = model.table(name, now).expect("the table exists");
            let key = table.schema.key_of_item(&item).expect("an item of the table");
            let plan = Plan::unconditional(table, key, Some(item));
            model.requests += 1;
            let moment = Moment { operation: "", request: model.requests, now };
            model.carry_out(plan, moment);
        });
    }

    /// The items of a table as of now, partitions in the order of a hash, sort keys ascending.
    #[must_use]
    pub fn items(&self, name: &str) -> Vec<Item> {
        self.on(name, |table, _| table.items.values().map(|item| Item::clone(item)).collect())
    }

    /// One item, by its key as JSON of the protocol.
    ///
    /// # Panics
    /// The key is none of the table's.
    #[must_use]
    pub fn item(&self, name: &str, key: &Value) -> Option<Item> {
        let key = value::read(key).expect("a key");
        self.on(name, |table, _| {
            let key = table.schema.key(&key).expect("a key of the table");
            table.items.get(&key).map(|item| Item::clone(item))
        })
    }

    /// Every write that was ever carried out under this table's name, in order.
    #[must_use]
    pub fn writes(&self, name: &str) -> Vec<Write> {
        self.with(|model, _| model.writes.get(name).cloned().unwrap_or_default())
    }

    /// Every write of one item, by its key as JSON of the protocol.
    #[must_use]
    pub fn writes_of(&self, name: &str, key: &Value) -> Vec<Write> {
        let key = value::read(key).expect("a key");
        self.writes(name).into_iter().filter(|write| write.key == key).collect()
    }

    /// How often each item was written to: puts, deletions and updates that were carried out. Keys are JSON of the protocol.
    #[must_use]
    pub fn effects(&self, name: &str) -> BTreeMap<String, u64> {
        let mut effects = BTreeMap::new();
        for write in self.writes(name) {
            *effects.entry(value::to_json(&write.key).to_string()).or_default() += 1;
        }
        effects
    }
}
