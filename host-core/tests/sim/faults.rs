//! What a history is like: everything random about it comes from its seed.

use std::time::Duration;

use crate::dice::Dice;

impl Dice {
    /// An index below `len`, which is not 0.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.size(0, u64::try_from(len).expect("small") - 1)
    }

    pub(crate) fn wide(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At this time, whatever is going on.
    CrashAt(u64),
    /// Before this many further effects are performed.
    CrashAtEffect(u64),
    /// A drain that is left alone.
    DrainAt(u64),
    /// A drain that is given up after a while.
    AbandonAt(u64),
    /// By itself, or, for a run that has no end, by a drain once everything is delivered.
    Complete,
}

/// One life of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) starts_at: u64,
    pub(crate) until_caught_up: bool,
    pub(crate) ending: Ending,
}

/// One history. Times are milliseconds of the world's clock; chances are per cent.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) ranges: bool,
    pub(crate) preserve_order: bool,
    pub(crate) parallelism: u32,
    /// `None`: trim horizon.
    pub(crate) start_at: Option<u64>,
    /// Streams of the source; each has as many first shards.
    pub(crate) streams: u32,
    pub(crate) first_shards: u64,
    pub(crate) keys: u64,
    /// The pipeline's first run starts here; what is written before is history.
    pub(crate) begins_at: u64,
    /// Nothing is written or resharded after this.
    pub(crate) quiet_at: u64,
    pub(crate) writes: u64,
    pub(crate) reshards: u64,
    pub(crate) retention: u64,
    pub(crate) discovery_interval: Duration,
    pub(crate) audit_interval: Duration,
    /// A listing of what is new misses some of it.
    pub(crate) listing_misses: u64,
    /// No listing of this stream succeeds before this time.
    pub(crate) unlisted: Option<(u32, u64)>,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) idle_after: Duration,
    pub(crate) listing_fails: u64,
    /// Shards younger than up to this are not listed. Below the pause between listings that look for children.
    pub(crate) listing_stale_max: u64,
    /// One shard lacks in a listing, and is shown before it lacks again.
    pub(crate) listing_lacks: u64,
    /// An expired shard is listed again.
    pub(crate) listing_repeats: u64,
    pub(crate) children_with_end: u64,
    pub(crate) receipt_delay_max: u64,
    pub(crate) sink_delay_max: u64,
    pub(crate) slow_shard: u64,
    pub(crate) page_max: u64,
    pub(crate) duplicate_receipt: u64,
    pub(crate) foreign_receipt: u64,
    pub(crate) runs: Vec<Run>,
}

impl Plan {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let begins_at = 10_000;
        let quiet_at = begins_at + dice.between(500, 20_000);
        let ranges = dice.percent(85);
        let runs = runs(dice, begins_at, quiet_at);
        let streams = u32::try_from([1, 1, 2, 3][dice.index(4)]).expect("small");
        let discovery_interval = dice.between(500, 8_000);
        let some_caught_up = runs.iter().any(|run| run.until_caught_up);
        Self {
            ranges,
            preserve_order: dice.percent(90),
            parallelism: u32::try_from(dice.between(1, 4)).expect("small"),
            start_at: dice.percent(50).then(|| begins_at + dice.between(0, 6_000) - 3_000),
            streams,
            first_shards: dice.between(1, 4),
            keys: dice.between(3, 12),
            begins_at,
            quiet_at,
            writes: dice.between(20, 140),
            reshards: dice.between(0, 7),
            retention: if dice.percent(60) { dice.between(2_000, 15_000) } else { 86_400_000 },
            discovery_interval: Duration::from_millis(discovery_interval),
            audit_interval: Duration::from_millis(discovery_interval * dice.between(1, 5)),
            listing_misses: if dice.percent(40) { dice.between(5, 80) } else { 0 },
            unlisted: (streams > 1 && dice.percent(25)).then(|| (0, quiet_at + dice.between(0, 30_000))),
            checkpoint_interval: Duration::from_millis(dice.between(50, 2_500)),
            idle_after: Duration::from_millis(dice.between(100, 3_000)),
            listing_fails: if dice.percent(40) { dice.between(5, 40) } else { 0 },
            listing_stale_max: if dice.percent(50) { dice.between(10, 900) } else { 0 },
            // Without ranges nobody can see that a run "until caught up" lacks a shard.
            listing_lacks: if dice.percent(50) && (ranges || !some_caught_up) { dice.between(5, 60) } else { 0 },
            listing_repeats: if dice.percent(30) { dice.between(5, 50) } else { 0 },
            children_with_end: *[0, 50, 100].get(dice.index(3)).expect("three"),
            receipt_delay_max: dice.between(1, 800),
            sink_delay_max: dice.between(1, 400),
            slow_shard: if dice.percent(30) { 30 } else { 0 },
            page_max: dice.between(1, 12),
            duplicate_receipt: if dice.percent(30) { 10 } else { 0 },
            foreign_receipt: if dice.percent(30) { 10 } else { 0 },
            runs,
        }
    }
}

fn runs(dice: &mut Dice, begins_at: u64, quiet_at: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = begins_at;
    for _ in 0..dice.between(0, 4) {
        let until = at + dice.between(10, (quiet_at - begins_at) / 2 + 1_000);
        let ending = match dice.between(0, 5) {
            0 | 1 => Ending::CrashAt(until),
            2 => Ending::CrashAtEffect(dice.between(0, 30)),
            3 => Ending::DrainAt(until),
            4 => Ending::AbandonAt(until),
            _ => Ending::Complete,
        };
        let until_caught_up = ending == Ending::Complete || dice.percent(20);
        runs.push(Run { starts_at: at, until_caught_up, ending });
        at = until + dice.between(1, 2_000);
    }
    // The last one sees all there is: a run that ends by itself starts when nothing more is written.
    let until_caught_up = dice.percent(40);
    let starts_at = if until_caught_up { at.max(quiet_at + 1) } else { at };
    runs.push(Run { starts_at, until_caught_up, ending: Ending::Complete });
    runs
}
