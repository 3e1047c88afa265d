use super::*;

fn two() -> Settings {
    let late = StreamSettings { start: StartPoint::TrimHorizon, ..stream() };
    Settings { streams: vec![stream(), late], audit_interval: Duration::from_secs(60), ..settings() }
}

fn listed(stream: u32, scope: Scope, shards: &[ShardDescription]) -> Event {
    Event::Listed { stream, scope, shards: shards.to_vec() }
}

fn full(stream: u32) -> Effect {
    Effect::List { stream, scope: Scope::Full }
}

#[test]
fn equal_ids_of_two_streams_are_two_shards_with_starts_of_their_own() {
    let mut bench = Bench::new(two(), Vec::new());
    assert_eq!(bench.send(Event::Tick), [full(0), full(1)]);
    let first = commit(&bench.send(listed(0, Scope::Full, &[all("a", &[])])));
    bench.send(listed(1, Scope::Full, &[all("a", &[])]));
    let mut effects = bench.send(Event::Committed { id: first.id });
    let second = commit(&effects);
    effects.extend(bench.send(Event::Committed { id: second.id }));
    let opened = |effect: &Effect| match effect {
        Effect::Open { shard, from, .. } => Some((shard.stream(), from.clone())),
        Effect::List { .. }
        | Effect::Close { .. }
        | Effect::Pause { .. }
        | Effect::Resume { .. }
        | Effect::Assign(_)
        | Effect::Commit(_)
        | Effect::Stop(_)
        | Effect::Notice(_)
        | Effect::Finished => None,
    };
    let opened: Vec<_> = effects.iter().filter_map(opened).collect();
    assert_eq!(opened, [(0, Position::AtTimestamp(EpochMillis(5))), (1, Position::TrimHorizon)]);
    assert_eq!(bench.core.census().reading, 2);
}

#[test]
fn a_stream_that_cannot_be_listed_stops_nothing_of_the_others() {
    let mut bench = Bench::new(two(), Vec::new());
    bench.send(Event::Tick);
    let rows = commit(&bench.send(listed(1, Scope::Full, &[all("a", &[])])));
    bench.send(Event::Committed { id: rows.id });
    for _ in 0..9 {
        bench.send(Event::ListingFailed { stream: 0 });
        assert!(bench.after(10_000, Event::Tick).contains(&full(0)));
    }
    assert_eq!(bench.core.census().reading, 1);
    bench.send(Event::ReadToEnd { shard: ShardId::in_stream(1, "a"), session: 1, children: vec![all("b", &["a"])] });
    let end = commits(&bench.after(1_000, Event::Tick));
    assert!(end.is_empty() && bench.core.commits.is_out(), "the end went out at once");
    bench.send(Event::Committed { id: rows.id + 1 });
    assert_eq!((bench.core.census().finished, bench.core.census().reading), (1, 1));
}

#[test]
fn what_is_new_is_found_by_short_listings_and_what_they_lack_means_nothing() {
    let mut bench = Bench::new(two(), Vec::new());
    bench.send(Event::Tick);
    bench.send(listed(1, Scope::Full, &[]));
    let rows = commit(&bench.send(listed(0, Scope::Full, &[all("a", &[])])));
    bench.send(Event::Committed { id: rows.id });
    let after_a = Scope::After(id("a"));
    assert!(bench.after(10_000, Event::Tick).contains(&Effect::List { stream: 0, scope: after_a.clone() }));
    let effects = bench.send(listed(0, after_a, &[all("b", &["a"])]));
    assert_eq!(commit(&effects).create[0].position, Position::TrimHorizon, "LIN-3");
    assert_eq!(bench.core.streams[0].vanishing.len(), 0, "a is not missed");
    assert!(bench.after(10_000, Event::Tick).contains(&Effect::List { stream: 0, scope: Scope::After(id("b")) }));
    let effects = bench.send(listed(0, Scope::After(id("b")), &[all("d", &["c"])]));
    assert!(effects.contains(&full(0)), "c is a question, and only a full listing answers it: {effects:?}");
}

#[test]
fn a_short_listing_before_the_first_full_one_spends_no_start() {
    let mut bench = Bench::new(two(), Vec::new());
    bench.send(Event::Tick);
    assert!(bench.send(listed(0, Scope::After(id("0")), &[all("a", &[])])).is_empty());
    let rows = commit(&bench.send(listed(0, Scope::Full, &[all("a", &[])])));
    assert_eq!(rows.create[0].position, Position::AtTimestamp(EpochMillis(5)));
}

#[test]
fn children_told_with_an_end_are_believed_without_a_listing() {
    let mut bench = Bench::reading_a(Settings { audit_interval: Duration::from_secs(60), ..settings() });
    let children = vec![shard("b", &["a"], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)];
    assert!(matches!(&bench.read_to_end(children)[..], [Effect::Commit(_)]), "nothing is left to ask");
}

#[test]
fn a_forgotten_shard_that_is_listed_again_is_not_read_again() {
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
    bench.send(Event::Tick);
    bench.millis = 60_000;
    let forget = commit(&bench.list(&[all("b", &["a"])]));
    bench.send(Event::Committed { id: forget.id });
    for _ in 0..5 {
        bench.after(10_000, Event::Tick);
        let effects = bench.list(&[all("a", &[]), all("b", &["a"])]);
        assert!(effects.iter().all(|effect| *effect == LIST), "{effects:?}");
    }
    bench.list(&[all("b", &["a"])]);
    for _ in 0..3 {
        bench.after(10_000, Event::Tick);
        bench.list(&[all("b", &["a"])]);
    }
    assert!(bench.core.streams[0].forgotten.is_empty(), "it is not remembered for ever");
}
