//! What needs no stream: components that are none, manifests with mistakes, and the commands that only look.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tempfile::TempDir;
use tests::process::{Finished, run};

use super::Pipeline;

/// Nothing listens there, and nothing may be asked.
const NOWHERE: &str = "http://127.0.0.1:9";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &TempDir, file: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(file);
    std::fs::write(&path, bytes).expect("a writable folder");
    path
}

fn command(folder: &TempDir, arguments: &[&str]) -> Finished {
    let finished = run(folder.path(), arguments);
    if std::env::var_os("SHOW").is_some() {
        eprintln!("$ {}\n{}--\n{}", arguments.join(" "), finished.stdout, finished.stderr);
    }
    finished
}

/// `check` and `run` say the same of a component that cannot be used, and neither touches anything.
#[test]
fn a_file_that_is_no_usable_component_is_refused_before_anything_is_touched() {
    let folder = folder();
    let mut pipeline = Pipeline::new(NOWHERE, "passthrough");
    let cases: [(&str, Option<&[u8]>, &[&str]); 6] = [
        ("missing.wasm", None, &["cannot read component", "No such file"]),
        ("text.wasm", Some(b"fn main() {}\n"), &["is not a WebAssembly component"]),
        ("empty.wasm", Some(b""), &["is not a WebAssembly component", "empty"]),
        // `(module)`
        ("module.wasm", Some(b"\0asm\x01\0\0\0"), &["is not a WebAssembly component", "core module"]),
        // `(component)`: it exports nothing.
        (
            "other.wasm",
            Some(b"\0asm\x0d\0\x01\0"),
            &["does not export sluicebox:pipeline", "it has no role of this contract"],
        ),
        ("cut.wasm", Some(b"\0asm\x0d\0\x01\0\x01"), &["cut.wasm"]),
    ];
    for (file, bytes, words) in cases {
        if let Some(bytes) = bytes {
            write(&folder, file, bytes);
        }
        pipeline.component = PathBuf::from(file);
        write(&folder, "p.toml", pipeline.text());
        for arguments in [&["check", "p.toml"][..], &["run", "p.toml"]] {
            let refused = command(&folder, arguments).expect_code(2);
            refused.expect_stderr("p.toml: ").expect_stderr(file);
            for word in words {
                refused.expect_stderr(word);
            }
            assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{}", refused.stderr);
        }
        if file != "other.wasm" {
            command(&folder, &["inspect", file]).expect_code(2).expect_stderr(file);
        }
    }
    assert!(!folder.path().join(".sluicebox/state.db").exists());
}

#[test]
fn a_component_that_imports_wasi_is_refused_where_none_is_granted() {
    let folder = folder();
    let mut pipeline = Pipeline::new(NOWHERE, "passthrough");
    pipeline.grants = "wasi = \"none\"";
    write(&folder, "p.toml", pipeline.text());
    for arguments in [&["check", "p.toml"][..], &["run", "p.toml"]] {
        let refused = command(&folder, arguments).expect_code(2);
        refused.expect_stderr("imports what it is not granted: wasi:").expect_stderr("passthrough.wasm");
        assert_eq!(refused.stdout, "");
    }
}

/// Every mistake of every manifest at once; the fine ones are called fine.
#[test]
fn check_tells_every_mistake_of_every_manifest() {
    let folder = folder();
    let pipeline = Pipeline::new(NOWHERE, "passthrough");
    write(&folder, "fine.toml", pipeline.text());
    let checked = command(&folder, &["check", "fine.toml"]).expect_code(0);
    checked.expect_stderr("fine.toml: fine: pipeline default/words, component sha256:");
    assert_eq!(checked.stdout, "");
    write(
        &folder,
        "two.toml",
        pipeline.text().replace("poison", "poisson").replace("\"trim-horizon\"", "\"trim_horizon\"\nreadahead = 5"),
    );
    write(&folder, "toml.toml", "version = = 1");
    let mut other = Pipeline::new(NOWHERE, "passthrough");
    (other.name, other.component) = ("others", PathBuf::from("missing.wasm"));
    write(&folder, "component.toml", other.text());
    let arguments = ["check", "two.toml", "fine.toml", "toml.toml", "component.toml", "nowhere.toml"];
    let checked = command(&folder, &arguments).expect_code(2);
    for words in [
        "two.toml",
        "trim_horizon",
        "did you mean",
        "readahead",
        "fine.toml: fine",
        "toml.toml",
        "component.toml",
        "missing.wasm",
        "nowhere.toml",
    ] {
        checked.expect_stderr(words);
    }
    assert_eq!(checked.stdout, "");
    // A run with one wrong manifest starts none.
    let arguments = ["run", "fine.toml", "component.toml"];
    command(&folder, &arguments).expect_code(2).expect_stderr("missing.wasm");
    assert!(!folder.path().join(".sluicebox/state.db").exists());
}

#[test]
fn one_identity_cannot_run_twice_in_one_process() {
    let folder = folder();
    let pipeline = Pipeline::new(NOWHERE, "passthrough");
    write(&folder, "a.toml", pipeline.text());
    write(&folder, "b.toml", pipeline.text());
    let refused = command(&folder, &["run", "a.toml", "b.toml"]).expect_code(2);
    refused.expect_stderr("default/words").expect_stderr("a.toml").expect_stderr("b.toml");
}

/// The text of `inspect` without what differs from build to build.
fn described(text: &str) -> String {
    let shown = text.lines().map(|line| match line.split_whitespace().next() {
        Some(word @ ("size" | "digest")) => format!("{word} …"),
        _ => line.to_owned(),
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn inspect_tells_what_a_component_is() {
    let folder = folder();
    let component = tests::component("passthrough");
    let path = component.to_str().expect("UTF-8");
    let human = command(&folder, &["inspect", path]).expect_code(0);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/cli/inspect_passthrough.txt");
    let actual = format!("{}\n", described(&human.stdout));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &actual).expect("writable");
    }
    assert_eq!(actual, std::fs::read_to_string(&golden).unwrap_or_default(), "BLESS=1 writes {}", golden.display());
    assert_eq!(human.stderr, "");
    let json = command(&folder, &["inspect", "--json", path]).expect_code(0);
    let report: Json = serde_json::from_str(&json.stdout).expect("JSON on stdout");
    assert_eq!(report["roles"], serde_json::json!(["kinesis-deserializer"]));
    assert_eq!(report["touches"]["network"], Json::Bool(false));
    assert_eq!(report["size"].as_u64(), std::fs::metadata(&component).ok().map(|metadata| metadata.len()));
    assert!(report["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{report}");
}

#[test]
fn schema_prints_json_and_wrong_words_exit_with_2() {
    let folder = folder();
    let schema = command(&folder, &["schema"]).expect_code(0);
    let parsed: Json = serde_json::from_str(&schema.stdout).expect("JSON on stdout");
    assert!(parsed["properties"]["source"].is_object(), "{parsed}");
    assert_eq!(schema.stderr, "");
    for (arguments, words) in [
        (&["walk"][..], "unrecognized subcommand 'walk'"),
        (&["run"], "MANIFEST"),
        (&["run", "--until-caugt-up", "p.toml"], "--until-caught-up"),
        (&["--log", "=x=", "schema"], "is no filter"),
        (&["state", "set", "p.toml", "shard", "yesterday"], "positions are trim-horizon"),
    ] {
        let wrong = command(&folder, arguments).expect_code(2);
        wrong.expect_stderr(words);
        assert_eq!(wrong.stdout, "", "{arguments:?}");
    }
}

/// `state` of a pipeline that never ran says so, and creates nothing.
#[test]
fn state_of_a_pipeline_that_never_ran_is_told_as_such() {
    let folder = folder();
    write(&folder, "p.toml", Pipeline::new(NOWHERE, "passthrough").text());
    for arguments in [&["state", "list", "p.toml"][..], &["state", "delete", "--all", "--yes", "p.toml"]] {
        let failed = command(&folder, arguments).expect_code(1);
        failed.expect_stderr("has not run yet");
        assert_eq!(failed.stdout, "");
    }
    assert!(!folder.path().join(".sluicebox").exists());
}
