//! How a type becomes a component.

/// Exports a type that implements the raw traits of [`bindings`](crate::bindings): `lifecycle::Guest` and the trait of
/// each role that is named, as in `export_component!(Component: kinesis_deserializer, shard_assigner)`. Only for `wasm32`,
/// elsewhere it only checks that the type has them.
#[macro_export]
macro_rules! export_component {
    ($component:ident: $($role:ident),+ $(,)?) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_lifecycle!($component with_types_in $crate::bindings);

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C: $crate::bindings::exports::sluicebox::pipeline::lifecycle::Guest>() {}
            exports::<$component>();
        };

        $($crate::__export_role!($role $component);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (kinesis_deserializer $component:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::kinesis::export_kinesis_deserializer!(
            $component with_types_in $crate::bindings::kinesis
        );

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C: $crate::bindings::kinesis::exports::sluicebox::pipeline::kinesis_deserializer::Guest>() {}
            exports::<$component>();
        };
    };
    (shard_assigner $component:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::assigner::export_shard_assigner!($component with_types_in $crate::bindings::assigner);

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C: $crate::bindings::assigner::exports::sluicebox::pipeline::shard_assigner::Guest>() {}
            exports::<$component>();
        };
    };
}
