use super::*;

const DRIFT: u64 = 1_000;

/// Shards `a` and `b`, opened as sessions 1 and 2; comparisons at every multiple of 100 ms.
struct Pair {
    bench: Bench,
    delivered: [u64; 2],
}

const NAMES: [&str; 2] = ["a", "b"];

impl Pair {
    fn new(settings: Settings) -> Self {
        let mut bench = Bench::new(settings, Vec::new());
        bench.send(Event::Tick);
        let rows = commit(&bench.list(&[shard("a", &[], 0, HALF), shard("b", &[], HALF + 1, u128::MAX)]));
        bench.send(Event::Committed { id: rows.id });
        Self { bench, delivered: [0; 2] }
    }

    fn aligned() -> Self {
        Self::new(Settings { max_drift: Some(Duration::from_millis(DRIFT)), ..settings() })
    }

    /// One record that arrived at `time` is read and delivered, and watermarks are compared.
    fn bring(&mut self, which: usize, time: i64) -> Vec<Effect> {
        let (shard, session) = (id(NAMES[which]), u64::try_from(which).expect("small") + 1);
        let (first, time) = (self.delivered[which], Some(EpochMillis(time)));
        self.delivered[which] += 1;
        let last = after(first + 1);
        let report = ReadReport { shard: shard.clone(), session, records: 1, last: last.clone(), earliest: time };
        self.bench.send(Event::Read(report));
        let (count, marks) = (1, Vec::new());
        let receipt = Receipt { shard, session, first, count, last, arrived: time, event_time: None, marks };
        self.bench.after(100, Event::Delivered(receipt))
    }

    fn paused(&self) -> Vec<bool> {
        self.bench.core.shards().map(|view| view.paused).collect()
    }
}

fn pause(which: usize) -> Effect {
    Effect::Pause { shard: id(NAMES[which]), session: u64::try_from(which).expect("small") + 1 }
}

fn resume(which: usize) -> Effect {
    Effect::Resume { shard: id(NAMES[which]), session: u64::try_from(which).expect("small") + 1 }
}

#[test]
fn a_shard_too_far_ahead_pauses_until_the_least_has_caught_up() {
    let mut pair = Pair::aligned();
    assert!(pair.bring(0, 10_000).contains(&pause(0)), "b has brought nothing yet");
    assert!(pair.bring(1, 9_000).contains(&resume(0)), "exactly the drift");
    assert!(pair.bring(0, 10_001).contains(&pause(0)));
    assert_eq!(pair.paused(), [true, false]);
    assert!(!pair.bring(1, 9_000).contains(&resume(0)));
    assert!(pair.bring(1, 10_500).contains(&resume(0)));
    assert!(pair.bring(1, 11_600).contains(&pause(1)), "now it is b that is ahead");
}

#[test]
fn nobody_pauses_without_a_drift_that_is_too_much() {
    let mut pair = Pair::new(settings());
    let effects = [pair.bring(0, 10_000), pair.bring(1, 9_000), pair.bring(0, 1_000_000)].concat();
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Commit(_))), "{effects:?}");
    assert!(pair.bench.core.next_deadline() >= Some(Moment::from_millis(1_000)), "and nobody is woken up for it");
}

#[test]
fn the_run_wakes_up_by_itself_while_somebody_is_paused() {
    let mut pair = Pair::aligned();
    pair.bring(1, 1);
    pair.bring(0, 10_000);
    assert_eq!(pair.paused(), [true, false]);
    assert_eq!(pair.bench.core.next_deadline(), Some(Moment::from_millis(pair.bench.millis + 100)));
    let effects = pair.bench.after(4_900, Event::Tick);
    assert!(!effects.contains(&resume(0)), "b is not idle yet");
    assert!(pair.bench.after(100, Event::Tick).contains(&resume(0)), "b is");
    assert!(pair.bench.core.next_deadline() > Some(Moment::from_millis(pair.bench.millis + 100)));
}

#[test]
fn a_shard_that_never_brings_anything_is_waited_for_until_it_is_idle_and_no_longer() {
    let mut pair = Pair::aligned();
    let report = ReadReport { shard: id("b"), session: 2, records: 1, last: after(1), earliest: None };
    pair.bench.send(Event::Read(report));
    assert!(pair.bring(0, 10_000).contains(&pause(0)));
    assert!(!pair.bench.after(4_800, Event::Tick).contains(&resume(0)));
    assert!(pair.bench.after(100, Event::Tick).contains(&resume(0)), "although b has a record in flight");
}

#[test]
fn a_paused_shard_is_never_idle_and_one_that_is_resumed_not_at_once() {
    let mut pair = Pair::aligned();
    pair.bring(1, 1);
    pair.bring(0, 10_000);
    for time in 1..80 {
        pair.bring(1, time);
        assert_eq!(pair.paused(), [true, false]);
    }
    assert!(pair.bring(1, 40_000).contains(&resume(0)));
    assert!(pair.paused()[1]);
    assert_eq!(pair.bench.core.watermark(), Some(EpochMillis(10_000)), "a is silent because it was told to be");
}

#[test]
fn a_drain_closes_paused_readers_and_resumes_none() {
    let mut pair = Pair::aligned();
    pair.bring(1, 1);
    pair.bring(0, 10_000);
    let closes = NAMES.map(|name| Effect::Close { shard: id(name), session: if name == "a" { 1 } else { 2 } });
    assert_eq!(pair.bench.send(Event::Drain)[..2], closes);
    for (session, name) in (1..).zip(NAMES) {
        let effects = pair.bench.after(10_000, Event::Closed { shard: id(name), session });
        assert!(!effects.contains(&resume(0)), "{effects:?}");
    }
    assert_eq!(pair.bench.core.shards().filter(|view| view.state == ShardState::Closed).count(), 2);
}

#[test]
fn a_run_until_caught_up_ends_although_somebody_is_paused() {
    let mut pair = Pair::new(Settings {
        max_drift: Some(Duration::from_millis(DRIFT)),
        until_caught_up: true,
        idle_after: Duration::from_secs(3_600),
        ..settings()
    });
    pair.bring(1, 1);
    pair.bring(0, 10_000);
    pair.bench.send(Event::CaughtUp { shard: id("b"), session: 2 });
    let effects = pair.bench.after(100, Event::Tick);
    assert!(effects.contains(&resume(0)), "b brings nothing more in this run: {effects:?}");
    let effects = pair.bench.send(Event::CaughtUp { shard: id("a"), session: 1 });
    let last = commits(&effects).pop();
    let effects = last.map_or(effects, |last| pair.bench.send(Event::Committed { id: last.id }));
    assert!(effects.contains(&Effect::Finished), "{effects:?}");
}

#[test]
fn a_child_that_waits_for_its_other_parent_holds_nobody() {
    let mut pair = Pair::aligned();
    pair.bring(0, 1);
    pair.bring(1, 1);
    let child = all("m", &["a", "b"]);
    pair.bench.send(Event::ReadToEnd { shard: id("b"), session: 2, children: vec![child] });
    pair.bench.after(5_000, Event::Tick);
    for time in [2_000, 20_000, 40_000] {
        pair.bring(0, time);
        assert!(!pair.paused()[0], "{time}");
    }
}

#[test]
fn event_times_are_aligned_by_event_time() {
    let mut pair = Pair::aligned();
    let mut deliver = |session: u64, first: u64, arrival: i64, times: (i64, i64)| {
        let (shard, last) = (id(NAMES[usize::from(session == 2)]), after(first + 1));
        let arrived = Some(EpochMillis(arrival));
        let report = ReadReport { shard: shard.clone(), session, records: 1, last: last.clone(), earliest: arrived };
        pair.bench.send(Event::Read(report));
        let event_time = Some((EpochMillis(times.0), EpochMillis(times.1)));
        let receipt = Receipt { shard, session, first, count: 1, last, arrived, event_time, marks: Vec::new() };
        pair.bench.after(100, Event::Delivered(receipt))
    };
    deliver(1, 0, 900_000, (5, 5));
    deliver(2, 0, 1, (5, 5));
    let effects = deliver(2, 1, 2, (1_005, 90_000));
    assert!(!effects.contains(&pause(1)), "what is made and not delivered holds b back itself: {effects:?}");
    let effects = deliver(2, 2, 3, (90_000, 90_000));
    assert!(effects.contains(&pause(1)), "{effects:?}");
    let view: Vec<_> = pair.bench.core.shards().map(|view| view.watermark).collect();
    assert_eq!(view, [Some(EpochMillis(5)), Some(EpochMillis(90_000))]);
    assert_eq!(pair.bench.core.watermark(), Some(EpochMillis(5)));
}

#[test]
fn a_shard_with_nothing_in_it_is_not_waited_for_once_its_reader_says_so() {
    let mut pair = Pair::aligned();
    assert!(pair.bring(0, 10_000).contains(&pause(0)));
    let effects = pair.bench.after(100, Event::AtTip { shard: id("b"), session: 2, at: EpochMillis(10_000) });
    assert!(effects.contains(&resume(0)), "{effects:?}");
}

#[test]
fn a_reader_that_only_says_that_it_is_at_the_tip_is_idle() {
    let mut pair = Pair::new(settings());
    pair.bring(1, 1);
    pair.bring(0, 10_000);
    for _ in 0..6 {
        pair.bench.after(1_000, Event::AtTip { shard: id("b"), session: 2, at: EpochMillis(10_000) });
        pair.bring(0, 10_000);
    }
    assert_eq!(pair.bench.core.watermark(), Some(EpochMillis(10_000)));
}
