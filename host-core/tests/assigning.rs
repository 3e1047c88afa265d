//! ASN-1 by properties: whatever a component answers, and whenever.

use std::collections::BTreeMap;
use std::time::Duration;

use host_core::assignment::{Assignments, Outcome, uniform};
use host_core::coordinator::AssignerPolicy;
use host_core::moment::Moment;
use host_core::shard::{HashRange, ShardId};
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(10);

/// Slice `index` of the key space, as the service cuts it: the remainder goes to the last.
fn slice(index: u32, of: u32) -> HashRange {
    let size = u128::MAX / u128::from(of);
    let start = size * u128::from(index);
    HashRange { start, end: if index + 1 == of { u128::MAX } else { start + (size - 1) } }
}

/// The same, with boundaries that are rounded one by one.
fn rounded_slice(index: u32, of: u32) -> HashRange {
    // index * 2^128 / of, in two halves: the product has 160 bits.
    let boundary = |index: u32| {
        let (high, low) = ((u128::from(index) << 64) / u128::from(of), (u128::from(index) << 64) % u128::from(of));
        (high << 64).wrapping_add((low << 64) / u128::from(of))
    };
    HashRange { start: boundary(index), end: boundary(index + 1).wrapping_sub(1) }
}

#[derive(Clone, Debug)]
enum Step {
    Assign(u8),
    Release(u8),
    Ask,
    /// The round relative to the last one asked, and decisions: shard and subtask.
    Answer(u8, Result<Vec<(u8, u32)>, ()>),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let decisions = prop::collection::vec((0..8_u8, 0..4_u32), 0..6);
    prop_oneof![
        3 => (0..7_u8).prop_map(Step::Assign),
        1 => (0..7_u8).prop_map(Step::Release),
        3 => Just(Step::Ask),
        3 => (0..3_u8, prop_oneof![5 => decisions.prop_map(Ok), 1 => Just(Err(()))])
            .prop_map(|(back, answer)| Step::Answer(back, answer)),
        2 => (0..12_000_u16).prop_map(Step::Wait),
    ]
}

fn shard(index: u8) -> ShardId {
    ShardId::new(&format!("s{index}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_slices_are_shared_out_to_within_one(
        (of, slices, rounded) in (1..200_u32, 1..60_u32, any::<bool>()),
        stream in any::<u32>(),
    ) {
        let parallelism = of;
        let mut counts = BTreeMap::new();
        for index in 0..slices {
            let range = if rounded { rounded_slice(index, slices) } else { slice(index, slices) };
            let subtask = uniform(&ShardId::in_stream(stream, "s"), Some(range), parallelism);
            prop_assert!(subtask < parallelism);
            *counts.entry(subtask).or_insert(0_u32) += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let least = (0..parallelism).map(|subtask| counts.get(&subtask).copied().unwrap_or(0)).min().unwrap_or(0);
        prop_assert!(most - least <= 1, "{slices} slices over {parallelism}: {counts:?}");
    }

    /// Streams next to each other never put the same slice on the same subtask, if there are enough subtasks.
    #[test]
    fn no_two_streams_meet_slice_by_slice(a in 0..64_u32, b in 0..64_u32, index in 0..8_u32, parallelism in 1..128_u32) {
        prop_assume!(a % parallelism != b % parallelism);
        let of = |stream| uniform(&ShardId::in_stream(stream, "s"), Some(slice(index, 8)), parallelism);
        prop_assert_ne!(of(a), of(b));
    }

    /// Fewest: after any arrivals and departures the next goes to a subtask that nobody undercuts.
    #[test]
    fn nobody_has_fewer_than_the_one_that_is_chosen(steps in prop::collection::vec((0..12_u8, any::<bool>()), 0..60)) {
        let mut assignments = Assignments::new(AssignerPolicy::Fewest, 3, INTERVAL);
        for (index, come) in steps {
            let loads: Vec<_> = (0..3).map(|subtask| assignments.shards(subtask).count()).collect();
            let known = assignments.subtask(&shard(index));
            if !come {
                assignments.release(&shard(index));
                prop_assert_eq!(assignments.subtask(&shard(index)), None);
                continue;
            }
            let least = loads.iter().min().and_then(|least| loads.iter().position(|load| load == least));
            let chosen = assignments.assign(Moment::default(), &shard(index), None);
            prop_assert_eq!(chosen, known.or(least.and_then(|subtask| u32::try_from(subtask).ok())));
        }
    }

    /// A component: a shard keeps the subtask it got, one question is out at a time, whatever goes wrong is told, and once
    /// the component falls silent every shard has a subtask before long.
    #[test]
    fn a_component_can_neither_move_a_shard_nor_keep_it_waiting(steps in prop::collection::vec(step(), 0..60)) {
        let mut assignments = Assignments::new(AssignerPolicy::Component, 3, INTERVAL);
        let (mut now, mut round, mut out) = (Moment::default(), 0, Vec::new());
        let mut wanted = BTreeMap::new();
        for step in steps {
            let outcome = match step {
                Step::Assign(index) => {
                    wanted.entry(shard(index)).or_insert(None);
                    assignments.assign(now, &shard(index), None);
                    Outcome::default()
                }
                Step::Release(index) => {
                    wanted.remove(&shard(index));
                    assignments.release(&shard(index));
                    Outcome::default()
                }
                Step::Ask => {
                    if let Some(asked) = assignments.ask(now, |_| false) {
                        prop_assert!(out.is_empty() && asked.round == round + 1);
                        prop_assert!(asked.unassigned.iter().all(|shard| wanted.get(shard) == Some(&None)));
                        (round, out) = (asked.round, asked.unassigned);
                    }
                    Outcome::default()
                }
                Step::Answer(back, answer) => {
                    let to = round.saturating_sub(u64::from(back));
                    let answer = answer.map_err(|()| "it trapped".to_owned());
                    let answer = answer.map(|decisions| {
                        decisions.into_iter().map(|(index, subtask)| (shard(index), subtask)).collect::<Vec<_>>()
                    });
                    let sound = answer.as_ref().is_ok_and(|decisions| {
                        let shards: std::collections::BTreeSet<_> = decisions.iter().map(|(shard, _)| shard).collect();
                        shards.len() == decisions.len()
                            && decisions.iter().all(|(shard, subtask)| *subtask < 3 && out.contains(shard))
                    });
                    let outcome = assignments.answered(now, to, answer);
                    if to == round && !out.is_empty() {
                        prop_assert!(sound || outcome.overruled.is_some());
                        out.clear();
                    } else {
                        prop_assert_eq!(&outcome, &Outcome::default());
                    }
                    outcome
                }
                Step::Wait(millis) => {
                    now = now + Duration::from_millis(u64::from(millis));
                    let outcome = assignments.give_up(now);
                    if outcome.overruled.is_some() {
                        out.clear();
                    }
                    outcome
                }
            };
            for shard in outcome.assigned {
                let subtask = assignments.subtask(&shard);
                prop_assert!(subtask.is_some_and(|subtask| subtask < 3));
                prop_assert_eq!(wanted.insert(shard, subtask), Some(None));
            }
            for (shard, subtask) in &wanted {
                prop_assert_eq!(assignments.subtask(shard), *subtask);
            }
        }
        // Each turn gives up a question or asks the next, and at worst each shard is in one of its own.
        for _ in 0..2 * 8 {
            now = assignments.deadline().map_or(now, |deadline| deadline.max(now));
            assignments.give_up(now);
            assignments.ask(now, |_| false);
        }
        prop_assert!(wanted.keys().all(|shard| assignments.subtask(shard).is_some()));
        prop_assert_eq!(assignments.deadline(), None);
    }
}
