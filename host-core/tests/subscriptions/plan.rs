//! What a history is like: everything random about it comes from its seed. Times are milliseconds, chances per cent.

use crate::dice::Dice;

impl Dice {
    /// A chance that most histories do without.
    const fn sometimes(&mut self, histories: u64, low: u64, high: u64) -> u64 {
        if self.percent(histories) { self.between(low, high) } else { 0 }
    }

    /// In 0..1.
    pub(crate) fn jitter(&mut self) -> f64 {
        f64::from(u32::try_from(self.between(0, 999_999)).expect("small")) / 1_000_000.0
    }
}

/// Where the reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Horizon,
    /// After this record.
    After(usize),
    /// At this time.
    At(u64),
}

/// One history.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) start: Start,
    /// The run ends once it has caught up.
    pub(crate) until_caught_up: bool,
    pub(crate) begins_at: u64,
    /// From now on nothing goes wrong any more.
    pub(crate) calm_at: u64,
    /// When records are written.
    pub(crate) writes: Vec<u64>,
    pub(crate) closes_at: Option<u64>,
    pub(crate) retention: u64,
    /// Events that fit into the transport.
    pub(crate) window: usize,
    pub(crate) page_max: usize,
    /// What the host knows of the service's clock is this exact.
    pub(crate) clock_error: u64,
    pub(crate) transit_max: u64,
    pub(crate) beat_max: u64,
    /// An event names a continuation that lies behind its records, or none.
    pub(crate) lagging: u64,
    /// An empty event comes before the next records, and says how far behind it is.
    pub(crate) scans: u64,
    /// The end of a shard comes with its last records.
    pub(crate) end_with_records: u64,
    /// A subscription breaks before its time.
    pub(crate) breaks: u64,
    /// Whatever is subscribed breaks at this time.
    pub(crate) cut_at: Option<u64>,
    pub(crate) stalls: u64,
    pub(crate) early_ends: u64,
    pub(crate) late_ends: u64,
    /// Ends within a second, without an event.
    pub(crate) empty_lives: u64,
    pub(crate) call_fails: u64,
    /// A call is refused for want of rights, twice at most.
    pub(crate) call_denied: u64,
    pub(crate) call_hangs: u64,
    pub(crate) timeout: u64,
    /// No call succeeds from the first time to the second.
    pub(crate) outage: Option<(u64, u64)>,
    /// Another reader calls.
    pub(crate) others: Vec<u64>,
    /// The reader is paused at the first, resumed at the second, and so on.
    pub(crate) pauses: Vec<u64>,
    pub(crate) slow_hand_over: u64,
    pub(crate) hand_over_max: u64,
    /// The sinks take nothing from the first time to the second.
    pub(crate) sinks_stop: Option<(u64, u64)>,
    pub(crate) no_room: u64,
    /// It is denied for good at this time.
    pub(crate) denied_at: Option<u64>,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

impl Plan {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let begins_at = 20 * MINUTE;
        let calm_at = begins_at + dice.between(2 * MINUTE, 40 * MINUTE);
        let closes_at = dice.percent(40).then(|| dice.between(10 * MINUTE, calm_at + 2 * MINUTE));
        let writes = writes(dice, calm_at + 2 * MINUTE, closes_at.unwrap_or(u64::MAX));
        let start = match dice.between(0, 3) {
            0 if !writes.is_empty() => {
                let last = writes.iter().filter(|at| **at < begins_at).count().max(1) - 1;
                Start::After(dice.size(0, u64::try_from(last).expect("small")))
            }
            1 => Start::At(dice.between(begins_at - 15 * MINUTE, begins_at + 2 * MINUTE)),
            _ => Start::Horizon,
        };
        Self {
            start,
            until_caught_up: dice.percent(15) && !matches!(start, Start::At(at) if at > begins_at),
            begins_at,
            calm_at,
            closes_at,
            retention: if dice.percent(30) { dice.between(5 * MINUTE, 20 * MINUTE) } else { 24 * 60 * MINUTE },
            window: dice.size(1, 30),
            page_max: dice.size(1, 20),
            clock_error: dice.between(0, 2 * SECOND),
            transit_max: if dice.percent(80) { dice.between(5, 200) } else { dice.between(200, 4 * SECOND) },
            beat_max: dice.between(2 * SECOND, 5 * SECOND),
            lagging: dice.sometimes(30, 5, 100),
            scans: dice.sometimes(40, 5, 60),
            end_with_records: dice.between(0, 1) * 100,
            breaks: dice.sometimes(60, 5, 80),
            cut_at: None,
            stalls: dice.sometimes(50, 5, 40),
            early_ends: dice.sometimes(30, 5, 60),
            late_ends: dice.sometimes(50, 5, 60),
            empty_lives: dice.sometimes(20, 5, 60),
            call_fails: dice.sometimes(50, 5, 70),
            call_denied: dice.sometimes(30, 5, 50),
            call_hangs: dice.sometimes(40, 5, 40),
            timeout: dice.between(5 * SECOND, 60 * SECOND),
            outage: dice.percent(30).then(|| {
                let from = dice.between(begins_at, calm_at);
                (from, dice.between(from, calm_at))
            }),
            others: others(dice, begins_at, calm_at),
            pauses: pauses(dice, begins_at, calm_at),
            slow_hand_over: dice.sometimes(40, 1, 10),
            hand_over_max: dice.between(10 * SECOND, 5 * MINUTE),
            sinks_stop: None,
            no_room: dice.sometimes(30, 1, 20),
            denied_at: dice.percent(5).then(|| dice.between(begins_at, calm_at)),
            writes,
        }
    }
}

impl Plan {
    /// A shard that nobody writes to, read for this long, and nothing goes wrong.
    pub(crate) const fn quiet(lasts: u64) -> Self {
        let begins_at = MINUTE;
        Self {
            start: Start::Horizon,
            until_caught_up: false,
            begins_at,
            calm_at: begins_at + lasts,
            writes: Vec::new(),
            closes_at: None,
            retention: 24 * 60 * MINUTE,
            window: 8,
            page_max: 10,
            clock_error: 0,
            transit_max: 100,
            // Seldom, so that many shards are read in no time.
            beat_max: 30 * SECOND,
            lagging: 0,
            scans: 0,
            end_with_records: 0,
            breaks: 0,
            cut_at: None,
            stalls: 0,
            early_ends: 0,
            late_ends: 0,
            empty_lives: 0,
            call_fails: 0,
            call_denied: 0,
            call_hangs: 0,
            timeout: 10 * SECOND,
            outage: None,
            others: Vec::new(),
            pauses: Vec::new(),
            slow_hand_over: 0,
            hand_over_max: SECOND,
            sinks_stop: None,
            no_room: 0,
            denied_at: None,
        }
    }
}

fn writes(dice: &mut Dice, until: u64, closes_at: u64) -> Vec<u64> {
    let (mut at, mut writes) = (dice.between(0, 5 * MINUTE), Vec::new());
    let pause_max = dice.between(SECOND, 2 * MINUTE);
    while at < until.min(closes_at) {
        // Many at once, then nothing for long.
        let burst = if dice.percent(20) { dice.between(1, 60) } else { 1 };
        (0..burst).for_each(|_| writes.push(at));
        let longest = if dice.percent(5) { 10 * MINUTE } else { pause_max };
        at += dice.between(1, longest);
    }
    writes
}

fn others(dice: &mut Dice, from: u64, until: u64) -> Vec<u64> {
    let mut others = Vec::new();
    if dice.percent(30) {
        let mut at = from;
        let pause_max = dice.between(30 * SECOND, 15 * MINUTE);
        loop {
            let longest = if dice.percent(40) { 15 * SECOND } else { pause_max };
            at += dice.between(SECOND, longest);
            if at >= until {
                break;
            }
            others.push(at);
        }
    }
    others
}

/// Of an even number.
fn pauses(dice: &mut Dice, from: u64, until: u64) -> Vec<u64> {
    let mut pauses = Vec::new();
    if dice.percent(35) {
        let mut at = from;
        let (apart, long) = (dice.between(SECOND, 8 * MINUTE), dice.between(SECOND, 6 * MINUTE));
        loop {
            let begin = at + dice.between(1, apart);
            let end = begin + dice.between(1, long);
            if end >= until {
                break;
            }
            pauses.extend([begin, end]);
            at = end;
        }
    }
    pauses
}
