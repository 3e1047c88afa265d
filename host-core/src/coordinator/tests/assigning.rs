use super::*;
use crate::assignment;

fn component() -> Settings {
    Settings { assigner: AssignerPolicy::Component, ..settings() }
}

fn halves() -> [ShardDescription; 2] {
    [shard("a", &[], 0, HALF), shard("b", &[], HALF + 1, u128::MAX)]
}

fn opened(effects: &[Effect]) -> Vec<(&str, u32)> {
    let opens = effects.iter().filter_map(|effect| {
        if let Effect::Open { shard, subtask, .. } = effect { Some((shard.as_str(), *subtask)) } else { None }
    });
    opens.collect()
}

fn round(effects: &[Effect]) -> &Round {
    let mut rounds =
        effects.iter().filter_map(|effect| if let Effect::Assign(round) = effect { Some(round) } else { None });
    rounds.next().expect("a question to the component")
}

/// A run whose component is asked for `a` and `b` in round 1.
fn asking() -> Bench {
    let mut bench = Bench::new(component(), Vec::new());
    bench.send(Event::Tick);
    let rows = commit(&bench.list(&halves()));
    let effects = bench.send(Event::Committed { id: rows.id });
    let round = round(&effects);
    assert_eq!((round.round, &round.unassigned[..]), (1, &[id("a"), id("b")][..]), "nobody waits for an interval");
    assert_eq!(opened(&effects), []);
    bench
}

fn answer(round: u64, decisions: &[(&str, u32)]) -> Event {
    Event::Assigned { round, answer: Ok(decisions.iter().map(|(text, subtask)| (id(text), *subtask)).collect()) }
}

#[test]
fn shards_open_where_the_component_says() {
    let mut bench = asking();
    assert_eq!(opened(&bench.send(answer(1, &[("b", 0), ("a", 1)]))), [("a", 1), ("b", 0)]);
    let subtasks: Vec<_> = bench.core.shards().map(|view| view.subtask).collect();
    assert_eq!(subtasks, [Some(1), Some(0)]);
}

#[test]
fn a_wrong_answer_is_overruled_and_nobody_waits() {
    let mut bench = asking();
    let effects = bench.send(answer(1, &[("a", 1), ("b", 2)]));
    let why = "it gave shard b to subtask 2, and there are 2, from 0".into();
    assert_eq!(effects[0], Effect::Notice(Notice::AssignerOverruled { why }));
    assert_eq!(opened(&effects), [("a", 0), ("b", 1)]);
}

#[test]
fn a_component_without_an_answer_is_given_up_and_its_answer_comes_too_late() {
    let mut bench = asking();
    let patience = u64::try_from(assignment::ANSWER_WITHIN.as_millis()).expect("small");
    assert_eq!(opened(&bench.after(patience - 1, Event::Tick)), []);
    assert_eq!(bench.core.next_deadline(), Some(Moment::from_millis(patience)));
    assert_eq!(opened(&bench.after(1, Event::Tick)), [("a", 0), ("b", 1)]);
    assert!(opened(&bench.send(answer(1, &[("a", 1), ("b", 0)]))).is_empty());
}

#[test]
fn a_shard_left_out_is_offered_again_and_its_sibling_does_not_wait() {
    let mut bench = asking();
    assert_eq!(opened(&bench.send(answer(1, &[("a", 1)]))), [("a", 1)]);
    bench.list(&halves());
    for number in [2, 3] {
        let effects = bench.after(10_000, Event::Tick);
        let offered = round(&effects);
        assert_eq!((offered.round, &offered.unassigned[..]), (number, &[id("b")][..]));
        assert_eq!(offered.current, [Placement { shard: id("a"), subtask: 1, pending: false }]);
        let effects = bench.send(answer(number, &[]));
        assert_eq!(opened(&effects), if number == 3 { vec![("b", 1)] } else { Vec::new() });
    }
}

#[test]
fn a_finished_shard_gives_its_place_back() {
    let mut bench = Bench::reading_a(Settings { assigner: AssignerPolicy::Fewest, ..settings() });
    bench.read(1, 10);
    bench.deliver(0, 1, 10);
    let end = commit(&bench.read_to_end(vec![shard("b", &["a"], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)]));
    assert_eq!(opened(&bench.send(Event::Committed { id: end.id })), [("b", 0), ("c", 1)]);
    assert_eq!(bench.core.shards().next().and_then(|view| view.subtask), None);
}

#[test]
fn a_drain_does_not_wait_for_the_component() {
    let mut bench = asking();
    assert_eq!(bench.send(Event::Drain), [Effect::Finished]);
}
