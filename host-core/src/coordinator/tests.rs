mod aligning;
mod assigning;
mod costs;
mod gaps;
mod losing;
mod streams;

use std::time::Duration;

use super::*;
use crate::checkpoint::{Commit, SinkMark};
use crate::shard::{HashRange, Position, SequenceNumber, ShardDescription};

const HALF: u128 = u128::MAX / 2;

/// The question for all shards of the only stream.
const LIST: Effect = Effect::List { stream: 0, scope: Scope::Full };

fn stream() -> StreamSettings {
    let start = StartPoint::AtTimestamp(EpochMillis(5));
    StreamSettings { start, start_spent: false, retention: Duration::from_secs(60) }
}

fn settings() -> Settings {
    Settings {
        streams: vec![stream()],
        parallelism: 2,
        assigner: AssignerPolicy::Uniform,
        discovery_interval: Duration::from_secs(10),
        audit_interval: Duration::from_secs(10),
        checkpoint_interval: Duration::from_secs(1),
        preserve_shard_order: true,
        until_caught_up: false,
        idle_after: Duration::from_secs(5),
        max_drift: None,
        on_gap: OnGap::Fail,
    }
}

fn id(text: &str) -> ShardId {
    ShardId::new(text)
}

fn after(sequence: u64) -> Position {
    Position::after(SequenceNumber::parse(&sequence.to_string()).expect("decimal"))
}

fn shard(text: &str, parents: &[&str], start: u128, end: u128) -> ShardDescription {
    let parents = parents.iter().map(|parent| id(parent)).collect();
    ShardDescription { id: id(text), parents, range: Some(HashRange { start, end }), closed: false }
}

fn all(text: &str, parents: &[&str]) -> ShardDescription {
    shard(text, parents, 0, u128::MAX)
}

fn receipt(shard: ShardId, session: u64, first: u64, count: u64, last: Position) -> Receipt {
    Receipt { shard, session, first, count, last, arrived: None, event_time: None, marks: Vec::new() }
}

/// A coordinator and the clock of its shell.
struct Bench {
    core: Coordinator,
    millis: u64,
}

impl Bench {
    fn new(settings: Settings, rows: Vec<ShardRow>) -> Self {
        Self { core: Coordinator::new(settings, rows, Moment::default()), millis: 0 }
    }

    fn send(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let wall = EpochMillis(i64::try_from(self.millis).expect("small"));
        self.core.handle(Moment::from_millis(self.millis), wall, event, &mut effects);
        effects
    }

    fn after(&mut self, millis: u64, event: Event) -> Vec<Effect> {
        self.millis += millis;
        self.send(event)
    }

    fn list(&mut self, shards: &[ShardDescription]) -> Vec<Effect> {
        self.send(Event::Listed { stream: 0, scope: Scope::Full, shards: shards.to_vec() })
    }

    /// A run over one shard `a` that owns every key, opened as session 1.
    fn reading_a(settings: Settings) -> Self {
        let mut bench = Self::new(settings, Vec::new());
        assert_eq!(bench.send(Event::Tick), [LIST]);
        let commit = commit(&bench.list(&[all("a", &[])]));
        assert_eq!(commit.create.len(), 1);
        let effects = bench.send(Event::Committed { id: commit.id });
        assert!(matches!(&effects[..], [Effect::Open { session: 1, .. }]), "{effects:?}");
        bench
    }

    fn read(&mut self, records: u64, last: u64) -> Vec<Effect> {
        let (shard, last) = (id("a"), after(last));
        self.send(Event::Read(ReadReport { shard, session: 1, records, last, earliest: None }))
    }

    fn deliver(&mut self, first: u64, count: u64, last: u64) -> Vec<Effect> {
        let marks = vec![SinkMark { sink: 0, mark: last }];
        let (shard, last) = (id("a"), after(last));
        self.send(Event::Delivered(Receipt { marks, ..receipt(shard, 1, first, count, last) }))
    }

    fn read_to_end(&mut self, children: Vec<ShardDescription>) -> Vec<Effect> {
        self.send(Event::ReadToEnd { shard: id("a"), session: 1, children })
    }
}

fn commits(effects: &[Effect]) -> Vec<Commit> {
    let commit = |effect: &Effect| if let Effect::Commit(commit) = effect { Some(commit.clone()) } else { None };
    effects.iter().filter_map(commit).collect()
}

fn commit(effects: &[Effect]) -> Commit {
    let commits = commits(effects);
    assert_eq!(commits.len(), 1, "{effects:?}");
    commits[0].clone()
}

#[test]
fn progress_waits_for_the_interval_and_carries_its_marks() {
    let mut bench = Bench::reading_a(settings());
    bench.read(3, 30);
    assert!(bench.deliver(0, 2, 20).is_empty());
    assert_eq!(bench.core.next_deadline(), Some(Moment::from_millis(1_000)));
    let commit = commit(&bench.after(1_000, Event::Tick));
    assert_eq!((&commit.advance[0].from, &commit.advance[0].to), (&Position::AtTimestamp(EpochMillis(5)), &after(20)));
    assert_eq!(commit.marks, [SinkMark { sink: 0, mark: 20 }]);
    assert!(bench.deliver(2, 1, 30).is_empty(), "one commit at a time");
    assert!(commits(&bench.after(1_000, Event::Tick)).is_empty());
    let next = self::commit(&bench.send(Event::Committed { id: commit.id }));
    assert_eq!((&next.advance[0].from, &next.advance[0].to), (&after(20), &after(30)));
}

#[test]
fn an_end_and_its_children_become_durable_together_and_at_once() {
    let mut bench = Bench::reading_a(settings());
    bench.read(1, 10);
    let children = vec![shard("b", &[], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)];
    assert!(
        commits(&bench.read_to_end(children)).iter().all(|commit| commit.advance.is_empty()),
        "a record is in flight"
    );
    let rows = bench.core.commits.is_out();
    assert!(rows, "the children's rows do not wait");
    bench.send(Event::Committed { id: 2 });
    let end = commit(&bench.deliver(0, 1, 10));
    assert_eq!((&end.advance[0].to, &end.advance[0].children[..]), (&Position::ShardEnd, &[id("b"), id("c")][..]));
    let opened = bench.send(Event::Committed { id: end.id });
    let from_start = |effect: &&Effect| matches!(effect, Effect::Open { from: Position::TrimHorizon, .. });
    assert_eq!(opened.iter().filter(from_start).count(), 2);
}

#[test]
fn an_end_without_children_is_asked_about_before_it_is_believed() {
    let mut bench = Bench::reading_a(settings());
    assert_eq!(bench.read_to_end(Vec::new()), [LIST]);
    assert!(bench.list(&[all("a", &[])]).is_empty());
    for fruitless in 2..=3 {
        assert_eq!(bench.after(1_000, Event::Tick), [LIST]);
        let effects = bench.list(&[all("a", &[])]);
        assert_eq!(commits(&effects).len(), usize::from(fruitless == 3), "{effects:?}");
        assert_eq!(effects.contains(&Effect::Notice(Notice::EndWithoutChildren { shard: id("a") })), fruitless == 3);
    }
}

#[test]
fn half_of_the_children_are_not_the_children() {
    let mut bench = Bench::reading_a(settings());
    bench.read_to_end(vec![shard("b", &["a"], 0, HALF)]);
    bench.send(Event::Committed { id: 2 });
    let effects = bench.list(&[all("a", &[]), shard("b", &["a"], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)]);
    let end = commit(&effects);
    assert_eq!((end.create.len(), end.advance.len()), (1, 1), "c's row and a's end");
}

#[test]
fn a_report_of_another_session_changes_nothing() {
    let mut bench = Bench::reading_a(settings());
    bench.read(1, 10);
    let (shard, last) = (id("a"), after(10));
    let receipt = receipt(shard.clone(), 9, 0, 1, last);
    bench.send(Event::Delivered(receipt));
    bench.send(Event::ReadToEnd { shard: shard.clone(), session: 9, children: Vec::new() });
    bench.send(Event::Closed { shard, session: 9 });
    let view = bench.core.shards().next().expect("a");
    assert_eq!((view.state, view.in_flight), (ShardState::Reading, 1));
    assert!(bench.after(1_000, Event::Tick).is_empty());
}

#[test]
fn a_drain_closes_waits_commits_and_finishes() {
    let mut bench = Bench::reading_a(settings());
    bench.read(1, 10);
    assert_eq!(bench.send(Event::Drain), [Effect::Close { shard: id("a"), session: 1 }]);
    bench.read(1, 11);
    assert!(bench.send(Event::Closed { shard: id("a"), session: 1 }).is_empty());
    assert!(bench.deliver(0, 1, 10).is_empty());
    let last = commit(&bench.deliver(1, 1, 11));
    assert_eq!(last.advance[0].to, after(11));
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);
    assert!(bench.send(Event::Tick).is_empty());
    assert_eq!(bench.core.next_deadline(), None);
}

#[test]
fn abandoning_keeps_what_is_confirmed_in_order() {
    let mut bench = Bench::reading_a(settings());
    bench.read(3, 30);
    bench.deliver(2, 1, 30);
    bench.deliver(0, 1, 10);
    let effects = bench.send(Event::Abandon);
    assert_eq!(effects[0], Effect::Close { shard: id("a"), session: 1 });
    let last = commit(&effects);
    assert_eq!(last.advance[0].to, after(10));
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);
}

#[test]
fn a_run_until_caught_up_finishes_by_itself() {
    let mut bench = Bench::reading_a(Settings { until_caught_up: true, ..settings() });
    bench.read(1, 10);
    assert!(bench.send(Event::CaughtUp { shard: id("a"), session: 1 }).is_empty());
    let last = commit(&bench.deliver(0, 1, 10));
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);
}

#[test]
fn children_of_a_shard_that_is_caught_up_lie_beyond_the_end() {
    let mut bench = Bench::reading_a(Settings { until_caught_up: true, ..settings() });
    bench.after(10_000, Event::Tick);
    let rows = commit(&bench.list(&[all("a", &[]), all("b", &["a"])]));
    bench.send(Event::Committed { id: rows.id });
    assert_eq!(bench.send(Event::CaughtUp { shard: id("a"), session: 1 }), [Effect::Finished]);
}

/// Which shards were opened, and whether to be read to their ends.
fn opened(effects: &[Effect]) -> Vec<(&str, bool)> {
    let mut opened = Vec::new();
    for effect in effects {
        if let Effect::Open { shard, to_its_end, .. } = effect {
            opened.push((shard.as_str(), *to_its_end));
        }
    }
    opened
}

#[test]
fn a_run_until_caught_up_reads_to_its_end_what_had_children_when_it_began() {
    let family = [all("a", &[]), all("b", &["a"])];
    for (until_caught_up, listed, to_its_end) in
        [(true, &family[..], true), (true, &family[..1], false), (false, &family, false)]
    {
        let mut bench = Bench::new(Settings { until_caught_up, ..settings() }, Vec::new());
        bench.send(Event::Tick);
        let rows = commit(&bench.list(listed));
        assert_eq!(opened(&bench.send(Event::Committed { id: rows.id })), [("a", to_its_end)]);
        let end = bench.read_to_end(vec![family[1].clone()]);
        let end = commits(&end).pop().expect("the end, and the child's row");
        assert_eq!(opened(&bench.send(Event::Committed { id: end.id })), [("b", false)], "{listed:?}");
    }
}

#[test]
fn a_hint_alone_makes_no_shard_closed() {
    let mut bench = Bench::new(Settings { until_caught_up: true, ..settings() }, Vec::new());
    bench.send(Event::Tick);
    let rows = commit(&bench.list(&[ShardDescription { closed: true, ..all("a", &[]) }]));
    assert_eq!(opened(&bench.send(Event::Committed { id: rows.id })), [("a", false)]);
}

/// What is restored could be opened at once; but a shard opened like an open one may leave its children behind.
#[test]
fn a_run_until_caught_up_opens_nothing_before_it_has_seen_the_family() {
    let row = ShardRow {
        shard: id("a"),
        parents: Vec::new(),
        children: Vec::new(),
        range: Some(HashRange { start: 0, end: u128::MAX }),
        position: after(3),
        watermark: None,
        complete_until: None,
        finished_at: None,
    };
    let mut bench = Bench::new(Settings { until_caught_up: true, ..settings() }, vec![row]);
    assert_eq!(bench.send(Event::Tick), [LIST]);
    assert!(opened(&bench.send(Event::ListingFailed { stream: 0 })).is_empty());
    assert_eq!(bench.after(1_000, Event::Tick), [LIST]);
    assert!(opened(&bench.list(&[])).is_empty(), "a stream always has shards");
    assert_eq!(bench.after(10_000, Event::Tick), [LIST]);
    assert_eq!(opened(&bench.list(&[all("a", &[]), all("b", &["a"])])), [("a", true)]);
}

#[test]
fn a_run_until_caught_up_does_not_believe_an_empty_listing_at_once() {
    let mut bench = Bench::new(Settings { until_caught_up: true, ..settings() }, Vec::new());
    bench.send(Event::Tick);
    for _ in 1..3 {
        assert!(bench.list(&[]).is_empty());
        assert_eq!(bench.after(1_000, Event::Tick), [LIST]);
    }
    let hole = HashRange { start: 0, end: u128::MAX };
    assert_eq!(bench.list(&[]), [Effect::Notice(Notice::KeySpaceGap { stream: 0, hole }), Effect::Finished]);
}

#[test]
fn a_hole_in_the_key_space_is_told_once() {
    let mut bench = Bench::new(settings(), Vec::new());
    bench.send(Event::Tick);
    let mut told = 0;
    for _ in 0..8 {
        let effects = bench.list(&[shard("a", &[], 0, HALF)]);
        let hole = HashRange { start: HALF + 1, end: u128::MAX };
        told +=
            effects.iter().filter(|effect| **effect == Effect::Notice(Notice::KeySpaceGap { stream: 0, hole })).count();
        bench.after(10_000, Event::Tick);
    }
    assert_eq!(told, 1);
}

#[test]
fn a_finished_shard_is_forgotten_only_when_retention_passed_and_no_listing_has_it() {
    let row = |text: &str, parents: &[&str], position: Position| ShardRow {
        shard: id(text),
        parents: parents.iter().map(|parent| id(parent)).collect(),
        children: Vec::new(),
        range: Some(HashRange { start: 0, end: u128::MAX }),
        finished_at: position.is_end().then_some(EpochMillis(0)),
        position,
        watermark: None,
        complete_until: None,
    };
    let rows = vec![row("a", &[], Position::ShardEnd), row("b", &["a"], after(1))];
    let mut bench = Bench::new(settings(), rows);
    let opened = bench.send(Event::Tick);
    assert!(matches!(&opened[..], [Effect::List { .. }, Effect::Open { .. }]), "a is not read again: {opened:?}");
    let (a, b) = (all("a", &[]), all("b", &["a"]));
    let forgets = |bench: &mut Bench, listing: &[ShardDescription]| {
        bench.after(30_000, Event::Tick);
        bench.list(listing);
        commits(&bench.after(1_000, Event::Tick))
    };
    assert!(forgets(&mut bench, std::slice::from_ref(&b)).is_empty(), "retention has not passed");
    assert!(forgets(&mut bench, &[a, b.clone()]).is_empty(), "it is listed");
    bench.after(30_000, Event::Tick);
    let forget = commit(&bench.list(&[b]));
    assert_eq!(forget.forget, [id("a")]);
    let effects = bench.send(Event::Committed { id: forget.id });
    assert_eq!(effects, [Effect::Notice(Notice::Forgotten { shard: id("a") })]);
    assert_eq!(bench.core.totals().shards, 1);
}

#[test]
fn a_failed_listing_is_asked_for_again() {
    let mut bench = Bench::new(settings(), Vec::new());
    assert_eq!(bench.send(Event::Tick), [LIST]);
    assert!(bench.send(Event::ListingFailed { stream: 0 }).is_empty());
    assert_eq!(bench.core.next_deadline(), Some(Moment::from_millis(1_000)));
    assert_eq!(bench.after(1_000, Event::Tick), [LIST]);
}

#[test]
fn a_child_inherits_the_watermark_and_idle_shards_hold_nobody_back() {
    let mut bench = Bench::reading_a(settings());
    let time = |millis| Some(EpochMillis(millis));
    let report = ReadReport { shard: id("a"), session: 1, records: 1, last: after(1), earliest: time(70) };
    bench.send(Event::Read(report));
    let receipt = Receipt { arrived: time(70), ..receipt(id("a"), 1, 0, 1, after(1)) };
    bench.after(200, Event::Delivered(receipt));
    assert_eq!(bench.core.watermark(), time(70));
    let children = vec![shard("b", &["a"], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)];
    let end = commit(&bench.read_to_end(children));
    assert_eq!(end.advance[0].watermark, time(70));
    bench.send(Event::Committed { id: end.id });
    assert!(bench.core.shards().all(|view| view.watermark == time(70)));
    let report = ReadReport { shard: id("b"), session: 2, records: 1, last: after(2), earliest: time(90) };
    bench.after(3_000, Event::Read(report));
    let receipt = Receipt { arrived: time(90), ..self::receipt(id("b"), 2, 0, 1, after(2)) };
    bench.after(200, Event::Delivered(receipt));
    assert_eq!(bench.core.watermark(), time(70), "c may still bring something");
    bench.after(2_000, Event::Tick);
    assert_eq!(bench.core.watermark(), time(90), "c is idle");
}

#[test]
fn a_missing_parent_is_looked_for_at_once_and_told_when_it_turns_up_late() {
    let mut bench = Bench::new(settings(), Vec::new());
    bench.send(Event::Tick);
    let child = all("b", &["a"]);
    let effects = bench.list(std::slice::from_ref(&child));
    let rows = commit(&effects);
    let missing = Effect::Notice(Notice::ParentMissing { shard: id("b"), parent: id("a") });
    assert_eq!(effects, [missing, LIST, Effect::Commit(rows.clone())]);
    assert!(bench.send(Event::Committed { id: rows.id }).is_empty(), "b waits");
    let effects = bench.list(std::slice::from_ref(&child));
    assert_eq!(effects[0], Effect::Notice(Notice::ParentPresumedExpired { parent: id("a") }));
    assert!(matches!(&effects[1..], [Effect::Open { .. }]), "{effects:?}");
    bench.after(10_000, Event::Tick);
    let effects = bench.list(&[child, all("a", &[])]);
    assert_eq!(effects[0], Effect::Notice(Notice::PresumedParentListed { parent: id("a") }));
    assert_eq!(commit(&effects).create[0].position, Position::TrimHorizon);
}

#[test]
fn an_answer_of_the_service_that_repeats_itself_changes_nothing() {
    let mut bench = Bench::reading_a(settings());
    for _ in 0..3 {
        assert!(bench.list(&[all("a", &[]), all("a", &[])]).is_empty());
    }
    assert!(bench.send(Event::Committed { id: 1 }).is_empty(), "an answer that was taken already");
}

#[test]
fn listings_that_others_ask_for_do_not_use_up_the_search_for_children() {
    let mut bench = Bench::reading_a(settings());
    bench.read_to_end(Vec::new());
    let listing = [all("a", &[]), all("z", &["gone"])];
    assert!(bench.list(&listing).contains(&LIST), "z's parent is looked for at once");
    let given_up = Effect::Notice(Notice::EndWithoutChildren { shard: id("a") });
    assert!(!bench.list(&listing).contains(&given_up));
    for last in [false, true] {
        assert_eq!(bench.after(1_000, Event::Tick), [LIST]);
        assert_eq!(bench.list(&listing).contains(&given_up), last);
    }
}
