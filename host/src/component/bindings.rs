//! The contract as Rust types, generated from `wit/`. What goes in for each batch or round borrows what the host has, what
//! comes out is owned: a borrowed result would point into memory that the component has already freed.
//!
//! What every role shares is generated once and each role apart, so that one set of imports serves all of them and a
//! component may have several.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "sluicebox:pipeline/base",
    imports: { default: trappable },
    with: {
        "sluicebox:pipeline/metrics.counter": crate::component::imports::metrics::Counter,
        "sluicebox:pipeline/metrics.gauge": crate::component::imports::metrics::Gauge,
        "sluicebox:pipeline/metrics.histogram": crate::component::imports::metrics::Histogram,
    },
});

/// Deserializers of Kinesis records.
pub(crate) mod kinesis {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package sluicebox:host;
            world kinesis-deserializer-role {
                export sluicebox:pipeline/kinesis-deserializer@0.1.0;
            }
        ",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "sluicebox:pipeline/types": crate::component::bindings::sluicebox::pipeline::types },
    });
}

/// Shard assigners.
pub(crate) mod assigner {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package sluicebox:host;
            world shard-assigner-role {
                export sluicebox:pipeline/shard-assigner@0.1.0;
            }
        ",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "sluicebox:pipeline/types": crate::component::bindings::sluicebox::pipeline::types },
    });
}
