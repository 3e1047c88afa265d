//! The WebAssembly engine: one for each process.
//!
//! Small on purpose. Every proposal that no component needs is off, because most of the engine's security fixes were in
//! them; so is concurrency inside a component, which would make every call three times as dear. Code is compiled with
//! epoch checks, the only way to stop a loop that calls nothing, and a thread advances the epoch while a call runs
//! (and sleeps otherwise).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Inlining, ModuleVersionStrategy, OptLevel, PoolingAllocationConfig, Strategy, WasmFeatures};

use crate::component::cache::Compilations;

/// The exact version of the engine: code compiled by another is never loaded. A test compares it with `Cargo.lock`.
pub(super) const WASMTIME: &str = "48.0.8";
/// How often a running call is looked at.
const TICK: Duration = Duration::from_millis(5);
/// Instances that can live at once.
const INSTANCES: u32 = 1_000;

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The processor or the system lacks something.
    #[error("the WebAssembly engine does not start on this machine: {0}")]
    Unsupported(String),
    /// The thread that stops endless loops cannot be started.
    #[error("the thread that stops components at their limits does not start")]
    Ticker(#[source] std::io::Error),
}

/// Compiles and runs components. Cheap to clone: all clones are one engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    ticker: Ticker,
    compilations: Compilations,
    pooled: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("pooled", &self.0.pooled).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the engine. Instances come from a pool of prepared slots if the address space has room for it (about
    /// 4 TiB, reserved and not used), and are made one by one otherwise.
    ///
    /// # Errors
    /// The machine cannot run the engine.
    pub fn new() -> Result<Self, EngineError> {
        let pooled = configure().and_then(|mut config| {
            config.allocation_strategy(pool());
            wasmtime::Engine::new(&config)
        });
        let (wasmtime, pooled) = match pooled {
            Ok(engine) => (engine, true),
            Err(reason) => {
                tracing::info!(%reason, "no address space for a pool of instances, making them one by one");
                let engine = configure().and_then(|config| wasmtime::Engine::new(&config));
                (engine.map_err(|error| EngineError::Unsupported(format!("{error:#}")))?, false)
            }
        };
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Ticker)?;
        let compilations = Compilations(Mutex::new(BTreeMap::new()));
        Ok(Self(Arc::new(Inner { wasmtime, ticker, compilations, pooled })))
    }

    /// The engine underneath.
    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    /// What was compiled and is still in use.
    pub(super) fn compilations(&self) -> &Compilations {
        &self.0.compilations
    }

    /// Ticks until the guard is dropped: a call runs.
    pub(super) fn ticking(&self) -> Ticking<'_> {
        self.0.ticker.begin();
        Ticking(&self.0.ticker)
    }
}

fn configure() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.concurrency_support(false);
    for feature in [
        WasmFeatures::GC,
        WasmFeatures::FUNCTION_REFERENCES,
        WasmFeatures::EXCEPTIONS,
        WasmFeatures::THREADS,
        WasmFeatures::MEMORY64,
        WasmFeatures::MULTI_MEMORY,
        WasmFeatures::TAIL_CALL,
        WasmFeatures::RELAXED_SIMD,
    ] {
        config.wasm_features(feature, false);
    }
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed).compiler_inlining(Inlining::Yes);
    // Free here, and the same input gives the same output on every machine.
    config.cranelift_nan_canonicalization(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(512 << 10);
    // A memory is a reservation of 4 GiB with a guard behind, so that code needs no bounds checks.
    config.memory_reservation(4 << 30).memory_guard_size(32 << 20);
    // The default is the major version: it would load code of a compiler that a patch release has mended.
    let version = format!("{WASMTIME}+sluicebox-{}", env!("CARGO_PKG_VERSION"));
    config.module_version(ModuleVersionStrategy::Custom(version))?;
    Ok(config)
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        // Each store has a limit of its own over all of its memories: the slots need none below theirs.
        .max_memory_size(4 << 30)
        .table_elements(20_000)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(2 << 20)
        // Components made by componentize-py have 38.
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .decommit_batch_size(16);
    pool
}

struct Calls {
    running: usize,
    /// Whether one began since the last tick.
    begun: bool,
    /// Whether the thread waits for the next call rather than for the next tick.
    asleep: bool,
    stopped: bool,
}

struct Shared {
    calls: Mutex<Calls>,
    changed: Condvar,
}

/// The thread that advances the epoch. It falls asleep only after a whole tick without a call: most calls are much shorter
/// than a tick and follow one another closely, and to wake a thread costs more than to hand over a hundred records.
struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While it lives, the epoch advances.
pub(super) struct Ticking<'a>(&'a Ticker);

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let calls = Mutex::new(Calls { running: 0, begun: false, asleep: false, stopped: false });
        let shared = Arc::new(Shared { calls, changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("component-tick".into()).spawn(move || theirs.tick(&engine))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A call begins.
    fn begin(&self) {
        let mut calls = self.shared.lock();
        calls.running += 1;
        calls.begun = true;
        if std::mem::take(&mut calls.asleep) {
            self.shared.changed.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &wasmtime::Engine) {
        let mut calls = self.lock();
        while !calls.stopped {
            let busy = std::mem::take(&mut calls.begun) || calls.running > 0;
            calls = if busy {
                let (calls, _) = self
                    .changed
                    .wait_timeout_while(calls, TICK, |calls| !calls.stopped)
                    .unwrap_or_else(PoisonError::into_inner);
                engine.increment_epoch();
                calls
            } else {
                calls.asleep = true;
                self.changed
                    .wait_while(calls, |calls| calls.asleep && !calls.stopped)
                    .unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that stops components at their limits had panicked");
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.lock().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the thread waits for a call.
    fn asleep(engine: &Engine) -> bool {
        engine.0.ticker.shared.lock().asleep
    }

    #[test]
    fn a_loop_that_calls_nothing_is_stopped_also_after_a_rest() {
        let engine = Engine::new().expect("the engine starts here");
        let endless = r#"(module (func (export "endless") (loop (br 0))))"#;
        let module = wasmtime::Module::new(engine.wasmtime(), endless).expect("a valid module");
        let mut store = wasmtime::Store::new(engine.wasmtime(), ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("it imports nothing");
        let endless = instance.get_typed_func::<(), ()>(&mut store, "endless").expect("exported");
        for _ in 0..3 {
            // The longest way to be stopped: the thread has to be woken first.
            while !asleep(&engine) {
                std::thread::yield_now();
            }
            store.set_epoch_deadline(2);
            let ticking = engine.ticking();
            let stopped = endless.call(&mut store, ()).expect_err("an endless loop does not return");
            assert_eq!(stopped.downcast_ref::<wasmtime::Trap>(), Some(&wasmtime::Trap::Interrupt));
            assert!(!asleep(&engine), "while a call runs the thread ticks");
            drop(ticking);
        }
    }

    #[test]
    fn the_stated_version_is_the_locked_one() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n")));
    }
}
