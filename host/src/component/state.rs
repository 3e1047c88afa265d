//! What the host keeps beside one instance: the data of its store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_core::moment::EpochMillis;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::component::deserializer::ConfigValue;
use crate::component::imports::log::GuestLog;
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::limits::{Allowance, MemoryLimiter, Meter};
use crate::component::wasi::Random;

/// The data of a store. Nothing in it is shared with another tenant's.
pub(crate) struct State {
    /// Resources that the component holds handles of.
    pub(super) table: ResourceTable,
    /// The inert part of WASI: empty environment, closed input, output into the log.
    pub(super) wasi: WasiCtx,
    /// Seeded, so that a run can be repeated.
    pub(super) random: Random,
    /// The batch's time, the only time a component sees.
    pub(super) time: EpochMillis,
    /// The batch's time in nanoseconds, except that it never goes back.
    pub(super) monotonic: u64,
    /// What it allocated.
    pub(super) memory: MemoryLimiter,
    /// What the running call used.
    pub(super) meter: Meter,
    /// Where its lines go; shared with its standard streams.
    pub(super) log: Arc<Mutex<GuestLog>>,
    /// Where its metrics count.
    pub(super) metrics: Arc<ComponentMetrics>,
    /// How many metric handles it made.
    pub(super) metric_handles: u32,
    /// Whether one of them was refused.
    pub(super) metric_refused: bool,
    /// Its `config` table.
    pub(super) config: Arc<[(String, ConfigValue)]>,
}

impl State {
    /// Prepares for a call that shows `time`, and starts to measure it.
    pub(super) fn begin(&mut self, time: EpochMillis, allowance: Allowance) {
        self.time = time;
        self.monotonic = u64::try_from(time.0).unwrap_or(0).saturating_mul(1_000_000).max(self.monotonic);
        self.memory.begin();
        self.log().begin();
        self.meter = Meter::start(allowance);
    }

    /// The instance's log.
    pub(super) fn log(&self) -> MutexGuard<'_, GuestLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
