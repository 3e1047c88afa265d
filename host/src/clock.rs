//! The one place where time enters: moments for the core, wall-clock time for what is stored or compared with the
//! service's timestamps. Both run on tokio's clock, so a test that pauses it pauses the whole host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_core::moment::{EpochMillis, Moment};
use tokio::time::Instant;

/// Time since the process started, and since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_wall: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_wall: wall }
    }

    /// The core's time.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }

    /// Milliseconds since the epoch: the wall clock at the start plus the time since.
    #[must_use]
    pub fn wall(&self) -> EpochMillis {
        let millis = (self.started_wall + self.started.elapsed()).as_millis();
        EpochMillis(i64::try_from(millis).unwrap_or(i64::MAX))
    }

    /// Waits until `moment`.
    pub async fn wait_until(&self, moment: Moment) {
        tokio::time::sleep_until(self.started + moment.0).await;
    }
}
