#![expect(clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::sync::{Mutex, PoisonError};

use host_core::batching::Outcome;
use host_core::coordinator::{Event, Receipt};
use host_core::delivery::PoisonPolicy;
use host_core::moment::EpochMillis;
use host_core::shard::{Position, SequenceNumber};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::columns::RecordColumns;
use crate::entry::{Action as Doing, Entries};
use crate::item::Value;
use crate::pipeline::{Input, Totals};
use crate::ports::{KeyAttribute, KeyType, PositionWrite, TableDescription};
use crate::sink::confirmations::{Confirmations, Leaving, Surroundings, Word};
use crate::sink::memory_table::{Fault, MemoryTable};
use crate::sink::service::{Claim, Stations};
use crate::state::StreamIdentity;
use crate::subtask::StreamLabel;

mod orders;
mod failures;
mod sessions;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Settings {
    let retry =
        RetryLimits { max_attempts: 50, min_delay: Duration::from_millis(100), max_delay: Duration::from_millis(400) };
    Settings {
        options: Options { max_count: 99, max_bytes: 4_000_000, max_age: SECOND, retry },
        max_record_bytes: 1_000,
        max_in_flight: 8,
        max_buffered: 1_000,
        max_buffered_bytes: 1_000_000,
        request_timeout: 10 * SECOND,
        fail_on_timeout: false,
        fail_on_error: false,
    }
}

/// The table, and what it was asked.
#[derive(Clone)]
struct Watched {
    table: MemoryTable,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Tokens of transactions, and the items they name, in the order in which they arrived.
    transactions: Vec<(String, Vec<String>)>,
    claims: usize,
    /// How long the next calls take, before anything happens.
    before: VecDeque<Duration>,
    /// How long every call takes.
    always: Duration,
    under_way: usize,
    most: usize,
}

impl Watched {
    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn pass(&self) {
        let wait = self.seen(|seen| {
            seen.under_way += 1;
            seen.most = seen.most.max(seen.under_way);
            seen.before.pop_front().unwrap_or(seen.always)
        });
        let way = UnderWay(self.clone());
        sleep(wait).await;
        drop(way);
    }
}

struct UnderWay(Watched);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.seen(|seen| seen.under_way -= 1);
    }
}

impl TransactApi for Watched {
    fn transact<'a>(
        &'a self,
        token: &'a str,
        position: &'a PositionWrite,
        requests: &'a [Arc<ItemRequest>],
    ) -> BoxFuture<'a, Result<(), TransactError>> {
        Box::pin(async move {
            let keys = requests.iter().map(|request| key_of(&request.item)).collect();
            self.seen(|seen| seen.transactions.push((token.to_owned(), keys)));
            assert!(token.len() <= 36, "{token}");
            self.pass().await;
            self.table.transact(token, position, requests).await
        })
    }

    fn claim<'a>(&'a self, key: &'a Item, generation: u64) -> BoxFuture<'a, Result<Option<Item>, TransactError>> {
        Box::pin(async move {
            self.seen(|seen| seen.claims += 1);
            self.pass().await;
            self.table.claim(key, generation).await
        })
    }
}

impl TableApi for Watched {
    fn describe(&self) -> BoxFuture<'_, Result<TableDescription, SourceError>> {
        self.table.describe()
    }

    fn batch_write<'a>(&'a self, requests: &'a [Arc<ItemRequest>]) -> BoxFuture<'a, Result<Vec<Outcome>, SourceError>> {
        self.table.batch_write(requests)
    }
}

fn key_of(item: &Item) -> String {
    match item.get("p") {
        Some(Value::Text(key)) => key.clone(),
        other => panic!("{other:?}"),
    }
}

fn request(action: Doing, key: &str, n: &str) -> ItemRequest {
    let number = ("n".to_owned(), Value::Number(n.to_owned()));
    ItemRequest { action, item: Item(vec![("p".to_owned(), Value::Text(key.to_owned())), number]) }
}

fn add(key: &str) -> ItemRequest {
    request(Doing::Add, key, "1")
}

/// A sink, and all that is between it and the loop.
struct Bench {
    table: Watched,
    confirmations: Option<Confirmations>,
    service: Option<mpsc::Sender<Handed>>,
    inputs: mpsc::Receiver<Input>,
    _eager: watch::Sender<bool>,
    cut: CancellationToken,
    totals: Arc<Totals>,
    delivered: u64,
    clock: Clock,
    started: Instant,
}

fn table() -> Watched {
    let key = KeyAttribute { name: "p".to_owned(), of: KeyType::Text };
    Watched { table: MemoryTable::new("counts", key, None), seen: Arc::default() }
}

fn stream() -> StreamIdentity {
    StreamIdentity { arn: "arn:quakes".to_owned(), created: EpochMillis(7) }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::on(table(), settings, PoisonPolicy::Fail, 1)
    }

    fn on(table: Watched, settings: Settings, policy: PoisonPolicy, generation: u64) -> Self {
        let (output, inputs) = mpsc::channel(10_000);
        let (eager, is_eager) = watch::channel(false);
        let (cut, clock, totals) = (CancellationToken::new(), Clock::start(), Arc::new(Totals::default()));
        let around = Surroundings {
            has_marks: false,
            eager: is_eager,
            cut: cut.clone(),
            policy,
            streams: [StreamLabel { arn: stream().arn, name: "quakes".to_owned() }].into(),
            claim: Claim { generation, streams: [stream()].into() },
            clock,
            runtime: Handle::current(),
        };
        let confirmations = Confirmations::start(around, output, Arc::clone(&totals));
        let key = KeyAttribute { name: "p".to_owned(), of: KeyType::Text };
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/counts".to_owned();
        let schema = KeySchema::of(&TableDescription {
            arn: arn.clone(),
            partition_key: key,
            sort_key: None,
            write_units: None,
            is_writable: true,
        });
        let target = Target { arn, schema, api: Arc::new(table.clone()), positions: Arc::new(table.clone()) };
        let service = Some(confirmations.serve("counts", service(target, settings)));
        let confirmations = Some(confirmations);
        Self {
            table,
            confirmations,
            service,
            inputs,
            _eager: eager,
            cut,
            totals,
            delivered: 0,
            clock,
            started: Instant::now(),
        }
    }

    /// Hands over a delivery: the requests of each record, by its sequence number.
    async fn deliver(&mut self, records: &[(u64, Vec<ItemRequest>)]) {
        self.deliver_of("shard-0", 1, records).await;
    }

    async fn deliver_of(&mut self, shard: &str, session: u64, records: &[(u64, Vec<ItemRequest>)]) {
        let (delivery, shard) = (self.delivered, ShardId::new(shard));
        self.delivered += 1;
        let last = records.last().map(|(sequence, _)| after(*sequence)).expect("a delivery has records");
        let receipt = Receipt {
            shard: shard.clone(),
            session,
            first: delivery,
            count: 1,
            last: last.clone(),
            event_time: None,
            arrived: None,
            marks: Vec::new(),
        };
        let entries: Vec<_> = records.iter().flat_map(|(_, requests)| requests.clone()).collect();
        let record = (0..).zip(records).flat_map(|(index, (_, requests))| requests.iter().map(move |_| index));
        let record: Vec<u32> = record.collect();
        let mut columns = RecordColumns::default();
        records.iter().for_each(|(sequence, _)| columns.sequence_number.push(sequence.to_string().as_bytes()));
        let stations = Stations::of(&columns, &record);
        let Some(confirmations) = &self.confirmations else { panic!("nothing more comes") };
        let permit = Arc::clone(&confirmations.permits).acquire_owned().await.expect("it has not failed");
        let count = entries.len() as u64;
        let leaving = Box::new(Leaving { receipt, made: None, elements: count, permit });
        let opened = Word::Opened { delivery, entries: count, leaving };
        confirmations.words.send(opened).await.expect("somebody listens");
        let handed = Handed {
            origin: Arc::new(Origin { delivery, shard, session, last, stations }),
            record,
            entries: Entries::Dynamodb(entries),
            arrived: self.clock.now(),
            held: None,
        };
        let service = self.service.as_ref().expect("more may come");
        service.send(handed).await.expect("the service takes it");
    }

    /// The delivery that is confirmed next.
    async fn confirmed(&mut self) -> u64 {
        match self.inputs.recv().await {
            Some(Input::Event(Event::Delivered(receipt))) => receipt.first,
            other => panic!("{other:?}"),
        }
    }

    async fn failure(&mut self) -> String {
        match self.inputs.recv().await {
            Some(Input::Failed(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Everything ends: what was confirmed until then.
    async fn rest(&mut self) -> Vec<u64> {
        (self.service, self.confirmations) = (None, None);
        let mut confirmed = Vec::new();
        while let Some(input) = self.inputs.recv().await {
            let Input::Event(Event::Delivered(receipt)) = input else { panic!("{input:?}") };
            confirmed.push(receipt.first);
        }
        confirmed
    }

    /// It stops for what it has told, writing nothing more: whatever else is said on the way.
    async fn end(&mut self) {
        (self.service, self.confirmations) = (None, None);
        while self.inputs.recv().await.is_some() {}
    }

    /// What each item counts.
    fn counts(&self) -> BTreeMap<String, String> {
        let number = |item: &Item| match item.get("n") {
            Some(Value::Number(number)) => number.clone(),
            other => panic!("{other:?}"),
        };
        self.table.table.items().iter().map(|item| (key_of(item), number(item))).collect()
    }

    fn transactions(&self) -> Vec<Vec<String>> {
        self.table.seen(|seen| seen.transactions.iter().map(|(_, keys)| keys.clone()).collect())
    }

    fn tokens(&self) -> Vec<String> {
        self.table.seen(|seen| seen.transactions.iter().map(|(token, _)| token.clone()).collect())
    }

    fn sink(&self) -> Arc<crate::pipeline::totals::SinkTotals> {
        self.totals.sink("counts")
    }

    fn row(&self, shard: &str) -> Option<Item> {
        self.table.table.position(&applied_key("counts", &stream(), shard))
    }
}

fn after(sequence: u64) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

fn counts(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), (*count).to_owned())).collect()
}
