//! The whole host in process, with the world replaced: a stream, a store and a sink in memory, and a stand-in for the
//! component. What is left is what runs in production: the loop, the readers, the subtasks' threads, the sinks' thread, the
//! thread that keeps positions.
//!
//! Time is real and intervals are tiny: paused time would run away while a thread works. Nobody sleeps here; waiting is
//! for calls, elements, commits, and for a component that says that it stands at a gate.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::iter;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host::app::assemble::{FoundStream, Ports, assemble};
use host::assigner::Assign;
use host::clock::Clock;
use host::columns::RecordColumns;
use host::component::deserializer::{Delivery, Deserialized, RecordError, ShardContext};
use host::component::error::{ComponentError, ErrorClass, GuestError};
use host::config::{Efo, Lifecycle, Manifest, Reader, Retry, StreamArn};
use host::pipeline::failure::Failure;
use host::pipeline::{Ended, Totals};
use host::ports::{FanOutApi, StreamApi};
use host::progress::Screen;
use host::sink::memory::MemorySink;
use host::sink::thread::{Output, RoutedSink};
use host::source::classify::{Place, Role};
use host::source::memory::{MemoryStream, Written};
use host::state::memory::{MemoryLeases, MemoryStore};
use host::state::{
    Claimed, ComponentDigest, LeaseStore, Owner, PipelineId, RegisteredConsumer, StartPoint, StoreError, StreamIdentity,
};
use host::subtask::{Components, Converting, Deserialize};
use host_core::checkpoint::{Commit, ShardRow};
use host_core::moment::EpochMillis;
use host_core::service_time::ServiceClock;
use host_core::shard::{Position, ShardId};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::served::{self, Served};

/// How long anything may take before a test gives up on it: far beyond what it needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long ago the first record of a stream arrives: two hours, in milliseconds.
const AGE: i64 = 2 * 3_600_000;
/// Keys that [`Rig::write`] spreads records over.
const KEYS: usize = 16;
/// What each pipeline here starts from.
const MANIFEST: &str = r#"
version = 1
name = "rig"
[source]
type = "kinesis"
stream_arn = "arn:aws:kinesis:us-east-1:000000000000:stream/rig"
initial_position = "trim-horizon"
[source.polling]
max_calls_per_second = "unlimited"
max_bytes_per_second = "unlimited"
[deserializer]
component = "stand-in.wasm"
[[sink]]
type = "discard"
"#;

/// Waits for what is sure to come; panics with `what` if it does not. Patience is the machine's, whatever the test's clock
/// does.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let (_waiting, done) = mpsc::channel::<()>();
    let (ring, alarm) = oneshot::channel();
    std::thread::spawn(move || {
        if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            ring.send(()).unwrap_or_default();
        }
    });
    tokio::select! {
        biased;
        value = future => value,
        _ = alarm => panic!("waited in vain for {what}"),
    }
}

/// Waits until what the run does makes this true.
pub async fn until_true(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    soon(what, wait).await;
}

/// One record as the stand-in sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its shard.
    pub shard: &'a str,
    /// Its data.
    pub data: &'a [u8],
    /// The batch's attempt.
    pub attempt: u32,
}

impl Asked<'_> {
    /// Whether the data holds this text.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        String::from_utf8_lossy(self.data).contains(text)
    }
}

/// What the stand-in does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An element with the record's data.
    Pass,
    /// The same with an event time, in milliseconds since the epoch. All elements of a batch have one or none has.
    PassAt(i64),
    /// Nothing.
    Filter,
    /// An error of this record.
    Refuse(ErrorClass),
    /// An error of the whole batch.
    RefuseBatch(ErrorClass),
    /// The end of the instance.
    Trap,
    /// The host has no room for the instance.
    NoRoom,
}

/// What the stand-in does, record by record. It may block.
pub type Script = Arc<dyn Fn(Asked<'_>) -> Verdict + Send + Sync>;

/// Makes the component of a subtask, at the start and when it is started again.
pub type MakeComponent = Arc<dyn Fn(u32) -> Box<dyn Deserialize> + Send + Sync>;

/// Makes the converters of a subtask, together with its component.
pub type MakeConverters = Arc<dyn Fn(u32) -> Vec<Converting> + Send + Sync>;

/// Hears of every commit before it is durable, on the thread that keeps positions.
pub type OnCommit = Arc<dyn Fn(&Commit) + Send + Sync>;
/// Makes a sink for a run.
pub type MakeSink = Box<dyn Fn() -> RoutedSink>;

/// One call of the stand-in: the data of its first record, how many records, which attempt.
pub type Call = (String, usize, u32);

/// The component's place, taken by a script.
struct StandIn {
    subtask: u32,
    script: Script,
    log: Arc<Mutex<StandInLog>>,
}

/// What the stand-ins of a rig were asked for.
#[derive(Debug, Default)]
pub struct StandInLog {
    /// Every call.
    pub calls: Vec<Call>,
    /// Which subtasks were made a component for, again and again.
    pub made: Vec<u32>,
    /// Whose records each subtask had: the stream's ARN, the shard, the subtask.
    pub places: BTreeSet<(String, String, u32)>,
    /// How often an instance was given up on request.
    pub renewals: u32,
    /// How many were closed in order.
    pub closed: u32,
}

impl Deserialize for StandIn {
    fn deserialize(
        &mut self,
        shard: &ShardContext,
        records: &RecordColumns,
        delivery: Delivery,
    ) -> Result<Deserialized, ComponentError> {
        let first = String::from_utf8_lossy(records.data.get(0)).into_owned();
        let mut log = locked(&self.log);
        log.calls.push((first, records.len(), delivery.attempt));
        log.places.insert((shard.stream_arn.clone(), shard.shard_id.clone(), self.subtask));
        drop(log);
        let mut made = Deserialized::default();
        for (input_index, data) in (0_u32..).zip(records.data.iter()) {
            let error =
                |class| GuestError { class, code: "scripted".to_owned(), message: "as the test says".to_owned() };
            match (self.script)(Asked { shard: &shard.shard_id, data, attempt: delivery.attempt }) {
                Verdict::Pass => {
                    made.input_index.push(input_index);
                    made.elements.payload.push(data);
                }
                Verdict::PassAt(time) => {
                    made.input_index.push(input_index);
                    made.elements.event_time.push(time);
                    made.elements.payload.push(data);
                }
                Verdict::Filter => {}
                Verdict::Refuse(class) => made.errors.push(RecordError { input_index, error: error(class) }),
                Verdict::RefuseBatch(class) => {
                    return Err(ComponentError::Refused { during: "deserialize", error: error(class) });
                }
                Verdict::Trap => {
                    let reason = "unreachable".to_owned();
                    return Err(ComponentError::Trapped { during: "deserialize", reason, last_words: None });
                }
                Verdict::NoRoom => return Err(ComponentError::NoRoom { reason: "as the test says".to_owned() }),
            }
        }
        Ok(made)
    }

    fn renew(&mut self) {
        locked(&self.log).renewals += 1;
    }

    fn close(self: Box<Self>, _time: EpochMillis) {
        locked(&self.log).closed += 1;
    }
}

/// Where a script can be made to wait.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateParts>);

#[derive(Debug, Default)]
struct GateParts {
    state: Mutex<GateState>,
    opened: Condvar,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waiting: usize,
}

impl Gate {
    /// Waits, on the calling thread, until the gate is open.
    pub fn pass(&self) {
        let mut state = locked(&self.0.state);
        state.waiting += 1;
        self.0.arrived.notify_waiters();
        while !state.open {
            state = self.0.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        locked(&self.0.state).open = true;
        self.0.opened.notify_all();
    }

    /// Waits until somebody waits.
    pub async fn until_waiting(&self) {
        let wait = until(&self.0.arrived, || locked(&self.0.state).waiting > 0);
        soon("somebody at the gate", wait).await;
    }
}

/// Waits until `holds`, looking again whenever `changed` says so.
async fn until(changed: &Notify, holds: impl Fn() -> bool) {
    loop {
        let change = changed.notified();
        tokio::pin!(change);
        // Registered before the look, so that no change falls between the two.
        change.as_mut().enable();
        if holds() {
            return;
        }
        change.await;
    }
}

/// A panic of a test leaves these values whole.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became durable, as it happens.
#[derive(Debug, Default)]
struct Durable {
    positions: Mutex<BTreeMap<ShardId, Position>>,
    changed: Notify,
}

/// A store that tells what it kept.
struct Watched {
    inner: MemoryLeases,
    durable: Arc<Durable>,
    on_commit: OnCommit,
}

impl LeaseStore for Watched {
    fn claim(&mut self, owner: &Owner, components: &[ComponentDigest]) -> Result<Claimed, StoreError> {
        self.inner.claim(owner, components)
    }

    fn start_stream(
        &mut self,
        stream: &StreamIdentity,
        start: StartPoint,
        rows: &[ShardRow],
    ) -> Result<(), StoreError> {
        self.inner.start_stream(stream, start, rows)
    }

    fn forget_stream(&mut self, stream: &StreamIdentity) -> Result<(), StoreError> {
        self.inner.forget_stream(stream)
    }

    fn note_consumer(
        &mut self,
        stream: &StreamIdentity,
        consumer: Option<&RegisteredConsumer>,
    ) -> Result<(), StoreError> {
        self.inner.note_consumer(stream, consumer)
    }

    fn commit(&mut self, streams: &[StreamIdentity], commit: &Commit, sinks: &[String]) -> Result<(), StoreError> {
        (self.on_commit)(commit);
        self.inner.commit(streams, commit, sinks)?;
        let mut positions = locked(&self.durable.positions);
        positions.extend(commit.create.iter().map(|row| (row.shard.clone(), row.position.clone())));
        positions.extend(commit.advance.iter().map(|advance| (advance.shard.clone(), advance.to.clone())));
        drop(positions);
        self.durable.changed.notify_waiters();
        Ok(())
    }

    fn release(&mut self) -> Result<(), StoreError> {
        self.inner.release()
    }
}

/// A pipeline and its world. Every [`Rig::start`] is another process over the same stream, store and sink.
pub struct Rig {
    /// How it is configured; the store, the sinks and the component it names are replaced.
    pub manifest: Manifest,
    /// The stream.
    pub stream: MemoryStream,
    /// How the pipeline sees the stream.
    pub api: Arc<dyn StreamApi>,
    /// The positions.
    pub store: MemoryStore,
    /// The sink, which has marks.
    pub sink: MemorySink,
    /// Makes a subtask's component.
    pub component: MakeComponent,
    /// Makes a subtask's converters; none at first.
    pub converters: MakeConverters,
    /// Makes the component that assigns shards, if there is one.
    pub assigner: Option<Box<dyn Fn() -> Box<dyn Assign>>>,
    /// Streams beside the first, in the order of the manifest's.
    pub others: Vec<Arc<dyn StreamApi>>,
    /// How subscriptions to each stream are had, in the order of the manifest's.
    pub fan_out: Vec<Arc<dyn FanOutApi>>,
    /// Whether the sink is there at all.
    pub has_sink: bool,
    /// Sinks that write to services, behind the sink. With any, each record becomes an element and an entry for each of
    /// them, whatever the component says.
    pub services: Vec<Served>,
    /// Makes sinks behind all of these, whose converters are the rig's.
    pub more_sinks: Vec<MakeSink>,
    /// What the stand-ins were asked for.
    pub log: Arc<Mutex<StandInLog>>,
    /// Hears of commits; at first nobody does.
    pub on_commit: OnCommit,
    durable: Arc<Durable>,
    /// How many records were written.
    numbers: AtomicUsize,
}

/// A pipeline that runs.
pub struct Run {
    stop: CancellationToken,
    task: JoinHandle<Ended>,
    /// What it counts.
    pub totals: Arc<Totals>,
}

/// A pipeline that ran.
pub struct Outcome {
    /// Why it ended early, if it did.
    pub failure: Option<Failure>,
    /// What it counted.
    pub totals: Arc<Totals>,
}

impl Rig {
    /// A stream of `shards` shards and one subtask that passes everything.
    #[must_use]
    pub fn new(shards: u32) -> Self {
        let mut manifest = Manifest::parse(MANIFEST, Path::new("rig.toml"), |_| None).expect("the manifest is valid");
        let Reader::Polling(polling) = &mut manifest.source.reader else { panic!("polling is the default") };
        polling.empty_interval = Duration::from_millis(2);
        manifest.source.discovery_interval = Duration::from_millis(20);
        manifest.checkpoint.interval = Duration::from_millis(10);
        manifest.aws.retry.min_delay = Duration::from_millis(1);
        manifest.aws.retry.max_delay = Duration::from_millis(2);
        let stream = young_stream("rig", shards);
        let rig = Self {
            manifest,
            api: Arc::new(stream.clone()),
            fan_out: vec![Arc::new(stream.clone())],
            stream,
            store: MemoryStore::default(),
            sink: MemorySink::default(),
            component: Arc::new(|_| unreachable!("set right below")),
            converters: Arc::new(|_| Vec::new()),
            assigner: None,
            others: Vec::new(),
            has_sink: true,
            services: Vec::new(),
            more_sinks: Vec::new(),
            log: Arc::default(),
            on_commit: Arc::new(|_| ()),
            durable: Arc::default(),
            numbers: AtomicUsize::new(0),
        };
        rig.scripted(|_| Verdict::Pass)
    }

    /// The same with a script for the stand-in.
    #[must_use]
    pub fn scripted(mut self, script: impl Fn(Asked<'_>) -> Verdict + Send + Sync + 'static) -> Self {
        let (script, log): (Script, _) = (Arc::new(script), Arc::clone(&self.log));
        self.component = Arc::new(move |subtask| {
            locked(&log).made.push(subtask);
            Box::new(StandIn { subtask, script: Arc::clone(&script), log: Arc::clone(&log) })
        });
        self
    }

    /// Another stream of the source, after those that there are.
    pub fn add_stream(&mut self, name: &str, shards: u32) -> MemoryStream {
        let stream = young_stream(name, shards);
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
        self.manifest.source.streams.push(StreamArn::parse(&arn).expect("a stream's name"));
        self.others.push(Arc::new(stream.clone()));
        self.fan_out.push(Arc::new(stream.clone()));
        stream
    }

    /// `GetRecords`' limit and pause.
    pub fn polling(&mut self) -> &mut host::config::Polling {
        let Reader::Polling(polling) = &mut self.manifest.source.reader else { panic!("this rig does not poll") };
        polling
    }

    /// From now on runs read by enhanced fan-out, with a managed consumer called `rig`.
    pub fn read_by_fan_out(&mut self) -> &mut Efo {
        let pause = Duration::from_millis(1);
        let lifecycle =
            Lifecycle::Managed { name: "rig".to_owned(), keep: false, deregister_timeout: Duration::from_secs(10) };
        let describe_retry = Retry { max_attempts: 100, min_delay: pause, max_delay: pause };
        let efo = Efo { lifecycle, subscription_timeout: Duration::from_secs(60), describe_retry };
        self.manifest.source.reader = Reader::Efo(efo);
        let Reader::Efo(efo) = &mut self.manifest.source.reader else { unreachable!("set right above") };
        efo
    }

    /// The ids of the stream's shards, in the order they were made.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardId> {
        self.stream.shards().into_iter().map(|shard| shard.id).collect()
    }

    /// The text of a record: its key and a number that no other record of the stream has.
    fn text(&self, key: &str) -> String {
        format!("{key} {}", self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes `count` records, spread over keys and so over the open shards.
    pub fn write(&self, count: usize) {
        for _ in 0..count {
            let key = format!("key-{}", self.numbers.load(Ordering::Relaxed) % KEYS);
            self.stream.put(&key, self.text(&key).as_bytes());
        }
    }

    /// Writes `count` records to one shard, under a key of its own.
    pub fn write_to(&self, shard: &ShardId, count: usize) {
        for _ in 0..count {
            let key = shard.to_string();
            self.stream.put_to(shard, &key, self.text(&key).as_bytes());
        }
    }

    /// Writes one record to a shard that says more than its key and number.
    pub fn say(&self, shard: &ShardId, more: &str) -> Written {
        let key = shard.to_string();
        self.stream.put_to(shard, &key, format!("{} {more}", self.text(&key)).as_bytes())
    }

    /// Starts the pipeline.
    ///
    /// # Errors
    /// It cannot be put together.
    pub async fn try_start(&self, until_caught_up: bool) -> Result<Run, Failure> {
        let clock = Clock::start();
        let totals = Arc::new(Totals::default());
        let mut streams = Vec::new();
        for (index, api) in iter::once(&self.api).chain(&self.others).enumerate() {
            let fan_out = self.fan_out.get(index).unwrap_or(&self.fan_out[0]);
            let asked = clock.wall();
            let (api, description) = (Arc::clone(api), api.describe().await?);
            let clock = ServiceClock::compare(description.service_time, asked, clock.wall());
            let place = place(&description.arn);
            streams.push(FoundStream { api, description, clock, place, fan_out: Arc::clone(fan_out) });
        }
        let (component, converters) = (Arc::clone(&self.component), Arc::clone(&self.converters));
        let open = move |subtask| Components { deserializer: component(subtask), converters: converters(subtask) };
        let ports = Ports {
            streams,
            store: Box::new(Watched {
                inner: self.store.open(&self.pipeline()),
                durable: Arc::clone(&self.durable),
                on_commit: Arc::clone(&self.on_commit),
            }),
            sinks: self.sinks(),
            subtasks: (0..self.manifest.parallelism).map(&open).collect(),
            reopen: Arc::new(move |subtask| Ok(open(subtask))),
            assigner: self.assigner.as_ref().map(|make| make()),
            components: vec![ComponentDigest { role: "deserializer".to_owned(), digest: "sha256:0".to_owned() }],
        };
        let screen = Screen::lines();
        let mut pipeline =
            assemble(&self.manifest, ports, until_caught_up, &screen, clock, Arc::clone(&totals)).await?;
        if !self.services.is_empty() {
            let services: Vec<u32> = (u32::from(self.has_sink)..).take(self.services.len()).collect();
            served::convert(&mut pipeline, &services);
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(pipeline.run(stop.clone()));
        Ok(Run { stop, task, totals })
    }

    fn sinks(&self) -> Vec<RoutedSink> {
        let output = Output::Local(Box::new(self.sink.clone()));
        let sink = RoutedSink { name: "memory".into(), when: Vec::new(), output };
        let services = self.services.iter().enumerate();
        let services = services.map(|(index, served)| served.sink(format!("service-{index}")));
        self.has_sink
            .then_some(sink)
            .into_iter()
            .chain(services)
            .chain(self.more_sinks.iter().map(|make| make()))
            .collect()
    }

    /// Starts the pipeline, to run until stopped.
    pub async fn start(&self) -> Run {
        self.try_start(false).await.expect("the pipeline starts")
    }

    /// Starts the pipeline, to run until it is caught up.
    pub async fn start_to_catch_up(&self) -> Run {
        self.try_start(true).await.expect("the pipeline starts")
    }

    /// Runs until caught up.
    pub async fn catch_up(&self) -> Outcome {
        self.start_to_catch_up().await.ended().await
    }

    /// The identity of its positions.
    #[must_use]
    pub fn pipeline(&self) -> PipelineId {
        PipelineId { tenant: self.manifest.tenant.to_string(), pipeline: self.manifest.name.to_string() }
    }

    /// Waits until the sink holds at least `count` elements.
    pub async fn until_elements(&self, count: usize) {
        soon(&format!("{count} elements"), self.sink.until(|elements| elements.len() >= count)).await;
    }

    /// Waits until the sink holds every record ever written.
    pub async fn until_all_delivered(&self) {
        self.until_elements(self.stream.written().len()).await;
    }

    /// What the store of a pipeline that does not run has noted of its consumer on the first stream.
    #[must_use]
    pub fn noted_consumer(&self) -> Option<RegisteredConsumer> {
        let mut store = self.store.open(&self.pipeline());
        let owner = Owner { name: "whoever looks".to_owned(), since: wall() };
        let claimed = store.claim(&owner, &[]).expect("nobody runs");
        claimed.streams.into_iter().next().and_then(|stream| stream.consumer)
    }

    /// Waits until the durable positions are as told.
    pub async fn until_durable(&self, what: &str, holds: impl Fn(&BTreeMap<ShardId, Position>) -> bool) {
        soon(what, until(&self.durable.changed, || holds(&locked(&self.durable.positions)))).await;
    }

    /// The positions that became durable so far.
    #[must_use]
    pub fn durable(&self) -> BTreeMap<ShardId, Position> {
        locked(&self.durable.positions).clone()
    }

    /// The sink's elements as text.
    #[must_use]
    pub fn elements(&self) -> Vec<String> {
        self.sink.elements().iter().map(|element| String::from_utf8_lossy(element).into_owned()).collect()
    }

    /// Panics unless the sink holds what was written: nothing missing, nothing twice, each key in order.
    #[track_caller]
    pub fn expect_exact(&self) {
        let mut delivered: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for element in self.sink.elements() {
            let text = String::from_utf8_lossy(&element);
            let key = text.split(' ').next().unwrap_or_default().to_owned();
            delivered.entry(key).or_default().push(element);
        }
        assert_eq!(texts(&delivered), texts(&self.stream.written_by_key()), "left: the sink, right: the stream");
    }
}

/// The machine's time.
#[must_use]
pub fn wall() -> EpochMillis {
    Clock::start().wall()
}

/// A stream whose records are well within its retention, and older than any run.
fn place(arn: &str) -> Place {
    let stream = arn.rsplit('/').next().unwrap_or_default().to_owned();
    Place {
        stream,
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        endpoint: Some("memory:".to_owned()),
        credentials: "no credentials".to_owned(),
        role: Role::Source,
    }
}

fn young_stream(name: &str, shards: u32) -> MemoryStream {
    let stream = MemoryStream::new(name, shards);
    stream.set_now(EpochMillis(wall().0 - AGE));
    stream
}

fn texts(keys: &BTreeMap<String, Vec<Vec<u8>>>) -> BTreeMap<&str, Vec<String>> {
    let text = |data: &Vec<u8>| String::from_utf8_lossy(data).into_owned();
    keys.iter().map(|(key, all)| (key.as_str(), all.iter().map(text).collect())).collect()
}

impl Run {
    /// Asks the pipeline to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end.
    pub async fn ended(self) -> Outcome {
        let ended = soon("the end of the run", self.task).await.expect("the loop does not panic");
        Outcome { failure: ended.failure, totals: self.totals }
    }

    /// Stops the pipeline and waits for its end.
    pub async fn drained(self) -> Outcome {
        self.stop();
        self.ended().await
    }
}

impl Outcome {
    /// Panics if the run failed.
    #[track_caller]
    pub fn expect_success(self) -> Arc<Totals> {
        match self.failure {
            None => self.totals,
            Some(failure) => panic!("the run failed: {failure}"),
        }
    }

    /// Panics if the run did not fail.
    #[track_caller]
    #[must_use]
    pub fn expect_failure(self) -> Failure {
        self.failure.expect("the run fails")
    }
}
