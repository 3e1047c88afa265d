use super::*;

fn report(text: &str) -> Report {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.wasm");
    std::fs::write(&path, wat::parse_str(text).expect("the text is right")).expect("writable");
    inspect(&path).expect("a component")
}

#[test]
fn a_component_without_wasi_provably_touches_nothing() {
    let report = report(r#"(component (import "sluicebox:pipeline/time@0.1.0" (instance)))"#);
    assert!(report.touches.provably_nothing);
    let text = report.to_string();
    assert!(text.contains("nothing: no file, network, clock or randomness"), "{text}");
}

#[test]
fn imports_are_grouped_and_what_will_be_refused_is_said() {
    let report = report(
        r#"(component
            (import "sluicebox:pipeline/log@0.1.0" (instance))
            (import "sluicebox:pipeline/state@0.2.0" (instance))
            (import "wasi:sockets/tcp@0.2.6" (instance))
            (import "acme:database/query" (instance)))"#,
    );
    let names = |names: &[InterfaceName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&report.imports.wasi), ["wasi:sockets/tcp@0.2.6"]);
    assert_eq!(names(&report.imports.other), ["acme:database/query"]);
    assert_eq!(names(&report.other_contract_versions), ["sluicebox:pipeline/state@0.2.0"]);
    assert!(report.touches.network && !report.touches.provably_nothing && !report.touches.files);
    let text = report.to_string();
    assert!(text.contains("acme:database/query: this host does not offer it"), "{text}");
    assert!(text.contains("state@0.2.0: this host speaks version 0.1.0"), "{text}");
}

#[test]
fn producers_of_nested_modules_are_listed_once_and_escaped() {
    let report = report(
        r#"(component
            (core module (@producers (language "Rust" "") (processed-by "rustc" "1.95.0")))
            (core module (@producers (processed-by "rustc" "1.95.0") (processed-by "tool\1b[31m" "1"))))"#,
    );
    let tools: Vec<_> = report.producers["processed-by"].iter().map(String::as_str).collect();
    assert_eq!(tools, ["rustc 1.95.0", "tool\\u{1b}[31m 1"]);
    assert!(report.producers["language"].contains("Rust"));
}

#[test]
fn the_report_serializes_with_plain_names() {
    let report = report(r#"(component (import "wasi:cli/stdout@0.2.6" (instance)))"#);
    let json = serde_json::to_value(&report).expect("it serializes");
    assert_eq!(json["imports"]["wasi"][0], "wasi:cli/stdout@0.2.6");
    assert_eq!(json["digest"], report.digest.to_string());
}

#[test]
fn every_role_of_a_component_is_told() {
    let report = report(
        r#"(component
            (instance $empty)
            (export "sluicebox:pipeline/lifecycle@0.1.0" (instance $empty))
            (export "sluicebox:pipeline/dynamodb-element-converter@0.1.0" (instance $empty))
            (export "sluicebox:pipeline/kinesis-element-converter@0.1.0" (instance $empty)))"#,
    );
    assert_eq!(report.roles, [Role::KinesisElementConverter, Role::DynamodbElementConverter]);
    let text = report.to_string();
    assert!(text.contains("kinesis-element-converter, dynamodb-element-converter\n"), "{text}");
}
