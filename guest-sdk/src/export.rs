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
    (kinesis_element_converter $component:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::kinesis_converter::export_kinesis_element_converter!(
            $component with_types_in $crate::bindings::kinesis_converter
        );

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C: $crate::bindings::kinesis_converter::exports::sluicebox::pipeline::kinesis_element_converter::Guest>() {}
            exports::<$component>();
        };
    };
    (dynamodb_element_converter $component:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::dynamodb_converter::export_dynamodb_element_converter!(
            $component with_types_in $crate::bindings::dynamodb_converter
        );

        #[cfg(not(target_family = "wasm"))]
        const _: () = {
            const fn exports<C: $crate::bindings::dynamodb_converter::exports::sluicebox::pipeline::dynamodb_element_converter::Guest>() {}
            exports::<$component>();
        };
    };
}

/// Where a component of one role keeps its instance (`INSTANCE`), and its life: the same for each role.
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($instance:ty as $role:path) => {
        ::std::thread_local! {
            static INSTANCE: $crate::slot::Slot<$instance> = const { $crate::slot::Slot::empty() };
        }

        struct Component;

        impl $crate::bindings::exports::sluicebox::pipeline::lifecycle::Guest for Component {
            fn open(
                context: $crate::bindings::sluicebox::pipeline::types::OpenContext,
            ) -> ::std::result::Result<(), $crate::bindings::sluicebox::pipeline::types::GuestError> {
                INSTANCE.with(|slot| slot.open(context, <$instance as $role>::open))
            }

            fn restore(
                snapshot: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<(), $crate::bindings::sluicebox::pipeline::types::GuestError> {
                INSTANCE.with(|slot| slot.with(|instance| <$instance as $role>::restore(instance, &snapshot)))
            }

            fn close() -> ::std::result::Result<
                ::std::option::Option<::std::vec::Vec<u8>>,
                $crate::bindings::sluicebox::pipeline::types::GuestError,
            > {
                INSTANCE.with(|slot| slot.with(<$instance as $role>::close))
            }
        }
    };
}
