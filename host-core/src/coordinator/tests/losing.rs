use super::*;

fn lost(bench: &mut Bench) -> Vec<Effect> {
    bench.send(Event::SubtaskLost { subtask: 0 })
}

fn close() -> Effect {
    Effect::Close { shard: id("a"), session: 1 }
}

fn open(session: u64, from: Position) -> Effect {
    let range = Some(HashRange { start: 0, end: u128::MAX });
    Effect::Open {
        shard: id("a"),
        session,
        subtask: 0,
        from,
        complete_until: Some(EpochMillis(5)),
        range,
        to_its_end: false,
    }
}

#[test]
fn what_a_lost_subtask_held_is_read_again_from_what_is_confirmed_and_durable() {
    let mut bench = Bench::reading_a(settings());
    bench.read(5, 50);
    bench.deliver(0, 2, 20);
    bench.deliver(3, 1, 40);
    let effects = lost(&mut bench);
    let progress = commit(&effects);
    assert_eq!((&effects[0], &progress.advance[0].to), (&close(), &after(20)), "at once, not at the interval");
    assert_eq!(bench.send(Event::Committed { id: progress.id }), [open(2, after(20))]);
    bench.read(1, 60);
    bench.deliver(2, 1, 30);
    bench.read_to_end(Vec::new());
    bench.send(Event::Closed { shard: id("a"), session: 1 });
    let view = bench.core.shards().next().expect("a");
    assert_eq!((view.state, view.in_flight), (ShardState::Reading, 0), "reports of the session that is over");
    assert_eq!(view.subtask, Some(0));
}

#[test]
fn a_loss_with_everything_durable_opens_at_once_and_another_subtasks_loss_nothing() {
    let mut bench = Bench::reading_a(settings());
    assert!(bench.send(Event::SubtaskLost { subtask: 1 }).is_empty());
    bench.read(1, 10);
    assert_eq!(lost(&mut bench), [close(), open(2, Position::AtTimestamp(EpochMillis(5)))]);
}

#[test]
fn a_loss_while_a_commit_is_out_waits_for_it_and_for_the_next() {
    let mut bench = Bench::reading_a(settings());
    bench.read(3, 30);
    bench.deliver(0, 1, 10);
    let first = commit(&bench.after(1_000, Event::Tick));
    bench.deliver(1, 1, 20);
    assert_eq!(lost(&mut bench), [close()]);
    let second = commit(&bench.send(Event::Committed { id: first.id }));
    assert_eq!(second.advance[0].to, after(20));
    assert_eq!(bench.send(Event::Committed { id: second.id }), [open(2, after(20))]);
}

#[test]
fn an_end_that_is_confirmed_survives_a_loss_and_one_that_is_not_is_read_again() {
    let children = || vec![shard("b", &["a"], 0, HALF), shard("c", &["a"], HALF + 1, u128::MAX)];
    for confirmed in [true, false] {
        let mut bench = Bench::reading_a(settings());
        bench.read(1, 10);
        let rows = commit(&bench.read_to_end(children()));
        if confirmed {
            bench.deliver(0, 1, 10);
        }
        let reopened = if confirmed { Vec::new() } else { vec![open(2, Position::AtTimestamp(EpochMillis(5)))] };
        assert_eq!(lost(&mut bench), reopened, "its reader is gone by itself");
        let effects = bench.send(Event::Committed { id: rows.id });
        let ended = commits(&effects).iter().any(|commit| commit.advance.iter().any(|advance| advance.to.is_end()));
        assert_eq!(ended, confirmed, "children wait as before: {effects:?}");
    }
}

#[test]
fn a_drain_does_not_wait_for_what_is_lost() {
    let mut bench = Bench::reading_a(settings());
    bench.read(2, 20);
    bench.deliver(0, 1, 10);
    bench.send(Event::Drain);
    let last = commit(&lost(&mut bench));
    assert_eq!(last.advance[0].to, after(10));
    bench.read(1, 30);
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);

    let mut bench = Bench::reading_a(settings());
    bench.read(2, 20);
    bench.deliver(0, 1, 10);
    let progress = commit(&lost(&mut bench));
    assert!(bench.send(Event::Drain).is_empty(), "nothing is open");
    assert_eq!(bench.send(Event::Committed { id: progress.id }), [Effect::Finished]);
}

#[test]
fn a_run_until_caught_up_is_over_when_what_is_lost_is_caught_up_again() {
    let mut bench = Bench::reading_a(Settings { until_caught_up: true, ..settings() });
    bench.read(2, 20);
    bench.send(Event::CaughtUp { shard: id("a"), session: 1 });
    assert_eq!(lost(&mut bench), [open(2, Position::AtTimestamp(EpochMillis(5)))]);
    let report = ReadReport { shard: id("a"), session: 2, records: 2, last: after(20), earliest: None };
    bench.send(Event::Read(report));
    bench.send(Event::CaughtUp { shard: id("a"), session: 2 });
    let receipt = Receipt {
        shard: id("a"),
        session: 2,
        first: 0,
        count: 2,
        last: after(20),
        arrived: None,
        event_time: None,
        marks: Vec::new(),
    };
    let last = commit(&bench.send(Event::Delivered(receipt)));
    assert!(lost(&mut bench).is_empty(), "nothing of it is lost");
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);
}
