use host_core::coordinator::{Event, Receipt};
use host_core::delivery::PoisonPolicy;
use host_core::patience::RetryLimits;
use host_core::shard::{Position, SequenceNumber, ShardId};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::columns::{Column, RecordColumns};
use crate::entry::{Entries, KinesisEntry};
use crate::pipeline::{Input, Totals};
use crate::sink::confirmations::{Confirmations, Leaving, Surroundings, Word};
use crate::sink::memory_target::{Answer as Says, MemoryTarget, Reply, error};
use crate::sink::service::Claim;
use crate::sink::service::Stations;
use crate::subtask::StreamLabel;

mod requests;
mod failures;
mod endings;

const SECOND: Duration = Duration::from_secs(1);

/// Small requests that a full buffer does not force out.
fn settings() -> Settings {
    let retry =
        RetryLimits { max_attempts: 50, min_delay: Duration::from_millis(100), max_delay: Duration::from_millis(400) };
    let options = Options {
        max_count: 4,
        max_bytes: 4_000,
        max_record_bytes: 1_000,
        max_in_flight: 4,
        max_buffered: 100,
        max_buffered_bytes: 100_000,
        order: batching::Order::PerKey,
        late_after: Duration::ZERO,
        retry,
        ..Options::default()
    };
    Settings { options, request_timeout: 10 * SECOND, fail_on_timeout: false, fail_on_error: false }
}

/// A service, and all that is between it and the loop.
struct Bench {
    target: MemoryTarget,
    confirmations: Option<Confirmations>,
    service: Option<mpsc::Sender<Handed>>,
    inputs: mpsc::Receiver<Input>,
    eager: watch::Sender<bool>,
    cut: CancellationToken,
    totals: Arc<Totals>,
    delivered: u64,
    clock: Clock,
    started: Instant,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::with(MemoryTarget::default(), settings, PoisonPolicy::Fail)
    }

    fn with(target: MemoryTarget, settings: Settings, policy: PoisonPolicy) -> Self {
        let (output, inputs) = mpsc::channel(1_000);
        let (eager, is_eager) = watch::channel(false);
        let (cut, clock, totals) = (CancellationToken::new(), Clock::start(), Arc::new(Totals::default()));
        let label = StreamLabel { arn: "arn:quakes".to_owned(), name: "quakes".to_owned() };
        let around = Surroundings {
            has_marks: false,
            eager: is_eager,
            cut: cut.clone(),
            policy,
            streams: [label].into(),
            claim: Claim { generation: 1, streams: [].into() },
            clock,
            runtime: Handle::current(),
        };
        let confirmations = Confirmations::start(around, output, Arc::clone(&totals));
        let service = service(Arc::new(target.clone()), settings).expect("no contradiction");
        let service = Some(confirmations.serve("memory", service));
        let confirmations = Some(confirmations);
        let started = Instant::now();
        Self { target, confirmations, service, inputs, eager, cut, totals, delivered: 0, clock, started }
    }

    /// Hands over a delivery with one entry for each of these keys, made of one record each.
    async fn deliver(&mut self, keys: &[&str]) {
        self.deliver_of("shard-0", keys).await;
    }

    async fn deliver_of(&mut self, shard: &str, keys: &[&str]) {
        self.hand_over(shard, keys, None).await;
    }

    async fn deliver_held(&mut self, keys: &[&str], held: Option<Arc<Held>>) {
        self.hand_over("shard-0", keys, held).await;
    }

    async fn hand_over(&mut self, shard: &str, keys: &[&str], held: Option<Arc<Held>>) {
        let (delivery, shard) = (self.delivered, ShardId::new(shard));
        self.delivered += 1;
        let count = keys.len() as u64;
        let sequence = |record: u64| (1_000 * (delivery + 1) + record).to_string();
        let last = SequenceNumber::parse(&sequence(count.saturating_sub(1))).expect("decimal");
        let last = Position::After { sequence: last, sub_sequence: 0 };
        let receipt = Receipt {
            shard: shard.clone(),
            session: 1,
            first: delivery,
            count: 1,
            last: last.clone(),
            event_time: None,
            arrived: None,
            marks: Vec::new(),
        };
        let Some(confirmations) = &self.confirmations else { panic!("nothing more comes") };
        let permit = Arc::clone(&confirmations.permits).acquire_owned().await.expect("it has not failed");
        let leaving = Box::new(Leaving { receipt, made: None, elements: count, permit });
        let opened = Word::Opened { delivery, entries: count, leaving };
        confirmations.words.send(opened).await.expect("somebody listens");
        let entry = |key: &&str| KinesisEntry {
            partition_key: (*key).to_owned(),
            explicit_hash_key: None,
            data: if *key == "unwritable" { (*key).to_owned() } else { delivery.to_string() }.into_bytes(),
        };
        let mut sequence_number = Column::default();
        (0..count).for_each(|record| sequence_number.push(sequence(record).as_bytes()));
        let record: Vec<u32> = (0..).take(keys.len()).collect();
        let columns = RecordColumns { sequence_number, ..RecordColumns::default() };
        let stations = Stations::of(&columns, &record);
        if keys.is_empty() {
            return;
        }
        let handed = Handed {
            origin: Arc::new(Origin { delivery, shard, session: 1, last, stations }),
            entries: Entries::Kinesis(keys.iter().map(entry).collect()),
            record,
            arrived: self.clock.now(),
            held,
        };
        let service = self.service.as_ref().expect("more may come");
        service.send(handed).await.expect("the service takes it");
    }

    /// Nothing more comes.
    fn close(&mut self) {
        (self.service, self.confirmations) = (None, None);
    }

    /// The next word for the loop; `None` once everything has ended.
    async fn input(&mut self) -> Option<Input> {
        self.inputs.recv().await
    }

    /// The delivery that is confirmed next.
    async fn confirmed(&mut self) -> u64 {
        match self.input().await {
            Some(Input::Event(Event::Delivered(receipt))) => receipt.first,
            other => panic!("{other:?}"),
        }
    }

    async fn failure(&mut self) -> String {
        match self.input().await {
            Some(Input::Failed(failure)) => failure.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Everything ends: what was confirmed until then.
    async fn rest(mut self) -> Vec<u64> {
        self.close();
        let mut confirmed = Vec::new();
        while let Some(input) = self.input().await {
            let Input::Event(Event::Delivered(receipt)) = input else { panic!("{input:?}") };
            confirmed.push(receipt.first);
        }
        confirmed
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sink(&self) -> Arc<crate::pipeline::totals::SinkTotals> {
        self.totals.sink("memory")
    }

    /// Keys of every request.
    fn requests(&self) -> Vec<Vec<String>> {
        self.target.requests().into_iter().map(|asked| asked.keys).collect()
    }
}

/// Lets everybody work until all wait for time to pass.
async fn calm() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}
