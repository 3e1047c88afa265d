use proptest::prelude::*;

use super::*;

fn shard(name: &str) -> ShardId {
    ShardId::new(name)
}

fn ready(receipts: &mut Receipts<u64>) -> Vec<Ready<u64>> {
    receipts.ready().collect()
}

#[test]
fn receipts_of_a_session_leave_in_the_order_of_its_deliveries() {
    let mut receipts = Receipts::new(false);
    receipts.opened(0, 2, &shard("a"), 1, 0);
    receipts.opened(1, 1, &shard("a"), 1, 1);
    receipts.opened(2, 1, &shard("b"), 1, 2);
    receipts.settled(1, 1);
    assert_eq!(ready(&mut receipts), []);
    receipts.settled(2, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(2)], "another shard does not wait");
    receipts.settled(0, 1);
    assert_eq!(ready(&mut receipts), []);
    receipts.settled(0, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(0), Ready::Receipt(1)]);
}

/// CKP-1: a mark is the place after everything before it.
#[test]
fn with_marks_receipts_leave_in_the_order_of_all_deliveries() {
    let mut receipts = Receipts::new(true);
    receipts.opened(0, 1, &shard("a"), 1, 0);
    receipts.opened(1, 1, &shard("b"), 1, 1);
    receipts.settled(1, 1);
    assert_eq!(ready(&mut receipts), []);
    receipts.settled(0, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(0), Ready::Receipt(1)]);
}

#[test]
fn a_delivery_without_entries_is_confirmed_and_waits_only_for_those_before_it() {
    let mut receipts = Receipts::new(false);
    receipts.opened(0, 0, &shard("a"), 1, 0);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(0)]);
    receipts.opened(1, 1, &shard("a"), 1, 1);
    receipts.opened(2, 0, &shard("a"), 1, 2);
    receipts.opened(3, 0, &shard("a"), 2, 3);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(3)], "a session of its own");
    receipts.settled(1, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(1), Ready::Receipt(2)]);
}

#[test]
fn word_of_a_lost_subtask_follows_every_receipt_of_what_came_before_it() {
    let mut receipts = Receipts::new(false);
    receipts.lost(7);
    assert_eq!(ready(&mut receipts), [Ready::Lost(7)]);
    receipts.opened(0, 1, &shard("a"), 1, 0);
    receipts.opened(1, 1, &shard("b"), 1, 1);
    receipts.lost(3);
    receipts.opened(2, 1, &shard("c"), 1, 2);
    receipts.settled(1, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(1)]);
    receipts.settled(0, 1);
    assert_eq!(ready(&mut receipts), [Ready::Receipt(0), Ready::Lost(3)], "what came later is not waited for");
}

proptest! {
    /// DEL-1, CKP-1: whatever the order of confirmations, each receipt leaves once, none before all of its entries are
    /// settled, and in the order of its line.
    #[test]
    fn each_receipt_leaves_once_in_order_and_never_too_early(
        is_global: bool,
        deliveries in prop::collection::vec((0_u64..5, 0_u64..3, 0_u64..2, any::<bool>()), 1..40),
        turns in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut receipts = Receipts::new(is_global);
        let mut unsettled: Vec<u64> = Vec::new();
        let mut left: Vec<u64> = deliveries.iter().map(|(entries, ..)| *entries).collect();
        let mut gone: Vec<u64> = Vec::new();
        let mut lost_after: BTreeMap<u32, usize> = BTreeMap::new();
        let mut heard: Vec<u32> = Vec::new();
        let mut turns = turns.into_iter().cycle();
        let mut opened = 0_usize;
        while opened < deliveries.len() || !unsettled.is_empty() {
            let turn = turns.next().expect("it goes round");
            let is_opening = opened < deliveries.len() && (unsettled.is_empty() || turn.index(3) == 0);
            if is_opening {
                let (entries, of, session, is_lost) = deliveries[opened];
                let id = opened as u64;
                opened += 1;
                receipts.opened(id, entries, &shard(&of.to_string()), session, id);
                unsettled.extend((0..entries).map(|_| id));
                if is_lost {
                    receipts.lost(id as u32);
                    lost_after.insert(id as u32, opened);
                }
            } else {
                let id = unsettled.swap_remove(turn.index(unsettled.len()));
                left[id as usize] -= 1;
                receipts.settled(id, 1);
            }
            for ready in receipts.ready() {
                match ready {
                    Ready::Receipt(id) => {
                        prop_assert!(!gone.contains(&id), "{} twice", id);
                        prop_assert_eq!(left[id as usize], 0, "{} too early", id);
                        let line = |id: u64| (deliveries[id as usize].1, deliveries[id as usize].2);
                        let before = (0..id).filter(|other| is_global || line(*other) == line(id));
                        prop_assert!(before.clone().all(|other| gone.contains(&other)), "{} out of order", id);
                        gone.push(id);
                    }
                    Ready::Lost(subtask) => {
                        prop_assert!((0..lost_after[&subtask] as u64).all(|id| gone.contains(&id)));
                        heard.push(subtask);
                    }
                }
            }
        }
        prop_assert_eq!(gone.len(), deliveries.len());
        prop_assert_eq!(heard, lost_after.into_keys().collect::<Vec<_>>());
        prop_assert!(receipts.open.is_empty() && receipts.lines.is_empty(), "nothing is remembered");
    }
}
