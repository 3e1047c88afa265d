//! Makes instances of one component in one place of a pipeline, one after the other: what they all start with, and how
//! many there were.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use host_core::moment::EpochMillis;
use tracing::warn;
use wasmtime::component::ResourceTable;

use crate::component::cache::Digest;
use crate::component::deserializer::{ConfigValue, OpenContext};
use crate::component::error::ComponentError;
use crate::component::imports::log::{Author, GuestLog};
use crate::component::imports::metrics::ComponentMetrics;
use crate::component::instance::{Exports, Instance};
use crate::component::limits::{Allowance, Limits, MemoryLimiter, Meter};
use crate::component::load::Loaded;
use crate::component::state::State;
use crate::component::wasi::{self, Random};

/// What every instance of one stage and subtask has in common.
pub(super) struct Maker {
    loaded: Loaded,
    context: OpenContext,
    config: Arc<[(String, ConfigValue)]>,
    limits: Limits,
    metrics: Arc<ComponentMetrics>,
    made: u32,
}

impl Maker {
    pub(super) fn new(loaded: Loaded, context: OpenContext, limits: Limits, metrics: Arc<ComponentMetrics>) -> Self {
        let config = context.config.clone().into();
        Self { loaded, context, config, limits, metrics, made: 0 }
    }

    /// The digest of the component.
    pub(super) fn digest(&self) -> Digest {
        self.loaded.digest()
    }

    /// What one call may use.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many instances there were.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// A new instance, opened.
    pub(super) fn fresh<R: Exports>(&mut self, time: EpochMillis) -> Result<Instance<R>, ComponentError> {
        self.made = self.made.saturating_add(1);
        let mut instance = Instance::start(&self.loaded, self.state(time), time)?;
        instance.open(&self.context, self.made, time)?;
        Ok(instance)
    }

    /// Ends an instance in order, if there is one. What it says is of no consequence.
    pub(super) fn close<R: Exports>(&self, instance: Option<Instance<R>>, time: EpochMillis) {
        if let Some(mut instance) = instance
            && let Err(error) = instance.close(time)
        {
            let OpenContext { tenant, pipeline, stage, subtask, .. } = &self.context;
            warn!(tenant, pipeline, stage, subtask, %error, "a component did not close in order");
        }
    }

    /// The data of a new store.
    fn state(&self, time: EpochMillis) -> State {
        let OpenContext { tenant, pipeline, stage, subtask, .. } = &self.context;
        let seed = Digest::of(format!("{tenant}\n{pipeline}\n{stage}\n{subtask}").as_bytes()).leading_number();
        let (tenant, pipeline, stage, subtask) = (tenant.clone(), pipeline.clone(), stage.clone(), *subtask);
        let author = Author { tenant, pipeline, stage, subtask };
        let log = GuestLog::new(author, self.limits.log_bytes_per_second, Instant::now());
        let log = Arc::new(Mutex::new(log));
        State {
            table: ResourceTable::new(),
            wasi: wasi::context(&log),
            random: Random::new(seed),
            time,
            monotonic: 0,
            memory: MemoryLimiter::new(self.limits.memory),
            meter: Meter::start(Allowance::LIFECYCLE),
            log,
            metrics: Arc::clone(&self.metrics),
            metric_handles: 0,
            metric_refused: false,
            config: Arc::clone(&self.config),
        }
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loaded, context, made, .. } = self;
        f.debug_struct("Maker")
            .field("loaded", loaded)
            .field("stage", &context.stage)
            .field("subtask", &context.subtask)
            .field("made", made)
            .finish_non_exhaustive()
    }
}
