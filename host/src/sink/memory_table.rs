//! A table in memory, scripted by whoever holds a handle: the fake behind [`TableApi`] and [`TransactApi`] in tests. It
//! passes the same contract suite as the real service.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use host_core::batching::{Outcome, Setback};

use super::dynamodb::key::KeySchema;
use super::dynamodb::{BATCH_COUNT_MAX, check_add};
use crate::entry::{Action, ItemRequest};
use crate::item::{ITEM_BYTES_MAX, Item, Value};
use crate::ports::{KeyAttribute, PositionWrite, TableApi, TableDescription, TransactApi, TransactError};
use crate::source::classify::{SourceError, TablePlace, TableSite};

/// Requests in one transaction beside the position.
const TRANSACTION_COUNT_MAX: usize = 99;

/// What happens to a write instead of, or beside, what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails as a whole with this code, and nothing is written.
    Code(&'static str),
    /// These requests of a batch, counted from 0, come back unprocessed; the others are written.
    Unprocessed(Vec<usize>),
    /// It is carried out, and never answered: a call that timed out.
    Unanswered,
    /// A transaction is cancelled for this reason of this request, and nothing is written.
    Cancelled(&'static str, usize),
}

/// A table, and the positions beside it. Handles are cheap; all have the same items.
#[derive(Clone, Debug)]
pub struct MemoryTable {
    place: Arc<TablePlace>,
    schema: Arc<KeySchema>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    description: TableDescription,
    is_there: bool,
    items: BTreeMap<Vec<u8>, Item>,
    /// Rows by their keys.
    positions: Vec<(Item, Item)>,
    faults: VecDeque<Fault>,
    /// Transactions that happened.
    transactions: BTreeMap<String, (PositionWrite, Vec<Arc<ItemRequest>>)>,
    writes: u64,
}

impl MemoryTable {
    /// An empty table that takes writes.
    #[must_use]
    pub fn new(name: &str, partition_key: KeyAttribute, sort_key: Option<KeyAttribute>) -> Self {
        let place = TablePlace {
            table: name.to_owned(),
            region: "us-east-1".to_owned(),
            account: None,
            endpoint: None,
            credentials: "none".to_owned(),
        };
        let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
        let description = TableDescription { arn, partition_key, sort_key, write_units: None, is_writable: true };
        let schema = Arc::new(KeySchema::of(&description));
        let state = State {
            description,
            is_there: true,
            items: BTreeMap::new(),
            positions: Vec::new(),
            faults: VecDeque::new(),
            transactions: BTreeMap::new(),
            writes: 0,
        };
        Self { place: Arc::new(place), schema, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, operation: &'static str) -> TableSite<'_> {
        TableSite { place: &self.place, operation }
    }

    /// What the next writes meet, one each.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Changes what a description tells.
    pub fn alter(&self, change: impl FnOnce(&mut TableDescription)) {
        change(&mut self.state().description);
    }

    /// Deletes the table.
    pub fn delete(&self) {
        self.state().is_there = false;
    }

    /// All items.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.state().items.values().cloned().collect()
    }

    /// The row of a position.
    #[must_use]
    pub fn position(&self, key: &Item) -> Option<Item> {
        self.state().row(key).cloned()
    }

    /// Calls that wrote, or tried to.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// What the service checks of each request before it writes any of them.
    fn check(&self, requests: &[Arc<ItemRequest>], count_max: usize) -> Result<Vec<Vec<u8>>, (Option<usize>, String)> {
        if requests.len() > count_max || requests.is_empty() {
            return Err((None, format!("{} requests are not between 1 and {count_max}", requests.len())));
        }
        let mut keys = Vec::new();
        for (at, request) in requests.iter().enumerate() {
            let refused = |why: String| (Some(at), why);
            keys.push(self.schema.canonical(&request.item).map_err(refused)?);
            if request.action == Action::Put && (request.item.is_too_deep() || request.item.size() > ITEM_BYTES_MAX) {
                return Err(refused("Item size has exceeded the maximum allowed size".to_owned()));
            }
        }
        let distinct: BTreeSet<_> = keys.iter().collect();
        if distinct.len() < keys.len() {
            return Err((None, "Provided list of item keys contains duplicates".to_owned()));
        }
        Ok(keys)
    }
}

impl State {
    fn row(&self, key: &Item) -> Option<&Item> {
        self.positions.iter().find(|(of, _)| of == key).map(|(_, row)| row)
    }

    fn set(&mut self, key: &Item, set: &[(String, Value)]) {
        if self.row(key).is_none() {
            self.positions.push((key.clone(), key.clone()));
        }
        let found = self.positions.iter_mut().find(|(of, _)| of == key);
        let (_, row) = found.expect("a row that is missing was added");
        for (name, value) in set {
            row.0.retain(|(other, _)| other != name);
            row.0.push((name.clone(), value.clone()));
        }
    }

    fn apply(&mut self, schema: &KeySchema, key: Vec<u8>, request: &ItemRequest) {
        match request.action {
            Action::Put => {
                self.items.insert(key, request.item.clone());
            }
            Action::Delete => {
                self.items.remove(&key);
            }
            Action::Add => {
                let item = self.items.entry(key).or_insert_with(|| schema.project(&request.item));
                for (name, value) in request.item.0.iter().filter(|(name, _)| !schema.contains(name)) {
                    let sum = whole(item.get(name)) + whole(Some(value));
                    item.0.retain(|(other, _)| other != name);
                    item.0.push((name.clone(), Value::Number(sum.to_string())));
                }
            }
        }
    }

    /// Whether a row is as a transaction expects it.
    fn is_as_expected(&self, position: &PositionWrite) -> bool {
        let row = self.row(&position.key);
        position.expected.iter().all(|(name, value)| match (row.and_then(|row| row.get(name)), value) {
            (found, Value::Null) => found.is_none(),
            (found, value) => found == Some(value),
        })
    }
}

/// This table adds whole numbers only; what is none, or is missing, counts as nothing.
fn whole(value: Option<&Value>) -> i128 {
    match value {
        Some(Value::Number(text)) => text.parse().unwrap_or(0),
        _none => 0,
    }
}

impl TableApi for MemoryTable {
    fn describe(&self) -> BoxFuture<'_, Result<TableDescription, SourceError>> {
        async {
            let state = self.state();
            let missing = || self.site("DescribeTable").answered(Some("ResourceNotFoundException"), 400, "not found");
            state.is_there.then(|| state.description.clone()).ok_or_else(missing)
        }
        .boxed()
    }

    fn batch_write<'a>(&'a self, requests: &'a [Arc<ItemRequest>]) -> BoxFuture<'a, Result<Vec<Outcome>, SourceError>> {
        async move {
            let site = self.site("BatchWriteItem");
            let mut state = self.state();
            state.writes += 1;
            if !state.is_there {
                return Err(site.answered(Some("ResourceNotFoundException"), 400, "not found"));
            }
            let rejected = |why: &str| site.answered(Some("ValidationException"), 400, why);
            let fault = state.faults.pop_front();
            let unprocessed = match &fault {
                Some(Fault::Code(code) | Fault::Cancelled(code, _)) => {
                    return Err(site.answered(Some(code), 400, "scripted"));
                }
                Some(Fault::Unprocessed(which)) => which.as_slice(),
                Some(Fault::Unanswered) | None => &[],
            };
            if requests.iter().any(|request| request.action == Action::Add) {
                return Err(rejected("an Add is no part of a batch"));
            }
            let keys = self.check(requests, BATCH_COUNT_MAX).map_err(|(_, why)| rejected(&why))?;
            let mut outcomes = vec![Outcome::Done; requests.len()];
            for (at, (key, request)) in keys.into_iter().zip(requests).enumerate() {
                if unprocessed.contains(&at) {
                    outcomes[at] = Outcome::Retry(Setback::Throttled);
                } else {
                    state.apply(&self.schema, key, request);
                }
            }
            if fault == Some(Fault::Unanswered) { Err(site.unanswered()) } else { Ok(outcomes) }
        }
        .boxed()
    }
}

impl TransactApi for MemoryTable {
    fn transact<'a>(
        &'a self,
        token: &'a str,
        position: &'a PositionWrite,
        requests: &'a [Arc<ItemRequest>],
    ) -> BoxFuture<'a, Result<(), TransactError>> {
        async move {
            let site = self.site("TransactWriteItems");
            let mut state = self.state();
            state.writes += 1;
            let failed = |code: &str| TransactError::Failed(site.answered(Some(code), 400, "scripted"));
            let fault = state.faults.pop_front();
            match &fault {
                Some(Fault::Code(code)) => return Err(failed(code)),
                Some(Fault::Cancelled("ValidationError" | "ItemCollectionSizeLimitExceeded", at)) => {
                    return Err(TransactError::Refused { at: Some(*at), message: "scripted".to_owned() });
                }
                Some(Fault::Cancelled(code, _)) => return Err(failed(code)),
                Some(Fault::Unprocessed(_) | Fault::Unanswered) | None => {}
            }
            let asked = (position.clone(), requests.to_vec());
            match state.transactions.get(token) {
                Some(before) if *before == asked => return Ok(()),
                Some(_) => return Err(failed("IdempotentParameterMismatchException")),
                None => {}
            }
            let refused = |(at, message)| TransactError::Refused { at, message };
            // A position may move past records that write nothing.
            let keys = match requests {
                [] => Vec::new(),
                requests => self.check(requests, TRANSACTION_COUNT_MAX).map_err(refused)?,
            };
            for (at, request) in requests.iter().enumerate().filter(|(_, request)| request.action == Action::Add) {
                check_add(&self.schema, &request.item).map_err(|why| refused((Some(at), why)))?;
            }
            if !state.is_as_expected(position) {
                return Err(TransactError::Fenced);
            }
            for (key, request) in keys.into_iter().zip(requests) {
                state.apply(&self.schema, key, request);
            }
            state.set(&position.key, &position.set);
            state.transactions.insert(token.to_owned(), asked);
            if fault == Some(Fault::Unanswered) { Err(TransactError::Failed(site.unanswered())) } else { Ok(()) }
        }
        .boxed()
    }

    fn claim<'a>(&'a self, key: &'a Item, generation: u64) -> BoxFuture<'a, Result<Option<Item>, TransactError>> {
        async move {
            let mut state = self.state();
            let before = state.row(key).cloned();
            let there = before.as_ref().and_then(|row| row.get("generation"));
            if whole(there) > i128::from(generation) {
                return Err(TransactError::Fenced);
            }
            state.set(key, &[("generation".to_owned(), Value::Number(generation.to_string()))]);
            Ok(before)
        }
        .boxed()
    }
}
