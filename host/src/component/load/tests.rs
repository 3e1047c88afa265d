use std::path::PathBuf;
use std::sync::LazyLock;

use super::*;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("this machine runs components"));

struct Scene {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn file(bytes: &[u8]) -> Scene {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.wasm");
    std::fs::write(&path, bytes).expect("writable");
    Scene { _directory: directory, path }
}

fn refusal(bytes: &[u8], grants: Grants) -> LoadError {
    let scene = file(bytes);
    let error = load(&ENGINE, None, &scene.path, &grants, Role::KinesisDeserializer).expect_err("refused");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    error
}

/// A component with these imports that exports the interfaces of a deserializer of `version`, all of them empty.
fn component(version: &str, imports: &[&str]) -> Vec<u8> {
    let imports: String = imports.iter().map(|name| format!("(import \"{name}\" (instance))\n")).collect();
    let text = format!(
        r#"(component
            {imports}
            (instance $empty)
            (export "sluicebox:pipeline/lifecycle@{version}" (instance $empty))
            (export "sluicebox:pipeline/kinesis-deserializer@{version}" (instance $empty)))"#
    );
    wat::parse_str(text).expect("the text is right")
}

#[test]
fn a_core_module_is_told_what_it_lacks() {
    let module = wat::parse_str("(module)").expect("the text is right");
    let error = refusal(&module, Grants::default());
    assert!(matches!(&error, LoadError::NotAComponent { what, .. } if what.contains("core module")), "{error}");
}

#[test]
fn a_broken_component_is_invalid_and_not_a_panic() {
    let good = component("0.1.0", &[]);
    for len in 8..good.len() {
        let scene = file(&good[..len]);
        let _refused = load(&ENGINE, None, &scene.path, &Grants::default(), Role::KinesisDeserializer)
            .expect_err("a part of a component is none");
    }
}

#[test]
fn a_file_over_the_limit_is_not_read_to_its_end() {
    let scene = file(b"");
    let huge = File::options().write(true).open(&scene.path).expect("writable");
    huge.set_len(FILE_BYTES_MAX + 2).expect("sparse");
    let error = load(&ENGINE, None, &scene.path, &Grants::default(), Role::KinesisDeserializer).expect_err("too big");
    assert!(matches!(error, LoadError::TooBig { size, .. } if size == FILE_BYTES_MAX + 2), "{error}");
}

#[test]
fn another_version_of_the_contract_is_told_before_a_missing_role() {
    let error = refusal(&component("0.2.0", &[]), Grants::default());
    let LoadError::ContractVersion { found, host, .. } = &error else { panic!("{error}") };
    assert_eq!((found.as_str(), *host), ("sluicebox:pipeline/lifecycle@0.2.0", "0.1.0"));
}

#[test]
fn what_is_not_provided_is_not_granted() {
    let imports = [
        "sluicebox:pipeline/log@0.1.0",
        "sluicebox:pipeline/types@0.1.0",
        "sluicebox:pipeline/schema-registry@0.1.0",
        "sluicebox:pipeline/state@0.1.0",
        "wasi:cli/stdout@0.2.6",
        "wasi:sockets/tcp@0.2.6",
        "wasi:http/outgoing-handler@0.2.6",
        "wasi:clocks/monotonic-clock@0.3.0",
        "acme:database/query",
    ];
    let LoadError::NotGranted { imports: refused, .. } = refusal(&component("0.1.0", &imports), Grants::default())
    else {
        panic!("not granted")
    };
    let expected: Vec<_> = [2, 3, 5, 6, 7, 8].map(|index| imports[index].to_owned()).to_vec();
    assert_eq!(refused, expected);
}

#[test]
fn without_wasi_not_even_its_inert_part_is_granted() {
    let error = refusal(&component("0.1.0", &["wasi:cli/stdout@0.2.6"]), Grants { wasi: Wasi::None });
    let LoadError::NotGranted { imports, advice, .. } = &error else { panic!("{error}") };
    assert_eq!(imports, &["wasi:cli/stdout@0.2.6"]);
    assert!(advice.contains("grants.wasi"), "{advice}");
}

#[test]
fn right_names_with_wrong_types_do_not_fit() {
    let error = refusal(&component("0.1.0", &[]), Grants::default());
    assert!(matches!(error, LoadError::Mismatch { .. }), "{error}");
}

#[test]
fn a_component_without_roles_is_told_so() {
    let nothing = wat::parse_str("(component)").expect("the text is right");
    let text = refusal(&nothing, Grants::default()).to_string();
    assert!(text.contains("it has no role of this contract"), "{text}");
}

#[test]
fn proposals_that_are_off_are_refused_by_the_compiler() {
    for module in [
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (memory 1 1 shared))",
        "(module (func return_call 0))",
        "(module (tag))",
        "(module (type (struct)))",
        "(module (func (param v128) (result v128) local.get 0 local.get 0 i8x16.relaxed_swizzle))",
    ] {
        let mut text = String::from("(component (core ");
        text.push_str(&module[1..]);
        text.push_str(
            r#"(instance $empty)
            (export "sluicebox:pipeline/lifecycle@0.1.0" (instance $empty))
            (export "sluicebox:pipeline/kinesis-deserializer@0.1.0" (instance $empty)))"#,
        );
        let error = refusal(&wat::parse_str(&text).expect(module), Grants::default());
        assert!(matches!(error, LoadError::Invalid { .. }), "{module}: {error}");
    }
}

/// An empty interface of the contract's name.
fn exporting(interfaces: &[&str]) -> Vec<u8> {
    let export = |name: &&str| format!("(export \"sluicebox:pipeline/{name}@0.1.0\" (instance $empty))\n");
    let exports: String = interfaces.iter().map(export).collect();
    wat::parse_str(format!("(component (instance $empty) {exports})")).expect("the text is right")
}

#[test]
fn a_role_is_looked_for_among_all_that_a_component_has() {
    let roles =
        [Role::KinesisDeserializer, Role::ShardAssigner, Role::KinesisElementConverter, Role::DynamodbElementConverter];
    let interfaces: Vec<_> = ["lifecycle"].into_iter().chain(roles.map(Role::interface)).collect();
    let scene = file(&exporting(&interfaces));
    let load = |role| load(&ENGINE, None, &scene.path, &Grants::default(), role).expect_err("its interfaces are empty");
    for role in roles {
        let error = load(role);
        assert!(matches!(&error, LoadError::Mismatch { .. }), "{role} was found, its functions were not: {error}");
    }
    let text = load(Role::DynamodbDeserializer).to_string();
    assert!(text.contains("it is a kinesis-deserializer and a shard-assigner and a"), "{text}");
}

#[test]
fn a_role_that_this_host_does_not_run_is_told_so() {
    let scene = file(&exporting(&["lifecycle", "dynamodb-deserializer"]));
    let error = load(&ENGINE, None, &scene.path, &Grants::default(), Role::DynamodbDeserializer).expect_err("not run");
    assert!(matches!(error, LoadError::RoleNotRun { role: Role::DynamodbDeserializer, .. }), "{error}");
}
