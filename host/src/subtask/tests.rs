//! A subtask with stand-ins for its components, and a naive model of what becomes of each record.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use host_core::delivery::{PoisonPolicy, TrapPolicy};
use tokio::time::Instant;

use crate::columns::{Column, ElementBatch, NO_ARRIVAL, RecordView, cut};
use crate::component::deserializer::RecordError;
use crate::component::error::{ErrorClass, GuestError};
use crate::config::Unrouted;
use crate::convert::Convert;
use crate::entry::{Converted, Entries, KinesisEntry};
use crate::sink::thread::{Delivery, Outgoing};
use crate::source::reader::position_of;

use super::*;

mod property;

/// Routes of the stand-in's elements.
const ROUTES: [&str; 3] = ["a", "b", "c"];

/// What a component does wrong with an input, up to and including this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Poison,
    Retryable(u32),
    Fatal(u32),
    Trap(u32),
    /// An error of the whole batch.
    Batch(ErrorClass, u32),
}

impl Fault {
    fn until(self) -> u32 {
        match self {
            Self::Poison => u32::MAX,
            Self::Retryable(until) | Self::Fatal(until) | Self::Trap(until) | Self::Batch(_, until) => until,
        }
    }

    /// What is said of the input at this attempt: an error of its own, or one of the whole call.
    fn strike(self, during: &'static str, attempt: u32) -> Result<Option<GuestError>, ComponentError> {
        let error = |class| GuestError { class, code: "scripted".to_owned(), message: "as the test says".to_owned() };
        if attempt > self.until() {
            return Ok(None);
        }
        match self {
            Self::Poison => Ok(Some(error(ErrorClass::Poison))),
            Self::Retryable(_) => Ok(Some(error(ErrorClass::Retryable))),
            Self::Fatal(_) => Ok(Some(error(ErrorClass::Fatal))),
            Self::Trap(_) => {
                Err(ComponentError::Trapped { during, reason: "unreachable".to_owned(), last_words: None })
            }
            Self::Batch(class, _) => Err(ComponentError::Refused { during, error: error(class) }),
        }
    }
}

/// What a converter does with an element.
#[derive(Clone, Copy, Debug, Default)]
struct Act {
    fault: Option<Fault>,
    entries: u8,
}

/// An element: its route, counted from 1, and what each converter does with it.
#[derive(Clone, Debug, Default)]
struct Piece {
    route: u32,
    acts: Vec<Act>,
}

/// What the deserializer does with a record.
#[derive(Clone, Debug, Default)]
struct Script {
    fault: Option<Fault>,
    pieces: Vec<Piece>,
}

/// A subtask's world.
#[derive(Clone, Debug)]
struct Plan {
    records: Vec<Script>,
    /// How many records each batch has.
    batch: usize,
    /// `when` of each converter's sink.
    converters: Vec<Vec<String>>,
    /// `when` of each sink that takes elements as they are.
    plain: Vec<Vec<String>>,
    policy: OnError,
    unrouted: Unrouted,
    is_routed: bool,
    has_times: bool,
    has_keys: bool,
    /// The run is given up while converters have this record.
    given_up_at: Option<usize>,
}

/// What stand-ins were asked for, in order: who, how many inputs, which attempt.
type Calls = Arc<Mutex<Vec<(String, usize, u32)>>>;

fn log(calls: &Calls, who: &str, inputs: usize, attempt: u32) {
    calls.lock().unwrap_or_else(PoisonError::into_inner).push((who.to_owned(), inputs, attempt));
}

/// What a subtask did.
#[derive(Debug, Default)]
struct Ran {
    elements: Vec<String>,
    /// For each sink: the record that each entry came from, and the entry.
    entries: BTreeMap<u32, Vec<(u64, String)>>,
    /// How many records are confirmed, in order and without a hole.
    confirmed: u64,
    failure: Option<Failure>,
    /// Records skipped and filtered, elements dropped, instances given up.
    counts: [u64; 4],
    calls: Vec<(String, usize, u32)>,
    took: Duration,
}

struct Maker {
    plan: Arc<Plan>,
    calls: Calls,
}

struct Converter {
    plan: Arc<Plan>,
    index: usize,
    calls: Calls,
    abandoned: Arc<AtomicBool>,
}

fn place(text: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(text).expect("the test writes text");
    let (record, piece) = text.split_once('.').unwrap_or((text, "0"));
    (record.parse().expect("a number"), piece.parse().expect("a number"))
}

fn arrival(record: usize) -> i64 {
    if record.is_multiple_of(3) { NO_ARRIVAL } else { 1_000 + i64::try_from(record).expect("a small number") }
}

fn key(record: usize) -> String {
    format!("key-{}", record % 4)
}

impl Deserialize for Maker {
    fn deserialize(
        &mut self,
        _shard: &ShardContext,
        records: &RecordColumns,
        delivery: deserializer::Delivery,
    ) -> Result<Deserialized, ComponentError> {
        log(&self.calls, "deserializer", records.len(), delivery.attempt);
        let mut made = Deserialized::default();
        for (input_index, data) in (0_u32..).zip(records.data.iter()) {
            let (number, _) = place(data);
            let Script { fault, pieces } = &self.plan.records[number];
            let struck = fault.map_or(Ok(None), |fault| fault.strike("deserialize", delivery.attempt))?;
            if let Some(error) = struck {
                made.errors.push(RecordError { input_index, error });
                continue;
            }
            for (nth, piece) in pieces.iter().enumerate() {
                made.input_index.push(input_index);
                made.elements.payload.push(format!("{number}.{nth}").as_bytes());
                if self.plan.is_routed {
                    made.elements.route.push(piece.route);
                }
                if self.plan.has_times {
                    made.elements.event_time.push(i64::try_from(nth).expect("few elements"));
                }
                if self.plan.has_keys {
                    made.elements.key.push(format!("own-{nth}").as_bytes());
                }
            }
        }
        made.elements.routes = ROUTES.map(str::to_owned).to_vec();
        Ok(made)
    }

    fn renew(&mut self) {
        log(&self.calls, "deserializer renewed", 0, 0);
    }

    fn close(self: Box<Self>, _time: EpochMillis) {
        log(&self.calls, "deserializer closed", 0, 0);
    }
}

impl Converter {
    /// A converter may rely on it: each element has an event time and a key.
    fn look_at(&self, elements: &ElementBatch, nth: usize, delivery: deserializer::Delivery) {
        let (record, piece) = place(elements.payload.get(nth));
        let time = match arrival(record) {
            _ if self.plan.has_times => i64::try_from(piece).expect("few elements"),
            NO_ARRIVAL => delivery.time.0,
            arrival => arrival,
        };
        let key = if self.plan.has_keys { format!("own-{piece}") } else { key(record) };
        assert_eq!((elements.event_time[nth], elements.key.get(nth)), (time, key.as_bytes()));
        let routed = self.plan.records[record].pieces[piece].route;
        assert_eq!(elements.route.get(nth).copied(), self.plan.is_routed.then_some(routed));
        assert!(self.plan.admits(&self.plan.converters[self.index], routed), "not routed there");
    }
}

impl Convert for Converter {
    fn convert(
        &mut self,
        elements: &ElementBatch,
        delivery: deserializer::Delivery,
    ) -> Result<Converted, ComponentError> {
        log(&self.calls, &format!("converter {}", self.index), elements.len(), delivery.attempt);
        assert!(!elements.is_empty(), "nothing to convert");
        let (mut input_index, mut entries, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, payload) in elements.payload.iter().enumerate() {
            self.look_at(elements, nth, delivery);
            let (record, piece) = place(payload);
            if self.plan.given_up_at == Some(record) {
                self.abandoned.store(true, Ordering::Relaxed);
            }
            let act = self.plan.records[record].pieces[piece].acts[self.index];
            let element = u32::try_from(nth).expect("few elements");
            let struck = act.fault.map_or(Ok(None), |fault| fault.strike("convert", delivery.attempt))?;
            if let Some(error) = struck {
                errors.push(RecordError { input_index: element, error });
                continue;
            }
            for entry in 0..act.entries {
                input_index.push(element);
                entries.push(KinesisEntry {
                    partition_key: format!("{record}.{piece}.{entry}"),
                    explicit_hash_key: None,
                    data: Vec::new(),
                });
            }
        }
        Ok(Converted { input_index, entries: Entries::Kinesis(entries), errors })
    }

    fn renew(&mut self) {
        log(&self.calls, &format!("converter {} renewed", self.index), 0, 0);
    }

    fn close(self: Box<Self>, _time: EpochMillis) {
        log(&self.calls, &format!("converter {} closed", self.index), 0, 0);
    }
}

impl Plan {
    /// Passes over what cannot be delivered; one sink takes elements as they are, and one has a converter.
    fn new(records: Vec<Script>) -> Self {
        let policy = OnError { poison: PoisonPolicy::Skip, trap: TrapPolicy::Bisect, max_attempts: 3 };
        Self {
            batch: records.len().max(1),
            records,
            converters: vec![Vec::new()],
            plain: vec![Vec::new()],
            policy,
            unrouted: Unrouted::Fail,
            is_routed: false,
            has_times: false,
            has_keys: false,
            given_up_at: None,
        }
    }

    /// A record for each of these acts, which is that of the only converter with the record's only element.
    fn of_acts(acts: &[Act]) -> Self {
        let script = |act: &Act| Script { fault: None, pieces: vec![Piece { route: 0, acts: vec![*act] }] };
        Self::new(acts.iter().map(script).collect())
    }

    fn admits(&self, when: &[String], route: u32) -> bool {
        let name = route.checked_sub(1).map(|index| ROUTES[index as usize]);
        !self.is_routed || when.is_empty() || name.is_none_or(|name| when.iter().any(|taken| taken == name))
    }

    /// The sink of each converter: the plain ones come first.
    fn sink(&self, converter: usize) -> u32 {
        u32::try_from(self.plain.len() + converter).expect("few sinks")
    }

    fn records(&self) -> Vec<RecordColumns> {
        let rows: Vec<_> = (0..self.records.len())
            .map(|number| (format!("{}", 100 + number), key(number), format!("{number}")))
            .collect();
        let batch = |(nth, rows): (usize, &[(String, String, String)])| {
            let rows: Vec<_> = rows.iter().enumerate().map(|(at, row)| (nth * self.batch + at, row)).collect();
            cut(&rows, usize::MAX, |(number, (sequence_number, partition_key, data))| RecordView {
                sequence_number,
                arrival: arrival(*number),
                partition_key,
                kms: false,
                data: data.as_bytes(),
            })
            .remove(0)
        };
        rows.chunks(self.batch).enumerate().map(batch).collect()
    }

    fn components(self: &Arc<Self>, calls: &Calls, abandoned: &Arc<AtomicBool>) -> Components {
        let converting = |(index, when): (usize, &Vec<String>)| Converting {
            sink: self.sink(index),
            name: format!("sink-{index}"),
            when: when.clone(),
            converter: Box::new(Converter {
                plan: Arc::clone(self),
                index,
                calls: Arc::clone(calls),
                abandoned: Arc::clone(abandoned),
            }),
        };
        Components {
            deserializer: Box::new(Maker { plan: Arc::clone(self), calls: Arc::clone(calls) }),
            // In the order in which nobody relies on it.
            converters: self.converters.iter().enumerate().rev().map(converting).collect(),
        }
    }

    /// Runs a subtask on the plan's records, in paused time.
    fn run(&self) -> Ran {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.clone().run_on(Handle::current))
    }

    async fn run_on(self, handle: impl FnOnce() -> Handle) -> Ran {
        let (plan, calls, totals) = (Arc::new(self), Calls::default(), Arc::new(Totals::default()));
        let label = StreamLabel { arn: "arn".to_owned(), name: "stream".to_owned() };
        let around = Surroundings {
            streams: Arc::new([label]),
            policy: plan.policy,
            routing: Arc::new(Routing::new(plan.plain.clone(), plan.unrouted)),
            abandoned: Arc::default(),
            hurry: CancellationToken::new(),
            runtime: handle(),
            clock: Clock::start(),
            totals: Arc::clone(&totals),
        };
        let (sinks, mut deliveries) = mpsc::channel(64);
        let (queue, batches) = mpsc::channel(64);
        let components = plan.components(&calls, &around.abandoned);
        let begun = Instant::now();
        let thread = Subtask { index: 0, around, sinks }.spawn("lane", move || Ok(components), batches);
        let shard = ShardId::new("shardId-000000000000");
        let (budget, mut first) = (Budget::new(1 << 20), 0);
        for records in plan.records() {
            let count = records.len() as u64;
            let held = budget.nothing().take(records.size());
            let batch = Batch { shard: shard.clone(), session: 1, first, records, millis_behind_latest: None, held };
            first += count;
            if queue.send(batch).await.is_err() {
                // It has stopped, and says why below.
                break;
            }
        }
        drop(queue);
        let mut ran = Ran::default();
        while let Some(message) = deliveries.recv().await {
            match message {
                ToSinks::Deliver(delivery) => ran.take_in(&plan, *delivery),
                ToSinks::Failed(failure) => assert!(ran.failure.replace(failure).is_none(), "fails once"),
                ToSinks::Lost { .. } => panic!("the subtask is lost"),
            }
        }
        ran.took = begun.elapsed();
        thread.expect("a thread").join().expect("it ends in order");
        assert!(ran.failure.is_some() || budget.held() == 0, "room is given back");
        ran.counts = [&totals.skipped, &totals.filtered, &totals.unrouted, &totals.restarts].map(|total| total.get());
        ran.calls = std::mem::take(&mut *calls.lock().expect("nobody panicked"));
        ran
    }
}

impl Ran {
    fn take_in(&mut self, plan: &Plan, delivery: Delivery) {
        let Delivery { receipt, elements, outgoing, made, .. } = delivery;
        assert_eq!(receipt.first, self.confirmed, "receipts leave no hole");
        assert!(receipt.count > 0);
        let after = |record: u64| {
            let columns = Plan { batch: plan.records.len(), ..plan.clone() }.records().remove(0);
            position_of(&columns, usize::try_from(record).expect("a small number")).expect("it has a position")
        };
        assert_eq!(receipt.last, after(receipt.first + receipt.count - 1));
        self.confirmed += receipt.count;
        self.elements.extend(elements.payload.iter().map(|payload| String::from_utf8_lossy(payload).into_owned()));
        let own = |has: bool| if has { elements.len() } else { 0 };
        assert_eq!((elements.event_time.len(), elements.key.len()), (own(plan.has_times), own(plan.has_keys)));
        assert_eq!(made.is_some(), plan.has_times && !elements.is_empty());
        for Outgoing { sink, entries, record, stations } in outgoing {
            assert!(!entries.is_empty() && entries.len() == record.len() && record.is_sorted());
            let Entries::Kinesis(entries) = entries else { panic!("the stand-ins make records") };
            for &record in &record {
                assert_eq!(stations.position(record), Some(after(receipt.first + u64::from(record))));
            }
            let numbered = record.iter().map(|&record| receipt.first + u64::from(record));
            let texts = entries.into_iter().map(|entry| entry.partition_key);
            self.entries.entry(sink).or_default().extend(numbered.zip(texts));
        }
    }

    /// How often somebody was asked, and with how many inputs at which attempt.
    fn calls_of(&self, who: &str) -> Vec<(usize, u32)> {
        self.calls
            .iter()
            .filter(|(called, _, _)| called == who)
            .map(|(_, inputs, attempt)| (*inputs, *attempt))
            .collect()
    }

    fn reason(self) -> String {
        match self.failure {
            Some(Failure::Poison { reason, .. } | Failure::Trap { reason, .. } | Failure::NoRoom { reason, .. }) => {
                reason
            }
            other => panic!("refused nothing: {other:?}"),
        }
    }
}

const ONE: Act = Act { fault: None, entries: 1 };
const NONE: Act = Act { fault: None, entries: 0 };

const fn failing(fault: Fault) -> Act {
    Act { fault: Some(fault), entries: 1 }
}

/// DEL-1: a record that a converter refuses is passed over, with all of its elements and entries and nobody else's.
#[test]
fn a_record_that_a_converter_refuses_goes_to_no_sink_and_its_neighbours_to_all() {
    let mut plan = Plan::of_acts(&[ONE, failing(Fault::Poison), ONE]);
    plan.converters = vec![Vec::new(); 3];
    for script in &mut plan.records {
        let act = script.pieces[0].acts[0];
        // The second of two elements, at the second of three sinks.
        let sound = Piece { route: 0, acts: vec![ONE; 3] };
        script.pieces = vec![sound, Piece { route: 0, acts: vec![ONE, act, ONE] }];
    }
    let ran = plan.run();
    assert_eq!(ran.elements, ["0.0", "0.1", "2.0", "2.1"]);
    let wanted = [(0, "0.0.0"), (0, "0.1.0"), (2, "2.0.0"), (2, "2.1.0")].map(|(at, text)| (at, text.to_owned()));
    for sink in 1..=3 {
        assert_eq!(ran.entries[&sink], wanted, "sink {sink}");
    }
    assert_eq!((ran.confirmed, ran.counts), (3, [1, 0, 0, 0]));
    assert_eq!(ran.calls_of("converter 2"), [(4, 1)], "what was refused before is not shown to it");
}

/// DEL-1: what a converter makes nothing of is filtered if no other sink has it.
#[test]
fn a_record_is_filtered_if_nothing_of_it_goes_anywhere() {
    let mut plan = Plan::of_acts(&[ONE, NONE, NONE]);
    assert_eq!(plan.run().counts, [0; 4], "a plain sink has them");
    plan.plain.clear();
    assert_eq!(plan.run().counts, [0, 2, 0, 0]);
}

#[test]
fn what_a_converter_can_do_later_is_tried_again_after_pauses_and_nothing_overtakes_it() {
    let ran = Plan::of_acts(&[ONE, failing(Fault::Retryable(2)), ONE]).run();
    assert_eq!(ran.elements, ["0.0", "1.0", "2.0"]);
    assert_eq!(ran.calls_of("deserializer"), [(3, 1), (2, 2), (2, 3)]);
    assert_eq!(ran.calls_of("converter 0"), [(3, 1), (2, 2), (2, 3)]);
    assert_eq!((ran.took, ran.counts), (Duration::from_millis(300), [0; 4]));
}

#[test]
fn attempts_count_for_the_record_at_the_front_alone() {
    let ran = Plan::of_acts(&[failing(Fault::Retryable(1)), failing(Fault::Retryable(2))]).run();
    assert_eq!(ran.calls_of("converter 0"), [(2, 1), (2, 2), (1, 2), (1, 3)]);
    assert_eq!((ran.elements.len(), ran.counts), (2, [0; 4]));
}

#[test]
fn a_record_on_which_a_converter_breaks_is_found_by_halving() {
    let mut acts = [ONE; 8];
    acts[5] = failing(Fault::Trap(u32::MAX));
    let ran = Plan::of_acts(&acts).run();
    assert_eq!(ran.elements, ["0.0", "1.0", "2.0", "3.0", "4.0", "6.0", "7.0"]);
    let halves = [(8, 1), (4, 1), (4, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 3), (2, 1)];
    assert_eq!(ran.calls_of("converter 0"), halves);
    assert_eq!(ran.calls_of("deserializer"), halves);
    assert_eq!(ran.counts, [1, 0, 0, 6]);
}

#[test]
fn a_reason_names_the_sink_whose_converter_it_was() {
    let reason = |fault, trap| {
        let mut plan = Plan::of_acts(&[ONE, failing(fault)]);
        plan.policy = OnError { poison: PoisonPolicy::Fail, trap, max_attempts: 2 };
        let ran = plan.run();
        (ran.confirmed, ran.reason())
    };
    let refused = "sink \"sink-0\": scripted: as the test says".to_owned();
    assert_eq!(reason(Fault::Poison, TrapPolicy::Bisect), (1, refused.clone()));
    assert_eq!(reason(Fault::Retryable(9), TrapPolicy::Bisect), (1, refused));
    for (policy, confirmed) in [(TrapPolicy::Bisect, 1), (TrapPolicy::Fail, 0)] {
        let (stopped, reason) = reason(Fault::Trap(9), policy);
        assert!(reason.starts_with("sink \"sink-0\": the component trapped in convert"), "{reason}");
        assert_eq!(stopped, confirmed);
    }
}

#[test]
fn the_first_sink_in_the_manifest_names_the_error_of_a_record() {
    let mut plan = Plan::of_acts(&[ONE]);
    plan.policy.poison = PoisonPolicy::Fail;
    plan.converters = vec![Vec::new(); 3];
    plan.records[0].pieces[0].acts = vec![ONE, failing(Fault::Poison), failing(Fault::Trap(9))];
    let ran = plan.run();
    assert!(ran.calls_of("converter 2").is_empty(), "nothing is left for it");
    assert!(ran.reason().starts_with("sink \"sink-1\""));
}

#[test]
fn a_converter_that_calls_itself_suspect_is_renewed_and_nobody_else_is() {
    let mut plan = Plan::of_acts(&[ONE, failing(Fault::Fatal(1)), ONE]);
    plan.converters = vec![Vec::new(); 2];
    plan.records.iter_mut().for_each(|script| script.pieces[0].acts.push(ONE));
    let ran = plan.run();
    assert_eq!(ran.elements, ["0.0", "1.0", "2.0"]);
    assert_eq!(ran.calls_of("converter 0 renewed").len() as u64, ran.counts[3]);
    assert!(ran.counts[3] > 0 && ran.calls_of("converter 1 renewed").is_empty());
    assert!(ran.calls_of("deserializer renewed").is_empty());
}

#[test]
fn components_are_closed_in_the_order_in_which_records_go_through_them() {
    let mut plan = Plan::new(vec![Script::default()]);
    plan.converters = vec![Vec::new(); 3];
    let ran = plan.run();
    let closed: Vec<_> = ran.calls.iter().filter_map(|(who, _, _)| who.strip_suffix(" closed")).collect();
    assert_eq!(closed, ["deserializer", "converter 0", "converter 1", "converter 2"]);
}

#[test]
fn a_converter_that_comes_back_after_the_run_was_given_up_delivers_nothing_and_nobody_else_is_asked() {
    for act in [ONE, failing(Fault::Poison), failing(Fault::Trap(9))] {
        let mut plan = Plan::of_acts(&[ONE, ONE, act, ONE]);
        plan.converters = vec![Vec::new(); 2];
        plan.records.iter_mut().for_each(|script| script.pieces[0].acts.push(ONE));
        (plan.batch, plan.given_up_at) = (1, Some(2));
        let ran = plan.run();
        assert_eq!((ran.confirmed, ran.counts, ran.failure.is_none()), (2, [0; 4], true));
        assert_eq!(ran.calls_of("converter 0").len(), 3);
        assert_eq!(ran.calls_of("converter 1").len(), 2);
    }
}

/// Records with an element on each of these routes.
fn routed(routes: &[u32]) -> Plan {
    let script = |&route: &u32| Script { fault: None, pieces: vec![Piece { route, acts: vec![ONE] }] };
    let mut plan = Plan::new(routes.iter().map(script).collect());
    plan.is_routed = true;
    plan.plain = vec![vec!["a".to_owned()]];
    plan.converters = vec![vec!["b".to_owned()]];
    plan
}

#[test]
fn an_element_that_no_sink_takes_stops_the_run_right_before_its_record() {
    let ran = routed(&[1, 0, 2, 3, 1]).run();
    assert_eq!(ran.elements, ["0.0", "1.0", "2.0"]);
    assert_eq!(ran.entries[&1], [(1, "1.0.0".to_owned()), (2, "2.0.0".to_owned())]);
    assert_eq!(ran.confirmed, 3);
    assert!(matches!(ran.failure, Some(Failure::Route { route, .. }) if route == "c"));
}

#[test]
fn elements_that_no_sink_takes_are_dropped_and_counted_where_the_manifest_says_so() {
    let mut plan = routed(&[1, 3, 2]);
    plan.unrouted = Unrouted::Drop;
    // Beside another element of its record, too.
    plan.records[0].pieces.push(Piece { route: 3, acts: vec![ONE] });
    let ran = plan.run();
    assert!(ran.failure.is_none());
    assert_eq!(ran.elements, ["0.0", "2.0"]);
    assert_eq!((ran.confirmed, ran.counts), (3, [0, 0, 2, 0]), "dropped is told and not filtered");
}

/// Notes where the payloads lie that it is shown.
struct Peeking(Arc<AtomicU64>);

impl Convert for Peeking {
    fn convert(
        &mut self,
        elements: &ElementBatch,
        _delivery: deserializer::Delivery,
    ) -> Result<Converted, ComponentError> {
        self.0.store(elements.payload.bytes.as_ptr().addr() as u64, Ordering::Relaxed);
        Ok(Converted { input_index: Vec::new(), entries: Entries::Kinesis(Vec::new()), errors: Vec::new() })
    }

    fn renew(&mut self) {}

    fn close(self: Box<Self>, _time: EpochMillis) {}
}

#[test]
fn payloads_that_a_sink_takes_whole_are_not_copied_on_their_way() {
    let records = Plan::new(vec![Script::default(); 2]).records().remove(0);
    let mut payload = Column::default();
    payload.push(b"one");
    payload.push(b"two");
    let made_at = payload.bytes.as_ptr().addr() as u64;
    let elements = ElementBatch { payload, ..ElementBatch::default() };
    let made = Deserialized { input_index: vec![0, 1], elements, errors: Vec::new() };
    let policy = Plan::new(Vec::new()).policy;
    let judge = Judge { policy, range: Range { from: 0, to: 2, attempt: 1 } };
    let mut draft = Draft::new(made, 2, judge);
    let seen_at = Arc::new(AtomicU64::new(0));
    let mut converting = Converting {
        sink: 1,
        name: "peeking".to_owned(),
        when: vec!["a".to_owned()],
        converter: Box::new(Peeking(Arc::clone(&seen_at))),
    };
    let share = draft.share(&converting.when);
    let delivery = deserializer::Delivery { attempt: 1, time: EpochMillis(0) };
    drop(draft.convert(&mut converting, &share, &records, delivery).expect("it is asked"));
    draft.take_back();
    assert_eq!(seen_at.load(Ordering::Relaxed), made_at);
    assert_eq!(draft.elements.payload.bytes.as_ptr().addr() as u64, made_at);
}
