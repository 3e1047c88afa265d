//! The contract in `wit/`: it parses, and holds the worlds that components are built for.

use std::path::Path;

use wit_parser::{PackageId, Resolve};

fn contract(all_features: bool) -> (Resolve, PackageId) {
    let mut resolve = Resolve { all_features, ..Resolve::default() };
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let (package, _) = resolve.push_dir(&wit).expect("wit/ parses");
    (resolve, package)
}

fn worlds(all_features: bool) -> Vec<String> {
    let (resolve, package) = contract(all_features);
    let mut names: Vec<_> = resolve.packages[package].worlds.keys().cloned().collect();
    names.sort();
    names
}

const STABLE: [&str; 6] = [
    "base",
    "dynamodb-converter-guest",
    "dynamodb-deserializer-guest",
    "kinesis-converter-guest",
    "kinesis-deserializer-guest",
    "shard-assigner-guest",
];

#[test]
fn each_role_has_a_world() {
    assert_eq!(worlds(false), STABLE);
}

#[test]
fn keyed_state_is_out_of_sight_unless_its_feature_is_asked_for() {
    let (resolve, package) = contract(false);
    assert!(!resolve.packages[package].interfaces.contains_key("state"));
    let mut all = STABLE.to_vec();
    all.push("stateful-deserializer-guest");
    assert_eq!(worlds(true), all);
}

#[test]
fn every_world_exports_its_lifecycle_and_one_role_at_most() {
    let (resolve, package) = contract(false);
    for (name, world) in &resolve.packages[package].worlds {
        let exports: Vec<_> =
            resolve.worlds[*world].exports.keys().map(|export| resolve.name_world_key(export)).collect();
        assert!(exports.contains(&"sluicebox:pipeline/lifecycle@0.1.0".to_owned()), "{name}: {exports:?}");
        assert_eq!(exports.len(), if name == "base" { 1 } else { 2 }, "{name}: {exports:?}");
    }
}

#[test]
fn the_package_keeps_its_name_and_version() {
    let (resolve, package) = contract(false);
    assert_eq!(resolve.packages[package].name.to_string(), "sluicebox:pipeline@0.1.0");
}

#[test]
fn every_item_says_since_when_and_every_interface_what_for() {
    let (resolve, package) = contract(true);
    for (name, interface) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*interface];
        assert!(!interface.stability.is_unknown(), "{name}");
        assert!(interface.docs.contents.is_some(), "{name} has no documentation");
        for (function, item) in &interface.functions {
            assert!(!item.stability.is_unknown(), "{name}.{function}");
        }
        for (type_name, item) in &interface.types {
            let is_used_from_elsewhere = matches!(item_kind(&resolve, *item), wit_parser::TypeDefKind::Type(_));
            let item = &resolve.types[*item];
            assert!(is_used_from_elsewhere || !item.stability.is_unknown(), "{name}.{type_name}");
        }
    }
    for (name, world) in &resolve.packages[package].worlds {
        assert!(!resolve.worlds[*world].stability.is_unknown(), "{name}");
        assert!(resolve.worlds[*world].docs.contents.is_some(), "{name} has no documentation");
    }
}

fn item_kind(resolve: &Resolve, item: wit_parser::TypeId) -> &wit_parser::TypeDefKind {
    &resolve.types[item].kind
}
