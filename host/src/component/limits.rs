//! What one instance of a component may use. Every limit is enforced by the host while the component runs or on what it
//! hands back, and each has its own error, so that "too much" is never a mystery trap.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

/// A component's limits, from the manifest's `limits` table under the operator's caps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory and tables, summed over everything in the instance. Default 64 MiB.
    pub memory: usize,
    /// CPU time of one batch, imports included. Default 50 ms; enforced in steps of the engine's tick (5 ms).
    pub cpu_per_batch: Duration,
    /// Elapsed time of one batch. Default 2 s.
    pub wall_per_batch: Duration,
    /// How many times the size of a batch its output may be, columns included. Default 8.
    pub output_ratio: u32,
    /// Output, in bytes, that is allowed however small the batch. Default 1 MiB.
    pub output_floor: usize,
    /// Output, in bytes, that is never exceeded however large the batch. Default 32 MiB.
    pub output_cap: usize,
    /// Bytes of log lines, standard output and standard error a second; a second's worth may come at once. Default 64 KiB.
    pub log_bytes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            cpu_per_batch: Duration::from_millis(50),
            wall_per_batch: Duration::from_secs(2),
            output_ratio: 8,
            output_floor: 1 << 20,
            output_cap: 32 << 20,
            log_bytes_per_second: 64 << 10,
        }
    }
}

impl Limits {
    /// The defaults of a shard assigner, whose batch is a round: 1 s of CPU time and 5 s in all, because a round may have
    /// ten thousand shards and comes once in many seconds.
    #[must_use]
    pub fn of_assigner() -> Self {
        Self { cpu_per_batch: Duration::from_secs(1), wall_per_batch: Duration::from_secs(5), ..Self::default() }
    }

    /// Elements that one batch may become whatever its size.
    const ELEMENTS_FLOOR: usize = 65_536;

    /// How many bytes may come back for a batch of `input` bytes.
    pub(super) fn output_bytes(&self, input: usize) -> usize {
        let ratio = usize::try_from(self.output_ratio).unwrap_or(usize::MAX);
        input.saturating_mul(ratio).max(self.output_floor).min(self.output_cap)
    }

    /// How many elements may come back for a batch of `records`: an element costs the host more than its bytes.
    pub(super) fn elements(&self, records: usize) -> usize {
        let ratio = usize::try_from(self.output_ratio).unwrap_or(usize::MAX);
        records.saturating_mul(ratio).max(Self::ELEMENTS_FLOOR)
    }

    /// The budget of a batch.
    pub(super) fn batch(&self) -> Allowance {
        Allowance { cpu: self.cpu_per_batch, wall: self.wall_per_batch }
    }
}

/// How long one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// CPU time of the calling thread.
    pub(super) cpu: Duration,
    /// Elapsed time.
    pub(super) wall: Duration,
}

impl Allowance {
    /// Start functions, `open` and `close` run code too: more of it than a batch does, and only once.
    pub(super) const LIFECYCLE: Self = Self { cpu: Duration::from_secs(2), wall: Duration::from_secs(10) };
}

/// Why the host stopped a call. Travels through the component as the cause of a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    /// The call's CPU budget is spent.
    #[error("cpu budget spent")]
    Cpu {
        /// What was used when the host looked.
        used: Duration,
    },
    /// The call took too long.
    #[error("timed out")]
    Wall,
}

/// The meter of the running call, read at each tick while the component's code executes.
#[derive(Debug)]
pub(super) struct Meter {
    allowance: Allowance,
    cpu: Duration,
    wall: Instant,
}

impl Meter {
    /// Starts to measure a call on this thread.
    pub(super) fn start(allowance: Allowance) -> Self {
        Self { allowance, cpu: thread_cpu(), wall: Instant::now() }
    }

    /// Whether the call may go on.
    pub(super) fn check(&self) -> Result<(), Stop> {
        let used = thread_cpu().saturating_sub(self.cpu);
        if used > self.allowance.cpu {
            return Err(Stop::Cpu { used });
        }
        if self.wall.elapsed() > self.allowance.wall {
            return Err(Stop::Wall);
        }
        Ok(())
    }

    /// What the call was allowed.
    pub(super) fn allowance(&self) -> Allowance {
        self.allowance
    }
}

/// CPU time of the calling thread since it started.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Sums all memories and tables of one store, and remembers that it said no: a language runtime answers a refused
/// allocation with an abort, which would otherwise read as an `unreachable` of unknown origin.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    limit: usize,
    used: usize,
    denied: bool,
}

impl MemoryLimiter {
    /// What one table element takes.
    const ELEMENT_BYTES: usize = size_of::<usize>();

    /// Allows `limit` bytes in all.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, denied: false }
    }

    /// Forgets an earlier denial: the component coped with it.
    pub(super) fn begin(&mut self) {
        self.denied = false;
    }

    /// Whether a request was denied since [`MemoryLimiter::begin`].
    pub(super) fn denied(&self) -> bool {
        self.denied
    }

    /// The limit, in bytes.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    fn grow(&mut self, more: usize) -> bool {
        let used = self.used.saturating_add(more);
        let fits = used <= self.limit;
        if fits {
            self.used = used;
        } else {
            self.denied = true;
        }
        fits
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(Self::ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit_and_a_denial_is_remembered() {
        let mut limiter = MemoryLimiter::new(100_000);
        assert!(limiter.memory_growing(0, 65_536, None).expect("no error"));
        assert!(limiter.table_growing(0, 1_000, None).expect("no error"));
        assert!(!limiter.denied());
        assert!(!limiter.memory_growing(0, 65_536, None).expect("no error"), "a second memory counts too");
        assert!(limiter.denied());
        limiter.begin();
        assert!(!limiter.denied());
        assert!(limiter.table_growing(1_000, 2_000, None).expect("no error"), "the denied request was not counted");
    }

    #[test]
    fn output_is_a_multiple_of_the_input_between_a_floor_and_a_cap() {
        let limits = Limits::default();
        assert_eq!(limits.output_bytes(0), 1 << 20);
        assert_eq!(limits.output_bytes(256 << 10), 2 << 20);
        assert_eq!(limits.output_bytes(10 << 20), 32 << 20);
        assert_eq!(limits.elements(1), 65_536);
        assert_eq!(limits.elements(10_000), 80_000);
    }
}
