//! What `wit-bindgen` makes of the contract: the raw types and traits, for what the plain view does not offer. A
//! component that implements the traits itself exports them with [`export_component`](crate::export_component).
//!
//! Each role is generated apart from what all of them share, so that a component exports its own and nothing else. The
//! linker joins the parts to one world again.
#![expect(missing_docs, reason = "generated; the documentation is in wit/")]

wit_bindgen::generate!({
    path: "../wit",
    world: "sluicebox:pipeline/base",
    pub_export_macro: true,
    default_bindings_module: "sluicebox_guest::bindings",
    export_macro_name: "export_lifecycle",
    generate_all,
});

/// The role of a deserializer of Kinesis records.
pub mod kinesis {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package sluicebox:sdk;
            world kinesis-deserializer-role {
                import sluicebox:pipeline/schema-registry@0.1.0;
                export sluicebox:pipeline/kinesis-deserializer@0.1.0;
            }
        ",
        pub_export_macro: true,
        default_bindings_module: "sluicebox_guest::bindings::kinesis",
        export_macro_name: "export_kinesis_deserializer",
        with: { "sluicebox:pipeline/types@0.1.0": crate::bindings::sluicebox::pipeline::types },
        generate_all,
    });
}

/// The role of a shard assigner.
pub mod assigner {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package sluicebox:sdk;
            world shard-assigner-role {
                export sluicebox:pipeline/shard-assigner@0.1.0;
            }
        ",
        pub_export_macro: true,
        default_bindings_module: "sluicebox_guest::bindings::assigner",
        export_macro_name: "export_shard_assigner",
        with: { "sluicebox:pipeline/types@0.1.0": crate::bindings::sluicebox::pipeline::types },
        generate_all,
    });
}

/// The role of a converter for Kinesis sinks. What an element is, it shares with [`kinesis`].
pub mod kinesis_converter {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package sluicebox:sdk;
            world kinesis-element-converter-role {
                import sluicebox:pipeline/schema-registry@0.1.0;
                export sluicebox:pipeline/kinesis-element-converter@0.1.0;
            }
        ",
        pub_export_macro: true,
        default_bindings_module: "sluicebox_guest::bindings::kinesis_converter",
        export_macro_name: "export_kinesis_element_converter",
        with: {
            "sluicebox:pipeline/types@0.1.0": crate::bindings::sluicebox::pipeline::types,
            "sluicebox:pipeline/columns@0.1.0": crate::bindings::kinesis::sluicebox::pipeline::columns,
            "sluicebox:pipeline/elements@0.1.0": crate::bindings::kinesis::sluicebox::pipeline::elements,
        },
        generate_all,
    });
}

/// The role of a converter for DynamoDB sinks. What an element is, it shares with [`kinesis`].
pub mod dynamodb_converter {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package sluicebox:sdk;
            world dynamodb-element-converter-role {
                import sluicebox:pipeline/schema-registry@0.1.0;
                export sluicebox:pipeline/dynamodb-element-converter@0.1.0;
            }
        ",
        pub_export_macro: true,
        default_bindings_module: "sluicebox_guest::bindings::dynamodb_converter",
        export_macro_name: "export_dynamodb_element_converter",
        with: {
            "sluicebox:pipeline/types@0.1.0": crate::bindings::sluicebox::pipeline::types,
            "sluicebox:pipeline/columns@0.1.0": crate::bindings::kinesis::sluicebox::pipeline::columns,
            "sluicebox:pipeline/elements@0.1.0": crate::bindings::kinesis::sluicebox::pipeline::elements,
        },
        generate_all,
    });
}
