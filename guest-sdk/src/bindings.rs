//! What `wit-bindgen` makes of the contract: the raw types and traits, for what the plain view does not offer. A
//! component that implements the traits itself exports them with [`export`].
#![expect(missing_docs, reason = "generated; the documentation is in wit/")]

wit_bindgen::generate!({
    path: "../wit",
    world: "kinesis-deserializer-guest",
    pub_export_macro: true,
    default_bindings_module: "sluicebox_guest::bindings",
    export_macro_name: "export",
    generate_all,
});
