//! Thousands of shards that are read together: nothing makes them call together for long.

use crate::dice::Dice;
use crate::plan::Plan;
use crate::reader::History;

const SHARDS: u32 = 20_000;
const MINUTE: u64 = 60_000;
/// Whoever is cut off together calls together once. Nobody's first subscription ends sooner than this.
const AFTERMATH: u64 = 20_000;

/// Calls per second of all shards with this plan.
fn calls(plan: &Plan) -> Vec<u32> {
    let mut calls = vec![0; usize::try_from((plan.calm_at + 10 * MINUTE) / 1_000).expect("small")];
    for shard in 0..SHARDS {
        let history = History::of(plan.clone(), Dice::new(u64::from(shard)), false);
        for at in history.calls().unwrap_or_else(|violation| panic!("shard {shard}: {violation}")) {
            calls[usize::try_from(at / 1_000).expect("small")] += 1;
        }
    }
    calls
}

/// No second has more than twice its share, but for those right after these times.
fn assert_spread(calls: &[u32], together: &[u64]) {
    let share = f64::from(SHARDS) / 300.0;
    for (second, calls) in calls.iter().enumerate() {
        let at = 1_000 * u64::try_from(second).expect("small");
        let is_excused = together.iter().any(|begin| (begin.saturating_sub(999)..begin + AFTERMATH).contains(&at));
        assert!(
            is_excused || f64::from(*calls) <= 2.0 * share,
            "{calls} calls in second {second}, where {share} would be even"
        );
    }
}

#[test]
fn shards_that_began_together_are_renewed_apart_and_so_they_are_after_all_of_them_broke_at_once() {
    let plan = Plan::quiet(18 * MINUTE);
    let cut = plan.begins_at + 7 * MINUTE;
    let plan = Plan { cut_at: Some(cut), ..plan };
    let calls = calls(&plan);
    assert_spread(&calls, &[plan.begins_at, cut]);
    let total: u32 = calls.iter().sum();
    // Twice at once, each time a first life and whole ones after it: not many more than there must be.
    assert!(total < SHARDS * 9, "{total} calls");
}

#[test]
fn shards_that_were_paused_and_resumed_together_are_renewed_apart() {
    let plan = Plan::quiet(18 * MINUTE);
    let (pause, resume) = (plan.begins_at + 7 * MINUTE, plan.begins_at + 8 * MINUTE);
    let plan = Plan { pauses: vec![pause, resume], ..plan };
    assert_spread(&calls(&plan), &[plan.begins_at, resume]);
}

#[test]
fn shards_that_waited_for_the_same_sinks_are_renewed_apart() {
    let plan = Plan::quiet(24 * MINUTE);
    let (stop, go_on) = (plan.begins_at + 7 * MINUTE, plan.begins_at + 13 * MINUTE);
    let plan = Plan { sinks_stop: Some((stop, go_on)), ..plan };
    assert_spread(&calls(&plan), &[plan.begins_at, go_on]);
}
