//! How fast one destination is written to.
//!
//! A quota says what a destination takes in all; others may write there too. So the speed, a part of the quota, begins at a
//! quarter and doubles every quarter of a second while what is sent is taken. What is thrown back says how much too fast it
//! was: a tenth of the entries thrown back slows by a tenth. That is done once for all requests that left before, because
//! they say nothing about the slower speed. After that it grows by small steps that grow themselves, so that it stays near
//! the limit while there is one, and is back at full speed within seconds once there is none.
//!
//! Speed grows only where it was the speed that limited; a destination of which no quota is known starts as a shard does and
//! has no upper end.

use std::time::Duration;

use super::vocabulary::Quota;
use crate::moment::Moment;

/// What a destination of unknown quota is supposed to take at first: as much as a shard.
const SUPPOSED: Quota = Quota { records_per_second: 1_000.0, bytes_per_second: 1_000_000.0 };
const SPEED_START: f64 = 0.25;
/// Slower is never of use: the pauses of the entries themselves do the rest.
const SPEED_MIN: f64 = 0.01;
/// Far beyond everything: 100 million records a second.
const SPEED_UNKNOWN_MAX: f64 = 100_000.0;
/// Between two steps upwards.
const STEP: Duration = Duration::from_millis(250);
/// The first step after a cut, as a part; each further one is twice as large, up to doubling.
const GROWTH_MIN: f64 = 0.05;
/// What a cut leaves, at least and at most.
const CUT: (f64, f64) = (0.5, 0.95);
/// What may be sent at once after a silence, in seconds of the present speed.
const BURST: f64 = 0.25;
/// What is saved up before more is sent, in seconds of the present speed: requests of single records serve nobody.
const PORTION: f64 = 0.05;
/// A destination is tried this often, however large the records and however slow it is: only trying tells that it is over.
const PROBE: Duration = Duration::from_secs(1);
/// The clocks of shells are no finer.
const TICK: Duration = Duration::from_millis(1);

/// Tokens for one destination.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    quota: Quota,
    speed_max: f64,
    speed: f64,
    growth: f64,
    records: f64,
    bytes: f64,
    filled_at: Moment,
    cut_at: Option<Moment>,
    stepped_at: Moment,
    /// Tokens ran out since the last step.
    was_limiting: bool,
}

impl Pace {
    pub(super) fn new(quota: Option<Quota>, now: Moment) -> Self {
        let speed_max = if quota.is_some() { 1.0 } else { SPEED_UNKNOWN_MAX };
        let quota = quota.unwrap_or(SUPPOSED);
        let mut pace = Self {
            quota,
            speed_max,
            speed: SPEED_START,
            growth: 1.0,
            records: 0.0,
            bytes: 0.0,
            filled_at: now,
            cut_at: None,
            stepped_at: now,
            was_limiting: false,
        };
        pace.records = pace.rates().0 * BURST;
        pace.bytes = pace.rates().1 * BURST;
        pace
    }

    /// The quota is another one; what was learned stays.
    pub(super) const fn requote(&mut self, quota: Quota) {
        self.quota = quota;
        self.speed_max = 1.0;
        self.speed = self.speed.min(1.0);
    }

    /// Accounts for an entry. Once there is nothing left, returns when to go on if so many records and bytes wait.
    pub(super) fn spend(&mut self, now: Moment, bytes: u64, waiting: (usize, u64)) -> Option<Moment> {
        self.fill(now);
        self.records -= 1.0;
        self.bytes -= float(bytes);
        if self.records > 0.0 && self.bytes > 0.0 {
            return None;
        }
        self.was_limiting = true;
        let (records, bytes) = self.rates();
        let saved = |rate: f64, waiting: f64, have: f64| ((rate * PORTION).min(waiting.max(1.0)) - have) / rate;
        let wait = saved(records, float(u64::try_from(waiting.0).unwrap_or(u64::MAX)), self.records).max(saved(
            bytes,
            float(waiting.1),
            self.bytes,
        ));
        let wait = Duration::try_from_secs_f64(wait.max(0.0)).unwrap_or(PROBE);
        Some(now + wait.clamp(TICK, PROBE))
    }

    /// The time to go on has come: whatever is owed is forgiven.
    pub(super) fn open(&mut self, now: Moment) {
        self.fill(now);
        self.records = self.records.max(f64::MIN_POSITIVE);
        self.bytes = self.bytes.max(f64::MIN_POSITIVE);
    }

    /// Of the entries of a request that left at `sent_at`, this part was thrown back.
    pub(super) fn throttled(&mut self, now: Moment, sent_at: Moment, part: f64) {
        if self.cut_at.is_some_and(|cut_at| sent_at < cut_at) {
            return;
        }
        self.fill(now);
        self.speed = (self.speed * (1.0 - part).clamp(CUT.0, CUT.1)).max(SPEED_MIN);
        self.growth = GROWTH_MIN;
        self.cut_at = Some(now);
        self.stepped_at = now;
        self.was_limiting = false;
    }

    /// All entries of a request that left at `sent_at` were taken.
    pub(super) fn taken(&mut self, now: Moment, sent_at: Moment) {
        let is_news = self.cut_at.is_none_or(|cut_at| sent_at >= cut_at);
        if !is_news || !self.was_limiting || now.since(self.stepped_at) < STEP {
            return;
        }
        self.fill(now);
        self.speed = (self.speed * (1.0 + self.growth)).min(self.speed_max);
        self.growth = (self.growth * 2.0).min(1.0);
        self.stepped_at = now;
        self.was_limiting = false;
    }

    fn rates(&self) -> (f64, f64) {
        (self.quota.records_per_second * self.speed, self.quota.bytes_per_second * self.speed)
    }

    fn fill(&mut self, now: Moment) {
        let seconds = now.since(self.filled_at).as_secs_f64();
        let (records, bytes) = self.rates();
        self.records = (self.records + records * seconds).min((records * BURST).max(1.0));
        self.bytes = (self.bytes + bytes * seconds).min((bytes * BURST).max(1.0));
        self.filled_at = self.filled_at.max(now);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is no better than its sixteen digits")]
const fn float(count: u64) -> f64 {
    count as f64
}
