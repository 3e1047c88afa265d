use super::*;
use crate::gap::possible_loss;

fn at_tip(bench: &mut Bench, at: i64) -> Vec<Effect> {
    bench.send(Event::AtTip { shard: id("a"), session: 1, at: EpochMillis(at) })
}

fn lenient() -> Settings {
    Settings { on_gap: OnGap::Continue, ..settings() }
}

/// Full listings, a discovery interval apart, that show `shards`; what they bring about.
fn audits(bench: &mut Bench, times: usize, shards: &[ShardDescription]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for _ in 0..times {
        effects.extend(bench.after(16_000, Event::Tick));
        effects.extend(bench.list(shards));
    }
    effects
}

fn other() -> ShardDescription {
    all("z", &[])
}

fn gaps(effects: &[Effect]) -> Vec<Gap> {
    let gap = |effect: &Effect| match effect {
        Effect::Notice(Notice::Gap(gap)) | Effect::Stop(gap) => Some(gap.clone()),
        Effect::List { .. }
        | Effect::Open { .. }
        | Effect::Close { .. }
        | Effect::Pause { .. }
        | Effect::Resume { .. }
        | Effect::Assign(_)
        | Effect::Commit(_)
        | Effect::Notice(_)
        | Effect::Finished => None,
    };
    effects.iter().filter_map(gap).collect()
}

#[test]
fn an_idle_shard_at_its_tip_is_complete_and_written_no_oftener_than_retention_asks() {
    let mut bench = Bench::reading_a(settings());
    assert!(at_tip(&mut bench, 2_400).is_empty() && bench.after(1_000, Event::Tick).is_empty(), "60 s / 24 at most");
    let stays = commit(&at_tip(&mut bench, 2_600));
    assert_eq!(stays.advance[0].from, stays.advance[0].to);
    assert_eq!(stays.advance[0].complete_until, Some(EpochMillis(2_600)));
    bench.send(Event::Committed { id: stays.id });
    at_tip(&mut bench, 5_000);
    assert!(commits(&bench.after(1_000, Event::Tick)).is_empty());
}

#[test]
fn a_tip_counts_once_everything_before_it_is_confirmed() {
    let mut bench = Bench::reading_a(settings());
    bench.read(2, 20);
    at_tip(&mut bench, 9_000);
    bench.deliver(0, 1, 10);
    let first = commit(&bench.after(1_000, Event::Tick));
    assert_eq!(first.advance[0].complete_until, Some(EpochMillis(5)), "where it starts, and no more");
    bench.send(Event::Committed { id: first.id });
    bench.deliver(1, 1, 20);
    let second = commit(&bench.after(1_000, Event::Tick));
    assert_eq!(second.advance[0].complete_until, Some(EpochMillis(9_000)));
}

#[test]
fn a_receipt_raises_completeness_to_its_arrival_but_not_across_a_hole() {
    let mut bench = Bench::reading_a(settings());
    bench.read(3, 30);
    let arrived = |first: u64, millis| Receipt {
        arrived: Some(EpochMillis(millis)),
        ..receipt(id("a"), 1, first, 1, after(10 * first + 10))
    };
    bench.send(Event::Delivered(arrived(2, 300)));
    bench.send(Event::Delivered(arrived(0, 100)));
    let commit = commit(&bench.after(1_000, Event::Tick));
    assert_eq!(commit.advance[0].complete_until, Some(EpochMillis(100)));
}

#[test]
fn a_child_is_complete_up_to_its_parents_last_record() {
    let mut bench = Bench::reading_a(settings());
    at_tip(&mut bench, 900);
    let end = commit(&bench.read_to_end(vec![all("b", &["a"])]));
    assert_eq!(end.advance[0].complete_until, Some(EpochMillis(900)));
    let opened = bench.send(Event::Committed { id: end.id });
    assert!(matches!(&opened[..], [Effect::Open { complete_until: Some(EpochMillis(900)), .. }]), "{opened:?}");
    assert!(possible_loss(Some(EpochMillis(900)), EpochMillis(61_000), Duration::from_secs(60)).is_some());
}

#[test]
fn a_gap_that_is_passed_over_is_told_and_counted_and_one_that_is_not_stops_the_run() {
    let gap = Gap {
        shard: id("a"),
        reason: GapReason::Trimmed,
        from: after(10),
        to: None,
        since: Some(EpochMillis(5)),
        until: Some(EpochMillis(70_000)),
    };
    let mut bench = Bench::reading_a(lenient());
    assert_eq!(bench.send(Event::Gap(gap.clone())), [Effect::Notice(Notice::Gap(gap.clone()))]);
    assert_eq!(bench.core.totals().gaps, 1);
    assert!(bench.after(1_000, Event::Tick).is_empty(), "only what comes after it says how complete the shard is");

    let mut bench = Bench::reading_a(settings());
    bench.read(1, 10);
    let effects = bench.send(Event::Gap(gap.clone()));
    assert_eq!(effects, [Effect::Stop(gap.clone()), Effect::Close { shard: id("a"), session: 1 }]);
    assert_eq!(bench.send(Event::Gap(gap.clone())), [Effect::Notice(Notice::Gap(gap))], "one reason is enough");
    bench.send(Event::Closed { shard: id("a"), session: 1 });
    let last = commit(&bench.deliver(0, 1, 10));
    assert_eq!(bench.send(Event::Committed { id: last.id }), [Effect::Finished]);
}

#[test]
fn a_shard_that_listings_lack_again_and_again_is_gone_and_the_run_fails() {
    let mut bench = Bench::reading_a(settings());
    assert!(gaps(&audits(&mut bench, 2, &[other()])).is_empty());
    let effects = audits(&mut bench, 1, &[other()]);
    let gap = gaps(&effects).pop().expect("the third");
    assert_eq!(
        (gap.shard, gap.reason, gap.from),
        (id("a"), GapReason::ShardGone, Position::AtTimestamp(EpochMillis(5)))
    );
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop(_))));
    assert_eq!(
        bench.core.shards().find(|view| view.shard == &id("a")).map(|view| view.state),
        Some(ShardState::Closing)
    );
}

#[test]
fn listings_in_a_hurry_an_answered_reader_and_one_that_shows_it_keep_a_shard() {
    let mut bench = Bench::reading_a(lenient());
    for _ in 0..9 {
        bench.after(1_000, Event::Tick);
        assert!(gaps(&bench.list(&[other()])).is_empty(), "9 s are no time");
    }
    let mut bench = Bench::reading_a(lenient());
    for at in 1..9 {
        assert!(gaps(&audits(&mut bench, 1, &[other()])).is_empty(), "its reader is answered");
        bench.after(1, Event::AtTip { shard: id("a"), session: 1, at: EpochMillis(at) });
    }
    let mut bench = Bench::reading_a(lenient());
    for _ in 0..4 {
        assert!(gaps(&audits(&mut bench, 2, &[other()])).is_empty());
        audits(&mut bench, 1, &[other(), all("a", &[])]);
    }
    let mut bench = Bench::reading_a(lenient());
    assert!(gaps(&audits(&mut bench, 9, &[])).is_empty(), "an empty answer says nothing of a shard");
}

#[test]
fn what_follows_a_lost_shard_goes_on_once_what_was_read_of_it_is_confirmed() {
    let mut bench = Bench::reading_a(lenient());
    bench.read(1, 10);
    let child = all("b", &["a"]);
    let effects = audits(&mut bench, 3, std::slice::from_ref(&child));
    let rows = commits(&effects).pop().expect("b's row");
    assert_eq!(gaps(&effects).len(), 1);
    assert!(effects.contains(&Effect::Close { shard: id("a"), session: 1 }));
    assert!(bench.send(Event::Committed { id: rows.id }).is_empty(), "a record is in flight");
    bench.send(Event::Closed { shard: id("a"), session: 1 });
    let end = commit(&bench.deliver(0, 1, 10));
    assert_eq!((&end.advance[0].to, &end.advance[0].children[..]), (&Position::ShardEnd, &[id("b")][..]));
    let opened = bench.send(Event::Committed { id: end.id });
    assert!(matches!(&opened[..], [Effect::Open { from: Position::TrimHorizon, .. }]), "{opened:?}");
}

#[test]
fn a_lost_shard_between_two_others_does_not_let_the_third_overtake_the_first() {
    let mut bench = Bench::reading_a(lenient());
    bench.after(10_000, Event::Tick);
    let rows = commit(&bench.list(&[all("a", &[]), all("b", &["a"]), all("c", &["b"])]));
    bench.send(Event::Committed { id: rows.id });
    let effects = audits(&mut bench, 3, &[all("a", &[]), all("c", &["b"])]);
    assert_eq!(gaps(&effects).len(), 1, "b waits and is gone");
    assert!(commits(&effects).is_empty(), "a is not finished");
    let end = commit(&bench.read_to_end(vec![all("b", &["a"])]));
    assert_eq!(end.advance.len(), 1, "a's end alone");
    let then = commit(&bench.send(Event::Committed { id: end.id }));
    assert_eq!((&then.advance[0].shard, &then.advance[0].to), (&id("b"), &Position::ShardEnd));
    assert!(matches!(&bench.send(Event::Committed { id: then.id })[..], [Effect::Open { .. }]));
}

#[test]
fn a_shard_that_its_reader_does_not_find_is_opened_again_if_a_later_listing_shows_it() {
    let mut bench = Bench::reading_a(settings());
    bench.read(1, 10);
    let mut session = 1;
    for pause in [1_000, 2_000, 4_000] {
        let effects = bench.send(Event::ShardGone { shard: id("a"), session });
        assert_eq!(effects, [LIST], "asked at once");
        if session == 1 {
            let progress = commit(&bench.after(1_000, Event::Delivered(receipt(id("a"), 1, 0, 1, after(10)))));
            bench.send(Event::Committed { id: progress.id });
            bench.millis -= 1_000;
        }
        assert!(bench.list(&[all("a", &[])]).is_empty());
        assert_eq!(bench.core.next_deadline(), Some(Moment::from_millis(bench.millis + pause)));
        session += 1;
        let effects = bench.after(pause, Event::Tick);
        assert!(
            matches!(&effects[..], [Effect::Open { session: new, from, .. }] if *new == session && *from == after(10))
        );
    }
    bench.send(Event::ShardGone { shard: id("a"), session });
    let effects = audits(&mut bench, 6, &[other()]);
    assert_eq!(gaps(&effects).len(), 1);
}
