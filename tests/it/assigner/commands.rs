//! What `check`, `run` and `inspect` say of an assigner.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::component;
use tests::process::{Finished, run};

/// Nothing listens there, and nothing may be asked.
fn scene(assigner: &Path, more: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "version = 1\nname = \"words\"\n[source]\ntype = \"kinesis\"\nstream_arn = {:?}\n[assigner]\ncomponent = \
         {assigner:?}\n{more}\n[deserializer]\ncomponent = {:?}\n[[sink]]\ntype = \"stdout\"\n[aws]\nendpoint = \
         \"http://127.0.0.1:9\"\ncredentials = \"basic\"\n[aws.basic]\naccess_key_id = \"test\"\nsecret_access_key = \
         \"test\"\n",
        super::STREAM,
        component("passthrough"),
    );
    std::fs::write(folder.path().join("p.toml"), text).expect("a writable folder");
    folder
}

fn command(folder: &TempDir, arguments: &[&str]) -> Finished {
    run(folder.path(), arguments)
}

/// Both commands find the same wrong, in one line, before anything is touched.
fn refused(folder: &TempDir, words: &[&str]) {
    for arguments in [&["check", "p.toml"][..], &["run", "p.toml"]] {
        let refused = command(folder, arguments).expect_code(2);
        refused.expect_stderr("p.toml: ");
        for word in words {
            refused.expect_stderr(word);
        }
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{}", refused.stderr);
    }
    assert!(!folder.path().join(".sluicebox/state.db").exists());
}

#[test]
fn check_tells_the_digest_of_an_assigner_that_fits() {
    let assigner = component("sticky_assigner");
    let checked = command(&scene(&assigner, ""), &["check", "p.toml"]).expect_code(0);
    let digest = host::component::inspect::inspect(&assigner).expect("a component").digest;
    checked.expect_stderr(&format!(", assigner {digest}"));
    assert_eq!(checked.stdout, "");
}

#[test]
fn a_component_with_two_roles_serves_in_both() {
    let folder = scene(&component("faulty"), "");
    let text = std::fs::read_to_string(folder.path().join("p.toml")).expect("written above");
    let faulty = component("faulty").display().to_string();
    let both = text.replace(&component("passthrough").display().to_string(), &faulty);
    std::fs::write(folder.path().join("p.toml"), both).expect("a writable folder");
    command(&folder, &["check", "p.toml"]).expect_code(0).expect_stderr("fine");
}

#[test]
fn a_component_without_the_role_is_refused_as_an_assigner() {
    let passthrough = component("passthrough");
    let words = [
        "passthrough.wasm cannot be a shard-assigner: it does not export sluicebox:pipeline/shard-assigner@0.1.0",
        "it is a kinesis-deserializer",
    ];
    refused(&scene(&passthrough, ""), &words);
}

#[test]
fn an_assigner_is_held_to_its_own_grants() {
    let folder = scene(&component("sticky_assigner"), "grants = { wasi = \"none\" }");
    refused(&folder, &["imports what it is not granted: wasi:", "sticky_assigner.wasm"]);
}

#[test]
fn an_assigner_that_is_not_there_is_named() {
    refused(&scene(Path::new("nowhere.wasm"), ""), &["cannot read component", "nowhere.wasm"]);
}

/// The text of `inspect` without what differs from build to build.
fn described(text: &str) -> String {
    let shown = text.lines().map(|line| match line.split_whitespace().next() {
        Some(word @ ("size" | "digest")) => format!("{word} …\n"),
        _ => format!("{line}\n"),
    });
    shown.collect()
}

#[test]
fn inspect_tells_the_role_or_both_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, file) in [("sticky_assigner", "inspect_sticky.txt"), ("faulty", "inspect_two_roles.txt")] {
        let path = component(name);
        let human = command(&folder, &["inspect", path.to_str().expect("UTF-8")]).expect_code(0);
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("it/assigner").join(file);
        let actual = described(&human.stdout);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &actual).expect("writable");
        }
        assert_eq!(actual, std::fs::read_to_string(&golden).unwrap_or_default(), "BLESS=1 writes {}", golden.display());
    }
}
