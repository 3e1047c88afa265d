//! The service's time. It is not the host's: it may run faster, stand still, jump, or simply be wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by the service's clock.
pub type Millis = i64;

/// A handle to the clock; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Anchor>>);

/// The clock read `then` at `at` and has gone `speed` times as fast as real time since.
#[derive(Debug)]
struct Anchor {
    at: Instant,
    then: f64,
    speed: f64,
}

impl Anchor {
    fn now(&self) -> f64 {
        self.then + self.at.elapsed().as_secs_f64() * 1000.0 * self.speed
    }

    fn move_to(&mut self, then: f64, speed: f64) {
        *self = Self { at: Instant::now(), then, speed };
    }
}

impl Clock {
    /// The machine's time.
    #[must_use]
    pub fn wall() -> Self {
        Self::sped_up(1.0)
    }

    /// From the machine's time on, `factor` times as fast.
    #[must_use]
    pub fn sped_up(factor: f64) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self::starting_at(i64::try_from(wall).unwrap_or(i64::MAX), factor)
    }

    /// Stands still at `now` until told to advance.
    #[must_use]
    pub fn frozen_at(now: Millis) -> Self {
        Self::starting_at(now, 0.0)
    }

    fn starting_at(now: Millis, speed: f64) -> Self {
        Self(Arc::new(Mutex::new(Anchor { at: Instant::now(), then: now as f64, speed })))
    }

    /// Reads the clock.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.with(|anchor| anchor.now().floor() as Millis)
    }

    /// Jumps ahead.
    pub fn advance(&self, by: Duration) {
        self.shift(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Jumps by any number of milliseconds, backwards too. Arrival times within a shard never go back all the same.
    pub fn shift(&self, by: Millis) {
        self.with(|anchor| anchor.move_to(anchor.now() + by as f64, anchor.speed));
    }

    /// Goes on `factor` times as fast as real time; 0 stands still.
    pub fn set_speed(&self, factor: f64) {
        self.with(|anchor| anchor.move_to(anchor.now(), factor));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Anchor) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
