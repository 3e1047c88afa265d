//! One property at a time, with any steps in any order; these shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use host_core::batching::{
    Action, Batcher, Destination, Entry, Failure, Options, Order, Outcome, RequestId, Setback, Settled,
};
use host_core::moment::Moment;
use host_core::patience::{Trouble, Verdict};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push {
        key: u8,
        destination: u8,
        bytes: u8,
    },
    Next,
    /// Answers a request that may be under way, with an outcome for each entry in turn.
    Answer {
        request: u8,
        outcomes: Vec<u8>,
        jitter: f64,
    },
    Fail {
        request: u8,
        how: u8,
        jitter: f64,
    },
    Wait(u16),
    Hurry(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let outcomes = prop::collection::vec(0..8_u8, 0..6);
    prop_oneof![
        5 => (0..4_u8, 0..3_u8, 1..=20_u8).prop_map(|(key, destination, bytes)| Step::Push { key, destination, bytes }),
        5 => Just(Step::Next),
        4 => (0..6_u8, outcomes, 0.0..1.0).prop_map(|(request, outcomes, jitter)| Step::Answer { request, outcomes, jitter }),
        2 => (0..6_u8, 0..6_u8, 0.0..1.0).prop_map(|(request, how, jitter)| Step::Fail { request, how, jitter }),
        3 => (0..3_000_u16).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Hurry),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Free), Just(Order::Distinct), Just(Order::PerKey), Just(Order::Newest)]
}

fn options(order: Order, max_attempts: Option<u32>) -> Options {
    Options {
        max_count: 4,
        max_bytes: 50,
        max_record_bytes: 19,
        max_age: Duration::from_millis(500),
        max_in_flight: 3,
        max_buffered: 12,
        max_buffered_bytes: 150,
        max_attempts,
        order,
        ..Options::default()
    }
}

fn outcome(of: u8) -> Outcome {
    match of {
        0 => Outcome::Poison("p".into()),
        1 => Outcome::Retry(Setback::Throttled),
        2 => Outcome::Retry(Setback::Failed),
        _ => Outcome::Done,
    }
}

fn failure(how: u8) -> Failure {
    match how {
        0 => Failure::Trouble(Trouble::Throttled),
        1 | 2 => Failure::Trouble(Trouble::Transient),
        3 => Failure::Trouble(Trouble::Unreachable),
        4 => Failure::Rejected("r".into()),
        _ => Failure::Trouble(Trouble::Contended),
    }
}

/// What whoever uses a [`Batcher`] sees of it.
struct Bench {
    batcher: Batcher<u32>,
    options: Options,
    now: u64,
    /// Key, and destination if that makes two keys of one; and bytes.
    pushed: Vec<((u8, u8), u64)>,
    unsettled: BTreeSet<u32>,
    out: BTreeMap<RequestId, Vec<u32>>,
    requests: u64,
}

impl Bench {
    fn new(options: Options) -> Self {
        let batcher = Batcher::new(options.clone()).expect("limits in order");
        let (pushed, unsettled, out) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Self { batcher, options, now: 0, pushed, unsettled, out, requests: 0 }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = Moment::from_millis(self.now);
        match step {
            Step::Push { key, destination, bytes } => self.push(*key, *destination, u64::from(*bytes))?,
            Step::Next => self.next()?,
            Step::Answer { request, outcomes, jitter } => {
                let request = RequestId(self.requests.saturating_sub(u64::from(*request)));
                self.out.remove(&request);
                self.batcher.answered(now, request, outcomes.iter().map(|of| outcome(*of)), *jitter);
            }
            Step::Fail { request, how, jitter } => {
                let request = RequestId(self.requests.saturating_sub(u64::from(*request)));
                self.out.remove(&request);
                let verdict = self.batcher.failed(now, request, failure(*how), *jitter);
                prop_assert!(matches!(verdict, Verdict::Again { .. }), "nobody was denied anything");
            }
            Step::Wait(millis) => self.now += u64::from(*millis),
            Step::Hurry(is_hurried) => self.batcher.hurry(*is_hurried),
        }
        for settled in self.batcher.settled().collect::<Vec<_>>() {
            let (Settled::Confirmed(ticket) | Settled::DeadLetter(ticket, _)) = settled;
            prop_assert!(self.unsettled.remove(&ticket), "DEL-1: {} is settled twice", ticket);
        }
        let (counts, bytes) =
            (self.batcher.counts(), self.unsettled.iter().map(|of| self.pushed_at(*of).1).sum::<u64>());
        prop_assert!(counts.buffered <= self.options.max_buffered && counts.buffered >= self.unsettled.len());
        prop_assert!(counts.bytes <= self.options.max_buffered_bytes && counts.bytes >= bytes);
        prop_assert_eq!(counts.in_flight, self.out.len());
        Ok(())
    }

    fn push(&mut self, key: u8, destination: u8, bytes: u64) -> Result<(), TestCaseError> {
        let ticket = u32::try_from(self.pushed.len()).expect("small");
        let (now, had_room) = (Moment::from_millis(self.now), self.batcher.has_room(bytes));
        let is_part = matches!(self.options.order, Order::Distinct | Order::Newest);
        let whole_key = (key, if is_part { destination } else { 0 });
        let destination = Destination(u32::from(destination));
        let entry = Entry { ticket, key: vec![key], destination, bytes, arrived: now };
        let taken = self.batcher.push(now, entry);
        prop_assert_eq!(taken.is_ok(), had_room && bytes <= self.options.max_record_bytes);
        if taken.is_ok() {
            self.pushed.push((whole_key, bytes));
            self.unsettled.insert(ticket);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), TestCaseError> {
        let now = Moment::from_millis(self.now);
        match self.batcher.next(now) {
            Action::Send { request, entries, bytes } => {
                self.requests = request.0;
                let sum: u64 = entries.iter().map(|ticket| self.pushed_at(*ticket).1).sum();
                prop_assert!(sum == bytes && bytes <= self.options.max_bytes, "BAT-1: {} bytes", sum);
                prop_assert!((1..=self.options.max_count).contains(&entries.len()), "BAT-1: {:?}", entries);
                let keys: BTreeSet<_> = entries.iter().map(|ticket| self.pushed_at(*ticket).0).collect();
                prop_assert!(self.options.order == Order::Free || keys.len() == entries.len(), "{:?}", entries);
                for ticket in &entries {
                    prop_assert!(self.unsettled.contains(ticket), "{} is sent though settled", ticket);
                    let is_out = |other: &u32| self.pushed_at(*other).0 == self.pushed_at(*ticket).0;
                    let beside = self.out.values().flatten().any(is_out);
                    let is_free = matches!(self.options.order, Order::Free | Order::Distinct);
                    prop_assert!(is_free || !beside, "ORD-1: {} beside another", ticket);
                    let mut older = self.unsettled.iter().filter(|other| *other < ticket);
                    prop_assert!(
                        self.options.order != Order::PerKey || !older.any(is_out),
                        "ORD-1: {} overtakes",
                        ticket
                    );
                }
                prop_assert!(self.out.insert(request, entries).is_none(), "{:?} twice", request);
                prop_assert!(self.out.len() <= self.options.max_in_flight);
            }
            Action::Wait(until) => prop_assert!(until > now),
            Action::Idle => {}
        }
        Ok(())
    }

    fn pushed_at(&self, ticket: u32) -> ((u8, u8), u64) {
        self.pushed[usize::try_from(ticket).expect("small")]
    }

    /// All is well from now on: it comes to an end.
    fn end(&mut self) -> Result<(), TestCaseError> {
        self.batcher.close();
        for _ in 0..2_000 {
            let under_way: Vec<_> = self.out.keys().copied().collect();
            for request in under_way {
                let done = vec![9; 4];
                self.requests = request.0;
                self.step(&Step::Answer { request: 0, outcomes: done, jitter: 0.5 })?;
            }
            self.step(&Step::Next)?;
            self.step(&Step::Wait(50))?;
        }
        prop_assert!(self.unsettled.is_empty(), "DEL-1: never settled: {:?}", self.unsettled);
        prop_assert_eq!(self.batcher.counts().buffered, 0);
        prop_assert_eq!(self.batcher.counts().bytes, 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    /// BAT-1, DEL-1, LIM-1, ORD-1: with limits, orders and answers of any kind.
    #[test]
    fn whatever_happens_every_limit_and_every_order_is_kept_and_it_comes_to_an_end(
        order in order(),
        max_attempts in prop_oneof![Just(None), Just(Some(2))],
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut bench = Bench::new(options(order, max_attempts));
        for step in &steps {
            bench.step(step)?;
        }
        bench.end()?;
    }
}
