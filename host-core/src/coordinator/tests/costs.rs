//! Work is counted in visits to shards, never in time.

use super::*;

/// `count` shards that own equal slices of the key space.
fn many(count: u32) -> Vec<ShardDescription> {
    let slice = u128::MAX / u128::from(count);
    (0..count)
        .map(|place| {
            let start = slice * u128::from(place);
            let end = if place + 1 == count { u128::MAX } else { start + slice - 1 };
            shard(&format!("s{place:06}"), &[], start, end)
        })
        .collect()
}

/// A run until caught up over `count` shards with a page each; returns visits to shards.
fn visits_of_a_run(count: u32) -> u64 {
    let settings = Settings { until_caught_up: true, audit_interval: Duration::from_secs(300), ..settings() };
    let mut bench = Bench::new(settings, Vec::new());
    bench.send(Event::Tick);
    let rows = commit(&bench.list(&many(count)));
    let opened = bench.send(Event::Committed { id: rows.id });
    assert_eq!(opened.len(), usize::try_from(count).expect("small"));
    let mut finished = false;
    for effect in opened {
        let Effect::Open { shard, session, .. } = effect else { panic!("{effect:?}") };
        // A process that reads ten thousand shards has events all the time, and a millisecond for each at most.
        bench.millis += 1;
        let report = ReadReport { shard: shard.clone(), session, records: 1, last: after(7), earliest: None };
        let mut effects = bench.send(Event::Read(report));
        effects.extend(bench.send(Event::CaughtUp { shard: shard.clone(), session }));
        effects.extend(bench.send(Event::Delivered(receipt(shard, session, 0, 1, after(7)))));
        let mut made = commits(&effects);
        while let Some(commit) = made.pop() {
            let more = bench.send(Event::Committed { id: commit.id });
            made.extend(commits(&more));
            effects.extend(more);
        }
        finished |= effects.contains(&Effect::Finished);
        for effect in &effects {
            if let Effect::List { stream, scope } = effect {
                bench.send(Event::Listed { stream: *stream, scope: scope.clone(), shards: Vec::new() });
            }
        }
    }
    assert!(finished);
    bench.core.shards.visits()
}

#[test]
fn a_run_over_ten_thousand_shards_costs_ten_times_one_over_a_thousand() {
    let (thousand, ten_thousand) = (visits_of_a_run(1_000), visits_of_a_run(10_000));
    assert!(ten_thousand < 13 * thousand, "{thousand} visits, then {ten_thousand}");
    assert!(ten_thousand < 10_000 * 40, "{ten_thousand} visits of 10,000 shards");
}

#[test]
fn an_event_of_one_shard_visits_no_others() {
    let mut bench = Bench::new(settings(), Vec::new());
    bench.send(Event::Tick);
    let rows = commit(&bench.list(&many(10_000)));
    bench.send(Event::Committed { id: rows.id });
    let shard = id("s000003");
    let session = bench.core.shards.get(&shard).and_then(Shard::session).expect("it is open").id;
    let range = bench.core.streams[0].lineage.range(&shard).expect("all have one");
    let child = self::shard("t", &["s000003"], range.start, range.end);
    let before = bench.core.shards.visits();
    let report = ReadReport { shard: shard.clone(), session, records: 1, last: after(7), earliest: None };
    bench.send(Event::Read(report));
    bench.send(Event::AtTip { shard: shard.clone(), session, at: EpochMillis(9_999) });
    bench.send(Event::Delivered(receipt(shard.clone(), session, 0, 1, after(7))));
    let commit = commit(&bench.send(Event::ReadToEnd { shard, session, children: vec![child] }));
    bench.send(Event::Committed { id: commit.id });
    let visits = bench.core.shards.visits() - before;
    assert!(visits < 60, "{visits} visits");
}
