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

/// Everything that makes elements or takes them. One world, because these roles share types, which are generated once for
/// each direction that they travel in; a component has to export only the role that it is loaded for.
pub(crate) mod elements {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package sluicebox:host;
            world element-roles {
                export sluicebox:pipeline/kinesis-deserializer@0.1.0;
                export sluicebox:pipeline/kinesis-element-converter@0.1.0;
                export sluicebox:pipeline/dynamodb-element-converter@0.1.0;
            }
        ",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: { "sluicebox:pipeline/types": crate::component::bindings::sluicebox::pipeline::types },
    });

    pub(crate) use exports::sluicebox::pipeline::{
        dynamodb_element_converter, kinesis_deserializer, kinesis_element_converter,
    };
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
