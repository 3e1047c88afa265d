//! The sink's service, as far as receipts tell of it: it answers in the order of each session or not, and is throttled for
//! long, so that no shard hears anything. Random numbers come from dice of their own, so that what else happens in a history
//! does not hang on them.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::faults::Plan;

/// A stall lasts up to this many milliseconds: longer than any drain is waited for.
const STALL_MAX: u64 = 40_000;

/// How receipts come.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Receipts of a session come in the order of its records; those of others overtake them all the same.
    in_order: bool,
    /// From when till when nothing is confirmed, whatever the shard.
    stalls: Vec<(u64, u64)>,
    /// In a life and session: when its last receipt comes.
    latest: BTreeMap<(u64, u64), u64>,
}

impl Served {
    pub(crate) fn draw(seed: u64, plan: &Plan) -> Self {
        let mut dice = Dice::new(seed.rotate_left(16) ^ 0x5e4f);
        let in_order = dice.percent(50);
        let count = if dice.percent(40) { dice.between(1, 3) } else { 0 };
        let stall = |_| {
            let from = plan.begins_at + dice.between(0, plan.quiet_at - plan.begins_at + 5_000);
            (from, from + dice.between(1_000, STALL_MAX))
        };
        let stalls = (0..count).map(stall).collect();
        Self { in_order, stalls, latest: BTreeMap::new() }
    }

    /// When a receipt comes that would come at `due`.
    pub(crate) fn receipt_at(&mut self, life: u64, session: u64, due: u64) -> u64 {
        let latest = self.latest.entry((life, session)).or_default();
        let mut at = if self.in_order { due.max(*latest) } else { due };
        while let Some((_, until)) = self.stalls.iter().find(|(from, until)| (*from..*until).contains(&at)) {
            // What was held back comes within a moment, in any order.
            at = *until + due % 50;
        }
        if self.in_order {
            at = at.max(*latest);
        }
        *latest = at.max(*latest);
        at
    }
}
