//! The service's time. It is not the host's: it may run faster, stand still, jump, or simply be wrong.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

/// Milliseconds since the Unix epoch, by the service's clock.
pub type Millis = i64;

/// A handle to the clock; clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Works>);

#[derive(Debug)]
struct Works {
    anchor: Mutex<Anchor>,
    /// It jumped, or goes at another speed.
    moved: Notify,
}

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

    /// Real time until the clock reads `at`; `None` while it stands still before that.
    fn real_until(&self, at: Millis) -> Option<Duration> {
        let left = at as f64 - self.now();
        if left <= 0.0 {
            return Some(Duration::ZERO);
        }
        let seconds = left / 1000.0 / self.speed;
        (self.speed > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
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
        let anchor = Mutex::new(Anchor { at: Instant::now(), then: now as f64, speed });
        Self(Arc::new(Works { anchor, moved: Notify::new() }))
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
        self.0.moved.notify_waiters();
    }

    /// Goes on `factor` times as fast as real time; 0 stands still.
    pub fn set_speed(&self, factor: f64) {
        self.with(|anchor| anchor.move_to(anchor.now(), factor));
        self.0.moved.notify_waiters();
    }

    /// Waits until the clock reads `at`, however it comes to.
    async fn reaches(&self, at: Millis) {
        loop {
            let moved = self.0.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, so that no jump falls between the two.
            moved.as_mut().enable();
            match self.with(|anchor| anchor.real_until(at)) {
                Some(Duration::ZERO) => return,
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = moved => {}
                },
                None => moved.await,
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Anchor) -> T) -> T {
        act(&mut self.0.anchor.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long something takes, and by whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// By the service's, which a test may move.
    Service(Duration),
    /// By the machine's, whatever the service's does.
    Real(Duration),
}

impl Wait {
    /// Begins it now.
    pub(crate) fn begin(self, clock: &Clock) -> Deadline {
        match self {
            Self::Service(wait) => {
                Deadline::Service(clock.now().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
            }
            Self::Real(wait) => Deadline::Real(tokio::time::Instant::now() + wait),
        }
    }
}

/// When a [`Wait`] is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    Service(Millis),
    Real(tokio::time::Instant),
}

impl Deadline {
    pub(crate) fn has_passed(self, clock: &Clock) -> bool {
        match self {
            Self::Service(at) => clock.now() >= at,
            Self::Real(at) => tokio::time::Instant::now() >= at,
        }
    }

    pub(crate) async fn passes(self, clock: &Clock) {
        match self {
            Self::Service(at) => clock.reaches(at).await,
            Self::Real(at) => tokio::time::sleep_until(at).await,
        }
    }
}
