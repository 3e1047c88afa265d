//! The contract as Rust types, generated from `wit/`. What goes in borrows the host's columns, what comes out is owned:
//! a borrowed result would point into memory that the component has already freed.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "sluicebox:pipeline/kinesis-deserializer-guest",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
    with: {
        "sluicebox:pipeline/metrics.counter": crate::component::imports::metrics::Counter,
        "sluicebox:pipeline/metrics.gauge": crate::component::imports::metrics::Gauge,
        "sluicebox:pipeline/metrics.histogram": crate::component::imports::metrics::Histogram,
    },
});
