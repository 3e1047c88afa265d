//! One history: a source that pushes, a shell that sends, a network, and a service.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use host_core::batching::{
    Action, Batcher, Destination, Entry, Failure, Options, Order, Outcome, Quota, RequestId, Setback,
};
use host_core::moment::Moment;
use host_core::patience::{RetryLimits, Trouble};

use crate::dice::Dice;
use crate::oracle::{Oracle, Seen, check};
use crate::service::{Record, Service};

/// Everything is settled so long after the last fault, or it never will be.
const END: u64 = 3_600_000;

impl Dice {
    /// Uniform in 0..1.
    fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).expect("32 bits")) / f64::from(u32::MAX)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Push,
    Wake,
    /// The service carries out a request that the network has had for a while.
    Land(RequestId),
    /// The shell hears of it.
    Hear(RequestId, Answer),
    /// The shell gives up waiting.
    GiveUp(RequestId),
    /// Others begin or cease to write to the same destinations.
    Crowd(u64),
    /// Others begin or cease to wait for what is here.
    Hurry(bool),
}

#[derive(Clone, Debug)]
enum Answer {
    /// What the service said of each entry when it carried out the request.
    Outcomes,
    Failed(Trouble),
}

#[derive(Clone, Debug)]
struct Underway {
    records: Vec<Record>,
    outcomes: Option<Result<Vec<Outcome>, String>>,
    is_waited_for: bool,
}

/// How bad things are, in percent of requests or entries.
#[derive(Clone, Debug)]
struct Faults {
    until: u64,
    lost: u64,
    late: u64,
    broken: u64,
    refused: u64,
    entry: u64,
    poison: u64,
    toxic: u64,
    crowds: bool,
}

pub(crate) struct History {
    dice: Dice,
    traced: bool,
    now: u64,
    options: Options,
    faults: Faults,
    timeout: u64,
    keys: u64,
    destinations: u64,
    batcher: Batcher<u32>,
    service: Service,
    oracle: Oracle,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    wake_at: Option<u64>,
    is_hurried: bool,
    to_push: VecDeque<Record>,
    pushed: Vec<Record>,
    underway: BTreeMap<RequestId, Underway>,
}

impl History {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let order = [Order::Free, Order::Distinct, Order::PerKey, Order::Newest][dice.size(0, 3)];
        // In calm histories nothing is throttled: what is late then is late for no reason.
        let is_calm = dice.percent(15);
        let quota = if is_calm {
            Quota { records_per_second: 1e6, bytes_per_second: 1e8 }
        } else {
            Quota { records_per_second: 30.0, bytes_per_second: 2_000.0 }
        };
        let max_count = dice.size(1, 20);
        let options = Options {
            max_count,
            max_bytes: dice.between(100, 1_500),
            max_record_bytes: 100,
            max_age: Duration::from_millis(dice.between(0, 2_000)),
            max_in_flight: dice.size(1, 6),
            max_buffered: dice.size(20, 100),
            max_buffered_bytes: dice.between(1_500, 6_000),
            max_attempts: dice.percent(30).then_some(3),
            max_entry_age: dice.percent(15).then_some(Duration::from_secs(10)),
            order,
            late_after: Duration::from_millis(dice.between(200, 4_000)),
            quota: (is_calm || dice.percent(60)).then_some(quota),
            retry: RetryLimits { min_delay: Duration::from_millis(dice.between(10, 300)), ..RetryLimits::default() },
        };
        let mut chance = |most| if is_calm || dice.percent(40) { 0 } else { dice.between(1, most) };
        let faults = Faults {
            lost: chance(15),
            late: chance(25),
            broken: chance(15),
            refused: chance(10),
            entry: chance(40),
            poison: chance(10),
            toxic: chance(10),
            crowds: chance(2) > 0,
            until: if is_calm { 0 } else { 60_000 },
        };
        let keys = [1, 3, 10, 60][dice.size(0, 3)];
        let mut history = Self {
            batcher: Batcher::new(options.clone()).expect("limits in order"),
            oracle: Oracle::new(options.clone()),
            service: Service::new(quota),
            timeout: dice.between(100, 1_500),
            keys,
            destinations: dice.between(1, 4),
            options,
            faults,
            traced,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            wake_at: None,
            is_hurried: false,
            to_push: VecDeque::new(),
            pushed: Vec::new(),
            underway: BTreeMap::new(),
            dice,
        };
        history.draw_records();
        history.draw_hurries();
        history
    }

    /// Records, and when each is there.
    fn draw_records(&mut self) {
        let spacing = [0, 20, 400][self.dice.size(0, 2)];
        let mut time = 0;
        for ticket in 0..u32::try_from(self.dice.between(1, 150)).expect("small") {
            let key = u32::try_from(self.dice.between(1, self.keys)).expect("small");
            // A key may move where its shard is split; an item stays in its table.
            let moves = self.options.order == Order::Free || self.options.order == Order::PerKey;
            let split = u64::from(ticket >= 100 && moves);
            let destination = Destination(u32::try_from((u64::from(key) + split) % self.destinations).expect("small"));
            self.to_push.push_back(Record { ticket, key, destination, bytes: self.dice.between(1, 100) });
            time += self.dice.between(0, spacing);
            self.at(time, Event::Push);
        }
        if self.faults.crowds {
            for _ in 0..4 {
                let (time, part) = (self.dice.between(0, self.faults.until), self.dice.between(1, 100));
                self.at(time, Event::Crowd(part));
            }
            self.at(self.faults.until, Event::Crowd(100));
        }
    }

    /// In half of the histories others wait for what is here, now and then: shortly, long, or twice in a row.
    fn draw_hurries(&mut self) {
        if self.dice.percent(50) {
            return;
        }
        let last = self.events.last_key_value().map_or(0, |((time, _), _)| *time);
        for _ in 0..self.dice.between(1, 12) {
            let (time, is_hurried) = (self.dice.between(0, last + 5_000), self.dice.percent(50));
            self.at(time, Event::Hurry(is_hurried));
        }
    }

    pub(crate) fn run(mut self) -> Result<Seen, String> {
        let mut arrived: VecDeque<(u64, Record)> = VecDeque::new();
        while let Some(((time, _), event)) = self.events.pop_first() {
            self.now = time;
            check(time < END, || format!("nothing ends: {:?}", self.batcher.counts()))?;
            self.tell(|| format!("{event:?}"));
            match event {
                Event::Push => arrived.extend(self.to_push.pop_front().map(|record| (time, record))),
                Event::Wake => self.wake_at = None,
                Event::Hurry(is_hurried) => {
                    self.is_hurried = is_hurried;
                    self.batcher.hurry(is_hurried);
                    self.oracle.seen.hurried += u64::from(is_hurried && !self.oracle.is_empty());
                }
                Event::Land(request) => self.land(request),
                Event::Hear(request, answer) => self.hear(request, &answer)?,
                Event::GiveUp(request) => self.give_up(request),
                Event::Crowd(part) => {
                    self.service.part = f64::from(u32::try_from(part).expect("percent")) / 100.0;
                }
            }
            self.take(&mut arrived)?;
            if self.to_push.is_empty() && arrived.is_empty() {
                self.batcher.close();
            }
            self.perform()?;
            // What the answer or the request freed may be taken now.
            if self.take(&mut arrived)? {
                self.perform()?;
            }
        }
        check(arrived.is_empty(), || format!("{} entries were never taken", arrived.len()))?;
        check(self.batcher.counts().buffered == 0, || format!("left: {:?}", self.batcher.counts()))?;
        self.oracle.concludes(&self.pushed, &self.service)?;
        self.oracle.seen.throttled = self.service.throttled;
        Ok(self.oracle.seen)
    }

    fn take(&mut self, arrived: &mut VecDeque<(u64, Record)>) -> Result<bool, String> {
        let mut took = false;
        while let Some((since, record)) = arrived.front() {
            if !self.batcher.has_room(record.bytes) {
                self.oracle.seen.full += 1;
                break;
            }
            let entry = Entry {
                ticket: record.ticket,
                key: record.key.to_be_bytes().to_vec(),
                destination: record.destination,
                bytes: record.bytes,
                arrived: Moment::from_millis(*since),
            };
            self.batcher.push(self.moment(), entry).map_err(|refused| format!("there was room: {refused:?}"))?;
            self.oracle.pushed(record);
            self.pushed.push(record.clone());
            arrived.pop_front();
            took = true;
        }
        Ok(took)
    }

    /// Does what the core asks for until it waits.
    fn perform(&mut self) -> Result<(), String> {
        loop {
            for settled in self.batcher.settled().collect::<Vec<_>>() {
                self.oracle.settled(settled)?;
            }
            self.oracle.counted(&self.batcher.counts())?;
            match self.batcher.next(self.moment()) {
                Action::Send { request, entries, bytes } => {
                    let in_flight = self.batcher.counts().in_flight;
                    let records = self.oracle.sent(&entries, bytes, in_flight)?;
                    self.tell(|| format!("{request:?} with {entries:?}"));
                    self.send(request, records);
                }
                Action::Wait(until) => {
                    check(until > self.moment(), || format!("waits at {} until {until:?}", self.now))?;
                    let until = u64::try_from(until.0.as_nanos().div_ceil(1_000_000)).expect("small");
                    if self.wake_at.is_none_or(|at| until < at) {
                        self.wake_at = Some(until);
                        self.at(until, Event::Wake);
                    }
                    self.oracle.seen.slept += 1;
                    return self.in_time();
                }
                Action::Idle => return self.in_time(),
            }
        }
    }

    /// BAT-1: where nothing fails and nothing is throttled, nothing that could be sent is older than it may be, and nothing
    /// waits at all that others wait for.
    fn in_time(&self) -> Result<(), String> {
        if self.faults.until > 0 || self.options.max_in_flight <= self.batcher.counts().in_flight {
            return Ok(());
        }
        let Some(ticket) = self.oracle.oldest_idle() else { return Ok(()) };
        let oldest = self.batcher.counts().oldest.expect("there is one");
        let is_in_time = !self.is_hurried && self.moment().since(oldest) <= self.options.max_age;
        check(is_in_time, || {
            format!("BAT-1: {ticket} waits since {oldest:?}, it is {}, hurried: {}", self.now, self.is_hurried)
        })
    }

    /// Decides what becomes of a request.
    fn send(&mut self, request: RequestId, records: Vec<Record>) {
        let faults = self.faults.clone();
        let is_bad = self.now < faults.until;
        let mut chance = |percent| is_bad && self.dice.percent(percent);
        let (is_lost, is_late, is_broken, is_refused) =
            (chance(faults.lost), chance(faults.late), chance(faults.broken), chance(faults.refused));
        self.underway.insert(request, Underway { records, outcomes: None, is_waited_for: true });
        let deadline = self.now + self.timeout;
        self.at(deadline, Event::GiveUp(request));
        let late_after = u64::try_from(self.options.late_after.as_millis()).expect("small");
        if is_refused {
            let trouble =
                [Trouble::Throttled, Trouble::Unreachable, Trouble::Denied, Trouble::Contended][self.dice.size(0, 3)];
            let heard = self.dice.between(1, self.timeout);
            self.at(self.now + heard, Event::Hear(request, Answer::Failed(trouble)));
        } else if is_broken {
            // The connection breaks; the service may have the request, now or soon.
            let broken = self.now + self.dice.between(1, self.timeout);
            if self.dice.percent(60) {
                let landing = self.dice.between(self.now + 1, broken + late_after);
                self.at(landing, Event::Land(request));
            }
            self.at(broken, Event::Hear(request, Answer::Failed(Trouble::Transient)));
        } else if is_late {
            let landing = self.dice.between(self.now + 1, deadline + late_after);
            self.at(landing, Event::Land(request));
            let heard = self.dice.between(landing.max(deadline), deadline + 2 * late_after);
            self.at(heard, Event::Hear(request, Answer::Outcomes));
        } else if !is_lost {
            let landing = self.now + self.dice.between(1, 50);
            let heard = landing + self.dice.between(0, 49);
            self.at(landing, Event::Land(request));
            self.at(heard, Event::Hear(request, Answer::Outcomes));
        }
    }

    /// The service carries out a request; within it, in any order.
    fn land(&mut self, request: RequestId) {
        let underway = self.underway.get_mut(&request).expect("it was sent");
        self.oracle.seen.landed_late += u64::from(!underway.is_waited_for);
        let is_one_in =
            |record: &Record, percent: u64, of: u32| percent > 0 && u64::from(record.ticket * of % 97) < percent;
        if underway.records.iter().any(|record| is_one_in(record, self.faults.toxic, 61)) {
            underway.outcomes = Some(Err("toxic".into()));
            return;
        }
        let mut order: Vec<_> = (0..underway.records.len()).collect();
        self.dice.shuffle(&mut order);
        let mut outcomes = vec![Outcome::Done; order.len()];
        for index in order {
            let record = &underway.records[index];
            outcomes[index] = if is_one_in(record, self.faults.poison, 31) {
                Outcome::Poison("poison".into())
            } else if self.now < self.faults.until && self.dice.percent(self.faults.entry) {
                Outcome::Retry(Setback::Failed)
            } else {
                self.service.write(self.now, record)
            };
        }
        underway.outcomes = Some(Ok(outcomes));
    }

    fn hear(&mut self, request: RequestId, answer: &Answer) -> Result<(), String> {
        let underway = self.underway.get_mut(&request).expect("it was sent");
        let (now, jitter) = (Moment::from_millis(self.now), self.dice.part());
        if underway.is_waited_for {
            self.oracle.over(&underway.records);
        }
        underway.is_waited_for = false;
        // Where a host would stop, this one goes on: what it may not do it may some time.
        let heard = match answer {
            Answer::Failed(trouble) => {
                let verdict = self.batcher.failed(now, request, Failure::Trouble(*trouble), jitter);
                format!("{verdict:?}")
            }
            Answer::Outcomes => match underway.outcomes.clone().ok_or("it landed")? {
                Ok(outcomes) => format!("{:?}", self.batcher.answered(now, request, outcomes, jitter)),
                Err(reason) => {
                    self.oracle.seen.rejected += 1;
                    format!("{:?}", self.batcher.failed(now, request, Failure::Rejected(reason), jitter))
                }
            },
        };
        self.tell(|| heard);
        Ok(())
    }

    fn give_up(&mut self, request: RequestId) {
        let underway = self.underway.get_mut(&request).expect("it was sent");
        if std::mem::take(&mut underway.is_waited_for) {
            self.oracle.over(&underway.records);
            self.oracle.seen.timed_out += 1;
            let jitter = self.dice.part();
            let verdict = self.batcher.timed_out(Moment::from_millis(self.now), request, jitter);
            self.tell(|| format!("{verdict:?}"));
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events.insert((time, self.next_event), event);
        self.next_event += 1;
    }

    const fn moment(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{:>7} {}", self.now, what());
        }
    }
}
