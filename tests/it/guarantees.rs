//! docs/guarantees.md says what is promised and which tests hold it. The list of tests is derived: a test that holds a
//! guarantee begins its doc comment with the guarantee's ID. `BLESS=1` rewrites the lists.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Every guarantee that this release gives.
const IDS: [&str; 14] = [
    "LIN-1", "LIN-2", "LIN-3", "POS-1", "ASN-1", "ORD-1", "DEL-1", "CKP-1", "CKP-2", "GAP-1", "BAT-1", "LIM-1",
    "ISO-1", "WMK-1",
];
/// Where tests are looked for.
const FOLDERS: [&str; 6] =
    ["host-core/src", "host-core/tests", "host/src", "tests/harness", "tests/it", "tests/backends"];
const HEADING: &str = "## ";
const HELD_BY: &str = "Held by:";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_path_buf()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The IDs at the start of a doc comment: `LIN-1, POS-1: why`.
fn ids(line: &str) -> Vec<String> {
    let Some((ids, _)) = line.trim().strip_prefix("/// ").and_then(|text| text.split_once(": ")) else {
        return Vec::new();
    };
    let parts: Vec<String> = ids.split(", ").map(str::to_owned).collect();
    let shaped = |id: &String| {
        id.len() == 5 && id.as_bytes()[3] == b'-' && id[..3].bytes().all(|byte| byte.is_ascii_uppercase())
    };
    if parts.iter().all(shaped) { parts } else { Vec::new() }
}

/// Tests by the guarantee that they hold, as `file`: `name`.
fn tests() -> BTreeMap<String, Vec<String>> {
    let (root, mut files) = (root(), Vec::new());
    for folder in FOLDERS {
        sources(&root.join(folder), &mut files);
    }
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let shown = file.strip_prefix(&root).expect("below the root").display().to_string();
        let mut claimed: Vec<String> = Vec::new();
        for line in text.lines() {
            let found = ids(line);
            if !found.is_empty() {
                claimed = found;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.trim_start().starts_with("//")) {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                for id in claimed.drain(..) {
                    tests.entry(id).or_default().push(format!("`{name}` in {shown}"));
                }
            }
        }
    }
    tests
}

/// The document with its lists as they should be.
fn rendered(document: &str, tests: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::new();
    let mut in_list = false;
    let mut id = String::new();
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix(HEADING) {
            id = heading.split_whitespace().next().unwrap_or_default().to_owned();
            in_list = false;
        }
        if in_list && line.starts_with("- ") {
            continue;
        }
        in_list = false;
        writeln!(text, "{line}").expect("writing to a string does not fail");
        if line == HELD_BY {
            in_list = true;
            for test in tests.get(&id).into_iter().flatten() {
                writeln!(text, "- {test}").expect("writing to a string does not fail");
            }
        }
    }
    text
}

#[test]
fn every_guarantee_is_documented_and_held_by_the_tests_it_lists() {
    let path = root().join("docs/guarantees.md");
    let document = std::fs::read_to_string(&path).expect("docs/guarantees.md");
    let tests = tests();
    let stray: Vec<_> = tests.keys().filter(|id| !IDS.contains(&id.as_str())).collect();
    assert!(stray.is_empty(), "tests name guarantees that do not exist: {stray:?}");
    for id in IDS {
        assert!(document.contains(&format!("{HEADING}{id} ")), "{id} is missing in docs/guarantees.md");
        assert!(tests.contains_key(id), "no test holds {id}");
    }
    let expected = rendered(&document, &tests);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).expect("docs/guarantees.md can be written");
        return;
    }
    assert!(document == expected, "docs/guarantees.md lists other tests than there are: run this test with BLESS=1");
}
